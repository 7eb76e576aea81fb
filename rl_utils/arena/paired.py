"""Which of two players is better: both played the same starts, so luck with the starts cancels out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from rl_utils.arena.rollout import Rollout
from rl_utils.errors import UserError

COMPARED: Final = ("goals", "touches", "own_goals", "seconds")
"""What is read of each episode."""
DRAWS: Final = 10_000
"""Of the permutation test and of the bootstrap; both are seeded, so the answer repeats."""


@dataclass(frozen=True, slots=True)
class Difference:
    """How much more of something happens per minute, start by start.

    Attributes:
        per_min: The one minus the other.
        low: 95 % limit, by bootstrap over the starts.
        high: The other limit.
        p: How often exchanging the two at random starts gives a difference at least as large.
        starts: How many both played.
    """

    per_min: float
    low: float
    high: float
    p: float
    starts: int


@dataclass(frozen=True, slots=True)
class Earlier:
    """What `arena score --json` wrote.

    Attributes:
        name: Who played.
        situation: How play started.
        episodes: `COMPARED` by seed, as in `Rollout`.
    """

    name: str
    situation: str
    episodes: dict[int, dict[str, float]]


def read_score(file: Path) -> Earlier:
    """Read an earlier score.

    Raises:
        UserError: The file is missing or none of ours.
    """
    try:
        table = json.loads(file.read_text())
        episodes = {int(row["seed"]): {what: float(row[what]) for what in COMPARED} for row in table["per_episode"]}
        earlier = Earlier(str(table["name"]), str(table["situation"]), episodes)
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror})", "Name a file that --json has written") from error
    except (ValueError, KeyError, TypeError):
        earlier = None
    if earlier is None or not earlier.episodes:
        raise UserError(f"{file} holds no score", "Name a file that --json has written")
    return earlier


def compare(rollouts: Sequence[Rollout], earlier: Earlier, what: str) -> Difference:
    """How much better these rollouts are than those of an earlier score, on the starts that both played.

    Args:
        rollouts: Of one player.
        earlier: Of the other.
        what: "goals", "touches" or "own_goals".

    Raises:
        UserError: They have no start in common.
    """
    pairs = [(rollout, earlier.episodes[rollout.seed]) for rollout in rollouts if rollout.seed in earlier.episodes]
    if not pairs:
        raise UserError(f"{earlier.name} did not play the same starts", "Score both with the same --seed")
    ours = np.array([[getattr(mine, what), mine.seconds / 60] for mine, _ in pairs], np.float64)
    theirs = np.array([[other[what], other["seconds"] / 60] for _, other in pairs], np.float64)
    return difference(ours, theirs)


def difference(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> Difference:
    """Compare counts and minutes of the same starts.

    Args:
        ours: (N, 2), events and minutes of each start.
        theirs: (N, 2), the other's.
    """
    count = len(ours)
    rng = np.random.default_rng(count)
    found = _rate(ours.sum(0)) - _rate(theirs.sum(0))
    swapped = rng.random((DRAWS, count, 1)) < 0.5
    one, other = np.where(swapped, theirs, ours).sum(1), np.where(swapped, ours, theirs).sum(1)
    as_large = np.abs(_rate(one) - _rate(other)) >= abs(found) - 1e-12
    drawn = rng.integers(0, count, (DRAWS, count))
    spread = _rate(ours[drawn].sum(1)) - _rate(theirs[drawn].sum(1))
    low, high = np.quantile(spread, (0.025, 0.975))
    return Difference(float(found), float(low), float(high), float((1 + as_large.sum()) / (1 + DRAWS)), count)


def _rate(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """(..., 2) events and minutes → (...) events per minute."""
    rates: NDArray[np.float64] = sums[..., 0] / sums[..., 1]
    return rates
