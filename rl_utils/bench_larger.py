"""How fast training goes from recordings that are larger than the memory it may take, beside the model alone.

All contestants take turns of a few steps, so that whatever else the machine does meets them alike. The pictures have
been decoded before, as in every run: this is the speed of the second pass and of all after it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import torch

from rl_utils.batches import PREFETCH, Augmentation, Batch, Batches
from rl_utils.dataset import Samples, make_samples
from rl_utils.frame_store import FrameStore
from rl_utils.losses import BalancedLoss
from rl_utils.model import build_network, default_arguments
from rl_utils.optimisation import repeatable
from rl_utils.preprocess import motion_spec, to_tensor
from rl_utils.recordings import Recording, open_recordings

BATCH: Final = 64
HELD: Final = 0.1
"""Share of the pictures that memory may hold."""


@dataclass
class _Contestant:
    name: str
    batches: Iterator[Batch]
    memory_mb: float
    disk_mb: float = 0.0
    before_step: Callable[[], None] = lambda: None
    seconds: list[float] = field(default_factory=list)
    waited: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)


def larger_than_memory(session: Path, seconds: float) -> list[dict[str, object]]:
    """Measure MotionNet's training steps on one CPU thread, fed in several ways.

    Args:
        session: A recording; it is learnt from many times over, as if it were as many recordings.
        seconds: Length of each measurement; how much is recorded follows from it.

    Returns:
        Rows: loader; cpu_ms per sample and samples_per_s, both with the training step; share_of_model, the speed beside
        the model's alone, median of the turns; waits_percent, the part of its time that training waits for pictures;
        memory_mb and disk_mb of pictures, with the batches made ahead.
    """
    recordings = open_recordings([session]) * int(np.clip(4 * seconds, 2, 30))
    samples = make_samples(recordings, val_share=0.1, val_gap_s=0.5, action_shift_ms=0, seed=0)
    measured = 8 if seconds >= 1 else 2
    with ExitStack() as stack:
        stack.enter_context(repeatable(deterministic=True, threads=1))
        contestants = _contestants(stack, recordings, samples, session)
        step = _stepper(samples)
        end = time.perf_counter() + len(contestants) * seconds
        while time.perf_counter() < end or not contestants[0].seconds:
            for contestant in contestants:
                _take_turn(contestant, step, measured)
        for contestant in contestants:
            close = getattr(contestant.batches, "close", None)
            if close is not None:
                close()
    return [_row(contestant, contestants[0], measured * BATCH) for contestant in contestants]


def _contestants(stack: ExitStack, recordings: list[Recording], samples: Samples, folder: Path) -> list[_Contestant]:
    spec = motion_spec(samples.fps)
    total = len(samples.targets) * spec.planes_per_picture * spec.width * spec.height
    ahead = (PREFETCH + 2) * BATCH * spec.channels * spec.width * spec.height
    how = Augmentation(mirror=0.5, shift_px=2)

    def fed_by(store: FrameStore) -> Iterator[Batch]:
        batches = Batches(store, samples, augmentation=how, seed=0)
        epoch = 0
        while True:
            epoch += 1
            yield from batches.shuffled(epoch, BATCH)

    def store(memory: float, disk: float) -> FrameStore:
        opened = stack.enter_context(
            FrameStore(
                recordings, spec, cache_bytes=round(memory * total), spill=folder, disk_bytes=round(disk * total)
            )
        )
        opened.load(lambda _: None, lambda: False)
        return opened

    whole, part, short = store(1.0, 0.0), store(HELD, 1.0), store(HELD, 0.0)
    assert part.file is not None
    one = next(fed_by(whole))
    held, on_disk = f"{HELD:.0%} held ready", (1 - HELD) * total / 1e6
    few = (part.ready_bytes + ahead) / 1e6

    def repeated() -> Iterator[Batch]:
        while True:
            yield one

    return [
        _Contestant("training, the model alone", repeated(), ahead / 1e6),
        _Contestant("training, all held ready", fed_by(whole), (total + ahead) / 1e6),
        _Contestant(f"training, {held}, the rest in the file", fed_by(part), few, on_disk),
        _Contestant(
            f"training, {held}, the rest in the file, dropped from memory at each step",
            fed_by(part), few, on_disk, part.file.forget,
        ),
        _Contestant(f"training, {held}, the rest decoded when needed", fed_by(short), few),
    ]  # fmt: skip


def _stepper(samples: Samples) -> Callable[[Batch], None]:
    spec = motion_spec(samples.fps)
    network = build_network("motion", default_arguments("motion", spec))
    loss = BalancedLoss(samples.targets)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4, fused=True)

    def step(batch: Batch) -> None:
        optimiser.zero_grad(set_to_none=True)
        outputs = network(to_tensor(batch.stacks, spec))
        loss(outputs, torch.from_numpy(batch.targets)).total.backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    return step


def _take_turn(contestant: _Contestant, step: Callable[[Batch], None], measured: int) -> None:
    """Some steps with what was made ahead while others had their turn, then those that count."""
    seconds = waited = cpu = 0.0
    for number in range(-PREFETCH - 1, measured):
        contestant.before_step()
        began, cpu_began = time.perf_counter(), time.process_time()
        batch = next(contestant.batches)
        came = time.perf_counter()
        step(batch)
        if number >= 0:
            waited += came - began
            seconds += time.perf_counter() - began
            cpu += time.process_time() - cpu_began
    contestant.seconds.append(seconds)
    contestant.waited.append(waited)
    contestant.cpu_s.append(cpu)


def _row(contestant: _Contestant, alone: _Contestant, samples: int) -> dict[str, object]:
    ratios = np.array(alone.seconds) / np.array(contestant.seconds)
    return {
        "loader": contestant.name,
        "cpu_ms": 1e3 * float(np.median(contestant.cpu_s)) / samples,
        "samples_per_s": samples / float(np.median(contestant.seconds)),
        "share_of_model": float(np.median(ratios)),
        "waits_percent": 100 * sum(contestant.waited) / sum(contestant.seconds),
        "memory_mb": contestant.memory_mb,
        "disk_mb": contestant.disk_mb,
    }
