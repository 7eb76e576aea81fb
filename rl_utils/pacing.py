"""Absolute deadlines on the monotonic clock: a late tick is counted, never hidden, and never shifts those after it."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass

LATE_SHARE = 0.5
"""A tick that starts later than this share of its period is counted as late."""


@dataclass(frozen=True, slots=True)
class Tick:
    """One pass of a real-time loop.

    Attributes:
        index: Counts from 0; grows by more than one when deadlines were missed altogether.
        deadline_ns: When it should have started.
        late_ns: How much later it did start.
        missed: Deadlines skipped since the previous tick.
    """

    index: int
    deadline_ns: int
    late_ns: int
    missed: int

    def is_late(self, period_ns: int) -> bool:
        """Whether it started later than the tolerated share of the period, or deadlines before it were missed."""
        return self.missed > 0 or self.late_ns > LATE_SHARE * period_ns

    def reads_late(self, t_ns: int, period_ns: int) -> bool:
        """Whether what was read at `t_ns` is late: after its deadline, the loop may have been put to sleep again."""
        return self.is_late(period_ns) or t_ns - self.deadline_ns > LATE_SHARE * period_ns


class Pacer:
    """Wait for the deadlines of a loop that runs at a fixed rate.

    Args:
        rate_hz: Ticks per second.
        now_ns: The clock; a test passes a simulated one.
        sleep: Sleep for so many seconds; belongs to the clock.
    """

    def __init__(
        self,
        rate_hz: float,
        *,
        now_ns: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        assert rate_hz > 0, rate_hz
        self.rate_hz = rate_hz
        self._period = 1e9 / rate_hz
        self._now_ns = now_ns
        self._sleep = sleep
        self._origin = now_ns()
        self._next = 0

    @property
    def period_ns(self) -> int:
        """Nanoseconds between deadlines."""
        return round(self._period)

    def wait(self) -> Tick:
        """Sleep until the next deadline; when some are already past, take the newest of them."""
        index = self._next
        deadline = self._deadline(index)
        now = self._now_ns()
        missed = 0
        if now > deadline:
            newest = int((now - self._origin) / self._period)
            if newest > index:
                missed, index = newest - index, newest
                deadline = self._deadline(index)
        while now < deadline:
            self._sleep((deadline - now) / 1e9)
            now = self._now_ns()
        self._next = index + 1
        return Tick(index=index, deadline_ns=deadline, late_ns=now - deadline, missed=missed)

    def restart(self) -> None:
        """Begin again from now, after a pause in which deadlines meant nothing."""
        self._origin = self._now_ns()
        self._next = 0

    def _deadline(self, index: int) -> int:
        return self._origin + round(index * self._period)


def real_time_pacer(rate_hz: float) -> Pacer:
    """A pacer on the real clock, for a loop that begins now.

    What was imported and opened so far stays out of garbage collection from here on: to look through all of it would
    take 10 to 20 ms in the middle of a tick (measured, November 2026: 46,000 objects).
    """
    gc.collect()
    gc.freeze()
    return Pacer(rate_hz)
