"""BatchSaver: samples go into a bounded queue, one background thread turns them into the batch files of a session.

The loop that records never waits for the disk. At most `FLUSH_S` (and what is still queued) is lost when the process is
killed; `recovery` brings back the rest at the next start.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from rl_utils import __version__, schema
from rl_utils.batch_sample import BatchSpec
from rl_utils.batch_writer import BatchWriter
from rl_utils.config import WindowSize
from rl_utils.controls import LAYOUT_VERSION
from rl_utils.errors import UserError
from rl_utils.interfaces import Flag, Frame, FrameInfo, Inputs, PadEvent, PadInfo
from rl_utils.resume import Resumable, boot_id
from rl_utils.session_folder import (
    create_session_folder,
    disk_error,
    free_bytes,
    full_error,
    lock_session,
    remove_if_empty,
    write_session,
)

FLUSH_S: Final = 0.5
"""How often everything is brought to disk; half of what may be lost, so that a busy machine keeps the promise too."""
GATHER_S: Final = 0.1
"""The writer looks for samples so often: to wake it for each one cost the recording loop a tenth of its CPU time."""
QUEUE_BYTES: Final = 100_000_000
"""Pictures that may wait for the disk: 257 of 480×270, eight seconds at 30 fps."""
RESERVE_BYTES: Final = 16_000_000
"""Recording stops while this much of the disk is still free."""
CLOSING_BYTES: Final = 2_000_000
"""Free space that closing a batch file may need; what is queued is written only above it."""
LOOK_BYTES: Final = 1_000_000
"""Free space is looked at again after so much was written."""
GAP_NS: Final = 1_000_000_000
"""Samples further apart never share a segment (recording format, version 1)."""
POLL_S: Final = 0.001
"""How often a source that is not real-time looks for room in the queue."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _GoBack:
    """In the queue: the last so many samples are not wanted."""

    samples: int


Item = tuple[Frame, Inputs, int, int, Sequence[PadEvent]] | _GoBack


class BatchSaver:
    """One session of recording. A context manager; leaving it closes the session.

    Counters for the status line, all cheap to read: `samples` that were accepted and not discarded, `safe_samples` of
    them that survive the end of this process, `dropped`, `discarded`, `bytes_written`, `queue_length`, `free_bytes`,
    `bytes_per_sample`, `gb_per_hour`; `files` that are whole. They are of this sitting.

    Args:
        out: Folder that receives the session folder; made where missing.
        fps: Target rate in Hz.
        size: (width, height) of every picture in px.
        frames: Where pictures come from.
        pad: Which pad inputs come from.
        codec: How pictures are stored.
        batch_size: Samples per batch file.
        block: Let `add` wait while the queue is full (sources that are not real-time) instead of dropping the sample.
        queue_bytes: Room for waiting pictures.
        reserve_bytes: Stop recording while this much of the disk is still free.
        session: Further entries of session.json.
        resume: Go on with this session instead of beginning a new one.

    Raises:
        UserError: The folder cannot be written, or the disk is nearly full already.
    """

    def __init__(
        self,
        out: Path,
        *,
        fps: float,
        size: WindowSize,
        frames: FrameInfo,
        pad: PadInfo,
        codec: schema.Codec = "gzip",
        batch_size: int = 5000,
        block: bool = False,
        queue_bytes: int = QUEUE_BYTES,
        reserve_bytes: int = RESERVE_BYTES,
        session: Mapping[str, Any] | None = None,
        resume: Resumable | None = None,
    ) -> None:
        self.samples = 0
        self.dropped = 0
        self.discarded = 0
        self._spec = BatchSpec(size, fps, codec, frames.native_size, pad.state_names)
        self._block = block
        self._reserve = reserve_bytes
        self._resumed = resume
        self._segment_offset = resume.next_segment if resume is not None else 0
        self._unsent_discard = 0
        self._after_drop = False
        self._kept_events: list[PadEvent] = []
        self._last_ns = 0
        self._last_segment = 0
        self._error: BaseException | None = None
        self._error_told = False
        self._closed = False
        self._out = out
        self.folder = create_session_folder(out) if resume is None else resume.folder
        self.free_bytes = free_bytes(self.folder)
        if self.free_bytes < reserve_bytes + CLOSING_BYTES:
            if resume is None:
                self.folder.rmdir()
            raise full_error(out, self.free_bytes)
        self._lock = _lock(self.folder)
        self._writer = BatchWriter(
            self.folder, self._spec, batch_size=batch_size, first_episode=resume.next_episode if resume else 0
        )
        self._session: dict[str, Any] = {
            "format_version": schema.FORMAT_VERSION,
            "tool_version": __version__,
            "layout_version": LAYOUT_VERSION,
            "id": self.folder.name,
            "started_utc": datetime.now(UTC).isoformat(timespec="seconds"),
            "boot_id": boot_id(),
            "fps": fps,
            "size": list(size),
            "codec": codec,
            "window": frames,
            "pad": pad,
            **(session or {}),
            **(resume.session if resume is not None else {}),
            "pid": os.getpid(),
            "complete": False,
        }
        try:
            write_session(self.folder, self._session)
        except OSError as error:
            os.close(self._lock)
            raise disk_error(self.folder, error) from error
        width, height = size
        self._places = max(8, queue_bytes // (width * height * 3))
        # Unbounded by itself, but an eighth of the cost of `Queue`; only one thread puts, so that `_put` can bound it.
        self._queue: queue.SimpleQueue[Item | None] = queue.SimpleQueue()
        self._wake = threading.Event()
        # Normal priority: a niced thread starves on a busy machine and then stalls the loop through the interpreter's
        # lock (facts of this project, storage A4). Daemon: a crash must not leave the process hanging; see `recovery`.
        self._thread = threading.Thread(target=self._work, name="batch-writer", daemon=True)
        self._thread.start()

    @property
    def safe_samples(self) -> int:
        """Samples that survive the end of this process."""
        return self._writer.safe_samples

    @property
    def bytes_written(self) -> int:
        """Size of what is written."""
        return self._writer.bytes_written

    @property
    def files(self) -> list[Path]:
        """Batch files that are whole."""
        return self._writer.files

    @property
    def queue_length(self) -> int:
        """Samples that wait for the disk."""
        return self._queue.qsize()

    @property
    def recorded_s(self) -> float:
        """Recorded time in `samples` at the target rate."""
        return self.samples / self._spec.fps

    @property
    def bytes_per_sample(self) -> float:
        """Mean size of a stored sample so far, 0 before the first."""
        return self.bytes_written / self._writer.samples if self._writer.samples else 0.0

    @property
    def gb_per_hour(self) -> float:
        """Disk space that an hour at the target rate takes at the present size of a sample."""
        return self.bytes_per_sample * self._spec.fps * 3600 / 1e9

    def add(
        self, frame: Frame, inputs: Inputs, *, segment: int, flags: int = 0, events: Sequence[PadEvent] = ()
    ) -> bool:
        """Queue one sample. Returns at once, unless the saver was made with `block`.

        Args:
            frame: Its image is (height, width, 3) of the session's size and must not change afterwards.
            inputs: The pad at the frame's time.
            segment: Grows whenever the sample does not continue the previous one.
            flags: Bits of `interfaces.Flag`.
            events: Raw pad events since the previous sample.

        Returns:
            False when the queue was full: the sample is dropped and counted, and the next one is flagged as late.

        Raises:
            UserError: The disk is full or gone; what was recorded before is safe.
        """
        assert not self._closed
        assert frame.image.shape[1::-1] == self._spec.size, (frame.image.shape, self._spec.size)
        self._raise_error()
        if self._after_drop:
            flags |= Flag.LATE
            events = [*self._kept_events, *events]
            if frame.t_ns - self._last_ns > GAP_NS and segment + self._segment_offset == self._last_segment:
                self._segment_offset += 1
        number = segment + self._segment_offset
        if not self._send_discard() or not self._put((frame, inputs, number, int(flags), events)):
            self.dropped += 1
            self._after_drop = True
            self._kept_events = list(events)
            return False
        self.samples += 1
        self._after_drop = False
        self._kept_events = []
        self._last_ns, self._last_segment = frame.t_ns, number
        return True

    def discard(self, samples: int) -> int:
        """Take back the samples that were added last. Returns at once; they leave the files within a moment.

        Args:
            samples: How many, at most those of this sitting. What is added next must belong to a new segment.

        Returns:
            How many there were to take back.

        Raises:
            UserError: The disk is full or gone.
        """
        self._raise_error()
        count = min(samples, self.samples)
        self.samples -= count
        self.discarded += count
        self._unsent_discard += count
        self._send_discard()
        return count

    def _send_discard(self) -> bool:
        """Tell the writer what was discarded; False while the queue is full."""
        if self._unsent_discard and not self._put(_GoBack(self._unsent_discard)):
            return False
        self._unsent_discard = 0
        return True

    def _put(self, item: Item) -> bool:
        while self._queue.qsize() >= self._places:
            if not self._block:
                return False
            self._raise_error()  # the writer may have died while we waited for it
            time.sleep(POLL_S)
        self._queue.put(item)
        if self._queue.qsize() > self._places // 2:
            self._wake.set()
        return True

    def _raise_error(self) -> None:
        if self._error is not None:
            self._error_told = True
            raise self._error

    def close(self, summary: Mapping[str, Any] | None = None) -> None:
        """Write what is queued, finish the batch file and session.json. May be called more than once.

        A session without a single sample leaves no folder behind.

        Args:
            summary: Further entries of session.json, such as the verdict.

        Raises:
            UserError: The disk is full or gone, and `add` has not said so already.
        """
        if self._closed:
            return
        self._closed = True
        self._queue.put(_GoBack(self._unsent_discard))
        self._queue.put(None)
        self._wake.set()
        self._thread.join()
        # Accepted, but the disk was full before their turn; none, where that was the end of discarded ones, too.
        missing = max(0, self.samples - self._writer.samples)
        self.dropped += missing
        self.samples -= missing
        try:
            self._close_session(summary or {})
        except OSError as error:
            self._error = self._error or disk_error(self.folder, error)
        finally:
            os.close(self._lock)
        if not self._error_told:
            self._raise_error()

    def _close_session(self, summary: Mapping[str, Any]) -> None:
        if remove_if_empty(self.folder):
            return
        before = self._resumed.session if self._resumed is not None else {}
        self._session.update(
            {
                "ended_utc": datetime.now(UTC).isoformat(timespec="seconds"),
                "samples": before.get("samples", 0) + self._writer.samples,
                "dropped": before.get("dropped", 0) + self.dropped,
                "discarded": before.get("discarded", 0) + self.discarded,
                "bytes_written": before.get("bytes_written", 0) + self.bytes_written,
                "files": [*before.get("files", []), *(path.name for path in self.files)],
                **summary,
                "complete": not any(self.folder.glob(schema.PART_GLOB)),
            }
        )
        write_session(self.folder, self._session)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            self.close()
        except UserError:
            if error is None:
                raise
            logger.exception("closing the recording after another error")

    # Below: the writer thread.

    def _work(self) -> None:
        try:
            self._write_queue()
            self._writer.finish()
        except OSError as error:
            self._error = disk_error(self.folder, error)
        except BaseException as error:  # noqa: BLE001  # raised again in the loop, by add() or close()
            self._error = error
        self._writer.abandon()  # an open file is as of the last flush; the next start recovers it

    def _next_item(self, patience_s: float) -> Item | None:
        """What waits to be written; raises `queue.Empty` where nothing has come by then.

        The first sample is not kept waiting: until it has a file, a kill leaves nothing of the session.
        """
        if self._block or not self._writer.samples:
            return self._queue.get(timeout=patience_s)
        if self._queue.empty():
            self._wake.wait(min(patience_s, GATHER_S))
            self._wake.clear()
        return self._queue.get_nowait()

    def _write_queue(self) -> None:
        next_flush = time.monotonic() + FLUSH_S
        looked_at: int | None = None
        while True:
            try:
                item = self._next_item(max(0.0, next_flush - time.monotonic()))
            except queue.Empty:
                pass
            else:
                if item is None:
                    return
                if isinstance(item, _GoBack):
                    self._writer.go_back(item.samples)
                    continue
                written = self.bytes_written
                if looked_at is None or self._error is not None or abs(written - looked_at) >= LOOK_BYTES:
                    self.free_bytes, looked_at = free_bytes(self.folder), written
                if self.free_bytes < (CLOSING_BYTES if self._error else self._reserve):
                    if self._error is not None:
                        return
                    self._error = full_error(self._out, self.free_bytes)
                self._writer.write(*item)
            if time.monotonic() >= next_flush:
                self._writer.flush()
                next_flush = time.monotonic() + FLUSH_S


def _lock(folder: Path) -> int:
    try:
        return lock_session(folder)
    except BlockingIOError as error:
        raise UserError(f"{folder} is being recorded by another process", "Stop it, or leave --resume away") from error
