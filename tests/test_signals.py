"""Ctrl+C, kill and a closed terminal: a flag the first time, the usual end the second."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from rl_utils.signals import STOPPING, stop_on_signals


@pytest.fixture(autouse=True)
def _as_in_a_terminal() -> Iterator[None]:
    """Under nohup, SIGHUP is ignored from the beginning, and stays so: that is what nohup is for."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", STOPPING, ids=lambda n: n.name)
def test_a_signal_is_a_flag(number: signal.Signals) -> None:
    """A loop that is cut off in the middle could neither save nor release in order."""
    with stop_on_signals() as stopped:
        assert not stopped()
        os.kill(os.getpid(), number)
        assert stopped()
        assert stopped.signal is number


def test_the_second_signal_acts_as_usual() -> None:
    """Where the orderly way hangs, pressing Ctrl+C again must end it."""

    def press_twice() -> None:
        with stop_on_signals():
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        press_twice()


def test_handlers_are_given_back() -> None:
    """After driving, Ctrl+C has to do again what it did before."""
    before = [signal.getsignal(number) for number in STOPPING]
    with stop_on_signals():
        assert [signal.getsignal(number) for number in STOPPING] != before
    assert [signal.getsignal(number) for number in STOPPING] == before


def test_signals_that_are_ignored_stay_ignored() -> None:
    """Under nohup the terminal may be closed without stopping the recording or the bot."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_on_signals() as stopped:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stopped()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
