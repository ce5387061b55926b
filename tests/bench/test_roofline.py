import pytest
import torch
from torch import nn

from bench.small import TIMER, small_run
from dreamer.agents.make import make_agent
from dreamer.bench.measurement import Timer
from dreamer.bench.random_data import random_batch
from dreamer.bench.roofline import count_flops, product_speed
from dreamer.types import ActionSpec, EnvSpec


def test_products_count_two_operations_for_each_multiplication() -> None:
    assert count_flops(lambda: torch.zeros(3, 4) @ torch.zeros(4, 5)) == 2 * 3 * 4 * 5


def test_convolutions_forward_and_backward() -> None:
    layer, x = nn.Conv2d(8, 4, 4, stride=2), torch.randn(3, 8, 10, 10, requires_grad=True)
    products = 2 * 3 * (4 * 4) * 8 * 4 * (4 * 4)  # rows, pixels, channels in and out, kernel
    assert count_flops(lambda: layer(x)) == products
    output = layer(x)
    assert count_flops(lambda: output.sum().backward()) == 2 * products


def test_transposed_convolutions_count_the_pixels_of_their_input() -> None:
    layer = nn.ConvTranspose2d(8, 4, 5, stride=2)
    assert count_flops(lambda: layer(torch.zeros(3, 8, 6, 6))) == 2 * 3 * (6 * 6) * 8 * 4 * (5 * 5)


def test_operations_of_other_threads_count() -> None:
    """A fast update takes the model's gradient, two fifths of all, in a thread that a counter would not see.

    Some of its methods take a few more operations than the plain ones: hence the tolerance.
    """
    spec, threads = EnvSpec({}, {"state": 3}, ActionSpec(2)), torch.get_num_threads()
    batch, counts = random_batch(spec, 2, 3), []
    for fast in (False, True):
        agent = make_agent(spec, small_run(fast=fast))
        torch.set_num_threads(2)
        try:
            counts.append(count_flops(lambda agent=agent: agent.update(batch)))
            assert torch.get_num_threads() == 2
        finally:
            torch.set_num_threads(threads)
    assert counts[1] == pytest.approx(counts[0], rel=0.1)


def test_product_speed_is_plausible() -> None:
    found = product_speed(TIMER)
    assert (found.unit, found.title) == ("TFLOP/s", "this machine, float32")
    assert 1e-4 < found.median < 1e3


@pytest.mark.gpu
def test_product_speed_of_a_gpu_is_higher() -> None:
    cpu, gpu = (product_speed(Timer(torch.device(name), precision="float32")) for name in ("cpu", "cuda"))
    assert gpu.median > cpu.median
