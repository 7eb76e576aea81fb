"""BatchWriter: the batch files of one sitting, one after the other. It can go back over what was written last."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from rl_utils import schema
from rl_utils.batch_file import BatchFile
from rl_utils.batch_sample import BatchSpec, Row, encode
from rl_utils.images import same_picture
from rl_utils.interfaces import Frame, Image, Inputs, PadEvent
from rl_utils.pad_state import newest_events


class BatchWriter:
    """Samples in, batch files out. For one thread only.

    Args:
        folder: The session's folder.
        spec: What all its files have in common.
        batch_size: Samples per file.
        first_episode: Added to every sample's episode.

    Attributes:
        files: Whole files, in order.
        samples: Samples in them and in the open one.
        safe_samples: Those that survive the end of this process.
        bytes_written: Size of the samples.
    """

    def __init__(self, folder: Path, spec: BatchSpec, *, batch_size: int, first_episode: int = 0) -> None:
        self.files: list[Path] = []
        self.samples = 0
        self.safe_samples = 0
        self.bytes_written = 0
        self._folder = folder
        self._spec = spec
        self._batch_size = batch_size
        self._first_episode = first_episode
        self._file: BatchFile | None = None
        self._events: list[PadEvent] = []
        self._newest: tuple[Image, bytes] | None = None
        # Of an earlier sitting in the same folder, too.
        self._last_name_ms = max(map(schema.batch_time_ms, folder.glob(schema.BATCH_GLOB)), default=0)

    def write(self, frame: Frame, inputs: Inputs, segment: int, flags: int, events: Sequence[PadEvent]) -> None:
        """Append a sample.

        Raises:
            OSError: The disk is full or gone.
        """
        encoded = self._encode(frame)
        if self._file is None:
            self._file = BatchFile(self._next_path(), self._spec)
        row = Row(
            inputs=inputs.values,
            timestamps_ns=frame.t_ns,
            inputs_ns=inputs.t_ns,
            segment=segment,
            episode=inputs.episode + self._first_episode,
            source=int(inputs.source),
            flags=flags,
            labels=inputs.labels,
            state=inputs.state,
        )
        self._file.append(encoded, row, [*self._events, *events])
        self._events = []
        self.samples += 1
        self.bytes_written += len(encoded) + schema.ROW_BYTES
        if self._file.samples >= self._batch_size:
            self.finish()

    def _encode(self, frame: Frame) -> bytes:
        """The stored picture; one that is shown again costs a comparison, a fiftieth of compressing it."""
        if frame.duplicate and self._newest is not None and same_picture(frame.image, self._newest[0]):
            return self._newest[1]
        encoded = encode(frame.image, self._spec.codec)
        self._newest = frame.image, encoded
        return encoded

    def go_back(self, samples: int) -> None:
        """Remove the samples that were written last, in this file and in those before it, on disk too.

        Args:
            samples: How many; not more than there are.

        Raises:
            OSError: The disk is full or gone.
        """
        assert samples <= self.samples
        if samples:
            self.bytes_written -= round(self.bytes_written * samples / self.samples)
        while samples:
            if self._file is None:
                self._file = BatchFile(self.files.pop(), self._spec, reopen=True)
            here = min(samples, self._file.samples)
            if here < self._file.samples:
                removed = self._file.cut(self._file.samples - here)
            else:
                removed = self._file.remove()
                self._file = None
            self._events = newest_events([*removed, *self._events])
            samples -= here
            self.samples -= here
        self.safe_samples = min(self.safe_samples, self.samples)

    def flush(self) -> None:
        """Bring everything to where it survives the end of this process.

        Raises:
            OSError: The disk is full or gone.
        """
        if self._file is not None:
            self._file.flush()
            self.safe_samples = self.samples

    def finish(self) -> None:
        """Make the open file whole.

        Raises:
            OSError: The disk is full or gone; the file is as of the last flush, and the next start recovers it.
        """
        file, self._file = self._file, None
        if file is not None:
            self.files.append(file.finish())
            self.safe_samples = self.samples

    def abandon(self) -> None:
        """Let go of the open file as the last flush left it."""
        if self._file is not None:
            self._file.abandon()

    def _next_path(self) -> Path:
        # The wall clock may step back; names must keep growing, because readers sort by them.
        self._last_name_ms = max(self._last_name_ms + 1, time.time_ns() // 1_000_000)
        return self._folder / f"{self._last_name_ms}{schema.BATCH_SUFFIX}"
