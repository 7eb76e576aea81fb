"""Placing balls and cars on the pitch: on the floor, on the ramps and on the walls, clear of each other."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random
from typing import Final

import numpy as np

from rl_utils.arena import field
from rl_utils.arena.snapshot import Vec

SIDE_WALLS: Final = (0, 4)
BACK_WALLS: Final = (2, 6)
CORNER_WALLS: Final = (1, 3, 5, 7)
"""Walls are numbered by the direction they stand in, in eighths of a turn from +x."""

CLEAR_UU: Final = 250.0
"""Centres of car and ball are at least this far apart."""
CORNER_CLEAR_UU: Final = 7500.0
"""|x| + |y| of what stands freely on the floor: 400 uu from the corner wall, beyond its ramp."""
RAMP_LIFT_UU: Final = 27.0
"""A car's centre above a ramp, enough for nose and tail to clear the curve; it settles within a few ticks."""

_HALF_LENGTH: Final = (3756.0, 602.0, 2732.0)
"""Half the straight part of a side wall, a corner wall and a back wall."""
_MIDDLE: Final = (
    np.array([field.SIDE_WALL_X_UU, 0.0, 0.0]),
    # A corner wall runs from (4096, 3968) to (2944, 5120): it is not centred on the pitch's diagonal.
    np.array([3520.0, 4544.0, 0.0]),
    np.array([0.0, field.BACK_WALL_Y_UU, 0.0]),
)
"""The middle of those walls, in the first quadrant."""


@dataclass(frozen=True, slots=True)
class BallStart:
    """A ball at the start: position in uu, velocity in uu/s, spin in rad/s."""

    position: Vec
    velocity: Vec
    spin: Vec


@dataclass(frozen=True, slots=True)
class CarStart:
    """A car at the start.

    Attributes:
        position: Centre of mass, uu.
        rotation: (3, 3), rows are forward, right and up.
        velocity: uu/s.
        spin: rad/s.
        on_ground: Wheels carry it.
    """

    position: Vec
    rotation: Vec
    velocity: Vec
    spin: Vec
    on_ground: bool = True


def ball_anywhere(random: Random) -> BallStart:
    """Up to 7 m high, moving in any direction, not in a corner."""
    x, y = _spot(random, 3200, 4200)
    position = np.array([x, y, random.uniform(field.BALL_REST_Z_UU, 700)])
    velocity = np.array([random.uniform(-1500, 1500), random.uniform(-1500, 1500), random.uniform(-300, 800)])
    return BallStart(position, velocity, np.array([random.uniform(-3, 3) for _ in range(3)]))


def ball_rolling(x: float, y: float, velocity_x: float, velocity_y: float) -> BallStart:
    """On the floor."""
    return BallStart(np.array([x, y, field.BALL_REST_Z_UU]), np.array([velocity_x, velocity_y, 0.0]), np.zeros(3))


def slow_ball_anywhere(random: Random) -> BallStart:
    """On the floor and hardly moving, not in a corner."""
    x, y = _spot(random, 3200, 4200)
    return ball_rolling(x, y, random.uniform(-500, 500), random.uniform(-500, 500))


def car_anywhere(random: Random) -> CarStart:
    """Standing on its wheels on the floor, clear of the ramps, facing any way."""
    car = car_on_floor(*_spot(random, 3500, 4300), random.uniform(-math.pi, math.pi), 0.0)
    assert car is not None
    return car


def car_on_floor(x: float, y: float, yaw: float, speed: float) -> CarStart | None:
    """Driving on the floor; None where a wall or ramp is in the way.

    Args:
        x: uu.
        y: uu.
        yaw: Radians from +x towards +y.
        speed: uu/s forward.
    """
    if abs(x) > 3600 or abs(y) > 4650 or abs(x) + abs(y) > CORNER_CLEAR_UU:
        return None
    heading = np.array([math.cos(yaw), math.sin(yaw), 0.0])
    return _on_surface(np.array([x, y, 0.0]), np.array([0.0, 0.0, 1.0]), heading, field.CAR_REST_Z_UU, speed)


def car_at_wall(wall: int, along: float, inset: float, facing: float, speed: float) -> CarStart | None:
    """On the floor before a wall, or on the ramp that leads up to it; None in a goal mouth.

    Args:
        wall: 0 to 7.
        along: Place along the wall's straight part, -1 to 1.
        inset: Distance from the wall's plane, uu; the ramp begins at 256.
        facing: Radians from looking straight at the wall.
        speed: uu/s forward.
    """
    out, tangent, foot = _wall(wall, along)
    if wall in BACK_WALLS and abs(foot[0]) < field.GOAL_HALF_WIDTH_UU + field.RAMP_UU:
        return None
    r = field.RAMP_UU
    slope = math.asin(min(1.0, max(0.0, 1 - inset / r)))
    point = foot - inset * out + np.array([0.0, 0.0, r * (1 - math.cos(slope))])
    normal = -math.sin(slope) * out + np.array([0.0, 0.0, math.cos(slope)])
    heading = math.cos(facing) * out + math.sin(facing) * tangent
    lift = RAMP_LIFT_UU if slope > 0 else field.CAR_REST_Z_UU
    return _on_surface(point, normal, heading, lift, speed)


def car_on_wall(wall: int, along: float, z: float, facing: float, speed: float) -> CarStart | None:
    """Driving on a wall; None in a goal mouth.

    Args:
        wall: 0 to 7.
        along: Place along the wall's straight part, -1 to 1.
        z: Height of the car's centre, uu.
        facing: Radians from straight up.
        speed: uu/s forward.
    """
    out, tangent, foot = _wall(wall, along)
    beside_goal = abs(foot[0]) < field.GOAL_HALF_WIDTH_UU + 150 and z < field.GOAL_HEIGHT_UU + 150
    if wall in BACK_WALLS and beside_goal:
        return None
    up = np.array([0.0, 0.0, 1.0])
    return _on_surface(
        foot + z * up, -out, math.cos(facing) * up + math.sin(facing) * tangent, field.CAR_REST_Z_UU, speed
    )


def car_tipped(random: Random, roll: float) -> CarStart:
    """Anywhere on the floor, rolled to its right by `roll` radians, just above the ground and still moving."""
    upright = car_anywhere(random)
    forward, right, up = upright.rotation
    c, s = math.cos(roll), math.sin(roll)
    return CarStart(
        position=np.array([*upright.position[:2], 60.0]),
        rotation=np.array([forward, c * right - s * up, s * right + c * up]),
        velocity=random.uniform(0, 800) * forward,
        spin=np.array([random.uniform(-2, 2) for _ in range(3)]),
        on_ground=False,
    )


def clear_of(car: CarStart, ball: BallStart) -> bool:
    """Whether car and ball do not touch at the start."""
    return float(np.linalg.norm(car.position - ball.position)) >= CLEAR_UU


def _spot(random: Random, x_max: float, y_max: float) -> tuple[float, float]:
    while True:
        x, y = random.uniform(-x_max, x_max), random.uniform(-y_max, y_max)
        if abs(x) + abs(y) <= CORNER_CLEAR_UU:
            return x, y


def _wall(wall: int, along: float) -> tuple[Vec, Vec, Vec]:
    """Outward direction, direction along the wall, and a point at its foot in the wall's plane."""
    angle = wall * math.pi / 4
    out = np.array([math.cos(angle), math.sin(angle), 0.0])
    tangent = np.array([-out[1], out[0], 0.0])
    kind = min(wall % 4, 4 - wall % 4)
    middle = np.sign(np.round(out)) * _MIDDLE[kind]
    return out, tangent, middle + along * _HALF_LENGTH[kind] * tangent


def _on_surface(point: Vec, normal: Vec, heading: Vec, lift: float, speed: float) -> CarStart:
    """Wheels on the surface, nose where `heading` points within it."""
    forward = heading - (heading @ normal) * normal
    forward = forward / np.linalg.norm(forward)
    rotation = np.array([forward, np.cross(normal, forward), normal])  # the frame is left-handed: right = up × forward
    return CarStart(point + lift * normal, rotation, speed * forward, np.zeros(3))
