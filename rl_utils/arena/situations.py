"""How play starts: named situations, each a function from a seed to one start, for ever the same.

Scores are quoted for `benchmark` starts; networks learn from `training` ones. The two never share a start, twice over:
the situation's name is part of the random seed, so benchmark's 7 and training's 7 are unrelated; and seeds from
`SCORING_SEEDS` on are for scoring, those below for everything else. `kickoff` is the exception: it has only the game's
five starts, whatever the seed, and training plays them, too. Counting up wraps around within each range
(`next_seed`), so that even a recording of benchmark starts never reaches the scored ones.

RocketSim's own seeded kickoffs are not used: its small seeds never give the two diagonal places.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Final

from rl_utils.arena import field
from rl_utils.arena.placement import (
    BACK_WALLS,
    CORNER_WALLS,
    SIDE_WALLS,
    BallStart,
    CarStart,
    ball_anywhere,
    ball_rolling,
    car_anywhere,
    car_at_wall,
    car_on_floor,
    car_on_wall,
    car_tipped,
    clear_of,
    slow_ball_anywhere,
)
from rl_utils.errors import UserError

SCORING_SEEDS: Final = 900_000
"""Seeds from here on are for scoring."""
SEED_LIMIT: Final = 2_000_000_000

BENCHMARK_LIMIT_S: Final = 30.0
PRACTICE_LIMIT_S: Final = 20.0

KICKOFF_PLACES: Final = (
    *((-2048, -2560, 0.25), (2048, -2560, 0.75), (-256, -3840, 0.5), (256, -3840, 0.5)),
    (0, -4608, 0.5),
)
"""Blue's: x and y in uu, yaw in half turns. Source: the RLBot wiki's spawn table."""
KICKOFF_BOOST: Final = 100 / 3


@dataclass(frozen=True, slots=True)
class Start:
    """Where everything is when play begins.

    Attributes:
        ball: The ball.
        car: The player's car.
        boost: 0 to 100.
        limit_s: The episode is given up after so long without a goal; a multiple of 1/30 s.
    """

    ball: BallStart
    car: CarStart
    boost: float
    limit_s: float


def make_start(situation: str, seed: int) -> Start:
    """The start that this seed stands for; the same on every call.

    Raises:
        UserError: There is no such situation, or the seed is out of range.
    """
    check_situation(situation, seed)
    name = TRAINING_MIX[seed % len(TRAINING_MIX)] if situation == "training" else situation
    # Text seeds are hashed by SHA-512: neighbouring numbers are unrelated, and the name keeps situations apart.
    return _SITUATIONS[name](Random(f"{situation} {seed}"))


def check_situation(situation: str, seed: int) -> None:
    """Refuse what `make_start` cannot do.

    Raises:
        UserError: There is no such situation, or the seed is out of range.
    """
    if situation not in NAMES:
        raise UserError(f"There is no situation {situation}", f"Choose one of {', '.join(NAMES)}")
    if not 0 <= seed < SEED_LIMIT:
        raise UserError(f"Seed {seed} is out of range", f"Choose 0 to {SEED_LIMIT - 1}")


def is_held_out(situation: str, seed: int) -> bool:
    """Whether nobody learns from this start: its seed is for scoring, and it is no kickoff, which all seeds share."""
    return seed >= SCORING_SEEDS and situation != "kickoff"


def next_seed(seed: int) -> int:
    """The seed after this one: scoring seeds are followed by scoring seeds, and others never become any."""
    if seed + 1 == SCORING_SEEDS:
        return 0
    return SCORING_SEEDS if seed + 1 == SEED_LIMIT else seed + 1


def _benchmark(random: Random) -> Start:
    """Ball and car anywhere on the floor, upright, neither in a wall nor in one another."""
    return _start(random, ball_anywhere(random), lambda: car_anywhere(random), limit_s=BENCHMARK_LIMIT_S)


def _kickoff(random: Random) -> Start:
    """One of the game's five places for a kickoff."""
    x, y, yaw = random.choice(KICKOFF_PLACES)
    ball = ball_rolling(0, 0, 0, 0)
    return _start(random, ball, lambda: car_on_floor(x, y, yaw * math.pi, 0), boost=KICKOFF_BOOST)


def _close(random: Random) -> Start:
    """The ball within reach, in any direction."""
    ball = slow_ball_anywhere(random)

    def car() -> CarStart | None:
        distance, bearing = random.uniform(260, 1000), random.uniform(-math.pi, math.pi)
        x, y = ball.position[0] + distance * math.cos(bearing), ball.position[1] + distance * math.sin(bearing)
        return car_on_floor(x, y, random.uniform(-math.pi, math.pi), random.uniform(0, 800))

    return _start(random, ball, car)


def _shot(random: Random) -> Start:
    """Behind the ball, with the goal in front."""
    ball_x, ball_y = random.uniform(-1800, 1800), random.uniform(500, 3600)
    ball = ball_rolling(ball_x, ball_y, random.uniform(-400, 400), random.uniform(-300, 700))

    def car() -> CarStart | None:
        line = math.atan2(field.BACK_WALL_Y_UU - ball_y, -ball_x) + random.gauss(0, 0.25)
        back = random.uniform(700, 2200)
        x, y = ball_x - back * math.cos(line), ball_y - back * math.sin(line)
        return car_on_floor(x, y, line + random.gauss(0, 0.3), random.uniform(0, 1400))

    return _start(random, ball, car)


def _walls(random: Random) -> Start:
    """On the floor before a wall, facing any way, or up on the wall itself."""

    def car() -> CarStart | None:
        wall, along = random.choice(SIDE_WALLS + BACK_WALLS), random.uniform(-0.95, 0.95)
        facing, speed = random.uniform(-math.pi, math.pi), random.uniform(0, 1400)
        if random.random() < 0.5:
            return car_at_wall(wall, along, random.uniform(270, 600), facing, speed)
        return car_on_wall(wall, along, random.uniform(300, 1500), facing, speed)

    return _start(random, ball_anywhere(random), car)


def _corners(random: Random) -> Start:
    """On the floor before a corner, mostly facing it."""

    def car() -> CarStart | None:
        wall, along = random.choice(CORNER_WALLS), random.uniform(-0.8, 0.8)
        return car_at_wall(wall, along, random.uniform(270, 600), random.gauss(0, 1.0), random.uniform(0, 1200))

    return _start(random, ball_anywhere(random), car)


def _nose(random: Random) -> Start:
    """Standing on the ramp with the nose to the wall: where a policy that drives straight on ends up."""

    def car() -> CarStart | None:
        wall = random.choice(SIDE_WALLS + BACK_WALLS + CORNER_WALLS)
        return car_at_wall(wall, random.uniform(-0.9, 0.9), random.uniform(40, 250), random.gauss(0, 0.4), 0.0)

    return _start(random, ball_anywhere(random), car)


def _roof(random: Random) -> Start:
    """On the roof or on a side, anywhere on the floor."""

    def car() -> CarStart:
        lying = random.choice((1.0, 1.0, 0.5, -0.5)) * math.pi
        return car_tipped(random, lying + random.uniform(-0.3, 0.3))

    return _start(random, ball_anywhere(random), car)


def _start(
    random: Random,
    ball: BallStart,
    draw_car: Callable[[], CarStart | None],
    *,
    boost: float | None = None,
    limit_s: float = PRACTICE_LIMIT_S,
) -> Start:
    """Draw cars until one stands within the pitch and clear of the ball."""
    car = draw_car()
    while car is None or not clear_of(car, ball):
        car = draw_car()
    return Start(ball, car, random.uniform(0, 100) if boost is None else boost, limit_s)


_SITUATIONS: Final[Mapping[str, Callable[[Random], Start]]] = {
    "benchmark": _benchmark,
    "kickoff": _kickoff,
    "close": _close,
    "shot": _shot,
    "walls": _walls,
    "corners": _corners,
    "nose": _nose,
    "roof": _roof,
}
NAMES: Final = ("benchmark", "training", *(name for name in _SITUATIONS if name != "benchmark"))
HARD: Final = ("close", "walls", "corners", "nose", "roof")
"""What ordinary play shows too rarely to learn from, and where cloned policies get stuck."""
TRAINING_MIX: Final = (
    *("benchmark", "walls", "benchmark", "close", "benchmark", "nose", "shot", "benchmark", "roof", "benchmark"),
    *("corners", "benchmark", "close", "benchmark", "kickoff", "benchmark", "walls", "benchmark", "nose", "benchmark"),
)
"""`training` goes through this list by seed, so that 20 starts in a row always hold 40 % hard ones."""
