"""What writing costs: our writer and the article's recipe beside an empty loop, in the same run on the same pictures.

Files are written throughout, so that the loop's lateness is that of play, not of a quiet disk.
"""

from __future__ import annotations

import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final

import h5py
import numpy as np

from rl_utils.controls import REST
from rl_utils.data_batcher import BatchSaver
from rl_utils.interfaces import Frame, FrameInfo, Image, Inputs, PadInfo
from rl_utils.pacing import Pacer
from rl_utils.schema import Codec

RATE_HZ: Final = 60.0
SIZE: Final = (480, 270)
PICTURES: Final = 240
FILES: Final = 4
"""Batch files that each measurement writes; their ends are where a writer may stall the loop."""
ARTICLE_CHUNK: Final = (313, 17, 30, 1)
"""What h5py chooses for the article's 5000 frames of this size, which would take 4 GB of memory here. Source: facts of
this project (storage A1), h5py 3.16."""

Row = dict[str, object]


class Recipe(ABC):
    """A way to get samples onto the disk."""

    name: str

    @abstractmethod
    def add(self, frame: Frame, inputs: Inputs) -> None:
        """Take one sample, inside the loop."""

    @abstractmethod
    def close(self) -> None:
        """Wait until everything is written."""

    dropped = 0


class Nothing(Recipe):
    """The empty loop."""

    name = "empty loop"

    def add(self, frame: Frame, inputs: Inputs) -> None:
        """Forget it."""

    def close(self) -> None:
        """Nothing is held."""


class Ours(Recipe):
    """BatchSaver."""

    def __init__(self, folder: Path, codec: Codec, batch_size: int) -> None:
        self.name = f"ours, {codec}"
        info, pad = FrameInfo("bench"), PadInfo("bench")
        self._saver = BatchSaver(
            folder, fps=RATE_HZ, size=SIZE, frames=info, pad=pad, codec=codec, batch_size=batch_size
        )

    def add(self, frame: Frame, inputs: Inputs) -> None:
        """Queue it."""
        self._saver.add(frame, inputs, segment=0)

    def close(self) -> None:
        """Finish the session."""
        self._saver.close()
        self.dropped = self._saver.dropped


class Article(Recipe):
    """The article's recipe: a list of frames in memory, written by an executor's thread with h5py's gzip 1."""

    name = "article"

    def __init__(self, folder: Path, batch_size: int) -> None:
        self._folder = folder
        self._batch_size = batch_size
        self._frames: list[Image] = []
        self._inputs: list[np.ndarray] = []
        self._executor = ThreadPoolExecutor(max_workers=1)
        self._saves: list[Future[None]] = []

    def add(self, frame: Frame, inputs: Inputs) -> None:
        """Append it; hand a full list over."""
        self._frames.append(frame.image)
        self._inputs.append(inputs.values)
        if len(self._frames) >= self._batch_size:
            self._submit()

    def _submit(self) -> None:
        frames, inputs = self._frames.copy(), self._inputs.copy()
        self._frames.clear()
        self._inputs.clear()
        path = self._folder / f"{len(self._saves)}_batch.h5"
        self._saves.append(self._executor.submit(self._save, path, frames, inputs))

    @staticmethod
    def _save(path: Path, frames: list[Image], inputs: list[np.ndarray]) -> None:
        chunks = (min(ARTICLE_CHUNK[0], len(frames)), *ARTICLE_CHUNK[1:])
        with h5py.File(path, "w") as file:
            file.create_dataset("frames", data=np.array(frames), chunks=chunks, compression="gzip", compression_opts=1)
            file.create_dataset("inputs", data=np.array(inputs), compression="gzip", compression_opts=1)

    def close(self) -> None:
        """Wait for the thread."""
        if self._frames:
            self._submit()
        self._executor.shutdown(wait=True)
        for save in self._saves:
            save.result()


def bench_write(seconds: float) -> list[Row]:
    """Measure writing at 480×270 and 60 Hz.

    Args:
        seconds: Length of each loop.

    Returns:
        One row per recipe: process CPU (all threads) per frame beyond the empty loop's in ms, the loop's lateness in
        ms, how long it went on writing after the loop, and what it puts on the disk.
    """
    pictures, kind = _pictures()
    count = max(FILES, round(seconds * RATE_HZ))
    batch_size = -(-count // FILES)
    rows: list[Row] = []
    empty_ms = 0.0
    for make in (
        lambda _: Nothing(),
        lambda folder: Ours(folder, "gzip", batch_size),
        lambda folder: Ours(folder, "jpeg", batch_size),
        lambda folder: Article(folder, batch_size),
    ):
        with tempfile.TemporaryDirectory() as name:
            row, cpu_ms = _measure(make(Path(name)), Path(name), pictures, count)
        empty_ms = cpu_ms if not rows else empty_ms
        rows.append({**row, "cpu_ms_per_frame": round(cpu_ms - empty_ms, 2) if rows else 0.0, "pictures": kind})
    return rows


def _measure(recipe: Recipe, folder: Path, pictures: Sequence[Image], count: int) -> tuple[Row, float]:
    late_ms = np.empty(count)
    missed = 0
    inputs = Inputs(REST.copy())
    cpu_began = time.process_time()
    pacer = Pacer(RATE_HZ)
    for i in range(count):
        tick = pacer.wait()
        late_ms[i] = tick.late_ns / 1e6
        missed += tick.missed
        recipe.add(Frame(pictures[i % len(pictures)], time.monotonic_ns()), inputs)
    loop_ended = time.monotonic()
    recipe.close()
    backlog_s = time.monotonic() - loop_ended
    cpu_ms = (time.process_time() - cpu_began) * 1000 / count
    stored = sum(path.stat().st_size for path in folder.rglob("*.h5")) / count
    row: Row = {
        "recipe": recipe.name,
        "late_p50_ms": round(float(np.percentile(late_ms, 50)), 3),
        "late_p99_ms": round(float(np.percentile(late_ms, 99)), 3),
        "late_max_ms": round(float(late_ms.max()), 3),
        "missed": missed,
        "dropped": recipe.dropped,
        "backlog_s": round(backlog_s, 2),
        "bytes_per_frame": round(stored),
        "gb_per_hour_at_30_fps": round(stored * 30 * 3600 / 1e9, 2),
    }
    return row, cpu_ms


def _pictures() -> tuple[list[Image], str]:
    """Pictures that compress as a game's do: the practice arena's, or a made-up scene where it is not installed."""
    try:
        from rl_utils.arena.direct import DirectArena

        with DirectArena(seed=1) as arena:
            frames = [arena.read() for _ in range(PICTURES)]
    except ImportError:
        return [_scene(i) for i in range(PICTURES)], "made up"
    return [frame.image for frame in frames if frame is not None], "arena"


def _scene(index: int) -> Image:
    """A moving pattern with edges, gradients and a little noise. (270, 480, 3) uint8 RGB."""
    width, height = SIZE
    x, y = np.meshgrid(np.arange(width) + 3 * index, np.arange(height) + index)
    field = (x // 40 + y // 30) % 2 * 40 + 90 + 60 * np.sin(x / 50) * np.cos(y / 35)
    noise = np.random.default_rng(index).normal(0, 2, (height, width, 3))
    shades = np.stack([field * 0.6, field, field * 0.5], axis=2)
    return np.clip(shades + noise, 0, 255).astype(np.uint8)
