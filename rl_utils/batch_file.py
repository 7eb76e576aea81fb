"""One batch file while it is being written: growing datasets, whole up to the last flush, final name only when whole.

It stores what `batch_sample` has made: h5py has one lock for all files of the process, and must never compress.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import re
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np

from rl_utils import schema
from rl_utils.batch_sample import BatchSpec, Row
from rl_utils.controls import LAYOUT_VERSION
from rl_utils.growing_dataset import GrowingDataset, chunks_after
from rl_utils.interfaces import PadEvent
from rl_utils.pad_state import newest_events
from rl_utils.session_folder import sync_folder

COLUMN_CHUNK_ROWS: Final = 256
JPEG_CHUNK_BYTES: Final = 1 << 17
AT_ONCE: Final = 64
"""So many pictures wait for a flush at most."""
SYNC_FILE_RANGE_WRITE: Final = 2
"""Source: linux/fs.h."""
CACHED_FLUSHES: Final = 8
"""What was flushed longer ago is on the disk and need not stay in memory: in 4 s the small columns begin new chunks."""


class BatchFile:
    """A batch file under its `.part` name.

    What was appended is on disk after the next `flush`; `finish` gives the file its final name.

    Args:
        final: Path under which the file will appear, `{unix ms}_batch.h5`.
        spec: What it holds.
        suffix: What is added to its name meanwhile.
        reopen: Go on with the whole file that is already there under its final name.

    Raises:
        OSError: It cannot be created or reopened.
    """

    def __init__(self, final: Path, spec: BatchSpec, *, suffix: str = schema.PART_SUFFIX, reopen: bool = False) -> None:
        self.final = final
        self.part = final.with_name(final.name + suffix)
        self.samples = 0
        self._spec = spec
        self._frame_shape = (spec.size[1], spec.size[0], 3)
        # Half of an empty file cannot be opened again: it has yet another name until it is whole.
        begun = self.part if reopen else self.part.with_name(self.part.name + schema.NEW_SUFFIX)
        if reopen:
            final.replace(self.part)
        # HDF5's own file lock fails on some network folders; the session folder's lock protects the file (recovery).
        self._file = h5py.File(begun, "r+" if reopen else "w", locking=False)
        self._descriptor = os.open(begun, os.O_RDONLY)
        self._rows: list[Row] = []
        self._events: list[PadEvent] = []
        self._pictures: list[bytes] = []
        self._jpeg_end = 0
        self._stored_rows = 0
        self._ends: deque[int] = deque([0])
        self._columns: dict[str, GrowingDataset] = {}
        if reopen:
            self._go_on()
        else:
            self._create()
            begun.replace(self.part)

    def _go_on(self) -> None:
        self._file.attrs["complete"] = False
        for name, dataset in self._file.items():
            if name == schema.FRAMES:
                self._frames = dataset
            else:
                self._columns[name] = GrowingDataset(dataset)
        self.samples = self._stored_rows = len(self._file[schema.INPUTS])
        self._jpeg_end = len(self._file[schema.JPEG]) if schema.JPEG in self._file else 0
        self._file.flush()

    def _create(self) -> None:
        width, height = self._spec.size
        native_width, native_height = self._spec.native_size
        original = (native_height, native_width, 3) if native_width else (height, width, 3)
        self._file.attrs.update(
            {
                # The article's four, which its own reader prints.
                "timestamp": int(self.final.name.partition("_")[0]),
                "original_shape": original,
                "grayscale": False,
                "target_size": (width, height),
                "format_version": schema.FORMAT_VERSION,
                "layout_version": LAYOUT_VERSION,
                "fps": float(self._spec.fps),
                "complete": False,
            }
        )
        if self._spec.codec == "gzip":
            self._frames = self._file.create_dataset(
                schema.FRAMES,
                shape=(0, *self._frame_shape),
                maxshape=(None, *self._frame_shape),
                chunks=(1, *self._frame_shape),
                dtype="u1",
                compression="gzip",
                compression_opts=schema.DEFLATE_LEVEL,
            )
        else:
            self._column(schema.JPEG, np.dtype("u1"), (), JPEG_CHUNK_BYTES)
            self._column(schema.JPEG_INDEX, np.dtype("<i8"), (2,))
        for name, (dtype, tail) in schema.COLUMNS.items():
            self._column(name, dtype, tail)
        self._file.flush()

    def _column(
        self, name: str, dtype: np.dtype[Any], tail: tuple[int, ...], chunk_rows: int = COLUMN_CHUNK_ROWS
    ) -> GrowingDataset:
        # Small columns stay uncompressed: a chunk then keeps its place in the file while it grows, flush after flush.
        shape, limit, chunks = (0, *tail), (None, *tail), (chunk_rows, *tail)
        dataset = self._file.create_dataset(name, shape=shape, maxshape=limit, chunks=chunks, dtype=dtype)
        self._columns[name] = GrowingDataset(dataset)
        return self._columns[name]

    def append(self, encoded: bytes, row: Row, events: Sequence[PadEvent] = ()) -> None:
        """Add one sample.

        Args:
            encoded: The picture as `encode` made it with this file's codec.
            row: The rest of the sample.
            events: Raw pad events since the previous sample.

        Raises:
            OSError: The disk is full or gone; samples before the last flush are unharmed.
        """
        self._pictures.append(encoded)
        if len(self._pictures) >= AT_ONCE and self._spec.codec == "gzip":
            with _as_os_error(self.part):
                self._store_chunks()
        self._rows.append(row)
        self._events += events
        self.samples += 1

    def flush(self) -> None:
        """Bring everything appended so far to where it survives the end of this process.

        Raises:
            OSError: The disk is full or gone.
        """
        with _as_os_error(self.part):
            self._store()
            self._file.flush()
        # The kernel would otherwise gather up to half a minute of pictures, and `finish` would wait for all of them.
        _libc().sync_file_range(self._descriptor, ctypes.c_int64(0), ctypes.c_int64(0), SYNC_FILE_RANGE_WRITE)
        self._forget()

    def _forget(self) -> None:
        """Free the memory behind what is on the disk by now: gigabytes an hour would push out the game's own files.

        It spares us the kernel's work for new memory, too: 0.14 to 0.07 ms a frame (measured, November 2026).
        """
        self._ends.append(os.fstat(self._descriptor).st_size)
        if len(self._ends) > CACHED_FLUSHES:
            start = self._ends.popleft()
            length = self._ends[0] - start
            if length > 0:  # else all that follows would be meant
                os.posix_fadvise(self._descriptor, start, length, os.POSIX_FADV_DONTNEED)

    def _store(self) -> None:
        if self._spec.codec == "gzip":
            self._store_chunks()
        else:
            self._store_jpegs()
        self._store_rows()
        self._store_events()

    def _store_chunks(self) -> None:
        """All at once: alone, each picture finds HDF5's code gone from the processor's cache."""
        if not self._pictures:
            return
        first = len(self._frames)
        # As `resize`, which first asks HDF5 for what we know.
        self._frames.id.set_extent((first + len(self._pictures), *self._frame_shape))
        for place, encoded in enumerate(self._pictures, start=first):
            self._frames.id.write_direct_chunk((place, 0, 0, 0), encoded)
            time.sleep(0)  # the loop that records may want the interpreter
        self._pictures = []

    def _store_jpegs(self) -> None:
        if not self._pictures:
            return
        lengths = np.array([len(jpeg) for jpeg in self._pictures], np.int64)
        ends = self._jpeg_end + np.cumsum(lengths)
        self._columns[schema.JPEG].extend(np.frombuffer(b"".join(self._pictures), np.uint8))
        self._columns[schema.JPEG_INDEX].extend(np.stack([ends - lengths, lengths], axis=1))
        self._jpeg_end = int(ends[-1])
        self._pictures = []

    def _store_rows(self) -> None:
        rows = self._rows
        if not rows:
            return
        for name, (dtype, _) in schema.COLUMNS.items():
            self._columns[name].extend(np.array([getattr(row, name) for row in rows], dtype))
        if schema.LABELS in self._columns or any(row.labels is not None for row in rows):
            self._store_labels(rows)
        if schema.STATE in self._columns or any(row.state is not None for row in rows):
            self._store_state(rows)
        self._stored_rows += len(rows)
        self._rows = []

    def _store_labels(self, rows: list[Row]) -> None:
        if schema.LABELS not in self._columns:
            earlier = self._columns[schema.INPUTS].dataset[: self._stored_rows]
            self._column(schema.LABELS, *schema.COLUMNS[schema.INPUTS]).extend(earlier)
        values = [row.inputs if row.labels is None else row.labels for row in rows]
        self._columns[schema.LABELS].extend(np.array(values, np.float32))

    def _store_state(self, rows: list[Row]) -> None:
        if schema.STATE not in self._columns:
            length = next(len(row.state) for row in rows if row.state is not None)
            state = self._column(schema.STATE, np.dtype("<f4"), (length,))
            state.extend(np.full((self._stored_rows, length), np.nan, np.float32))
            state.dataset.attrs["names"] = list(self._spec.state_names)
        state = self._columns[schema.STATE]
        unknown = np.full(state.dataset.shape[1], np.nan, np.float32)
        state.extend(np.array([unknown if row.state is None else row.state for row in rows], np.float32))

    def _store_events(self) -> None:
        if not self._events:
            return
        if schema.EVENTS not in self._columns:
            self._column(schema.EVENTS, schema.EVENT_DTYPE, ())
        packed = np.array([(e.t_ns, e.type, e.code, e.value) for e in self._events], schema.EVENT_DTYPE)
        self._columns[schema.EVENTS].extend(packed)
        self._events = []

    def cut(self, samples: int) -> list[PadEvent]:
        """Keep the first samples only, on disk too when this returns.

        Args:
            samples: How many; at least one of those that are there.

        Returns:
            The newest of the removed events of every control: what the pad's state was when the cut was made.

        Raises:
            OSError: The disk is full or gone.
        """
        assert 0 < samples <= self.samples
        with _as_os_error(self.part):
            self._store()
            removed = self._cut_events(int(self._columns["timestamps_ns"].dataset[samples - 1]))
            if self._spec.codec == "gzip":
                given_up = chunks_after(self._frames, samples)
                self._frames.resize(samples, axis=0)
            else:
                self._jpeg_end = int(self._columns[schema.JPEG_INDEX].dataset[samples - 1].sum())
                given_up = self._columns[schema.JPEG].cut(self._jpeg_end)
            for name, column in self._columns.items():
                if name not in (schema.JPEG, schema.EVENTS):
                    column.cut(samples)
            # Before anything else is written: it may take the place of what was removed, and a file that was last
            # flushed before the cut would show the new pictures as the removed ones.
            self._file.flush()
        self._blank(given_up)
        self.samples = self._stored_rows = samples
        return removed

    def _blank(self, places: list[tuple[int, int]]) -> None:
        """Overwrite what is not part of the file any more: nobody shall find discarded pictures with other tools."""
        writable = os.open(self.part, os.O_WRONLY)
        try:
            for offset, length in places:
                os.pwrite(writable, bytes(length), offset)
        finally:
            os.close(writable)

    def _cut_events(self, last_ns: int) -> list[PadEvent]:
        """Remove the events after `last_ns`, and return the newest of every control among them."""
        if schema.EVENTS not in self._columns:
            return []
        column = self._columns[schema.EVENTS]
        stored = column.dataset[:]
        kept = int(np.count_nonzero(stored["t_ns"] <= last_ns))
        column.cut(kept)
        return newest_events([PadEvent(*event) for event in stored[kept:].tolist()])

    def remove(self) -> list[PadEvent]:
        """Delete the file with all its samples.

        Returns:
            As `cut`.

        Raises:
            OSError: The disk is full or gone.
        """
        with _as_os_error(self.part):
            self._store_events()
            stored = self._columns[schema.EVENTS].dataset[:].tolist() if schema.EVENTS in self._columns else []
        self.abandon()
        self.part.unlink()
        sync_folder(self.part.parent)
        return newest_events([PadEvent(*event) for event in stored])

    def finish(self, **attributes: Any) -> Path:
        """Store the rest, close the file, and give it its final name once it is safely on disk.

        Args:
            attributes: Further attributes of the file.

        Raises:
            OSError: The disk is full or gone; the file keeps its `.part` name and can be recovered.
        """
        try:
            with _as_os_error(self.part):
                self.flush()
                self._file.attrs.update({**attributes, "complete": True})
                self._file.close()
            os.fsync(self._descriptor)
        finally:
            self.abandon()
        self.part.replace(self.final)
        sync_folder(self.final.parent)
        return self.final

    def abandon(self) -> None:
        """Let go of the file as the last flush left it, under its `.part` name."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        if not self._file:
            return
        # HDF5 writes what it still holds when it closes a file; on a full disk only some of that would arrive, and the
        # file would no longer fit together. It goes nowhere instead.
        nowhere = os.memfd_create("abandoned")
        os.dup2(nowhere, self._file.id.get_vfd_handle())
        os.close(nowhere)
        with contextlib.suppress(RuntimeError):  # a limit on the size of files holds for nowhere, too
            self._file.close()


@contextlib.contextmanager
def _as_os_error(path: Path) -> Iterator[None]:
    """HDF5 reports a failed write at flush and close as RuntimeError, with the errno only in its text."""
    try:
        yield
    except RuntimeError as error:
        match = re.search(r"errno = (\d+)", str(error))
        if match is None:
            raise
        raise OSError(int(match[1]), os.strerror(int(match[1])), str(path)) from error


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)
