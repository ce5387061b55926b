"""Small environments for tests and first trials: `toy:dot`, `toy:slope`, `toy:counting`, `toy:terminating`.

They are plain Gymnasium environments. Numpy draws their images, so they need no simulator and no OpenGL.
"""

from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from dreamer.config import EnvConfig
from dreamer.errors import UserError


class DotEnv(gym.Env):
    """Push a bright disc to the center of the image (`toy:dot`).

    The action is a velocity in [-1, 1]^2. The reward of a frame is `max(0, 1 - distance)^2`, so it lies in
    [0, 1]. Episodes are cut off after 100 frames. Moving straight to the center gives about 0.95 per frame,
    random actions about 0.2.
    """

    SPEED = 0.1
    """Distance that the disc moves in one frame at full speed; the image is 2 wide."""
    RADIUS = 0.2
    LENGTH = 100
    """Frames of an episode."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"]}  # pyright: ignore[reportIncompatibleVariableOverride]
    render_mode = "rgb_array"
    observation_space = spaces.Box(-1, 1, (2,), np.float32)
    action_space = spaces.Box(-1, 1, (2,), np.float32)

    def __init__(self, image_size: int) -> None:
        axis = np.linspace(-1.2, 1.2, image_size, dtype=np.float32)
        self._axis = axis
        self._background = np.zeros((image_size, image_size, 3), np.uint8)
        ring = np.hypot(axis[:, None], axis[None, :])
        self._background[np.abs(ring - self.RADIUS) < 0.05] = (0, 90, 180)
        self._position = np.zeros(2, np.float32)
        self._frames = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        # Every episode starts at the same distance from the center.
        angle = self.np_random.uniform(0, 2 * np.pi)
        self._position = 0.8 * np.array([np.cos(angle), np.sin(angle)], np.float32)
        self._frames = 0
        return self._position.copy(), {}

    def step(self, action: np.ndarray):
        step = self.SPEED * np.asarray(action, np.float32)
        self._position = np.clip(self._position + step, -1, 1, dtype=np.float32)
        self._frames += 1
        return self._position.copy(), self._reward(), False, self._frames >= self.LENGTH, {}

    def _reward(self) -> float:
        x, y = self._position
        return max(0.0, 1.0 - float(np.hypot(x, y))) ** 2

    def render(self) -> np.ndarray:
        """Return the image, uint8 `(image_size, image_size, 3)`: disc in yellow, target ring in blue."""
        x, y = self._position
        image = self._background.copy()
        image[np.hypot(self._axis[:, None] - y, self._axis[None, :] - x) < self.RADIUS] = (255, 220, 60)
        return image


class SlopeEnv(DotEnv):
    """Push the disc to the right (`toy:slope`): the reward of a frame is `((1 + x) / 2)^2`, in [0, 1].

    The reward shows where the disc is along the only axis that matters, so this task can be learned from rewards
    alone. In `toy:dot` the reward does not show on which side of the center the disc is.
    """

    def _reward(self) -> float:
        return float((1 + self._position[0]) / 2) ** 2


class CountingEnv(gym.Env):
    """Show the number of the frame and the action that led to it, to test the alignment of data.

    After the n-th frame of an episode the reward is `n`, the vector observation is `[n, action, episode]`
    and the image holds, over all its pixels, `n % 256` in red, `round(127.5 (action + 1))` in green and
    the number of the episode in blue; `info` has `count`, `action` and `episode`. A reset shows frame 0 and action 0.
    Episodes are counted from 0; an episode without a frame does not count.

    `toy:counting` goes on until the time limit. `toy:terminating` terminates after 3 to 12 frames, a number drawn
    from the seed.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"]}  # pyright: ignore[reportIncompatibleVariableOverride]
    render_mode = "rgb_array"
    observation_space = spaces.Box(-np.inf, np.inf, (3,), np.float32)
    action_space = spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, image_size: int, terminating: bool = False) -> None:
        self._image_size = image_size
        self._terminating = terminating
        self._episode = 0
        self._start_episode()

    def _start_episode(self) -> None:
        self._count = 0
        self._action = 0.0
        self._length = int(self.np_random.integers(3, 13)) if self._terminating else None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        self._episode += self._count > 0
        self._start_episode()
        return self._observation(), self._info()

    def step(self, action: np.ndarray):
        self._count += 1
        self._action = float(action[0])
        return self._observation(), float(self._count), self._count == self._length, False, self._info()

    def _observation(self) -> np.ndarray:
        return np.array([self._count, self._action, self._episode], np.float32)

    def _info(self) -> dict[str, Any]:
        return {"count": self._count, "action": self._action, "episode": self._episode}

    def render(self) -> np.ndarray:
        """Return the image, uint8 `(image_size, image_size, 3)`, in one color."""
        color = (self._count % 256, round(127.5 * (self._action + 1)), self._episode % 256)
        return np.broadcast_to(np.array(color, np.uint8), (self._image_size, self._image_size, 3)).copy()


TOYS = ("dot", "slope", "counting", "terminating")
DISCS = {"dot": DotEnv, "slope": SlopeEnv}


def load_toy(name: str, config: EnvConfig) -> gym.Env:
    """Make the toy environment of this name. Raises `UserError` if there is none."""
    if name not in TOYS:
        raise UserError(f"There is no toy environment {name!r}: there are toy:{', toy:'.join(TOYS)}.")
    if name in DISCS:
        return DISCS[name](config.image_size)
    return CountingEnv(config.image_size, terminating=name == "terminating")
