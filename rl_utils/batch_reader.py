"""One batch file, ours or the article's, checked and read: its columns in memory, its pictures on demand."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import NDArray

from rl_utils import schema
from rl_utils.batch_pictures import (
    Indices,
    Pictures,
    SlabPictures,
    StoredPictures,
    damaged,
    decode_jpeg,
    deflated_pictures,
    is_deflated,
    jpeg_pictures,
)
from rl_utils.config import WindowSize
from rl_utils.controls import LAYOUT_VERSION
from rl_utils.errors import UserError

INPUT_TOLERANCE: Final = 0.01
"""How far an input may lie outside [0, 1] before the file counts as normalised in another way."""


@dataclass(frozen=True)
class Batch:
    """What a batch file holds.

    Attributes:
        path: The file.
        is_article: Written by the article's recorder.
        size: (width, height) of the pictures in px.
        fps: Target rate in Hz, None where unknown.
        attrs: The file's attributes.
        columns: The datasets of `schema.COLUMNS` that it has, `inputs` always among them.
        labels: (N, 19) float32 or None.
        state: (N, K) float32 or None.
        state_names: Names of the elements of `state`.
        events: (E,) `schema.EVENT_DTYPE`.
        pictures: Its pictures.
    """

    path: Path
    is_article: bool
    size: WindowSize
    fps: float | None
    attrs: dict[str, Any]
    columns: dict[str, NDArray[Any]]
    labels: NDArray[np.float32] | None
    state: NDArray[np.float32] | None
    state_names: tuple[str, ...]
    events: NDArray[Any]
    pictures: Pictures

    def __len__(self) -> int:
        return len(self.columns[schema.INPUTS])


def read_batch(path: Path) -> Batch:
    """Read a batch file's columns and find its pictures.

    Raises:
        UserError: It is missing, truncated, empty, foreign, of a newer format or of another layout.
    """
    try:
        with h5py.File(path, "r", locking=False) as file:
            return _read(path, file)
    except (OSError, RuntimeError, KeyError) as error:
        raise _unreadable(path, error) from error


def _read(path: Path, file: h5py.File) -> Batch:
    attrs = {name: _plain(value) for name, value in file.attrs.items()}
    article = "format_version" not in attrs
    if not article:
        _check_versions(path, attrs)
    if not (schema.FRAMES in file or schema.JPEG in file) or schema.INPUTS not in file:
        found = ", ".join(sorted(file)) or "nothing"
        raise _foreign(path, f"it holds {found} instead of frames and inputs")
    columns = {}
    for name, (dtype, tail) in schema.COLUMNS.items():
        if name in file:
            columns[name] = _column(path, file, name, dtype, tail)
        elif not article:
            raise _foreign(path, f"{name} is missing")
    count = len(columns[schema.INPUTS])
    state = None
    if schema.STATE in file and len(_dataset(path, file, schema.STATE).shape) == 2:
        state = _column(path, file, schema.STATE, np.dtype("<f4"), file[schema.STATE].shape[1:])
    labels = None
    if schema.LABELS in file:
        labels = _column(path, file, schema.LABELS, *schema.COLUMNS[schema.INPUTS])
    for name, values in {**columns, schema.LABELS: labels, schema.STATE: state}.items():
        if values is not None and len(values) != count:
            raise _foreign(path, f"{name} has {len(values)} rows for {count} inputs")
    for name, values in ((schema.INPUTS, columns[schema.INPUTS]), (schema.LABELS, labels)):
        _check_inputs(path, name, values)
    pictures = _jpeg_pictures(path, file, count) if schema.JPEG in file else _frame_pictures(path, file, count)
    if count == 0:
        raise UserError(f"{path} holds no sample", "Remove it")
    if isinstance(pictures, StoredPictures) and not pictures.whole:
        raise UserError(f"{path} is damaged: pictures are missing", "Copy it again, or remove it")
    return Batch(
        path=path,
        is_article=article,
        size=pictures.size,
        fps=float(attrs["fps"]) if "fps" in attrs else None,
        attrs=attrs,
        columns=columns,
        labels=labels,
        state=state,
        state_names=_names(file),
        events=_events(path, file),
        pictures=pictures,
    )


def _check_versions(path: Path, attrs: dict[str, Any]) -> None:
    version, layout = attrs["format_version"], attrs.get("layout_version")
    if version != schema.FORMAT_VERSION:
        raise UserError(
            f"{path} has recording format {version}, this program reads {schema.FORMAT_VERSION}",
            "Update this program" if version > schema.FORMAT_VERSION else "Record it again",
        )
    if layout != LAYOUT_VERSION:
        raise UserError(
            f"{path} has controller layout {layout}, this program uses {LAYOUT_VERSION}",
            "Use the version of this program that recorded it",
        )


def _dataset(path: Path, file: h5py.File, name: str) -> h5py.Dataset:
    """What the file holds under a name, if that has rows."""
    if name not in file:
        raise _foreign(path, f"{name} is missing")
    found = file[name]
    if not isinstance(found, h5py.Dataset):
        raise _foreign(path, f"{name} is a group instead of a dataset")
    if not found.shape:
        raise _foreign(path, f"{name} has no rows")
    return found


def _events(path: Path, file: h5py.File) -> NDArray[Any]:
    if schema.EVENTS not in file:
        return np.empty(0, schema.EVENT_DTYPE)
    dataset = _dataset(path, file, schema.EVENTS)
    if dataset.dtype != schema.EVENT_DTYPE or dataset.ndim != 1:
        raise _foreign(path, f"events are {dataset.dtype} {dataset.shape} instead of raw pad events")
    return np.asarray(dataset[:])


def _column(path: Path, file: h5py.File, name: str, dtype: np.dtype[Any], tail: tuple[int, ...]) -> NDArray[Any]:
    dataset = _dataset(path, file, name)
    if dataset.shape[1:] != tail or dataset.dtype.kind not in ("f" if dtype.kind == "f" else "iu"):
        expected = f"{dtype.name} (N{''.join(f', {n}' for n in tail)})"
        raise _foreign(path, f"{name} is {dataset.dtype} {dataset.shape} instead of {expected}")
    return np.asarray(dataset[:], dtype)


def _check_inputs(path: Path, name: str, values: NDArray[np.float32] | None) -> None:
    if values is None or not values.size:
        return
    unknown = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(unknown):
        raise UserError(
            f"{path} holds {name} that are no numbers in {len(unknown)} of {len(values)} samples, first in number "
            f"{unknown[0]}",
            "Leave this file away, or record anew",
        )
    low, high = float(values.min()), float(values.max())
    if not (low >= -INPUT_TOLERANCE and high <= 1 + INPUT_TOLERANCE):
        raise _foreign(path, f"{name} range from {low:g} to {high:g} instead of 0 to 1")


def _frame_pictures(path: Path, file: h5py.File, count: int) -> Pictures:
    frames = _dataset(path, file, schema.FRAMES)
    shape = frames.shape
    grey = len(shape) == 3
    if frames.dtype != np.uint8 or not (grey or (len(shape) == 4 and shape[3] == 3)) or 0 in shape[1:]:
        raise _foreign(path, f"frames are {frames.dtype} {shape} instead of uint8 (N, H, W, 3)")
    if shape[0] != count:
        raise _foreign(path, f"it has {shape[0]} frames for {count} inputs")
    pictures = deflated_pictures(path, frames, count) if not grey and is_deflated(frames) else None
    return pictures or SlabPictures(path, (shape[2], shape[1]), frames)


def _jpeg_pictures(path: Path, file: h5py.File, count: int) -> Pictures:
    index = _column(path, file, schema.JPEG_INDEX, np.dtype("<i8"), (2,))
    data = _dataset(path, file, schema.JPEG)
    if len(index) != count:
        raise _foreign(path, f"jpeg_index has {len(index)} rows for {count} inputs")
    if data.ndim != 1 or data.chunks is None or data.id.get_create_plist().get_nfilters():
        raise _foreign(path, "jpeg is not stored as plain chunks of bytes")
    if count and (index.min() < 0 or index.sum(axis=1).max() > data.shape[0]):
        raise _foreign(path, "jpeg_index points outside jpeg")
    return jpeg_pictures(path, data, index, _jpeg_size(path, data, index))


def _jpeg_size(path: Path, data: h5py.Dataset, index: Indices) -> WindowSize:
    if not len(index):
        return 0, 0
    start, length = index[0].tolist()
    try:
        height, width = decode_jpeg(data[start : start + length].tobytes()).shape[:2]
    except ValueError as error:
        raise damaged(path, 0, error) from error
    return width, height


def _names(file: h5py.File) -> tuple[str, ...]:
    names = file[schema.STATE].attrs.get("names", ()) if schema.STATE in file else ()
    return tuple(str(name) for name in names)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value.tolist() if isinstance(value, np.ndarray) else value


def _unreadable(path: Path, error: Exception) -> UserError:
    if isinstance(error, OSError) and error.errno:  # h5py puts more into the text than the kernel's reason
        reason = os.strerror(error.errno)
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return UserError(f"{path} does not exist", "Check the path")
        return UserError(f"{path} cannot be read ({reason})", "Check that it is a whole batch file that you may read")
    if path.is_file() and path.stat().st_size == 0:
        return UserError(f"{path} is empty", "Remove it")
    if "truncated file" in str(error):
        return UserError(f"{path} is truncated", "Copy it again from its source, or remove it")
    if "signature not found" in str(error):
        return UserError(f"{path} is no HDF5 file", "Name session folders or batch files (*_batch.h5)")
    return UserError(f"{path} cannot be read ({error})", "Check that it is a whole batch file that you may read")


def _foreign(path: Path, reason: str) -> UserError:
    return UserError(f"{path} is no recording: {reason}", "Name session folders or batch files (*_batch.h5)")
