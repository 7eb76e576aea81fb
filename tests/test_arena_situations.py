"""How play starts: reproducible, clear of walls and ball, and never shared between training and scoring."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from rl_utils.arena import field
from rl_utils.arena.placement import CLEAR_UU
from rl_utils.arena.situations import (
    HARD,
    NAMES,
    SCORING_SEEDS,
    SEED_LIMIT,
    TRAINING_MIX,
    Start,
    check_situation,
    make_start,
    next_seed,
)
from rl_utils.arena.world import World
from rl_utils.controls import REST
from rl_utils.errors import UserError

ROOT = Path(__file__).resolve().parent.parent
RELEASED_BALL = (1234.59, 812.14, 414.15)
RELEASED_CAR = (3139.05, -4058.04, 17.0)


def numbers(start: Start) -> tuple[float, ...]:
    ball, car = start.ball, start.car
    arrays = (ball.position, ball.velocity, ball.spin, car.position, car.rotation, car.velocity, car.spin)
    return (*(float(x) for array in arrays for x in np.ravel(array)), start.boost, start.limit_s)


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_always_means_the_same_start(name: str) -> None:
    """Players are compared on the same starts; a seed that drifts would compare luck."""
    for seed in (0, 1, 17, SCORING_SEEDS, SEED_LIMIT - 1):
        assert numbers(make_start(name, seed)) == numbers(make_start(name, seed))


def test_a_seed_means_the_same_start_in_another_process() -> None:
    """Python's hashes differ from process to process; starts must not hang on them."""
    code = (
        "from rl_utils.arena.situations import make_start\n"
        "for name in ('benchmark', 'training', 'walls'):\n"
        "    s = make_start(name, 900005); print([*s.ball.position, *s.car.position, s.boost])\n"
    )
    command = [sys.executable, "-c", code]
    answers = {subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout for _ in range(2)}
    here = ""
    for name in ("benchmark", "training", "walls"):
        s = make_start(name, 900005)
        here += f"{[*s.ball.position, *s.car.position, s.boost]}\n"
    assert answers == {here}


def test_a_released_start_stays_as_it_was() -> None:
    """Scores of earlier versions can only be compared while benchmark's starts stay what they were."""
    start = make_start("benchmark", SCORING_SEEDS)
    assert start.ball.position == pytest.approx(RELEASED_BALL, abs=0.01)
    assert start.car.position == pytest.approx(RELEASED_CAR, abs=0.01)


def test_starts_are_all_different() -> None:
    """The same start twice would count one piece of luck twice, or be trained on and scored."""
    seeds = [*range(300), *range(SCORING_SEEDS, SCORING_SEEDS + 300)]
    for name in set(NAMES) - {"kickoff"}:
        drawn = [seed for seed in seeds if name != "training" or TRAINING_MIX[seed % len(TRAINING_MIX)] != "kickoff"]
        assert len({numbers(make_start(name, seed))[:3] for seed in drawn}) == len(drawn)
    benchmark = {numbers(make_start("benchmark", seed))[:3] for seed in seeds}
    training = {numbers(make_start("training", seed))[:3] for seed in seeds}
    assert not benchmark & training


def test_seeds_never_leave_their_range() -> None:
    """A recording that is long enough must not run into the starts that scores are quoted for."""
    assert next_seed(0) == 1
    assert next_seed(SCORING_SEEDS - 1) == 0
    assert next_seed(SCORING_SEEDS) == SCORING_SEEDS + 1
    assert next_seed(SEED_LIMIT - 1) == SCORING_SEEDS


@pytest.mark.parametrize("name", NAMES)
def test_cars_and_balls_start_within_the_pitch_and_apart(name: str) -> None:
    """A car that starts in a wall or in the ball is shot away by the physics, which no game does."""
    for seed in range(400):
        start = make_start(name, seed)
        car, ball = start.car, start.ball
        assert np.linalg.norm(car.position - ball.position) >= CLEAR_UU
        assert car.rotation @ car.rotation.T == pytest.approx(np.eye(3), abs=1e-9)
        assert np.linalg.det(car.rotation) == pytest.approx(1)
        assert np.cross(car.rotation[2], car.rotation[0]) == pytest.approx(car.rotation[1])
        assert 0 <= start.boost <= 100
        assert (start.limit_s * 30) % 1 == 0
        for position, margin in ((car.position, 15), (ball.position, field.BALL_RADIUS_UU)):
            assert abs(position[0]) <= field.SIDE_WALL_X_UU - margin
            assert abs(position[1]) <= field.BACK_WALL_Y_UU - margin
            assert abs(position[0]) + abs(position[1]) <= field.CORNER_SUM_UU - margin
            assert margin <= position[2] <= field.CEILING_Z_UU - margin


@pytest.mark.parametrize("name", NAMES)
def test_starts_settle_quietly(name: str) -> None:
    """A start that overlaps a ramp throws the car through the air in its first tick."""
    for seed in range(25):
        begin = make_start(name, seed)
        world = World(name, seed)
        world.step(REST, 4)
        velocity = world.snapshot().cars[0].body.velocity
        assert np.linalg.norm(velocity - begin.car.velocity) < 250, seed


def test_benchmark_is_upright_on_the_floor() -> None:
    """Quoted scores are for ordinary starts: no walls, no roofs."""
    for seed in range(SCORING_SEEDS, SCORING_SEEDS + 200):
        start = make_start("benchmark", seed)
        assert start.car.position[2] == field.CAR_REST_Z_UU
        assert start.car.rotation[2] == pytest.approx([0, 0, 1])
        assert start.car.on_ground
        assert start.limit_s == 30


def test_training_shows_hard_starts() -> None:
    """Policies died at walls and on the roof because they had never been shown a way out."""
    assert sum(name in HARD for name in TRAINING_MIX) / len(TRAINING_MIX) >= 0.25
    assert set(TRAINING_MIX) <= set(NAMES)
    assert set(HARD) <= set(TRAINING_MIX)
    tipped = sum(make_start("training", seed).car.rotation[2][2] < 0.5 for seed in range(200))
    at_wall = sum(
        abs(car.position[0]) > 3490 or abs(car.position[1]) > 4490 or abs(car.position[:2]).sum() > 7210
        for car in (make_start("training", seed).car for seed in range(200))
    )
    assert tipped >= 10
    assert at_wall >= 30


def test_kickoffs_use_all_five_places_alike() -> None:
    """RocketSim's seeded kickoffs never give the diagonal places for small seeds; ours have to."""
    places = Counter(tuple(make_start("kickoff", seed).car.position[:2]) for seed in range(1000))
    assert len(places) == 5
    assert min(places.values()) > 150
    for seed in range(50):
        car = make_start("kickoff", seed).car
        to_ball = -car.position[:2] / np.linalg.norm(car.position[:2])
        assert car.rotation[0][:2] @ to_ball > 0.97


def test_close_and_shot_are_what_they_say() -> None:
    """Starts near the ball teach the moment that decides goals."""
    for seed in range(200):
        close, shot = make_start("close", seed), make_start("shot", seed)
        assert np.linalg.norm((close.car.position - close.ball.position)[:2]) <= 1000
        assert shot.car.position[1] < shot.ball.position[1]
        to_ball = (shot.ball.position - shot.car.position)[:2]
        assert shot.car.rotation[0][:2] @ to_ball / np.linalg.norm(to_ball) > 0.3


def test_a_wrong_name_lists_the_right_ones() -> None:
    """A typing mistake should be answered with the choices."""
    with pytest.raises(UserError, match="benchmark, training"):
        check_situation("bench", 0)
