"""Processes that play side by side, and end with the one that started them, however that ends."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, Final

from rl_utils.errors import UserError

PR_SET_PDEATHSIG: Final = 1
"""Source: linux/prctl.h."""


@contextmanager
def play_pool(processes: int, prepare: Callable[..., None], *arguments: Any) -> Iterator[ProcessPoolExecutor]:
    """A pool of processes; an error or Ctrl+C in the block ends them at once, whatever they are at.

    Args:
        processes: How many.
        prepare: Called first in each of them.
        arguments: Of `prepare`.

    Raises:
        UserError: One was ended from outside.
    """
    # Spawned, not forked: a forked child would inherit torch's threads as they stood.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(
        processes, mp_context=context, initializer=_begin, initargs=(os.getpid(), prepare, arguments)
    )
    try:
        yield pool
    except BaseException as error:
        _kill(pool)
        if isinstance(error, BrokenProcessPool):
            raise UserError(
                "A process that played was ended from outside", "Free some memory or use fewer processes"
            ) from error
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(parent: int, prepare: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C reaches the parent, which ends the pool
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we could ask for that
        os._exit(1)
    prepare(*arguments)


def _kill(pool: ProcessPoolExecutor) -> None:
    # A public way comes with Python 3.14 (kill_workers).
    for process in list((pool._processes or {}).values()):
        process.kill()
