"""Observation builders for any RLGym environment of Rocket League: the example's 24 numbers, and a complete one.

Both show every agent the pitch as the blue team sees it. They read RLGym's `GameState` by its attributes alone, so they
work with the stock engine and with this project's, and need no package but rlgym-api.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from rlgym.api import ObsBuilder

from rl_utils.arena.gamestate import BLUE_TEAM, N_BOOST_PADS, Array
from rl_utils.arena.obs_layout import BALL_CAR_PARTS, Part, markdown_table
from rl_utils.arena.obs_plan import ONE, ZERO, Plan, Source
from rl_utils.arena.state_row import (
    AXES,
    BALL,
    BLUE_GOAL,
    CAR_NUMBERS,
    ORANGE_GOAL,
    POSITION,
    SPIN,
    VELOCITY,
    VISIBLE_NUMBERS,
    place_of_body,
    place_of_number,
    place_of_pads,
)
from rl_utils.controls import REST, Control
from rl_utils.errors import UserError

INPUTS_KEY: Final = "inputs"
"""Where in RLGym's `shared_info` the pad's inputs of the last step stand: agent → (19,) float32."""

POSITION_UU: Final = 6000.0
VELOCITY_UU_S: Final = 2300.0
CAR_SPIN_RAD_S: Final = 5.5
BALL_SPIN_RAD_S: Final = 6.0
"""What 1 stands for in the complete observation. Source: the game's limits (RLBot wiki, "Useful game values")."""
SEAT: Final = ("forward", "right", "up")
"""Axes of what is seen from the car."""


class BallCarObs(ObsBuilder[Any, Array, Any, tuple[str, int]]):  # type: ignore[misc]  # rlgym-api has no types
    """24 numbers per agent: the builder of RLGym's documentation, raw, in the order of `BALL_CAR_PARTS`."""

    parts = BALL_CAR_PARTS

    def get_obs_space(self, agent: Any) -> tuple[str, int]:
        """24 real numbers for every agent."""
        return "real", sum(len(part) for part in self.parts)

    def reset(self, agents: list[Any], initial_state: Any, shared_info: dict[str, Any]) -> None:
        """Nothing is remembered between episodes."""

    def build_obs(self, agents: list[Any], state: Any, shared_info: dict[str, Any]) -> dict[Any, Array]:
        """Observe for each agent.

        Args:
            agents: Keys of `state.cars`.
            state: An RLGym `GameState`, or one of ours.
            shared_info: Not used.

        Returns:
            agent → (24,) float32.
        """
        return {agent: _ball_and_car(state, agent) for agent in agents}


def _ball_and_car(state: Any, agent: Any) -> Array:
    car = state.cars[agent]
    blue = car.team_num == BLUE_TEAM
    ball, me = (state.ball, car.physics) if blue else (state.inverted_ball, car.inverted_physics)
    vectors = (
        *(ball.position, ball.linear_velocity, ball.angular_velocity),
        *(me.position, me.forward, me.up, me.linear_velocity, me.angular_velocity),
    )
    return np.concatenate(vectors).astype(np.float32, copy=False)


class CompleteObs(ObsBuilder[Any, Array, Any, tuple[str, int]]):  # type: ignore[misc]  # rlgym-api has no types
    """All that a driver can know, scaled to about [-1, 1]; `parts` and `table` tell which number is what.

    Ball, own car, boost pads, what is where as seen from the car's seat, and the other cars: team-mates first, each
    team in the order of `state.cars`, zeros where there is none.

    Args:
        team_size: Cars that a team can have.
        previous_inputs: Also show the 19 inputs of the last step, which `PadActionParser` keeps; rest before it.

    Raises:
        UserError: Teams of less than one car.
    """

    def __init__(self, team_size: int = 3, *, previous_inputs: bool = False) -> None:
        if team_size < 1:
            raise UserError(f"Teams of {team_size} cannot play", "Choose a team_size of at least 1")
        self._team_size = team_size
        self.parts = tuple(source.part for source in self._sources(0, [BLUE_TEAM]))
        self._inputs = previous_inputs
        if previous_inputs:
            self.parts += (Part("previous_inputs", "", 0, 1, tuple(c.name.lower() for c in Control)),)
        self._plan: Plan | None = None
        self._plans: dict[Any, Plan] = {}

    def get_obs_space(self, agent: Any) -> tuple[str, int]:
        """So many real numbers, for every agent."""
        return "real", sum(len(part) for part in self.parts)

    def reset(self, agents: list[Any], initial_state: Any, shared_info: dict[str, Any]) -> None:
        """Nothing is remembered between episodes."""

    def build_obs(self, agents: list[Any], state: Any, shared_info: dict[str, Any]) -> dict[Any, Array]:
        """Observe for each agent.

        Args:
            agents: Keys of `state.cars`.
            state: An RLGym `GameState`, or one of ours.
            shared_info: With `previous_inputs`, holds the inputs under `INPUTS_KEY`.

        Returns:
            agent → (L,) float32 as `parts` says.

        Raises:
            UserError: A team has more cars than `team_size`.
        """
        if not agents:
            return {}
        plan, cars = self._plan, [*state.cars]
        if plan is None or plan.agents != agents or plan.cars != cars:
            plan = self._choose_plan(agents, state)
        built = plan.build(state)
        if built is None:
            built = self._choose_plan(agents, state).build(state)
            assert built is not None
        if self._inputs:
            inputs = shared_info.get(INPUTS_KEY, {})
            for agent, obs in built.items():
                built[agent] = np.concatenate([obs, inputs.get(agent, REST)], dtype=np.float32)
        return built

    def table(self) -> str:
        """The numbers of an observation in their order, with units and ranges, as a Markdown table."""
        return markdown_table(self.parts)

    def __getstate__(self) -> dict[str, Any]:
        """Copies, also in other processes, work in memory of their own."""
        return self.__dict__ | {"_plan": None, "_plans": {}}

    def _choose_plan(self, agents: Sequence[Any], state: Any) -> Plan:
        """The plan of a match, kept for when one builder serves several matches in turns."""
        cars, teams = [*state.cars], [car.team_num for car in state.cars.values()]
        key = (*agents, None, *cars, None, *teams)
        if key not in self._plans:
            for team in set(teams):
                if teams.count(team) > self._team_size:
                    raise UserError(
                        f"A team has {teams.count(team)} cars, and this observation holds {self._team_size}",
                        f"Make it with CompleteObs({teams.count(team)})",
                    )
            seats = [self._sources(cars.index(agent), teams) for agent in agents]
            self._plans[key] = Plan(agents, cars, teams, seats)
        self._plan = self._plans[key]
        return self._plan

    def _sources(self, me: int, teams: Sequence[int]) -> list[Source]:
        """What a car of these sees, in order; with padding for those that are not there."""
        team, cars = teams[me], len(teams)
        blue, own = team == BLUE_TEAM, place_of_body(me)
        mates = [i for i, other in enumerate(teams) if other == team and i != me]
        opponents = [i for i, other in enumerate(teams) if other != team]
        others = _slots("mate", mates, self._team_size - 1) + _slots("opponent", opponents, self._team_size)
        first_pad = place_of_pads(cars)
        pads = [*range(first_pad, first_pad + N_BOOST_PADS)]
        goals = (ORANGE_GOAL, BLUE_GOAL) if blue else (BLUE_GOAL, ORANGE_GOAL)
        return [
            _vector("ball_position", BALL + POSITION, "uu", POSITION_UU),
            _vector("ball_velocity", BALL + VELOCITY, "uu/s", VELOCITY_UU_S, 2.61),
            _vector("ball_angular_velocity", BALL + SPIN, "rad/s", BALL_SPIN_RAD_S),
            _vector("car_position", own + POSITION, "uu", POSITION_UU),
            _vector("car_velocity", own + VELOCITY, "uu/s", VELOCITY_UU_S),
            _vector("car_angular_velocity", own + SPIN, "rad/s", CAR_SPIN_RAD_S),
            *(_direction(f"car_{name}", own, axis) for axis, name in enumerate(SEAT)),
            *_numbers("car", me, len(CAR_NUMBERS), cars),
            Source(
                Part("boost_pad_timers", "10 s", 0, 1, tuple(str(i) for i in range(N_BOOST_PADS))),
                tuple(pads if blue else reversed(pads)),
                10,
            ),
            _seen_place("ball", BALL + POSITION, own),
            _seen_motion("ball", BALL + VELOCITY, own, 3.61),
            _seen_place("their_goal", goals[0], own),
            _seen_place("own_goal", goals[1], own),
            *(source for name, car in others for source in _seen_car(name, car, own)),
            *(source for name, car in others for source in _other_car(name, car, cars)),
        ]


def _slots(name: str, cars: Sequence[int], count: int) -> list[tuple[str, int | None]]:
    filled: list[int | None] = [*cars, *([None] * (count - len(cars)))]
    return [(f"{name}_{i + 1}", car) for i, car in enumerate(filled[:count])]


def _vector(name: str, place: int, kind: str, unit: float, limit: float = 1.0) -> Source:
    return Source(Part(name, f"{unit:g} {kind}", -limit, limit), (place, place + 1, place + 2), unit, is_vector=True)


def _direction(name: str, body: int, axis: int) -> Source:
    first = body + AXES + 3 * axis
    return Source(Part(name, "", -1, 1), (first, first + 1, first + 2), is_vector=True)


def _numbers(name: str, car: int, count: int, cars: int) -> list[Source]:
    return [
        Source(Part(f"{name}_{number.name}", number.unit, 0, 1, ()), (place_of_number(car, i, cars),), number.divisor)
        for i, number in enumerate(CAR_NUMBERS[:count])
    ]


def _seen_place(name: str, place: int, own: int) -> Source:
    part = Part(f"seen_{name}_position", f"{POSITION_UU:g} uu", -2.45, 2.45, SEAT)
    return Source(part, (place, place + 1, place + 2), POSITION_UU, minus=own + POSITION)


def _seen_motion(name: str, place: int, own: int, limit: float) -> Source:
    part = Part(f"seen_{name}_velocity", f"{VELOCITY_UU_S:g} uu/s", -limit, limit, SEAT)
    return Source(part, (place, place + 1, place + 2), VELOCITY_UU_S, minus=own + VELOCITY)


def _seen_car(name: str, car: int | None, own: int) -> list[Source]:
    body = place_of_body(car or 0)
    sources = [_seen_place(name, body + POSITION, own), _seen_motion(name, body + VELOCITY, own, 2)]
    return _nothing(sources) if car is None else sources


def _other_car(name: str, car: int | None, cars: int) -> list[Source]:
    body = place_of_body(car or 0)
    sources = [
        Source(Part(f"{name}_present", "", 0, 1, ()), (ONE,)),
        _vector(f"{name}_position", body + POSITION, "uu", POSITION_UU),
        _vector(f"{name}_velocity", body + VELOCITY, "uu/s", VELOCITY_UU_S),
        _vector(f"{name}_angular_velocity", body + SPIN, "rad/s", CAR_SPIN_RAD_S),
        _direction(f"{name}_forward", body, 0),
        _direction(f"{name}_up", body, 2),
        *_numbers(name, car or 0, VISIBLE_NUMBERS, cars),
    ]
    return _nothing(sources) if car is None else sources


def _nothing(sources: Sequence[Source]) -> list[Source]:
    """In place of what a car that is not there would be seen as."""
    return [Source(source.part, (ZERO,) * len(source.part)) for source in sources]


def document() -> str:
    """What `docs/observations.md` says: one table per builder."""
    ball_car, complete = BallCarObs(), CompleteObs(previous_inputs=True)
    return "\n".join(
        [
            "# Observations",
            "",
            "Made by `rl_utils.arena.observations.document()` from the lists that the builders work by. Every agent is "
            "shown the pitch as the blue team sees it: its own goal is at y = -5120 uu; facing +x, right is +y.",
            "",
            f"## `BallCarObs`: {ball_car.get_obs_space('')[1]} numbers",
            "",
            "The builder of RLGym's documentation, and the `state` of recordings from the arena. Raw: scale it for a "
            "network.",
            "",
            markdown_table(ball_car.parts),
            "",
            f"## `CompleteObs()`: {CompleteObs().get_obs_space('')[1]} numbers, "
            f"{complete.get_obs_space('')[1]} with `previous_inputs=True`",
            "",
            "What is `seen` is measured along the own car's axes, from its centre. Boost pads are numbered from the "
            "own goal on, by y, then x; 0 means that the pad is there. Flags are 0 or 1. Cars that are not there are "
            "zeros.",
            "",
            complete.table(),
            "",
        ]
    )
