"""Observation builders, against RLGym itself."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from rlgym.api import ObsBuilder

from rl_utils.arena.gamestate import BLUE_TEAM, ORANGE_TEAM, GameState, from_rlgym, to_rlgym
from rl_utils.arena.obs_layout import BALL_CAR_PARTS, OBS_NAMES, observe
from rl_utils.arena.observations import INPUTS_KEY, BallCarObs, CompleteObs, document
from rl_utils.arena.seat import snapshot_for
from rl_utils.arena.snapshot import Snapshot
from rl_utils.arena.world import AGENT, World
from rl_utils.controls import REST, Control
from rl_utils.errors import UserError
from tests.conftest import ROOT, rocket_league
from tests.game_states import mirrored_state, random_state

api = rocket_league("api")
common_values = rocket_league("common_values")


class PageObs(ObsBuilder):
    """What RLGym's page "Observation Builders" describes, on RLGym's own objects: for orange the inverted ones."""

    def get_obs_space(self, agent: Any) -> tuple[str, int]:
        return "real", 24

    def reset(self, agents: list, initial_state: Any, shared_info: dict) -> None:
        pass

    def build_obs(self, agents: list, state: Any, shared_info: dict) -> dict:
        return {agent: self.one(state, state.cars[agent]) for agent in agents}

    def one(self, state: Any, car: Any) -> np.ndarray:
        turned = car.team_num == common_values.ORANGE_TEAM
        ball = state.inverted_ball if turned else state.ball
        me = car.inverted_physics if turned else car.physics
        numbers = [ball.position, ball.linear_velocity, ball.angular_velocity]
        numbers += [me.position, me.forward, me.up, me.linear_velocity, me.angular_velocity]
        return np.concatenate(numbers)


@pytest.fixture
def snapshot() -> Snapshot:
    world = World("benchmark", 4)
    inputs = REST.copy()
    inputs[[Control.RIGHT_TRIGGER, Control.LEFT_X]] = 1
    world.step(inputs, 60)
    return world.snapshot()


def test_the_pages_builder_and_ours_agree() -> None:
    """Somebody who replaces RLGym's example by our builder must get the very same 24 numbers, on either team."""
    chance, page, ours = np.random.default_rng(1), PageObs(), BallCarObs()
    assert page.get_obs_space("x") == ours.get_obs_space("x")
    compared = {BLUE_TEAM: 0, ORANGE_TEAM: 0}
    for _ in range(2000):
        state = random_state(chance, blue=1, orange=1)
        agents, theirs = [*state.cars], to_rlgym(state)
        expected = page.build_obs(agents, theirs, {})
        for built in (ours.build_obs(agents, theirs, {}), ours.build_obs(agents, state, {})):
            for agent in agents:
                np.testing.assert_array_equal(built[agent], expected[agent])
                assert built[agent].dtype == np.float32
                compared[state.cars[agent].team_num] += 1
    assert min(compared.values()) >= 4000


def test_recordings_hold_the_same_24_numbers(snapshot: Snapshot) -> None:
    """A network that learnt from a recording's state must see the same in RLGym; names must not be shifted."""
    world = World("benchmark", 4)
    inputs = REST.copy()
    inputs[[Control.RIGHT_TRIGGER, Control.LEFT_X]] = 1
    world.step(inputs, 60)
    recorded = observe(snapshot)
    np.testing.assert_array_equal(BallCarObs().build_obs([AGENT], world.game_state(), {})[AGENT], recorded)
    named = dict(zip(OBS_NAMES, recorded.tolist(), strict=True))
    assert [part.name for part in BALL_CAR_PARTS] == [part.name for part in BallCarObs.parts]
    assert named["ball_position_z"] == pytest.approx(snapshot.ball.position[2])
    assert named["car_position_y"] == pytest.approx(snapshot.cars[0].body.position[1])
    assert named["car_up_z"] == pytest.approx(snapshot.cars[0].body.rotation[2][2], rel=1e-5)
    assert named["car_angular_velocity_z"] == pytest.approx(snapshot.cars[0].body.angular_velocity[2], rel=1e-5)


def test_a_snapshot_is_turned_like_a_state() -> None:
    """Drivers and networks that drive orange's cars must see what RLGym's agents there see."""
    chance = np.random.default_rng(2)
    state = random_state(chance, blue=1, orange=1)
    expected = BallCarObs().build_obs([*state.cars], state, {})
    for agent in state.cars:
        np.testing.assert_allclose(observe(snapshot_for(state, agent)), expected[agent], rtol=1e-6)
    seen = snapshot_for(state, "blue-0")
    as_orange = replace(seen, cars=(replace(seen.cars[0], team=ORANGE_TEAM),))
    np.testing.assert_allclose(observe(as_orange)[:2], -observe(seen)[:2])


@pytest.mark.parametrize("builder", [BallCarObs(), CompleteObs(), CompleteObs(previous_inputs=True)])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_both_teams_see_mirrored_states_alike(builder: Any, size: int) -> None:
    """A policy that plays blue has to play orange just as well, without learning it again."""
    chance = np.random.default_rng(size)
    for _ in range(100):
        state = random_state(chance, blue=size, orange=size)
        inputs = {agent: chance.random(len(REST), np.float32) for agent in state.cars}
        seen = builder.build_obs([*state.cars], state, {INPUTS_KEY: inputs})
        other = mirrored_state(state)
        swapped = {_opposite(agent): pad for agent, pad in inputs.items()}
        seen_there = builder.build_obs([*other.cars], other, {INPUTS_KEY: swapped})
        for agent in state.cars:
            np.testing.assert_allclose(seen_there[_opposite(agent)], seen[agent], atol=1e-6)


def test_the_complete_observation_tells_the_truth() -> None:
    """Each number has to be what its name says: checked against RLGym's own objects, one agent of each team."""
    chance = np.random.default_rng(5)
    builder = CompleteObs(previous_inputs=True)
    names = [name for part in builder.parts for name in part.names]
    for _ in range(200):
        state = random_state(chance, blue=2, orange=3)
        theirs, pads = to_rlgym(state), chance.random(len(REST), np.float32)
        for agent in ("blue-1", "orange-0"):
            built = builder.build_obs([agent], state, {INPUTS_KEY: {agent: pads}})[agent]
            together = builder.build_obs([*state.cars], theirs, {INPUTS_KEY: dict.fromkeys(state.cars, pads)})
            np.testing.assert_allclose(together[agent], built, atol=1e-6)
            obs = dict(zip(names, built.tolist(), strict=True))
            _check(obs, theirs, agent)
            assert obs["previous_inputs_left_x"] == pytest.approx(pads[Control.LEFT_X])


def _check(obs: dict[str, float], state: Any, agent: str) -> None:
    car, turned = state.cars[agent], agent.startswith("orange")

    def body(of: Any) -> Any:
        return of.inverted_physics if turned else of.physics

    def vector(name: str, axes: str = "xyz") -> list[float]:
        labels = axes if axes == "xyz" else ("forward", "right", "up")
        return [obs[f"{name}_{label}"] for label in labels]

    def near(value: Any) -> Any:
        return pytest.approx(np.asarray(value), abs=1e-4)

    me, ball = body(car), state.inverted_ball if turned else state.ball
    assert vector("ball_position") == near(ball.position / 6000)
    assert vector("ball_velocity") == near(ball.linear_velocity / 2300)
    assert vector("car_angular_velocity") == near(me.angular_velocity / 5.5)
    assert [vector(f"car_{axis}") for axis in ("forward", "right", "up")] == near(me.rotation_mtx.T)
    flags = "on_ground is_boosting is_supersonic is_holding_jump has_jumped is_jumping has_flipped is_flipping"
    for flag in [*flags.split(), "has_double_jumped", "can_flip"]:
        assert obs[f"car_{flag.removeprefix('is_')}"] == getattr(car, flag), flag
    assert obs["car_boost"] == near(car.boost_amount / 100)
    assert obs["car_air_time_since_jump"] == near(min(1, car.air_time_since_jump / 1.25))
    pads = state.inverted_boost_pad_timers if turned else state.boost_pad_timers
    assert [obs[f"boost_pad_timers_{i}"] for i in range(34)] == near(pads / 10)
    assert vector("seen_ball_position", "car") == near((ball.position - me.position) @ me.rotation_mtx / 6000)
    moving = ball.linear_velocity - me.linear_velocity
    assert vector("seen_ball_velocity", "car") == near(moving @ me.rotation_mtx / 2300)
    goal = np.array(common_values.ORANGE_GOAL_CENTER)  # blue's view, as everybody has it
    assert vector("seen_their_goal_position", "car") == near((goal - me.position) @ me.rotation_mtx / 6000)
    own_goal = np.array(common_values.BLUE_GOAL_CENTER)
    assert vector("seen_own_goal_position", "car") == near((own_goal - me.position) @ me.rotation_mtx / 6000)
    others = [other for other in state.cars if other != agent]
    mates = [state.cars[other] for other in others if other[0] == agent[0]]
    opponents = [state.cars[other] for other in others if other[0] != agent[0]]
    for who, cars, slots in (("mate", mates, 2), ("opponent", opponents, 3)):
        for i in range(slots):
            name = f"{who}_{i + 1}"
            own = {n: v for n, v in obs.items() if n.startswith((f"{name}_", f"seen_{name}_"))}
            if i >= len(cars):
                assert not any(own.values()), own
                continue
            other = body(cars[i])
            assert own[f"{name}_present"] == 1
            assert own[f"{name}_on_ground"] == cars[i].on_ground
            assert own[f"{name}_demo_respawn"] == near(cars[i].demo_respawn_timer / 3)
            assert vector(f"{name}_forward") == near(other.forward)
            assert vector(f"{name}_velocity") == near(other.linear_velocity / 2300)
            away = (other.position - me.position) @ me.rotation_mtx / 6000
            assert vector(f"seen_{name}_position", "car") == near(away)


def test_observations_stay_in_their_ranges() -> None:
    """The table promises ranges; networks are scaled by them."""
    chance = np.random.default_rng(6)
    for builder in (BallCarObs(), CompleteObs(previous_inputs=True)):
        low = np.concatenate([[part.low] * len(part) for part in builder.parts])
        high = np.concatenate([[part.high] * len(part) for part in builder.parts])
        assert len(low) == builder.get_obs_space("x")[1]
        for _ in range(300):
            state = random_state(chance, blue=3, orange=3)
            for built in builder.build_obs([*state.cars], state, {}).values():
                assert (low - 1e-3 <= built).all()
                assert (built <= high + 1e-3).all()


def test_states_of_other_number_types_are_read() -> None:
    """A state that somebody filled in by hand, as float64, integers or strided arrays, must not be misread."""
    state = random_state(np.random.default_rng(7), blue=1, orange=1)
    builder, agents = CompleteObs(), [*state.cars]
    expected = builder.build_obs(agents, from_rlgym(state), {})
    for convert in (np.float64, np.int64, lambda values: np.asfortranarray(np.repeat(values, 2, axis=-1))[..., ::2]):
        other = from_rlgym(state)
        rounded = convert is np.int64
        for body in (other.ball, *(car.physics for car in other.cars.values())):
            body.position = convert(np.round(body.position) if rounded else body.position)
            body.rotation_mtx = body.rotation_mtx if rounded else convert(body.rotation_mtx)
        built = builder.build_obs(agents, other, {})
        for agent in agents:
            np.testing.assert_allclose(built[agent], expected[agent], atol=3e-4)


def test_a_builder_serves_changing_matches() -> None:
    """One builder is used on, when the next episode has other cars, teams or agents."""
    chance, builder = np.random.default_rng(8), CompleteObs()
    for blue, orange in ((1, 0), (1, 1), (3, 3), (1, 1), (2, 1)):
        state = random_state(chance, blue=blue, orange=orange)
        for agents in ([*state.cars], [*state.cars][::-1], ["blue-0"]):
            built, fresh = (b.build_obs(agents, state, {}) for b in (builder, CompleteObs()))
            for agent in agents:
                np.testing.assert_array_equal(built[agent], fresh[agent])
    switched = random_state(chance, blue=1, orange=1)
    before = builder.build_obs([*switched.cars], switched, {})["blue-0"]
    switched.cars["blue-0"].team_num, switched.cars["orange-0"].team_num = ORANGE_TEAM, BLUE_TEAM
    assert not np.allclose(builder.build_obs([*switched.cars], switched, {})["blue-0"], before)


@pytest.mark.parametrize(("blue", "orange"), [(1, 0), (0, 1), (2, 1)])
def test_an_observation_is_of_its_moment(blue: int, orange: int) -> None:
    """A state that was changed is seen as it is now, and what a replay buffer holds of before stays as it was."""
    chance, builder = np.random.default_rng(10), CompleteObs()
    ours = random_state(chance, blue=blue, orange=orange)
    for state in (ours, to_rlgym(ours)):
        agents, kept = [*state.cars], []
        car = state.cars[agents[0]]

        def replace_car(state: Any = state, agents: Any = agents) -> None:
            state.cars[agents[-1]] = copy.deepcopy(state.cars[agents[-1]])
            state.cars[agents[-1]].physics.position = np.array([1, 2, 3], np.float32)

        changes = [
            lambda state=state: state.ball.position.__setitem__(2, 700),
            lambda state=state: state.boost_pad_timers.__setitem__(3, 4),
            lambda car=car: car.physics.rotation_mtx.__setitem__(slice(None), np.diag([-1, -1, 1])),
            lambda car=car: setattr(car, "boost_amount", 12.0),
            lambda car=car: setattr(car.physics, "linear_velocity", np.full(3, 100, np.float32)),
            lambda state=state: setattr(state, "ball", random_state(chance, blue=0, orange=0).ball),
            replace_car,
        ]
        for change in (lambda: None, *changes):
            change()
            built = builder.build_obs(agents, state, {})
            expected = CompleteObs().build_obs(agents, from_rlgym(state), {})
            kept.append((built, {agent: obs.copy() for agent, obs in built.items()}))
            for agent in agents:
                np.testing.assert_array_equal(built[agent], expected[agent])
        for before, after in pairwise(kept):
            assert any((before[1][agent] != after[1][agent]).any() for agent in agents), "the change does not show"
        for built, as_it_was in kept:
            for agent in agents:
                np.testing.assert_array_equal(built[agent], as_it_was[agent])


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda builder: pickle.loads(pickle.dumps(builder))])
def test_copies_of_a_builder_are_their_own(again: Any) -> None:
    """Training copies environments and sends them to other processes; one must not see what another one looked at."""
    chance, builder = np.random.default_rng(11), CompleteObs()
    for size in (0, 1):
        first, second = (random_state(chance, blue=1, orange=size) for _ in range(2))
        agents = [*first.cars]
        expected = CompleteObs().build_obs(agents, second, {})
        builder.build_obs(agents, first, {})
        other = again(builder)
        built = other.build_obs(agents, second, {})
        builder.build_obs(agents, first, {})
        for agent in agents:
            np.testing.assert_array_equal(built[agent], expected[agent])
            np.testing.assert_array_equal(other.build_obs(agents, second, {})[agent], expected[agent])


def test_too_many_cars_are_refused() -> None:
    """A fourth team-mate must not be dropped in silence."""
    state = random_state(np.random.default_rng(9), blue=4, orange=1)
    with pytest.raises(UserError, match="4 cars"):
        CompleteObs().build_obs(["blue-0"], state, {})
    assert CompleteObs(4).build_obs(["blue-0"], state, {})["blue-0"].shape == (CompleteObs(4).get_obs_space("")[1],)


def test_the_tables_are_up_to_date() -> None:
    """docs/observations.md is what people look numbers up in; it is made by `document()`."""
    assert (ROOT / "docs" / "observations.md").read_text() == document()


def _opposite(agent: str) -> str:
    team, number = agent.split("-")
    return f"{'orange' if team == 'blue' else 'blue'}-{number}"


def test_states_are_compared_with_the_real_class() -> None:
    """The checks above would prove nothing if they ran on our own classes alone."""
    state = to_rlgym(GameState())
    assert type(state) is api.GameState
