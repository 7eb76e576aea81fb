"""Deadlines stay absolute and lateness is never hidden."""

from __future__ import annotations

import gc
import time

import pytest

from rl_utils.pacing import Pacer, real_time_pacer
from tests.conftest import SimulatedClock


@pytest.fixture
def pacer(clock: SimulatedClock) -> Pacer:
    return Pacer(50, now_ns=clock, sleep=clock.sleep)


def test_ticks_come_at_the_rate(pacer: Pacer, clock: SimulatedClock) -> None:
    """A recording at 50 fps would drift if waiting added up errors."""
    start = clock.now
    ticks = [pacer.wait() for _ in range(101)]
    assert clock.now - start == 100 * 20_000_000
    assert [t.index for t in ticks] == list(range(101))
    assert not any(t.is_late(pacer.period_ns) for t in ticks)


def test_short_delay_does_not_shift_later_deadlines(pacer: Pacer, clock: SimulatedClock) -> None:
    """One slow frame must not move every frame after it."""
    start = clock.now
    pacer.wait()
    clock.sleep(0.029)
    late = pacer.wait()
    assert late.late_ns == 9_000_000
    assert late.missed == 0
    assert not late.is_late(pacer.period_ns)
    assert pacer.wait().deadline_ns == start + 40_000_000


def test_more_than_half_a_period_counts_as_late(pacer: Pacer, clock: SimulatedClock) -> None:
    """A frame taken well after its time must carry the late flag."""
    pacer.wait()
    clock.sleep(0.031)
    assert pacer.wait().is_late(pacer.period_ns)


def test_missed_deadlines_are_skipped_and_counted(pacer: Pacer, clock: SimulatedClock) -> None:
    """After a stall the loop must not race through stale deadlines, nor forget that they were missed."""
    pacer.wait()
    clock.sleep(0.109)
    tick = pacer.wait()
    assert (tick.index, tick.missed) == (5, 4)
    assert tick.is_late(pacer.period_ns)
    assert pacer.wait().missed == 0


def test_restart_begins_from_now(pacer: Pacer, clock: SimulatedClock) -> None:
    """Time spent paused must not count as missed ticks."""
    pacer.wait()
    clock.sleep(10)
    pacer.restart()
    tick = pacer.wait()
    assert (tick.late_ns, tick.missed) == (0, 0)


def test_real_clock_never_ticks_early() -> None:
    """Sleep may return early on some kernels; the deadline still has to hold."""
    pacer = Pacer(500)
    for _ in range(20):
        tick = pacer.wait()
        assert time.monotonic_ns() >= tick.deadline_ns


def test_a_real_time_loop_is_not_held_up_by_old_memory() -> None:
    """A full collection in the middle of play would cost a frame."""
    collected_ns: list[int] = []

    def note(phase: str, _: object) -> None:
        if phase == "stop":
            collected_ns.append(time.monotonic_ns())

    gc.callbacks.append(note)
    try:
        pacer = real_time_pacer(0.001)
        assert gc.get_freeze_count() > 1000
        assert pacer.wait().deadline_ns >= collected_ns[0], "the first tick is not late already"
    finally:
        gc.callbacks.remove(note)
        gc.unfreeze()
