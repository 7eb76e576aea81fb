"""What an RLGym environment of the arena is made of, beside engine and observations: actions, starts, rewards, ends."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from random import Random
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from rlgym.api import ActionParser, DoneCondition, RewardFunction, StateMutator

from rl_utils.arena import field
from rl_utils.arena.engine import LIMIT_KEY, SEED_KEY
from rl_utils.arena.gamestate import BLUE_TEAM, HALF_TURN, ORANGE_TEAM, Car, PhysicsObject
from rl_utils.arena.mapping import inputs_to_controls
from rl_utils.arena.observations import INPUTS_KEY
from rl_utils.arena.placement import CarStart, car_anywhere, car_on_floor
from rl_utils.arena.situations import (
    KICKOFF_BOOST,
    KICKOFF_PLACES,
    check_situation,
    make_start,
    next_seed,
)
from rl_utils.arena.snapshot import TICK_HZ
from rl_utils.arena.world import DECISION_TICKS
from rl_utils.controls import N_CONTROLS, REST
from rl_utils.errors import UserError

APART_UU: Final = 400.0
"""Centres of cars, and of cars and ball, are at least this far apart at the start."""


class PadActionParser(ActionParser[Any, Any, Any, Any, tuple[str, int]]):  # type: ignore[misc]  # rlgym-api has no types
    """Actions are the pad's 19 inputs, under the game's default bindings (`mapping`).

    Args:
        ticks: How long an action is held, 1/120 s each; recordings and drivers decide every 4 ticks.
    """

    def __init__(self, ticks: int = DECISION_TICKS) -> None:
        if ticks < 1:
            raise UserError(f"Actions cannot be held for {ticks} ticks", "Choose at least 1")
        self._ticks = ticks

    def get_action_space(self, agent: Any) -> tuple[str, int]:
        """19 real numbers in [0, 1] for every agent."""
        return "continuous", N_CONTROLS

    def reset(self, agents: list[Any], initial_state: Any, shared_info: dict[str, Any]) -> None:
        """All pads are at rest."""
        shared_info[INPUTS_KEY] = dict.fromkeys(agents, REST)

    def parse_actions(
        self, actions: Mapping[Any, ArrayLike], state: Any, shared_info: dict[str, Any]
    ) -> dict[Any, NDArray[np.float32]]:
        """Turn inputs into what RLGym's engines take.

        Args:
            actions: agent → (19,) in [0, 1].
            state: Not used.
            shared_info: The inputs are kept here, under `INPUTS_KEY`, for observations.

        Returns:
            agent → (ticks, 8) float32: throttle, steer, pitch, yaw, roll, jump, boost, handbrake.

        Raises:
            UserError: An action is not 19 numbers.
        """
        inputs = {agent: np.array(action, np.float32) for agent, action in actions.items()}
        for agent, values in inputs.items():
            if values.shape != REST.shape:
                raise UserError(f"The action of {agent} has shape {values.shape}", f"Give {N_CONTROLS} inputs")
        shared_info[INPUTS_KEY] = inputs
        return {agent: np.tile(_controls(values), (self._ticks, 1)) for agent, values in inputs.items()}


def _controls(inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    c = inputs_to_controls(inputs)
    return np.array([c.throttle, c.steer, c.pitch, c.yaw, c.roll, c.jump, c.boost, c.handbrake], np.float32)


class SituationMutator(StateMutator[Any]):  # type: ignore[misc]  # rlgym-api has no types
    """Starts of the arena, one seed after the other, with any number of cars.

    `blue-0` stands where the arena's player would, so a 1v0 start is that of the practice window. The others are placed
    at random on the floor, or on the game's places at a kickoff, with orange's mirrored.

    Args:
        situation: One of `situations.NAMES`.
        seed: Of the first start; then as `situations.next_seed` counts.
        blue: Cars that attack +y.
        orange: Cars that attack -y.

    Raises:
        UserError: Unknown situation, bad seed or bad number of cars.
    """

    def __init__(self, situation: str = "training", seed: int = 0, *, blue: int = 1, orange: int = 0) -> None:
        check_situation(situation, seed)
        if not (1 <= blue <= len(KICKOFF_PLACES) and 0 <= orange <= len(KICKOFF_PLACES)):
            raise UserError(
                f"{blue} against {orange} cars cannot be placed", "Choose 1 to 5 blue and 0 to 5 orange ones"
            )
        self._situation, self._seed = situation, seed
        self._blue, self._orange = blue, orange

    def apply(self, state: Any, shared_info: dict[str, Any]) -> None:
        """Set ball and cars, and tell seed and time limit in `shared_info`."""
        seed, self._seed = self._seed, next_seed(self._seed)
        start = make_start(self._situation, seed)
        shared_info[SEED_KEY], shared_info[LIMIT_KEY] = seed, start.limit_s
        ball = start.ball
        state.ball.position, state.ball.linear_velocity = _floats(ball.position), _floats(ball.velocity)
        state.ball.angular_velocity, state.ball.rotation_mtx = _floats(ball.spin), np.eye(3, dtype=np.float32)
        at_kickoff = math.isclose(start.boost, KICKOFF_BOOST) and not np.any(ball.position[:2])
        random = Random(f"{self._situation} {seed} others")
        taken = [start.car.position, ball.position]
        places = self._kickoff_places(random, start.car) if at_kickoff else _free_places(random, taken)
        orange_places = self._kickoff_places(random, None) if at_kickoff else places

        def boost() -> float:
            return KICKOFF_BOOST if at_kickoff else random.uniform(0, 100)

        state.cars["blue-0"] = _car(start.car, BLUE_TEAM, start.boost)
        for number in range(1, self._blue):
            state.cars[f"blue-{number}"] = _car(next(places), BLUE_TEAM, boost())
        for number in range(self._orange):
            # As blue would stand, then turned: orange's starts are blue's.
            state.cars[f"orange-{number}"] = _turned(_car(next(orange_places), ORANGE_TEAM, boost()))

    def _kickoff_places(self, random: Random, taken: CarStart | None) -> Iterator[CarStart]:
        for x, y, yaw in random.sample(KICKOFF_PLACES, len(KICKOFF_PLACES)):
            if taken is None or math.hypot(taken.position[0] - x, taken.position[1] - y) > 1:
                place = car_on_floor(x, y, yaw * math.pi, 0)
                assert place is not None
                yield place


def _free_places(random: Random, taken: list[NDArray[np.float64]]) -> Iterator[CarStart]:
    """Anywhere on the floor, clear of ball and cars, also once it is turned for orange."""
    while True:
        car = car_anywhere(random)
        spots = (car.position, car.position * HALF_TURN)
        if all(np.linalg.norm(spot - other) > APART_UU for spot in spots for other in taken):
            taken += spots
            yield car


def _car(start: CarStart, team: int, boost: float) -> Car:
    body = PhysicsObject(
        _floats(start.position), _floats(start.velocity), _floats(start.spin), _floats(start.rotation.T)
    )
    car = Car(team_num=team, boost_amount=boost, physics=body)
    car.on_ground = start.on_ground
    return car


def _turned(car: Car) -> Car:
    car.physics = car.physics.inverted()
    return car


def _floats(values: ArrayLike) -> NDArray[np.float32]:
    return np.ascontiguousarray(values, np.float32)


class PlayReward(RewardFunction[Any, Any, float]):  # type: ignore[misc]  # rlgym-api has no types
    """A weighted sum of what good play is made of; a weight of 0 leaves a part away.

    Args:
        goal: For a goal of the agent's team; an own goal or one against it costs as much.
        touch: For a step in which the agent touched the ball.
        ball_to_goal: For the ball's speed towards the opponents' goal, 6000 uu/s being 1.
        to_ball: For the agent's speed towards the ball, 2300 uu/s being 1.
    """

    def __init__(
        self, *, goal: float = 10.0, touch: float = 0.1, ball_to_goal: float = 0.05, to_ball: float = 0.005
    ) -> None:
        self._goal, self._touch, self._ball_to_goal, self._to_ball = goal, touch, ball_to_goal, to_ball

    def reset(self, agents: list[Any], initial_state: Any, shared_info: dict[str, Any]) -> None:
        """Nothing is remembered between episodes."""

    def get_rewards(
        self,
        agents: list[Any],
        state: Any,
        is_terminated: Mapping[Any, bool],
        is_truncated: Mapping[Any, bool],
        shared_info: dict[str, Any],
    ) -> dict[Any, float]:
        """Each agent's reward for the last step."""
        return {agent: self._reward(state, state.cars[agent]) for agent in agents}

    def _reward(self, state: Any, car: Any) -> float:
        blue = car.team_num == BLUE_TEAM
        reward = self._touch * (car.ball_touches > 0)
        if state.goal_scored:
            reward += self._goal if state.scoring_team == car.team_num else -self._goal
        if self._ball_to_goal:
            goal = np.array([0, field.BACK_WALL_Y_UU if blue else -field.BACK_WALL_Y_UU, 0], np.float32)
            speed = _speed_towards(state.ball, goal)
            reward += self._ball_to_goal * speed / field.BALL_MAX_SPEED_UU_S
        if self._to_ball and not car.is_demoed:
            speed = _speed_towards(car.physics, state.ball.position)
            reward += self._to_ball * speed / field.CAR_MAX_SPEED_UU_S
        return float(reward)


def _speed_towards(body: Any, place: NDArray[np.float32]) -> float:
    way = place - body.position
    return float(way @ body.linear_velocity) / max(1.0, math.sqrt(float(way @ way)))


class GoalScored(DoneCondition[Any, Any]):  # type: ignore[misc]  # rlgym-api has no types
    """The episode ends with a goal."""

    def reset(self, agents: list[Any], initial_state: Any, shared_info: dict[str, Any]) -> None:
        """Nothing to remember."""

    def is_done(self, agents: list[Any], state: Any, shared_info: dict[str, Any]) -> dict[Any, bool]:
        """The same for all."""
        return dict.fromkeys(agents, bool(state.goal_scored))


class TimeOver(DoneCondition[Any, Any]):  # type: ignore[misc]  # rlgym-api has no types
    """The episode is given up after the start's time limit.

    Args:
        limit_s: Instead of the limit that `SituationMutator` tells.
    """

    def __init__(self, limit_s: float | None = None) -> None:
        self._limit_s = limit_s
        self._end = math.inf

    def reset(self, agents: list[Any], initial_state: Any, shared_info: dict[str, Any]) -> None:
        """The time runs from now."""
        limit_s = shared_info.get(LIMIT_KEY, math.inf) if self._limit_s is None else self._limit_s
        self._end = initial_state.tick_count + limit_s * TICK_HZ

    def is_done(self, agents: list[Any], state: Any, shared_info: dict[str, Any]) -> dict[Any, bool]:
        """The same for all."""
        return dict.fromkeys(agents, bool(state.tick_count >= self._end))
