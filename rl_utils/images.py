"""Pixels as the X server gives them → the small RGB picture that is stored. The window and the direct mode share it."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from rl_utils.interfaces import Image

# A picture is shrunk in well under a millisecond; OpenCV's thread pool only takes cores from the game and adds jitter.
cv2.setNumThreads(1)

_SAMPLE_PX = 16
"""Pictures that differ, nearly always differ in these rows and columns already."""


def shrink_to_rgb(pixels: NDArray[np.uint8], width: int, height: int) -> Image:
    """Shrink a BGRX picture by area averaging, then convert the small one to RGB.

    Exact factors of two use OpenCV's vectorised 2×2 box (0.7 ms from 1080p to 480×270 in two steps against 3.5 ms in
    one call, at most one level apart); other sizes are first brought to twice the target.
    Source: measured 2026, facts of this project (capture): resize stages at 1080p.

    Args:
        pixels: (H, W, 4) uint8 BGRX; may be a view that is overwritten later.
        width: Target width in px.
        height: Target height in px.

    Returns:
        (height, width, 3) uint8 RGB, always a new array.
    """
    h, w = pixels.shape[:2]
    small = pixels
    if (w, h) != (width, height):
        if (w, h) == (4 * width, 4 * height):
            small = cast(NDArray[np.uint8], cv2.resize(small, (2 * width, 2 * height), interpolation=cv2.INTER_AREA))
        elif w > 2 * width and h > 2 * height:
            small = cast(NDArray[np.uint8], cv2.resize(small, (2 * width, 2 * height), interpolation=cv2.INTER_LINEAR))
        small = cast(NDArray[np.uint8], cv2.resize(small, (width, height), interpolation=cv2.INTER_AREA))
    return cast(Image, cv2.cvtColor(small, cv2.COLOR_BGRA2RGB))


def same_picture(one: Image, other: Image) -> bool:
    """Whether two pictures of one size are the same to the last bit: 5 µs where they differ, 30 µs where not.

    Args:
        one: (H, W, 3) uint8.
        other: (H, W, 3) uint8.
    """
    sample = (slice(None, None, _SAMPLE_PX),) * 2
    return np.array_equal(one[sample], other[sample]) and not cv2.norm(one, other, cv2.NORM_INF)
