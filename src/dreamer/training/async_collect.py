"""Asynchronous collection (`--async-collect`): a thread acts one round ahead while the learner updates.

While the learner takes the updates that are due, the frames up to the next round of updates are collected
with a copy of the weights from before those updates. Synchronously, the same frames are collected after the
updates, with the weights that they have made. Nothing else differs, and both take as many updates per frame.

    frames since learning began   1000 to 2000              2000 to 3000
    updates at the same time      the second round          the third
    weights that act              from after the first      from after the second

Results do not depend on the timing of threads: weights are copied when a round begins, and what was collected
is handed out, agent step by agent step, when the updates have been taken. Nothing is collected during the
first round of updates, since the policy has not learned anything yet.
"""

import contextlib
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import torch

from dreamer.agents.agent import Agent
from dreamer.agents.make import make_agent
from dreamer.config import Config
from dreamer.envs.vector import VectorEnv
from dreamer.training.collect import Collector, Step
from dreamer.training.episode_builder import EpisodeBuilder
from dreamer.training.ray_actors import RayActors, RayCollector

CLOSE_TIMEOUT = 5.0
"""Seconds that `close` waits for the agent step in progress."""


def make_collector(envs: VectorEnv, agent: Agent, config: Config) -> "Collector | AsyncCollector":
    """Return the collector that `config` names; an asynchronous one acts with an agent of its own."""
    n, schedule = config.environment.num_envs, config.training
    if not schedule.async_collect:
        return Collector(envs, agent, n, schedule.seed)
    actor = make_agent(envs.spec, config)
    kind = RayCollector if isinstance(envs, RayActors) else Collector
    return AsyncCollector(kind(envs, actor, n, schedule.seed), agent, schedule.steps)


class AsyncCollector:
    """Run `collector`, whose agent copies the learning `agent`, ahead in rounds, up to `limit` frames.

    All methods are to be called by the learner's thread. `begin_round`, `step`, `check` and `state_dict` raise
    whatever exception has ended the collecting thread.
    """

    def __init__(self, collector: Collector, agent: Agent, limit: int):
        self.collector, self.agent, self.limit = collector, agent, limit
        self.env_step = 0  # frames taken, those not yet handed out included
        self.round_end = 0  # the env_step up to which the copied weights act
        self._ahead: deque[Step] = deque()
        self._changed = threading.Condition()  # guards env_step and _ahead
        self._halting = threading.Event()
        self._running: Future[None] | None = None
        # PyTorch has one cache of autocast's weights for all threads, emptied when the outermost autocast of
        # ANY thread ends: one level deeper, the planner's autocast here leaves the learner's cache alone.
        deeper = torch.autocast_increment_nesting
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="collector", initializer=deeper)
        # An agent step is short and an update long: kernels of the first go before those of the second.
        on_gpu = agent.device.type == "cuda"
        self._stream = torch.cuda.Stream(agent.device, priority=-1) if on_gpu else None

    def begin_round(self, end: int) -> None:
        """Collect until `env_step` is `end`, with the present weights of the learning agent.

        A round whose frames are not all handed out goes on as it began, also after a resume.
        """
        self.check()
        with self._changed:
            over = self.env_step >= self.round_end and not self._ahead
        if over:
            self._halt()
            self.collector.load_acting_state(self.agent.acting_state())
            self.round_end = end
        self._go_on()

    def step(self, random: bool) -> Step:
        """Return the next agent step of the round, and wait for it; a random one is taken right here."""
        if random:
            step = self.collector.step(random=True)
            self.env_step += step.frames
            return step
        with self._changed:
            self._changed.wait_for(lambda: self._ahead or self._idle)
        self.check()
        with self._changed:
            return self._ahead.popleft()

    def check(self) -> None:
        """Raise the exception that has ended the thread, if it failed."""
        if self._running is not None and self._running.done():
            self._running.result()

    def close(self) -> None:
        """Stop the thread; if its environment hangs, closing the environments ends it."""
        self._halting.set()
        if self._running is not None:
            wait([self._running], CLOSE_TIMEOUT)
        self._thread.shutdown(wait=False)

    # -- the thread --------------------------------------------------------------------------------------

    def _go_on(self) -> None:
        """Let the thread work at the round if it is not complete, and if no environment has ended the run."""
        failed = bool(self._ahead) and self._ahead[-1].fatal is not None
        if not self._idle or self.env_step >= self._until or failed:
            return
        if self._stream is not None:  # The weights were copied on the learner's stream.
            self._stream.wait_stream(torch.cuda.current_stream(self.agent.device))
        self._running = self._thread.submit(self._collect)
        self._running.add_done_callback(self._notify)  # `step` must not wait for a thread that has failed.

    def _collect(self) -> None:
        stream = contextlib.nullcontext() if self._stream is None else torch.cuda.stream(self._stream)
        with stream:
            while self.env_step < self._until and not self._halting.is_set():
                step = self.collector.step(random=False)
                with self._changed:
                    self._ahead.append(step)
                    self.env_step += step.frames
                    self._changed.notify_all()
                if step.fatal is not None:
                    return

    def _halt(self) -> None:
        """Wait for the agent step in progress, and take no further one until `_go_on`."""
        self._halting.set()
        if self._running is not None:
            wait([self._running])
        self._halting.clear()
        if self._stream is not None:
            torch.cuda.current_stream(self.agent.device).wait_stream(self._stream)

    @property
    def _until(self) -> int:
        return min(self.round_end, self.limit)

    @property
    def _idle(self) -> bool:
        return self._running is None or self._running.done()

    def _notify(self, _: "Future[None]") -> None:
        with self._changed:
            self._changed.notify_all()

    # -- saving ------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return the collector's state, the steps ahead, and the acting weights unless their round is over."""
        self._halt()
        self.check()
        complete = self.env_step >= self.round_end
        return {
            "collector": self.collector.state_dict(),
            "env_step": self.env_step,
            "round_end": self.round_end,
            "ahead": [_to_state(step) for step in self._ahead],
            "weights": None if complete else self.collector.agent.acting_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly where `state_dict` was taken, in the middle of a round too."""
        self.collector.load_state_dict(state["collector"])
        self.env_step, self.round_end = state["env_step"], state["round_end"]
        self._ahead = deque(map(_from_state, state["ahead"]))
        if state["weights"] is not None:
            self.collector.load_acting_state(state["weights"])


def _to_state(step: Step) -> list[Any]:
    """Return a step for a checkpoint. That it was to end the run is left out: the one that goes on tries again."""
    finished, broken = ([each.state_dict() for each in episodes] for episodes in (step.finished, step.broken))
    return [step.frames, finished, broken, step.failures]


def _from_state(state: list[Any]) -> Step:
    frames, finished, *rest = state
    broken, failures = rest or ([], 0)  # nothing more in checkpoints of before there were failures
    finished, broken = (list(map(EpisodeBuilder.from_state_dict, each)) for each in (finished, broken))
    return Step(frames, finished, broken, failures)
