"""What happens to gradients and weights at one step: balanced heads, a running average; what makes it repeatable."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import nn

from rl_utils.network import Network

HEAD_RATIO: Final = 2.0
"""Source: the article scales the button head's gradient down when it is more than twice the stick head's."""


def gradient_norm(module: nn.Module) -> torch.Tensor:
    """Euclidean norm of all gradients in a module, a scalar; 0 without any."""
    norms = [parameter.grad.norm() for parameter in module.parameters() if parameter.grad is not None]
    return torch.stack(norms).norm() if norms else torch.zeros(())


def balance_heads(network: Network) -> None:
    """Bring the button head's gradient to the size of the stick head's where it is more than twice as large.

    Buttons are learnt faster than sticks; without this the article's stick accuracy stayed below 60 %.
    """
    buttons, axes = gradient_norm(network.binary_head), gradient_norm(network.analog_head)
    if buttons > HEAD_RATIO * axes:
        for parameter in network.binary_head.parameters():
            if parameter.grad is not None:
                parameter.grad *= axes / buttons


class WeightAverage:
    """A running average of a network over its steps, which plays better than the last step's weights.

    The statistics of batch normalisation are averaged, too: averaged weights with another moment's statistics play
    nonsense.

    Args:
        network: What is trained.
        decay: Share that is kept at each step; fewer at the beginning, so that the first weights are forgotten.
    """

    def __init__(self, network: Network, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self._decay = decay
        self._floats = [(mine, theirs) for mine, theirs in self._pairs(network) if mine.is_floating_point()]
        self._counts = [(mine, theirs) for mine, theirs in self._pairs(network) if not mine.is_floating_point()]

    def _pairs(self, network: Network) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        return zip(self.network.state_dict().values(), network.state_dict().values(), strict=True)

    def update(self, step: int) -> None:
        """Take in the network's present weights after step number `step`, from 1."""
        kept = min(self._decay, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_([mine for mine, _ in self._floats], [theirs for _, theirs in self._floats], 1 - kept)
            for mine, theirs in self._counts:
                mine.copy_(theirs)


@contextmanager
def repeatable(*, deterministic: bool, threads: int) -> Iterator[None]:
    """Make arithmetic repeat itself within the block, and use so many CPU threads (0: torch's choice).

    On CUDA, operations that have no repeatable form warn and run anyway (RocketNet's adaptive pooling).
    """
    filling: Any = torch.utils.deterministic  # a module whose one switch mypy does not see
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.backends.cudnn.benchmark,
        torch.backends.cudnn.deterministic,
        filling.fill_uninitialized_memory,
        torch.get_num_threads(),
    )
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    filling.fill_uninitialized_memory = False  # a tenth of the time, to find faults we do not have
    torch.backends.cudnn.deterministic = deterministic
    torch.backends.cudnn.benchmark = not deterministic
    if threads:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = before[2], before[3]
        filling.fill_uninitialized_memory = before[4]
        torch.set_num_threads(before[5])


def rng_state(device: torch.device) -> dict[str, Any]:
    """Where torch's chance stands, as plain data: what the next dropout hides."""
    state = {"device": device.type, "cpu": torch.get_rng_state()}
    return state | ({"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})


def set_rng_state(state: dict[str, Any], device: torch.device) -> None:
    """Go on where `rng_state` stood, on a device of the same kind."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"], device)


def on_cpu(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors as a checkpoint stores them."""
    return {name: tensor.detach().cpu() for name, tensor in tensors.items()}
