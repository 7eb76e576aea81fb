"""A hand on the gamepad: noticed at once, passed on while it plays, and the bot drives again when it lets go."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl_utils.controls import MENU_BUTTONS, N_CONTROLS, REST, Control
from rl_utils.interfaces import InputVector
from rl_utils.takeover import PadTakeover, TouchMonitor, is_let_go
from tests.conftest import HandPad, SimulatedClock

TICK_S = 1 / 25


@pytest.mark.parametrize("control", list(Control))
def test_every_control_is_a_kill_switch(control: Control, clock: SimulatedClock) -> None:
    """In a fright a person grabs whatever is under the thumb."""
    pad = HandPad()
    monitor = TouchMonitor(pad, now_ns=clock)
    assert not monitor.touched()
    pad.values[control] = 1.0
    assert monitor.touched()
    assert control.name.lower().replace("_", " ") in monitor.reason
    pad.values[control] = REST[control]
    assert monitor.touched(), "a short touch counts too"


def test_worn_sticks_and_bumps_are_no_touch(clock: SimulatedClock) -> None:
    """A drifting stick that stopped the bot each second would make people unplug the pad."""
    pad = HandPad()
    pad.values[[Control.LEFT_X, Control.RIGHT_TRIGGER]] = (0.45, 0.03)
    monitor = TouchMonitor(pad, now_ns=clock)
    for drift in (0.02, -0.05, 0.1):
        pad.values[Control.LEFT_X] = 0.45 + drift
        pad.values[Control.RIGHT_TRIGGER] = 0.1
        assert not monitor.touched()


def test_letting_go_of_what_was_held_is_no_touch_but_pressing_again_is(clock: SimulatedClock) -> None:
    """The button that started the bot from a menu is still down when it begins to drive."""
    pad = HandPad()
    pad.values[Control.SOUTH] = 1.0
    pad.values[Control.HAT_X] = 1.0
    monitor = TouchMonitor(pad, now_ns=clock)
    assert not monitor.touched()
    pad.values[:] = REST
    assert not monitor.touched()
    pad.values[Control.SOUTH] = 1.0
    assert monitor.touched()


def test_a_pad_that_is_pulled_out_stops_the_bot(clock: SimulatedClock) -> None:
    """Without its kill switch the bot must not go on."""
    pad = HandPad()
    with TouchMonitor(pad, now_ns=clock) as monitor:
        assert not monitor.touched()
        pad.plugged_in = False
        assert monitor.touched()
        assert monitor.reason == "the gamepad was unplugged"


@pytest.mark.parametrize("control", [Control.LEFT_X, Control.RIGHT_TRIGGER, Control.HAT_Y])
def test_what_was_held_and_let_go_is_a_kill_switch_again(control: Control, clock: SimulatedClock) -> None:
    """A stick that was held aside when the bot began must stop it when it is pushed there again."""
    pad = HandPad()
    pad.values[control] = 1.0
    monitor = TouchMonitor(pad, now_ns=clock)
    for value in (0.9, 0.7, REST[control]):
        pad.values[control] = value if control is not Control.HAT_Y else REST[control]
        assert not monitor.touched()
    pad.values[control] = 1.0
    assert monitor.touched()


def taken(person: PadTakeover, clock: SimulatedClock) -> InputVector | None:
    """What the person presses on the next tick."""
    clock.sleep(TICK_S)
    return person.take()


@given(st.lists(st.floats(0, 1, width=32), min_size=N_CONTROLS, max_size=N_CONTROLS))
def test_a_touch_takes_the_pad_at_once_and_everything_is_passed_on(values: list[float]) -> None:
    """The car must do what the hand does, in every control, from the first tick on; only the menu stays masked."""
    pad, clock = HandPad(), SimulatedClock()
    person = PadTakeover(pad, give_back_s=1.0, now_ns=clock)
    assert taken(person, clock) is None
    pad.values[Control.SOUTH] = 1.0
    first = taken(person, clock)
    assert first is not None
    assert first[Control.SOUTH] == 1.0
    hand = np.array(values, np.float32)
    pad.values = np.where(np.arange(N_CONTROLS) == Control.START, 0, hand).astype(np.float32)
    passed = taken(person, clock)
    assert passed is not None
    others = [control for control in Control if control not in MENU_BUTTONS]
    assert np.array_equal(passed[others], hand[others])
    assert not passed[list(MENU_BUTTONS)].any()


def test_letting_go_gives_the_pad_back_after_the_chosen_time(clock: SimulatedClock) -> None:
    """Coasting for a moment is driving, too; a bot that grabbed the pad then would be a nuisance."""
    pad = HandPad()
    person = PadTakeover(pad, give_back_s=1.0, now_ns=clock)
    pad.values[Control.RIGHT_TRIGGER] = 1.0
    assert taken(person, clock) is not None
    pad.values[:] = REST
    pad.values[Control.LEFT_X] = 0.55  # a worn stick
    for _ in range(20):
        assert taken(person, clock) is not None
    pad.values[Control.EAST] = 1.0
    assert taken(person, clock) is not None
    pad.values[Control.EAST] = 0.0
    held = 0
    while taken(person, clock) is not None:
        held += 1
    assert held == 24
    assert taken(person, clock) is None
    pad.values[Control.EAST] = 1.0
    assert taken(person, clock) is not None, "and it can be taken again"


def test_the_chord_gives_the_pad_back_at_once_with_everything_held(clock: SimulatedClock) -> None:
    """The bot must not lose the pad again only because the person's thumb is still on the stick."""
    pad = HandPad()
    pad.values[[Control.LEFT_X, Control.RIGHT_TRIGGER]] = 1.0
    pad.values[Control.EAST] = 1.0
    person = PadTakeover(pad, give_back_s=0, now_ns=clock)
    assert taken(person, clock) is None, "held from before"
    pad.values[Control.WEST] = 1.0
    assert taken(person, clock) is not None
    pad.values[[Control.SELECT, Control.START]] = 1.0
    assert taken(person, clock) is None
    for control in (Control.SELECT, Control.START, Control.WEST, Control.EAST):
        pad.values[control] = 0.0
        assert taken(person, clock) is None
    pad.values[:] = REST
    assert taken(person, clock) is None
    pad.values[Control.LEFT_X] = 1.0
    assert taken(person, clock) is not None
    pad.values[:] = REST
    for _ in range(1000):
        assert taken(person, clock) is not None, "without a time only the chord gives it back"


def test_without_their_pad_a_person_is_lost(clock: SimulatedClock) -> None:
    """The bot must not go on where nobody can interfere any more."""
    pad = HandPad()
    with PadTakeover(pad, give_back_s=1.0, now_ns=clock) as person:
        assert person.lost == ""
        pad.plugged_in = False
        assert "unplugged" in person.lost


def test_worn_pads_are_let_go_and_pressed_ones_are_not() -> None:
    """What counts as letting go decides what is left out of learning."""
    worn, pressed, moved = REST.copy(), REST.copy(), REST.copy()
    worn[[Control.LEFT_X, Control.LEFT_TRIGGER]] = (0.4, 0.1)
    pressed[Control.HAT_X] = 0.0
    moved[Control.RIGHT_Y] = 0.2
    assert is_let_go(np.stack([REST, worn, pressed, moved])).tolist() == [True, True, False, False]
