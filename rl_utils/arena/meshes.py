"""RocketSim, ready to use: its collision meshes lie in the person's cache folder and are checked before it reads them.

RocketSim loads meshes once per process, and after one bad file every later call waits for ever on a lock that nobody
holds. So the files are compared with freshly generated ones, byte for byte, before it sees the folder; a folder that
cannot be put right is replaced by a temporary one.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rl_utils.errors import UserError

log = logging.getLogger(__name__)

MODE_FOLDER = "soccar"
"""RocketSim reads every .cmf file in the folder of this name."""
MAX_COUNT = 1_000_000
"""RocketSim refuses more triangles or vertices than this. Source: CollisionMeshFile.cpp."""


class _Once:
    """What this process has done so far; a forked child inherits it together with RocketSim's memory."""

    lock = threading.Lock()
    guarded = False
    module: Any = None
    failure: Exception | None = None


def rocketsim() -> Any:
    """Return the RocketSim module with the arena's walls loaded. Cheap after the first call; any thread may call it.

    Raises:
        UserError: The package is missing, or there is nowhere to write the meshes.
    """
    if _Once.module is not None:
        return _Once.module
    _guard_forks()
    with _Once.lock:
        if _Once.failure is not None:
            raise _Once.failure
        if _Once.module is None:
            _Once.module = _initialise()
    return _Once.module


def _guard_forks() -> None:
    """A fork waits until no thread is within `rocketsim`, so that no child is born with a lock held by nobody."""
    if not _Once.guarded:
        _Once.guarded = True
        release = _Once.lock.release
        os.register_at_fork(before=_Once.lock.acquire, after_in_parent=release, after_in_child=release)


def _initialise() -> Any:
    try:
        import RocketSim as module  # noqa: N813 - the package itself is called that
    except ImportError as error:
        raise UserError(
            f"The practice arena needs the package rocketsim, which cannot be loaded ({error})",
            "Run pip install -e '.[arena]' in the clone of this project; it exists for x86-64 processors only",
        ) from error
    from rl_utils.arena.mesh_geometry import build_meshes

    folder, temporary = ready_folder(build_meshes())
    try:
        module.init(str(folder))
    except RuntimeError as error:
        if "Already inited" not in str(error):
            _Once.failure = error  # a second call of init would wait for ever
            raise
        log.warning("RocketSim was initialised by other code in this process: the arena uses that code's walls")
    finally:
        if temporary:
            shutil.rmtree(folder, ignore_errors=True)
    return module


def ready_folder(meshes: Mapping[str, bytes]) -> tuple[Path, bool]:
    """Put the meshes where RocketSim can read them.

    Args:
        meshes: Region name → contents of its .cmf file.

    Returns:
        The folder, and whether it is a temporary one, to be removed once RocketSim has read it.

    Raises:
        UserError: Neither the cache folder nor a temporary one can be written.
    """
    for name, data in meshes.items():
        problem = mesh_problem(data)
        assert not problem, f"{name}: {problem}"
    try:
        folder = _cache_folder(meshes)
        _write_missing(folder, meshes)
    except (OSError, RuntimeError) as error:  # Path.home() raises RuntimeError where there is no home
        log.info("The cache folder cannot hold the arena's meshes (%s): a temporary folder is used", error)
    else:
        return folder, False
    try:
        folder = Path(tempfile.mkdtemp(prefix="rlai-meshes-"))
        _write_missing(folder, meshes)
    except OSError as error:
        raise UserError(
            f"The arena's walls cannot be written anywhere ({error})",
            "Free some disk space, or set XDG_CACHE_HOME to a folder that can be written",
        ) from error
    return folder, True


def mesh_problem(data: bytes) -> str:
    """Why RocketSim would choke on these contents of a .cmf file, "" for a sound one."""
    if len(data) < 8:
        return f"only {len(data)} bytes"
    triangles, vertices = (int(n) for n in np.frombuffer(data, "<i4", 2))
    if not (1 <= triangles <= MAX_COUNT and 1 <= vertices <= MAX_COUNT):
        return f"{triangles} triangles and {vertices} vertices"
    if len(data) != 8 + 12 * triangles + 12 * vertices:
        return f"{len(data)} bytes do not fit {triangles} triangles and {vertices} vertices"
    indices = np.frombuffer(data, "<i4", 3 * triangles, 8)
    if indices.min() < 0 or indices.max() >= vertices:
        return f"vertex numbers {indices.min()} to {indices.max()} of {vertices}"
    positions = np.frombuffer(data, "<f4", 3 * vertices, 8 + 12 * triangles)
    return "" if np.isfinite(positions).all() else "positions that are not numbers"


def _cache_folder(meshes: Mapping[str, bytes]) -> Path:
    """Per user and per contents: another version of the walls has another folder."""
    digest = hashlib.sha256()
    for name in sorted(meshes):
        digest.update(f"{name} {len(meshes[name])} ".encode() + meshes[name])
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    base = given if given.is_absolute() else Path.home() / ".cache"
    return base / "rlai" / f"meshes-{digest.hexdigest()[:16]}"


def _write_missing(folder: Path, meshes: Mapping[str, bytes]) -> None:
    """Make the folder hold exactly these meshes; files that are whole stay untouched.

    Raises:
        OSError: It cannot be written, or it also holds files that are not ours.
    """
    inner = folder / MODE_FOLDER
    inner.mkdir(parents=True, exist_ok=True)
    wanted = {f"{name}.cmf": data for name, data in meshes.items()}
    for name, data in wanted.items():
        if not _holds(inner / name, data):
            _replace(inner / name, data, folder)
    strangers = sorted({file.name for file in inner.iterdir()} - set(wanted))
    if strangers:
        raise FileExistsError(f"{inner} also holds {', '.join(strangers[:3])}")


def _holds(file: Path, data: bytes) -> bool:
    try:
        return file.read_bytes() == data
    except OSError:
        return False


def _replace(file: Path, data: bytes, folder: Path) -> None:
    """Write the whole file under another name first, so that no reader ever meets half of it."""
    handle, draft = tempfile.mkstemp(prefix=f".{file.stem}-", dir=folder)
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(data)
        Path(draft).replace(file)
    except OSError:
        Path(draft).unlink(missing_ok=True)
        raise
