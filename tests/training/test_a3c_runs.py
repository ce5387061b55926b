"""A3C through whole short runs: workers that learn, die, fail, stop and go on; and a toy learned."""

import os
import signal
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from dreamer.api import dream
from dreamer.config import Config, with_options
from dreamer.envs.failures import EnvError
from dreamer.errors import UserError
from dreamer.export.export import export_run
from dreamer.export.policy import load_policy
from dreamer.presets import preset
from dreamer.storage import checkpoint
from dreamer.storage.load import load_run
from dreamer.training.a3c_trainer import A3CTrainer
from dreamer.training.evaluate import evaluate
from training.runs import call_after, metrics, same

RANDOM = 20.0
"""Mean return of random actions on `toy:dot`, for 100 frames."""


def config(**options: Any) -> Config:
    """A run of 600 frames of `toy:dot` with one worker: 12 episodes of 50 frames, two evaluations."""
    short = {"steps": 600, "time_limit": 50, "workers": 1, "eval_every": 300, "checkpoint_every": 200}
    return with_options(preset("debug", agent="a3c"), short | options)


def run(settings: Config, logdir: Path) -> A3CTrainer:
    with closing(A3CTrainer(settings, logdir)) as trainer:
        assert trainer.run()
    return trainer


def learned(trainer: A3CTrainer) -> dict[str, Any]:
    state = trainer.state_dict()
    return {key: state[key] for key in ("agent", "env_step", "starts")}


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> A3CTrainer:
    """A whole run with one worker: each worker takes seconds to load PyTorch."""
    return run(config(), tmp_path_factory.mktemp("one") / "run")


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> A3CTrainer:
    """A whole run with three workers."""
    return run(config(workers=3, steps=1500), tmp_path_factory.mktemp("three") / "run")


@pytest.fixture(scope="module")
def discrete(tmp_path_factory: pytest.TempPathFactory) -> A3CTrainer:
    """A whole run with discrete actions."""
    return run(config(env="gym:CartPole-v1"), tmp_path_factory.mktemp("discrete") / "run")


def test_a_run_with_one_worker_repeats_itself(one: A3CTrainer, tmp_path: Path) -> None:
    other = run(config(), tmp_path / "other")
    assert same(learned(one), learned(other))
    assert metrics(one.run_directory.path) == metrics(tmp_path / "other")
    third = run(config(seed=1), tmp_path / "third")
    assert not same(learned(one)["agent"], learned(third)["agent"])


def test_everything_due_takes_place_where_it_is_due(one: A3CTrainer) -> None:
    lines = metrics(one.run_directory.path)
    # Rollouts of 20 steps, cut at the end of each episode of 50: 20, 20, 10.
    assert [line["env_step"] for line in lines if "eval/return" in line] == [300, 600]
    assert [line["env_step"] for line in lines if "train/return" in line] == list(range(50, 601, 50))
    assert lines[-1]["grad_step"] == 36
    assert {"actor/loss", "value/loss", "actor/entropy"} <= {key for line in lines for key in line}


def test_the_weights_evaluated_are_those_of_the_limit(tmp_path: Path) -> None:
    with closing(A3CTrainer(config(), tmp_path)) as trainer:
        original, distances = trainer._evaluate, []

        def evaluated(episodes: int) -> bool:
            pairs = zip(trainer.evaluated.algorithm.parameters(), at_limit[-1], strict=True)
            distances.append(max(float((x.detach() - y).abs().max()) for x, y in pairs))
            return original(episodes)

        at_limit = []
        original_watch = trainer._watch_until_all_wait

        def watch() -> None:
            original_watch()
            at_limit.append([x.detach().clone() for x in trainer.shared.parameters()])

        trainer._evaluate, trainer._watch_until_all_wait = evaluated, watch  # type: ignore[method-assign]
        trainer.run()
    assert distances == [0.0, 0.0]


def test_workers_share_what_they_learn(three: A3CTrainer) -> None:
    assert (three.board.counts[2] > 0).all()
    assert three.counters.grad_step == int(three.board.counts[2].sum())
    # Each worker may be in the middle of a rollout when the limit is reached.
    assert 1500 <= three.counters.env_step < 1500 + 3 * 20
    assert three.shared.optimizers.squares[0].any()


def test_a_stopped_run_goes_on_from_a_consistent_state(tmp_path: Path) -> None:
    with closing(A3CTrainer(config(workers=2), tmp_path)) as trainer:
        call_after(trainer, "_receive", 3, lambda: setattr(trainer.interrupt, "requested", True))
        assert not trainer.run()
        before = trainer.counters.grad_step
        assert 0 < trainer.counters.env_step < 600
        saved = checkpoint.load(trainer.run_directory.checkpoints)
    assert saved is not None
    assert saved["agent"]["optimizers"]["grad_step"] == before
    with closing(A3CTrainer(config(workers=2), tmp_path)) as again:
        assert again.resumed
        torch.testing.assert_close(again.shared.state_dict(), saved["agent"]["networks"])
        torch.testing.assert_close(again.shared.optimizers.squares, saved["agent"]["optimizers"]["squares"])
        assert again.run()
        assert again.counters.grad_step > before
    steps = [line["env_step"] for line in metrics(tmp_path)]
    assert steps == sorted(steps)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
def test_a_signal_to_all_processes_stops_the_run_at_once_and_saved(
    number: signal.Signals, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As a scheduler sends it: the workers leave SIGTERM to this process, and those that die have no successors."""
    with closing(A3CTrainer(config(workers=2, steps=10**6), tmp_path)) as trainer:

        def stop() -> None:
            board = trainer.board
            while not ((board.counts[2] > 0) | (board.waiting >= 0)).all():
                # One may be loading PyTorch still. If it comes late, it waits at the limit.
                time.sleep(0.01)
            trainer.interrupt.requested = True
            for process in trainer.processes:
                assert process.pid is not None
                os.kill(process.pid, number)

        call_after(trainer, "_receive", 3, stop)
        assert not trainer.run()
        assert trainer.starts == 2
        for process in trainer.processes:
            # The files of a process are closed a little before it has ended.
            process.join(0 if number == signal.SIGTERM else 60)
            assert process.is_alive() == (number == signal.SIGTERM)
        saved = checkpoint.load(trainer.run_directory.checkpoints)
    assert saved is not None
    assert saved["env_step"] == int(trainer.board.total()[0])
    assert "died" not in caplog.text


def test_checkpoints_are_taken_while_nobody_learns(tmp_path: Path) -> None:
    with closing(A3CTrainer(config(workers=2, steps=1000), tmp_path)) as trainer:
        original, waiting = trainer._save, []

        def save() -> None:
            waiting.append(trainer.board.all_wait())
            before = [x.clone() for x in trainer.shared.parameters()]
            original()
            torch.testing.assert_close(list(trainer.shared.parameters()), before, rtol=0, atol=0)

        trainer._save = save  # type: ignore[method-assign]
        trainer.run()
    assert len(waiting) >= 4
    assert all(waiting)


def test_a_killed_worker_is_replaced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with closing(A3CTrainer(config(workers=2, steps=3000), tmp_path)) as trainer:
        call_after(trainer, "_receive", 4, lambda: os.kill(_one_that_has_learned(trainer), signal.SIGKILL))
        assert trainer.run()
        assert trainer.starts == 3
        assert 3000 <= trainer.counters.env_step < 3100
    assert "another takes its place" in caplog.text


def test_a_worker_that_dies_before_it_has_learned_ends_the_run_saved(tmp_path: Path) -> None:
    with closing(A3CTrainer(config(), tmp_path)) as trainer:
        call_after(trainer, "_begin", 1, lambda: [process.kill() for process in trainer.processes])
        with pytest.raises(UserError, match="Worker 0 died before its first update"):
            trainer.run()
    assert checkpoint.load(trainer.run_directory.checkpoints) is not None


def _one_that_has_learned(trainer: A3CTrainer) -> int:
    process_id = trainer.processes[int(trainer.board.counts[2].argmax())].pid
    assert process_id is not None
    return process_id


def test_a_worker_that_fails_ends_the_run_with_its_cause(tmp_path: Path, monkeypatch) -> None:
    samples = Path(__file__).parents[1] / "envs"
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(samples), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.syspath_prepend(str(samples))
    settings = config(env="toy:dot", workers=2)
    with closing(A3CTrainer(settings, tmp_path)) as trainer:
        # The workers' environment is another than the one that was tried out before: its name is unknown.
        broken = with_options(settings, {"env": "toy:nowhere"})
        trainer.shared.config = broken
        with pytest.raises(UserError, match="no toy environment 'nowhere'"):
            trainer.run()
        processes = trainer.processes
    assert not any(process.is_alive() for process in processes)


def test_updates_that_are_not_finite_end_the_run_and_spoil_no_checkpoint(tmp_path: Path) -> None:
    first = run(config(steps=100, eval_every=0), tmp_path)
    kept = [path.name for path in sorted((tmp_path / "checkpoint").iterdir())]
    with (
        closing(A3CTrainer(config(lr=1e9, checkpoint_every=10**6), tmp_path)) as trainer,
        pytest.raises(UserError, match="updates in a row were not finite, first in value/loss"),
    ):
        trainer.run()
    assert [path.name for path in sorted((tmp_path / "checkpoint").iterdir())] == kept
    again = run(config(), tmp_path)
    assert again.counters.env_step == 600
    assert again.counters.grad_step > first.counters.grad_step


def test_workers_import_neither_the_running_script_nor_modules_that_stand_in_for_pythons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = ModuleType("__main__")
    script.__file__ = str(tmp_path / "script.py")
    for name in ("script.py", "pickle.py"):
        (tmp_path / name).write_text("raise SystemExit('imported')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "__main__", script)
    assert run(config(steps=60, eval_every=0), tmp_path / "run").counters.env_step >= 60
    assert sys.modules["__main__"] is script
    assert "PYTHONSAFEPATH" not in os.environ


def test_an_environment_of_the_running_script_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    gym.register("Here-v0", entry_point=lambda **_: None)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="registered in the running script"):
        A3CTrainer(config(env="gym:Here-v0"), tmp_path / "run")
    del gym.registry["Here-v0"]
    assert not (tmp_path / "run").exists()


def test_a_worker_whose_environment_fails_is_replaced(tmp_path: Path, monkeypatch, caplog) -> None:
    samples = Path(__file__).parents[1] / "envs"
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(samples), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.syspath_prepend(str(samples))
    env = "gym:sample_environments:Fragile-raise-v0"
    trainer = run(config(env=env, steps=200, eval_every=0, action_repeat=1, workers=1), tmp_path)
    assert trainer.counters.env_failures > 0
    assert "Another episode begins (failure 1 of at most 10 in a row)" in caplog.text
    assert trainer.counters.episodes > 3


def test_a_worker_whose_environment_hangs_is_replaced(tmp_path: Path, monkeypatch, caplog) -> None:
    """A worker that is stopped stands for one whose simulator does not return; it has said nothing by then."""
    with closing(
        A3CTrainer(config(workers=2, steps=3000, eval_every=0, worker_timeout=5.0), tmp_path)
    ) as trainer:
        call_after(trainer, "_receive", 4, lambda: os.kill(_one_that_has_learned(trainer), signal.SIGSTOP))
        assert trainer.run()
        assert trainer.starts >= 3
        assert trainer.counters.env_failures == trainer.starts - 2
        assert trainer.counters.env_step >= 3000
    assert "has taken no update for 5 s and was stopped: its environment hangs" in caplog.text


def test_too_many_failures_end_the_run_saved_and_it_goes_on(tmp_path: Path, monkeypatch) -> None:
    samples = Path(__file__).parents[1] / "envs"
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(samples), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.syspath_prepend(str(samples))
    rare = {"workers": 2, "rollout": 5, "eval_every": 0, "checkpoint_every": 10**6}  # it fails in frame 15
    fragile = config(env="gym:sample_environments:Fragile-raise-v0", **rare)
    with (
        closing(A3CTrainer(with_options(fragile, {"env_failures": 0}), tmp_path)) as trainer,
        pytest.raises(EnvError, match="the simulator crashed"),
    ):
        trainer.run()
    saved = checkpoint.load(trainer.run_directory.checkpoints)
    assert saved is not None
    assert saved["env_step"] == trainer.counters.env_step == int(trainer.board.total()[0]) > 0
    again = run(with_options(fragile, {"steps": saved["env_step"] + 20}), tmp_path)
    assert again.resumed
    assert again.counters.env_step >= saved["env_step"] + 20


def test_no_process_is_left_behind(three: A3CTrainer) -> None:
    assert len(three.processes) == 3
    assert not any(process.is_alive() for process in three.processes)
    assert threading.active_count() < 20


@pytest.mark.parametrize("kind", ["one", "discrete"])
def test_the_exported_policy_acts_as_in_evaluation(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    run_directory = request.getfixturevalue(kind).run_directory.path
    loaded = load_run(run_directory)
    envs = loaded.make_envs()
    expected = evaluate(loaded.agent, envs, 1, seed=3).returns
    export_run(run_directory, tmp_path / "policy.pt")
    policy = load_policy(tmp_path / "policy.pt")
    assert evaluate(policy.agent, envs, 1, seed=3).returns == expected
    assert loaded.agent.spec.action.discrete == (kind == "discrete")
    assert np.abs(policy.act(envs.reset(0, 5))).max() <= 1
    envs.close()


def test_there_is_nothing_to_dream(one: A3CTrainer) -> None:
    with pytest.raises(UserError, match="no world model"):
        dream(one.run_directory.path)


def test_frames_after_the_rate_has_become_zero_are_told(tmp_path: Path, caplog) -> None:
    with closing(A3CTrainer(config(anneal=599), tmp_path)):
        pass
    assert "From 599 frames on (--anneal) the learning rate is 0" in caplog.text


def test_images_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--obs state"):
        A3CTrainer(config(obs="image"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.timeout(300)
def test_a_toy_is_learned(tmp_path: Path) -> None:
    learning = {"lr": 5e-4, "gamma": 0.9, "anneal": 60_000, "time_limit": 100}
    run(config(steps=20_000, workers=2, eval_every=0, checkpoint_every=20_000, **learning), tmp_path)
    assert metrics(tmp_path)[-1]["eval/return"] > 3 * RANDOM
