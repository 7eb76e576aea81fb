"""What training minimises: the article's loss as it was, and a corrected one as the default.

Two things are corrected (facts, article I and J), both measured on the same data, seed and steps:

- The article adds 0.05 · mean(1 / std) over the batch against predictions that collapse to the mean. Where they have
  collapsed (std < 0.1) its gradient is zero, and elsewhere it rewards noise on axes that must be still: steering
  correlates .901 with the right answer with it, .932 without.
- Its focal α = 0.25 weighs presses 0.25 and releases 0.75, so that rare presses count a third, against its own text.

A loss that is not a number is not replaced by a constant as in the article: the trainer stops and keeps the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from rl_utils.controls import AXES, BUTTONS, N_BUTTONS, N_CONTROLS
from rl_utils.errors import UserError
from rl_utils.state_features import FEATURES, StateFeatures
from rl_utils.temporal import place_loss, plan
from rl_utils.workers import Workers

FOCAL_GAMMA: Final = 2.0
FOCAL_ALPHA: Final = 0.25
SMOOTH_L1_BETA: Final = 0.1
AXES_WEIGHT: Final = 3.0
SPREAD_WEIGHT: Final = 0.05
SPREAD_FLOOR: Final = 0.1
CLAMP: Final = 1e-7
"""Source of the seven above: the article's compute_improved_loss."""

PLACES_WEIGHT: Final = 0.3
"""Of where axes stand, beside their values, so that both begin about equally large. Not tuned."""
MAX_PRESS_WEIGHT: Final = 10.0
"""A button pressed in less than 1 % of the frames is weighted no further: noise would be learnt."""
ALONE: Final = Workers(torch.device("cpu"))
"""One process, which sees whole batches."""


@dataclass(frozen=True)
class Loss:
    """A loss and its parts, each a scalar tensor.

    Attributes:
        total: What is minimised.
        buttons: Its part for buttons.
        axes: Its part for sticks, triggers and d-pad.
    """

    total: torch.Tensor
    buttons: torch.Tensor
    axes: torch.Tensor


LossFunction = Callable[[torch.Tensor, torch.Tensor], Loss]
"""(outputs (B, 19) of a network, targets (B, 19)) → Loss."""


def focal_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Cross-entropy that fades for what is already right.

    Args:
        logits: (B, 11).
        targets: (B, 11), 0 or 1.

    Returns:
        Scalar mean.
    """
    probability = torch.sigmoid(logits)
    right = probability * targets + (1 - probability) * (1 - targets)
    alpha = FOCAL_ALPHA * targets + (1 - FOCAL_ALPHA) * (1 - targets)
    entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return (alpha * (1 - right) ** FOCAL_GAMMA * entropy).mean()


def article_loss(outputs: torch.Tensor, targets: torch.Tensor, workers: Workers = ALONE) -> Loss:
    """The article's loss: focal for buttons, 3 · smooth L1 for axes, 0.05 · mean(1 / std) against collapse.

    Args:
        outputs: (B, 19) of a network.
        targets: (B, 19) in [0, 1].
        workers: The processes that each have a part of the batch and all call this: the std is of all parts together.
    """
    values = outputs[:, AXES].clamp(CLAMP, 1 - CLAMP)
    if len(outputs):
        buttons = focal_loss(outputs[:, BUTTONS], targets[:, BUTTONS])
        axes = AXES_WEIGHT * F.smooth_l1_loss(values, targets[:, AXES], beta=SMOOTH_L1_BETA)
    else:  # of several processes, one can be left without any tick of a plan
        buttons = axes = outputs.sum()
    total = buttons + axes
    count = float(workers.exchange([len(values)]).sum())
    if count > 1:
        total = total + SPREAD_WEIGHT * (1 / _spread(values, count, workers)).mean()
    return Loss(total, buttons, axes)


def _spread(values: torch.Tensor, count: float, workers: Workers) -> torch.Tensor:
    """(8,) standard deviation of each axis over the `count` rows of all processes, at least `SPREAD_FLOOR`."""
    if workers.count == 1:
        return values.std(dim=0, unbiased=False).clamp(min=SPREAD_FLOOR)
    each = count / workers.count
    mean = workers.mean(values.sum(dim=0)) / each
    variance = workers.mean((values - mean).square().sum(dim=0)) / each
    return variance.clamp(min=SPREAD_FLOOR**2).sqrt()


class BalancedLoss:
    """Cross-entropy for buttons with rare presses weighted up, 3 · smooth L1 for axes; both summed over controls.

    Summed, so that controls that are never used, whose part soon is zero, do not dilute the others. A press counts
    sqrt(releases / presses) times a release, at most `MAX_PRESS_WEIGHT`: the full ratio presses far too often.

    Args:
        targets: (N, 19) float32, all that is learnt from; gives the weights.
        often: (N,) float64, how often each of them is; None: alike.
    """

    def __init__(self, targets: NDArray[np.float32], often: NDArray[np.float64] | None = None) -> None:
        share = np.average(targets[:, BUTTONS].astype(np.float64), axis=0, weights=often)
        ratio = np.divide(1 - share, share, out=np.ones(N_BUTTONS), where=share > 0)
        self.press_weight = torch.from_numpy(np.sqrt(ratio).clip(1, MAX_PRESS_WEIGHT).astype(np.float32))

    def __call__(self, outputs: torch.Tensor, targets: torch.Tensor) -> Loss:
        """Measure outputs (B, 19) of a network against targets (B, 19) in [0, 1]."""
        weight = self.press_weight.to(outputs.device)
        entropy = F.binary_cross_entropy_with_logits(
            outputs[:, BUTTONS], targets[:, BUTTONS], pos_weight=weight, reduction="sum"
        )
        error = F.smooth_l1_loss(outputs[:, AXES], targets[:, AXES], beta=SMOOTH_L1_BETA, reduction="sum")
        count = max(1, len(outputs))  # of several processes, one can be left without any tick of a plan
        buttons, axes = entropy / count, AXES_WEIGHT * error / count
        return Loss(buttons + axes, buttons, axes)


def belief_loss(outputs: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
    """How far what a network believes the state to be is from what it was.

    Args:
        outputs: (B, 19 + `FEATURES` or more) of a network that says so.
        states: (B, 24) float32, the arena's state; NaN where it is not known.

    Returns:
        Scalar: smooth L1 summed over the features, mean over the batch; moments without a state count 0.
    """
    known = states.isfinite().all(dim=1)
    if not known.any():
        return outputs.new_zeros(())
    right = StateFeatures()(states[known])
    believed = outputs[known, N_CONTROLS : N_CONTROLS + FEATURES]
    error = F.smooth_l1_loss(believed, right, beta=SMOOTH_L1_BETA, reduction="sum")
    return error / len(outputs)


def plan_loss(
    outputs: torch.Tensor, following: torch.Tensor, loss: LossFunction, workers: Workers = ALONE
) -> torch.Tensor:
    """How far a plan is from what was pressed.

    Args:
        outputs: (B, ...) of a network that plans.
        following: (B, plans, 19) float32, the right inputs of this tick and those after it; NaN past a segment's end.
        loss: Measures the ticks after this one, which it has measured already.
        workers: The processes that each have a part of the batch and all call this. Each one's means count by how many
            ticks it knows, so that their average is the mean over the ticks that all of them know.

    Returns:
        Scalar: `loss` of the later ticks, and of all ticks the cross-entropy of where axes stand.
    """
    said = plan(outputs)
    known = following.isfinite().all(dim=2)
    places = place_loss(said.places[known], following[known][:, AXES])
    later = known.clone()
    later[:, 0] = False
    counts = workers.exchange([float(known.sum()), float(later.sum())])
    shares = workers.count * counts[workers.rank] / np.maximum(counts.sum(axis=0), 1)  # 1 for a single process
    places = float(shares[0]) * PLACES_WEIGHT * places
    if not counts[:, 1].any():
        return places
    return places + float(shares[1]) * loss(said.ticks[later], following[later]).total


def make_loss(
    name: str, targets: NDArray[np.float32], workers: Workers = ALONE, *, often: NDArray[np.float64] | None = None
) -> LossFunction:
    """The loss of that name.

    Args:
        name: "balanced" or "article".
        targets: (N, 19) float32, all that is learnt from.
        workers: The processes that each have a part of every batch, and all measure it.
        often: (N,) float64, how often each target is learnt; None: alike.

    Raises:
        UserError: There is no such loss.
    """
    if name == "article":
        return article_loss if workers.count == 1 else partial(article_loss, workers=workers)
    if name == "balanced":
        return BalancedLoss(targets, often)
    raise UserError(f"There is no loss called {name}", "Choose balanced or article")
