import json
from pathlib import Path

import pytest

from bench.small import TIMER, small_run
from dreamer.bench.end_to_end import frames_per_second, short_round, training
from dreamer.config import TrainConfig
from dreamer.training import rehearsal
from dreamer.training.trainer import Trainer


@pytest.mark.parametrize(
    ("every", "updates", "short"),
    [
        (1000, 100, (50, 5)),
        (1000, 75, (200, 15)),
        (1000, 45, (200, 9)),
        (100, 2, (100, 2)),
        (1000, 7, (1000, 7)),
        (4, 100, (4, 100)),
    ],
)
def test_short_round_keeps_the_ratio(every: int, updates: int, short: tuple[int, int]) -> None:
    found = short_round(TrainConfig(train_every=every, train_steps=updates), frames_per_step=4)
    assert found == short
    assert found[0] * updates == every * found[1]


def test_speed_is_read_from_the_log(tmp_path: Path) -> None:
    lines = [
        {"env_step": 90, "seconds": 1.0, "train/return": 0.0},
        {"env_step": 100, "seconds": 2.0, "model/skipped_updates": 0.0},
        {"env_step": 200, "seconds": 4.0, "model/skipped_updates": 0.0},
        {"env_step": 300, "seconds": 14.0, "model/skipped_updates": 0.0, "train/return": 1.0},
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert frames_per_second(tmp_path) == [50.0, 10.0]


def test_real_training(capsys: pytest.CaptureFixture[str]) -> None:
    found, alone = training(TIMER, small_run(train_every=20, train_steps=1), rounds=3)
    assert (found.unit, found.count, alone.unit, alone.count) == ("frames/s", 3, "frames/s", 1)
    assert found.median > 0
    assert alone.median > 0
    assert not capsys.readouterr().out


def test_signal_ends_the_bench(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(trainer: Trainer, final_evaluation: bool) -> bool:
        trainer.interrupt.requested = not final_evaluation
        return False

    monkeypatch.setattr(Trainer, "run", stop)
    with pytest.raises(KeyboardInterrupt):
        next(training(TIMER, small_run(), rounds=2))


def test_pretraining_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    trained = []

    def stop(config, run):
        trained.append(config.training)
        raise InterruptedError

    monkeypatch.setattr(rehearsal, "make_trainer", stop)
    with pytest.raises(InterruptedError):
        next(training(TIMER, small_run(pretrain_model=1000, pretrain_value=300, prefill=5000), rounds=2))
    (schedule,) = trained
    assert (schedule.pretrain_model, schedule.pretrain_value, schedule.prefill) == (0, 0, 0)
