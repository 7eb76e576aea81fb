"""A session's folder: its name, its lock, its session.json."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rl_utils import schema
from rl_utils.errors import UserError

logger = logging.getLogger(__name__)


def create_session_folder(out: Path) -> Path:
    """Make `{UTC start}_{short id}` in `out`, which is made too where missing.

    Raises:
        UserError: `out` cannot be written.
    """
    folder = out / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}_{secrets.token_hex(3)}"
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise UserError(
            f"{out} cannot hold recordings ({error.strerror})", "Name a folder that you may write to"
        ) from error
    return folder


def lock_session(folder: Path) -> int:
    """Hold the session folder for as long as the returned descriptor is open; the kernel lets go if we are killed.

    Raises:
        BlockingIOError: Its writer lives.
        OSError: The folder is gone.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise
    except OSError as error:  # a network folder without locks: the process id has to do
        logger.debug("no lock on %s: %s", folder, error)
        with suppress(OSError, ValueError):
            writer = read_session(folder).get("pid")
            if writer not in (None, os.getpid()) and Path(f"/proc/{writer}").exists():
                os.close(descriptor)
                raise BlockingIOError(f"process {writer} writes {folder}") from error
    return descriptor


def write_session(folder: Path, session: Mapping[str, Any]) -> None:
    """Write session.json so that a reader sees either the old or the new one, whole.

    Args:
        folder: The session's folder.
        session: Plain values, mappings, sequences and dataclasses of them.

    Raises:
        OSError: The disk is full or gone; the old one is still there.
    """
    temporary = folder / (schema.SESSION_FILE + ".tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            json.dump(plain(session), file, indent=2, ensure_ascii=False)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(folder / schema.SESSION_FILE)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(folder)


def read_session(folder: Path) -> dict[str, Any]:
    """Read session.json; {} where there is none.

    Raises:
        OSError: It cannot be read.
        ValueError: It is not a JSON object.
    """
    try:
        session = json.loads((folder / schema.SESSION_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    if not isinstance(session, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004  # one kind of error for every damage of the file
    return session


def amend_session(folder: Path, entries: Mapping[str, Any]) -> None:
    """Add entries to session.json, or change them.

    Raises:
        OSError: It cannot be read or written; it is as it was.
        ValueError: It is not a JSON object.
    """
    write_session(folder, {**read_session(folder), **entries})


def remove_if_empty(folder: Path) -> bool:
    """Remove a session folder in which nothing but session.json is left.

    Raises:
        OSError: It cannot be removed.
    """
    if any(path.name != schema.SESSION_FILE for path in folder.iterdir()):
        return False
    (folder / schema.SESSION_FILE).unlink(missing_ok=True)
    folder.rmdir()
    return True


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def free_bytes(folder: Path) -> int:
    """Space that is left for us on the folder's disk."""
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


def full_error(out: Path, free: int) -> UserError:
    """What to tell when a recording's disk has only `free` bytes left."""
    return UserError(
        f"The disk of {out} is full ({free / 1e6:.0f} MB left), recording stopped and what was recorded is safe",
        "Free some space, or name another folder",
    )


def disk_error(folder: Path, error: Exception) -> UserError:
    """What to tell when a session cannot be written any further."""
    number = error.errno if isinstance(error, OSError) else None
    reason = os.strerror(number) if number else str(error)
    wrapped = UserError(
        f"The recording in {folder} could not be written on ({reason}), what was recorded until then is safe",
        "Free some space" if number in (errno.ENOSPC, errno.EDQUOT) else "Check the disk, or name a folder on another",
    )
    wrapped.__cause__ = error
    return wrapped


def plain(value: Any) -> Any:
    """A value as JSON can hold it: dataclasses and mappings become dicts, other sequences lists."""
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    return value
