"""A match as one of its drivers sees it: the own car first, and always from the blue side."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rl_utils.arena.gamestate import BLUE_TEAM, HALF_TURN, ORANGE_TEAM, Car, GameState, PhysicsObject
from rl_utils.arena.snapshot import TICK_HZ, Body, CarState, Snapshot


class Seat:
    """The world for a driver of any car; a `driver.Playground`.

    Args:
        arena: RocketSim's arena, for predictions.
        agent: Whose seat it is.
        state: Where play begins.
        seed: Of this start.
        limit_s: After which it is given up, as the clock on the picture shows.
    """

    def __init__(self, arena: Any, agent: Any, state: GameState, seed: int, limit_s: float) -> None:
        self._arena = arena
        self._agent = agent
        self._orange = state.cars[agent].team_num == ORANGE_TEAM
        self._began = state.tick_count
        self._limit_s = limit_s
        self.episode_seed = seed
        self.update(state)

    def update(self, state: GameState) -> None:
        """Time has gone on."""
        self._state = state
        self._snapshot: Snapshot | None = None

    @property
    def tick(self) -> int:
        """Ticks since play began, 1/120 s each."""
        return self._state.tick_count - self._began

    def snapshot(self) -> Snapshot:
        """The match as it is now."""
        if self._snapshot is None:
            self._snapshot = snapshot_for(self._state, self._agent, tick=self.tick, limit_s=self._limit_s)
        return self._snapshot

    def predict_ball(self, count: int, interval_ticks: int) -> NDArray[np.float64]:
        """Where the ball will be if nobody touches it.

        Returns:
            (count, 6): x, y, z in uu and vx, vy, vz in uu/s; row k is k × interval_ticks from now.
        """
        states = self._arena.get_ball_prediction(count, interval_ticks)
        path = np.array([(*state.pos.as_tuple(), *state.vel.as_tuple()) for state in states])
        return path * np.tile(HALF_TURN, 2) if self._orange else path


def snapshot_for(state: GameState, agent: Any, *, tick: int = 0, limit_s: float = 0.0) -> Snapshot:
    """A state as the driver of one car sees it, and as the renderer draws it.

    Args:
        state: The moment.
        agent: The car that comes first.
        tick: Ticks since play began.
        limit_s: After which it is given up.
    """
    own = state.cars[agent]
    orange = own.team_num == ORANGE_TEAM
    others = [car for other, car in state.cars.items() if other != agent and not car.is_demoed]
    timers = state.inverted_boost_pad_timers if orange else state.boost_pad_timers
    return Snapshot(
        tick=tick,
        episode=0,
        episode_tick=tick,
        cars=tuple(_car(car, orange) for car in (own, *others)),
        ball=_body(state.inverted_ball if orange else state.ball),
        pads_active=timers <= 0,
        score=(0, 0),
        time_left_s=max(0.0, limit_s - tick / TICK_HZ),
    )


def _car(car: Car, orange: bool) -> CarState:
    team = car.team_num
    return CarState(
        body=_body(car.inverted_physics if orange else car.physics),
        team=ORANGE_TEAM - team + BLUE_TEAM if orange else team,
        boost=car.boost_amount,
        boosting=car.is_boosting,
        on_ground=car.on_ground,
        supersonic=car.is_supersonic,
    )


def _body(body: PhysicsObject) -> Body:
    return Body(
        position=body.position.astype(np.float64),
        velocity=body.linear_velocity.astype(np.float64),
        angular_velocity=body.angular_velocity.astype(np.float64),
        rotation=body.rotation_mtx.T.astype(np.float64),
    )
