"""What observations cost: ours beside RLGym's own builder, in turns on the same states of the same match."""

from __future__ import annotations

import time
from itertools import count
from typing import Any, Final

import numpy as np

from rl_utils.controls import N_CONTROLS
from rl_utils.errors import UserError

MATCHES: Final = ((1, 0), (1, 1), (2, 2), (3, 3))
STATES: Final = 100
"""Different moments of each match, seen again and again."""
TURN: Final = 20
"""So many moments in a row: few enough to stay in the processor's cache, as a state that was made just now does."""
MIN_TURNS: Final = STATES // TURN


def bench_obs(seconds: float) -> list[dict[str, object]]:
    """Measure building observations for all agents of a match.

    Args:
        seconds: Length of the measurement of each match.

    Returns:
        Rows: match, agents, states ("arena" as our engine makes them, "RLGym" of RLGym's own class), and the CPU time
        of one state in µs: default_us (RLGym's DefaultObs), complete_us and ball_car_us (ours), and share,
        complete_us / default_us. The shortest of many turns counts, as it is disturbed least.

    Raises:
        UserError: RLGym's builder is not installed.
    """
    try:
        from rlgym.rocket_league.obs_builders import DefaultObs
    except ImportError as error:
        raise UserError(
            "RLGym's own observation builder is not installed, so there is nothing to compare with",
            "Run: pip install --no-deps rlgym-rocket-league (its pin of an old NumPy is not needed)",
        ) from error
    from rl_utils.arena.gamestate import from_rlgym, to_rlgym
    from rl_utils.arena.observations import BallCarObs, CompleteObs

    builders = {"default_us": DefaultObs(), "complete_us": CompleteObs(), "ball_car_us": BallCarObs()}
    rows: list[dict[str, object]] = []
    for blue, orange in MATCHES:
        agents, states = _match(blue, orange)
        for kind, copied in {"arena": from_rlgym, "RLGym": to_rlgym}.items():
            best = dict.fromkeys(builders, float("inf"))
            end = time.perf_counter() + seconds / 2
            for turn in count():
                if time.perf_counter() > end and turn >= MIN_TURNS:
                    break
                first = turn * TURN % STATES
                for name, builder in builders.items():
                    fresh = [copied(state) for state in states[first : first + TURN]]
                    best[name] = min(best[name], _turn(builder, agents, fresh))
            row = {"match": f"{blue}v{orange}", "agents": len(agents), "states": kind}
            share = best["complete_us"] / best["default_us"]
            rows.append(row | {name: 1e6 * value for name, value in best.items()} | {"share": share})
    return rows


def _match(blue: int, orange: int) -> tuple[list[Any], list[Any]]:
    from rl_utils.arena.env import make_env

    env = make_env("training", seed=1, blue=blue, orange=orange)
    env.reset()
    chance, states = np.random.default_rng(0), []
    for _ in range(STATES):
        env.step({agent: chance.random(N_CONTROLS) for agent in env.agents})
        states.append(env.state)
    return env.agents, states


def _turn(builder: Any, agents: list[Any], fresh: list[Any]) -> float:
    """CPU seconds for one state. States are copies: what one computes only once is computed anew, as in play."""
    began = time.process_time()
    for state in fresh:
        builder.build_obs(agents, state, {})
    return (time.process_time() - began) / len(fresh)
