"""What is held out: whole stretches of play time with a gap on both sides, never shuffled frames.

Neighbouring frames are nearly the same picture with the same inputs. In the article's random split 97 % of the
held-out frames have a neighbour that was trained on, so its validation loss measures memory (facts, article H).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from rl_utils.errors import UserError

STRETCH_S: Final = 30.0
"""Held-out stretches are about this long where there is enough play: several goals' worth, and few gaps."""
MAX_STRETCHES: Final = 20
LEAST_BETWEEN_S: Final = 0.5
"""To train on between two gaps; where that does not fit, stretches are fewer and longer."""
LEAST_REACH_S: Final = 0.5
"""Kept between what is learnt and what is held out even by a policy that sees one moment and answers for it."""


def play_time(
    timestamps_ns: NDArray[np.int64],
    firsts: NDArray[np.int64],
    period_s: NDArray[np.float64],
    learnt: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """A clock over all recordings that only runs while something is recorded that is learnt from.

    Pauses and the borders of recordings count as one frame, a policy's own driving not at all; so a gap on this clock
    is never shorter in real time, and what is held out is a share of what can be learnt.

    Args:
        timestamps_ns: (N,) of all recordings, one after the other.
        firsts: (N,) index of the first sample of each sample's segment.
        period_s: (N,) target time between frames.
        learnt: (N,) whether anything is learnt from each sample.

    Returns:
        (N,) float64 seconds, never falling.
    """
    steps = np.diff(timestamps_ns, prepend=timestamps_ns[:1]) / 1e9
    joined = np.arange(len(firsts)) > firsts
    steps = np.where(joined, np.clip(steps, 0.1 * period_s, 2 * period_s), period_s)
    return np.cumsum(np.where(learnt, steps, 0))


def split_by_time(
    time_s: NDArray[np.float64], *, share: float, gap_s: float, seed: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Hold out stretches that are spread over the play, one at a random place in each period.

    Args:
        time_s: (N,) from `play_time`.
        share: Of the time, how much is held out.
        gap_s: Left out on both sides of a held-out stretch.
        seed: Of the places.

    Returns:
        Two masks (N,): to train on, held out. Samples in a gap are in neither.

    Raises:
        UserError: The play is too short for that.
    """
    begin, total = time_s[0], time_s[-1] - time_s[0]
    count = min(total * share / STRETCH_S, MAX_STRETCHES)
    count = max(1, int(min(count, total * (1 - share) / (2 * gap_s + LEAST_BETWEEN_S))))
    period, length = total / count, total * share / count
    chance = np.random.default_rng(seed)
    held_out = np.zeros(len(time_s), bool)
    near = np.zeros(len(time_s), bool)
    for i in range(count):
        start = begin + i * period + chance.uniform(0, period - length)
        held_out |= (time_s >= start) & (time_s < start + length)
        near |= (time_s >= start - gap_s) & (time_s < start + length + gap_s)
    train = ~near
    if not train.any() or not held_out.any():
        raise UserError(
            f"{_seconds(total)} s of play are too short to hold {share:.0%} out with {gap_s:g} s between",
            "Record more, or lower --val-gap-s",
        )
    return train, held_out


def least_gap_s(wanted_s: float, *, action_shift_ms: float, reach_s: float) -> float:
    """What lies between what is learnt and what is held out, in s: no sample's looks and answers touch both.

    Args:
        wanted_s: By --val-gap-s.
        action_shift_ms: How much later an answer is than its picture (negative: earlier).
        reach_s: How far what is seen of a moment reaches back, and what is learnt from it ahead, together.
    """
    return max(wanted_s, abs(action_shift_ms) / 1e3 + max(LEAST_REACH_S, reach_s))


def least_play_s(*, share: float, gap_s: float, fps: float) -> float:
    """How much play can be split wherever its one held-out stretch falls, in s.

    Args:
        share: As of `split_by_time`.
        gap_s: As of `split_by_time`.
        fps: Rate of the play in Hz.
    """
    return max(2 * gap_s / (1 - share), 1 / (share * fps)) + 2 / fps


def _seconds(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"
