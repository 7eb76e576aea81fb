"""A recording as a window and a pad gives back what was recorded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rl_utils.controls import REST, Control
from rl_utils.data_batcher import BatchSaver
from rl_utils.interfaces import Frame, Inputs
from rl_utils.recordings import Recording, open_recordings
from rl_utils.replay import ReplayFrames, ReplayPad
from tests.recordings_kit import PAD, SIZE, WINDOW, picture, record_session, sample, vector, write_article_file


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    record_session(tmp_path, 45, batch_size=20, labels_from=0, state=True)
    return open_recordings([tmp_path])[0]


def test_frames_and_inputs_are_those_that_were_recorded(recording: Recording) -> None:
    """Scoring a policy on a recording is meaningless unless it sees what the recorder saw."""
    count = 0
    with ReplayFrames(recording) as frames, ReplayPad(recording) as pad:
        assert not frames.real_time
        while (frame := frames.read()) is not None:
            expected, expected_inputs = sample(count, labels=True, state=True)
            assert np.array_equal(frame.image, expected.image)
            assert frame.t_ns == expected.t_ns
            assert frames.index == count
            assert frames.segment == count // 20
            inputs = pad.at(frame.t_ns)
            assert np.array_equal(inputs.values, vector(count))
            assert np.array_equal(inputs.labels, expected_inputs.labels)
            assert np.array_equal(inputs.state, expected_inputs.state)
            assert (inputs.t_ns, inputs.episode) == (expected_inputs.t_ns, count // 10)
            assert [event.value for event in pad.take_events()] == [-count]
            count += 1
        assert count == 45
        assert frames.exhausted
        assert frames.read() is None
        assert frames.problem == "end of the recording"


def test_a_stretch_can_be_replayed(recording: Recording) -> None:
    """Looking at one minute of an hour must not need the rest."""
    frames = ReplayFrames(recording, start=30, stop=33)
    images = []
    while not frames.exhausted:
        frame = frames.read()
        assert frame is not None
        images.append(frame.image)
    assert np.array_equal(images, [picture(30), picture(31), picture(32)])


def test_pictures_belong_to_the_receiver(recording: Recording) -> None:
    """A view drawn over the picture must not change what is read next time."""
    first = ReplayFrames(recording).read()
    assert first is not None
    first.image[:] = 0
    again = ReplayFrames(recording).read()
    assert again is not None
    assert again.image.any()


def test_devices_describe_what_was_recorded(recording: Recording) -> None:
    """Re-recording a replay must not lose where the pictures came from."""
    info = ReplayFrames(recording).info
    assert (info.title, info.wm_class, info.native_size) == (WINDOW.title, WINDOW.wm_class, WINDOW.native_size)
    assert info.backend == "replay"
    assert not info.is_arena
    pad = ReplayPad(recording).info
    assert (pad.name, pad.profile, pad.ids, pad.ranges) == (PAD.name, "replay", PAD.ids, PAD.ranges)
    assert pad.state_names == PAD.state_names


def test_taps_between_two_looks_are_kept(tmp_path: Path) -> None:
    """At half the recorded rate every second sample is skipped, and a jump lasts only one."""
    with BatchSaver(tmp_path, fps=60, size=SIZE, frames=WINDOW, pad=PAD, block=True) as saver:
        for i in range(6):
            values = REST.copy()
            if i == 2:
                values[Control.SOUTH] = 1
                values[Control.HAT_X] = 0
                values[Control.LEFT_X] = 0.9
            saver.add(Frame(picture(i), i * 100), Inputs(values), segment=0)
    pad = ReplayPad(open_recordings([tmp_path])[0])
    pressed = [pad.at(t) for t in (100, 310, 500)]
    assert [inputs.values[Control.SOUTH] for inputs in pressed] == [0, 1, 0]
    assert [inputs.values[Control.HAT_X] for inputs in pressed] == [0.5, 0, 0.5]
    assert [inputs.values[Control.LEFT_X] for inputs in pressed] == [0.5, 0.5, 0.5]


def test_the_pad_rests_before_and_holds_after_the_recording(recording: Recording) -> None:
    """A bot that replays inputs must not start with a button held."""
    pad = ReplayPad(recording)
    assert np.array_equal(pad.at(0).values, REST)
    pad.at(10**15)
    assert np.array_equal(pad.at(2 * 10**15).values, vector(44))
    assert pad.at(2 * 10**15).values.flags.writeable


def test_the_articles_files_replay(tmp_path: Path) -> None:
    """Their pictures carry no times; they come at 30 per second."""
    write_article_file(tmp_path / "1_batch.h5", np.stack([picture(i) for i in range(4)]), np.tile(REST, (4, 1)))
    (article,) = open_recordings([tmp_path])
    frames, pad = ReplayFrames(article), ReplayPad(article)
    times = []
    while (frame := frames.read()) is not None:
        times.append(frame.t_ns)
        assert np.array_equal(pad.at(frame.t_ns).values, REST)
    assert times == [0, 33333333, 66666667, 100000000]
    assert frames.info.native_size == SIZE
