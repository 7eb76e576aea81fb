"""One process of a run that is interrupted: `torchrun ... tests/interrupted_process.py DATA OUT`, for test_workers.

It is train.py whose first process, after the first pass, sends Ctrl+C to torchrun, and waits until torchrun has handed
it on. Somebody who watched from outside could be so late that the run is over.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


def interrupt_torchrun() -> None:
    """Press Ctrl+C there, and go on when it has arrived here."""
    handle: Any = signal.getsignal(signal.SIGINT)
    arrived = threading.Event()

    def on_signal(number: int, frame: object) -> None:
        handle(number, frame)
        arrived.set()

    signal.signal(signal.SIGINT, on_signal)
    os.kill(os.getppid(), signal.SIGINT)
    assert arrived.wait(60), "torchrun did not hand it on"


def main(argv: Sequence[str]) -> int:
    from rl_utils.training_log import TrainingLog

    history = TrainingLog.history

    def history_then_interrupt(log: TrainingLog, rows: list[dict[str, float]]) -> None:
        history(log, rows)
        interrupt_torchrun()

    TrainingLog.history = history_then_interrupt  # type: ignore[assignment, method-assign]
    import train

    return train.main(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
