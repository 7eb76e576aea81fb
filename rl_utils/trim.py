"""Keep the good parts of recordings: new sessions from chosen samples, pictures copied as they are stored.

The originals stay as they were. Where samples were left out, the segment number grows, so that learning never joins
what was not played together.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from rl_utils import __version__, schema
from rl_utils.batch_file import BatchFile
from rl_utils.batch_pictures import JpegPictures, StoredPictures, damaged
from rl_utils.batch_reader import Batch
from rl_utils.batch_sample import BatchSpec, Row, encode
from rl_utils.controls import LAYOUT_VERSION, REST
from rl_utils.errors import UserError
from rl_utils.interfaces import PadEvent
from rl_utils.quality import AT_REST
from rl_utils.recordings import Recording
from rl_utils.session_folder import create_session_folder, lock_session, write_session
from rl_utils.timeline import Timeline

FLUSH_SAMPLES: Final = 500
OF_THE_WHOLE: Final = ("verdict", "dropped", "discarded", "bytes_written")
"""Entries of session.json that say nothing about a part; `playback.py --info` judges it anew."""

Mask = NDArray[np.bool_]
Span = tuple[float, float]

_SPAN = re.compile(r"(\d+(?:\.\d*)?)-(\d+(?:\.\d*)?)")


@dataclass(frozen=True)
class Trimmed:
    """What came of one recording.

    Attributes:
        folder: The new session, None when nothing was kept.
        kept: Samples in it.
        left_out: Samples that are not.
    """

    folder: Path | None
    kept: int
    left_out: int


def parse_span(text: str) -> Span:
    """Read "12.5-20" as seconds of play time.

    Raises:
        UserError: It is no such thing.
    """
    found = _SPAN.fullmatch(text)
    if found is None or float(found[1]) >= float(found[2]):
        raise UserError(f"{text} is not a stretch of time", "Write it as FROM-TO in seconds, like 12.5-20")
    return float(found[1]), float(found[2])


def choose(
    timeline: Timeline,
    inputs: NDArray[np.float32],
    *,
    start_s: float = 0.0,
    end_s: float | None = None,
    drop: Sequence[Span] = (),
    idle_s: float | None = None,
) -> Mask:
    """Which samples stay.

    Args:
        timeline: Of all recordings, in play time as playback shows it.
        inputs: (N, 19) float32, of all recordings.
        start_s: Leave out what is before.
        end_s: Leave out what is after; None keeps all.
        drop: Stretches to leave out.
        idle_s: Leave out what comes after so many seconds with every control at rest, until one is used; None keeps it.

    Returns:
        (N,) bool.

    Raises:
        UserError: A stretch begins after the end.
    """
    times = timeline.times_s
    late = [span for span in drop if span[0] >= timeline.duration_s]
    if late:
        begin, end = late[0]
        raise UserError(
            f"{begin:g}-{end:g} is after the end at {timeline.duration_s:.1f} s", "Name stretches before it"
        )
    keep: Mask = (times >= start_s) & (times < (np.inf if end_s is None else end_s))
    for begin, end in drop:
        keep &= (times < begin) | (times >= end)
    if idle_s is not None:
        used = (np.abs(inputs - REST) > AT_REST).any(axis=1) | timeline.breaks
        last_used = np.maximum.accumulate(np.where(used, times, -np.inf))
        keep &= times - last_used <= idle_s
    return keep


def trim(recording: Recording, keep: Mask, out: Path) -> Trimmed:
    """Write the samples that stay as a session of its own; the article's files become one, too.

    Args:
        recording: What to copy from.
        keep: (len(recording),) bool.
        out: Folder that receives the session folder.

    Raises:
        UserError: A picture is damaged, or the disk is full; then nothing is left behind in `out`.
    """
    kept = np.flatnonzero(keep)
    if not len(kept):
        return Trimmed(None, 0, len(recording))
    folder = create_session_folder(out)
    try:
        lock = lock_session(folder)
        try:
            _write(recording, kept, folder)
        finally:
            os.close(lock)
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        why = os.strerror(error.errno) if error.errno else str(error)
        raise UserError(
            f"The disk of {out} cannot take it ({why})", "Free some space, or choose another --out"
        ) from error
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return Trimmed(folder, len(kept), len(recording) - len(kept))


def _write(recording: Recording, kept: NDArray[np.int64], folder: Path) -> None:
    session: dict[str, Any] = {
        **recording.meta,
        "format_version": schema.FORMAT_VERSION,
        "tool_version": __version__,
        "layout_version": LAYOUT_VERSION,
        "id": folder.name,
        "pid": os.getpid(),
        "fps": recording.fps,
        "size": list(recording.size),
        "trimmed_from": recording.name,
        "trimmed_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "complete": False,
    }
    for entry in OF_THE_WHOLE:
        session.pop(entry, None)
    write_session(folder, session)
    segments = recording.segment[kept] + np.concatenate([[0], np.cumsum(np.diff(kept) > 1)])
    events = _events_of(recording)
    files = []
    for batch, start, stop in zip(recording.batches, recording.starts[:-1], recording.starts[1:], strict=True):
        chosen = (kept >= start) & (kept < stop)
        if not chosen.any():
            continue
        height, width = batch.attrs["original_shape"][:2]
        codec: schema.Codec = "jpeg" if isinstance(batch.pictures, JpegPictures) else "gzip"
        native = (int(width), int(height))
        file = BatchFile(
            folder / _file_name(batch), BatchSpec(recording.size, recording.fps, codec, native, recording.state_names)
        )
        try:
            for index, segment in zip(kept[chosen].tolist(), segments[chosen].tolist(), strict=True):
                file.append(_stored(batch, int(index - start)), _row(recording, index, segment), events(index))
                if file.samples % FLUSH_SAMPLES == 0:
                    file.flush()
            files.append(file.finish().name)
        finally:
            file.abandon()
    write_session(folder, session | {"samples": len(kept), "files": files, "complete": True})


def _file_name(batch: Batch) -> str:
    """Its own name, or one of the article's timestamp: files of a session stay in order."""
    if batch.path.name.endswith(schema.BATCH_SUFFIX):
        return batch.path.name
    return f"{int(batch.attrs['timestamp'])}{schema.BATCH_SUFFIX}"


def _stored(batch: Batch, index: int) -> bytes:
    """A picture as it lies in the file, or losslessly compressed where files of ours would hold it in another way."""
    if not isinstance(batch.pictures, StoredPictures):
        picture = np.empty((1, batch.size[1], batch.size[0], 3), np.uint8)
        batch.pictures.read(np.array([index]), picture, np.array([0]))
        return encode(picture[0], "gzip")
    stored = batch.pictures.encoded(index)
    if stored is None:
        raise damaged(batch.path, index, ValueError("damaged picture"))
    return stored


def _row(recording: Recording, index: int, segment: int) -> Row:
    return Row(
        inputs=recording.inputs[index],
        timestamps_ns=int(recording.timestamps_ns[index]),
        inputs_ns=int(recording.inputs_ns[index]),
        segment=segment,
        episode=int(recording.episode[index]),
        source=int(recording.source[index]),
        flags=int(recording.flags[index]),
        labels=recording.labels[index] if recording.has_labels else None,
        state=None if recording.state is None else recording.state[index],
    )


def _events_of(recording: Recording) -> Callable[[int], list[PadEvent]]:
    """A function from a sample to the raw events between the sample before it and itself."""
    owner = np.searchsorted(recording.timestamps_ns, recording.events["t_ns"], side="left")
    order = np.argsort(owner, kind="stable")
    bounds = np.searchsorted(owner[order], np.arange(len(recording) + 1))

    def events(index: int) -> list[PadEvent]:
        rows = recording.events[order[bounds[index] : bounds[index + 1]]]
        return [PadEvent(*(int(row[name]) for name in ("t_ns", "type", "code", "value"))) for row in rows]

    return events
