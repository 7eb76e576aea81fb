"""Pictures on disk at model size, read when a batch needs them: what does not fit into memory costs a read.

The file has no name and is gone with the process, however that ends. It is read past our own memory: what the kernel
keeps of it is memory that nobody else wanted, and is given back when somebody does.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from io import FileIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rl_utils.errors import UserError
from rl_utils.preprocess import PreprocessSpec


class PictureFile:
    """Pictures by number, as many planes of each as the spec says.

    Args:
        folder: Where it lies; made where it is missing.
        count: How many pictures it has room for; the disk is asked for all of it now, not when it is late.
        spec: What the pictures look like.

    Raises:
        UserError: The disk is full, or the folder cannot be written.
    """

    def __init__(self, folder: Path, count: int, spec: PreprocessSpec) -> None:
        self._folder = folder
        self._plane_bytes = spec.width * spec.height
        self._planes = spec.planes_per_picture
        opened: FileIO | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # Closed by close().
            opened = self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115
            if count:
                os.posix_fallocate(opened.fileno(), 0, count * self._planes * self._plane_bytes)
        except OSError as error:
            if opened is not None:
                opened.close()
            raise UserError(
                f"{folder} has no room for {count * self._planes * self._plane_bytes / 1e9:.1f} GB of pictures "
                f"({error.strerror})",
                "Free some space, choose an --out on a larger disk, or use --cache-disk-gb 0",
            ) from error

    def write(self, number: int, planes: NDArray[np.uint8]) -> None:
        """Store one picture, `Planes`. Threads may call this at the same time.

        Raises:
            UserError: The disk does not take it.
        """
        place = number * self._planes * self._plane_bytes
        left = np.ascontiguousarray(planes).reshape(-1).data
        try:
            while left:
                written = os.pwrite(self._file.fileno(), left, place)
                left, place = left[written:], place + written
        except OSError as error:
            raise UserError(
                f"Pictures cannot be written to {self._folder} ({error.strerror})", "Choose an --out on another disk"
            ) from error

    def read(self, number: int, plane: int, out: NDArray[np.uint8]) -> None:
        """Read some planes of one picture.

        Args:
            number: Of the picture.
            plane: The first of them.
            out: (planes, height, width) uint8, contiguous; filled.

        Raises:
            OSError: The disk fails.
        """
        place = (number * self._planes + plane) * self._plane_bytes
        left = out.reshape(-1).data
        while left:
            count = os.preadv(self._file.fileno(), [left], place)
            assert count > 0, "the file has been cut"
            left, place = left[count:], place + count

    def read_all(self, wanted: Sequence[tuple[int, int, NDArray[np.uint8]]], pool: ThreadPoolExecutor) -> None:
        """Read many, in several threads: a disk answers several questions at a time, and one thread asks only one.

        Args:
            wanted: Arguments of `read`.
            pool: The threads.
        """
        threads = pool._max_workers
        parts = [wanted[first::threads] for first in range(min(threads, len(wanted)))]

        def work(part: Sequence[tuple[int, int, NDArray[np.uint8]]]) -> None:
            for number, plane, out in part:
                self.read(number, plane, out)

        list(pool.map(work, parts))

    def forget(self) -> None:
        """Let the kernel drop what it keeps of the file in memory: the next read asks the disk. For measurements."""
        os.fdatasync(self._file.fileno())
        os.posix_fadvise(self._file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def close(self) -> None:
        """Give the space back."""
        self._file.close()
