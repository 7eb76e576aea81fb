"""How fast to learn at which point of a run, and which point that is: by steps, or by the time that is left."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from rl_utils.config import TrainConfig
from rl_utils.dataset import Samples
from rl_utils.errors import UserError

# Source: the article's OneCycleLR: pct_start 0.3, div_factor 25, final_div_factor 1000; the rest is torch's default.
RISE_SHARE: Final = 0.3
START_DIVISOR: Final = 25.0
FINAL_DIVISOR: Final = 1000.0
BETA1_HIGH, BETA1_LOW = 0.95, 0.85

MIN_TRAINING_SHARE: Final = 0.2
"""When reading the recordings took nearly all of the time, training still gets this share of the budget."""
FINISH_S: Final = 2.0
"""For saving, the plot and the model card."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Settings of AdamW at one step.

    Attributes:
        lr: Learning rate.
        beta1: Decay of the mean of gradients, low where the rate is high.
    """

    lr: float
    beta1: float


def one_cycle(step: float, total: float, highest: float) -> Pace:
    """The OneCycle policy: up to `highest` in 30 % of the steps, down to a 25,000th of it at the last one.

    A function of where the run stands instead of torch's counter, so that it also fits a run whose number of steps is
    not known beforehand. At whole steps it equals torch.optim.lr_scheduler.OneCycleLR.

    Args:
        step: From 0 to total - 1.
        total: Number of steps, at least 2.
        highest: The highest learning rate.
    """
    peak, last = RISE_SHARE * total - 1, total - 1
    start, final = highest / START_DIVISOR, highest / START_DIVISOR / FINAL_DIVISOR
    if step <= peak:
        share = step / peak
        return Pace(_cosine(start, highest, share), _cosine(BETA1_HIGH, BETA1_LOW, share))
    share = min(1.0, (step - peak) / (last - peak))
    return Pace(_cosine(highest, final, share), _cosine(BETA1_LOW, BETA1_HIGH, share))


def _cosine(begin: float, end: float, share: float) -> float:
    return end + (begin - end) / 2 * (1 + math.cos(math.pi * share))


class StepSchedule:
    """A run of a known number of steps.

    Args:
        total: Number of optimiser steps, at least 1.
        highest: The highest learning rate.
        first: Number of the first step.
    """

    def __init__(self, total: int, highest: float, *, first: int = 0) -> None:
        self._total = total
        self._highest = highest
        self._first = first

    def progress(self, step: int) -> float:
        """Share of the run that is done before the step with this number, in [0, 1]."""
        return min(1.0, (step - self._first) / self._total)

    def pace(self, step: int) -> Pace:
        """Settings for the step with this number."""
        # A course has two steps or more; a single one is taken at the rate of the first.
        return one_cycle(min(step - self._first, self._total - 1), max(2, self._total), self._highest)


class TimeSchedule:
    """A run of a known length in time, however fast the machine is.

    The budget includes reading the recordings, once: a resumed run gets what is left of its training, and reading again
    is beside it. What the last validation will take is set aside.

    Args:
        budget_s: Wall time of the whole run.
        highest: The highest learning rate.
        spent_s: Training time of earlier parts of the run (resumed).
        made: When the budget began to run, by `now`.
        read_s: What reading took at first (resumed); None: the time from `made` until training begins.
        now: The clock, in seconds.
    """

    VIRTUAL_STEPS: Final = 100_000

    def __init__(
        self,
        budget_s: float,
        highest: float,
        *,
        spent_s: float,
        made: float,
        read_s: float | None = None,
        now: Callable[[], float],
    ) -> None:
        self._highest = highest
        self._now = now
        self._budget = budget_s
        self._spent = spent_s
        self._made = made
        self._read_s = read_s
        self._began: float | None = None
        self._end = 0.0
        self.validation_s = 0.0

    def begin(self) -> float:
        """Training begins now; returns `read_s`, which is gone."""
        self._began = self._now()
        if self._read_s is None:
            self._read_s = self._began - self._made
        training = max(self._budget - self._read_s, MIN_TRAINING_SHARE * self._budget)
        self._end = self._began + max(0.0, training - self._spent)
        return self._read_s

    def pause(self, seconds: float) -> None:
        """What just happened for so long was beside the budget."""
        assert self._began is not None
        self._began += seconds
        self._end += seconds

    def progress(self, step: int) -> float:
        """Share of the run that is done now, in [0, 1]."""
        assert self._began is not None
        end = self._end - self.validation_s - FINISH_S
        origin = self._began - self._spent
        return min(1.0, (self._now() - origin) / max(end - origin, 1e-9))

    def pace(self, step: int) -> Pace:
        """Settings for the next step."""
        return one_cycle(self.progress(step) * (self.VIRTUAL_STEPS - 1), self.VIRTUAL_STEPS, self._highest)


def steps_per_pass(config: TrainConfig, samples: Samples, processes: int = 1) -> int:
    """Optimiser steps in one pass; what does not fill the last one is left to the next pass's order.

    Raises:
        UserError: There is less than one, or the batch cannot be shared out.
    """
    if config.batch_size % processes:
        raise UserError(
            f"--batch-size {config.batch_size}, the batch of all {processes} processes, does not divide among them",
            f"Choose a multiple of {processes}",
        )
    need = config.batch_size * config.accumulate
    steps = samples.per_pass // need
    if steps == 0:
        raise UserError(
            f"{samples.per_pass} frames to learn from do not fill one step of {need}",
            "Record more, or lower --batch-size or --accumulate",
        )
    return steps
