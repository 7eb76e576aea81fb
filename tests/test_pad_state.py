"""From events to inputs, wherever the frames fall."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rl_utils import controls as c
from rl_utils.controls import EV_ABS, EV_KEY, HATS, N_BUTTONS, NAMES, REST, XPAD, Control
from rl_utils.interfaces import PadEvent
from rl_utils.pad_state import TAP_MEMORY_NS, AxisRange, PadState

RANGES = {
    code: AxisRange(-1, 0, 1) if control in HATS else AxisRange(0, 128, 255) for code, control in XPAD.axes.items()
}


def press(t_ns: int, code: int = c.BTN_SOUTH, value: int = 1) -> PadEvent:
    return PadEvent(t_ns, EV_KEY, code, value)


def pressed(values: np.ndarray) -> set[str]:
    return {NAMES[i] for i in range(N_BUTTONS) if values[i]}


def test_a_tap_between_two_samples_is_shown_once() -> None:
    """A jump shorter than a frame would be missing from the recording, or last for two frames."""
    state = PadState(XPAD, RANGES)
    for event in (press(1), press(2, value=0)):
        state.apply(event)
    assert pressed(state.sample(10)) == {"south"}
    assert pressed(state.sample(20)) == set()


def test_a_tap_of_the_d_pad_is_shown_once() -> None:
    """The d-pad is four buttons that the kernel reports as axes; its taps must not be lost either."""
    state = PadState(XPAD, RANGES)
    for value in (-1, 0):
        state.apply(PadEvent(1, EV_ABS, c.ABS_HAT0X, value))
    assert state.sample(10)[Control.HAT_X] == 0.0
    assert state.sample(20)[Control.HAT_X] == 0.5


def test_what_was_tapped_during_a_pause_is_not_shown_after_it() -> None:
    """Clicking through another window for a minute must not appear as one frame with every button pressed."""
    state = PadState(XPAD, RANGES)
    for event in (press(1), press(2, value=0)):
        state.apply(event)
    assert pressed(state.sample(TAP_MEMORY_NS + 2)) == set()


def test_codes_of_no_control_change_nothing() -> None:
    """Pads send keys and axes that we do not record, for instance a touchpad click."""
    state = PadState(XPAD, RANGES)
    state.apply(press(1, code=c.BTN_TOUCH))
    state.apply(PadEvent(1, EV_ABS, 0x28, 50))
    np.testing.assert_array_equal(state.sample(2), REST)
    assert state.t_ns == 0


def test_absent_axes_stay_at_rest() -> None:
    """A pad without a right stick must not record a stick held in a corner (0/0 in naive normalisation)."""
    state = PadState(XPAD, {c.ABS_X: AxisRange(0, 128, 255)})
    state.apply(PadEvent(1, EV_ABS, c.ABS_RX, 255))
    state.apply(PadEvent(1, EV_ABS, c.ABS_X, 255))
    values = state.sample(2)
    assert values[Control.RIGHT_X] == 0.5
    assert values[Control.LEFT_X] == 1.0


def test_values_outside_the_declared_range_are_clipped() -> None:
    """The kernel does not clamp what devices report; a value beyond 1 would break every consumer."""
    state = PadState(XPAD, RANGES)
    state.apply(PadEvent(1, EV_ABS, c.ABS_X, 300))
    state.apply(PadEvent(1, EV_ABS, c.ABS_Y, -5))
    values = state.sample(2)
    assert (values[Control.LEFT_X], values[Control.LEFT_Y]) == (1.0, 0.0)


def test_auto_repeat_is_no_second_press() -> None:
    """Value 2 means held; were it a press, a button let go would be shown once more."""
    state = PadState(XPAD, RANGES)
    state.apply(press(1))
    state.sample(1)
    for event in (press(2, value=2), press(3, value=0)):
        state.apply(event)
    assert pressed(state.sample(4)) == set()


@given(st.lists(st.tuples(st.sampled_from([*XPAD.buttons]), st.integers(0, 1)), max_size=60), st.data())
def test_every_press_shows_and_the_state_is_right_wherever_samples_fall(
    events: list[tuple[int, int]], data: st.DataObject
) -> None:
    """However frames fall between events, no press may be lost and no button may stay down."""
    state = PadState(XPAD, RANGES)
    held: set[Control] = set()
    since: set[Control] = set()
    for t_ns, (code, value) in enumerate(events):
        control = XPAD.buttons[code]
        state.apply(press(t_ns, code, value))
        if value:
            held.add(control)
            since.add(control)
        else:
            held.discard(control)
        if data.draw(st.booleans()):
            assert pressed(state.sample(t_ns)) == {control.name.lower() for control in held | since}
            since = set()
