"""The processes that train one network together: those that torchrun started, or this one alone.

Every process holds the same weights and sees its part of each batch; gradients are averaged, so that N processes take
the very steps that one would take. What depends on a clock or on a person (how far the run is, when to save, when to
stop) is decided by the first process and shared at every step: two that disagree would wait for each other for ever.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm

from rl_utils.errors import UserError

PATIENCE: Final = timedelta(minutes=30)
"""How long a process waits for others of which it hears nothing, such as one that is still reading its pictures."""
BEAT_SHARE: Final = 0.1
"""Of that time: so often the first process says that it is still at what it does before the others."""

_FAILED, _BUSY, _DONE = range(3)
"""What the first process says of it."""

logger = logging.getLogger(__name__)


class Workers:
    """One process's view of them all.

    Attributes:
        rank: Number of this process, from 0.
        count: How many there are.
        local_count: How many of them are on this machine, sharing its memory.
        device: Where this one computes.
    """

    def __init__(self, device: torch.device, *, rank: int = 0, count: int = 1, local_count: int = 1) -> None:
        self.device = device
        self.rank = rank
        self.count = count
        self.local_count = local_count

    @property
    def leads(self) -> bool:
        """Whether this one writes files and talks to the person."""
        return self.rank == 0

    @property
    def part(self) -> slice:
        """What of a batch, or of anything that is shared out, is this one's."""
        return slice(self.rank, None, self.count)

    def wrap(self, network: nn.Module) -> nn.Module:
        """The network whose gradients are those of the whole batch; call this one, and change that one."""
        if self.count == 1:
            return network
        on = [self.device.index] if self.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(network, device_ids=on)

    def gradients_later(self, wrapped: nn.Module, *, later: bool) -> AbstractContextManager[Any]:
        """Within the block, gradients of a `wrap`ped network stay here, to be averaged with the next ones."""
        if later and isinstance(wrapped, nn.parallel.DistributedDataParallel):
            return wrapped.no_sync()
        return nullcontext()

    def gather(self, values: Any) -> list[Any]:
        """What each process has, in order of rank; picklable things of any kind."""
        if self.count == 1:
            return [values]
        gathered: list[Any] = [None] * self.count
        distributed.all_gather_object(gathered, values)
        return gathered

    def exchange(self, values: Sequence[float]) -> NDArray[np.float64]:
        """Numbers of every process, (count, len(values)) float64; cheap enough for every step."""
        mine = torch.tensor(values, dtype=torch.float64)
        if self.count == 1:
            return mine.numpy()[None]
        gathered = [torch.empty_like(mine) for _ in range(self.count)]
        distributed.all_gather(gathered, mine)  # on the CPU: gloo, beside NCCL
        return torch.stack(gathered).numpy()

    def from_lead(self, value: Any) -> Any:
        """What the first process has."""
        if self.count == 1:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=0)
        return box[0]

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """Of a tensor over all processes; what flows back through it is averaged in the same way."""
        return values if self.count == 1 else _global_mean(values)

    @contextmanager
    def lead_first(self) -> Iterator[None]:
        """The first process goes through the block, however long that takes, before the others do.

        Where it fails, they end without a word. No process may wait for others within the block.

        Raises:
            SystemExit: The first process has failed; it says why.
        """
        if self.count == 1:
            yield
            return
        if not self.leads:
            word = _BUSY
            while word == _BUSY:
                word = _from_first()
            if word == _FAILED:
                raise SystemExit(2)
            yield
            return
        word = _FAILED
        try:
            with _still_here():
                yield
            word = _DONE
        finally:
            _from_first(word)


@contextmanager
def _still_here() -> Iterator[None]:
    """While the block lasts, let the others hear of the first process, so that only its end ends their patience."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(BEAT_SHARE * PATIENCE.total_seconds()):
            _from_first(_BUSY)

    with ThreadPoolExecutor(1, thread_name_prefix="still-here") as beside:
        beating = beside.submit(beat)
        try:
            yield
        finally:
            over.set()
        beating.result()  # another process is gone


def _from_first(word: int = _FAILED) -> int:
    """What the first process says, `word` where this is the first one."""
    box = torch.tensor([word])
    distributed.broadcast(box, src=0)  # on the CPU: gloo, beside NCCL
    return int(box)


@contextmanager
def join_workers(device: str) -> Iterator[Workers]:
    """Meet the other processes that torchrun started; alone without torchrun. They part at the end of the block.

    Args:
        device: --device: auto, cpu or cuda.

    Raises:
        UserError: CUDA was asked for and is not there, torchrun's variables make no sense, or another process is gone.
    """
    count = _variable("WORLD_SIZE", 1)
    if count == 1:
        yield Workers(choose_device(device))
        return
    local_rank, local_count = _variable("LOCAL_RANK", 0), _variable("LOCAL_WORLD_SIZE", count)
    chosen = choose_device(device, local_rank)
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    backend = "cpu:gloo,cuda:nccl" if chosen.type == "cuda" else "gloo"
    try:
        distributed.init_process_group(backend, timeout=PATIENCE)
    except (ValueError, RuntimeError) as error:
        raise UserError(
            f"The {count} processes cannot meet ({str(error).splitlines()[0]})",
            'Start them by "torchrun --nproc-per-node N train.py ..."',
        ) from error
    try:
        yield Workers(chosen, rank=distributed.get_rank(), count=count, local_count=local_count)
    except RuntimeError as error:
        if not _peer_is_gone(error):
            raise
        raise UserError("Another process of this run is gone", "Look for its message above this one") from error
    finally:
        distributed.destroy_process_group()


def _variable(name: str, default: int) -> int:
    text = os.environ.get(name, str(default))
    if not text.isdigit():
        raise UserError(f"{name} is {text!r}, not a number", "Unset it, or start this by torchrun")
    return int(text)


def _peer_is_gone(error: RuntimeError) -> bool:
    known = (distributed.DistBackendError, distributed.DistNetworkError)
    return isinstance(error, known) or "gloo" in str(error) or "closed by peer" in str(error)


def choose_device(name: str, index: int | None = None) -> torch.device:
    """The device behind --device.

    Args:
        name: auto, cpu or cuda.
        index: Which GPU, None for torch's choice.

    Raises:
        UserError: CUDA was asked for and is not there, or has fewer GPUs.
    """
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise UserError("--device cuda finds no GPU that torch can use", "Leave --device away to train on the CPU")
    if name == "cpu" or not available:
        return torch.device("cpu")
    if index is not None and index >= torch.cuda.device_count():
        raise UserError(
            f"There is no GPU number {index}, only {torch.cuda.device_count()}",
            "Lower torchrun's --nproc-per-node to the number of GPUs",
        )
    # Repeatable matrix products on CUDA need this before the first one. Source: torch's notes on reproducibility.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    return torch.device("cuda") if index is None else torch.device("cuda", index)


class GlobalBatchNorm(_BatchNorm):
    """Batch normalisation with the mean and variance of the whole batch, wherever its parts are.

    torch.nn.SyncBatchNorm does this on GPUs only. Weights and buffers carry the same names as BatchNorm1d's and 2d's.
    All parts must have the same size.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise (B, C, ...) float32."""
        if not self.training:
            return super().forward(x)
        x = x.float()  # half precision is not enough for means
        dims = [0, *range(2, x.dim())]
        shape = [1, -1, *[1] * (x.dim() - 2)]
        mean = _global_mean(x.mean(dims))
        centred = x - mean.view(shape)
        variance = _global_mean(centred.square().mean(dims))
        count = x.numel() // x.shape[1] * distributed.get_world_size()
        running: Any = self  # torch types the buffers as if they could be missing
        with torch.no_grad():
            running.num_batches_tracked += 1
            running.running_mean.lerp_(mean, self.momentum)
            running.running_var.lerp_(variance * (count / max(1, count - 1)), self.momentum)
        scale = self.weight * (variance + self.eps).rsqrt()
        normalised: torch.Tensor = centred * scale.view(shape) + self.bias.view(shape)
        return normalised

    def _check_input_dim(self, input: torch.Tensor) -> None:
        """Any number of dimensions will do."""


class _MeanOverProcesses(torch.autograd.Function):
    """Mean of a tensor over all processes; what flows back is averaged in the same way."""

    @staticmethod
    def forward(_context: Any, x: torch.Tensor) -> torch.Tensor:
        return _mean(x)

    @staticmethod
    def backward(_context: Any, gradient: torch.Tensor) -> torch.Tensor:
        return _mean(gradient)


def _global_mean(x: torch.Tensor) -> torch.Tensor:
    mean: torch.Tensor = _MeanOverProcesses.apply(x)  # type: ignore[no-untyped-call]
    return mean


def _mean(x: torch.Tensor) -> torch.Tensor:
    total = x.clone(memory_format=torch.contiguous_format)
    distributed.all_reduce(total)
    return total / distributed.get_world_size()


def use_global_statistics(network: nn.Module, workers: Workers) -> None:
    """Let the network use batch statistics of the whole batch: what N processes learn is what one would have learnt.

    Args:
        network: Its modules of batch normalisation are replaced.
        workers: With one, nothing is done.
    """
    if workers.count == 1:
        return
    if workers.device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
        return
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, _BatchNorm):
                globally = GlobalBatchNorm(child.num_features, eps=child.eps, momentum=child.momentum)
                globally.load_state_dict(child.state_dict())
                setattr(parent, name, globally)
