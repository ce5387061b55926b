"""Ctrl-C and SIGTERM: once is a wish, twice is an order."""

import signal

import pytest

from dreamer.training.interrupt import SIGNALS, Interrupt


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_only_asks_and_is_confirmed(number: signal.Signals, capfd) -> None:
    with Interrupt() as interrupt:
        assert not interrupt.requested
        signal.raise_signal(number)
        assert interrupt.requested
        assert capfd.readouterr().err == "Stopping after this step; once more stops at once.\n"
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)


def test_what_signals_did_before_comes_back() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with Interrupt():
        assert all(signal.getsignal(number) not in before for number in SIGNALS)
    assert [signal.getsignal(number) for number in SIGNALS] == before
