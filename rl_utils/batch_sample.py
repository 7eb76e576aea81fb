"""What goes into batch files: a sample's picture as it is stored, the rest of it as a row, and what all have in common.

Pictures are compressed here, outside h5py, whose one lock would otherwise stall every other file of the process for
as long as a frame takes; h5py only stores the finished zlib stream as a one-frame chunk under its own gzip filter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from rl_utils import schema
from rl_utils.config import WindowSize
from rl_utils.interfaces import Image, InputVector

_JPEG_PARAMETERS: Final = [
    cv2.IMWRITE_JPEG_QUALITY,
    schema.JPEG_QUALITY,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
]


@dataclass(frozen=True)
class BatchSpec:
    """What all batch files of a session have in common.

    Attributes:
        size: (width, height) of the stored pictures in px.
        fps: Target rate in Hz.
        codec: How pictures are stored.
        native_size: (width, height) of the window before shrinking, (0, 0) where unknown.
        state_names: Names of the elements of `Row.state`.
    """

    size: WindowSize
    fps: float
    codec: schema.Codec = "gzip"
    native_size: WindowSize = (0, 0)
    state_names: tuple[str, ...] = ()


@dataclass(slots=True)  # frozen ones take three times as long to make
class Row:
    """Everything about one sample but its picture; see `schema.COLUMNS`."""

    inputs: InputVector
    timestamps_ns: int
    inputs_ns: int = 0
    segment: int = 0
    episode: int = 0
    source: int = 0
    flags: int = 0
    labels: InputVector | None = None
    state: NDArray[np.float32] | None = None


def encode(image: Image, codec: schema.Codec) -> bytes:
    """Turn a picture into the bytes that are stored. Releases the GIL while it works.

    Args:
        image: (H, W, 3) uint8 RGB.
        codec: "gzip" is lossless.
    """
    if codec == "gzip":
        return schema.compress(np.ascontiguousarray(image))
    done, encoded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), _JPEG_PARAMETERS)
    assert done
    return encoded.tobytes()
