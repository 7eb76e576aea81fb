"""Which pass becomes best.pt: the one with the least held-out loss, or the one that plays the practice arena best.

Numbers frame by frame do not rank policies (facts of this project, learning 2.3), play does. So where the arena is what
the recordings are of, the averaged weights can be let play after each pass: the same `benchmark` starts every time, on
seeds of their own, so that the scores that are published later remain those of starts nobody chose by.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from rl_utils.arena.rates import rate
from rl_utils.arena.rollout import PlayerSpec, Rollout, play_all
from rl_utils.arena.snapshot import TICK_HZ
from rl_utils.arena.world import DECISION_TICKS, World
from rl_utils.config import TrainConfig
from rl_utils.errors import UserError

FIRST_SEED: Final = 880_000
"""Coach rounds play below (`coach_rounds.FIRST_SEED`), scores are made from `situations.SCORING_SEEDS` on."""
SITUATION: Final = "benchmark"
TOUCHES_PER_GOAL: Final = 5.0
"""A goal counts as many touches: about what the scripted driver needs for one, 23.6 against 4.58 a minute (facts of
this project, learning 2). Goals alone are too few to rank by, touches alone are not the game."""

GOALS: Final = "arena_goals_per_min"
TOUCHES: Final = "arena_touches_per_min"
PLAYED_COLUMNS: Final = (GOALS, TOUCHES)


class _Stopped(Exception):  # noqa: N818  # a person's wish, not a failure
    """Leaves the play in the middle."""


def check_playable(config: TrainConfig, fps: float) -> None:
    """Find out before a run whether the arena can be played in it, where it is to be.

    Args:
        config: The settings of the run.
        fps: Rate of its recordings in Hz.

    Raises:
        UserError: No RocketSim, or recordings of a rate that cannot be played.
    """
    if config.select != "score" and not config.coach:
        return
    hz = TICK_HZ // DECISION_TICKS if config.model == "state" else TICK_HZ
    if fps <= 0 or hz % fps:
        raise UserError(
            f"The arena cannot be played at the recordings' {fps:g} fps, which do not divide its {hz} Hz",
            "Leave --coach and --select score away",
        )
    World(SITUATION, FIRST_SEED)


def play_trial(
    checkpoint: Path, episodes: int, *, stop: Callable[[], bool], on_progress: Callable[[int], None]
) -> dict[str, float] | None:
    """Let a policy play.

    Args:
        checkpoint: The policy.
        episodes: How many starts, the same ones every time.
        stop: Asked after each of them.
        on_progress: Told how many are done.

    Returns:
        `PLAYED_COLUMNS` → events per minute; None when stopped.

    Raises:
        UserError: The policy cannot play the arena, or a process was ended from outside.
    """

    def done(count: float) -> None:
        if stop():
            raise _Stopped
        on_progress(round(count))

    # At least two processes: in this one, playing would change how many threads torch uses for training.
    workers = max(2, len(os.sched_getaffinity(0)))
    player = PlayerSpec("policy", checkpoint=checkpoint.absolute())
    try:
        rollouts = play_all(
            player, SITUATION, range(FIRST_SEED, FIRST_SEED + episodes), workers=workers, on_progress=done
        )
    except _Stopped:
        return None
    return _summed_up(rollouts)


def _summed_up(rollouts: Sequence[Rollout]) -> dict[str, float]:
    minutes = [rollout.seconds / 60 for rollout in rollouts]
    return {
        GOALS: rate([rollout.goals for rollout in rollouts], minutes).per_min,
        TOUCHES: rate([rollout.touches for rollout in rollouts], minutes).per_min,
    }


def standing(metrics: dict[str, Any]) -> tuple[float, float]:
    """What passes are compared by; the greater is the better one.

    Args:
        metrics: Of a pass: `loss`, and `arena`, what `play_trial` found, {} where the arena does not decide.
    """
    played = metrics.get("arena", {})  # missing in runs that were begun before there was a choice
    return (played[GOALS] + played[TOUCHES] / TOUCHES_PER_GOAL if played else 0.0, -metrics["loss"])
