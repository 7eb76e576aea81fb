"""Recordings as the rest of the program sees them: arrays in memory, pictures on demand, whoever wrote the files."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rl_utils import schema
from rl_utils.batch_pictures import forget_pictures
from rl_utils.batch_reader import Batch, read_batch
from rl_utils.config import WindowSize
from rl_utils.controls import PLAYSTATION, PROFILES, REST
from rl_utils.errors import UserError
from rl_utils.interfaces import Image
from rl_utils.paths import require_data
from rl_utils.session_folder import read_session

ARTICLE_FPS: Final = 30.0
"""Assumed rate of the article's files, which store none. Source: the article's "30+ frames per second"."""

logger = logging.getLogger(__name__)


class Recording:
    """One session, or the article's files of one folder, as one stretch of N samples.

    Attributes:
        path: Session folder or file.
        name: Short name for people.
        files: The batch files, in order.
        fps: Target rate in Hz; `fps_known` is False for the article's files, where `ARTICLE_FPS` is assumed.
        size: (width, height) of the pictures in px.
        meta: session.json, {} where there is none.
        is_article: Written by the article's recorder.
        inputs: (N, 19) float32 in [0, 1], in physical positions.
        labels: (N, 19) float32, what should be learnt; equal to `inputs` where nothing else was stored.
        has_labels: Whether labels were stored.
        timestamps_ns: (N,) int64 CLOCK_MONOTONIC; the article's are made up from `fps`.
        inputs_ns: (N,) int64, time of the newest pad event in each row.
        segment: (N,) int32; learning never joins samples of different segments. Each of the article's files is one.
        episode: (N,) int32.
        source: (N,) uint8, `interfaces.Source`.
        flags: (N,) uint8, bits of `interfaces.Flag`.
        state: (N, K) float32 or None, with `state_names`; NaN where unknown.
        events: (E,) structured, `schema.EVENT_DTYPE`: raw pad events.
        batches: What each of `files` holds.
        starts: (len(files) + 1,) int64, the first sample of each file, and N.
    """

    def __init__(self, batches: Sequence[Batch], *, path: Path, meta: Mapping[str, Any], pad_profile: str) -> None:
        _check_alike(batches)
        first = batches[0]
        counts = [len(batch) for batch in batches]
        self.path = path
        self.name = path.stem if path.is_file() else path.resolve().name
        self.files = tuple(batch.path for batch in batches)
        self.fps_known = first.fps is not None
        self.fps = first.fps if first.fps is not None else ARTICLE_FPS
        self.size: WindowSize = first.size
        self.meta = meta
        self.is_article = first.is_article
        self.inputs: NDArray[np.float32] = np.concatenate([batch.columns[schema.INPUTS] for batch in batches])
        if self.is_article:
            self.inputs = to_physical_positions(self.inputs, pad_profile)
        self.has_labels = any(batch.labels is not None for batch in batches)
        self.labels = _labels(batches) if self.has_labels else self.inputs
        total = len(self.inputs)
        stored = {name: _joined(batches, name) for name in schema.COLUMNS}
        made_up = np.round(np.arange(total) * (1e9 / self.fps)).astype(np.int64)
        files = np.repeat(np.arange(len(batches), dtype=np.int32), counts)
        self.timestamps_ns: NDArray[np.int64] = made_up if self.is_article else stored["timestamps_ns"]
        self.inputs_ns: NDArray[np.int64] = made_up if self.is_article else stored["inputs_ns"]
        self.segment: NDArray[np.int32] = files if self.is_article else stored["segment"]
        self.episode: NDArray[np.int32] = np.zeros(total, np.int32) if self.is_article else stored["episode"]
        self.source: NDArray[np.uint8] = np.zeros(total, np.uint8) if self.is_article else stored["source"]
        self.flags: NDArray[np.uint8] = np.zeros(total, np.uint8) if self.is_article else stored["flags"]
        self.state = _states(batches)
        self.state_names = next((batch.state_names for batch in batches if batch.state_names), ())
        self.events = np.concatenate([batch.events for batch in batches])
        self.batches = tuple(batches)
        self.starts: NDArray[np.int64] = np.concatenate([[0], np.cumsum(counts)])

    def __len__(self) -> int:
        return len(self.inputs)

    def frame(self, index: int) -> Image:
        """Decode one picture.

        Returns:
            (H, W, 3) uint8 RGB, a new array.

        Raises:
            IndexError: There is no such sample.
            UserError: The picture is damaged, or its file is gone.
        """
        picture: Image = self.read_frames([index])[0]
        return picture

    def read_frames(self, indices: ArrayLike) -> NDArray[np.uint8]:
        """Decode several pictures, in any order. Threads may call this at the same time and do not wait for each other.

        Args:
            indices: (K,) int in [-N, N); negative ones count from the end.

        Returns:
            (K, H, W, 3) uint8 RGB, a new array.

        Raises:
            IndexError: There is no such sample.
            UserError: A picture is damaged, or its file is gone.
        """
        wanted = np.asarray(indices, np.int64).reshape(-1)
        if len(wanted) and not (-len(self) <= wanted.min() and wanted.max() < len(self)):
            raise IndexError(f"{self.name} has {len(self)} samples")
        wanted = np.where(wanted < 0, wanted + len(self), wanted)
        width, height = self.size
        out = np.empty((len(wanted), height, width, 3), np.uint8)
        owners = np.searchsorted(self.starts, wanted, side="right") - 1
        for owner in np.unique(owners).tolist():
            places = np.flatnonzero(owners == owner)
            self.batches[owner].pictures.read(wanted[places] - self.starts[owner], out, places)
        return out

    def close(self) -> None:
        """Free pictures that are kept decoded. The recording stays usable."""
        for file in self.files:
            forget_pictures(file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()


def open_recordings(
    paths: Iterable[Path], *, pad_profile: str = PLAYSTATION.name, leave_out: Path | None = None
) -> list[Recording]:
    """Open everything that `paths` name, each session once, sorted by path within each of `paths`.

    Args:
        paths: Session folders, folders of them at any depth, folders of the article's files, or batch files.
        pad_profile: Name of the `controls.PadProfile` behind the article's files. The article read evdev names, which
            mean other positions on other pads.
        leave_out: A folder below one of `paths` that is passed by: a run's own, whose play is no recording of yours.

    Raises:
        UserError: A path is missing or holds no recording, or a file is no whole batch file of this format.
    """
    if pad_profile not in PROFILES:
        raise UserError(f"--pad-profile {pad_profile} is unknown", f"Choose {', '.join(PROFILES)}")
    recordings: list[Recording] = []
    seen: set[Path] = set()
    for path in paths:
        found = list(_batch_files(path, leave_out and leave_out.resolve()))
        for folder, files in found:
            fresh = [file for file in files if file.resolve() not in seen]
            seen.update(file.resolve() for file in fresh)
            if fresh:
                recordings += _open_group(folder, fresh, pad_profile)
    return recordings


def _batch_files(path: Path, leave_out: Path | None) -> Iterator[tuple[Path, list[Path]]]:
    """Yield (what to call the recording, its batch files in order)."""
    require_data(path)
    if path.is_file():
        yield path, [path]
        return
    found = False
    unfinished: list[Path] = []
    others: list[str] = []
    unreadable: list[OSError] = []
    for name, subfolders, _ in os.walk(path, onerror=unreadable.append):
        folder = Path(name)
        subfolders[:] = sorted(sub for sub in subfolders if leave_out is None or (folder / sub).resolve() != leave_out)
        unfinished += folder.glob(schema.PART_GLOB)
        others += (file.name for file in folder.glob("*.h5") if not file.name.endswith(schema.BATCH_SUFFIX))
        files = sorted(folder.glob(schema.BATCH_GLOB), key=_by_time)
        if files:
            found = True
            yield folder, files
    for part in unfinished:
        logger.warning(
            "%s is unfinished and left out: its recorder still runs, or was killed (then collect.py with the same --out"
            " recovers it at its next start)",
            part,
        )
    for error in unreadable:
        if not found:
            raise UserError(
                f"{error.filename} cannot be read ({error.strerror})",
                "Make it readable for you, or name another folder",
            ) from error
        logger.warning("%s cannot be read (%s) and is left out", error.filename, error.strerror)
    if not found:
        hint = f", but {others[0]}" if others else f", only the unfinished {unfinished[0].name}" if unfinished else ""
        remedy = (
            "Name that file itself"
            if others
            else f'Run "collect.py --out {path}" once, it recovers the file'
            if unfinished
            else "Record something with collect.py, or name another folder"
        )
        raise UserError(f"{path} holds no {schema.BATCH_GLOB}{hint}", remedy)


def _by_time(file: Path) -> tuple[int, str]:
    return (schema.batch_time_ms(file), file.name)


def _open_group(path: Path, files: list[Path], pad_profile: str) -> list[Recording]:
    """Make the recordings of one folder: one of our session, one per picture size of the article's files."""
    batches = [read_batch(file) for file in files]
    folder = path if path.is_dir() else path.parent
    ours = [batch for batch in batches if not batch.is_article]
    recordings = []
    if ours:
        try:
            meta = read_session(folder)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise UserError(
                f"{folder / schema.SESSION_FILE} cannot be read ({reason})", "Restore it, or remove it"
            ) from error
        recordings.append(Recording(ours, path=path, meta=meta, pad_profile=pad_profile))
    for size in dict.fromkeys(batch.size for batch in batches if batch.is_article):
        alike = [batch for batch in batches if batch.is_article and batch.size == size]
        recordings.append(Recording(alike, path=path, meta={}, pad_profile=pad_profile))
    return recordings


def to_physical_positions(inputs: NDArray[np.float32], pad_profile: str) -> NDArray[np.float32]:
    """Sort the article's inputs, which are in the order of evdev's names, by the position of each control.

    Args:
        inputs: (N, 19) float32 as the article stored them.
        pad_profile: Which driver sent the names; under hid-playstation the two orders are the same.

    Returns:
        (N, 19) float32; controls of which the article read nothing are at rest.
    """
    profile = PROFILES[pad_profile]
    sorted_inputs = np.tile(REST, (len(inputs), 1))
    for ours, named in ((profile.buttons, PLAYSTATION.buttons), (profile.axes, PLAYSTATION.axes)):
        for code, control in ours.items():
            if code in named:
                sorted_inputs[:, control] = inputs[:, named[code]]
    return sorted_inputs


def _check_alike(batches: Sequence[Batch]) -> None:
    first = batches[0]
    for batch in batches[1:]:
        if batch.size != first.size:
            raise UserError(
                f"{batch.path} has pictures of {_size(batch)}, {first.path.name} beside it of {_size(first)}",
                "Move one of them to another folder",
            )
        if batch.fps != first.fps:
            raise UserError(
                f"{batch.path} was recorded at {batch.fps:g} fps, {first.path.name} beside it at {first.fps:g}",
                "Move one of them to another folder",
            )
        if batch.state is not None and first.state is not None and batch.state.shape[1] != first.state.shape[1]:
            raise UserError(
                f"{batch.path} has another state than {first.path.name} beside it", "Move one of them to another folder"
            )


def _size(batch: Batch) -> str:
    return f"{batch.size[0]}x{batch.size[1]}"


def _joined(batches: Sequence[Batch], name: str) -> NDArray[Any]:
    columns = [batch.columns[name] for batch in batches if name in batch.columns]
    return np.concatenate(columns) if columns else np.empty(0)


def _labels(batches: Sequence[Batch]) -> NDArray[np.float32]:
    return np.concatenate([b.columns[schema.INPUTS] if b.labels is None else b.labels for b in batches])


def _states(batches: Sequence[Batch]) -> NDArray[np.float32] | None:
    length = next((batch.state.shape[1] for batch in batches if batch.state is not None), None)
    if length is None:
        return None
    unknown = [np.full((len(batch), length), np.nan, np.float32) for batch in batches]
    return np.concatenate([u if b.state is None else b.state for u, b in zip(unknown, batches, strict=True)])
