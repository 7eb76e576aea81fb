"""Game states at random, and what they look like from the other side."""

from __future__ import annotations

import numpy as np

from rl_utils.arena.gamestate import BLUE_TEAM, ORANGE_TEAM, Car, GameState, PhysicsObject


def random_body(chance: np.random.Generator, speed: float = 2300) -> PhysicsObject:
    """Anywhere on the pitch, facing anywhere, within the game's limits."""
    body = PhysicsObject(
        chance.uniform([-4096, -6000, 0], [4096, 6000, 2044]).astype(np.float32),
        _within(chance, speed),
        _within(chance, 5.5),
    )
    body.quaternion = chance.normal(size=4)
    return body


def random_car(chance: np.random.Generator, team: int) -> Car:
    """With everything set at random, as far as it matters to observations."""
    flags = chance.random(5) < 0.5
    return Car(
        team_num=team,
        ball_touches=int(chance.integers(0, 3)),
        demo_respawn_timer=float(chance.choice([0, 0, chance.uniform(0, 3)])),
        wheels_with_contact=tuple((chance.random(4) < 0.6).tolist()),
        supersonic_time=float(chance.choice([0, chance.uniform(0, 2)])),
        boost_amount=float(chance.uniform(0, 100)),
        boost_active_time=float(chance.choice([0, chance.uniform(0, 2)])),
        handbrake=float(chance.random()),
        is_jumping=bool(flags[0]),
        has_jumped=bool(flags[1]),
        is_holding_jump=bool(flags[2]),
        jump_time=float(chance.uniform(0, 0.2)),
        has_flipped=bool(flags[3]),
        has_double_jumped=bool(flags[4]),
        air_time_since_jump=float(chance.uniform(0, 2)),
        flip_time=float(chance.uniform(0, 0.95)),
        flip_torque=_within(chance, 1),
        physics=random_body(chance),
    )


def random_state(chance: np.random.Generator, *, blue: int, orange: int) -> GameState:
    """A match of so many cars, with agents named as RLGym names them."""
    cars = {f"blue-{i}": random_car(chance, BLUE_TEAM) for i in range(blue)}
    cars |= {f"orange-{i}": random_car(chance, ORANGE_TEAM) for i in range(orange)}
    timers = np.where(chance.random(34) < 0.5, 0, chance.uniform(0, 10, 34)).astype(np.float32)
    return GameState(
        tick_count=int(chance.integers(0, 10_000)),
        goal_scored=False,
        cars=cars,
        ball=random_body(chance, 6000),
        boost_pad_timers=timers,
    )


def mirrored_state(state: GameState) -> GameState:
    """The same match with the pitch turned and the teams exchanged."""
    cars = {}
    for team in ("orange", "blue"):
        for agent, car in state.cars.items():
            if not agent.startswith(team):
                other = "blue" if team == "orange" else "orange"
                name = agent.replace(other, team)
                values = {slot: getattr(car, slot) for slot in Car.__slots__ if not slot.startswith("_")}
                cars[name] = Car(**values | {"team_num": 1 - car.team_num, "physics": car.inverted_physics})
    return GameState(
        tick_count=state.tick_count,
        cars=dict(sorted(cars.items())),
        ball=state.inverted_ball,
        boost_pad_timers=state.inverted_boost_pad_timers,
    )


def _within(chance: np.random.Generator, limit: float) -> np.ndarray:
    """A vector of at most this length."""
    way = chance.normal(size=3)
    return (way / np.linalg.norm(way) * chance.uniform(0, limit)).astype(np.float32)
