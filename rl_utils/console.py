"""What a person sees in the terminal: a status line that stays in place, progress bars, plain lines elsewhere.

Results go to stdout; everything here goes to stderr.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rl_utils.errors import write_out

PLAIN_INTERVAL_S = 5.0
"""Without a terminal a plain line appears this often."""


def log(text: str) -> None:
    """Write one line to stderr."""
    write_out(text + "\n", sys.stderr)


def say(text: str) -> None:
    """Write one line of results to stdout, also where its terminal may have been closed meanwhile."""
    write_out(text + "\n", sys.stdout, flush=False)  # a terminal takes every line, and a pipe nobody reads can wait


def ring() -> None:
    """Ring the terminal's bell."""
    write_out("\a", sys.stderr)


def counted(number: float, one: str, many: str = "") -> str:
    """A number of things as it is said: 1 goal, 2 goals; `many` for words that do not just take an s."""
    return f"{number:.0f} {one if round(number) == 1 else many or one + 's'}"


class StatusLine:
    """One line that is rewritten in place on a terminal, and printed every few seconds elsewhere.

    Args:
        interval_s: How often a terminal is refreshed.
    """

    def __init__(self, interval_s: float = 0.5) -> None:
        self._tty = sys.stderr.isatty()
        self._interval = interval_s if self._tty else PLAIN_INTERVAL_S
        self._next = 0.0
        self._last = ""

    def due(self) -> bool:
        """Whether it is time for `show`; asking is cheap enough for every tick."""
        return time.monotonic() >= self._next

    def show(self, text: str) -> None:
        """Show `text` now."""
        self._next = time.monotonic() + self._interval
        if self._tty:
            write_out("\r\x1b[2K" + text, sys.stderr)
        elif text != self._last:
            log(text)
        self._last = text

    def end(self) -> None:
        """Leave the last text standing and go to the next line."""
        if self._tty and self._last:
            write_out("\n", sys.stderr)
        self._last = ""


class Progress:
    """Steps done of a known total, with rate and time left. Made by `progress`."""

    def __init__(self, label: str, total: float, *, shown: bool = True) -> None:
        self._label = label
        self._total = total
        self._done = 0.0
        self._before = 0.0
        self._bar: Any = None
        self._task: Any = None
        self._began = time.monotonic()
        self._next = self._began + PLAIN_INTERVAL_S if shown else math.inf
        if shown and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.percentage:3.0f} %"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}"),
            )
            self._bar = Bar(*columns, console=Console(stderr=True))
            self._task = self._bar.add_task(label, total=total, note="")

    def begin(self, done: float) -> None:
        """Report what was done before, by a run that goes on from here: it tells nothing of the time that is left."""
        self._began = time.monotonic()
        self._before = self._done = done
        if self._bar is not None:
            self._bar.reset(self._task, completed=done)

    def update(self, done: float, note: str = "") -> None:
        """Report that `done` of the total are done; cheap enough for every step."""
        self._done = done
        if self._bar is not None:
            self._bar.update(self._task, completed=done, note=note)
            return
        now = time.monotonic()
        if now >= self._next:
            self._next = now + PLAIN_INTERVAL_S
            share = done / self._total if self._total else 1.0
            done_here = done - self._before
            left = (now - self._began) * (self._total - done) / done_here if done_here > 0 else math.inf
            log(f"{self._label}: {share:4.0%}, {left:.0f} s left{', ' + note if note else ''}")


@contextmanager
def progress(label: str, total: float, *, shown: bool = True) -> Iterator[Progress]:
    """Show a progress bar on a terminal and a plain line every few seconds elsewhere; nothing at all unless `shown`."""
    made = Progress(label, total, shown=shown)
    if made._bar is not None:
        with made._bar:
            yield made
    else:
        yield made
