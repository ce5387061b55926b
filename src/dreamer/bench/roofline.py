"""Count the operations of a call and measure the speed of matrix products; both together give a floor for the time."""

from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

from dreamer.agents.precision import pick_dtype
from dreamer.bench.measurement import Measurement, Timer


def product_speed(timer: Timer) -> Measurement:
    """Measure a large matrix product, in 10^12 operations per second; a multiply-add is two operations."""
    size = 8192 if timer.device.type == "cuda" else 1024
    matrix = torch.randn(size, size, device=timer.device).to(pick_dtype(timer.precision, timer.device))
    times = timer.alternate({"": lambda: matrix @ matrix})[""]
    speeds = [2 * size**3 / 1e12 / seconds for seconds in times]
    return timer.summary("this machine", "matrix product", speeds, "TFLOP/s")


def count_flops(call: Callable[[], object]) -> int:
    """Run `call` once and count the operations of its matrix products and convolutions, backward included."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # a counter sees its own thread alone, and an update on one core uses no other
    try:
        with FlopCounterMode(display=False) as counter:
            call()
    finally:
        torch.set_num_threads(threads)
    return counter.get_total_flops()
