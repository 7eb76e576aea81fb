"""A game state as one row of numbers: goals, ball, cars' bodies, what else is known of the cars, boost pads.

Observations are then a matter of picking numbers from the row, which numpy does for all agents at once. The row is
filled anew for every state, and nothing of a state is kept: states may be changed in place between two observations.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from rl_utils.arena import field
from rl_utils.arena.gamestate import DOUBLE_JUMP_MAX_DELAY_S, FLIP_TORQUE_TIME_S, N_BOOST_PADS

ORANGE_GOAL: Final = 0
BLUE_GOAL: Final = 3
BALL: Final = 6
CARS: Final = BALL + 9
"""Places in the row; the goals are their centres. All that comes before the numbers is vectors of 3."""
POSITION, VELOCITY, SPIN, AXES, BODY = 0, 3, 6, 9, 18
"""Places within a body, and its length; the ball has the first three, the axes are forward, right and up."""


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
"""In the order in which `StateRow` packs them."""
VISIBLE_NUMBERS: Final = 5
"""The first so many are visible in other cars, too."""

_GOAL_CENTRE: Final = (0.0, field.BACK_WALL_Y_UU, field.GOAL_HEIGHT_UU / 2)
_pack: Final = struct.Struct(f"{len(CAR_NUMBERS)}f").pack


def place_of_body(car: int) -> int:
    """Where the body of the car that comes so many cars after the first one begins in the row."""
    return CARS + car * BODY


def place_of_number(car: int, number: int, cars: int) -> int:
    """Where a number of `CAR_NUMBERS` about one of so many cars stands."""
    return place_of_body(cars) + car * len(CAR_NUMBERS) + number


def place_of_pads(cars: int) -> int:
    """Where the boost pads begin, behind so many cars."""
    return place_of_number(cars, 0, cars)


class StateRow:
    """The row of one state after the other, with the same number of cars.

    Args:
        cars: How many.
        extra: Room for so many more numbers behind it, zeros at first.

    Attributes:
        numbers: (length + extra,) float32, the row and what comes behind it.
        length: Of the row itself.
    """

    def __init__(self, cars: int, extra: int = 0) -> None:
        self.length = place_of_pads(cars) + N_BOOST_PADS
        self.numbers = np.zeros(self.length + extra, np.float32)
        self.numbers[ORANGE_GOAL:BLUE_GOAL] = _GOAL_CENTRE
        self.numbers[BLUE_GOAL:BALL] = _GOAL_CENTRE
        self.numbers[BLUE_GOAL + 1] *= -1
        self._bytes = memoryview(self.numbers.data).cast("B")
        self._changing = slice(BALL * self.numbers.itemsize, self.length * self.numbers.itemsize)

    def fill(self, state: Any) -> list[int]:
        """Put a state into the row.

        Args:
            state: An RLGym `GameState`, or one of ours, with this number of cars. Its arrays are float32, as from
                engines, or of another length: 4-byte integers would be misread.

        Returns:
            The cars' teams.
        """
        ball = state.ball
        pieces: list[Any] = [ball.position, ball.linear_velocity, ball.angular_velocity]
        facts, teams = b"", []
        for car in state.cars.values():
            body = car.physics
            rotation = body.rotation_mtx
            # The axes are the matrix's columns. Bytes in column order are free where it is stored so, as ours is.
            try:
                axes = rotation.tobytes("F")
            except AttributeError:  # a list
                axes = rotation
            pieces += (body.position, body.linear_velocity, body.angular_velocity, axes)
            one, two, three, four = car.wheels_with_contact
            on_ground = (one and two and (three or four)) or (three and four and (one or two))
            air_s = car.air_time_since_jump
            late = air_s >= DOUBLE_JUMP_MAX_DELAY_S
            flipped, double, held = car.has_flipped, car.has_double_jumped, car.is_holding_jump
            # Written out, as Python compares floats quicker before a branch, and packs floats quicker than flags.
            facts += _pack(
                car.boost_amount,
                car.demo_respawn_timer,
                1.0 if on_ground else 0.0,
                1.0 if car.boost_active_time > 0.0 else 0.0,
                1.0 if car.supersonic_time > 0.0 else 0.0,
                1.0 if held else 0.0,
                car.handbrake,
                1.0 if car.has_jumped else 0.0,
                1.0 if car.is_jumping else 0.0,
                1.0 if flipped else 0.0,
                1.0 if flipped and car.flip_time < FLIP_TORQUE_TIME_S else 0.0,
                1.0 if double else 0.0,
                0.0 if on_ground or held or double or flipped or late else 1.0,
                DOUBLE_JUMP_MAX_DELAY_S if late else air_s,
            )
            teams.append(car.team_num)
        pieces += (facts, state.boost_pad_timers)
        # Joining bytes takes a third of the time of np.concatenate, and is right for what engines give: float32, whole.
        try:
            self._bytes[self._changing] = b"".join(pieces)
        except (BufferError, TypeError, ValueError):  # not in one piece, no array, or of another length
            self._convert(state, facts)
        return teams

    def _convert(self, state: Any, facts: bytes) -> None:
        """Fill it with whatever can be made numbers."""
        bodies: list[tuple[Any, ...]] = [(state.ball.position, state.ball.linear_velocity, state.ball.angular_velocity)]
        for car in state.cars.values():
            body = car.physics
            axes = np.asarray(body.rotation_mtx, np.float32).T
            bodies.append((body.position, body.linear_velocity, body.angular_velocity, axes))
        pieces = [np.asarray(part, np.float32).ravel() for body in bodies for part in body]
        pieces += (np.frombuffer(facts, np.float32), np.asarray(state.boost_pad_timers, np.float32).ravel())
        np.concatenate(pieces, out=self.numbers[BALL : self.length])
