"""A game state as one row of numbers: constants, ball, boost pads, then car after car.

Observations are then a matter of picking numbers from the row, which numpy does for all agents at once.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final

import numpy as np

from rl_utils.arena import field
from rl_utils.arena.gamestate import DOUBLE_JUMP_MAX_DELAY_S, FLIP_TORQUE_TIME_S, N_BOOST_PADS, Array

ZERO: Final = 0
ONE: Final = 1
ORANGE_GOAL: Final = 2
BLUE_GOAL: Final = 5
BALL: Final = 8
PADS: Final = BALL + 9
CARS: Final = PADS + N_BOOST_PADS
"""Places in the row; the goals are their centres."""
POSITION, VELOCITY, SPIN, ROTATION, NUMBERS = 0, 3, 6, 9, 18
"""Places within a body; the ball has the first three, the rotation is stored row by row."""


@dataclass(frozen=True, slots=True)
class Number:
    """One number about a car.

    Attributes:
        name: What it is.
        unit: What 1 stands for, once divided.
        divisor: Brings it into [0, 1].
    """

    name: str
    unit: str = ""
    divisor: float = 1.0


CAR_NUMBERS: Final = (
    Number("boost", "100", 100),
    Number("demo_respawn", "3 s", 3),
    Number("on_ground"),
    Number("boosting"),
    Number("supersonic"),
    Number("holding_jump"),
    Number("handbrake"),
    Number("has_jumped"),
    Number("jumping"),
    Number("has_flipped"),
    Number("flipping"),
    Number("has_double_jumped"),
    Number("can_flip"),
    Number("air_time_since_jump", f"{DOUBLE_JUMP_MAX_DELAY_S} s", DOUBLE_JUMP_MAX_DELAY_S),
)
"""In the order in which `state_row` packs them."""
VISIBLE_NUMBERS: Final = 5
"""The first so many are visible in other cars, too."""
_CAR_LENGTH: Final = NUMBERS + len(CAR_NUMBERS)

_GOAL_CENTRE: Final = (0.0, field.BACK_WALL_Y_UU, field.GOAL_HEIGHT_UU / 2)
_CONSTANTS: Final = struct.pack("8f", 0, 1, *_GOAL_CENTRE, 0, -_GOAL_CENTRE[1], _GOAL_CENTRE[2])
_pack: Final = struct.Struct(f"{len(CAR_NUMBERS)}f").pack
_body_of: Final = attrgetter("position", "linear_velocity", "angular_velocity", "rotation_mtx")
_facts_of: Final = attrgetter(
    *("boost_amount", "demo_respawn_timer", "wheels_with_contact", "boost_active_time", "supersonic_time"),
    *("is_holding_jump", "handbrake", "has_jumped", "is_jumping", "has_flipped", "flip_time", "has_double_jumped"),
    *("air_time_since_jump", "team_num"),
)


def place_of_car(number: int) -> int:
    """Where the car that comes so many cars after the first one begins in the row."""
    return CARS + number * _CAR_LENGTH


def state_row(state: Any) -> tuple[Array, list[int]]:
    """Put a state into a row.

    Args:
        state: An RLGym `GameState`, or one of ours. Its arrays are float32, as from engines, or of 8-byte numbers;
            4-byte integers would be misread.

    Returns:
        (CARS + 32 × cars,) float32, and the cars' teams.
    """
    ball = state.ball
    pieces = [_CONSTANTS, ball.position, ball.linear_velocity, ball.angular_velocity, state.boost_pad_timers]
    teams = []
    for car in state.cars.values():
        pieces += _body_of(car.physics)
        boost, demo, wheels, flame_s, fast_s, held, drift, jumped, jumping, flipped, flip_s, double, air_s, team = (
            _facts_of(car)
        )
        teams.append(team)
        on_ground = sum(wheels) >= 3
        late = air_s >= DOUBLE_JUMP_MAX_DELAY_S
        pieces.append(
            _pack(
                boost,
                demo,
                on_ground,
                flame_s > 0,
                fast_s > 0,
                held,
                drift,
                jumped,
                jumping,
                flipped,
                flipped and flip_s < FLIP_TORQUE_TIME_S,
                double,
                not (on_ground or held or double or flipped or late),
                DOUBLE_JUMP_MAX_DELAY_S if late else air_s,
            )
        )
    # Joining bytes takes a third of np.concatenate's time, and is right for float32 in one piece: what engines give.
    try:
        row = np.frombuffer(b"".join(pieces), np.float32)
    except (BufferError, TypeError, ValueError):  # not in one piece, or an odd number of bytes
        row = np.empty(0, np.float32)
    if len(row) != place_of_car(len(teams)):
        row = np.concatenate([_as_floats(piece) for piece in pieces])
    return row, teams


def _as_floats(piece: Any) -> Array:
    return np.frombuffer(piece, np.float32) if isinstance(piece, bytes) else np.asarray(piece, np.float32).ravel()
