"""Pictures at model size, ready for training: in memory as far as they fit, in a file beyond that.

Recorded pictures are decoded and shrunk once, by threads (every decoder releases the GIL), into one block of bytes; a
batch is then a gather of 14 kB rows. Worker processes and float32 on the host, as in the article's loader, cost 10 to
60 times as much (facts of this project, storage B). What does not fit into memory goes to a file in the run's folder
(`picture_file`), and is decoded when needed only where the disk is too small as well; but one picture of an article
file costs as much as 313 of them, so those never are decoded one by one.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from rl_utils.dataset import Indices
from rl_utils.errors import UserError
from rl_utils.picture_file import PictureFile
from rl_utils.preprocess import InputSpec, PreprocessSpec, shrink
from rl_utils.recordings import Recording
from rl_utils.state_input import StateStore

BLOCK: Final = 64
"""Pictures that a thread decodes at a time: small enough to show progress and to stop within a moment."""
MEMORY_SHARE: Final = 0.6
"""Of the memory that is free, how much the store may take whatever it was allowed."""

DISK_SHARE: Final = 0.5
"""Of the disk that is free, how much our own pictures may take; the article's take up to nine tenths."""

logger = logging.getLogger(__name__)


class FrameStore:
    """The pictures of several recordings, by one running index over all of them.

    Args:
        recordings: In the order of the running index.
        spec: What the network wants to see.
        cache_bytes: Memory for pictures held ready.
        spill: Folder for the file of what does not fit; made where it is missing.
        disk_bytes: Room in it, all processes together. The article's pictures take more where they must.
        sharers: Processes on this machine that hold a store each: they share the memory.
        threads: Threads that decode.

    Attributes:
        file: What does not fit into memory, None where all of it does.

    Raises:
        UserError: The article's pictures fit neither into memory nor on the disk.
    """

    def __init__(
        self,
        recordings: Sequence[Recording],
        spec: PreprocessSpec,
        *,
        cache_bytes: int,
        spill: Path,
        disk_bytes: int = 0,
        sharers: int = 1,
        threads: int | None = None,
    ) -> None:
        self.spec = spec
        self._recordings = recordings
        self._starts = np.concatenate([[0], np.cumsum([len(r) for r in recordings])])
        self._runs = _runs(spec)
        self._frame_bytes = spec.planes_per_picture * spec.width * spec.height
        self._slot: Indices = np.full(self._starts[-1], -1, np.int64)
        self._pool = ThreadPoolExecutor(threads or min(4, os.cpu_count() or 1), thread_name_prefix="decode")
        self._spill_folder = spill
        self._sharers = sharers
        memory = min(cache_bytes, round(MEMORY_SHARE * available_memory())) // sharers
        ready, spilled = self._plan(memory, disk_bytes)
        self._ready = np.empty((len(ready), spec.planes_per_picture, spec.height, spec.width), np.uint8)
        self.file = PictureFile(spill, len(spilled), spec) if len(spilled) else None
        self._to_load = np.concatenate([ready, spilled])
        self._slot[self._to_load] = np.arange(len(self._to_load))

    def __len__(self) -> int:
        return len(self._slot)

    @property
    def ready_share(self) -> float:
        """Share of the pictures that are held ready."""
        return len(self._to_load) / max(1, len(self))

    @property
    def ready_bytes(self) -> int:
        """Memory that it holds."""
        return self._ready.nbytes

    @property
    def file_bytes(self) -> int:
        """Room on the disk that it takes."""
        return (len(self._to_load) - len(self._ready)) * self._frame_bytes

    def _plan(self, cache_bytes: int, disk_bytes: int) -> tuple[Indices, Indices]:
        """Which pictures to hold in memory and which in the file: the article's first, as they are slow to decode."""
        room = cache_bytes // self._frame_bytes
        spans = [np.arange(a, b) for a, b in zip(self._starts[:-1], self._starts[1:], strict=True)]
        none = np.empty(0, np.int64)
        slow = np.concatenate([none, *(s for s, r in zip(spans, self._recordings, strict=True) if r.is_article)])
        fast = np.concatenate([none, *(s for s, r in zip(spans, self._recordings, strict=True) if not r.is_article)])
        order = np.concatenate([slow, fast])
        left = len(order) - room
        if left <= 0:
            return order, none
        self._spill_folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self._spill_folder).free // self._sharers
        must = max(0, len(slow) - room)
        if must * self._frame_bytes > 0.9 * free:
            raise UserError(
                f"The article's files need {must * self._frame_bytes / 1e9:.1f} GB more than --cache-gb at "
                f"{self.spec.width}x{self.spec.height}, and {self._spill_folder} has {free / 1e9:.1f} GB left",
                "Train on fewer files, choose an --out on a larger disk, or use --model motion, which needs a ninth",
            )
        may = min(disk_bytes // self._sharers, round(DISK_SHARE * free)) // self._frame_bytes
        spilled = order[room : room + max(must, min(left, may))]
        if len(spilled):
            size = len(spilled) * self._frame_bytes / 1e9
            logger.info("%.1f GB of pictures go to %s for the time of the run", size, self._spill_folder)
        return order[:room], spilled

    def load(self, on_progress: Callable[[int], None], stop: Callable[[], bool]) -> bool:
        """Decode what is to be held ready.

        Args:
            on_progress: Called with the number of pictures done.
            stop: Asked often; when true, loading ends early.

        Returns:
            Whether everything is ready.

        Raises:
            UserError: A picture is damaged.
        """
        blocks = [self._to_load[i : i + BLOCK] for i in range(0, len(self._to_load), BLOCK)]
        done = 0

        def load_block(indices: Indices) -> int:
            if not stop():
                for slot, planes in zip(self._slot[indices].tolist(), self._decode(indices), strict=True):
                    self._put(slot, planes)
            return len(indices)

        for count in self._pool.map(load_block, blocks):
            if stop():
                return False
            done += count
            on_progress(done)
        return True

    def _put(self, slot: int, planes: NDArray[np.uint8]) -> None:
        if slot < len(self._ready):
            self._ready[slot] = planes
        else:
            assert self.file is not None
            self.file.write(slot - len(self._ready), planes)

    def _decode(self, indices: Indices) -> list[NDArray[np.uint8]]:
        """`Planes` of pictures at model size, in the order of `indices`, whatever that is across recordings."""
        owners = np.searchsorted(self._starts, indices, side="right") - 1
        pictures: dict[int, NDArray[np.uint8]] = {}
        for owner in np.unique(owners).tolist():
            places = np.flatnonzero(owners == owner)
            frames = self._recordings[owner].read_frames(indices[places] - self._starts[owner])
            pictures.update(zip(places.tolist(), (shrink(frame, self.spec) for frame in frames), strict=True))
        return [pictures[place] for place in range(len(indices))]

    def stacks(self, indices: Indices, firsts: Indices) -> NDArray[np.uint8]:
        """What a network sees at some moments, exactly as `preprocess.History` would have shown it.

        Args:
            indices: (B,) running indices of the newest pictures.
            firsts: (B,) for each, the first picture that may be looked at: the beginning of its segment.

        Returns:
            (B, channels, height, width) uint8.
        """
        moments = np.stack([np.maximum(indices - offset, firsts) for offset, _ in self.spec.planes], axis=1)
        planes = np.array([plane for _, plane in self.spec.planes])
        slots = self._slot[moments]
        each = self.spec.planes_per_picture
        # One gather of whole planes; indexing pictures and planes separately takes fifteen times as long.
        held = self._ready.reshape(-1, *self._ready.shape[2:])
        in_memory = (slots >= 0) & (slots < len(self._ready))
        if in_memory.all():
            gathered: NDArray[np.uint8] = held[slots * each + planes]
            return gathered
        out = np.empty((*slots.shape, self.spec.height, self.spec.width), np.uint8)
        out[in_memory] = held[(slots * each + planes)[in_memory]]
        self._read(slots, out)
        missing = np.unique(moments[slots < 0])
        decoded = self._decode_many(missing)
        for row, channel in np.argwhere(slots < 0).tolist():
            picture = decoded[int(np.searchsorted(missing, moments[row, channel]))]
            out[row, channel] = picture[planes[channel]]
        return out

    def _read(self, slots: Indices, out: NDArray[np.uint8]) -> None:
        """Fill in what is in the file: (B, channels) places of pictures, (B, channels, height, width)."""
        if self.file is None:
            return
        first = len(self._ready)
        wanted = [
            (slot - first, plane, out[row, channel : channel + count])
            for channel, plane, count in self._runs
            for row, slot in enumerate(slots[:, channel].tolist())
            if slot >= first
        ]
        self.file.read_all(wanted, self._pool)

    def _decode_many(self, indices: Indices) -> list[NDArray[np.uint8]]:
        if not len(indices):
            return []
        parts = np.array_split(indices, min(len(indices), 2 * self._pool._max_workers))
        return [planes for part in self._pool.map(self._decode, parts) for planes in part]

    def close(self) -> None:
        """Free the memory and the file."""
        self._pool.shutdown(cancel_futures=True)
        self._ready = np.empty((0, 3, 1, 1), np.uint8)
        if self.file is not None:
            self.file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()


def _runs(spec: PreprocessSpec) -> list[tuple[int, int, int]]:
    """What of a stack lies together in a stored picture: (first channel, first plane, how many)."""
    runs: list[tuple[int, int, int]] = []
    before: tuple[int, int] | None = None
    for channel, (offset, plane) in enumerate(spec.planes):
        if before == (offset, plane - 1):
            first, start, count = runs[-1]
            runs[-1] = (first, start, count + 1)
        else:
            runs.append((channel, plane, 1))
        before = (offset, plane)
    return runs


class FrameStores:
    """Several stores as one, by one running index over all of them: what is recorded while a run goes on is added.

    They hold pictures, or states; all of them the same.

    A context manager; leaving it closes them all.

    Args:
        spec: What the network wants to see.
    """

    def __init__(self, spec: InputSpec) -> None:
        self.spec = spec
        self._stores: list[FrameStore | StateStore] = []
        self._starts = np.zeros(1, np.int64)

    def add(self, store: FrameStore | StateStore) -> None:
        """Put a loaded store behind the others."""
        self._stores.append(store)
        self._starts = np.append(self._starts, self._starts[-1] + len(store))

    @property
    def ready_bytes(self) -> int:
        """Memory that they hold."""
        return sum(store.ready_bytes for store in self._stores)

    @property
    def file_bytes(self) -> int:
        """Room on the disk that they take."""
        return sum(store.file_bytes for store in self._stores)

    def stacks(self, indices: Indices, firsts: Indices) -> NDArray[Any]:
        """As `FrameStore.stacks`, or `StateStore.stacks`."""
        owners = np.searchsorted(self._starts, indices, side="right") - 1
        present = np.unique(owners).tolist()
        if len(present) == 1:
            start = int(self._starts[present[0]])
            whole: NDArray[Any] = self._stores[present[0]].stacks(indices - start, firsts - start)
            return whole
        order = [np.flatnonzero(owners == owner) for owner in present]
        pieces = [
            self._stores[owner].stacks(indices[places] - self._starts[owner], firsts[places] - self._starts[owner])
            for owner, places in zip(present, order, strict=True)
        ]
        out = np.empty((len(indices), *pieces[0].shape[1:]), pieces[0].dtype)
        for places, piece in zip(order, pieces, strict=True):
            out[places] = piece
        return out

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: type[BaseException] | BaseException | TracebackType | None) -> None:
        for store in self._stores:
            store.close()


def available_memory() -> int:
    """Bytes that a program may take without others being swapped out. Source: MemAvailable, proc(5)."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
