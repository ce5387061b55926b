"""Atari games behind Gymnasium's interface: `atari:pong` (paper, Appendix C; Machado et al., 2018).

The environment takes one frame at a time; `FrameRepeat` around it takes the paper's four. An image is the pixel-wise
maximum of the last two frames, because the console draws some sprites in every other frame only. `ale-py` contains the
games.
"""

import re
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np

from dreamer.config import EnvConfig
from dreamer.errors import UserError, did_you_mean

NOOP = 0
LONGEST_IDLE = 30
"""Most idle frames at the start of an episode; their number is drawn from 1 up (paper, Appendix C)."""


class AtariEnv(gym.Env):
    """One game with its smallest set of buttons, `Discrete(3)` to `Discrete(18)`.

    An episode begins with a random number of idle frames, and ends (terminated) with the game, or with a lost
    life if `life_loss` is on. A reset always starts a new game.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(self, game: str, config: EnvConfig) -> None:
        self._game = _ale().AtariEnv(
            game,
            obs_type="grayscale" if config.gray else "rgb",
            frameskip=1,
            repeat_action_probability=config.sticky,
        )
        self._life_loss = config.life_loss
        self.observation_space = self._game.observation_space
        self.action_space = self._game.action_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start a game. Everything after it is a function of the seed and the actions."""
        super().reset(seed=seed)
        if seed is None:
            seed = int(self.np_random.integers(2**31))
        self._screen, info = self._game.reset(seed=seed)
        idle = int(self.np_random.integers(1, LONGEST_IDLE, endpoint=True)) if LONGEST_IDLE else 0
        for _ in range(idle):
            self._screen, _, terminated, truncated, info = self._game.step(NOOP)
            if terminated or truncated:
                self._screen, info = self._game.reset()
        self._lives = info["lives"]
        return self._screen, {"lives": self._lives}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Advance one frame. The reward is the change of the game's own score."""
        before, lives = self._screen, self._lives
        self._screen, reward, terminated, truncated, info = self._game.step(action)
        self._lives = info["lives"]
        lost = self._life_loss and self._lives < lives
        shown = np.maximum(before, self._screen)
        return shown, float(reward), bool(terminated or lost), truncated, {"lives": self._lives}

    def close(self) -> None:
        """Close the emulator."""
        self._game.close()


def load_atari(name: str, config: EnvConfig) -> AtariEnv:
    """Make the game of this name. Raises `UserError` with the nearest names, or if ale-py is missing."""
    _ale()
    games = known_games()
    if name not in games:
        raise UserError(f"There is no Atari game {name!r}{did_you_mean(name, games, 'atari:')}.")
    return AtariEnv(name, config)


def known_games() -> list[str]:
    """Return the names of all games, or none if ale-py is missing."""
    try:
        from ale_py import roms
    except ImportError:
        return []
    return roms.get_all_rom_ids()


def game_of(gym_id: str) -> str | None:
    """Return the game that an id such as `ALE/Pong-v5` or `PongNoFrameskip-v4` stands for, if there is one."""
    plain = re.sub(r"(-ram)?(Deterministic|NoFrameskip)?-v\d+$", "", gym_id.rpartition("/")[2]).lower()
    return next((game for game in known_games() if game.replace("_", "") == plain.replace("_", "")), None)


def _ale() -> Any:
    """Return ale-py's module of the environment, with its start-up message switched off."""
    try:
        from ale_py import ALEInterface, LoggerMode, env
    except ImportError as error:
        raise UserError("Atari needs ale-py: pip install 'dream-to-control[atari]'.") from error
    ALEInterface.setLoggerMode(LoggerMode.Error)
    return env
