"""A trained policy by itself: what `dreamer export` writes and `dreamer.load_policy` reads.

It needs no simulator. The file holds what acting needs: all options, and all networks except the decoder.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dreamer.agents.agent import Agent
from dreamer.agents.make import make_agent
from dreamer.agents.policy_state import PolicyState
from dreamer.agents.random import Random
from dreamer.config import Config, to_flat, with_options
from dreamer.envs.native import Native
from dreamer.errors import UserError
from dreamer.export.policy_file import FORMAT, read_policy_file, with_checksum
from dreamer.types import EnvSpec, Observation

ACTS_ALIKE: dict[str, Any] = {"objective": "reward-only", "video_every": 0, "fast": False}
"""Options that make the same policy with fewer networks: without decoder and contrastive heads."""


KEPT = Path(__file__).parent / "policies"


class Policy:
    """Acts as the trained agent does in evaluation, for one environment or several at once.

    Example:
        >>> policy = dreamer.load_policy("walker.pt")  # doctest: +SKIP
        >>> policy.reset()  # doctest: +SKIP
        >>> action = policy.act(env.render())  # doctest: +SKIP
        >>> for _ in range(policy.action_repeat):  # doctest: +SKIP
        ...     env.step(action)
    """

    def __init__(self, spec: EnvSpec, config: Config, seed: int = 0, device: str = "cpu"):
        self.spec = spec
        self.config = with_options(config, {**ACTS_ALIKE, "device": device})
        self.agent = make_agent(spec, self.config)
        self.agent.algorithm.requires_grad_(False)
        self._generator = torch.Generator(self.agent.device).manual_seed(seed)
        self._state: PolicyState | None = None
        self._native = Native(spec, config.environment.env)

    @property
    def action_repeat(self) -> int:
        """Simulator frames for which the policy's actions are meant: call `env.step` so many times with each."""
        return self.config.environment.repeat

    def reset(self, index: int | None = None) -> None:
        """Begin new episodes in all environments, or only in environment `index`."""
        self._state = None if index is None or self._state is None else self._state.reset(index)

    def act(self, observation: Any, raw: bool = False) -> Any:
        """Return the action for one observation, or N of them for N observations stacked along a new first axis.

        Both have the environment's own form, `env.reset()` to `env.step()`: images may have any size, and where
        the policy sees one thing only, it may be given by itself, such as `env.render()`. The agent's own form
        comes with `raw`: uint8 images of the right size and float vectors `(n,)` by name; actions in [-1, 1], or
        one-hot.

        Raises `UserError` if a part of the observation is missing or has another shape, or if there are more
        or fewer observations than before.
        """
        obs, single = self._batched(observation) if raw else self._native.observation(observation)
        n = len(next(iter(obs.values())))
        state = self.agent.initial_state(n) if self._state is None else self._state
        if len(state.action) != n:
            raise UserError(f"{n} observations after {len(state.action)}: call reset() before a new batch.")
        action, self._state = self.agent.policy(obs, state, False, self._generator)
        action = action[0] if single else action
        return action if raw else self._native.action(action)

    def _batched(self, observation: Mapping[str, np.ndarray] | np.ndarray) -> tuple[Observation, bool]:
        """Return the observation with a first axis, and whether it was a single one."""
        shapes = {**self.spec.images, **{key: (size,) for key, size in self.spec.vectors.items()}}
        if not isinstance(observation, Mapping):
            if len(shapes) != 1:
                raise UserError(f"This policy sees several things: give a dictionary of {', '.join(shapes)}.")
            observation = {next(iter(shapes)): observation}
        arrays = {key: self._checked(key, shape, observation) for key, shape in shapes.items()}
        leading = {array.shape[: -len(shapes[key])] for key, array in arrays.items()}
        if len(leading) != 1:
            raise UserError("The parts of the observation are not equally many.")
        # Copies: an image may be a view turned upside down, or of memory that the simulator draws in.
        rows = {key: np.array(x.reshape(-1, *shapes[key]), order="C") for key, x in arrays.items()}
        return rows, leading == {()}

    def _checked(self, key: str, shape: tuple[int, ...], observation: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return one part of the observation, if it has the right shape and type."""
        array = np.asarray(observation[key]) if key in observation else None
        if array is None or array.shape[-len(shape) :] != shape or array.ndim > len(shape) + 1:
            given = "missing" if array is None else f"of shape {array.shape}"
            raise UserError(f"The observation {key!r} is {given}: it must be {shape}, or several of those.")
        if key in self.spec.images and array.dtype != np.uint8:
            raise UserError(f"The image {key!r} is of type {array.dtype}: it must be uint8, from 0 to 255.")
        return array if key in self.spec.images else array.astype(np.float32)


def pack(agent: Agent) -> dict[str, Any]:
    """Return the policy of a trained agent in plain values and tensors, as the file holds it.

    Raises `UserError` if the agent has learned nothing.
    """
    if isinstance(agent.algorithm, Random):
        raise UserError("The random agent has learned no policy to export: train another --agent.")
    policy = Policy(agent.spec, agent.algorithm.config)
    weights = agent.algorithm.state_dict()
    return with_checksum(
        {
            "format": FORMAT,
            "spec": dataclasses.asdict(policy.spec),
            "options": to_flat(policy.config),
            "weights": {name: weights[name].cpu() for name in policy.agent.algorithm.state_dict()},
        }
    )


def load_policy(file: str | Path, seed: int = 0, device: str = "cpu") -> Policy:
    """Read what `dreamer export` has written, or one of the `kept` policies by its name: `load_policy("walker_stand")`.

    `seed` is that of the filter's samples and of the planner. Raises `UserError` if `file` is no such file or damaged,
    or if another version wrote it.
    """
    path = Path(file)
    if not path.exists():
        if str(file) not in kept():
            raise UserError(
                f"There is no {file}: write one with `dreamer export`, or take one of {', '.join(kept())}."
            )
        path = kept()[str(file)]
    spec, config, weights = read_policy_file(path)
    try:
        policy = Policy(spec, config, seed, device)
        policy.agent.algorithm.load_state_dict(weights)
    except UserError:
        raise
    except Exception as error:  # of spaces that are none
        raise UserError(f"{path} is damaged ({error}): write it again with `dreamer export`.") from error
    return policy


def kept() -> dict[str, Path]:
    """Return the files of the trained policies that come with this package, by name; docs/policies.md has scores."""
    return {file.name.removesuffix(".pt.xz"): file for file in sorted(KEPT.glob("*.pt.xz"))}
