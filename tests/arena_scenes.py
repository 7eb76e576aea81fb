"""Moments of play made by hand, for the tests of the arena's pictures."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable

import numpy as np

from rl_utils.arena.field import BOOST_PADS
from rl_utils.arena.snapshot import Body, CarState, Snapshot

Point = tuple[float, float, float]
ALL_PADS = np.ones(len(BOOST_PADS), bool)
NO_PADS = np.zeros(len(BOOST_PADS), bool)


def rotation(yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0) -> np.ndarray:
    """Rows forward, right, up of a body; roll lowers its right side."""
    cy, sy, cp, sp = math.cos(yaw), math.sin(yaw), math.cos(pitch), math.sin(pitch)
    right, up = np.array([-sy, cy, 0.0]), np.array([-sp * cy, -sp * sy, cp])
    cr, sr = math.cos(roll), math.sin(roll)
    return np.stack([np.array([cp * cy, cp * sy, sp]), cr * right - sr * up, sr * right + cr * up])


def body(place: Point, turn: Point = (0.0, 0.0, 0.0), velocity: Point = (0.0, 0.0, 0.0)) -> Body:
    """A body with yaw, pitch and roll."""
    return Body(np.array(place, float), np.array(velocity, float), np.zeros(3), rotation(*turn))


def car(
    place: Point,
    turn: Point = (0.0, 0.0, 0.0),
    *,
    team: int = 0,
    boosting: bool = False,
    on_ground: bool = True,
    velocity: Point = (0.0, 0.0, 0.0),
    supersonic: bool = False,
    boost: float = 50.0,
) -> CarState:
    """A car with yaw, pitch and roll."""
    return CarState(body(place, turn, velocity), team, boost, boosting, on_ground, supersonic)


def moment(
    cars: CarState | Iterable[CarState],
    ball: Point = (0.0, 0.0, 93.0),
    *,
    spin: Point = (0.3, 0.4, 0.1),
    pads: np.ndarray = ALL_PADS,
    tick: int = 0,
    episode: int = 0,
    score: tuple[int, int] = (0, 0),
    time_left_s: float = 20.0,
) -> Snapshot:
    """A snapshot; the ball is turned by `spin`."""
    return Snapshot(
        tick=tick,
        episode=episode,
        episode_tick=tick,
        cars=(cars,) if isinstance(cars, CarState) else tuple(cars),
        ball=body(ball, spin),
        pads_active=pads,
        score=score,
        time_left_s=time_left_s,
    )


def mirrored(snapshot: Snapshot) -> Snapshot:
    """The same moment with left and right exchanged (x → -x)."""
    flip = np.array([-1.0, 1.0, 1.0])
    order = [next(i for i, q in enumerate(BOOST_PADS) if (q.x, q.y) == (-p.x, p.y)) for p in BOOST_PADS]

    def turned(b: Body, *, is_ball: bool = False) -> Body:
        # A mirrored right-handed frame is left-handed: the row "right" changes its sign once more. A ball has no
        # right side: its pattern is the same from all corners only through its centre.
        rows = np.array([1.0, -1.0, 1.0])[:, None]
        return Body(
            b.position * flip,
            b.velocity * flip,
            -b.angular_velocity * flip,
            b.rotation * flip * (1.0 if is_ball else rows),
        )

    return dataclasses.replace(
        snapshot,
        cars=tuple(dataclasses.replace(c, body=turned(c.body)) for c in snapshot.cars),
        ball=turned(snapshot.ball, is_ball=True),
        pads_active=snapshot.pads_active[order],
    )
