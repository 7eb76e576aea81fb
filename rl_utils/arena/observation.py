"""The arena's state as 24 numbers, in the order of RLGym's example `ObsBuilder`: ball first, then the car.

Always as the blue team sees it: for an orange car the world is turned by half a turn about the z axis.
Source: RLGym's documentation, "Observation Builders". Numbers are raw (uu, uu/s, rad/s): networks scale them.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from rl_utils.arena.snapshot import Snapshot

_PARTS: Final = (
    "ball_position",
    "ball_linear_velocity",
    "ball_angular_velocity",
    "car_position",
    "car_forward",
    "car_up",
    "car_linear_velocity",
    "car_angular_velocity",
)
OBS_NAMES: Final[tuple[str, ...]] = tuple(f"{part}_{axis}" for part in _PARTS for axis in "xyz")

HALF_TURN: Final = np.array([-1.0, -1.0, 1.0])
"""What turning the world about z does to a vector."""


def observe(snapshot: Snapshot, car: int = 0) -> NDArray[np.float32]:
    """What a car sees.

    Args:
        snapshot: The moment.
        car: Index of the car in it.

    Returns:
        (24,) float32, named by `OBS_NAMES`.
    """
    ball, me = snapshot.ball, snapshot.cars[car]
    vectors = np.array(
        [
            ball.position,
            ball.velocity,
            ball.angular_velocity,
            me.body.position,
            me.body.rotation[0],
            me.body.rotation[2],
            me.body.velocity,
            me.body.angular_velocity,
        ]
    )
    if me.team != 0:
        vectors = vectors * HALF_TURN
    return vectors.astype(np.float32).ravel()
