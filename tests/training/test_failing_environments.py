"""Environments that raise, die, hang or return NaN in some episodes: the run goes on without those."""

import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from dreamer.config import Config
from dreamer.envs.failures import EnvError
from dreamer.envs.vector import VectorEnv
from dreamer.storage.checkpoint import load
from dreamer.training import trainer as trainer_module
from dreamer.training.evaluate import evaluate
from dreamer.training.trainer import Trainer
from training.runs import config, everything, metrics, run, same

SAMPLES = Path(__file__).parents[1] / "envs"


@pytest.fixture(autouse=True)
def _samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SAMPLES))


@pytest.fixture
def _no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the seconds in which worker processes start: this environment may live in the collecting thread."""
    monkeypatch.setattr(
        trainer_module, "VectorEnv", lambda settings, n, seed, workers=False: VectorEnv(settings, n, seed)
    )


def fragile(how: str, **options: Any) -> Config:
    """A run of 15 episodes of 20 frames, of which three in ten fail in frame 15."""
    short = {"steps": 300, "prefill": 60, "eval_every": 150, "train_steps": 1, "env_failures": 4}
    same = {"env": f"gym:sample_environments:Fragile-{how}-v0", "obs": "state", "action_repeat": 1}
    return config(**{**short, **same, **options})


def all_but_the_name(trainer: Trainer) -> dict[str, Any]:
    """All that a run is, but the name of its environment."""
    state = everything(trainer)
    return {key: part for key, part in state.items() if key != "options"}


def again_and_again(settings: Config, logdir: Path) -> tuple[Trainer, list[str]]:
    """Give the same command until the run is complete; return it, and what ended it before."""
    causes: list[str] = []
    while len(causes) < 60:
        trainer = Trainer(settings, logdir)
        assert trainer.resumed == bool(causes)
        try:
            assert trainer.run()
            return trainer, causes
        except EnvError as failure:
            causes.append(str(failure))
        finally:
            trainer.close()
    raise AssertionError(f"The run does not end: {causes[-1]}")


def test_what_an_environment_changes_around_it_does_not_matter(tmp_path: Path, monkeypatch) -> None:
    """Signals, settings of PyTorch, and the current folder, from which the run has its path."""
    monkeypatch.chdir(tmp_path)
    handler = signal.getsignal(signal.SIGTERM)
    trainer = run(
        config(env="gym:sample_environments:ChangesSurroundings-v0", obs="state", action_repeat=1),
        Path("here"),
    )
    assert trainer.counters.grad_step > 0
    assert metrics(tmp_path / "here")
    assert load(tmp_path / "here" / "checkpoint")
    assert signal.getsignal(signal.SIGTERM) == handler
    assert torch.is_grad_enabled()
    assert torch.get_default_dtype() == torch.float32


def test_an_environment_that_is_another_each_time_ends_the_run(tmp_path: Path) -> None:
    """With one sentence and saved, as the first evaluation makes another."""
    with pytest.raises(EnvError, match="shows or takes something else each time it is made"):
        run(config(env="gym:sample_environments:OtherEachTime-v0", obs="state", action_repeat=1), tmp_path)
    assert load(tmp_path / "checkpoint")


def check(trainer: Trainer) -> None:
    """Compare replay and metrics with what fails: frame 15 of some episodes of 20."""
    lengths = sorted({trainer.store.episode(i)["reward"].size for i in trainer.store.ids})
    assert lengths == [15, 21]  # with the reset; the failing frame is left out
    counts = [line["env/failures"] for line in metrics(trainer.run_directory.path) if "env/failures" in line]
    assert counts == list(range(1, len(counts) + 1))
    assert trainer.counters.env_failures == len(counts) > 1
    lines = metrics(trainer.run_directory.path)
    assert {line["train/length"] for line in lines if "train/length" in line} == {20}
    assert {line["eval/length"] for line in lines if "eval/length" in line} == {20}


@pytest.mark.parametrize("how", ["raise", "nan", "reward", "shape"])
def test_a_bad_moment_drops_an_episode_and_not_the_run(how: str, tmp_path: Path, caplog) -> None:
    trainer = run(fragile(how), tmp_path)
    check(trainer)
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == trainer.counters.env_failures
    assert all(
        line.startswith(f"gym:sample_environments:Fragile-{how}-v0") or "state" in line for line in told
    )
    assert "Another episode begins (failure 1 of at most 4 in a row)." in told[0]


@pytest.mark.usefixtures("_no_processes")
@pytest.mark.parametrize("options", [{}, {"async_collect": True}], ids=str)
def test_the_same_failures_give_the_same_record(options: dict[str, Any], tmp_path: Path) -> None:
    settings = fragile("raise", **options)
    runs = [run(settings, tmp_path / name) for name in ("one", "other")]
    assert runs[0].counters.env_failures > 1
    assert same(*map(everything, runs))
    assert metrics(tmp_path / "one") == metrics(tmp_path / "other")


def test_worker_processes_that_end_are_replaced_and_the_others_go_on(tmp_path: Path) -> None:
    """Whether the process dies or only the episode: nothing else of the run differs."""
    settings = {"steps": 100, "num_envs": 2, "eval_every": 0, "action_repeat": 1}
    dying, failing = (Trainer(fragile(how, **settings), tmp_path / how) for how in ("exit", "raise"))
    for trainer in (dying, failing):
        trainer.run(final_evaluation=False)
        trainer.close()
    assert dying.counters.env_failures > 1
    assert same(*map(all_but_the_name, (dying, failing)))
    assert metrics(tmp_path / "exit") == metrics(tmp_path / "raise")


def test_a_worker_process_that_hangs_is_replaced(
    tmp_path: Path, caplog, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = fragile("hang", async_collect=True, steps=100, eval_every=0)
    trainer = Trainer(settings, tmp_path)
    envs, make_anew = trainer.envs, trainer.envs._make_anew

    def be_patient(index: int) -> None:
        envs._timeout = 60
        make_anew(index)
        envs._timeout = 1

    envs._timeout = 1  # Only now: starting the process may take longer on a busy machine.
    monkeypatch.setattr(envs, "_make_anew", be_patient)
    trainer.run(final_evaluation=False)
    trainer.close()
    assert "was silent for 1 s in step and was stopped" in caplog.text
    assert trainer.counters.env_step == 100


def test_a_stopped_run_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    whole = run(fragile("raise"), tmp_path / "whole")
    run(fragile("raise"), tmp_path / "parts", stop=("_interact", 130))
    parts = run(fragile("raise"), tmp_path / "parts")
    assert same(everything(whole), everything(parts))
    assert metrics(tmp_path / "whole") == metrics(tmp_path / "parts")


@pytest.mark.usefixtures("_no_processes")
@pytest.mark.parametrize("options", [{}, {"async_collect": True, "train_every": 20}], ids=str)
@pytest.mark.parametrize("limit", [0, 1])
def test_too_many_failures_in_a_row_end_the_run_saved_and_it_goes_on(
    limit: int, options: dict[str, Any], tmp_path: Path
) -> None:
    settings = fragile("raise", env_failures=limit, eval_every=0, **options)
    trainer, causes = again_and_again(settings, tmp_path)
    assert causes
    for cause in causes:
        assert "raised OSError in step: the simulator crashed" in cause
        assert "the same command goes on from here, with another episode" in cause
    counts = [line["env/failures"] for line in metrics(tmp_path) if "env/failures" in line]
    assert counts == list(range(1, trainer.counters.env_failures + 1))
    assert len(causes) <= len(counts)


@pytest.mark.parametrize(
    ("env", "words", "failures"),
    [
        ("Fragile-raise", "It failed in 3 episodes in a row: mend it, or survive more", 3),
        ("Fragile-reset", "raised OSError in reset: the simulator crashed .* failed in 3 episodes", 3),
        ("OldStep", "returns 4 values from step", 1),
    ],
)
def test_what_never_works_ends_the_run_with_its_cause(
    env: str, words: str, failures: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = fragile("", env=f"gym:sample_environments:{env}-v0", env_failures=2)
    trainer = Trainer(settings, tmp_path)
    monkeypatch.setattr("sample_environments.SHARE", 1.0)
    with pytest.raises(EnvError, match=words):
        trainer.run()
    trainer.close()
    assert metrics(tmp_path)[-1]["env/failures"] == failures
    assert load(tmp_path / "checkpoint") is not None


def test_evaluation_repeats_an_episode_that_failed_with_another_seed(tmp_path: Path) -> None:
    trainer = run(fragile("raise"), tmp_path)
    failures: list[int] = []
    result = evaluate(trainer.agent, trainer.eval_envs, 10, seed=3, failed=lambda: failures.append(1))
    assert result.lengths == [20] * 10
    assert failures


def test_failures_that_end_an_evaluation_do_not_come_again(tmp_path: Path) -> None:
    """Three in ten episodes fail: a run that met the same ones again would never end."""
    settings = fragile("raise", env_failures=0, steps=100, prefill=1000, eval_every=20, agent="random")
    trainer, causes = again_and_again(settings, tmp_path)
    assert len(causes) == trainer.counters.env_failures


def test_d4pg_survives_failures_too(tmp_path: Path) -> None:
    trainer = run(fragile("nan", agent="d4pg", batch_length=50), tmp_path)
    assert trainer.counters.env_failures > 1
    assert trainer.counters.grad_step > 0


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_simulator_that_allows_only_one_is_shared_by_turns(
    asynchronous: bool, tmp_path: Path, caplog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training goes on in the middle of its episodes, with the same record as beside a second simulator."""
    monkeypatch.setenv("ONLY_ONE", str(tmp_path))
    options = {"action_repeat": 1, "steps": 60, "eval_every": 33, "prefill": 20, "checkpoint_every": 50}
    alone = run(
        config(env="gym:sample_environments:OnlyOne-v0", **options, async_collect=asynchronous),
        tmp_path / "alone",
    )
    assert "address already in use" in caplog.text.lower()
    assert "take turns" in caplog.text
    beside = run(config(env="gym:sample_environments:Drawn-v0", **options), tmp_path / "beside")
    assert metrics(tmp_path / "beside") == metrics(tmp_path / "alone")
    assert asynchronous or same(*map(all_but_the_name, (beside, alone)))
