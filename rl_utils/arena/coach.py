"""When the scripted driver, playing the person, takes the pad from a policy that does badly, and gives it back.

The rule is what somebody who watches can see: the policy has got no nearer to the ball for a while. No progress is a
tick at which the car neither touches the ball nor moves towards it at `PROGRESS_UU_S`: stuck at a wall, tipped over,
circling, driving away. Such time adds up and progress takes it off twice as fast, so that going around the ball is
allowed; at `PATIENCE_S` the driver takes the pad, for `HOLD_S` and until the car stands on its wheels. A new start
gives it back.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from rl_utils.arena.snapshot import TICK_HZ, Snapshot

PROGRESS_UU_S: Final = 300.0
"""A fifth of the speed that full throttle reaches."""
PATIENCE_S: Final = 1.5
HOLD_S: Final = 4.0


class Coach:
    """Watches a policy drive; see the module's description."""

    def __init__(self) -> None:
        self.holds = False
        """Whether the pad is the scripted driver's now."""
        self._bad_s = 0.0
        self._held_s = 0.0
        self._tick: int | None = None
        self._episode = -1
        self._touches = 0

    def see(self, snapshot: Snapshot, touches: int) -> None:
        """Look at the world and decide whose the pad is.

        Args:
            snapshot: The world as it is now.
            touches: Since the world began.
        """
        passed_s = 0.0 if self._tick is None else (snapshot.tick - self._tick) / TICK_HZ
        touched = touches > self._touches
        self._tick, self._touches = snapshot.tick, touches
        if snapshot.episode != self._episode:
            self._episode = snapshot.episode
            self._give_back()
        elif self.holds:
            self._held_s += passed_s
            if self._held_s >= HOLD_S and snapshot.cars[0].on_ground:
                self._give_back()
        else:
            progress = touched or closing_speed(snapshot) >= PROGRESS_UU_S
            self._bad_s = max(0.0, self._bad_s + (-2 * passed_s if progress else passed_s))
            self.holds = self._bad_s >= PATIENCE_S

    def _give_back(self) -> None:
        self.holds = False
        self._bad_s = self._held_s = 0.0


def closing_speed(snapshot: Snapshot) -> float:
    """How fast the player's car moves towards the ball, in uu/s."""
    car = snapshot.cars[0].body
    way = snapshot.ball.position - car.position
    return float(np.dot(car.velocity, way) / max(1.0, float(np.linalg.norm(way))))
