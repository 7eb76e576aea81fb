"""Where a training run stands, and what came of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

BEST: Final = "best.pt"
"""The weights with the best held-out loss, or the best play (`selection`)."""
LAST: Final = "last.pt"
"""The newest weights, and what a resumed run needs."""


class Ending(StrEnum):
    """Why a run ended."""

    COMPLETE = "complete"
    EARLY = "stopped early"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class Outcome:
    """What came of a run.

    Attributes:
        ending: Why it ended.
        epochs: Whole passes over the data.
        steps: Of the optimiser.
        seconds: Of training.
        metrics: Of the best pass, {} before the first.
    """

    ending: Ending
    epochs: int
    steps: int
    seconds: float
    metrics: dict[str, Any]

    @property
    def interrupted(self) -> bool:
        """Whether it was asked to stop before its end."""
        return self.ending is Ending.INTERRUPTED


@dataclass
class RunState:
    """Where a run stands; plain data, stored in last.pt.

    Attributes:
        epoch: Whole passes done.
        batch: Batches done of the present pass.
        step: Optimiser steps done.
        seconds: Of training so far.
        best: Metrics of the best pass, {} before the first.
        stale: Passes since the best one.
        sums: Of the present pass: losses and accuracies.
        counts: How many were summed.
        history: One row per pass (`training_log.COLUMNS`).
        round: Coach rounds that went before the present training.
        round_epoch: Passes done when the present training began.
        round_step: Steps done then.
        round_seconds: Seconds done then.
        reading_s: What reading took before the present training, where time counts and reading is a part of it.
        measuring_s: What the last measurement of held-out play took for each moment; 0 where time does not count.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    seconds: float = 0.0
    best: dict[str, Any] = field(default_factory=dict)
    stale: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    round: int = 0
    round_epoch: int = 0
    round_step: int = 0
    round_seconds: float = 0.0
    reading_s: float = 0.0
    measuring_s: float = 0.0

    def next_round(self, *, keep_best: bool) -> None:
        """Begin to learn from one more round of play.

        Args:
            keep_best: The best pass so far stays the one to beat. (Losses on other held-out play cannot be compared.)
        """
        best = self.best if keep_best else {}
        self.round += 1
        self.round_epoch, self.round_step, self.round_seconds = self.epoch, self.step, self.seconds
        self.reading_s = 0.0
        self.batch, self.stale, self.best, self.sums, self.counts = 0, 0, best, {}, {}

    def add(self, **values: float) -> None:
        """Take values into the means of the present pass."""
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
            self.counts[name] = self.counts.get(name, 0) + 1

    def mean(self, name: str) -> float:
        """Of the present pass; nan before the first value."""
        return self.sums[name] / self.counts[name] if self.counts.get(name) else math.nan
