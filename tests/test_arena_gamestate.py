"""States with RLGym's attributes, against RLGym's own."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from rl_utils.arena.driver import make_driver
from rl_utils.arena.gamestate import Car, GameState, PhysicsObject, from_rlgym, to_rlgym
from rl_utils.arena.world import AGENT, World
from rl_utils.controls import REST
from rl_utils.errors import UserError
from tests.conftest import rocket_league
from tests.game_states import random_state

api = rocket_league("api")


def public(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_") and name != "INV_VEC" and name != "INV_MTX"}


def assert_alike(mine: Any, theirs: Any) -> None:
    """Every attribute and property of RLGym's object has the same value in ours."""
    for name in public(type(theirs)):
        value, expected = getattr(mine, name), getattr(theirs, name)
        if callable(expected):
            continue
        if name == "cars":
            assert [*value] == [*expected]
            for agent in expected:
                assert_alike(value[agent], expected[agent])
        elif type(expected).__module__.startswith("rlgym"):
            assert_alike(value, expected)
        elif isinstance(expected, np.ndarray | float):
            np.testing.assert_allclose(value, expected, atol=2e-3, err_msg=name)
        else:
            assert value == expected, name


def test_every_attribute_of_rlgym_is_there() -> None:
    """A reward function or observation builder from elsewhere may ask for any of them."""
    for ours, theirs in ((GameState, api.GameState), (Car, api.Car), (PhysicsObject, api.PhysicsObject)):
        assert public(theirs) <= public(ours), public(theirs) - public(ours)


def test_states_mean_the_same_and_come_back() -> None:
    """Both ways, nothing may be lost, mixed up or shared: not the inverted views, angles, flags or timers."""
    chance = np.random.default_rng(0)
    for _ in range(100):
        state = random_state(chance, blue=2, orange=1)
        state.cars["blue-0"].bump_victim_id = "orange-0"
        state.goal_scored = bool(chance.random() < 0.5)
        theirs = to_rlgym(state)
        assert type(theirs.cars["blue-1"].physics) is api.PhysicsObject
        assert_alike(state, theirs)
        back = from_rlgym(theirs)
        assert type(back.cars["blue-1"].physics) is PhysicsObject
        assert_alike(back, theirs)
        back.ball.position[:] = 0
        back.cars["blue-1"].flip_torque[:] = 7
        assert theirs.ball.position.any()
        assert not (theirs.cars["blue-1"].flip_torque == 7).any()


def test_angles_can_be_set() -> None:
    """Mutators place cars by angles or quaternions; a wrong sign would turn them the wrong way."""
    chance = np.random.default_rng(1)
    for _ in range(300):
        mine, theirs = PhysicsObject(), api.PhysicsObject()
        mine.euler_angles = theirs.euler_angles = chance.uniform([-1.5, -3.1, -3.1], [1.5, 3.1, 3.1])
        np.testing.assert_allclose(mine.rotation_mtx, theirs.rotation_mtx, atol=1e-6)
        mine.quaternion = theirs.quaternion = chance.normal(size=4) * 3
        np.testing.assert_allclose(mine.rotation_mtx, theirs.rotation_mtx, atol=1e-6)


def test_flips_can_be_set() -> None:
    """Starting in the middle of a flip, or without one left, is how aerial training begins."""
    for value in (True, False):
        mine, theirs = Car(has_flipped=True, flip_time=0.8), api.Car()
        theirs.has_flipped, theirs.flip_time = True, 0.8
        mine.is_flipping = theirs.is_flipping = value
        assert (mine.flip_time, mine.is_flipping) == (theirs.flip_time, theirs.is_flipping)


def test_the_arena_tells_its_state() -> None:
    """The arena's world is what recordings and environments share: the player, its touches, its boost."""
    world = World("close", 3)
    touched, inputs, expert = 0, REST, make_driver("expert")
    for _ in range(120):
        before = world.counts.touches
        inputs = expert.decide(world, inputs)
        world.step(inputs, 4)
        state = world.game_state()
        assert state.tick_count == world.tick
        assert (state.cars[AGENT].ball_touches > 0) >= (world.counts.touches > before and world.episode_tick > 0)
        touched += state.cars[AGENT].ball_touches
        snapshot = world.snapshot()
        np.testing.assert_allclose(state.ball.position, snapshot.ball.position)
        np.testing.assert_allclose(state.cars[AGENT].physics.right, snapshot.cars[0].body.rotation[1])
        np.testing.assert_array_equal(state.boost_pad_timers == 0, snapshot.pads_active)
    assert touched > 0


def test_without_the_package_its_class_is_not_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most people do not have it; they must be told how to get it without breaking NumPy."""
    for name in [name for name in sys.modules if name.startswith("rlgym.rocket_league")]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match="--no-deps"):
        to_rlgym(GameState())
