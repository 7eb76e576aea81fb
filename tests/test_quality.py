"""The verdict on a recording: each thing that makes it useless is named, and a clean one is good."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from rl_utils.controls import NAMES, REST, Control
from rl_utils.data_batcher import BatchSaver
from rl_utils.interfaces import Flag, Frame, Image, Inputs, InputVector, PadInfo
from rl_utils.quality import QualityMonitor, Verdict, assess_recording
from rl_utils.recordings import open_recordings
from tests.recordings_kit import PAD, SIZE, WINDOW, picture, write_article_file

FPS = 30
PICTURES = [picture(i) for i in range(40)]
Sample = tuple[Image | None, InputVector, int, int]


def play(seconds: float = 60, fps: float = FPS) -> Iterator[Sample]:
    """Somebody drives: the stick moves all the time, boost is held a third of it."""
    for i in range(round(seconds * fps)):
        values = REST.copy()
        values[Control.LEFT_X] = 0.5 + 0.45 * np.sin(i / 7)
        values[Control.EAST] = float(i % 30 < 10)
        values[Control.RIGHT_TRIGGER] = 1
        yield PICTURES[i % len(PICTURES)], values, 10**9 + round(i * 1e9 / fps), 0


def judge(samples: Iterator[Sample], *, fps: float = FPS, dropped: int = 0) -> Verdict:
    monitor = QualityMonitor(fps)
    for image, values, t_ns, flags in samples:
        monitor.update(image, values, t_ns, flags)
    return monitor.verdict(dropped=dropped)


def altered(seconds: tuple[float, float], change: Callable[[Sample], Sample], length: float = 60) -> Iterator[Sample]:
    """Play in which `change` is done to a stretch."""
    for i, sample in enumerate(play(length)):
        yield change(sample) if seconds[0] <= i / FPS < seconds[1] else sample


def rested(sample: Sample) -> Sample:
    return sample[0], REST + np.float32(0.004), *sample[2:]


def black(sample: Sample) -> Sample:
    return np.full_like(picture(0), 3), *sample[1:]


def frozen(sample: Sample) -> Sample:
    return picture(5), *sample[1:]


def test_clean_play_is_good() -> None:
    """A verdict that finds fault with everything would be ignored."""
    verdict = judge(play())
    assert verdict.good
    assert verdict.reasons == ()
    assert str(verdict) == "good"
    assert verdict.rate_hz == pytest.approx(FPS, rel=1e-3)
    assert verdict.duration_s == pytest.approx(60, rel=1e-3)
    assert verdict.idle_share == 0
    boost = verdict.controls["east"]
    assert (boost.share, boost.mean) == (pytest.approx(1 / 3), pytest.approx(1 / 3))
    assert verdict.controls["left_x"].std == pytest.approx(0.45 / np.sqrt(2), rel=0.02)
    assert verdict.controls["right_x"].std == pytest.approx(0, abs=1e-6)


def test_a_short_clip_is_not_judged_by_its_pad() -> None:
    """Three seconds of kick-off countdown without a press say nothing."""
    assert judge(altered((0, 60), rested, length=3)).good


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        (lambda: altered((0, 60), rested), "gamepad did nothing in 60 s.*doctor"),
        (lambda: altered((20, 55), rested, length=90), "gamepad did not change for 35 s"),
        (lambda: altered((30, 34), black), "picture was black for 4 s"),
        (lambda: altered((30, 40), frozen), "picture did not change for 10 s"),
        (lambda: play(60, fps=24), "24.0 instead of 30 frames per second"),
        (lambda: play(60, fps=36), "36.0 instead of 30 frames per second"),
        (lambda: iter(()), "Nothing was recorded"),
    ],
)
def test_each_fault_makes_it_bad_with_its_reason(samples: Callable[[], Iterator[Sample]], reason: str) -> None:
    """The person reads the reason once, fixes it, and does not waste the next evening."""
    verdict = judge(samples())
    assert not verdict.good
    assert len(verdict.reasons) == 1, verdict.reasons
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(str(verdict))


def test_mostly_idling_is_bad() -> None:
    """A policy learns to do nothing from a recording in which nothing is done most of the time."""
    mostly = (rested(s) if i % 40 < 30 else s for i, s in enumerate(play()))
    verdict = judge(mostly)
    assert verdict.idle_share == pytest.approx(0.75, abs=0.02)
    assert verdict.reasons == ("All controls were at rest in 75% of it: record only while you play",)


def test_dropped_samples_are_bad() -> None:
    """Holes that nobody mentions end up in training."""
    verdict = judge(play(), dropped=7)
    assert "7 samples were dropped" in verdict.reasons[0]


def test_short_black_and_still_moments_are_part_of_the_game() -> None:
    """Loading screens and a held stick happen in every match."""
    assert judge(altered((10, 12), black)).good
    assert judge(altered((10, 13), frozen)).good
    assert judge(altered((10, 30), rested)).good


def test_gaps_are_counted_and_do_not_lower_the_rate() -> None:
    """Pausing the recorder is allowed; only what was recorded is judged."""

    def paused() -> Iterator[Sample]:
        for image, values, t_ns, flags in play():
            yield image, values, t_ns + (40 * 10**9 if t_ns > 31 * 10**9 else 0), flags

    verdict = judge(paused())
    assert verdict.good
    assert (verdict.gaps, round(verdict.gap_s)) == (1, 40)
    assert verdict.rate_hz == pytest.approx(FPS, rel=1e-3)


def test_a_freeze_across_a_gap_is_none() -> None:
    """The same menu before and after a pause is not a frozen picture."""

    def menu_twice() -> Iterator[Sample]:
        for i, (_, values, t_ns, flags) in enumerate(play(8)):
            yield picture(5), values, t_ns + (30 * 10**9 if i >= 120 else 0), flags

    assert judge(menu_twice()).frozen_s < 5


def test_flags_become_shares() -> None:
    """Late and duplicate ticks tell whether the machine keeps up."""
    flagged = ((a, b, c, Flag.LATE if i % 4 == 0 else Flag.DUPLICATE) for i, (a, b, c, _) in enumerate(play(8)))
    verdict = judge(flagged)
    assert (verdict.late_share, verdict.duplicate_share) == (0.25, 0.75)


def test_the_verdict_is_plain_data() -> None:
    """It is stored in session.json and printed by --json."""
    stored = json.loads(json.dumps(judge(play(8)).as_dict()))
    assert stored["good"] is True
    assert list(stored["controls"]) == list(NAMES)
    assert stored["controls"]["east"]["share"] == pytest.approx(1 / 3)


def record(out: Path, samples: Iterator[Sample], *, pad: PadInfo = PAD) -> None:
    with BatchSaver(out, fps=FPS, size=SIZE, frames=WINDOW, pad=pad, block=True) as saver:
        for image, values, t_ns, flags in samples:
            assert image is not None
            saver.add(Frame(image, t_ns), Inputs(values), segment=0, flags=flags)


@pytest.mark.parametrize(("change", "good"), [(None, True), (black, False), (frozen, False), (rested, False)])
def test_a_stored_recording_gets_the_same_verdict(
    tmp_path: Path, change: Callable[[Sample], Sample] | None, good: bool
) -> None:
    """What `playback.py --info` says must not contradict what the recorder said."""
    record(tmp_path, altered((10, 50), change) if change else play())
    (recording,) = open_recordings([tmp_path])
    stored = assess_recording(recording)
    live = judge(altered((10, 50), change) if change else play())
    assert stored.good == live.good == good
    assert [r.split(" for ")[0] for r in stored.reasons] == [r.split(" for ")[0] for r in live.reasons]
    assert stored.controls == live.controls
    assert (stored.rate_hz, stored.idle_share, stored.samples) == (live.rate_hz, live.idle_share, live.samples)


def test_pictures_alone_are_not_judged_by_their_pad(tmp_path: Path) -> None:
    """Who asked for `--pad none` knows that no pad was recorded."""
    monitor = QualityMonitor(FPS, has_pad=False)
    for sample in altered((0, 60), rested):
        monitor.update(*sample)
    assert monitor.verdict().good
    assert monitor.rate_hz == pytest.approx(FPS, rel=1e-3)
    record(tmp_path, altered((0, 40), rested, length=40), pad=PadInfo("none", profile="none"))
    assert assess_recording(open_recordings([tmp_path])[0]).good


def test_the_articles_recordings_are_judged_too(tmp_path: Path) -> None:
    """They have neither times nor flags, but black pictures and dead pads all the same."""
    samples = list(altered((0, 10), rested, length=10))
    frames = np.stack([s[0] for s in samples])
    write_article_file(tmp_path / "1_batch.h5", frames, np.stack([s[1] for s in samples]))
    verdict = assess_recording(open_recordings([tmp_path])[0])
    assert "gamepad did nothing" in str(verdict)
