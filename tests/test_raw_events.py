"""Raw events tell all that the pad did: the recorded inputs again, and inputs at times that were never recorded."""

from __future__ import annotations

import random
import time
from pathlib import Path

import numpy as np
import pytest

from rl_utils.controls import EV_ABS, EV_KEY, XPAD, Control
from rl_utils.data_batcher import BatchSaver
from rl_utils.errors import UserError
from rl_utils.interfaces import Frame, Inputs, PadEvent, PadInfo
from rl_utils.pad_mapping import codes_of
from rl_utils.pad_state import AxisRange, PadState
from rl_utils.raw_events import inputs_at
from rl_utils.recordings import open_recordings
from tests.recordings_kit import SIZE, WINDOW, picture, record_session

RANGE = (-32768, 0, 32767)
PERIOD_NS = 33_333_333
PAD = PadInfo(
    "pad", "xpad", codes=codes_of(XPAD), ranges={control.name.lower(): RANGE for control in XPAD.axes.values()}
)


def stream(count: int) -> list[PadEvent]:
    """A second of play by somebody with very nervous hands for every 100 events."""
    chance = random.Random(4)
    keys, axes = list(XPAD.buttons), list(XPAD.axes)
    events = []
    for index in range(count):
        t_ns = 1_000_000_000 + index * 10_000_000 + chance.randrange(9_000_000)
        if chance.random() < 0.5:
            events.append(PadEvent(t_ns, EV_KEY, chance.choice(keys), chance.randrange(2)))
        else:
            events.append(PadEvent(t_ns, EV_ABS, chance.choice(axes), chance.randint(-32768, 32767)))
    return events


def test_inputs_come_back_at_the_recorded_and_at_other_times(tmp_path: Path) -> None:
    """Somebody who needs 60 Hz inputs, or those 80 ms later, must not have to record again."""
    events = stream(400)
    state = PadState(XPAD, {code: AxisRange(*RANGE) for code in XPAD.axes})
    waiting = list(events)
    with BatchSaver(tmp_path, fps=30, size=SIZE, frames=WINDOW, pad=PAD, block=True, batch_size=25) as saver:
        for index in range(120):
            t_ns = 1_000_000_000 + index * PERIOD_NS
            new = [event for event in waiting if event.t_ns <= t_ns]
            waiting = waiting[len(new) :]
            for event in new:
                state.apply(event)
            saver.add(Frame(picture(index), t_ns), Inputs(state.sample(t_ns), state.t_ns), segment=0, events=new)
    (recording,) = open_recordings([tmp_path])
    with recording:
        assert np.array_equal(inputs_at(recording, recording.timestamps_ns), recording.inputs)
        between = np.sort(np.concatenate([recording.timestamps_ns, recording.timestamps_ns - PERIOD_NS // 2]))
        finer = inputs_at(recording, between)
        assert finer.shape == (240, len(Control))
        axes = [int(control) for control in XPAD.axes.values()]
        assert np.array_equal(finer[1::2][:, axes], recording.inputs[:, axes])  # taps last for one sample only
        assert not np.array_equal(finer[::2], finer[1::2])


def test_a_recording_that_cannot_tell_says_so(tmp_path: Path) -> None:
    """The arena's pad has no evdev codes; guessing them would swap buttons."""
    record_session(tmp_path, 3)
    (recording,) = open_recordings([tmp_path])
    with recording, pytest.raises(UserError, match="does not say what its raw events mean"):
        inputs_at(recording, recording.timestamps_ns)


@pytest.mark.uinput
def test_a_real_pad_is_replayed_from_its_events(tmp_path: Path) -> None:
    """What was held before the recording began, and every tap in it, must be in the stream."""
    from evdev import ecodes as e

    from rl_utils.controller_reader import ControllerReader
    from tests import pads

    chance = random.Random(1)
    pad = pads.make_xpad()
    try:
        pad.write(e.EV_KEY, e.BTN_TL, 1)
        pad.write(e.EV_ABS, e.ABS_X, -20_000)
        pad.syn()
        with (
            ControllerReader() as reader,
            BatchSaver(tmp_path, fps=60, size=SIZE, frames=WINDOW, pad=reader.info, block=True) as saver,
        ):
            for index in range(90):
                for _ in range(chance.randrange(4) if index else 0):
                    pad.write(e.EV_KEY, chance.choice([e.BTN_SOUTH, e.BTN_EAST, e.BTN_TL]), chance.randrange(2))
                    pad.write(e.EV_ABS, chance.choice([e.ABS_RX, e.ABS_Y]), chance.randint(-32000, 32000))
                    pad.syn()
                time.sleep(0.005)
                t_ns = time.monotonic_ns()
                inputs = reader.at(t_ns)
                saver.add(Frame(picture(index), t_ns), inputs, segment=0, events=reader.take_events())
    finally:
        pad.close()
    (recording,) = open_recordings([tmp_path])
    with recording:
        assert recording.inputs[0, Control.TL] == 1
        assert recording.inputs[0, Control.LEFT_X] < 0.25
        assert len(np.unique(recording.inputs[:, Control.RIGHT_X])) > 20
        assert np.array_equal(inputs_at(recording, recording.timestamps_ns), recording.inputs)
