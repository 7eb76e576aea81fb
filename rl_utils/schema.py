"""Recording format, version 1: names, types and codecs of a session's files. Writer and readers share this one copy.

A session is a folder with `session.json` and batch files `{unix ms}_batch.h5`; a batch file that is still being
written is called `{unix ms}_batch.h5.part`.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, Final, Literal

import numpy as np

from rl_utils.controls import N_CONTROLS

deflate: ModuleType
try:
    from isal import isal_zlib as deflate
except ImportError:  # no wheel for this machine: the same streams at four times the cost
    deflate = zlib

FORMAT_VERSION: Final = 1

Codec = Literal["gzip", "jpeg"]

SESSION_FILE: Final = "session.json"
BATCH_SUFFIX: Final = "_batch.h5"
BATCH_GLOB: Final = "*" + BATCH_SUFFIX
PART_SUFFIX: Final = ".part"
PART_GLOB: Final = BATCH_GLOB + PART_SUFFIX
NEW_SUFFIX: Final = ".new"
NEW_GLOB: Final = f"{BATCH_GLOB}.*{NEW_SUFFIX}"
"""Files that hold nothing yet; a recorder that is killed within these few milliseconds leaves one behind."""

FRAMES: Final = "frames"
JPEG: Final = "jpeg"
JPEG_INDEX: Final = "jpeg_index"
EVENTS: Final = "events"
LABELS: Final = "labels"
STATE: Final = "state"
INPUTS: Final = "inputs"

COLUMNS: Final[Mapping[str, tuple[np.dtype[Any], tuple[int, ...]]]] = MappingProxyType(
    {
        INPUTS: (np.dtype("<f4"), (N_CONTROLS,)),
        "timestamps_ns": (np.dtype("<i8"), ()),
        "inputs_ns": (np.dtype("<i8"), ()),
        "segment": (np.dtype("<i4"), ()),
        "episode": (np.dtype("<i4"), ()),
        "source": (np.dtype("u1"), ()),
        "flags": (np.dtype("u1"), ()),
    }
)
"""Datasets with one row per sample that every file has: dtype and shape of a row."""

ROW_BYTES: Final = sum(dtype.itemsize * math.prod(tail) for dtype, tail in COLUMNS.values())
"""Size of a sample without its picture."""

EVENT_DTYPE: Final = np.dtype([("t_ns", "<i8"), ("type", "<u2"), ("code", "<u2"), ("value", "<i4")])
"""One raw pad event, in dataset `events`."""

# gzip 1: half of raw size; higher levels take CPU that the game needs. ISA-L's level 1 gives nearly the same size at a
# quarter of the cost. Source: measured 2026, facts of this project (storage A1).
DEFLATE_LEVEL: Final = 1
JPEG_QUALITY: Final = 90


def batch_time_ms(file: Path) -> int:
    """The time in the name of a batch file, by which readers sort; 0 where it is none."""
    stamp = file.name.removesuffix(BATCH_SUFFIX)
    return int(stamp) if stamp.isdecimal() else 0


def compress(pixels: np.ndarray) -> bytes:
    """Make the zlib stream that HDF5's gzip filter reads. Releases the GIL.

    Args:
        pixels: Any C-contiguous array.
    """
    stream: bytes = deflate.compress(pixels.data, DEFLATE_LEVEL)
    return stream


def decompress(stream: bytes, size: int) -> bytes:
    """Undo `compress`. Releases the GIL.

    Args:
        stream: A zlib stream of any writer.
        size: Expected length of the result in bytes.

    Raises:
        ValueError: The stream is damaged or of another length.
    """
    try:
        raw: bytes = deflate.decompress(stream, bufsize=size)
    except (zlib.error, deflate.error) as error:
        raise ValueError(f"damaged picture ({error})") from error
    if len(raw) != size:
        raise ValueError(f"damaged picture ({len(raw)} bytes instead of {size})")
    return raw
