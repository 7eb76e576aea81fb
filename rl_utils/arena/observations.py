"""Observation builders for any RLGym environment of Rocket League: the example's 24 numbers, and a complete one.

Both show every agent the pitch as the blue team sees it. They read RLGym's `GameState` by its attributes alone, so they
work with the stock engine and with this project's, and need no package but rlgym-api.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rlgym.api import ObsBuilder

from rl_utils.arena.gamestate import BLUE_TEAM, HALF_TURN, Array
from rl_utils.arena.obs_layout import BALL_CAR_PARTS, Part, markdown_table
from rl_utils.arena.state_row import (
    BALL,
    BLUE_GOAL,
    CAR_NUMBERS,
    CARS,
    NUMBERS,
    ONE,
    ORANGE_GOAL,
    PADS,
    POSITION,
    ROTATION,
    SPIN,
    VELOCITY,
    VISIBLE_NUMBERS,
    ZERO,
    place_of_car,
    state_row,
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


@dataclass(frozen=True, slots=True)
class _Source:
    """Where the numbers of a part come from.

    Attributes:
        part: The part.
        places: Of its numbers in the row of a state.
        unit: What they are divided by.
        is_vector: It turns with the world.
        minus: Place in the row of the vector that is subtracted, both seen along the car's axes; None for what is not.
    """

    part: Part
    places: tuple[int, ...]
    unit: float = 1.0
    is_vector: bool = False
    minus: int | None = None


@dataclass(frozen=True, slots=True)
class _Plan:
    """How a state of certain cars becomes observations of certain agents.

    The state's row is continued by every vector that somebody sees, measured along the axes of every agent's car; each
    number of an observation is then one place in that longer row less another one, times a factor.

    Attributes:
        agents: Who observes.
        cars: Who has a car, in the state's order.
        teams: Their teams.
        vectors: (V, 3) places in the row of what is seen.
        axes: (3, agents * 3) places of the agents' rotations.
        index: (agents, L) places in the longer row,
        minus: (agents, L) and of what is subtracted; mostly of a zero.
        scale: (agents, L) float32 factors; their signs turn the world for orange.
    """

    agents: list[Any]
    cars: list[Any]
    teams: list[int]
    vectors: NDArray[np.intp]
    axes: NDArray[np.intp]
    index: NDArray[np.intp]
    minus: NDArray[np.intp]
    scale: Array


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
        self.parts = tuple(source.part for source in self._sources(0, []))
        self._inputs = previous_inputs
        if previous_inputs:
            self.parts += (Part("previous_inputs", "", 0, 1, tuple(c.name.lower() for c in Control)),)
        self._plan: _Plan | None = None
        self._plans: dict[Any, _Plan] = {}

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
        row, teams = state_row(state)
        plan = self._plan
        if plan is None or plan.agents != agents or plan.teams != teams or plan.cars != [*state.cars]:
            plan = self._plan = self._plan_for(agents, [*state.cars], teams)
        # "clip" spares numpy a check of the plan's own places.
        seen = row.take(plan.vectors, mode="clip").dot(row.take(plan.axes, mode="clip"))
        longer = np.frombuffer(row.tobytes() + seen.tobytes(), np.float32)
        out = longer.take(plan.index, mode="clip")
        out -= longer.take(plan.minus, mode="clip")
        out *= plan.scale
        built = {agent: out[i] for i, agent in enumerate(agents)}
        if self._inputs:
            inputs = shared_info.get(INPUTS_KEY, {})
            for agent, obs in built.items():
                built[agent] = np.concatenate([obs, inputs.get(agent, REST)], dtype=np.float32)
        return built

    def table(self) -> str:
        """The numbers of an observation in their order, with units and ranges, as a Markdown table."""
        return markdown_table(self.parts)

    def _plan_for(self, agents: Sequence[Any], cars: list[Any], teams: list[int]) -> _Plan:
        """The plan of a match, kept for when one builder serves several matches in turns."""
        key = (*agents, None, *cars, None, *teams)
        if key not in self._plans:
            self._plans[key] = self._make_plan(agents, cars, teams)
        return self._plans[key]

    def _make_plan(self, agents: Sequence[Any], cars: list[Any], teams: list[int]) -> _Plan:
        for team in set(teams):
            if teams.count(team) > self._team_size:
                raise UserError(
                    f"A team has {teams.count(team)} cars, and this observation holds {self._team_size}",
                    f"Make it with CompleteObs({teams.count(team)})",
                )
        seats = [self._sources(cars.index(agent), teams) for agent in agents]
        seen = [s for sources in seats for s in sources if s.minus is not None]
        firsts = sorted({s.places[0] for s in seen} | {s.minus for s in seen if s.minus is not None})
        after_row, width = place_of_car(len(cars)), 3 * len(agents)

        def along(first: int, number: int) -> list[int]:
            """Where the vector that begins there stands, measured along the axes of that agent's car."""
            start = after_row + firsts.index(first) * width + 3 * number
            return [start, start + 1, start + 2]

        index, minus, scale = [], [], []
        for number, (agent, sources) in enumerate(zip(agents, seats, strict=True)):
            turn = np.ones(3) if teams[cars.index(agent)] == BLUE_TEAM else HALF_TURN
            places, less, factors = list[int](), list[int](), list[float]()
            for s in sources:
                places += s.places if s.minus is None else along(s.places[0], number)
                less += [ZERO] * len(s.places) if s.minus is None else along(s.minus, number)
                factors += ((turn if s.is_vector else np.ones(len(s.places))) / s.unit).tolist()
            index.append(places)
            minus.append(less)
            scale.append(factors)
        rotations = [place_of_car(cars.index(agent)) + ROTATION for agent in agents]
        return _Plan(
            agents=[*agents],
            cars=cars,
            teams=teams,
            vectors=np.array(firsts)[:, None] + np.arange(3),
            axes=np.concatenate([first + np.arange(9).reshape(3, 3) for first in rotations], axis=1),
            index=np.array(index),
            minus=np.array(minus),
            scale=np.array(scale, np.float32),
        )

    def _sources(self, me: int, teams: Sequence[int]) -> list[_Source]:
        """What a car sees, in order; without teams just the order, with places that mean nothing."""
        team = teams[me] if teams else BLUE_TEAM
        blue, own = team == BLUE_TEAM, place_of_car(me)
        mates = [place_of_car(i) for i, other in enumerate(teams) if other == team and i != me]
        opponents = [place_of_car(i) for i, other in enumerate(teams) if other != team]
        others = _slots("mate", mates, self._team_size - 1) + _slots("opponent", opponents, self._team_size)
        pads = range(PADS, CARS) if blue else range(CARS - 1, PADS - 1, -1)
        goals = (ORANGE_GOAL, BLUE_GOAL) if blue else (BLUE_GOAL, ORANGE_GOAL)
        return [
            _vector("ball_position", BALL + POSITION, "uu", POSITION_UU),
            _vector("ball_velocity", BALL + VELOCITY, "uu/s", VELOCITY_UU_S, 2.61),
            _vector("ball_angular_velocity", BALL + SPIN, "rad/s", BALL_SPIN_RAD_S),
            _vector("car_position", own + POSITION, "uu", POSITION_UU),
            _vector("car_velocity", own + VELOCITY, "uu/s", VELOCITY_UU_S),
            _vector("car_angular_velocity", own + SPIN, "rad/s", CAR_SPIN_RAD_S),
            *(_direction(f"car_{name}", own, axis) for axis, name in enumerate(SEAT)),
            *_numbers("car", own, len(CAR_NUMBERS)),
            _Source(Part("boost_pad_timers", "10 s", 0, 1, tuple(str(i) for i in range(CARS - PADS))), (*pads,), 10),
            _seen_place("ball", BALL + POSITION, own),
            _seen_motion("ball", BALL + VELOCITY, own, 3.61),
            _seen_place("their_goal", goals[0], own),
            _seen_place("own_goal", goals[1], own),
            *(source for name, car in others for source in _seen_car(name, own if car is None else car, own)),
            *(source for name, car in others for source in _other_car(name, car)),
        ]


def _slots(name: str, cars: Sequence[int], count: int) -> list[tuple[str, int | None]]:
    filled: list[int | None] = [*cars, *([None] * (count - len(cars)))]
    return [(f"{name}_{i + 1}", car) for i, car in enumerate(filled[:count])]


def _vector(name: str, place: int, kind: str, unit: float, limit: float = 1.0) -> _Source:
    return _Source(Part(name, f"{unit:g} {kind}", -limit, limit), (place, place + 1, place + 2), unit, is_vector=True)


def _direction(name: str, car: int, axis: int) -> _Source:
    first = car + ROTATION + axis  # the rotation's columns are the directions, and it is stored row by row
    return _Source(Part(name, "", -1, 1), (first, first + 3, first + 6), is_vector=True)


def _numbers(name: str, car: int, count: int) -> list[_Source]:
    return [
        _Source(Part(f"{name}_{number.name}", number.unit, 0, 1, ()), (car + NUMBERS + i,), number.divisor)
        for i, number in enumerate(CAR_NUMBERS[:count])
    ]


def _seen_place(name: str, place: int, own: int) -> _Source:
    part = Part(f"seen_{name}_position", f"{POSITION_UU:g} uu", -2.45, 2.45, SEAT)
    return _Source(part, (place, place + 1, place + 2), POSITION_UU, minus=own + POSITION)


def _seen_motion(name: str, place: int, own: int, limit: float) -> _Source:
    part = Part(f"seen_{name}_velocity", f"{VELOCITY_UU_S:g} uu/s", -limit, limit, SEAT)
    return _Source(part, (place, place + 1, place + 2), VELOCITY_UU_S, minus=own + VELOCITY)


def _seen_car(name: str, car: int, own: int) -> list[_Source]:
    """Of a car that is not there the own one stands in: no distance, no motion."""
    return [_seen_place(name, car + POSITION, own), _seen_motion(name, car + VELOCITY, own, 2)]


def _other_car(name: str, car: int | None) -> list[_Source]:
    here = 0 if car is None else car
    sources = [
        _vector(f"{name}_position", here + POSITION, "uu", POSITION_UU),
        _vector(f"{name}_velocity", here + VELOCITY, "uu/s", VELOCITY_UU_S),
        _vector(f"{name}_angular_velocity", here + SPIN, "rad/s", CAR_SPIN_RAD_S),
        _direction(f"{name}_forward", here, 0),
        _direction(f"{name}_up", here, 2),
        *_numbers(name, here, VISIBLE_NUMBERS),
    ]
    present = _Source(Part(f"{name}_present", "", 0, 1, ()), (ZERO if car is None else ONE,))
    if car is None:
        sources = [_Source(s.part, (ZERO,) * len(s.places), s.unit, s.is_vector) for s in sources]
    return [present, *sources]


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
