"""What observations hold: names, units and ranges of their numbers. Recordings, builders and networks share this copy.

It needs neither physics nor RLGym, so that a recording's `state` is understood anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from rl_utils.arena.snapshot import Snapshot

XYZ: Final = ("x", "y", "z")


@dataclass(frozen=True, slots=True)
class Part:
    """Some neighbouring numbers of an observation.

    Attributes:
        name: What they are.
        unit: What 1 stands for.
        low: The least possible value.
        high: The greatest possible value.
        labels: Names of the single numbers after the part's; one number has none.
    """

    name: str
    unit: str
    low: float
    high: float
    labels: tuple[str, ...] = XYZ

    @property
    def names(self) -> tuple[str, ...]:
        """A name for each number."""
        return tuple(f"{self.name}_{label}" for label in self.labels) or (self.name,)

    def __len__(self) -> int:
        return max(1, len(self.labels))


BALL_CAR_PARTS: Final = (
    Part("ball_position", "uu", -6000, 6000),
    Part("ball_linear_velocity", "uu/s", -6000, 6000),
    Part("ball_angular_velocity", "rad/s", -6, 6),
    Part("car_position", "uu", -6000, 6000),
    Part("car_forward", "", -1, 1),
    Part("car_up", "", -1, 1),
    Part("car_linear_velocity", "uu/s", -2300, 2300),
    Part("car_angular_velocity", "rad/s", -5.5, 5.5),
)
"""RLGym's example builder: ball, then car, raw. Source: RLGym's documentation, "Observation Builders"; limits of speed
from the RLBot wiki's "Useful game values", of places from the pitch with its goals."""
OBS_NAMES: Final = tuple(name for part in BALL_CAR_PARTS for name in part.names)
"""Names of the 24 numbers in a recording's `state`."""

_HALF_TURN: Final = np.array([-1.0, -1.0, 1.0])


def observe(snapshot: Snapshot, car: int = 0) -> NDArray[np.float32]:
    """What a car sees, always as the blue team sees it: for orange the world is turned by half a turn about z.

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
        vectors = vectors * _HALF_TURN
    return vectors.astype(np.float32).ravel()


def markdown_table(parts: Sequence[Part]) -> str:
    """The parts as a table: places, names, units and ranges, in the order in which they stand in an observation."""
    lines = ["| numbers | name | 1 is | range |", "| --- | --- | --- | --- |"]
    first = 0
    for part in parts:
        last = first + len(part) - 1
        places = f"{first}" if first == last else f"{first} to {last}"
        labels = f" ({', '.join(part.labels)})" if part.labels and len(part) <= 3 else ""
        lines.append(f"| {places} | `{part.name}`{labels} | {part.unit or '1'} | {part.low:g} to {part.high:g} |")
        first = last + 1
    return "\n".join(lines)
