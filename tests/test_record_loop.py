"""The recording loop, on devices that obey the same interfaces as the real ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rl_utils.controls import REST, Control
from rl_utils.data_batcher import GAP_NS, BatchSaver
from rl_utils.habits import Chords, Habits, Wish
from rl_utils.interfaces import (
    Flag,
    Frame,
    Image,
    Inputs,
)
from rl_utils.pacing import Pacer
from rl_utils.record_loop import OTHER_DEVICE, RecordProgress, SegmentCounter, count_down, record
from rl_utils.recordings import Recording, open_recordings
from tests.conftest import SimulatedClock
from tests.loop_devices import FPS, PERIOD_NS, SIZE, Keyboard, Pad, Window


def recorded(
    tmp_path: Path,
    clock: SimulatedClock,
    window: Window,
    pad: Pad,
    *,
    limit: int | None = None,
    habits: Habits | None = None,
    batch_size: int = 5000,
) -> tuple[Recording, RecordProgress]:
    pacer = Pacer(FPS, now_ns=clock, sleep=clock.sleep)
    with BatchSaver(
        tmp_path, fps=FPS, size=SIZE, frames=window.info, pad=pad.info, block=True, batch_size=batch_size
    ) as saver:
        done = record(window, pad, saver, fps=FPS, stop=lambda: False, limit=limit, pacer=pacer, habits=habits)
    (recording,) = open_recordings([tmp_path])
    assert done.samples == saver.samples == len(recording)
    return recording, done


def numbers(recording: Recording) -> list[int]:
    """Which reads of the window are in the recording."""
    return [int(recording.frame(i)[0, 0, 0]) for i in range(len(recording))]


def test_every_frame_meets_the_inputs_of_its_time(tmp_path: Path, clock: SimulatedClock) -> None:
    """A pairing that slips by one would teach the bot to press too late."""
    recording, done = recorded(tmp_path, clock, Window(clock, [""] * 60), Pad())
    with recording:
        assert done.samples == len(recording) == 60
        assert [int(recording.frame(i)[0, 0, 0]) for i in range(60)] == list(range(60))
        assert np.allclose(recording.inputs[:, Control.LEFT_X], np.arange(60) / 100)
        assert np.array_equal(np.diff(recording.timestamps_ns), np.full(59, PERIOD_NS))
        assert not recording.segment.any()


def test_losing_the_focus_pauses_and_marks_the_gap(tmp_path: Path, clock: SimulatedClock) -> None:
    """Frames before and after a chat window must not be learnt as one motion."""
    script = [""] * 10 + ["not focused"] * 5 + [""] * 10
    recording, done = recorded(tmp_path, clock, Window(clock, script), Pad())
    with recording:
        assert len(recording) == 20
        assert recording.segment.tolist() == [0] * 10 + [1] * 10
        assert done.gaps == 1
        assert not (recording.flags & Flag.LATE).any()


def test_an_unplugged_pad_pauses_and_recording_goes_on_after(tmp_path: Path, clock: SimulatedClock) -> None:
    """Minutes of a dead pad would teach standing still."""
    recording, _ = recorded(tmp_path, clock, Window(clock, [""] * 30), Pad(gone=range(10, 15)))
    with recording:
        assert len(recording) == 25
        assert recording.segment.tolist() == [0] * 10 + [1] * 15


def test_a_reset_of_the_arena_begins_a_segment(tmp_path: Path, clock: SimulatedClock) -> None:
    """The jump to a new start is no motion."""
    recording, _ = recorded(tmp_path, clock, Window(clock, [""] * 30), Pad(episode_every=10))
    with recording:
        assert recording.segment.tolist() == recording.episode.tolist() == [0] * 10 + [1] * 10 + [2] * 10


def test_late_ticks_are_flagged_and_a_long_stall_is_a_gap(tmp_path: Path, clock: SimulatedClock) -> None:
    """A stall that leaves no trace would be learnt as a jump of the car."""
    slow = {10: 2.5 * PERIOD_NS / 1e9, 20: 1.2 * GAP_NS / 1e9}
    recording, done = recorded(tmp_path, clock, Window(clock, [""] * 30, slow=slow), Pad())
    with recording:
        late = np.flatnonzero(recording.flags & Flag.LATE).tolist()
        assert late == [10, 11, 20, 21], "taken late itself, or after ticks that were missed"
        assert recording.segment.tolist() == [0] * 20 + [1] * 10
        assert done.late == 4
        assert done.missed == 1 + 59  # the deadlines that passed while the 11th and the 21st picture were taken


def test_a_limit_counts_recorded_time_only(tmp_path: Path, clock: SimulatedClock) -> None:
    """`--seconds 60` must give a minute of play however long the window was covered."""
    script = ([""] * 5 + ["minimised"] * 20) * 10
    recording, done = recorded(tmp_path, clock, Window(clock, script), Pad(), limit=25)
    with recording:
        assert len(recording) == 25
        assert done.ended_by == "all that was asked for is recorded"


def test_a_mark_begins_an_episode(tmp_path: Path, clock: SimulatedClock) -> None:
    """The person says where a new attempt begins, on top of what the arena says; learning must not join the two."""
    habits = Habits(Keyboard({5: [Wish.MARK], 12: [Wish.MARK]}))
    recording, done = recorded(tmp_path, clock, Window(clock, [""] * 20), Pad(episode_every=15), habits=habits)
    with recording:
        assert recording.episode.tolist() == [0] * 5 + [1] * 7 + [2] * 3 + [3] * 5
        assert np.array_equal(recording.episode, recording.segment)
        assert done.marks == 2


def test_pausing_leaves_out_what_is_played_meanwhile(tmp_path: Path, clock: SimulatedClock) -> None:
    """A phone call must not be learnt; what the pad did meanwhile still tells its state afterwards."""
    pad = Pad(held={Control.SOUTH: range(8, 12), Control.EAST: range(11, 99), Control.WEST: range(13, 14)})
    habits = Habits(Keyboard({10: [Wish.PAUSE], 15: [Wish.PAUSE]}))
    recording, done = recorded(tmp_path, clock, Window(clock, [""] * 20), pad, habits=habits)
    with recording:
        assert numbers(recording) == [*range(10), *range(15, 20)]
        assert recording.segment.tolist() == [0] * 10 + [1] * 5
        assert not (recording.flags & Flag.LATE).any()
        assert done.gaps == 1
        told = [(event["code"], event["value"]) for event in recording.events]
        newest = [(Control.EAST, 1), (Control.SOUTH, 0), (Control.WEST, 0)]
        assert told[:1] == [(Control.SOUTH, 1)]
        assert sorted(told[1:]) == sorted(newest)


@pytest.mark.parametrize("batch_size", [5000, 4, 1])
def test_discarding_takes_back_what_was_recorded_last(tmp_path: Path, clock: SimulatedClock, batch_size: int) -> None:
    """A botched attempt, or a chat that others wrote, must be in no file afterwards, however files were cut."""
    habits = Habits(Keyboard({12: [Wish.DISCARD], 25: [Wish.DISCARD]}), discard_s=5 / FPS)
    pad = Pad(held={Control.SOUTH: range(3, 9), Control.EAST: range(8, 99)})
    recording, done = recorded(tmp_path, clock, Window(clock, [""] * 30), pad, habits=habits, batch_size=batch_size)
    with recording:
        assert numbers(recording) == [*range(7), *range(12, 20), *range(25, 30)]
        assert np.allclose(recording.inputs[:, Control.LEFT_X], np.array(numbers(recording)) / 100)
        assert np.flatnonzero(np.diff(recording.segment)).tolist() == [6, 14]
        assert (done.discards, done.discarded, recording.meta["discarded"]) == (2, 10, 10)
        assert 0 < done.pad_activity <= done.samples
        told = [(event["code"], event["value"]) for event in recording.events]
        assert told[0] == (Control.SOUTH, 1)
        assert sorted(told[1:]) == [(Control.SOUTH, 0), (Control.EAST, 1)]


def test_discarding_more_than_there_is_leaves_nothing(tmp_path: Path, clock: SimulatedClock) -> None:
    """The key may come in the first seconds, and again and again."""
    habits = Habits(Keyboard({3: [Wish.DISCARD], 4: [Wish.DISCARD, Wish.DISCARD]}), discard_s=100)
    recording, _ = recorded(tmp_path, clock, Window(clock, [""] * 6), Pad(), habits=habits)
    with recording:
        assert numbers(recording) == [4, 5]


def test_a_chord_asks_once_and_is_not_learnt(tmp_path: Path, clock: SimulatedClock) -> None:
    """The bot would learn to press the recorder's chord, and a held chord would mark thirty episodes per second."""
    chords = Chords({Wish.MARK: (Control.SELECT, Control.THUMBR), Wish.DISCARD: (Control.SELECT, Control.START)})
    held = {Control.SELECT: range(8, 13), Control.THUMBR: range(10, 13)}
    recording, done = recorded(tmp_path, clock, Window(clock, [""] * 20), Pad(held=held), habits=Habits(chords=chords))
    with recording:
        assert numbers(recording) == [*range(10), *range(13, 20)]
        assert recording.episode.tolist() == [0] * 10 + [1] * 7
        assert (done.marks, done.discards) == (1, 0)


def test_another_pad_ends_the_recording(tmp_path: Path, clock: SimulatedClock) -> None:
    """Two pads in one session would be described by the ranges and names of the first."""
    pad = Pad(gone=range(10, 15), another_after=12)
    recording, done = recorded(tmp_path, clock, Window(clock, [""] * 30), pad)
    with recording:
        assert numbers(recording) == list(range(10))
        assert done.ended_by == OTHER_DEVICE


def test_another_pad_after_a_stall_ends_the_recording(tmp_path: Path, clock: SimulatedClock) -> None:
    """A machine that stood still while one pad was exchanged for another has no tick without a pad."""
    window = Window(clock, [""] * 30, slow={9: 1.0})
    recording, done = recorded(tmp_path, clock, window, Pad(another_after=10))
    with recording:
        assert numbers(recording) == list(range(10))
        assert done.ended_by == OTHER_DEVICE


def test_segments_of_the_real_game_end_at_hard_cuts(clock: SimulatedClock) -> None:
    """A goal replay cuts to another camera; joining the two pictures would invent motion."""
    rng = np.random.default_rng(0)
    counter = SegmentCounter(find_cuts=True)

    def shown(picture: Image) -> int:
        clock.sleep(1 / FPS)
        return counter.next(Frame(picture, clock()), Inputs(REST))

    scene = rng.integers(0, 60, (270, 480, 3), dtype=np.uint8)
    other = rng.integers(180, 255, (270, 480, 3), dtype=np.uint8)
    panned = [np.roll(scene, 3 * i, axis=1) for i in range(10)]
    assert [shown(p) for p in panned] == [0] * 10
    assert [shown(other) for _ in range(5)] == [1] * 5
    assert shown(scene) == 2


def test_a_countdown_ends_with_the_window(clock: SimulatedClock) -> None:
    """Whoever closes the game before the recording begins must not be left with a program that waits for ever."""
    said: list[str] = []
    count_down(Window(clock, ["", "not focused", ""]), lambda: len(said) > 9, 60.0, say=said.append, look_s=0.0)
    assert said == ["recording begins in 60 s", "waiting: not focused", "recording begins in 60 s", "waiting: closed"]
