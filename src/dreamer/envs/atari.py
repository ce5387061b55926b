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
from dreamer.env_args import OF_GAMES
from dreamer.errors import UserError, did_you_mean

NOOP = 0
LONGEST_IDLE = 30
"""Most idle frames at the start of an episode; their number is drawn from 1 up (paper, Appendix C)."""
OF_EMULATOR = ("mode", "difficulty", "full_action_space")
"""Arguments that are passed on to ale-py."""


class AtariEnv(gym.Env):
    """One game with its smallest set of buttons, `Discrete(3)` to `Discrete(18)`.

    An episode begins with a random number of idle frames, and ends (terminated) with the game, or with a lost
    life if `life_loss` is on. A reset always starts a new game. With `sticky`, each frame repeats the action of the
    one before with this probability; `settings` are those of the emulator.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 60}  # pyright: ignore[reportIncompatibleVariableOverride]

    render_mode = "rgb_array"

    def __init__(self, game: str, gray: bool, sticky: float, life_loss: bool, **settings: Any) -> None:
        self._game = _ale().AtariEnv(
            game,
            obs_type="grayscale" if gray else "rgb",
            frameskip=1,
            repeat_action_probability=sticky,
            **settings,
        )
        self._life_loss = life_loss
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

    def render(self) -> np.ndarray:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the screen of the last frame."""
        return self._screen

    def close(self) -> None:
        """Close the emulator."""
        self._game.close()


def load_atari(name: str, config: EnvConfig) -> AtariEnv:
    """Make the game of this name. Raises `UserError` with the nearest names, or if ale-py is missing."""
    _ale()
    games = known_games()
    if name not in games:
        raise UserError(f"There is no Atari game {name!r}{did_you_mean(name, games, 'atari:')}.")
    arguments = {**OF_GAMES, **config.arguments}
    _check(config.env, arguments)
    return AtariEnv(name, **arguments)


def _check(env: str, arguments: dict[str, Any]) -> None:
    """Raise `UserError` for an argument that there is not, or a value that it cannot have."""
    if unknown := arguments.keys() - {*OF_GAMES, *OF_EMULATOR}:
        known = ", ".join((*OF_GAMES, *OF_EMULATOR))
        raise UserError(f"--env-args {', '.join(sorted(unknown))}: {env} takes {known}.")
    for switch in ("gray", "life_loss"):
        if not isinstance(arguments[switch], bool):
            raise UserError(f"--env-args {switch} must be True or False, got {arguments[switch]!r}.")
    sticky = arguments["sticky"]
    if isinstance(sticky, bool) or not isinstance(sticky, int | float) or not 0 <= sticky <= 1:
        raise UserError(f"--env-args sticky must be a number from 0 to 1, got {sticky!r}.")


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
