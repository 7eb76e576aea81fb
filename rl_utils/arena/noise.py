"""Disturbances of the scripted driver (DART): it is pushed off its line, and its recoveries are what is worth learning.

The disturbed inputs are played, the clean ones are the labels. Noise must be strong to help: in this project's
measurements cloned policies scored 0.5 goals per minute from clean play, 0.7 from mild noise and 1.5 from this one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rl_utils.controls import REST, Control
from rl_utils.interfaces import InputVector

DRIFT_PULL = 0.15
DRIFT_STEP = 0.06
"""Per decision (1/30 s); together they make the stick wander by 0.11 of its whole way (standard deviation)."""
PAUSE = (15, 60)
"""Decisions between two bursts at full strength: 0.5 to 2 s."""
BURST = (3, 15)
"""Decisions that a burst lasts: 0.1 to 0.5 s."""
THROTTLE_SHARE = 0.4
BOOST_SHARE = 0.3
JUMP_SHARE = 0.06
"""Of the bursts, how many also take over throttle, boost and jump."""


@dataclass(frozen=True, slots=True)
class _Burst:
    """What is forced for a while; None leaves the driver's own."""

    left_x: float
    throttle: float | None
    boost: float | None
    jump_left_y: float | None


class Disturbance:
    """Disturbs inputs that are decided at 30 Hz.

    Args:
        strength: 0 (none) to 1: scales the drift, and how often bursts come.
        rng: Where the randomness comes from.
    """

    def __init__(self, strength: float, rng: np.random.Generator) -> None:
        assert 0 <= strength <= 1, strength
        self._strength = strength
        self._rng = rng
        self._drift = 0.0
        self._burst: _Burst | None = None
        self._left = 0
        self._begin()

    def __call__(self, clean: InputVector, *, begun: bool = False) -> InputVector:
        """Return what is played instead of `clean`.

        Args:
            clean: (19,) float32 in [0, 1].
            begun: This is the first decision of an episode.

        Returns:
            (19,) float32 in [0, 1], always a new array.
        """
        played = clean.copy()
        if self._strength == 0:
            return played
        if begun:
            self._begin()
        self._drift += DRIFT_STEP * float(self._rng.normal()) - DRIFT_PULL * self._drift
        played[Control.LEFT_X] += self._strength * self._drift
        if self._left == 0:
            self._burst = self._new_burst() if self._burst is None else None
            self._left = int(self._rng.integers(*BURST)) if self._burst is not None else self._pause()
        self._left -= 1
        if self._burst is not None:
            _force(played, self._burst)
        # In steps of an 8-bit pad, like the driver's own.
        return np.round(np.clip(played, 0, 1) * 255).astype(np.float32) / np.float32(255)

    def _begin(self) -> None:
        self._drift = 0.0
        self._burst = None
        self._left = self._pause()

    def _pause(self) -> int:
        low, high = PAUSE
        return max(1, round(int(self._rng.integers(low, high)) / max(self._strength, 0.01)))

    def _new_burst(self) -> _Burst:
        rng = self._rng
        throttle, boost, jump = rng.random(3) < (THROTTLE_SHARE, BOOST_SHARE, JUMP_SHARE)
        return _Burst(
            left_x=rng.uniform(0, 1),
            throttle=rng.uniform(-1, 1) if throttle else None,
            boost=float(rng.random() < 0.5) if boost else None,
            jump_left_y=rng.uniform(0, 1) if jump else None,
        )


def _force(played: InputVector, burst: _Burst) -> None:
    played[Control.LEFT_X] = burst.left_x
    if burst.throttle is not None:
        played[Control.RIGHT_TRIGGER] = max(REST[Control.RIGHT_TRIGGER], burst.throttle)
        played[Control.LEFT_TRIGGER] = max(REST[Control.LEFT_TRIGGER], -burst.throttle)
    if burst.boost is not None:
        played[Control.EAST] = burst.boost
    if burst.jump_left_y is not None:
        played[Control.SOUTH] = 1.0
        played[Control.LEFT_Y] = burst.jump_left_y
