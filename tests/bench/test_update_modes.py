import pytest
import torch

from bench.small import TIMER, small_run
from dreamer.bench import update_modes
from dreamer.bench.random_data import random_batch
from dreamer.bench.update_modes import gradient_steps, make_step
from dreamer.types import ActionSpec, EnvSpec

SPEC = EnvSpec({"image": (32, 32, 3)}, {"state": 3}, ActionSpec(2))


@pytest.mark.parametrize(
    ("fast", "device", "modes"),
    [
        (False, "cpu", ("plain",)),
        (False, "cuda", ("plain",)),
        (True, "cpu", ("plain", "fast")),
        (True, "cuda", ("plain", "fast", "CUDA graph")),
    ],
)
def test_modes_follow_from_the_device(fast: bool, device: str, modes: tuple[str, ...]) -> None:
    assert update_modes.update_modes(small_run(fast=fast), torch.device(device)) == modes


def test_plain_and_fast_are_measured_in_one_run() -> None:
    found = {m.name: m for m in gradient_steps(TIMER, SPEC, small_run())}
    assert list(found) == ["plain", "fast", "plain / fast", "process memory"]
    assert found["plain"].flops == found["fast"].flops > 0
    assert found["plain / fast"].median == found["plain"].median / found["fast"].median
    assert (found["plain / fast"].unit, found["process memory"].unit) == ("times", "bytes")
    assert 2**20 < found["process memory"].median < 2**40


def test_no_fast_measures_plain_alone() -> None:
    names = [m.name for m in gradient_steps(TIMER, SPEC, small_run(fast=False))]
    assert names == ["plain", "process memory"]


def test_a_step_is_a_whole_update_in_its_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    make_agent = update_modes.make_agent
    monkeypatch.setattr(update_modes, "make_agent", lambda *args: made.append(make_agent(*args)) or made[-1])
    for mode, kind in (("plain", "Adam"), ("fast", "FastAdam")):
        step = make_step(SPEC, small_run(), mode, random_batch(SPEC, 2, 3))
        assert {"model/loss", "actor/loss", "value/loss", "skipped"} <= step().keys()
        assert type(made[-1].algorithm.optimizers.optimizers["actor"]).__name__ == kind
        assert made[-1].algorithm.optimizers.grad_step == 1
