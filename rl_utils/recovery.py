"""Bring back what a killed recorder left behind: each `.part` file becomes a whole batch file.

The orphan stays until its recovery is whole and has been read back. Files of a recorder that is still running are left
alone: it holds its session folder's lock, and the kernel releases that lock however the recorder ends.
"""

from __future__ import annotations

import logging
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import NDArray

from rl_utils import schema
from rl_utils.batch_file import BatchFile
from rl_utils.batch_pictures import StoredPictures, deflated_pictures, jpeg_pictures
from rl_utils.batch_reader import read_batch
from rl_utils.batch_sample import BatchSpec, Row
from rl_utils.console import log
from rl_utils.errors import UserError
from rl_utils.interfaces import PadEvent
from rl_utils.session_folder import lock_session, read_session, remove_if_empty, write_session

RECOVERING_SUFFIX: Final = ".recovering"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recovered:
    """What became of an orphan.

    Attributes:
        file: The whole batch file.
        samples: How many it holds.
        lost: Samples that were begun but not whole.
    """

    file: Path
    samples: int
    lost: int


def recover_and_say(folder: Path) -> None:
    """`recover_orphans` where somebody begins to record, with a line for each recovered file."""
    if folder.is_dir():
        for recovered in recover_orphans(folder):
            log(f"Recovered {recovered.file} ({recovered.samples} frames), left by a recording that was killed.")


def recover_orphans(folder: Path) -> list[Recovered]:
    """Turn the `.part` files of killed recorders anywhere below `folder` into batch files.

    An orphan that cannot be recovered stays where it is, with a warning that says why and what to do.

    Args:
        folder: A session folder, or the folder that holds them; may be missing.

    Returns:
        One entry for each recovered file. Orphans without a single whole sample, and sessions that had not begun their
        first file, are removed and not among them.
    """
    recovered = []
    left = [path for glob in (schema.PART_GLOB, schema.NEW_GLOB) for path in folder.rglob(glob)]
    left += (path for path in folder.rglob(schema.SESSION_FILE) if _had_only_begun(path.parent))
    for session in sorted({path.parent for path in left}):
        try:
            lock = lock_session(session)
        except BlockingIOError:
            logger.info("%s is being recorded", session)
            continue
        try:
            recovered += _recover_session(session)
        except OSError as error:
            logger.warning(
                "%s could not be recovered (%s); it is kept. Free some space or make the folder writable, then start"
                " again",
                session,
                error.strerror or error,
            )
        finally:
            os.close(lock)
    return recovered


def _had_only_begun(session: Path) -> bool:
    """Whether a recorder has made this folder, but no file in it yet: it still will, or it was killed."""
    if [path.name for path in session.iterdir()] != [schema.SESSION_FILE]:
        return False
    try:
        return read_session(session).get("complete") is False
    except (OSError, ValueError):
        return False


def _recover_session(session: Path) -> list[Recovered]:
    recovered = []
    for new in session.glob(schema.NEW_GLOB):
        new.unlink()
    for part in sorted(session.glob(schema.PART_GLOB)):
        final = part.with_name(part.name.removesuffix(schema.PART_SUFFIX))
        if _is_whole(final):  # an earlier recovery was killed between its last two steps
            part.unlink()
            continue
        try:
            done = _recover(part, final)
        except _UnreadableError as error:
            logger.warning("%s cannot be recovered (%s). Remove it when you do not need it", part, error)
            continue
        part.unlink()
        if done is not None:
            recovered.append(done)
    if not remove_if_empty(session):
        _note_recovery(session)
    return recovered


def _is_whole(final: Path) -> bool:
    try:
        read_batch(final)
    except UserError:
        return False
    return True


def _note_recovery(session: Path) -> None:
    """Bring session.json, which the recorder did not live to finish, up to date."""
    files = sorted(session.glob(schema.BATCH_GLOB))
    whole = not any(session.glob(schema.PART_GLOB))
    try:
        meta = read_session(session)
        samples = sum(len(read_batch(file)) for file in files)
    except (ValueError, UserError) as error:
        logger.warning("%s is left as it is (%s)", session / schema.SESSION_FILE, error)
        return
    names = [file.name for file in files]
    write_session(session, {**meta, "samples": samples, "files": names, "recovered": True, "complete": whole})


class _UnreadableError(Exception):
    """Nothing can be made of an orphan."""


def _recover(part: Path, final: Path) -> Recovered | None:
    """Write what is whole in `part` to `final`; None when there is nothing."""
    try:
        with _open_tolerantly(part) as source:
            rows, pictures, events = _read_orphan(part, source)
            spec = _spec(source, pictures.size)
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk, not the file
        raise _UnreadableError(str(error)) from error
    target: BatchFile | None = None
    segments_added, gap = 0, False
    try:
        for index, row in enumerate(rows):
            encoded = pictures.encoded(index)
            if encoded is None:  # learning must not join the samples on both sides of a hole
                gap = True
                continue
            if target is None:
                target = BatchFile(final, spec, suffix=RECOVERING_SUFFIX)
            segments_added += gap
            gap = False
            target.append(encoded, _shifted(row, segments_added), events)
            events = []
        if target is None:
            return None
        target.finish(recovered=True)
    except OSError:
        if target is not None:
            target.abandon()
            target.part.unlink(missing_ok=True)
        raise
    try:
        read_batch(final)
    except UserError as error:
        raise _UnreadableError(error.problem) from error
    return Recovered(final, target.samples, len(rows) - target.samples)


def _open_tolerantly(part: Path) -> h5py.File:
    try:
        return h5py.File(part, "r", locking=False)
    except OSError as error:
        # The superblock promises more than was written when the end came. Zeros there harm nothing: what they fill is
        # checked picture by picture.
        promised = re.search(r"stored_eof = (\d+)", str(error))
        if promised is None:
            raise
    os.truncate(part, int(promised[1]))
    return h5py.File(part, "r", locking=False)


def _spec(source: h5py.File, size: tuple[int, int]) -> BatchSpec:
    height, width = source.attrs["original_shape"][:2].tolist()
    names = source[schema.STATE].attrs.get("names", ()) if schema.STATE in source else ()
    return BatchSpec(
        size=size,
        fps=float(source.attrs["fps"]),
        codec="jpeg" if schema.JPEG in source else "gzip",
        native_size=(width, height),
        state_names=tuple(str(name) for name in names),
    )


def _read_orphan(part: Path, source: h5py.File) -> tuple[list[Row], StoredPictures, list[PadEvent]]:
    """Everything up to the last sample of which all columns are there."""
    if source.attrs["format_version"] != schema.FORMAT_VERSION:
        raise ValueError(f"recording format {source.attrs['format_version']}")
    columns: dict[str, NDArray[Any]] = {name: source[name][:] for name in schema.COLUMNS}
    optional = {name: source[name][:] for name in (schema.LABELS, schema.STATE) if name in source}
    pictured = source[schema.JPEG_INDEX if schema.JPEG in source else schema.FRAMES].shape[0]
    count = min(pictured, *(len(values) for values in columns.values()))
    times = columns["timestamps_ns"][:count]
    backwards = np.flatnonzero(np.diff(times) < 0)  # rows that were counted but not yet written read as zeros
    count = int(backwards[0]) + 1 if len(backwards) else count
    pictures = _pictures(part, source, count)
    rows = [
        Row(
            **{name: _cell(values[index]) for name, values in columns.items()},
            **{name: values[index] for name, values in optional.items() if index < len(values)},
        )
        for index in range(count)
    ]
    events = [PadEvent(*event) for event in source[schema.EVENTS][:].tolist()] if schema.EVENTS in source else []
    return rows, pictures, events


def _pictures(part: Path, source: h5py.File, count: int) -> StoredPictures:
    if schema.JPEG in source:
        width, height = source.attrs["target_size"].tolist()
        return jpeg_pictures(part, source[schema.JPEG], source[schema.JPEG_INDEX][:count], (width, height))
    pictures = deflated_pictures(part, source[schema.FRAMES], count)
    if pictures is None:
        raise ValueError("its pictures were not written by this program")
    return pictures


def _cell(value: Any) -> Any:
    return value if isinstance(value, np.ndarray) else value.item()


def _shifted(row: Row, segments: int) -> Row:
    return replace(row, segment=row.segment + segments) if segments else row
