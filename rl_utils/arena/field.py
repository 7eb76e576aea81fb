"""The pitch in numbers: published dimensions, boost pads and the outline of its walls.

Lengths are in unreal units (uu), in the frame that `snapshot` describes. Source: the RLBot wiki's "Useful game values"
(walls, goals, pads, spawns) and RLGym's cheatsheet of game values (ramp height, corner cathetus).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SIDE_WALL_X_UU: Final = 4096.0
BACK_WALL_Y_UU: Final = 5120.0
CEILING_Z_UU: Final = 2048.0
CORNER_SUM_UU: Final = 8064.0
"""|x| + |y| on the diagonal corner walls."""
RAMP_UU: Final = 256.0
"""Radius of the quarter-circle between floor and wall, and between wall and ceiling."""

GOAL_HALF_WIDTH_UU: Final = 892.755
GOAL_HEIGHT_UU: Final = 642.775
GOAL_DEPTH_UU: Final = 880.0
GOAL_Y_UU: Final = 5124.25
"""A goal counts when the whole ball is behind this plane."""

BALL_RADIUS_UU: Final = 91.25
BALL_REST_Z_UU: Final = 93.15
CAR_REST_Z_UU: Final = 17.0
CAR_LENGTH_UU: Final = 120.5
CAR_WIDTH_UU: Final = 86.7
CAR_HEIGHT_UU: Final = 38.7
CAR_HITBOX_OFFSET_UU: Final = (13.9, 0.0, 20.8)
"""Centre of the Octane's hitbox from its centre of mass: forward, right, up. Source: RocketSim's CarConfig.OCTANE."""

CAR_MAX_SPEED_UU_S: Final = 2300.0
BALL_MAX_SPEED_UU_S: Final = 6000.0


@dataclass(frozen=True, slots=True)
class BoostPad:
    """A boost pad's place; big ones fill up to 100 and return after 10 s, small ones give 12 and return after 4 s."""

    x: float
    y: float
    z: float
    is_big: bool


def _pad(x: float, y: float, is_big: bool = False) -> BoostPad:
    return BoostPad(x, y, 73.0 if is_big else 70.0, is_big)


BOOST_PADS: Final[tuple[BoostPad, ...]] = (
    _pad(0, -4240),
    _pad(-1792, -4184),
    _pad(1792, -4184),
    _pad(-3072, -4096, True),
    _pad(3072, -4096, True),
    _pad(-940, -3308),
    _pad(940, -3308),
    _pad(0, -2816),
    _pad(-3584, -2484),
    _pad(3584, -2484),
    _pad(-1788, -2300),
    _pad(1788, -2300),
    _pad(-2048, -1036),
    _pad(0, -1024),
    _pad(2048, -1036),
    _pad(-3584, 0, True),
    _pad(-1024, 0),
    _pad(1024, 0),
    _pad(3584, 0, True),
    _pad(-2048, 1036),
    _pad(0, 1024),
    _pad(2048, 1036),
    _pad(-1788, 2300),
    _pad(1788, 2300),
    _pad(-3584, 2484),
    _pad(3584, 2484),
    _pad(0, 2816),
    _pad(-940, 3308),
    _pad(940, 3308),
    _pad(-3072, 4096, True),
    _pad(3072, 4096, True),
    _pad(-1792, 4184),
    _pad(1792, 4184),
    _pad(0, 4240),
)
"""In the order of RocketSim and RLGym: by y, then x."""
