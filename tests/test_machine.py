import torch

from dreamer.bench.report import describe_machine
from dreamer.machine import cores, memory_bytes, peak_memory, reset_peak_memory, size

CPU = torch.device("cpu")


def test_peak_memory_can_be_measured_anew() -> None:
    block = torch.ones(2**26)  # 256 MiB
    high = peak_memory(CPU)["process memory"]
    del block
    reset_peak_memory(CPU)
    low = peak_memory(CPU)["process memory"]
    assert 2**28 < high < memory_bytes()
    assert 0 < low <= high


def test_description_of_the_machine() -> None:
    found = describe_machine(CPU)
    assert (found["device"], found["cores"], found["torch"]) == ("CPU", cores(), torch.__version__)
    assert found["processor"]


def test_size() -> None:
    assert (size(5 * 2**20), size(1.5 * 2**30)) == ("5 MiB", "1.5 GiB")
