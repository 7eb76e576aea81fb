"""The practice game's physics, episodes and counting."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from rl_utils.arena import field
from rl_utils.arena.driver import RandomDriver, make_driver
from rl_utils.arena.meshes import rocketsim
from rl_utils.arena.situations import SCORING_SEEDS, make_start
from rl_utils.arena.snapshot import Snapshot
from rl_utils.arena.world import DECISION_TICKS, TOUCH_GAP_TICKS, Events, World
from rl_utils.controls import REST, Control
from rl_utils.errors import UserError
from rl_utils.interfaces import InputVector


def hold(**values: float) -> InputVector:
    """Rest, but for the named controls."""
    inputs = REST.copy()
    for name, value in values.items():
        inputs[Control[name.upper()]] = value
    return inputs


FULL_THROTTLE = hold(right_trigger=1)


def seed_where(situation: str, wanted: Any) -> int:
    return next(seed for seed in range(1000) if wanted(make_start(situation, seed)))


@pytest.fixture
def straight() -> World:
    """The far kickoff place: on the middle line, facing the ball, with 4608 uu of floor ahead."""
    return World("kickoff", seed_where("kickoff", lambda s: s.car.position[0] == 0))


def fingerprint(snapshot: Snapshot) -> tuple[Any, ...]:
    car = snapshot.cars[0]
    bodies = [b.tobytes() for body in (car.body, snapshot.ball) for b in (body.position, body.velocity, body.rotation)]
    return (*bodies, car.boost, snapshot.pads_active.tobytes(), snapshot.time_left_s)


def test_balls_stay_inside() -> None:
    """A hole in the generated walls would lose the ball, and with it the rest of the recording."""
    rs = rocketsim()
    arena = rs.Arena(rs.GameMode.SOCCAR, config=rs.ArenaConfig(no_ball_rot=False))
    rng = np.random.default_rng(0)
    for _ in range(120):
        speed, direction = rng.uniform(500, 6000), rng.normal(size=3)
        velocity = speed * direction / np.linalg.norm(direction)
        position = rng.uniform((-3000, -4000, 100), (3000, 4000, 1900))
        arena.ball.set_state(rs.BallState(pos=rs.Vec(*position), vel=rs.Vec(*velocity)))
        for _ in range(20):
            arena.step(60)
            x, y, z = arena.ball.get_state().pos.as_tuple()
            assert abs(x) < field.SIDE_WALL_X_UU
            assert abs(x) + abs(y) < field.CORNER_SUM_UU or abs(x) < field.GOAL_HALF_WIDTH_UU
            assert abs(y) < field.BACK_WALL_Y_UU + field.GOAL_DEPTH_UU
            assert 80 < z < field.CEILING_Z_UU


def test_cars_stay_inside() -> None:
    """A car that falls out of the pitch would record minutes of nothing."""
    for seed in range(6):
        world, driver = World("training", seed), RandomDriver()
        boosted = hold(right_trigger=1, east=1)
        for i in range(900):
            inputs = driver.decide(world, REST)
            world.step(boosted if i % 60 < 30 else inputs, 4)
            x, y, z = world.snapshot().cars[0].body.position
            assert abs(x) < field.SIDE_WALL_X_UU
            assert abs(y) < field.BACK_WALL_Y_UU + field.GOAL_DEPTH_UU
            assert 0 < z < field.CEILING_Z_UU


def test_a_car_drives_up_the_wall() -> None:
    """A step instead of a ramp would stop every car that reaches a wall."""
    rs = rocketsim()
    for boost, height in ((False, 700), (True, 1900)):
        arena = rs.Arena(rs.GameMode.SOCCAR)
        car = arena.add_car(rs.Team.BLUE)
        car.set_state(rs.CarState(pos=rs.Vec(0, 0, 17), vel=rs.Vec(1410, 0, 0), boost=100))
        highest = 0.0
        for _ in range(200):
            car.set_controls(rs.CarControls(throttle=1, boost=boost))
            arena.step(4)
            highest = max(highest, car.get_state().pos.z)
        assert highest > height


@pytest.mark.parametrize("x_uu", [0, 400, 800])
def test_a_car_does_not_stay_in_the_net(x_uu: float) -> None:
    """With sharp edges inside the goal a car stood there on its nose for the rest of the episode."""
    rs = rocketsim()
    arena = rs.Arena(rs.GameMode.SOCCAR)
    car = arena.add_car(rs.Team.BLUE)
    car.set_state(
        rs.CarState(
            pos=rs.Vec(x_uu, 4500, 17), vel=rs.Vec(0, 1400, 0), rot_mat=rs.Angle(math.pi / 2, 0, 0).as_rot_mat()
        )
    )
    slow = 0
    for _ in range(150):
        car.set_controls(rs.CarControls(throttle=1))
        arena.step(4)
        speed = math.hypot(*car.get_state().vel.as_tuple())
        slow = slow + 1 if speed < 50 else 0
        assert slow < 30


def test_jumps_have_the_games_height(straight: World) -> None:
    """Wrong jump physics would teach wrong timing. The game's full jump rises to 232 uu, a double jump to 476."""
    highest = 0.0
    for _ in range(90):
        straight.step(hold(south=1), 2)
        highest = max(highest, straight.snapshot().cars[0].body.position[2])
    assert highest == pytest.approx(232, abs=3)

    straight.restart()
    highest = 0.0
    for i in range(120):
        straight.step(hold(south=i < 12 or i > 13), 2)
        highest = max(highest, straight.snapshot().cars[0].body.position[2])
    assert highest == pytest.approx(476, abs=12)


def test_stick_forward_and_jump_flips_forward(straight: World) -> None:
    """The stick's direction is up = forward; mirrored, every dodge would go backwards."""
    speeds = []
    for i in range(12):
        straight.step(hold(south=i < 3 or i in (4, 5), left_y=0.0), 4)
        speeds.append(straight.snapshot().cars[0].body.velocity[1])
    assert speeds[-1] > 400


def test_steering_right_turns_right() -> None:
    """The world is left-handed: mixed up, everything that is learnt here steers into the wrong direction."""
    world = World("benchmark", 3)
    for _ in range(15):
        world.step(FULL_THROTTLE, 4)
    right_before = world.snapshot().cars[0].body.rotation[1]
    for _ in range(15):
        world.step(hold(right_trigger=1, left_x=1.0), 4)
    forward_after = world.snapshot().cars[0].body.rotation[0]
    assert forward_after @ right_before > 0.3
    assert np.cross(world.snapshot().cars[0].body.rotation[2], forward_after) == pytest.approx(
        world.snapshot().cars[0].body.rotation[1], abs=1e-3
    )


def test_boost_burns(straight: World) -> None:
    """Boost and its flame are on the picture; a policy has to learn when there is some."""
    before = straight.snapshot()
    assert before.pads_active.all()
    assert not before.cars[0].boosting
    straight.step(hold(east=1, right_trigger=1), 8)
    burning = straight.snapshot().cars[0]
    assert burning.boosting
    assert burning.boost < before.cars[0].boost


def test_a_pad_is_taken_and_comes_back(straight: World) -> None:
    """Pads vanish from the picture while they are empty."""
    pad = next(i for i, p in enumerate(field.BOOST_PADS) if (p.x, p.y) == (0, -4240))
    for _ in range(40):
        straight.step(FULL_THROTTLE, 4)
    assert not straight.snapshot().pads_active[pad]
    assert straight.snapshot().cars[0].boost == pytest.approx(100 / 3 + 12, abs=0.1)
    for _ in range(140):
        straight.step(hold(left_trigger=0.5), 4)
    assert straight.snapshot().pads_active[pad]


def test_pads_are_where_the_physics_has_them() -> None:
    """Pads drawn where none is would be useless landmarks."""
    rs = rocketsim()
    arena = rs.Arena(rs.GameMode.SOCCAR)  # kept: its pads do not keep it alive
    pads = arena.get_boost_pads()
    assert len(pads) == len(field.BOOST_PADS) == 34
    for pad, published in zip(pads, field.BOOST_PADS, strict=True):
        assert pad.get_pos().as_tuple() == (published.x, published.y, published.z)
        assert pad.is_big == published.is_big


def test_the_ball_rolls_visibly() -> None:
    """RocketSim leaves the ball's rotation out unless told otherwise; its motion is seen by that rotation."""
    world = World("benchmark", 0)
    before = world.snapshot().ball.rotation
    world.step(REST, 24)
    assert np.abs(world.snapshot().ball.rotation - before).max() > 0.01


def test_goals_are_counted_once_and_start_a_new_episode() -> None:
    """The score is the measure of everything here."""
    world, driver = World("shot", 0), make_driver("expert")
    total, episode, applied = Events(), 0, REST
    last = world.snapshot()
    for _ in range(1800):
        applied = driver.decide(world, applied)
        for _ in range(DECISION_TICKS):
            events = world.step(applied, 1)
            total += events
            now = world.snapshot()
            if events.new_episode:
                driver.reset()
                episode += 1
                assert events.goals + events.own_goals + events.timeouts == 1
                assert (now.episode, now.episode_tick) == (episode, 0)
                assert now.tick % DECISION_TICKS == 0
                if events.goals:
                    assert last.ball.position[1] > field.GOAL_Y_UU
                assert now.score == (total.goals, total.own_goals)
            last = now
    assert total.goals >= 3
    assert total == world.counts
    assert world.stats["minutes"] == pytest.approx(1.0)
    assert world.stats["episodes"] == episode == total.goals + total.own_goals + total.timeouts


def test_time_runs_out() -> None:
    """An episode without a goal has to end, or a stuck car would be recorded for ever."""
    world = World("benchmark", seed_where("benchmark", lambda s: abs(s.ball.position[1]) < 500))
    assert world.snapshot().time_left_s == 30
    events = Events()
    ticks = 0
    while not events.new_episode:
        events = world.step(hold(left_trigger=1), 60)
        ticks += 60
    assert events == Events(timeouts=1, touches=events.touches)
    assert ticks == 30 * 120
    assert world.episode_seed == 1 + seed_where("benchmark", lambda s: abs(s.ball.position[1]) < 500)


def test_a_touch_needs_a_pause_before_it() -> None:
    """Pushing the ball along is one touch, or dribbling would score hundreds."""
    world = World("kickoff", seed_where("kickoff", lambda s: s.car.position[0] == 0))
    events, contact = [], []
    for tick in range(600):
        touched = world.step(hold(right_trigger=1, east=1), 1).touches
        if touched:
            events.append(tick)
        ball, car = world.snapshot().ball.position, world.snapshot().cars[0].body.position
        if np.linalg.norm(ball - car) < 200:
            contact.append(tick)
    assert events
    assert contact[0] <= events[0]
    assert all(later - earlier > TOUCH_GAP_TICKS for earlier, later in pairwise(events))
    assert len(events) == world.counts.touches


def test_cutting_a_step_into_pieces_changes_nothing() -> None:
    """The window steps at 60 Hz and direct mode at 30 Hz; both have to show the same game."""
    worlds = [World("training", 5) for _ in range(3)]
    driver = RandomDriver()
    for _ in range(500):
        inputs = driver.decide(worlds[0], REST)
        worlds[0].step(inputs, 4)
        worlds[1].step(inputs, 2)
        worlds[1].step(inputs, 2)
        worlds[2].step(inputs, 1)
        worlds[2].step(inputs, 3)
        assert (
            fingerprint(worlds[0].snapshot()) == fingerprint(worlds[1].snapshot()) == fingerprint(worlds[2].snapshot())
        )


def test_an_episode_does_not_depend_on_those_before() -> None:
    """A score of start 17 has to be the same whether start 16 was played before it or not."""

    def play(world: World) -> list[tuple[Any, ...]]:
        driver, applied = make_driver("expert"), REST
        seen = []
        seed = world.episode_seed
        while world.episode_seed == seed:
            applied = driver.decide(world, applied)
            seen.append((applied.tobytes(), fingerprint(world.snapshot())))
            world.step(applied, DECISION_TICKS)
        return seen

    going_on = World("training", 40)
    for seed in range(40, 50):
        assert play(going_on) == play(World("training", seed)), seed


def test_restart_takes_the_next_start() -> None:
    """The player's key for a new start must not end in an earlier one, or count as a goal."""
    world = World("walls", 8)
    world.step(REST, 8)
    world.restart()
    assert (world.episode, world.episode_seed, world.episode_tick) == (1, 9, 0)
    assert world.counts == Events()


def test_the_world_is_cheap_to_forget() -> None:
    """Hundreds of worlds are made while scoring; one that is never freed would fill the memory."""
    import gc
    import weakref

    world = World("kickoff", 0)
    world.step(FULL_THROTTLE, 400)
    gone = weakref.ref(world)
    del world
    gc.collect()
    assert gone() is None


def test_odd_inputs_do_no_harm() -> None:
    """A network that answers with NaN or 7 must not end the game."""
    world = World("benchmark", 0)
    world.step(np.full_like(REST, np.nan), 4)
    world.step(np.full_like(REST, 7), 4)
    world.step(np.full_like(REST, -7), 4)
    assert np.isfinite(world.snapshot().cars[0].body.position).all()


@pytest.mark.parametrize(("situation", "seed"), [("nowhere", 0), ("benchmark", -1), ("benchmark", 2_000_000_000)])
def test_unknown_starts_are_refused(situation: str, seed: int) -> None:
    """A typing mistake in --situation should name the choices."""
    with pytest.raises(UserError):
        World(situation, seed)


def test_scored_starts_follow_each_other() -> None:
    """Episode n of a score is seed + n, so that two players meet the same starts."""
    world = World("benchmark", SCORING_SEEDS)
    for i in range(3):
        assert world.episode_seed == SCORING_SEEDS + i
        begin = make_start("benchmark", SCORING_SEEDS + i)
        assert world.snapshot().cars[0].body.position == pytest.approx(begin.car.position)
        assert world.snapshot().ball.velocity == pytest.approx(begin.ball.velocity)
        world.restart()
