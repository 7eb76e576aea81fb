"""One process of several: `torchrun ... tests/workers_process.py WHAT`, for test_workers."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
from torch import distributed

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from rl_utils import workers as our_workers
from rl_utils.controls import N_AXES, N_BUTTONS, N_CONTROLS
from rl_utils.losses import ALONE, make_loss, plan_loss
from rl_utils.state_features import FEATURES
from rl_utils.temporal import PLACES, PLAN_TICKS
from rl_utils.workers import Workers, join_workers

MOMENTS = 8


def wait(workers: Workers) -> None:
    """The first process takes longer than the others' patience."""
    with workers.lead_first():
        if workers.leads:
            time.sleep(1.5 * our_workers.PATIENCE.total_seconds())
    print(f"process {workers.rank} went on")


def die(workers: Workers) -> None:
    """The first process is killed while the others wait for it."""
    with workers.lead_first():
        if workers.leads:
            time.sleep(1)
            os.kill(os.getpid(), signal.SIGKILL)
    print(f"process {workers.rank} went on")


def learn(workers: Workers) -> None:
    """What flows back through losses of parts is what flows back through that of the whole batch."""
    for name in ("balanced", "article"):
        for only_first_goes_on in (False, True):
            alone = gradient(name, ALONE, only_first_goes_on=only_first_goes_on)
            together = gradient(name, workers, only_first_goes_on=only_first_goes_on)
            distributed.all_reduce(together)
            torch.testing.assert_close(together / workers.count, alone, rtol=1e-4, atol=1e-6)
    print(f"process {workers.rank} agrees")


def gradient(name: str, workers: Workers, *, only_first_goes_on: bool) -> torch.Tensor:
    """Of a loss of a network's answers, by one factor for each of them.

    Args:
        name: Of the loss.
        workers: Who has a part of the batch.
        only_first_goes_on: Only the moments of the first process are followed by others.
    """
    chance = torch.Generator().manual_seed(0)
    numbers = N_CONTROLS + FEATURES + PLAN_TICKS * (N_CONTROLS + N_AXES * PLACES)
    answers = torch.rand(MOMENTS, numbers, generator=chance)
    following = torch.rand(MOMENTS, PLAN_TICKS, N_CONTROLS, generator=chance)
    following[..., :N_BUTTONS] = following[..., :N_BUTTONS].round()
    for moment, known in enumerate((8, 3, 1, 8, 5, 2, 8, 1)):
        following[moment, 1 if only_first_goes_on and moment % 2 else known :] = torch.nan
    factors = torch.ones(numbers, requires_grad=True)
    outputs, following = (answers * factors)[workers.part], following[workers.part]
    loss = make_loss(name, np.full((2, N_CONTROLS), 0.5, np.float32), workers)
    total = loss(outputs[:, :N_CONTROLS], following[:, 0]).total + plan_loss(outputs, following, loss, workers)
    total.backward()  # type: ignore[no-untyped-call]
    assert factors.grad is not None
    return factors.grad


def main(what: str) -> int:
    if what != "learn":
        # Long enough to meet the other one, which may take seconds longer to import torch.
        our_workers.PATIENCE = timedelta(seconds=12)  # type: ignore[misc]
    parts: dict[str, Callable[[Workers], None]] = {"wait": wait, "die": die, "learn": learn}
    with join_workers("cpu") as workers:
        parts[what](workers)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
