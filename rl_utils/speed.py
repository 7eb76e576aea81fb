"""What makes training steps faster where it pays: half precision, a compiled network, a batch that fits the machine.

What is measured and saved stays as it is: weights, their average and held-out play in full precision, uncompiled.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, Final, Literal

import numpy as np
import torch
from torch import nn

from rl_utils.checkpoint import Checkpoint
from rl_utils.config import AUTO_BATCH, TrainConfig
from rl_utils.controls import N_CONTROLS
from rl_utils.errors import UserError
from rl_utils.losses import BalancedLoss
from rl_utils.model import build_network, default_arguments
from rl_utils.muon import Optimisers
from rl_utils.preprocess import InputSpec, to_tensor
from rl_utils.state_input import StateSpec

FIRST_BATCH: Final = 16
STEPS_PER_PASS: Final = 20
"""A batch so large that a pass has fewer steps would learn too little from it, however fast."""
ENOUGH: Final = 0.95
"""Of the best speed: a smaller batch that reaches it is taken."""
TRIAL_S: Final = 0.4
MUON_MODELS: Final = ("fovea",)
"""Networks that --optimiser auto trains by muon: where it was measured to help."""

Amp = Literal["auto", "bf16", "off"]

logger = logging.getLogger(__name__)


def choose_amp(wanted: Amp, device: torch.device, spec: InputSpec) -> Amp:
    """What --amp stands for on a device and for what a network sees: "bf16" or "off".

    bfloat16 needs no scaling of the loss. auto takes it for pictures, on GPUs that compute with it and on CPUs with
    matrix units for it (Intel AMX); on CPUs without, answers took seven times as long (facts of this project,
    storage C1).

    Raises:
        UserError: It was asked for, and the GPU cannot.
    """
    if device.type == "cuda":
        able = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        # Older versions of torch do not say.
        capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
        able = bool(capabilities.get("amx_bf16"))
    if wanted == "bf16" and device.type == "cuda" and not able:
        raise UserError("This GPU does not compute with bfloat16", "Use --amp off")
    if wanted != "auto":
        return wanted
    return "bf16" if able and not isinstance(spec, StateSpec) else "off"


class FastForward:
    """A network as a training step calls it.

    Args:
        network: What is trained, wrapped for several processes where there are.
        amp: "bf16" or "off".
        compiled: Whether to compile it at the first call, for a minute or so.
        device: Where it computes.
    """

    def __init__(self, network: nn.Module, *, amp: str, compiled: bool, device: torch.device) -> None:
        self._network: Callable[[torch.Tensor], Any] = torch.compile(network) if compiled else network
        self._half = amp == "bf16"
        self._device = device
        self._untried = compiled

    def __call__(self, inputs: torch.Tensor) -> Any:
        """What the network answers, in full precision.

        Raises:
            UserError: It cannot be compiled here.
        """
        half = torch.autocast(self._device.type, torch.bfloat16) if self._half else nullcontext()
        with half:
            outputs = self._first(inputs) if self._untried else self._network(inputs)
        return tuple(o.float() for o in outputs) if isinstance(outputs, tuple) else outputs.float()

    def _first(self, inputs: torch.Tensor) -> Any:
        logger.info("Compiling the network, which takes a minute or more")
        try:
            outputs = self._network(inputs)
        except Exception as error:  # the compiler's errors have no common kind, and are those of many programs
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise UserError(
                f"The network cannot be compiled here ({reason[0]})", "Install a C++ compiler (g++), or leave --compile"
            ) from error
        self._untried = False
        return outputs


def settle(
    config: TrainConfig, last: Checkpoint | None, spec: InputSpec, device: torch.device, *, per_pass: int, count: int
) -> TrainConfig:
    """The settings with every auto decided; a run that goes on keeps what it was begun with.

    Args:
        config: The settings.
        last: last.pt of the run that goes on, None for a new one.
        spec: What the network sees.
        device: Where it computes.
        per_pass: Samples in a pass.
        count: Processes that share a batch.

    Raises:
        UserError: The device cannot do what was asked for, or not even a small batch fits.
    """
    before = last.training["settings"] if last is not None else {}
    amp: Amp = before.get("amp", "off") if before and config.amp == "auto" else choose_amp(config.amp, device, spec)
    config = replace(config, amp=amp, optimiser=_choose_optimiser(config, before))
    if config.batch_size != AUTO_BATCH:
        return config
    if before:
        return replace(config, batch_size=before["batch_size"])
    most = per_pass // (STEPS_PER_PASS * config.accumulate * count)
    size = find_batch_size(config, spec, device, most=most)
    logger.info("--batch-size auto: %d fits this machine", size * count)
    return replace(config, batch_size=size * count)


def _choose_optimiser(config: TrainConfig, before: Mapping[str, Any]) -> Literal["muon", "adamw"]:
    """What --optimiser stands for; `before` are the settings of the run that goes on, empty for a new one."""
    if config.optimiser != "auto":
        return config.optimiser
    if before:
        return "muon" if before.get("optimiser") == "muon" else "adamw"  # once it was the only one
    return usual_optimiser(config.model)


def usual_optimiser(model: str) -> Literal["muon", "adamw"]:
    """What --optimiser auto takes for a new run."""
    return "muon" if model in MUON_MODELS else "adamw"


def find_batch_size(config: TrainConfig, spec: InputSpec, device: torch.device, *, most: int) -> int:
    """The smallest batch of one process that trains nearly as fast as any, found by doubling until nothing is gained.

    Args:
        config: Which network, and how it is computed; it is not compiled for this.
        spec: What it sees.
        device: Where it computes.
        most: Largest size to try.

    Raises:
        UserError: Not even the smallest batch fits into memory.
    """
    rates: dict[int, float] = {}
    size = min(FIRST_BATCH, max(2, most))
    while size <= max(most, 2):
        try:
            rates[size] = _rate(config, spec, device, size)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and "memory" not in str(error):
                raise
            if not rates:
                raise UserError(f"A batch of {size} does not fit into memory", "Use a smaller --batch-size") from error
            break
        logger.info("A batch of %d: %.0f samples/s", size, rates[size])
        best = max(rates.values())
        if sum(rate >= ENOUGH * best for rate in rates.values()) > 2 or rates[size] < 0.8 * best:
            break  # two doublings brought nothing, or it gets slower
        size *= 2
    return min(s for s, rate in rates.items() if rate >= ENOUGH * max(rates.values()))


def _rate(config: TrainConfig, spec: InputSpec, device: torch.device, size: int) -> float:
    """Samples per second of training steps on random samples."""
    chance = np.random.default_rng(0)
    if isinstance(spec, StateSpec):
        stacks: Any = chance.random((size, len(spec.offsets) * len(spec.names)), np.float32)
    else:
        stacks = chance.integers(0, 256, (size, spec.channels, spec.height, spec.width), np.uint8)
    targets = torch.from_numpy(chance.random((size, N_CONTROLS), np.float32).round()).to(device)
    network = build_network(config.model, default_arguments(config.model, spec)).to(device)
    forward = FastForward(network, amp=config.amp, compiled=False, device=device)
    loss = BalancedLoss(targets.cpu().numpy())
    optimisers = Optimisers(config.optimiser, network, weight_decay=0.0)

    def step() -> float:
        began = time.perf_counter()
        network.zero_grad(set_to_none=True)
        images = to_tensor(stacks, spec, device, half=config.amp == "bf16")
        loss(forward(images), targets).total.backward()  # type: ignore[no-untyped-call]
        optimisers.step(1e-4, 0.9)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - began

    step()
    times: list[float] = []
    while len(times) < 3 or sum(times) < TRIAL_S:
        times.append(step())
    # The fastest third: whatever else the machine does only makes steps slower.
    return size / float(np.quantile(times, 0.3))
