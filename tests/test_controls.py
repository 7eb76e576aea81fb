"""The layout and the pad profiles."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl_utils.controls import (
    AXES,
    BTN_NORTH,
    BTN_WEST,
    BUTTONS,
    HATS,
    LAYOUT_VERSION,
    MENU_BUTTONS,
    N_AXES,
    N_BUTTONS,
    N_CONTROLS,
    NAMES,
    PLAYSTATION,
    PROFILES,
    REST,
    STICKS,
    TRIGGERS,
    XPAD,
    Control,
    PadProfile,
    swap_face_buttons,
)


def test_the_layout_is_that_of_version_1() -> None:
    """Every recording and checkpoint relies on this order; a change needs a new layout version."""
    assert LAYOUT_VERSION == 1
    assert (
        *("south", "east", "north", "west", "tl", "tr", "select", "start", "mode", "thumbl", "thumbr"),
        *("left_x", "left_y", "right_x", "right_y", "left_trigger", "right_trigger", "hat_x", "hat_y"),
    ) == NAMES


def test_the_groups_cover_every_control_once() -> None:
    """A control outside all groups would be decoded neither as button nor as axis."""
    everything = list(range(N_CONTROLS))
    assert everything[BUTTONS] + everything[AXES] == everything
    assert sorted((*STICKS, *TRIGGERS, *HATS)) == everything[AXES]
    assert (len(everything[BUTTONS]), len(everything[AXES])) == (N_BUTTONS, N_AXES)
    assert set(MENU_BUTTONS) <= set(everything[BUTTONS])


def test_neutral_releases_both_triggers() -> None:
    """With triggers resting at 0.5, as in the article's code, the car would drive at half throttle when released."""
    assert [float(REST[t]) for t in TRIGGERS] == [0.0, 0.0]
    assert all(REST[control] == 0.5 for control in (*STICKS, *HATS))
    assert not REST[BUTTONS].any()


def test_nobody_can_change_the_rest_position() -> None:
    """Writing into the shared array would make every later release press something."""
    with pytest.raises(ValueError, match="read-only"):
        REST[Control.SOUTH] = 1.0


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.name)
def test_each_profile_reports_every_control_exactly_once(profile: PadProfile) -> None:
    """A control with two codes could not be driven back; one without is never recorded."""
    controls = [*profile.buttons.values(), *profile.axes.values(), *(c for c, _ in profile.axis_keys.values())]
    assert sorted(controls) == list(Control)
    assert all(control < N_BUTTONS for control in profile.buttons.values())
    assert all(control >= N_BUTTONS for control in profile.axes.values())


def test_the_left_and_top_buttons_differ_between_drivers() -> None:
    """The kernel calls Xbox's left button BTN_NORTH: read alike, ball camera and powerslide change places."""
    assert XPAD.buttons[BTN_NORTH] is Control.WEST
    assert PLAYSTATION.buttons[BTN_NORTH] is Control.NORTH
    assert XPAD.buttons[BTN_WEST] is Control.NORTH
    assert PLAYSTATION.buttons[BTN_WEST] is Control.WEST


@given(st.lists(st.floats(0, 1, width=32), min_size=N_CONTROLS, max_size=N_CONTROLS))
def test_swapping_face_buttons_twice_changes_nothing(values: list[float]) -> None:
    """Old recordings are translated by it; a lossy swap would damage them."""
    inputs = np.array(values, np.float32)
    swapped = swap_face_buttons(inputs)
    assert swapped[Control.NORTH] == inputs[Control.WEST]
    np.testing.assert_array_equal(swap_face_buttons(swapped), inputs)
