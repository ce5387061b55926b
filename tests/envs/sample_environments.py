"""Gymnasium environments as users write them, good and bad, made as `gym:sample_environments:<id>`."""

import os
import signal
import socket
import struct
import sys
import tempfile
import time
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

VECTOR = spaces.Box(-1, 1, (3,), np.float32)
IMAGE = spaces.Box(0, 255, (48, 32, 3), np.uint8)
PUSH = spaces.Box(np.array([0, -2], np.float32), np.array([1, 6], np.float32))


class SampleEnv(gym.Env):
    """Shows samples of its space, pays 1 per frame, remembers its last action and ends after five frames."""

    observation_space: gym.Space = VECTOR
    action_space: gym.Space = PUSH

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.last_action: Any = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        self._frames = 0
        return self.observation(), {}

    def step(self, action: Any):
        self.last_action = action
        self._frames += 1
        return self.observation(), self.reward(), self._frames == 5, False, {}

    def observation(self) -> Any:
        return self.observation_space.sample()

    def reward(self) -> float:
        return 1.0


class Drawn(SampleEnv):
    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012 (as Gymnasium has it)

    def render(self) -> Any:
        return np.full((100, 60, 3), 40 * self._frames, np.uint8)


class DrawnBesideNonsense(Drawn):
    def observation(self) -> Any:
        return [None, np.full(3, np.nan), np.full(3, 7), "words"][self._frames]


class DrawnFloats(Drawn):
    def render(self) -> Any:
        return np.full((64, 64, 3), self._frames / 4)


class DrawnDepth(Drawn):
    def render(self) -> Any:
        return np.full((64, 64), 3000, np.uint16)


class DrawnSmall(Drawn):
    """Draws a picture of very few pixels."""

    def render(self) -> Any:
        return np.full((8, 8, 3), 40 * self._frames, np.uint8)


class DrawnOnes(Drawn):
    def render(self) -> Any:
        return np.ones((64, 64, 3), np.uint8)


class DrawnUnbounded(Drawn):
    """Images of floats that are declared without bounds."""

    observation_space = spaces.Box(-np.inf, np.inf, (64, 64, 3), np.float32)


class DrawnShrinking(Drawn):
    def render(self) -> Any:
        return np.zeros((64 - (self._frames > 1), 64, 3), np.uint8)


class Image(SampleEnv):
    observation_space = IMAGE


class ReusedScreen(SampleEnv):
    """Shows the number of the frame in one array, which it overwrites."""

    observation_space = spaces.Box(0, 255, (64, 64, 3), np.uint8)
    screen = np.zeros((64, 64, 3), np.uint8)

    def observation(self) -> Any:
        self.screen[:] = self._frames
        return self.screen


class ReusedPicture(Drawn):
    """Draws the number of the frame into one array, which it overwrites."""

    picture = np.zeros((64, 64, 3), np.uint8)

    def render(self):
        self.picture[:] = self._frames
        return self.picture


class ReusedGrey(SampleEnv):
    """As `ReusedScreen`, without an axis of channels."""

    observation_space = spaces.Box(0, 255, (64, 64), np.uint8)
    screen = np.zeros((64, 64), np.uint8)

    def observation(self) -> Any:
        self.screen[:] = self._frames
        return self.screen


class ReusedVector(SampleEnv):
    """As `ReusedScreen`, with a vector."""

    vector = np.zeros(3, np.float32)

    def observation(self) -> Any:
        self.vector[:] = 0.1 * self._frames
        return self.vector


class Gray(SampleEnv):
    observation_space = spaces.Box(0, 255, (64, 64), np.uint8)


class Everything(SampleEnv):
    observation_space = spaces.Dict(
        {
            "front": IMAGE,
            "wrist": spaces.Box(0, 255, (64, 64, 4), np.uint8),
            "joints": VECTOR,
            "gear": spaces.Discrete(3),
        }
    )


class Mission(spaces.Space):
    """A space of a user's own, as MiniGrid has it."""

    def sample(self, mask: Any = None, probability: Any = None) -> str:
        return "go to the green door"


class WithWords(SampleEnv):
    observation_space = spaces.Dict({"joints": VECTOR, "hint": spaces.Text(5), "mission": Mission()})


class WordsOnly(SampleEnv):
    observation_space = Mission()


class OddNames(SampleEnv):
    observation_space = spaces.Dict({"values": IMAGE, "robot.arm": VECTOR, "items": VECTOR, "50%": VECTOR})


class Reserved(SampleEnv):
    observation_space = spaces.Dict({"image": IMAGE, "reward": VECTOR})


class Nested(SampleEnv):
    """Dictionaries and tuples within dictionaries, and a number for a name."""

    observation_space = spaces.Dict(
        {
            "arm": spaces.Dict({"joints": VECTOR, "camera": IMAGE, "name": spaces.Text(5)}),
            "goal": spaces.Tuple([VECTOR, spaces.Discrete(4, start=2)]),
            "list": spaces.Sequence(VECTOR),
            7: VECTOR,
        }  # pyright: ignore[reportArgumentType]
    )


class DrawnNested(Nested, Drawn):
    pass


class SameName(SampleEnv):
    observation_space = spaces.Dict({"arm": spaces.Dict({"joints": VECTOR}), "arm/joints": VECTOR})


class ForgetsPart(Nested):
    def observation(self) -> Any:
        observation: Any = super().observation()
        if self._frames == 2:
            del observation["arm"]["joints"]
        return observation


class Buttons(SampleEnv):
    action_space = spaces.Discrete(3, start=5)


class Panel(SampleEnv):
    action_space = spaces.MultiDiscrete([2, 3])


class Unbounded(SampleEnv):
    action_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)


class Switches(SampleEnv):
    action_space = spaces.MultiBinary([2, 2])


class Grid(SampleEnv):
    action_space = spaces.Box(np.float16(-2), np.float16(2), (1, 2), np.float16)


class WholeAction(SampleEnv):
    action_space = spaces.Box(0, 5, (2,), np.int32)


class EndlessButtons(SampleEnv):
    action_space = spaces.Discrete(10**9)


class Endless(SampleEnv):
    observation_space = spaces.Discrete(1_000_000)


class Nothing(SampleEnv):
    observation_space = spaces.Dict()


class TupleAction(SampleEnv):
    action_space = spaces.Tuple([spaces.Discrete(2), spaces.Discrete(2)])


class TupleObservation(SampleEnv):
    observation_space = spaces.Tuple([VECTOR, VECTOR])


class Tiny(SampleEnv):
    observation_space = spaces.Box(0, 255, (8, 8, 3), np.uint8)


class Symbols(SampleEnv):
    """A grid of numbers from 0 to 10, declared as bytes, as MiniGrid has it."""

    observation_space = spaces.Dict(
        {"image": spaces.Box(0, 255, (7, 7, 3), np.uint8), "direction": spaces.Discrete(4)}
    )

    def observation(self) -> Any:
        return {"image": np.full((7, 7, 3), 2 * self._frames, np.uint8), "direction": np.int64(3)}


class ChannelsFirst(SampleEnv):
    observation_space = spaces.Box(0, 255, (3, 64, 64), np.uint8)


class Masks(SampleEnv):
    """Images of zeros and ones, declared so."""

    observation_space = spaces.Box(0, 1, (64, 64, 3), np.uint8)


class FrameStack(SampleEnv):
    observation_space = spaces.Box(0, 255, (4, 64, 64, 3), np.uint8)


class FloatImage(SampleEnv):
    observation_space = spaces.Box(0, 1, (64, 64, 3), np.float32)


class UnboundedImage(SampleEnv):
    observation_space = spaces.Box(-np.inf, np.inf, (64, 64, 3), np.float32)


class WrongShape(SampleEnv):
    def observation(self) -> Any:
        return np.zeros(3 if self._frames < 2 else 4, np.float32)


class NanObservation(SampleEnv):
    def observation(self) -> Any:
        return np.full(3, np.nan if self._frames == 2 else 0.0, np.float32)


class NanReward(SampleEnv):
    def reward(self) -> float:
        return float("nan") if self._frames == 2 else 0.0


class Seeded(SampleEnv):
    """Hands its seed to a C library, as simulators do."""

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        self.seeds: list[int] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        if seed is not None:
            struct.pack("i", seed)
            self.seeds.append(seed)
        return super().reset(seed=seed)


class OldStep(SampleEnv):
    def step(self, action: Any) -> Any:
        return (*super().step(action)[:3], {})


class OldReset(SampleEnv):
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        return super().reset(seed=seed)[0]


class ResetWithoutSeed(SampleEnv):
    def reset(self):  # pyright: ignore[reportIncompatibleMethodOverride]
        return super().reset()


class RaisesInReset(SampleEnv):
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        raise KeyError("the arm")


class RaisesInRender(Drawn):
    def render(self):
        raise OSError("no display")


class RaisesInClose(SampleEnv):
    def close(self):
        raise RuntimeError("already closed")


class RaisesInInit(SampleEnv):
    def __init__(self, render_mode: str | None = None) -> None:
        raise ValueError("no robot\nfound")


class LeavesInInit(SampleEnv):
    def __init__(self, render_mode: str | None = None) -> None:
        sys.exit(3)


class Ends(BaseException):
    """An exception beside the usual ones, as some libraries have it."""


class RaisesAnything(SampleEnv):
    def __init__(self, how: str, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        self._how = how

    def reward(self) -> float:
        raise {"base": Ends, "window": KeyboardInterrupt, "unprintable": UnprintableError}[self._how]()


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError


class RaisesInCloseAgain(SampleEnv):
    """Can be closed once."""

    closed = False

    def close(self) -> None:
        if self.closed:
            raise RuntimeError("already closed")
        self.closed = True


class LeavesInClose(SampleEnv):
    def close(self) -> None:
        sys.exit(3)


class ChangesSurroundings(SampleEnv):
    """Handles signals itself, computes as it likes, closes the output, and goes to the folder of its files."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        import torch

        signal.signal(signal.SIGTERM, lambda *_: None)
        torch.set_grad_enabled(False)
        torch.set_default_dtype(torch.float64)
        os.chdir(tempfile.gettempdir())
        return super().reset(seed=seed)


class OtherEachTime(SampleEnv):
    """Shows one number more each time it is made in a process."""

    made = int(os.environ.get("MADE", os.getpid() % 1000))

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        OtherEachTime.made += 1
        self.observation_space = spaces.Box(-1, 1, (OtherEachTime.made,), np.float32)


class NeedsArgument(SampleEnv):
    def __init__(self, robot: str, render_mode: str | None = None) -> None:
        super().__init__(render_mode)


class WithArguments(SampleEnv):
    """Shows what it was made with."""

    observation_space = spaces.Box(-100, 100, (2,), np.float32)

    def __init__(self, robot: str, speed: float = 1, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        self._values = np.array([len(robot), speed], np.float32)

    def observation(self) -> Any:
        return self._values


class NoRenderMode(Drawn):
    def __init__(self) -> None:
        super().__init__(None)


class ForgetsRenderMode(Drawn):
    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(None)

    def render(self):
        return super().render() if self.render_mode == "rgb_array" else None


class NoSpaces(gym.Env):
    pass


class RaisesInSpace(SampleEnv):
    @property
    def observation_space(self) -> gym.Space:  # pyright: ignore[reportIncompatibleVariableOverride]
        raise NotImplementedError("later")


class RaisesWithoutAWord(SampleEnv):
    def reward(self) -> float:
        raise AssertionError


class NoEnv:
    pass


class Raises(SampleEnv):
    def reward(self) -> float:
        return 1 / (2 - self._frames)


class Exits(SampleEnv):
    def reward(self) -> float:
        return os._exit(3) if self._frames == 2 else 0.0


class Hangs(SampleEnv):
    def reward(self) -> float:
        if self._frames == 2:
            time.sleep(600)
        return 0.0


class Stalls(SampleEnv):
    """Hangs when a worker process has sent the beginning of an answer."""

    def reward(self) -> float:
        if self._frames == 2:
            os.write(int(sys.argv[1]), struct.pack("!i", 1000))  # the length of a message, and nothing more
            time.sleep(600)
        return 0.0


SHARE = 0.3
"""Of the episodes of `Fragile`, how many fail."""


class Scalar(SampleEnv):
    observation_space = spaces.Box(-1, 1, (), np.float32)


class Numbers(SampleEnv):
    """Numbers in every space that Gymnasium has for them, beside what has none."""

    observation_space = spaces.Dict(
        {
            "bits": spaces.MultiBinary((2, 3)),
            "dials": spaces.MultiDiscrete([3, 4]),
            "many": spaces.Sequence(VECTOR),
        }
    )


class EndsTwice(SampleEnv):
    def step(self, action: Any) -> Any:
        observation, reward, terminated, _, info = super().step(action)
        return observation, np.int64(reward), np.bool_(terminated), np.bool_(terminated), info


class NoInfoLater(SampleEnv):
    def step(self, action: Any) -> Any:
        return (*super().step(action)[:4], {} if self._frames < 3 else None)


class DrawnNothingLater(Drawn):
    def render(self) -> Any:
        return super().render() if self._frames < 3 else None


class DrawnList(Drawn):
    def render(self) -> Any:
        return [super().render()]


class Fragile(SampleEnv):
    """Runs for 20 frames; in a share of the episodes, which follow from their seeds, frame 15 or the reset fails."""

    def __init__(self, how: str = "raise", render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        self.observation_space = spaces.Box(-1, 1, (3,), np.float32)  # its own, as it is sampled from
        self._how = how

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        observation, info = super().reset(seed=seed)
        self._breaks = self.np_random.random() < SHARE
        if self._how == "reset":
            self._fail()
        return observation, info

    def step(self, action: Any):
        observation, reward, _, _, info = super().step(action)
        if self._breaks and self._frames == 15:
            self._fail()
            observation = {"nan": np.full(3, np.nan), "shape": np.zeros(4)}.get(self._how, observation)
            reward = float("nan") if self._how == "reward" else reward
        return observation, reward, self._frames == 20, False, info

    def _fail(self) -> None:
        if self._how in ("raise", "reset") and self._breaks:
            raise OSError("the simulator crashed")
        if self._how == "exit":
            os._exit(3)
        if self._how == "hang":
            time.sleep(600)


class DislikesASeed(SampleEnv):
    """Fails when it is reset with seed 7."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        if seed == 7:
            raise OSError("the objects collide")
        return super().reset(seed=seed)


class OnlyOne(Drawn):
    """A simulator that binds an address, so that only one may be open."""

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(render_mode)
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.bind("\0" + os.environ["ONLY_ONE"])
        except OSError:
            self._socket.close()
            raise

    def close(self) -> None:
        self._socket.close()


class DrawnInside(gym.wrappers.AddRenderObservation):
    """Shows its picture beside its state, as a wrapper that cannot be made without a render mode."""

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(Drawn(render_mode), render_only=False)


for sample in [
    *SampleEnv.__subclasses__(),
    *Drawn.__subclasses__(),
    ForgetsPart,
    NoSpaces,
    NoEnv,
    DrawnInside,
]:
    gym.register(f"{sample.__name__}-v0", f"{__name__}:{sample.__name__}")
gym.register("Sample-v0", f"{__name__}:SampleEnv")
gym.register("OldStepLimited-v0", f"{__name__}:OldStep", max_episode_steps=3)
gym.register("Short-v0", f"{__name__}:SampleEnv", max_episode_steps=3)
for how in ("raise", "exit", "hang", "nan", "reward", "shape", "reset"):
    gym.register(f"Fragile-{how}-v0", f"{__name__}:Fragile", kwargs={"how": how})
