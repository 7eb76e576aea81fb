"""The pictures of one batch file, decoded on demand and by several threads at a time.

h5py's one lock would let only one thread decode. So for our files h5py only tells, once, where each picture's bytes
lie; `os.pread` and ISA-L (or the JPEG decoder) do the rest. Other layouts are read through h5py, in large slabs.
"""

from __future__ import annotations

import functools
import os
import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import cv2
import h5py
import numpy as np
from numpy.typing import NDArray

from rl_utils import schema
from rl_utils.config import WindowSize
from rl_utils.errors import UserError

SLAB_CACHE_BYTES: Final = 512_000_000
"""Decoded pictures of files in other layouts that are kept; the article's layout decodes 122 MB at a time."""

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


class StoredPictures(Pictures):
    """Pictures whose bytes lie at known places in the file."""

    def read(self, indices: Indices, out: NDArray[np.uint8], places: Indices) -> None:  # noqa: D102  # as in Pictures
        descriptor = self._open()
        try:
            for index, place in zip(indices.tolist(), places.tolist(), strict=True):
                try:
                    out[place] = self._decode(self._encoded(descriptor, index))
                except (ValueError, OSError) as error:
                    raise damaged(self.path, index, error) from error
        finally:
            os.close(descriptor)

    def encoded(self, index: int) -> bytes | None:
        """Return a picture as it is stored, None when it is damaged."""
        descriptor = self._open()
        try:
            stored = self._encoded(descriptor, index)
            self._decode(stored)
        except (ValueError, OSError):
            return None
        finally:
            os.close(descriptor)
        return stored

    @property
    @abstractmethod
    def whole(self) -> bool:
        """Whether every picture has a place in the file."""

    def _open(self) -> int:
        try:
            return os.open(self.path, os.O_RDONLY)
        except OSError as error:
            raise UserError(
                f"{self.path} cannot be read any more ({error.strerror})",
                "Leave recordings in place while they are used",
            ) from error

    @abstractmethod
    def _encoded(self, descriptor: int, index: int) -> bytes:
        """Read the stored bytes."""

    @abstractmethod
    def _decode(self, encoded: bytes) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB; ValueError when damaged."""


class DeflatedPictures(StoredPictures):
    """One zlib stream per picture.

    Args:
        path: The file.
        size: (width, height) in px.
        offsets: (N,) where each stream begins in the file.
        lengths: (N,) their lengths in bytes, 0 for a picture that is not there.
    """

    def __init__(self, path: Path, size: WindowSize, offsets: Indices, lengths: Indices) -> None:
        super().__init__(path, size)
        self._offsets = offsets
        self._lengths = lengths

    @property
    def whole(self) -> bool:  # noqa: D102  # as in StoredPictures
        ends = self._offsets + self._lengths
        return not len(ends) or bool(self._lengths.min() > 0 and ends.max() <= self.path.stat().st_size)

    def _encoded(self, descriptor: int, index: int) -> bytes:
        return os.pread(descriptor, int(self._lengths[index]), int(self._offsets[index]))

    def _decode(self, encoded: bytes) -> NDArray[np.uint8]:
        width, height = self.size
        raw = schema.decompress(encoded, width * height * 3)
        return np.frombuffer(raw, np.uint8).reshape(height, width, 3)


class JpegPictures(StoredPictures):
    """JPEG files one after another in one dataset of bytes.

    Args:
        path: The file.
        size: (width, height) in px.
        index: (N, 2) offset and length of each picture in the dataset.
        chunk_offsets: Where each chunk of the dataset begins in the file, 0 for one that is not there.
        chunk_bytes: Size of a chunk.
    """

    def __init__(self, path: Path, size: WindowSize, index: Indices, chunk_offsets: Indices, chunk_bytes: int) -> None:
        super().__init__(path, size)
        self._index = index
        self._chunk_offsets = chunk_offsets
        self._chunk_bytes = chunk_bytes

    @property
    def whole(self) -> bool:  # noqa: D102  # as in StoredPictures
        return bool((self._chunk_offsets > 0).all())

    def _encoded(self, descriptor: int, index: int) -> bytes:
        start, length = self._index[index].tolist()
        parts = []
        while length > 0:
            chunk, within = divmod(start, self._chunk_bytes)
            if not (0 <= chunk < len(self._chunk_offsets) and self._chunk_offsets[chunk] > 0):
                raise ValueError("damaged picture (its place is empty)")
            count = min(length, self._chunk_bytes - within)
            parts.append(os.pread(descriptor, count, int(self._chunk_offsets[chunk]) + within))
            start, length = start + count, length - count
        return b"".join(parts)

    def _decode(self, encoded: bytes) -> NDArray[np.uint8]:
        width, height = self.size
        picture = decode_jpeg(encoded)
        if picture.shape != (height, width, 3):
            raise ValueError(f"damaged picture (of shape {picture.shape})")
        return picture


class SlabPictures(Pictures):
    """Any other layout, read through h5py, whole chunks at a time.

    One picture of an article file costs as much as the 313 that share its chunks, so all of them are decoded and kept.
    Read such files in order: jumping about costs about a second per jump.
    """

    def __init__(self, path: Path, size: WindowSize, dataset: h5py.Dataset) -> None:
        super().__init__(path, size)
        self._name = dataset.name
        self._slab = dataset.chunks[0] if dataset.chunks else 1
        self._count = dataset.shape[0]

    def read(self, indices: Indices, out: NDArray[np.uint8], places: Indices) -> None:  # noqa: D102  # as in Pictures
        for slab in np.unique(indices // self._slab).tolist():
            members = np.flatnonzero(indices // self._slab == slab)
            pictures = _slab_cache().get((self.path, slab), functools.partial(self._decode, slab))
            for member in members.tolist():
                picture = pictures[indices[member] - slab * self._slab]
                out[places[member]] = picture if picture.ndim == 3 else picture[..., None]

    def _decode(self, slab: int) -> NDArray[np.uint8]:
        start = slab * self._slab
        try:
            with h5py.File(self.path, "r", locking=False) as file:
                pictures: NDArray[np.uint8] = file[self._name][start : min(start + self._slab, self._count)]
        except (OSError, KeyError) as error:
            raise damaged(self.path, start, error) from error
        return pictures


class _SlabCache:
    """The decoded slabs used last, up to `SLAB_CACHE_BYTES` but at least one."""

    def __init__(self) -> None:
        self._slabs: OrderedDict[tuple[Path, int], NDArray[np.uint8]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple[Path, int], decode: Callable[[], NDArray[np.uint8]]) -> NDArray[np.uint8]:
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
            for key in [key for key in self._slabs if key[0] == path]:
                del self._slabs[key]


@functools.cache
def _slab_cache() -> _SlabCache:
    return _SlabCache()


def forget_pictures(path: Path) -> None:
    """Free the decoded pictures of a file that are kept for later."""
    _slab_cache().forget(path)


def decode_jpeg(encoded: bytes) -> NDArray[np.uint8]:
    """Decode a JPEG file into (H, W, 3) uint8 RGB.

    Raises:
        ValueError: It is damaged.
    """
    # libjpeg fills a picture cut short with grey; its end marker tells.
    whole = encoded.startswith(b"\xff\xd8") and encoded.endswith(b"\xff\xd9")
    picture = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR_RGB) if whole else None
    if picture is None:
        raise ValueError("damaged picture (no whole JPEG)")
    return np.asarray(picture, np.uint8)


def is_deflated(frames: h5py.Dataset) -> bool:
    """Whether each picture is one zlib stream under the gzip filter alone, as `DeflatedPictures` reads it."""
    filters = frames.id.get_create_plist().get_nfilters()
    chunks, shape, compression = frames.chunks, frames.shape, frames.compression
    return bool(chunks == (1, *shape[1:]) and compression == "gzip" and filters == 1)


def deflated_pictures(path: Path, frames: h5py.Dataset, count: int) -> DeflatedPictures | None:
    """Find the first `count` pictures of a dataset that `is_deflated`.

    Returns:
        None when some were stored with the filter left out, as another writer may.
    """
    offsets, lengths, masks = np.zeros((3, count), np.int64)

    def note(chunk: Any) -> None:
        index = chunk.chunk_offset[0]
        if index < count:
            offsets[index], lengths[index], masks[index] = chunk.byte_offset, chunk.size, chunk.filter_mask

    frames.id.chunk_iter(note)
    return None if masks.any() else DeflatedPictures(path, (frames.shape[2], frames.shape[1]), offsets, lengths)


def jpeg_pictures(path: Path, data: h5py.Dataset, index: Indices, size: WindowSize) -> JpegPictures:
    """Find the pictures of a dataset of bytes that is chunked without filters.

    Args:
        path: The file.
        data: The bytes.
        index: (N, 2) offset and length of each picture.
        size: (width, height) in px.
    """
    chunk_bytes = data.chunks[0]
    offsets = np.zeros(-(-data.shape[0] // chunk_bytes), np.int64)

    def note(chunk: Any) -> None:
        if chunk.chunk_offset[0] < data.shape[0]:
            offsets[chunk.chunk_offset[0] // chunk_bytes] = chunk.byte_offset

    data.id.chunk_iter(note)
    return JpegPictures(path, size, index, offsets, chunk_bytes)


def damaged(path: Path, index: int, error: Exception) -> UserError:
    """Say that a picture cannot be read."""
    return UserError(f"{path}: picture {index} cannot be read ({error})", "Copy the file again, or remove it")
