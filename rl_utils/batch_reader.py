"""One batch file, ours or the article's, checked and read: its columns in memory, its pictures on demand.

Pictures of our files are read beside h5py, whose one lock would let only one thread decode at a time: where each
picture's bytes lie is asked once, then `os.pread` and ISA-L do the rest.
"""

from __future__ import annotations

import functools
import os
import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import h5py
import numpy as np
from numpy.typing import NDArray

from rl_utils import schema
from rl_utils.config import WindowSize
from rl_utils.controls import LAYOUT_VERSION
from rl_utils.errors import UserError

SLAB_CACHE_BYTES: Final = 512_000_000
"""Decoded pictures of files in other layouts that are kept; the article's layout decodes 122 MB at a time."""
INPUT_TOLERANCE: Final = 0.01
"""How far an input may lie outside [0, 1] before the file counts as normalised in another way."""

Indices = NDArray[np.int64]


class Pictures(ABC):
    """The pictures of one file. Safe to use from several threads."""

    def __init__(self, path: Path, size: WindowSize) -> None:
        self.path = path
        self.size = size

    @abstractmethod
    def read(self, indices: Indices, out: NDArray[np.uint8], places: Indices) -> None:
        """Decode picture `indices[k]` into `out[places[k]]`.

        Args:
            indices: (K,) positions in the file.
            out: (M, H, W, 3) uint8 RGB.
            places: (K,) positions in `out`.

        Raises:
            UserError: A picture is damaged, or the file is gone.
        """


class ChunkPictures(Pictures):
    """One zlib stream per picture, at a known place in the file."""

    def __init__(self, path: Path, size: WindowSize, offsets: Indices, lengths: Indices) -> None:
        super().__init__(path, size)
        self._offsets = offsets
        self._lengths = lengths

    def read(self, indices: Indices, out: NDArray[np.uint8], places: Indices) -> None:  # noqa: D102  # as in Pictures
        width, height = self.size
        descriptor = _open(self.path)
        try:
            for index, place in zip(indices.tolist(), places.tolist(), strict=True):
                stream = os.pread(descriptor, int(self._lengths[index]), int(self._offsets[index]))
                raw = schema.decompress(stream, width * height * 3)
                out[place] = np.frombuffer(raw, np.uint8).reshape(height, width, 3)
        except (ValueError, OSError) as error:
            raise _damaged(self.path, index, error) from error
        finally:
            os.close(descriptor)


class JpegPictures(Pictures):
    """JPEG files one after another in one dataset of bytes."""

    def __init__(self, path: Path, size: WindowSize, index: Indices, chunk_offsets: Indices, chunk_bytes: int) -> None:
        super().__init__(path, size)
        self._index = index
        self._chunk_offsets = chunk_offsets
        self._chunk_bytes = chunk_bytes

    def read(self, indices: Indices, out: NDArray[np.uint8], places: Indices) -> None:  # noqa: D102  # as in Pictures
        width, height = self.size
        descriptor = _open(self.path)
        try:
            for index, place in zip(indices.tolist(), places.tolist(), strict=True):
                encoded = self._read_bytes(descriptor, *self._index[index].tolist())
                out[place] = _decode_jpeg(encoded).reshape(height, width, 3)
        except (ValueError, OSError) as error:
            raise _damaged(self.path, index, error) from error
        finally:
            os.close(descriptor)

    def _read_bytes(self, descriptor: int, start: int, length: int) -> bytes:
        """Collect a span of the dataset, which may lie in several chunks."""
        parts = []
        end = start + length
        while start < end:
            chunk, within = divmod(start, self._chunk_bytes)
            count = min(end - start, self._chunk_bytes - within)
            parts.append(os.pread(descriptor, count, int(self._chunk_offsets[chunk]) + within))
            start += count
        return b"".join(parts)


class SlabPictures(Pictures):
    """Any other layout, read through h5py, whole chunks at a time.

    One picture of an article file costs as much as the 313 that share its chunks, so all of them are decoded and kept.
    Read such files in order; jumping about costs a second per jump.
    """

    def __init__(self, path: Path, size: WindowSize, dataset: h5py.Dataset) -> None:
        super().__init__(path, size)
        self._name = dataset.name
        self._slab = dataset.chunks[0] if dataset.chunks else 1
        self._count = dataset.shape[0]

    def read(self, indices: Indices, out: NDArray[np.uint8], places: Indices) -> None:  # noqa: D102  # as in Pictures
        order = np.argsort(indices, kind="stable")
        for slab in np.unique(indices // self._slab).tolist():
            members = order[indices[order] // self._slab == slab]
            pictures = _slab_cache().get((str(self.path), slab), functools.partial(self._decode, slab))
            for member in members.tolist():
                picture = pictures[indices[member] - slab * self._slab]
                out[places[member]] = picture if picture.ndim == 3 else picture[..., None]

    def _decode(self, slab: int) -> NDArray[np.uint8]:
        start = slab * self._slab
        try:
            with h5py.File(self.path, "r", locking=False) as file:
                pictures: NDArray[np.uint8] = file[self._name][start : min(start + self._slab, self._count)]
        except OSError as error:
            raise _damaged(self.path, start, error) from error
        return pictures


class _SlabCache:
    """The decoded slabs used last, up to `SLAB_CACHE_BYTES` but at least one."""

    def __init__(self) -> None:
        self._slabs: OrderedDict[tuple[str, int], NDArray[np.uint8]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple[str, int], decode: Any) -> NDArray[np.uint8]:
        with self._lock:
            if key not in self._slabs:
                slab = decode()
                while self._slabs and sum(s.nbytes for s in self._slabs.values()) + slab.nbytes > SLAB_CACHE_BYTES:
                    self._slabs.popitem(last=False)
                self._slabs[key] = slab
            self._slabs.move_to_end(key)
            return self._slabs[key]

    def forget(self, path: Path) -> None:
        with self._lock:
            for key in [key for key in self._slabs if key[0] == str(path)]:
                del self._slabs[key]


@functools.cache
def _slab_cache() -> _SlabCache:
    return _SlabCache()


def forget_pictures(path: Path) -> None:
    """Free the decoded pictures of a file that are kept for later."""
    _slab_cache().forget(path)


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
    if schema.STATE in file and len(file[schema.STATE].shape) == 2:
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
        events=file[schema.EVENTS][:] if schema.EVENTS in file else np.empty(0, schema.EVENT_DTYPE),
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


def _column(path: Path, file: h5py.File, name: str, dtype: np.dtype[Any], tail: tuple[int, ...]) -> NDArray[Any]:
    dataset = file[name]
    if dataset.shape[1:] != tail or dataset.dtype.kind not in ("f" if dtype.kind == "f" else "iu"):
        expected = f"{dtype.name} (N{''.join(f', {n}' for n in tail)})"
        raise _foreign(path, f"{name} is {dataset.dtype} {dataset.shape} instead of {expected}")
    return np.asarray(dataset[:], dtype)


def _check_inputs(path: Path, name: str, values: NDArray[np.float32] | None) -> None:
    if values is None or not values.size:
        return
    low, high = float(values.min()), float(values.max())
    if not (low >= -INPUT_TOLERANCE and high <= 1 + INPUT_TOLERANCE):  # also false for NaN
        raise _foreign(path, f"{name} range from {low:g} to {high:g} instead of 0 to 1")


def _frame_pictures(path: Path, file: h5py.File, count: int) -> Pictures:
    frames = file[schema.FRAMES]
    shape = frames.shape
    grey = len(shape) == 3
    if frames.dtype != np.uint8 or not (grey or (len(shape) == 4 and shape[3] == 3)) or 0 in shape[1:]:
        raise _foreign(path, f"frames are {frames.dtype} {shape} instead of uint8 (N, H, W, 3)")
    if shape[0] != count:
        raise _foreign(path, f"it has {shape[0]} frames for {count} inputs")
    size = (shape[2], shape[1])
    filters = frames.id.get_create_plist().get_nfilters()
    if grey or frames.chunks != (1, *shape[1:]) or frames.compression != "gzip" or filters != 1:
        return SlabPictures(path, size, frames)
    offsets, lengths, masks = np.zeros((3, count), np.int64)

    def note(chunk: Any) -> None:
        index = chunk.chunk_offset[0]
        if index < count:
            offsets[index], lengths[index], masks[index] = chunk.byte_offset, chunk.size, chunk.filter_mask

    frames.id.chunk_iter(note)
    if masks.any():
        return SlabPictures(path, size, frames)
    _check_extent(path, offsets, lengths)
    return ChunkPictures(path, size, offsets, lengths)


def _jpeg_pictures(path: Path, file: h5py.File, count: int) -> Pictures:
    index = np.asarray(file[schema.JPEG_INDEX][:], np.int64)
    data = file[schema.JPEG]
    if index.shape != (count, 2):
        raise _foreign(path, f"jpeg_index is {index.shape} for {count} inputs")
    if data.ndim != 1 or data.chunks is None or data.id.get_create_plist().get_nfilters():
        raise _foreign(path, "jpeg is not stored as plain chunks of bytes")
    if count and (index.min() < 0 or index.sum(axis=1).max() > data.shape[0]):
        raise _foreign(path, "jpeg_index points outside jpeg")
    chunk_bytes = data.chunks[0]
    offsets = np.zeros(-(-data.shape[0] // chunk_bytes), np.int64)

    def note(chunk: Any) -> None:
        if chunk.chunk_offset[0] < data.shape[0]:
            offsets[chunk.chunk_offset[0] // chunk_bytes] = chunk.byte_offset

    data.id.chunk_iter(note)
    _check_extent(path, offsets, np.where(offsets > 0, 1, 0))
    size = _jpeg_size(path, data, index) if count else (0, 0)
    return JpegPictures(path, size, index, offsets, chunk_bytes)


def _jpeg_size(path: Path, data: h5py.Dataset, index: Indices) -> WindowSize:
    start, length = index[0].tolist()
    try:
        height, width = _decode_jpeg(data[start : start + length].tobytes()).shape[:2]
    except ValueError as error:
        raise _damaged(path, 0, error) from error
    return width, height


def _decode_jpeg(encoded: bytes) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB; ValueError where it is damaged."""
    picture = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR_RGB) if encoded else None
    if picture is None:
        raise ValueError("damaged picture")
    return np.asarray(picture, np.uint8)


def _check_extent(path: Path, offsets: Indices, lengths: Indices) -> None:
    if len(offsets) and (lengths.min() <= 0 or (offsets + lengths).max() > path.stat().st_size):
        raise UserError(f"{path} is damaged: pictures are missing", "Copy it again, or remove it")


def _names(file: h5py.File) -> tuple[str, ...]:
    names = file[schema.STATE].attrs.get("names", ()) if schema.STATE in file else ()
    return tuple(str(name) for name in names)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value.tolist() if isinstance(value, np.ndarray) else value


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY)
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> UserError:
    if not path.exists():
        return UserError(f"{path} does not exist", "Check the path")
    if path.is_file() and path.stat().st_size == 0:
        return UserError(f"{path} is empty", "Remove it")
    if "truncated file" in str(error):
        return UserError(f"{path} is truncated", "Copy it again from its source, or remove it")
    if "signature not found" in str(error):
        return UserError(f"{path} is no HDF5 file", "Name session folders or batch files (*_batch.h5)")
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return UserError(f"{path} cannot be read ({reason})", "Check that it is a whole batch file that you may read")


def _foreign(path: Path, reason: str) -> UserError:
    return UserError(f"{path} is no recording: {reason}", "Name session folders or batch files (*_batch.h5)")


def _damaged(path: Path, index: int, error: Exception) -> UserError:
    return UserError(f"{path}: picture {index} cannot be read ({error})", "Copy the file again, or remove it")
