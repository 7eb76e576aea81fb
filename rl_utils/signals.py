"""Ctrl+C, `kill` and a closed terminal are normal ways to stop: the loop sees a flag and ends in order."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopFlag:
    """Becomes true when the process was asked to stop. Calling it asks."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def __call__(self) -> bool:
        """Whether a stop was asked for."""
        return self.signal is not None


@contextmanager
def stop_on_signals() -> Iterator[StopFlag]:
    """Turn the first stop signal into a flag; a second one acts as usual, in case the orderly way hangs.

    A signal that was ignored stays so: under nohup a terminal may be closed without stopping anything. Only for the
    main thread, as Python delivers signals there.
    """
    flag = StopFlag()
    handlers = {number: signal.getsignal(number) for number in STOPPING}
    before = {number: handler for number, handler in handlers.items() if handler is not signal.SIG_IGN}

    def on_signal(number: int, _frame: FrameType | None) -> None:
        flag.signal = signal.Signals(number)
        signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, on_signal)
    try:
        yield flag
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
