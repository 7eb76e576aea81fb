"""A dataset of a batch file that grows at its end, sample by sample, and can be cut back."""

from __future__ import annotations

import h5py
import numpy as np


class GrowingDataset:
    """A chunked dataset, written in whole chunks past h5py's cache.

    What HDF5 cannot write it keeps in that cache and writes again when the file is closed: on a full disk this fails
    once more, or crashes the process (JPEG data under a write limit: segmentation fault in HDF5 2.0).

    Args:
        dataset: Chunked along its first axis only, without filters, of unlimited length; may hold rows already.
    """

    def __init__(self, dataset: h5py.Dataset) -> None:
        self.dataset = dataset
        self._chunk = np.zeros(dataset.chunks, dataset.dtype)
        self._rows = 0
        self.cut(len(dataset))

    def extend(self, rows: np.ndarray) -> None:
        """Append (K, ...) rows and write them."""
        chunk_rows = len(self._chunk)
        while len(rows):
            within = self._rows % chunk_rows
            fitting = rows[: chunk_rows - within]
            self._chunk[within : within + len(fitting)] = fitting
            self._chunk[within + len(fitting) :] = np.zeros((), self._chunk.dtype)
            self._rows += len(fitting)
            self.dataset.resize(self._rows, axis=0)
            place = (self._rows - 1) // chunk_rows * chunk_rows
            self.dataset.id.write_direct_chunk((place, *([0] * (self._chunk.ndim - 1))), self._chunk.tobytes())
            rows = rows[len(fitting) :]

    def cut(self, rows: int) -> list[tuple[int, int]]:
        """Keep the first `rows` rows and go on after them.

        Returns:
            Where in the file the chunks are that were given up: (offset, length) in bytes.
        """
        given_up = chunks_after(self.dataset, rows)
        if rows < len(self.dataset):
            self.dataset.resize(rows, axis=0)
        self._rows = rows
        within = rows % len(self._chunk)
        self._chunk[:within] = self.dataset[rows - within : rows]
        return given_up


def chunks_after(dataset: h5py.Dataset, rows: int) -> list[tuple[int, int]]:
    """Where in the file those chunks of a dataset are that hold nothing of its first `rows` rows: (offset, length)."""
    height, *_ = dataset.chunks
    tail = [0] * (dataset.ndim - 1)
    first = -(-rows // height) * height
    found = (dataset.id.get_chunk_info_by_coord((row, *tail)) for row in range(first, len(dataset), height))
    return [(info.byte_offset, info.size) for info in found if info.byte_offset is not None]
