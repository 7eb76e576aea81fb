"""The pad's 19 inputs ↔ what the car does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rl_utils.arena.mapping import DEAD_ZONE, CarControls, controls_to_inputs, inputs_to_controls
from rl_utils.controls import N_CONTROLS, REST, Control

UNIT = st.floats(-1, 1)
CONTROLS = st.builds(
    CarControls,
    throttle=UNIT,
    steer=UNIT,
    pitch=UNIT,
    yaw=UNIT,
    roll=UNIT,
    jump=st.booleans(),
    boost=st.booleans(),
    handbrake=st.booleans(),
)
STEP = 1 / 255


def press(**values: float) -> CarControls:
    inputs = REST.copy()
    for name, value in values.items():
        inputs[Control[name.upper()]] = value
    return inputs_to_controls(inputs)


def past_dead_zone(stick: float) -> float:
    return float(np.sign(stick) * max(0.0, (abs(stick) - DEAD_ZONE) / (1 - DEAD_ZONE)))


def test_rest_does_nothing() -> None:
    """A pad that nobody holds must not move the car."""
    assert press() == CarControls()


@pytest.mark.parametrize(
    ("pressed", "expected"),
    [
        ({"right_trigger": 1.0}, CarControls(throttle=1)),
        ({"left_trigger": 0.5}, CarControls(throttle=-0.5)),
        ({"right_trigger": 1.0, "left_trigger": 1.0}, CarControls()),
        ({"left_x": 1.0}, CarControls(steer=1, yaw=1)),
        ({"left_x": 0.0}, CarControls(steer=-1, yaw=-1)),
        ({"left_y": 1.0}, CarControls(pitch=1)),
        ({"left_y": 0.0}, CarControls(pitch=-1)),
        ({"south": 1.0}, CarControls(jump=True)),
        ({"east": 1.0}, CarControls(boost=True)),
        ({"west": 1.0}, CarControls(handbrake=True)),
        ({"west": 1.0, "left_x": 1.0}, CarControls(steer=1, roll=1, handbrake=True)),
        ({"tl": 1.0}, CarControls(roll=-1)),
        ({"tr": 1.0, "left_x": 0.0}, CarControls(steer=-1, yaw=-1, roll=1)),
        ({"north": 1.0, "right_x": 0.0, "right_y": 1.0, "hat_x": 0.0, "start": 1.0, "thumbl": 1.0}, CarControls()),
    ],
)
def test_the_default_bindings(pressed: dict[str, float], expected: CarControls) -> None:
    """What is learnt here has to mean the same in the game."""
    assert press(**pressed) == expected


def test_a_stick_just_off_centre_does_nothing() -> None:
    """No stick rests exactly at its centre; an 8-bit one rests at 128/255."""
    assert press(left_x=128 / 255, left_y=128 / 255) == CarControls()
    assert press(left_x=0.5 + DEAD_ZONE / 2 - 1e-3) == CarControls()
    assert press(left_x=0.5 + DEAD_ZONE / 2 + 1e-3).steer > 0


@given(st.floats(0, 1), st.floats(0, 1))
def test_more_stick_is_never_less_steering(a: float, b: float) -> None:
    """A jump or a fold in the curve could not be learnt."""
    low, high = sorted((a, b))
    assert -1 <= press(left_x=low).steer <= press(left_x=high).steer <= 1


@given(hnp.arrays(np.float32, N_CONTROLS, elements=st.floats(width=32)))
def test_any_numbers_give_sound_controls(inputs: np.ndarray) -> None:
    """A network may answer anything, also NaN; the physics must be given numbers."""
    controls = inputs_to_controls(inputs)
    for value in (controls.throttle, controls.steer, controls.pitch, controls.yaw, controls.roll):
        assert -1 <= value <= 1


@given(CONTROLS, st.booleans())
def test_a_driver_gets_what_it_wished(wish: CarControls, on_ground: bool) -> None:
    """The scripted driver plays through the pad; what got lost there would not be in the recording either."""
    inputs = controls_to_inputs(wish, on_ground=on_ground)
    assert inputs.dtype == np.float32
    assert inputs.min() >= 0
    assert inputs.max() <= 1
    got = inputs_to_controls(inputs)
    assert (got.jump, got.boost) == (wish.jump, wish.boost)
    assert got.throttle == pytest.approx(wish.throttle, abs=STEP)
    if on_ground:
        assert got.handbrake == wish.handbrake
        if not wish.jump:
            assert got.steer == pytest.approx(past_dead_zone(wish.steer), abs=3 * STEP)
    else:
        assert got.pitch == pytest.approx(past_dead_zone(wish.pitch), abs=3 * STEP)
        assert 0 in (got.yaw, got.roll)  # one stick cannot do both
        if got.roll:
            assert got.roll == pytest.approx(past_dead_zone(wish.roll), abs=3 * STEP)
        if got.yaw:
            assert got.yaw == pytest.approx(past_dead_zone(wish.yaw), abs=3 * STEP)


@given(CONTROLS, st.booleans())
def test_a_driver_presses_nothing_else(wish: CarControls, on_ground: bool) -> None:
    """The scripted driver must not open menus or move the camera."""
    inputs = controls_to_inputs(wish, on_ground=on_ground)
    used = {"SOUTH", "EAST", "WEST", "LEFT_X", "LEFT_Y", "LEFT_TRIGGER", "RIGHT_TRIGGER"}
    for control in Control:
        if control.name not in used:
            assert inputs[control] == REST[control]


@given(UNIT, UNIT)
def test_a_dodge_from_the_ground_takes_its_direction_from_the_stick(pitch: float, yaw: float) -> None:
    """The second press of a dodge may come while a wheel still touches the floor."""
    got = inputs_to_controls(controls_to_inputs(CarControls(jump=True, pitch=pitch, yaw=yaw), on_ground=True))
    assert got.pitch == pytest.approx(past_dead_zone(pitch), abs=3 * STEP)
    assert got.yaw == pytest.approx(past_dead_zone(yaw), abs=3 * STEP)
