import pytest
import torch
from torch import nn

from dreamer.agents.side_by_side import SideBySide
from dreamer.bench.work import Roof, Work, bytes_of, count_flops, measure_roof


def test_products_are_counted_as_two_operations():
    assert count_flops(lambda: torch.zeros(3, 4) @ torch.zeros(4, 5)) == 2 * 3 * 4 * 5


def test_what_another_thread_does_beside_counts_too():
    beside, threads = SideBySide(torch.device("cpu")), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        both = count_flops(
            lambda: beside.run(
                lambda: torch.zeros(3, 4) @ torch.zeros(4, 5), lambda: torch.zeros(3, 4) @ torch.zeros(4, 6)
            )
        )
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert both == 2 * 3 * 4 * (5 + 6)


def test_convolutions_forward_and_backward():
    layer, x = nn.Conv2d(8, 4, 4, stride=2), torch.randn(3, 8, 10, 10, requires_grad=True)
    outputs = []
    products = 2 * 3 * (4 * 4) * 8 * 4 * (4 * 4)  # rows, pixels, channels in and out, kernel
    assert count_flops(lambda: outputs.append(layer(x))) == products
    assert count_flops(lambda: outputs[0].sum().backward()) == 2 * products


def test_a_transposed_convolution_counts_its_inputs_pixels():
    layer = nn.ConvTranspose2d(8, 4, 5, stride=2)
    assert count_flops(lambda: layer(torch.zeros(3, 8, 6, 6))) == 2 * 3 * (6 * 6) * 8 * 4 * (5 * 5)


def test_the_floor_is_the_longer_of_products_and_bytes():
    roof = Roof(flops_per_s=100.0, bytes_per_s=10.0)
    assert roof.floor(Work(flops=200, bytes=1)) == 2.0
    assert roof.floor(Work(flops=1, bytes=50)) == 5.0


def test_a_tensor_counts_once():
    x = torch.zeros(10)
    assert bytes_of([x, x, torch.zeros(3, dtype=torch.uint8)]) == 43


def test_a_roof_is_measured():
    roof = measure_roof(torch.device("cpu"), "float32")
    assert 1e8 < roof.flops_per_s < 1e15
    assert 1e8 < roof.bytes_per_s < 1e13


@pytest.mark.gpu
def test_a_gpu_has_a_higher_roof():
    cpu, gpu = (measure_roof(torch.device(name), "float32") for name in ("cpu", "cuda"))
    assert gpu.flops_per_s > cpu.flops_per_s
