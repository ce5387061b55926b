import json

import pytest

from bench.small import config
from dreamer.bench.figure import Variant
from dreamer.bench.stretch import Schedule, frames_per_second, short_schedule, train_a_stretch
from dreamer.config import TrainConfig


@pytest.mark.parametrize(
    ("every", "steps", "short"),
    [
        (1000, 100, (50, 5)),
        (1000, 45, (200, 9)),
        (100, 2, (100, 2)),
        (1000, 7, (1000, 7)),
        (4, 100, (4, 100)),
    ],
)
def test_rounds_keep_the_ratio_of_updates_to_frames(every, steps, short):
    schedule = short_schedule(TrainConfig(train_every=every, train_steps=steps), frames_per_decision=4)
    assert schedule == Schedule(*short)
    assert schedule.train_every * steps == every * schedule.train_steps


def test_speed_is_read_off_the_record(tmp_path):
    lines = [
        {"env_step": 90, "seconds": 1.0, "train/return": 0.0},
        {"env_step": 100, "seconds": 2.0, "model/loss": 1.0},
        {"env_step": 200, "seconds": 4.0, "model/loss": 1.0},
        {"env_step": 300, "seconds": 14.0, "model/loss": 1.0, "train/return": 1.0},
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert frames_per_second(tmp_path) == [50.0, 10.0]


def test_a_real_stretch(capsys):
    figure = train_a_stretch(config(train_every=20, train_steps=1), Variant("cpu"), rounds=3)
    assert (figure.unit, figure.count) == ("frames/s", 3)
    assert figure.median > 0
    assert not capsys.readouterr().out
