"""A file that TensorBoard reads, written at once, so that a full disk is known on the line that met it.

TensorBoard's own writer is a thread: it ends with a traceback of its own, and whoever adds the next point gets a bare
OSError. What stands in the file is the same.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from rl_utils.checkpoint import not_written


class EventFile:
    """One more file of events in a folder.

    Args:
        folder: Of the events; made where it is missing.
        step: Where a resumed run goes on; what other files hold beyond it is hidden. 0: nothing is.

    Raises:
        UserError: It cannot be written.
    """

    def __init__(self, folder: Path, *, step: int = 0) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event = Event
        # TensorBoard reads files in the order of their names.
        self._path = folder / f"events.out.tfevents.{time.time():.6f}.{os.getpid()}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("xb")
        except OSError as error:
            raise not_written(self._path, error) from error
        self._records = RecordWriter(self._file)
        self._write(Event(wall_time=time.time(), file_version="brain.Event:2"))
        if step:
            session = SessionLog(status=SessionLog.START)
            self._write(Event(wall_time=time.time(), step=step, session_log=session))

    def add(self, summary: Any, step: int) -> None:
        """Write what a function of `torch.utils.tensorboard.summary` made.

        Raises:
            UserError: It cannot be written.
        """
        self._write(self._event(wall_time=time.time(), step=step, summary=summary))

    def _write(self, event: Any) -> None:
        try:
            self._records.write(event.SerializeToString())
            self._file.flush()
        except OSError as error:
            with suppress(OSError):
                self._file.close()  # it tries once more to write the rest, and fails
            raise not_written(self._path, error) from error

    def close(self) -> None:
        """End the file; everything is in it already. May be called more than once."""
        self._file.close()
