"""Ctrl-C and SIGTERM ask at first and stop at once the second time. A closed terminal only ever asks."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from dreamer.training.signals import SIGNALS, Interrupt


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_only_asks_and_is_confirmed(number: signal.Signals, capfd) -> None:
    with Interrupt() as interrupt:
        assert not interrupt.requested
        signal.raise_signal(number)
        assert interrupt.requested
        assert interrupt.status == 128 + number
        assert capfd.readouterr().err == "Stopping after this step; once more stops at once.\n"
        assert not interrupt.at_once
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
        assert interrupt.at_once


def test_a_process_that_an_environment_forks_ends_when_it_is_told_to() -> None:
    reading, writing = os.pipe()
    with Interrupt():
        child = os.fork()
        if not child:
            os.write(writing, b"!")  # what comes before that, Python forgets
            time.sleep(600)
            os._exit(0)
        os.read(reading, 1)
        os.kill(child, signal.SIGTERM)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM


def test_earlier_signal_handlers_are_restored() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with Interrupt():
        assert all(signal.getsignal(number) not in before for number in SIGNALS)
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_in_a_thread_signals_are_left_alone() -> None:
    def enter() -> list[object]:
        with Interrupt() as interrupt:
            return [interrupt.requested, *map(signal.getsignal, SIGNALS)]

    before = [signal.getsignal(number) for number in SIGNALS]
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(enter).result() == [False, *before]


def test_a_closing_terminal_asks_however_often_it_says_so(capfd) -> None:
    with Interrupt() as interrupt:
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGHUP)
        assert interrupt.requested
    assert capfd.readouterr().err.count("Stopping") == 1


def test_nohup_is_respected() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupt() as interrupt:
            signal.raise_signal(signal.SIGHUP)
            assert not interrupt.requested
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
