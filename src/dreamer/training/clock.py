"""How far a run is, and what is due when. Everything here is saved in checkpoints.

What is due follows from the counters, and from when it was last done: a resumed run computes anew how many updates
it still has to take.
"""

import time
from dataclasses import asdict, dataclass, fields
from typing import Any

from dreamer.config import TrainConfig
from dreamer.types import Phase


@dataclass
class Counters:
    """How far a run is."""

    env_step: int = 0
    """Simulator frames of all environments; a repeated action counts every time."""
    agent_step: int = 0
    """Actions that the agent chose, for all environments together."""
    grad_step: int = 0
    """Updates."""
    episodes: int = 0
    """Finished episodes."""
    env_failures: int = 0
    """Failures of environments, in training and evaluation."""
    finished_at: int | None = None
    """The `env_step` of the final evaluation, once it has taken place."""

    def __post_init__(self) -> None:
        self._seconds = 0.0
        self._started: float | None = None

    def start(self) -> None:
        """Start to count the seconds."""
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds of training, summed over all starts of the run."""
        return self._seconds + (0.0 if self._started is None else time.monotonic() - self._started)

    def state_dict(self) -> dict[str, Any]:
        return {**asdict(self), "seconds": self.seconds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._seconds = state["seconds"]
        for counter in fields(self):
            setattr(self, counter.name, state.get(counter.name, counter.default))


class Every:
    """Due once `env_step` has crossed a multiple of `period` since the last `done`; never, if `period` is 0."""

    def __init__(self, period: int):
        self.period, self.last = period, 0

    def due(self, env_step: int) -> bool:
        """Whether it is due at `env_step`."""
        return self.period > 0 and env_step // self.period > self.last // self.period

    def done(self, env_step: int) -> None:
        """Note that it was done at `env_step`."""
        self.last = env_step

    def state_dict(self) -> dict[str, int]:
        return {"last": self.last}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.last = state["last"]


class Rounds:
    """Rounds of C = `train_steps` updates: one when the prefill is over, then one every `train_every` frames.

    The first round begins with the updates of pretraining.
    """

    def __init__(self, schedule: TrainConfig):
        self.schedule = schedule
        self.start: int | None = None  # the env_step of the first round

    def begun(self, env_step: int) -> int:
        """Return how many rounds are due by `env_step`."""
        if self.start is None:
            return 0
        return 1 + (env_step - self.start) // self.schedule.train_every

    def end(self, env_step: int) -> int:
        """Return the `env_step` at which the next round begins."""
        return (self.start or 0) + self.begun(env_step) * self.schedule.train_every

    def updates_due(self, env_step: int) -> int:
        """Return how many updates should have been taken by `env_step`, in all rounds together."""
        if not self.begun(env_step):
            return 0
        pretraining = self.schedule.pretrain_model + self.schedule.pretrain_value
        return pretraining + self.begun(env_step) * self.schedule.train_steps

    def phase(self, grad_step: int) -> Phase:
        """Return which networks update number `grad_step`, counted from 0, trains."""
        if grad_step < self.schedule.pretrain_model:
            return "model"
        if grad_step < self.schedule.pretrain_model + self.schedule.pretrain_value:
            return "model and value"
        return "all"

    def doing(self, grad_step: int) -> str:
        """Return what the run does after so many updates, in a word or two."""
        pretraining = self.schedule.pretrain_model + self.schedule.pretrain_value
        if self.start is None:
            return "prefill"
        return f"pretraining {grad_step:,}/{pretraining:,}" if grad_step < pretraining else "learning"

    def state_dict(self) -> dict[str, int | None]:
        return {"start": self.start}

    def load_state_dict(self, state: dict[str, int | None]) -> None:
        self.start = state["start"]
