"""One moment of the arena as plain numbers: what the physics hands to the camera, the renderer and the driver.

The world's frame is the game's: left-handed, blue attacks along +y, z is up, lengths in unreal units (uu, 1 uu ≈ 1 cm).
Facing +x, right is +y; so facing +y, right is -x.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

TICK_HZ = 120
"""Physics steps per second. Source: RocketSim's and the game's rate."""
CAMERA_HZ = 60
"""The camera moves in fixed steps of simulated time, so that pictures do not depend on how often they are drawn."""

Vec = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Body:
    """A rigid body.

    Attributes:
        position: (3,) uu.
        velocity: (3,) uu/s.
        angular_velocity: (3,) rad/s.
        rotation: (3, 3), rows are the body's forward, right and up in world coordinates.
    """

    position: Vec
    velocity: Vec
    angular_velocity: Vec
    rotation: Vec


@dataclass(frozen=True, slots=True)
class CarState:
    """A car.

    Attributes:
        body: Its motion.
        team: 0 blue (attacks +y), 1 orange (attacks -y).
        boost: 0 to 100.
        boosting: The flame burns.
        on_ground: Wheels carry it.
        supersonic: At top speed.
    """

    body: Body
    team: int
    boost: float
    boosting: bool
    on_ground: bool
    supersonic: bool


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything visible at one physics tick.

    Attributes:
        tick: Physics ticks since the process's world began; never resets.
        episode: Grows with every new start.
        episode_tick: Ticks since this episode's start.
        cars: The player's car first.
        ball: The ball.
        pads_active: (34,) bool, in the order of `field.BOOST_PADS`.
        score: Goals (blue, orange) since the arena was opened.
        time_left_s: Until the episode is given up.
    """

    tick: int
    episode: int
    episode_tick: int
    cars: tuple[CarState, ...]
    ball: Body
    pads_active: NDArray[np.bool_]
    score: tuple[int, int]
    time_left_s: float


_HALF_TURN = np.array([-1.0, -1.0, 1.0])


def half_turned(snapshot: Snapshot) -> Snapshot:
    """The same moment with the teams exchanged: the world turned by half a turn about z, which maps it onto itself."""
    blue, orange = snapshot.score
    return replace(
        snapshot,
        cars=tuple(replace(car, body=_turned(car.body), team=1 - car.team) for car in snapshot.cars),
        ball=_turned(snapshot.ball),
        pads_active=snapshot.pads_active[::-1],  # they are listed from one end of the pitch to the other
        score=(orange, blue),
    )


def _turned(body: Body) -> Body:
    return Body(
        body.position * _HALF_TURN,
        body.velocity * _HALF_TURN,
        body.angular_velocity * _HALF_TURN,
        body.rotation * _HALF_TURN,
    )
