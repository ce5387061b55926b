"""Asynchronous collection: what it acts with, that results do not depend on timing, and that it is concurrent."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
import torch

from dreamer.envs import VectorEnv, worker
from dreamer.errors import UserError
from dreamer.export.export import export_run
from dreamer.storage.checkpoint import load
from dreamer.training import async_collect, trainer
from dreamer.training.async_collect import AsyncCollector
from dreamer.training.collect import Collector
from dreamer.training.trainer import Trainer
from training.runs import Stop, call_after, config, everything, metrics, run, same, weights

SAMPLES = Path(__file__).parents[1] / "envs"
ASYNC: dict[str, Any] = {"async_collect": True}
PLAN = {"plan_horizon": 3, "plan_iterations": 2, "plan_candidates": 20, "plan_elites": 4}
PATIENCE = 60.0
"""Seconds that a test waits for the other thread; reached only when it fails."""


@pytest.fixture
def _no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the seconds in which worker processes start: a toy may live in the collecting thread."""
    monkeypatch.setattr(
        trainer, "VectorEnv", lambda settings, n, seed, workers=False: VectorEnv(settings, n, seed)
    )


def collector_of(running: Trainer) -> AsyncCollector:
    assert isinstance(running.collector, AsyncCollector)
    return running.collector


def before_each(target: Any, method: str, then: Callable[[int], object]) -> None:
    """Call `then` with the number of the call, from 1, before each call of a method."""
    original, calls = getattr(target, method), iter(range(1, 10**9))

    def watched(*args: Any, **named: Any) -> Any:
        then(next(calls))
        return original(*args, **named)

    setattr(target, method, watched)


def finish(running: Trainer) -> Trainer:
    try:
        running.run()
    finally:
        running.close()
    return running


# -- the schedule ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_envs", [1, 3])
@pytest.mark.parametrize("async_collect", [False, True])
def test_ratio_of_updates_to_frames_is_exact(async_collect: bool, num_envs: int, tmp_path: Path) -> None:
    """Three environments take 6 frames at a time, which do not divide the 100 between two rounds."""
    running = Trainer(config(async_collect=async_collect, num_envs=num_envs), tmp_path)
    rounds: list[tuple[int, int]] = []
    before_each(
        running, "_interact", lambda _: rounds.append((running.counters.env_step, running.counters.grad_step))
    )
    finish(running)
    start = 200 if num_envs == 1 else 204
    assert running.rounds.start == start
    for env_step, grad_step in [*rounds, (running.counters.env_step, running.counters.grad_step)]:
        assert grad_step == (4 * (1 + (env_step - start) // 100) if env_step >= start else 0)
    assert running.counters.env_step == (600 if num_envs == 1 else 606 - 6)
    assert running.counters.agent_step * 2 == running.counters.env_step


@pytest.mark.usefixtures("_no_processes")
def test_acting_weights_are_those_from_before_the_updates(tmp_path: Path) -> None:
    """Rounds begin at 200, 300, ... frames; the first is taken alone, so what it learned acts twice."""
    running = Trainer(config(**ASYNC, pretrain_model=3), tmp_path)
    actor = collector_of(running).collector.agent
    round_starts, acting = {}, {}

    def snapshot(agent: Any) -> list[torch.Tensor]:
        return [x.clone() for x in agent.algorithm.state_dict().values()]

    before_each(
        running,
        "_learn",
        lambda _: round_starts.setdefault(running.counters.env_step, snapshot(running.agent)),
    )
    before_each(actor, "policy", lambda n: acting.setdefault(200 + 2 * (n - 1), snapshot(actor)))
    finish(running)
    assert list(acting) == list(range(200, 600, 2))
    for env_step, used in acting.items():
        assert same(used, round_starts[max(300, env_step // 100 * 100)]), env_step
    assert not same(round_starts[300], round_starts[400])


def test_runs_with_and_without_are_equal_up_to_the_second_round(tmp_path: Path) -> None:
    """So it is with the same seeds, in a process as in this one."""
    one, other = (run(config(async_collect=a, steps=300), tmp_path / str(a)) for a in (False, True))
    assert other.envs._env is None
    assert same(weights(one), weights(other))
    assert everything(one)["files"] == everything(other)["files"]
    assert metrics(tmp_path / "False") == metrics(tmp_path / "True")
    assert same(everything(one)["collector"], everything(other)["collector"]["collector"])


@pytest.mark.usefixtures("_no_processes")
@pytest.mark.parametrize(
    "options", [{"agent": "random"}, {"agent": "planet", **PLAN}, {"agent": "no-value"}], ids=str
)
def test_every_agent_can_collect_asynchronously(options: dict[str, Any], tmp_path: Path) -> None:
    running = run(config(**ASYNC, **options, steps=420), tmp_path / "run")
    assert (running.counters.env_step, len(running.store)) == (420, 8)
    assert running.counters.grad_step == (0 if options["agent"] == "random" else 12)
    if options["agent"] != "random":
        export_run(tmp_path / "run", tmp_path / "policy.pt")


def test_resumed_run_may_not_change_async_collect(tmp_path: Path) -> None:
    run(config(steps=200), tmp_path / "run")
    with pytest.raises(UserError, match=r"async_collect was False, now True"):
        Trainer(config(steps=200, **ASYNC), tmp_path / "run")


# -- no timing shows ---------------------------------------------------------------------------------------


class Inline:
    """An executor without a thread: whatever is submitted is done before `submit` returns."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def submit(self, call: Callable[[], None]) -> "Future[None]":
        future: Future[None] = Future()
        future.set_result(call())
        return future

    def shutdown(self, wait: bool = True) -> None: ...


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """State and record of a run without a thread: each round is collected before its first update."""
    logdir = tmp_path_factory.mktemp("whole") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(async_collect, "ThreadPoolExecutor", Inline)
        running = run(config(**ASYNC), logdir)
    return everything(running), metrics(logdir)


@pytest.mark.parametrize("slow", ["neither", "collector", "learner"])
@pytest.mark.usefixtures("_no_processes")
def test_timing_of_threads_changes_nothing(slow: str, tmp_path: Path, whole: Any) -> None:
    running = Trainer(config(**ASYNC), tmp_path / "run")
    if slow == "collector":
        before_each(collector_of(running).collector, "step", lambda n: time.sleep(0.005 * (n % 3)))
    if slow == "learner":
        before_each(running.agent, "update", lambda _: time.sleep(0.1))
    finish(running)
    assert same(everything(running), whole[0])
    assert metrics(tmp_path / "run") == whole[1]


@pytest.mark.usefixtures("_no_processes")
def test_round_may_begin_before_the_task_of_the_last_one_has_returned(tmp_path: Path) -> None:
    running = Trainer(config(**ASYNC, steps=400, eval_every=0, checkpoint_every=1000), tmp_path)
    collector = collector_of(running)
    collect = collector._collect

    def collect_and_linger() -> None:
        collect()
        time.sleep(0.5)

    collector._collect = collect_and_linger  # type: ignore[method-assign]
    running.agent.update = lambda *_, **__: {"loss": torch.zeros(()), "skipped": torch.zeros(())}
    assert finish(running).counters.env_step == 400


def test_worker_processes_equal_an_environment_in_this_process(tmp_path: Path, whole: Any) -> None:
    assert same(everything(run(config(**ASYNC), tmp_path / "run")), whole[0])


@pytest.mark.usefixtures("_no_processes")
def test_planner_leaves_the_learners_autocast_cache_alone(tmp_path: Path) -> None:
    """PyTorch empties one cache for all threads when an autocast ends: the casts of the learner must stay."""
    running = Trainer(config(**ASYNC, agent="planet", **PLAN, precision="bfloat16", steps=310), tmp_path)
    layer, planned = torch.nn.Linear(4, 4), []

    def cast() -> Any:
        return layer(torch.ones(1, 4)).grad_fn.next_functions[0][0]

    def update(*_: Any, **__: Any) -> dict[str, torch.Tensor]:
        if running.counters.grad_step == 4:  # the first update of the second round
            with torch.autocast("cpu", torch.bfloat16):
                before = cast()
                planned.extend((_wait_for(lambda: collector_of(running).env_step == 310), before is cast()))
        return {"loss": torch.zeros(()), "skipped": torch.zeros(())}

    running.agent.update = update
    finish(running)
    assert planned == [True, True]


# -- stopping and going on ---------------------------------------------------------------------------------

STOPS = {
    "in a random episode": ("_interact", 37),
    "between frames of the first round": ("_interact", 130),
    "between frames collected ahead": ("_interact", 230),
    "in the first round of updates": ("_update", 2),
    "in a round of updates": ("_update", 6),
    "after the last update of a round": ("_update", 8),
    "in an evaluation": ("_evaluate", 1),
    "while a checkpoint is saved": ("_save", 1),
}


@pytest.mark.usefixtures("_no_processes")
@pytest.mark.parametrize("stop", STOPS.values(), ids=STOPS.keys())
def test_stopped_and_resumed_run_equals_an_uninterrupted_one(tmp_path: Path, stop: Stop, whole: Any) -> None:
    run(config(**ASYNC), tmp_path / "run", stop)
    resumed = run(config(**ASYNC), tmp_path / "run")
    assert resumed.resumed
    assert same(everything(resumed), whole[0])
    assert metrics(tmp_path / "run") == whole[1]


@pytest.mark.usefixtures("_no_processes")
@pytest.mark.parametrize(("ahead", "episodes"), [(60, 1), (100, 2)])
def test_checkpoint_within_a_round_keeps_what_was_collected_ahead(
    tmp_path: Path, ahead: int, episodes: int, whole: Any
) -> None:
    """The learner has taken one update of four, the collector `ahead` frames of 100, with whole episodes."""
    running = Trainer(config(**ASYNC), tmp_path / "run")
    collector = collector_of(running)

    def hold(_: int) -> None:
        if collector.env_step == 400 + ahead:
            assert _wait_for(collector._halting.is_set)

    def stop(n: int) -> None:
        if n == 9:  # the first update of the round at 400 frames
            assert _wait_for(lambda: collector.env_step == 400 + ahead)
            running.interrupt.requested = True

    before_each(collector.collector, "step", hold)
    before_each(running.agent, "update", stop)
    finish(running)
    saved = load(tmp_path / "run" / "checkpoint")
    assert saved is not None
    assert (saved["env_step"], saved["counters"]["grad_step"]) == (400, 9)
    # The agent step that was held is taken before the collector stops; at the end there is none left.
    assert saved["collector"]["env_step"] == min(500, 400 + ahead + 2)
    assert sum(len(finished) for _, finished, _, _ in saved["collector"]["ahead"]) == episodes
    kept = saved["collector"]["weights"]
    assert (kept is None) == (ahead == 100)
    assert kept is None or not same(kept["networks"], saved["agent"]["networks"])
    resumed = run(config(**ASYNC), tmp_path / "run")
    assert same(everything(resumed), whole[0])
    assert metrics(tmp_path / "run") == whole[1]


@pytest.mark.usefixtures("_no_processes")
@pytest.mark.parametrize("steps", [300, 340, 500])
def test_longer_run_goes_on_where_a_shorter_one_ended(tmp_path: Path, steps: int, whole: Any) -> None:
    """Nothing is collected beyond the end, and the rest of the round is acted with the same weights."""
    shorter = run(config(**ASYNC, steps=steps), tmp_path / "run")
    assert collector_of(shorter).env_step == shorter.counters.env_step == steps
    assert same(everything(run(config(**ASYNC), tmp_path / "run")), whole[0])


# -- beside each other -------------------------------------------------------------------------------------


def _wait_for(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + PATIENCE
    while not condition() and time.monotonic() < end:
        time.sleep(0.001)
    return condition()


def test_learning_and_collecting_are_concurrent(tmp_path: Path) -> None:
    """An update waits for agent steps of its round, and an agent step for updates: in sequence this would hang.

    So a round takes as long as the slower of the two, and not both.
    """
    running = Trainer(config(**ASYNC, steps=400), tmp_path)
    collector, met = collector_of(running), []

    def in_update(n: int) -> None:
        if n == 6:  # the second update of the round at 300 frames
            met.append(_wait_for(lambda: collector.env_step == 340))

    def in_agent_step(_: int) -> None:
        if collector.env_step == 340:
            met.append(_wait_for(lambda: running.counters.grad_step == 8))

    before_each(running.agent, "update", in_update)
    before_each(collector.collector, "step", in_agent_step)
    finish(running)
    assert met == [True, True]


# -- what goes wrong ---------------------------------------------------------------------------------------


class BrokenError(Exception):
    pass


def _break(running: Trainer, env_step: int) -> None:
    def fail(_: int) -> None:
        if collector_of(running).env_step == env_step:
            time.sleep(0.2)  # The learner, if it is quicker, waits for this agent step by now.
            raise BrokenError("the simulator is broken")

    before_each(collector_of(running).collector, "step", fail)


@pytest.mark.usefixtures("_no_processes")
def test_a_failure_during_updates_ends_the_round_at_once(tmp_path: Path) -> None:
    running = Trainer(config(**ASYNC, train_steps=50), tmp_path)
    _break(running, 340)
    collector = collector_of(running)
    before_each(running.agent, "update", lambda n: n == 53 and _wait_for(lambda: collector._idle))
    with pytest.raises(BrokenError, match="the simulator is broken"):
        finish(running)
    assert 50 < running.counters.grad_step <= 53


@pytest.mark.usefixtures("_no_processes")
@pytest.mark.parametrize("env_step", [240, 340])
def test_failure_of_the_collector_reaches_a_waiting_learner(env_step: int, tmp_path: Path) -> None:
    running = Trainer(config(**ASYNC), tmp_path)
    _break(running, env_step)
    with pytest.raises(BrokenError, match="the simulator is broken"):
        finish(running)


def test_killed_environment_is_told_with_its_cause_and_replaced(tmp_path: Path, caplog) -> None:
    running = Trainer(config(**ASYNC), tmp_path / "run")
    process = running.envs._workers[0]._process
    call_after(running, "_update", 6, process.kill)
    before_each(collector_of(running).collector, "step", lambda _: time.sleep(0.01))
    finish(running)
    assert "environment 0 (toy:dot) was killed by SIGKILL" in caplog.text
    assert running.counters.env_failures == 1
    assert running.counters.finished_at == 600


@pytest.mark.usefixtures("_no_processes")
def test_a_failed_round_is_not_saved(tmp_path: Path) -> None:
    """A stop must not hide that the agent step in progress failed: the checkpoint before it is good."""
    running = Trainer(config(**ASYNC), tmp_path)
    collector = collector_of(running)

    def fail(_: int) -> None:
        if collector.env_step == 440:
            assert _wait_for(collector._halting.is_set)
            raise BrokenError("the simulator is broken")

    def stop(n: int) -> None:
        if n == 9:  # the first update of the round at 400 frames
            assert _wait_for(lambda: collector.env_step == 440)
            running.interrupt.requested = True

    before_each(collector.collector, "step", fail)
    before_each(running.agent, "update", stop)
    with pytest.raises(BrokenError):
        finish(running)
    saved = load(tmp_path / "checkpoint")
    assert saved is not None
    assert saved["env_step"] == 300


@pytest.mark.usefixtures("_no_processes")
def test_nothing_is_collected_after_closing(tmp_path: Path) -> None:
    """A learner that fails ends the round of the collector too."""
    running = Trainer(config(**ASYNC), tmp_path)
    collector = collector_of(running)
    before_each(
        collector.collector,
        "step",
        lambda _: collector.env_step < 440 or _wait_for(collector._halting.is_set),
    )

    def fail(n: int) -> None:
        if n == 9:  # the first update of the round at 400 frames
            raise BrokenError("the learner is broken")

    before_each(running.agent, "update", fail)
    with pytest.raises(BrokenError):
        finish(running)
    assert collector._idle
    assert collector.env_step <= 442


def test_closing_does_not_wait_for_an_environment_that_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(SAMPLES))
    monkeypatch.setattr(async_collect, "CLOSE_TIMEOUT", 0.1)
    monkeypatch.setattr(worker, "_GOODBYE_SECONDS", 0.1)
    hangs = config(
        env="gym:sample_environments:Hangs-v0", obs="state", action_repeat=1, time_limit=1, **ASYNC
    )
    running = Trainer(hangs, tmp_path)
    collector = collector_of(running)
    collector.step(random=True)
    hung = threading.Event()
    original = running.envs.step

    def step_into_it(actions: Any) -> Any:
        hung.set()
        original(actions)
        return original(actions)  # the second frame never ends

    monkeypatch.setattr(running.envs, "step", step_into_it)
    collector.begin_round(100)
    assert hung.wait(PATIENCE)
    start = time.monotonic()
    running.close()
    assert _wait_for(lambda: collector._idle)
    assert time.monotonic() - start < PATIENCE / 2


# -- on a GPU ----------------------------------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.parametrize("async_collect", [False, True])
def test_acting_on_a_gpu_has_a_stream_of_its_own(async_collect: bool, tmp_path: Path) -> None:
    running = Trainer(config(async_collect=async_collect, device="cuda", num_envs=2), tmp_path / "run")
    streams: set[int] = set()
    collector = running.collector
    inner = collector if isinstance(collector, Collector) else collector.collector
    before_each(inner.agent, "policy", lambda _: streams.add(torch.cuda.current_stream().cuda_stream))
    call_after(running, "_update", 10, lambda: setattr(running.interrupt, "requested", True))
    finish(running)
    assert (torch.cuda.default_stream().cuda_stream in streams) != async_collect
    resumed = run(config(async_collect=async_collect, device="cuda", num_envs=2), tmp_path / "run")
    assert (resumed.counters.env_step, resumed.counters.grad_step) == (600, 20)
