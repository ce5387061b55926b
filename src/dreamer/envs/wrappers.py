"""Wrappers that Gymnasium does not have: the frame repeat, and a check of every call."""

import inspect
from typing import Any

import gymnasium as gym

from dreamer.envs.conversion import end_of, reward_of
from dreamer.envs.failures import EnvError, calling, close, definition, old_step
from dreamer.errors import UserError

SEEDS = 2**31
"""Seeds of episodes lie below: C libraries keep them in 32 bits with a sign."""

Step = tuple[Any, float, bool, bool, dict[str, Any]]


class FrameRepeat(gym.Wrapper):
    """Take each action for several frames and add up their rewards; stop early where an episode ends.

    `info["frames"]` says how many frames were taken. Images are drawn by a wrapper around this one, so
    once per agent step.
    """

    def __init__(self, env: gym.Env, repeat: int) -> None:
        super().__init__(env)
        self._repeat = repeat

    def step(self, action: Any) -> Step:
        total, frames = 0.0, 0
        while True:
            observation, reward, terminated, truncated, info = self.env.step(action)
            total += float(reward)
            frames += 1
            if terminated or truncated or frames == self._repeat:
                return observation, total, terminated, truncated, {**info, "frames": frames}


class CheckedEnv(gym.Wrapper):
    """Turn whatever goes wrong in an environment into one sentence, and rewards into floats.

    Observations are checked where they are converted (`conversion.py`), so only those that the agent uses.

    Raises:
        EnvError: says which environment and call has failed, why, and where that stands; or what the call should
            have returned.
    """

    def __init__(self, env: gym.Env, name: str) -> None:
        super().__init__(env)
        self._name, self._closed = name, False
        for space in ("observation_space", "action_space"):
            with calling(name, "make", env):
                given = inspect.getattr_static(env.unwrapped, space, None)
                declared = getattr(env, space) if isinstance(given, property) else getattr(env, space, None)
            if not isinstance(declared, gym.Space):
                place = definition(env, "__init__")
                raise UserError(f"{name} has no {space}: set it to a Gymnasium space in __init__{place}.")

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        seed = None if seed is None else int(seed) % SEEDS
        with calling(self._name, "reset", self.env):
            returned = self.env.reset(seed=seed, options=options)
        if not isinstance(returned, tuple | list) or len(returned) != 2 or not isinstance(returned[1], dict):
            place = definition(self.env, "reset")
            raise EnvError(
                f"{self._name} must return observation, info from reset (info a dict){place}.", passing=False
            )
        return returned[0], returned[1]

    def step(self, action: Any) -> Step:
        with calling(self._name, "step", self.env):
            returned = self.env.step(action)
        observation, reward, terminated, truncated, info = self._five(returned)
        ends = (end_of(terminated, self._name, "terminated"), end_of(truncated, self._name, "truncated"))
        return observation, reward_of(reward, self._name), *ends, info

    def render(self) -> Any:
        with calling(self._name, "render", self.env):
            return self.env.render()

    def close(self) -> None:
        if not self._closed:  # many simulators cannot be closed twice
            self._closed = True
            close(self.env, self._name)

    def _five(self, returned: Any) -> Step:
        """Unpack what `step` returned."""
        values = returned if isinstance(returned, tuple | list) else ()
        if len(values) == 5 and isinstance(values[4], dict):
            return values  # pyright: ignore[reportReturnType]
        if len(values) == 4:
            raise old_step(self._name, self.env)
        place = definition(self.env, "step")
        raise EnvError(
            f"{self._name} must return observation, reward, terminated, truncated, info (a dict) from step{place}.",
            passing=False,
        )
