import errno
import json
import math
import mmap
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
    # A quarter, straight from the system: PyTorch may take memory that this process has freed before.
    with mmap.mmap(-1, 2**28, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as held:
        held.write(b"1" * 2**28)
        assert memory()["memory/process"] - before > 0.15


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
    state = writer.state_dict()
    writer.write(Counters(20), {"x": 2.0})
    writer.write(Counters(30), {"x": 3.0})
    with writer.path.open("a") as file:
        file.write('{"env_step": 4')  # killed within a line

    resumed = MetricsWriter(tmp_path)
    resumed.load_state_dict(state)
    resumed.write(Counters(20), {"x": 5.0})
    assert [(line["env_step"], line["x"]) for line in read(resumed)] == [(10, 1.0), (20, 5.0)]


def _cut(path):
    path.write_bytes(path.read_bytes()[:-4])


def _delete(path):
    path.unlink()


def _empty(path):
    path.write_bytes(b"")


def _drop_first_line(path):
    path.write_bytes(path.read_bytes().split(b"\n", 1)[1])


def _append_half_a_line(path):
    path.write_bytes(path.read_bytes() + b'{"env_step": 4')


def _alter(path):
    path.write_bytes(path.read_bytes().replace(b"1.5", b"7.5"))


DAMAGES = [_cut, _delete, _empty, _drop_first_line, _alter, _append_half_a_line]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("when", ["while it is written", "before it is resumed"])
def test_damage_is_said_and_undone(tmp_path, caplog, damage, when):
    writer = MetricsWriter(tmp_path)
    writer.write(Counters(10), {"x": 1.5})
    writer.write(Counters(20), {"x": 2.5})
    state = writer.state_dict()
    damage(writer.path)
    damaged = writer.path.read_bytes() if writer.path.exists() else None
    if when == "before it is resumed":
        writer = MetricsWriter(tmp_path)
        writer.load_state_dict(state)
    writer.write(Counters(30), {"x": 3.5})
    writer.state_dict()
    assert [line["x"] for line in read(writer)] == [1.5, 2.5, 3.5]
    if damage is _append_half_a_line and when == "before it is resumed":
        assert not caplog.records  # so does a kill
        return
    assert [record.message.split(":")[0] for record in caplog.records] == [
        f"{writer.path} was changed by something else"
    ]
    kept = tmp_path / "metrics.jsonl.corrupt"
    if damage is not _alter:  # noticed at the checkpoint, when there is one line more
        assert (kept.read_bytes() if kept.exists() else None) == damaged


@pytest.mark.parametrize("lost", [0, 4])
def test_checkpoints_of_older_versions_know_the_length(tmp_path, caplog, lost):
    writer = MetricsWriter(tmp_path)
    for env_step in (10, 20, 30):
        writer.write(Counters(env_step), {})
    content = writer.path.read_bytes()
    length = len(content) * 2 // 3
    writer.path.write_bytes(content[: length - lost] if lost else content)
    resumed = MetricsWriter(tmp_path)
    resumed.rewind_to_length(length)
    resumed.write(Counters(40), {})
    assert [line["env_step"] for line in read(resumed)] == ([10, 40] if lost else [10, 20, 40])
    assert ("has lost 4 bytes" in caplog.text) == bool(lost)


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
        writer.write(Counters(20), {}) if act == "write" else writer.start_anew()
    monkeypatch.undo()
    assert [line["env_step"] for line in read(writer)] == [10]


def test_a_link_is_replaced_and_its_target_stays(tmp_path):
    (tmp_path / "other").write_text("mine")
    writer = MetricsWriter(tmp_path / "run")
    writer.path.symlink_to(tmp_path / "other")
    writer.start_anew()
    writer.write(Counters(10), {})
    assert (tmp_path / "other").read_text() == "mine"
    assert [line["env_step"] for line in read(writer)] == [10]


def _refuse(monkeypatch, target, method, number):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(target, method, refuse)
