"""When each sample is shown."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl_utils.timeline import GAP_COLOUR, GAP_S, SOURCE_COLOURS, Stretch, Timeline


def stretch(times_s: list[float], *, segments: list[int] | None = None, sources: list[int] | None = None) -> Stretch:
    n = len(times_s)
    return Stretch(
        (np.array(times_s) * 1e9).round().astype(np.int64),
        np.array(segments if segments is not None else [0] * n, np.int32),
        np.array(sources if sources is not None else [0] * n, np.uint8),
        fps=10,
    )


def test_real_frame_times_are_kept() -> None:
    """A recording with uneven frames must not look smoother than it was."""
    timeline = Timeline([stretch([100.0, 100.1, 100.35, 100.4])])
    assert timeline.times_s == pytest.approx([0, 0.1, 0.35, 0.4])
    assert timeline.duration_s == pytest.approx(0.5)
    assert [timeline.index_at(t) for t in (-1, 0, 0.09, 0.11, 0.34, 0.36, 9)] == [0, 0, 0, 1, 1, 2, 3]


def test_gaps_are_shortened_and_remembered() -> None:
    """Nobody wants to watch ten minutes of a paused game, or to miss that they are missing."""
    timeline = Timeline([stretch([0, 0.1, 600.1, 600.2], segments=[0, 0, 1, 1])])
    assert timeline.times_s == pytest.approx([0, 0.1, 0.1 + GAP_S, 0.2 + GAP_S])
    assert timeline.gaps_s == {2: pytest.approx(600)}
    assert timeline.breaks.tolist() == [True, False, True, False]


def test_recordings_follow_one_another() -> None:
    """Sessions have clocks of their own, the second one may even be earlier."""
    timeline = Timeline([stretch([50.0, 50.1]), stretch([]), stretch([3.0, 3.1, 3.2])])
    assert timeline.times_s == pytest.approx([0, 0.1, 0.1 + GAP_S, 0.2 + GAP_S, 0.3 + GAP_S])
    assert [timeline.recording_of(i) for i in range(5)] == [(0, 0), (0, 1), (2, 0), (2, 1), (2, 2)]
    assert timeline.gaps_s == {2: 0.0}
    assert timeline.stretch_start(1) == 0
    assert timeline.stretch_start(4) == 2


@given(st.lists(st.integers(-(10**10), 10**11), min_size=1, max_size=30))
def test_every_sample_can_be_reached(stamps: list[int]) -> None:
    """Stepping through a recording with broken times must not get stuck."""
    n = len(stamps)
    broken = Stretch(np.array(stamps, np.int64), np.zeros(n, np.int32), np.zeros(n, np.uint8), fps=30)
    timeline = Timeline([broken])
    assert [timeline.index_at(float(t)) for t in timeline.times_s] == list(range(n))
    assert timeline.duration_s > timeline.times_s[-1]


def test_the_strip_shows_who_played_and_where_gaps_are() -> None:
    """The strip is how a person finds the takeover or the hole in an hour of play."""
    times = [i / 10 for i in range(50)] + [100 + i / 10 for i in range(50)]
    timeline = Timeline([stretch(times, segments=[0] * 50 + [1] * 50, sources=[0] * 50 + [2] * 50)])
    row = timeline.strip(400)[-5].astype(int)
    at = {name: row[int(t / timeline.duration_s * 400)] for name, t in (("human", 1), ("gap", 5.1), ("takeover", 9))}
    assert tuple(at["gap"]) == GAP_COLOUR
    assert at["human"] == pytest.approx(np.array(SOURCE_COLOURS[0]) * 0.6, abs=1)
    assert at["takeover"] == pytest.approx(np.array(SOURCE_COLOURS[2]) * 0.6, abs=1)


def test_a_click_on_the_marker_goes_nowhere() -> None:
    """Position and click must use the same scale, or every click jumps."""
    timeline = Timeline([stretch([i / 10 for i in range(300)])])
    for time_s in (0.0, 7.3, 29.9):
        strip = timeline.strip(960)
        before = strip.copy()
        timeline.draw_position(strip, time_s)
        x = np.argwhere((strip != before).any(axis=2))[:, 1]
        assert timeline.time_at(float(np.median(x)), 960) == pytest.approx(time_s, abs=30 / 960 * 3)
    assert timeline.time_at(-50, 960) == 0
    assert timeline.time_at(5000, 960) == timeline.duration_s
