"""Paths that a person names, looked at before the work: what cannot be read or written is refused in one line."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final

from rl_utils.errors import UserError

A_CHECKPOINT: Final = "Name the best.pt of a run of train.py, or a checkpoint of the article"


def is_there(path: Path, remedy: str = "Check the path, and who may read it") -> bool:
    """Whether there is anything at a path.

    Args:
        path: The path.
        remedy: What to do where that cannot be seen.

    Raises:
        UserError: A folder on the way may not be looked into, or the name is too long.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})", remedy) from error
    return True


def require_checkpoint(path: Path) -> None:
    """Refuse a checkpoint that cannot be read, before torch is loaded, which takes seconds.

    Raises:
        UserError: It is not there, a folder, or may not be read.
    """
    try:
        with path.open("rb"):
            return
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})", A_CHECKPOINT) from error


def require_data(path: Path) -> None:
    """Refuse a recording that is not there, before anything is loaded that could read it.

    Raises:
        UserError: It is not there, or cannot be looked at.
    """
    if not is_there(path):
        raise UserError(f"{path} does not exist", "Name a session folder or batch file that exists")


def require_folder(path: Path, option: str) -> None:
    """Refuse what is no folder to write to and cannot become one. Nothing is made.

    Args:
        path: The folder.
        option: Names it on the command line.

    Raises:
        UserError: It is something else, it or what would hold it may not be written to, or the name is too long.
    """
    remedy = f"Name a folder that you may write to with {option}"
    nearest = path
    while not is_there(nearest, remedy):
        nearest = nearest.parent
    if not nearest.is_dir():
        number = errno.ENOTDIR
    elif not os.access(nearest, os.W_OK | os.X_OK, effective_ids=True):
        number = errno.EACCES
    else:
        return
    raise UserError(f"{path} cannot be written to ({os.strerror(number)})", remedy)


def require_writable(path: Path, option: str) -> None:
    """Refuse a file that could not be written when the work is over. It is made for a moment where it is missing.

    Args:
        path: The file.
        option: Names it on the command line.

    Raises:
        UserError: It cannot be written.
    """
    remedy = f"Name another file with {option}"
    missing = not is_there(path, remedy)
    try:
        with path.open("ab"):
            pass
        if missing:
            path.unlink()
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror})", remedy) from error
