"""Muon: steps that move a layer in all its directions alike, instead of mostly in the few that gradients prefer.

The momentum of a kernel's gradients, as a matrix, is brought near the closest matrix with orthogonal rows, all of whose
singular values are 1 (measured here: 0.5 to 1.2), and that is the step. It is for a network's inner weights
(`Network.inner_weights`): convolutions and, where it is small enough, the layer behind them; all else is AdamW's.
torch's own class of this name takes matrices only.

Measured 2026: what the default network of before believed of half an hour's held-out play after 1,800 steps was off by
a loss of 11.9 with it for convolutions and 13.0 by AdamW alone (13.1 at three times the learning rate); for the layer
behind them, too, 11.1, but that one was so large that steps took 40 % longer. With steps of the size of AdamW's (Liu
and others 2025) everywhere it was 11.9, and 11.7 at twice the learning rate.

Source: Jordan and others 2024, for the iteration, its coefficients and the step's size.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import torch
from torch.nn import functional

from rl_utils.network import Network

COEFFICIENTS: Final = (3.4445, -4.7750, 2.0315)
ITERATIONS: Final = 5
STEP: Final = 20.0
"""Singular values of a step, in learning rates: 0.02 where AdamW's is 1e-3, both as usual, so that one serves both."""
TINY: Final = 1e-7
NOTHING: Final = 1e-18
"""Momentum below this is none: what has no gradient any more would fade into numbers that processors are slow with."""
BETA2: Final = 0.999
"""AdamW's decay of the mean of squared gradients."""


class Muon(torch.optim.Optimizer):
    """See the module's description.

    Args:
        parameters: Each of two dimensions or more; all but the first are taken as one.
        lr: As AdamW's.
        weight_decay: Share of a weight that is lost at each step, in `STEP` learning rates.
    """

    def __init__(self, parameters: Iterable[torch.Tensor], *, lr: float, weight_decay: float) -> None:
        # Named as AdamW's, so that both are set alike; the second is not used.
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay, "betas": (0.95, BETA2)})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient; there is no closure."""
        assert closure is None
        for group in self.param_groups:
            lr, kept = group["lr"], group["betas"][0]
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                momentum = state["momentum"].lerp_(parameter.grad, 1 - kept)
                momentum.copy_(functional.hardshrink(momentum, NOTHING))
                ahead = parameter.grad.lerp(momentum, kept)
                direction = orthogonal(ahead.reshape(len(ahead), -1))
                size = STEP * lr * max(1.0, direction.shape[0] / direction.shape[1]) ** 0.5
                parameter.mul_(1 - STEP * lr * group["weight_decay"])
                parameter.add_(direction.reshape(parameter.shape), alpha=-size)


def orthogonal(matrix: torch.Tensor) -> torch.Tensor:
    """Nearly the closest matrix whose shorter side's vectors are orthogonal and of length 1.

    The iteration runs on the product of the matrix with itself, whose sides are the shorter one: less work.

    Args:
        matrix: (N, M) float32.

    Returns:
        (N, M) float32; where the matrix is zero, zero.
    """
    tall = len(matrix) > matrix.shape[1]
    rows = matrix.T if tall else matrix
    rows = rows / (rows.norm() + TINY)
    a, b, c = COEFFICIENTS
    gram = rows @ rows.T
    unit = torch.eye(len(gram), device=gram.device)
    whole = unit
    for _ in range(ITERATIONS):
        factor = a * unit + b * gram + c * (gram @ gram)
        whole = factor @ whole
        gram = gram @ (factor @ factor)  # all of these are polynomials of the first one, and commute
    found: torch.Tensor = whole @ rows
    return found.T if tall else found


class Optimisers:
    """What moves a network's weights: AdamW, or Muon for its inner weights and AdamW for the rest.

    Args:
        name: "muon" or "adamw".
        network: On its device.
        weight_decay: As both take it.
    """

    def __init__(self, name: str, network: Network, *, weight_decay: float) -> None:
        inner = network.inner_weights() if name == "muon" else []
        taken = {id(parameter) for parameter in inner}
        rest = [parameter for parameter in network.parameters() if id(parameter) not in taken]
        self.by_name: dict[str, torch.optim.Optimizer] = {
            "optimiser": torch.optim.AdamW(rest, lr=0.0, weight_decay=weight_decay, fused=True)
        }
        if inner:
            self.by_name["muon"] = Muon(inner, lr=0.0, weight_decay=weight_decay)

    def step(self, lr: float, beta1: float) -> None:
        """Move every weight that has a gradient.

        Args:
            lr: Learning rate.
            beta1: Decay of the mean of gradients.
        """
        for optimiser in self.by_name.values():
            for settings in optimiser.param_groups:
                settings["lr"], settings["betas"] = lr, (beta1, BETA2)
            optimiser.step()

    def state(self) -> dict[str, Any]:
        """What last.pt holds of them, by name."""
        return {name: optimiser.state_dict() for name, optimiser in self.by_name.items()}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Go on from `state`, among other things that were saved."""
        for name, optimiser in self.by_name.items():
            optimiser.load_state_dict(saved[name])
