"""The arena's state as RLGym's observation."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from rlgym.api import ObsBuilder

from rl_utils.arena.observation import OBS_NAMES, observe
from rl_utils.arena.rlgym_obs import ArenaObs
from rl_utils.arena.snapshot import Body, Snapshot
from rl_utils.arena.world import World
from rl_utils.controls import REST, Control

TURN = np.array([-1, -1, 1])


@dataclass
class Physics:
    """The attributes of RLGym's PhysicsObject that its example reads."""

    position: np.ndarray
    linear_velocity: np.ndarray
    angular_velocity: np.ndarray
    forward: np.ndarray
    up: np.ndarray


@dataclass
class Car:
    """The attributes of RLGym's Car."""

    team_num: int
    physics: Physics
    inverted_physics: Physics


@dataclass
class GameState:
    """The attributes of RLGym's GameState."""

    cars: dict[str, Car]
    ball: Physics
    inverted_ball: Physics


def physics(body: Body, turn: np.ndarray) -> Physics:
    vectors = (body.position, body.velocity, body.angular_velocity, body.rotation[0], body.rotation[2])
    return Physics(*(vector * turn for vector in vectors))


def game_state(snapshot: Snapshot, team: int) -> GameState:
    body, one = snapshot.cars[0].body, np.ones(3)
    return GameState(
        cars={"me": Car(team, physics(body, one), physics(body, TURN))},
        ball=physics(snapshot.ball, one),
        inverted_ball=physics(snapshot.ball, TURN),
    )


@pytest.fixture
def snapshot() -> Snapshot:
    world = World("benchmark", 4)
    inputs = REST.copy()
    inputs[[Control.RIGHT_TRIGGER, Control.LEFT_X]] = 1
    world.step(inputs, 60)
    return world.snapshot()


def test_names_and_numbers_agree(snapshot: Snapshot) -> None:
    """Recordings name the columns of `state`; a shifted name would silently train on the wrong thing."""
    values = observe(snapshot)
    assert values.shape == (len(OBS_NAMES),) == (24,)
    assert values.dtype == np.float32
    named = dict(zip(OBS_NAMES, values.tolist(), strict=True))
    assert named["ball_position_z"] == pytest.approx(snapshot.ball.position[2])
    assert named["ball_angular_velocity_x"] == pytest.approx(snapshot.ball.angular_velocity[0], rel=1e-5)
    assert named["car_position_y"] == pytest.approx(snapshot.cars[0].body.position[1])
    assert named["car_up_z"] == pytest.approx(snapshot.cars[0].body.rotation[2][2], rel=1e-5)
    assert named["car_angular_velocity_z"] == pytest.approx(snapshot.cars[0].body.angular_velocity[2], rel=1e-5)


@pytest.mark.parametrize("team", [0, 1])
def test_rlgym_gives_the_same_numbers(snapshot: Snapshot, team: int) -> None:
    """What was recorded here has to fit what a learner in RLGym sees, for either team."""
    builder = ArenaObs()
    assert isinstance(builder, ObsBuilder)
    assert builder.get_obs_space("me") == ("real", 24)
    state = game_state(snapshot, team)
    builder.reset(["me"], state, {})
    built = builder.build_obs(["me"], state, {})["me"]
    mine = replace(snapshot, cars=(replace(snapshot.cars[0], team=team),))
    assert built == pytest.approx(observe(mine))
    assert built.dtype == np.float32


def test_orange_sees_the_pitch_turned() -> None:
    """Both teams attack upwards: at mirrored places they must see the same numbers."""
    blue = World("kickoff", 0).snapshot()
    half_turn = np.diag(TURN)

    def turned(body: Body) -> Body:
        return Body(body.position * TURN, body.velocity * TURN, body.angular_velocity * TURN, body.rotation @ half_turn)

    orange = replace(
        blue, ball=turned(blue.ball), cars=(replace(blue.cars[0], team=1, body=turned(blue.cars[0].body)),)
    )
    assert observe(orange) == pytest.approx(observe(blue))
