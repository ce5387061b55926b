import errno
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from dreamer.errors import UserError
from dreamer.logs import metrics
from dreamer.logs.metrics import Mean, MetricsWriter, explained_variance, memory


@dataclass
class Counters:
    env_step: int
    agent_step: int = 0
    grad_step: int = 0
    seconds: float = 0.0


def read(writer):
    return [json.loads(line) for line in writer.path.read_text().splitlines()]


def scalars(**values):
    return {name: torch.tensor(value) for name, value in values.items()}


def test_mean_since_the_last_pop():
    mean = Mean()
    mean.add({"a": torch.tensor(1.0), "b": torch.tensor([2.0], requires_grad=True)})
    mean.add(scalars(a=4.0, b=4.0))
    mean.add(scalars(c=7.0))
    mean.add(scalars(a=10.0))
    assert mean.pop() == {"a": 5.0, "b": 3.0, "c": 7.0}
    assert mean.pop() == {}


def test_mean_leaves_skipped_values_out():
    mean = Mean()
    mean.add(scalars(a=1.0, b=2.0), skipped=torch.tensor(0.0))
    mean.add(scalars(a=math.nan, b=5.0), skipped=torch.tensor(1.0))
    mean.add(scalars(c=math.inf), skipped=torch.tensor(1.0))
    assert mean.pop() == {"a": 1.0, "b": 2.0}


def test_mean_goes_on_from_its_state():
    mean, other = Mean(), Mean()
    for one in (mean, other):
        one.add(scalars(a=0.1, b=0.7))
    other.load_state_dict(json.loads(json.dumps(mean.state_dict())))
    for one in (mean, other):
        one.add(scalars(a=0.2, b=0.1))
        one.add(scalars(a=0.3))
    assert other.pop() == mean.pop()


def test_mean_keeps_its_own_copy():
    mean, value = Mean(), torch.tensor(2.0)
    mean.add({"a": value})
    value.fill_(100.0)
    assert mean.pop() == {"a": 2.0}


def test_explained_variance_of_a_round():
    half_log_two_pi = 0.5 * math.log(2 * math.pi)
    round_ = {"model/reward_loss": half_log_two_pi + 0.5 * 0.3}
    round_ |= {"model/reward_mean": 0.7, "model/reward_square": 1.2 + 0.7**2}
    assert explained_variance(round_) == {"model/reward_explained": pytest.approx(0.75)}
    assert explained_variance(round_ | {"model/reward_square": 0.7**2 * (1 + 2**-23)}) == {}
    assert explained_variance(round_ | {"model/reward_mean": 0.0, "model/reward_square": 0.0}) == {}
    assert explained_variance({}) == {}


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="only Linux tells it")
def test_memory_grows_with_what_is_held():
    before = memory()["memory/process"]
    held = torch.ones(2**28, dtype=torch.uint8)  # a quarter; some may come from memory freed before
    assert memory()["memory/process"] - before > 0.15
    del held


def test_lines_are_valid_json_and_flushed(tmp_path):
    writer = MetricsWriter(tmp_path)
    writer.write(Counters(10, 5, 1, 0.5), {"model/kl": 3.0, "model/image_loss": math.nan})
    writer.write(Counters(20, 10, 2, 1.0), {"train/return": math.inf})
    assert read(writer) == [
        {
            "env_step": 10,
            "agent_step": 5,
            "grad_step": 1,
            "seconds": 0.5,
            "model/kl": 3.0,
            "model/image_loss": None,
        },
        {"env_step": 20, "agent_step": 10, "grad_step": 2, "seconds": 1.0, "train/return": None},
    ]


def test_resumed_run_has_no_gap_and_no_duplicate(tmp_path):
    writer = MetricsWriter(tmp_path)
    writer.write(Counters(10), {"x": 1.0})
    offset = writer.offset()
    writer.write(Counters(20), {"x": 2.0})
    writer.write(Counters(30), {"x": 3.0})
    with writer.path.open("a") as file:
        file.write('{"env_step": 4')  # killed within a line

    resumed = MetricsWriter(tmp_path)
    resumed.rewind(offset)
    resumed.write(Counters(20), {"x": 5.0})
    assert [(line["env_step"], line["x"]) for line in read(resumed)] == [(10, 1.0), (20, 5.0)]


def test_rewind_of_metrics_cut_short(tmp_path):
    writer = MetricsWriter(tmp_path)
    writer.write(Counters(10), {})
    first = writer.offset()
    writer.write(Counters(20), {})
    second = writer.offset()
    with writer.path.open("r+b") as file:
        file.truncate(second - 4)
    writer.rewind(second)
    assert writer.offset() == first


def test_full_disk_is_a_sentence_and_leaves_whole_lines(tmp_path, monkeypatch):
    import pathlib

    writer = MetricsWriter(tmp_path)
    writer.write(Counters(10), {"x": 1.0})

    class Full:
        """A file on a disk that takes ten more bytes and is full then."""

        def __init__(self, file):
            self.file, self.left = file, 10

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def __getattr__(self, name):
            return getattr(self.file, name)

        def write(self, data):
            if not self.left:
                raise OSError(errno.ENOSPC, "No space left on device")
            self.left -= self.file.write(data[: self.left])
            return 10

    path_open = pathlib.Path.open
    monkeypatch.setattr(metrics.Path, "open", lambda self, *a, **k: Full(path_open(self, *a, **k)))
    with pytest.raises(UserError, match=r"No space left on device.: make room there"):
        writer.write(Counters(20), {"x": 2.0})
    monkeypatch.undo()
    assert [line["env_step"] for line in read(writer)] == [10]


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC])
@pytest.mark.parametrize("act", ["write", "rewind"])
def test_metrics_that_cannot_be_opened_are_a_sentence(act, number, tmp_path, monkeypatch):
    writer = MetricsWriter(tmp_path)
    writer.write(Counters(10), {})
    _refuse(monkeypatch, metrics.Path, "open", number)
    with pytest.raises(UserError, match=f"Cannot write .*metrics.jsonl .{os.strerror(number)}.: make room"):
        writer.write(Counters(20), {}) if act == "write" else writer.rewind(0)
    monkeypatch.undo()
    assert [line["env_step"] for line in read(writer)] == [10]


def _refuse(monkeypatch, target, method, number):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(target, method, refuse)
