"""The pad's 19 inputs ↔ what the car does, under Rocket League's default bindings.

| input | on the ground | in the air |
| --- | --- | --- |
| right, left trigger | throttle, reverse | the same, as weak thrust |
| left stick sideways | steer | yaw; roll while the left face button is held (free air roll) |
| left stick up, down | | nose down, nose up; the direction of a dodge |
| bottom, right face button | jump, boost | jump or dodge, boost |
| left face button | powerslide | free air roll |
| shoulder buttons | | air roll left, right |

The top face button belongs to the camera (`game`). Source: community controllers for RocketSim and players' guides,
listed in this project's facts (physics, section 5); the game's own table was not found.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from rl_utils.controls import REST, Control
from rl_utils.interfaces import InputVector

DEAD_ZONE = 0.1
"""Stick travel around rest, as a share of full travel, that does nothing; the rest is stretched to full range."""
AIR_ROLL_MIN = 0.15
"""A smaller wish to roll is not worth giving up yaw for."""


@dataclass(frozen=True, slots=True)
class CarControls:
    """What a car is told to do, in RocketSim's words and signs.

    Attributes:
        throttle: -1 (reverse) to 1.
        steer: -1 (left) to 1 (right), on the ground.
        pitch: -1 (nose down) to 1 (nose up), in the air.
        yaw: -1 (left) to 1 (right), in the air.
        roll: -1 (left side down) to 1 (right side down), in the air.
        jump: Jump, or dodge when pressed again.
        boost: Burn boost.
        handbrake: Powerslide.
    """

    throttle: float = 0.0
    steer: float = 0.0
    pitch: float = 0.0
    yaw: float = 0.0
    roll: float = 0.0
    jump: bool = False
    boost: bool = False
    handbrake: bool = False


def inputs_to_controls(inputs: InputVector) -> CarControls:
    """What the game makes of a pad.

    Args:
        inputs: (19,) float32 in [0, 1]; values outside are taken as the nearest limit, NaN as rest.
    """
    pad = [
        rest if math.isnan(x) else min(1.0, max(0.0, x)) for x, rest in zip(inputs.tolist(), REST.tolist(), strict=True)
    ]
    sideways, vertical = _stick(pad[Control.LEFT_X]), _stick(pad[Control.LEFT_Y])
    free_roll = pad[Control.WEST] > 0.5
    roll_buttons = float(pad[Control.TR] > 0.5) - float(pad[Control.TL] > 0.5)
    return CarControls(
        throttle=pad[Control.RIGHT_TRIGGER] - pad[Control.LEFT_TRIGGER],
        steer=sideways,
        pitch=vertical,
        yaw=0.0 if free_roll else sideways,
        roll=sideways if free_roll else roll_buttons,
        jump=pad[Control.SOUTH] > 0.5,
        boost=pad[Control.EAST] > 0.5,
        handbrake=free_roll,
    )


def controls_to_inputs(controls: CarControls, *, on_ground: bool) -> InputVector:
    """How a person would hold the pad to get there; what the default bindings cannot express is left out.

    The stick follows the wish linearly, so small corrections vanish in the dead zone as they do for a person: inputs
    that jumped over it would flicker about rest, which is harder to learn from and plays no better.

    Args:
        controls: The wish.
        on_ground: Whether the stick steers, or turns the car in the air.

    Returns:
        (19,) float32 in [0, 1], sticks and triggers in steps of 1/255 as an 8-bit pad has them.
    """
    pad = REST.copy()
    turns_in_air = not on_ground or controls.jump  # a dodge takes its direction from the stick
    air_roll = not on_ground and abs(controls.roll) > max(abs(controls.yaw), AIR_ROLL_MIN)
    sideways = controls.roll if air_roll else controls.yaw if turns_in_air else controls.steer
    pad[Control.SOUTH] = controls.jump
    pad[Control.EAST] = controls.boost
    pad[Control.WEST] = controls.handbrake if on_ground else air_roll
    pad[Control.LEFT_X] = _eight_bit((sideways + 1) / 2)
    pad[Control.LEFT_Y] = _eight_bit((controls.pitch + 1) / 2) if turns_in_air else 0.5
    pad[Control.RIGHT_TRIGGER] = _eight_bit(controls.throttle)
    pad[Control.LEFT_TRIGGER] = _eight_bit(-controls.throttle)
    return pad


def _stick(position: float) -> float:
    """[0, 1] with rest at 0.5 → [-1, 1] without the dead zone."""
    travel = 2 * position - 1
    beyond = (abs(travel) - DEAD_ZONE) / (1 - DEAD_ZONE)
    return math.copysign(beyond, travel) if beyond > 0 else 0.0


def _eight_bit(value: float) -> float:
    """The nearest of 255 steps; rest (0.5) itself has none, so it becomes 128/255, within the dead zone."""
    return min(255, max(0, round(value * 255))) / 255
