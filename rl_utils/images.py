"""Pixels as the X server gives them → the small RGB picture that is stored. The window and the direct mode share it."""

from __future__ import annotations

import ctypes
import functools
import importlib.machinery
from pathlib import Path
from typing import Any, Final, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from rl_utils.interfaces import Image

# A picture is shrunk in well under a millisecond; OpenCV's thread pool only takes cores from the game and adds jitter.
cv2.setNumThreads(1)

_COMPILED: Final = "_quarter"
"""What pip makes of `quarter.c` where there is a C compiler, in this folder."""
_STRIP_ROWS = 30
"""Of the small picture."""
BLACK_LEVEL: Final = 12
"""A picture without a brighter pixel is black; a dark menu still has text."""
BLACK_STRIDE_PX: Final = 8
"""Every so manieth row is looked at."""
_SAMPLE_ROWS = 16
"""Pictures that differ, nearly always differ in every so manieth row already."""


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
    if (w, h) == (4 * width, 4 * height):
        return _quarter_to_rgb(pixels)
    small = pixels
    if (w, h) != (width, height):
        if w > 2 * width and h > 2 * height:
            small = cast(NDArray[np.uint8], cv2.resize(small, (2 * width, 2 * height), interpolation=cv2.INTER_LINEAR))
        small = cast(NDArray[np.uint8], cv2.resize(small, (width, height), interpolation=cv2.INTER_AREA))
    return cast(Image, cv2.cvtColor(small, cv2.COLOR_BGRA2RGB))


@functools.cache
def compiled_shrinker() -> Any:
    """The function of `quarter.c`, or None where it was not compiled."""
    places = (Path(__file__).with_name(_COMPILED + suffix) for suffix in importlib.machinery.EXTENSION_SUFFIXES)
    found = next((place for place in places if place.exists()), None)
    if found is None:
        return None
    try:
        function = ctypes.CDLL(str(found)).rlai_quarter_to_rgb
    except (OSError, AttributeError):  # made for another machine or by another version
        return None
    function.argtypes = (ctypes.c_void_p, ctypes.c_long, ctypes.c_void_p, ctypes.c_long, ctypes.c_long)
    return function


def _quarter_to_rgb(pixels: NDArray[np.uint8]) -> Image:
    """The same bits at half the cost where `quarter.c` is compiled. (4 * height, 4 * width, 4) uint8 BGRX."""
    height, width = pixels.shape[0] // 4, pixels.shape[1] // 4
    shrink = compiled_shrinker()
    if shrink is not None and pixels.strides[1:] == (4, 1):
        rgb = np.empty((height, width, 3), np.uint8)
        if shrink(pixels.ctypes.data, pixels.strides[0], rgb.ctypes.data, width, height):
            return rgb
    return _quarter_by_opencv(pixels)


def _quarter_by_opencv(pixels: NDArray[np.uint8]) -> Image:
    """Halve twice and convert strip by strip, so that what lies between the steps stays in the processor's cache.

    From 1080p 1.01 ms of CPU time instead of 1.17. Source: measured on a busy machine, pictures written by another
    process, November 2026.

    Args:
        pixels: (4 * height, 4 * width, 4) uint8 BGRX.
    """
    height, width = pixels.shape[0] // 4, pixels.shape[1] // 4
    rgb = np.empty((height, width, 3), np.uint8)
    half = np.empty((2 * _STRIP_ROWS, 2 * width, 4), np.uint8)
    quarter = np.empty((_STRIP_ROWS, width, 4), np.uint8)
    for top in range(0, height, _STRIP_ROWS):
        rows = min(_STRIP_ROWS, height - top)
        strip = pixels[4 * top : 4 * (top + rows)]
        cv2.resize(strip, (2 * width, 2 * rows), dst=half[: 2 * rows], interpolation=cv2.INTER_AREA)
        cv2.resize(half[: 2 * rows], (width, rows), dst=quarter[:rows], interpolation=cv2.INTER_AREA)
        cv2.cvtColor(quarter[:rows], cv2.COLOR_BGRA2RGB, dst=rgb[top : top + rows])
    return rgb


def same_picture(one: Image, other: Image) -> bool:
    """Whether two pictures of one size are the same to the last bit.

    Where they differ, the comparison does not let go of the interpreter, as OpenCV would: to get it back from the
    thread that writes costs more than what is compared.

    Args:
        one: (H, W, 3) uint8.
        other: (H, W, 3) uint8.
    """
    if one[::_SAMPLE_ROWS].tobytes() != other[::_SAMPLE_ROWS].tobytes():
        return False
    return not cv2.norm(one, other, cv2.NORM_INF)


def is_black(image: Image) -> bool:
    """Whether a picture shows nothing. (H, W, 3) uint8; of nearly every other one a single row says so already."""
    return bool(image[len(image) // 2].max() < BLACK_LEVEL and image[::BLACK_STRIDE_PX].max() < BLACK_LEVEL)
