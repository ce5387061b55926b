"""Two functions at once, each on half of the cores, and nothing left behind."""

import threading
from collections.abc import Iterator

import pytest
import torch

from dreamer.agents.side_by_side import SideBySide

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _same_threads_afterwards() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def _fails() -> int:
    raise ValueError("out of luck")


@pytest.mark.parametrize(("cores", "shares"), [(2, (1, 1)), (3, (2, 1)), (8, (4, 4))])
def test_the_cores_are_shared_and_given_back(cores: int, shares: tuple[int, int]) -> None:
    torch.set_num_threads(cores)
    together = threading.Barrier(2, timeout=10)  # passed only if both are there at once

    def threads() -> int:
        together.wait()
        return torch.get_num_threads()

    both = SideBySide(CPU)
    assert both.run(threads, threads) == shares
    assert both.run(threads, threads) == shares
    assert torch.get_num_threads() == cores


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_otherwise_one_follows_the_other(device: str) -> None:
    torch.set_num_threads(1 if device == "cpu" else 2)
    both, order = SideBySide(torch.device(device)), []
    both.run(
        lambda: order.append(threading.current_thread()), lambda: order.append(threading.current_thread())
    )
    assert order == [threading.current_thread()] * 2


@pytest.mark.parametrize("first", [True, False])
def test_an_error_of_either_is_raised_when_both_have_ended(first: bool) -> None:
    torch.set_num_threads(2)
    ended = []
    functions = [_fails, lambda: ended.append(1)]
    with pytest.raises(ValueError, match="out of luck"):
        SideBySide(CPU).run(*(functions if first else functions[::-1]))
    assert ended == [1]
    assert torch.get_num_threads() == 2
