"""Hard cuts in the picture (a goal replay, a respawn): learning must not join the frames on their two sides."""

from __future__ import annotations

import cv2
import numpy as np

from rl_utils.interfaces import Image

STRIDE_PX = 12
CUT_LEVELS = 35.0
"""Mean change of a subsampled pixel that counts as a cut, in grey levels. Source: 4 minutes of disturbed play in the
arena at 30 fps: 99.9 % of the changes are below 26 and the largest is 32, while new starts change it by 26 to 66 with a
median of 55 (November 2026). Not measured on the real game."""
CUT_RATIO = 3.0
"""A cut also stands out this much from the frames before it, so that a shaking camera is not one long cut."""


class CutDetector:
    """Compares each frame with the one before it."""

    def __init__(self) -> None:
        self._previous: np.ndarray | None = None
        self._usual = 0.0

    def is_cut(self, image: Image) -> bool:
        """Whether the picture has nothing to do with the previous one. (H, W, 3) uint8 RGB."""
        small = image[::STRIDE_PX, ::STRIDE_PX].copy()
        previous, self._previous = self._previous, small
        if previous is None or previous.shape != small.shape:
            self._usual = 0.0
            return False
        change = cv2.norm(small, previous, cv2.NORM_L1) / small.size
        cut = change > CUT_LEVELS and change > CUT_RATIO * self._usual
        self._usual += 0.1 * (min(change, CUT_LEVELS) - self._usual)
        return cut
