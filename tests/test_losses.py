"""The article's loss to the digit, its two faults that the default does not have, and weights for rare presses."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from rl_utils.controls import AXES, BUTTONS, N_AXES, N_BUTTONS, N_CONTROLS, Control
from rl_utils.errors import UserError
from rl_utils.losses import BalancedLoss, article_loss, belief_loss, focal_loss, make_loss
from rl_utils.state_features import StateFeatures


def example(seed: int = 0, count: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    outputs = torch.randn(count, N_CONTROLS, generator=generator)
    outputs[:, AXES] = outputs[:, AXES].sigmoid()
    targets = torch.rand(count, N_CONTROLS, generator=generator)
    targets[:, BUTTONS] = (targets[:, BUTTONS] > 0.7).float()
    return outputs, targets


def smooth_l1(error: float, beta: float) -> float:
    error = abs(error)
    return error**2 / (2 * beta) if error < beta else error - beta / 2


def test_the_articles_loss_is_the_articles() -> None:
    """Written out by hand: focal (gamma 2, alpha 0.25), 3 x smooth L1 (beta 0.1), 0.05 x mean(1 / std)."""
    outputs, targets = example()
    x, y = outputs.double().tolist(), targets.double().tolist()
    focal = []
    for row, wanted in zip(x, y, strict=True):
        for logit, target in zip(row[BUTTONS], wanted[BUTTONS], strict=True):
            p = 1 / (1 + math.exp(-logit))
            right, alpha = (p, 0.25) if target else (1 - p, 0.75)
            focal.append(-alpha * (1 - right) ** 2 * math.log(right))
    errors = [
        smooth_l1(value - target, 0.1)
        for row, wanted in zip(x, y, strict=True)
        for value, target in zip(row[AXES], wanted[AXES], strict=True)
    ]
    columns = np.array([row[AXES] for row in x])
    spread = np.mean(1 / np.maximum(columns.std(axis=0), 0.1))
    expected = np.mean(focal) + 3 * np.mean(errors) + 0.05 * spread
    loss = article_loss(outputs, targets)
    assert float(loss.total) == pytest.approx(expected, rel=1e-5)
    assert float(loss.buttons) == pytest.approx(np.mean(focal), rel=1e-5)
    assert float(loss.axes) == pytest.approx(3 * np.mean(errors), rel=1e-5)


def test_a_single_sample_has_no_spread() -> None:
    """The article leaves the term out for batches of one, where the standard deviation is zero."""
    outputs, targets = example(count=1)
    loss = article_loss(outputs, targets)
    assert float(loss.total) == pytest.approx(float(loss.buttons + loss.axes))


def test_the_articles_collapse_term_has_no_gradient_where_it_is_needed() -> None:
    """Why the default does without it: predictions that have collapsed feel nothing, and still axes are pushed."""
    outputs, targets = example()
    collapsed = outputs.clone()
    collapsed[:, AXES] = 0.5 + 0.01 * torch.randn(len(outputs), N_AXES)
    targets[:, AXES] = collapsed[:, AXES]
    collapsed.requires_grad_()
    article_loss(collapsed, targets).total.backward()
    assert collapsed.grad is not None
    assert not collapsed.grad[:, AXES].any()


def test_the_articles_focal_loss_weighs_presses_down() -> None:
    """Why the default does without it: an equally wrong release counts three times a wrong press."""
    logits = torch.zeros(1, 1)
    press, release = focal_loss(logits, torch.ones(1, 1)), focal_loss(logits, torch.zeros(1, 1))
    assert float(release / press) == pytest.approx(3)


def test_nothing_replaces_a_loss_that_is_no_number() -> None:
    """The article's constant 0.1 hid exploding training; the trainer has to see it."""
    outputs, targets = example()
    outputs[0, 3] = torch.nan
    assert not torch.isfinite(article_loss(outputs, targets).total)
    assert not torch.isfinite(BalancedLoss(targets.numpy())(outputs, targets).total)


def test_the_balanced_loss_by_hand() -> None:
    """Weighted cross-entropy plus 3 x smooth L1, summed over controls, averaged over samples."""
    outputs, targets = example()
    loss = BalancedLoss(targets.numpy())
    x, y = outputs.double().numpy(), targets.double().numpy()
    share = y[:, BUTTONS].mean(axis=0)
    weight = np.sqrt((1 - share) / share).clip(1, 10)
    p = 1 / (1 + np.exp(-x[:, BUTTONS]))
    entropy = -(weight * y[:, BUTTONS] * np.log(p) + (1 - y[:, BUTTONS]) * np.log(1 - p))
    errors = np.vectorize(smooth_l1)(x[:, AXES] - y[:, AXES], 0.1)
    expected = entropy.sum(axis=1).mean() + 3 * errors.sum(axis=1).mean()
    assert float(loss(outputs, targets).total) == pytest.approx(expected, rel=1e-5)


def test_rare_presses_count_more_but_not_without_limit() -> None:
    """'It only drives straight' is class imbalance; weighing in full presses all the time."""
    targets = np.zeros((10_000, N_CONTROLS), np.float32)
    targets[:100, Control.SOUTH] = 1
    targets[:5000, Control.EAST] = 1
    targets[:1, Control.WEST] = 1
    targets[:9000, Control.TL] = 1
    weight = BalancedLoss(targets).press_weight
    assert float(weight[Control.SOUTH]) == pytest.approx(math.sqrt(99), rel=1e-4)
    assert float(weight[Control.EAST]) == 1
    assert float(weight[Control.WEST]) == 10
    assert float(weight[Control.TL]) == 1
    assert float(weight[Control.START]) == 1
    assert len(weight) == N_BUTTONS
    often = np.where(targets[:, Control.SOUTH] > 0, 11.0, 1.0)
    assert float(BalancedLoss(targets, often).press_weight[Control.SOUTH]) == pytest.approx(3, rel=1e-4), "9900 to 1100"


def test_a_perfect_answer_costs_almost_nothing() -> None:
    """A floor in the loss would hide whether anything is left to learn."""
    _, targets = example()
    outputs = targets.clone()
    outputs[:, BUTTONS] = (targets[:, BUTTONS] - 0.5) * 40
    assert float(BalancedLoss(targets.numpy())(outputs, targets).total) < 1e-4


def test_unknown_losses_are_refused() -> None:
    """A typing error must not train with something else."""
    with pytest.raises(UserError, match="no loss called mse"):
        make_loss("mse", np.zeros((2, N_CONTROLS), np.float32))
    assert make_loss("article", np.zeros((2, N_CONTROLS), np.float32)) is article_loss


def test_a_belief_is_measured_where_the_state_is_known() -> None:
    """Human play holds no state: it must teach nothing about it instead of stopping the training with NaN."""
    states = torch.rand(4, 24)
    right = torch.cat([torch.zeros(4, N_CONTROLS), StateFeatures()(states)], dim=1)
    assert float(belief_loss(right, states)) == 0
    states[1:] = float("nan")
    wrong = (right + 1).requires_grad_()
    loss = belief_loss(wrong, states)
    loss.backward()
    assert float(loss.detach()) == pytest.approx((right.shape[1] - N_CONTROLS) * 0.95 / 4)
    assert wrong.grad is not None
    assert not wrong.grad[1:].any()
    assert wrong.grad[0, N_CONTROLS:].all()
    assert float(belief_loss(right, torch.full((4, 24), float("nan")))) == 0
