"""When each sample of one or more recordings is shown: real frame times with gaps shortened, and a strip of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from rl_utils.interfaces import Image, Source
from rl_utils.overlay import BACKGROUND, PREDICTED, RECORDED, TEXT, Colour, blank

GAP_S: Final = 0.5
"""A longer wait between two samples is a gap, and is shown this long."""

STRIP_HEIGHT: Final = 22
GAP_COLOUR: Final[Colour] = (255, 92, 92)
SOURCE_COLOURS: Final[dict[int, Colour]] = {
    Source.HUMAN: (72, 118, 196),
    Source.POLICY: PREDICTED,
    Source.TAKEOVER: (196, 92, 196),
    Source.SCRIPTED: RECORDED,
}
_OTHER_SOURCE: Final[Colour] = (128, 128, 128)


@dataclass(frozen=True)
class Stretch:
    """The part of a recording that the timeline needs.

    Attributes:
        timestamps_ns: (N,) int64, the time of each sample; times that do not grow are shown one frame apart.
        segments: (N,) int32.
        sources: (N,) uint8, who held the pad.
        fps: Target rate in Hz, how long the last sample is shown.
    """

    timestamps_ns: NDArray[np.int64]
    segments: NDArray[np.int32]
    sources: NDArray[np.uint8]
    fps: float

    def __post_init__(self) -> None:
        n = len(self.timestamps_ns)
        assert len(self.segments) == n, (len(self.segments), n)
        assert len(self.sources) == n, (len(self.sources), n)
        assert self.fps > 0, self.fps


class Timeline:
    """Play time of every sample of several recordings, one after the other.

    Args:
        stretches: One per recording; empty ones are allowed, but not all of them may be.

    Attributes:
        times_s: (N,) float64, when each sample appears; the first one at 0, ever growing.
        breaks: (N,) bool, whether the sample does not continue the one before it (new segment, gap or recording).
        gaps_s: index of a sample → how much real time was left out before it. Recordings that follow one another
            have no known time between them; theirs is 0.
        starts: (R,) int64, index of each recording's first sample.
        duration_s: When the last sample has been shown.
    """

    def __init__(self, stretches: Sequence[Stretch]) -> None:
        lengths = [len(s.timestamps_ns) for s in stretches]
        assert sum(lengths) > 0, "nothing to show"
        self.starts = np.concatenate(([0], np.cumsum(lengths)[:-1])).astype(np.int64)
        self.sources = np.concatenate([s.sources for s in stretches])
        self.gaps_s: dict[int, float] = {}
        steps: list[NDArray[np.float64]] = []
        breaks: list[NDArray[np.bool_]] = []
        for start, stretch in zip(self.starts, stretches, strict=True):
            steps.append(self._steps(int(start), stretch))
            new = np.ones(len(stretch.segments), np.bool_)
            new[1:] = (np.diff(stretch.segments) != 0) | (steps[-1][1:] >= GAP_S)
            breaks.append(new)
        self.breaks = np.concatenate(breaks)
        step = np.concatenate(steps)
        step[0] = 0.0
        self.gaps_s.pop(0, None)
        self.times_s = np.cumsum(step)
        last = next(s for s in reversed(stretches) if len(s.timestamps_ns))
        self.duration_s = float(self.times_s[-1]) + 1 / last.fps

    def _steps(self, start: int, stretch: Stretch) -> NDArray[np.float64]:
        """Seconds between each sample and the one before it, as shown."""
        steps = np.full(len(stretch.timestamps_ns), GAP_S)
        if len(steps) == 0:
            return steps
        self.gaps_s[start] = 0.0
        real = np.diff(stretch.timestamps_ns) / 1e9
        real[real <= 0] = 1 / stretch.fps
        for index in np.flatnonzero(real > GAP_S):
            self.gaps_s[start + int(index) + 1] = float(real[index])
        steps[1:] = np.minimum(real, GAP_S)
        return steps

    def __len__(self) -> int:
        return len(self.times_s)

    def index_at(self, time_s: float) -> int:
        """The sample that is seen at this time; the first or last one outside the timeline."""
        index = int(np.searchsorted(self.times_s, time_s, side="right")) - 1
        return min(max(index, 0), len(self) - 1)

    def recording_of(self, index: int) -> tuple[int, int]:
        """(number of the recording, index inside it) of a sample."""
        number = int(np.searchsorted(self.starts, index, side="right")) - 1
        return number, index - int(self.starts[number])

    def stretch_start(self, index: int) -> int:
        """The first sample of the unbroken stretch that a sample is in."""
        return int(np.flatnonzero(self.breaks[: index + 1])[-1])

    def strip(self, width: int, height: int = STRIP_HEIGHT) -> Image:
        """The whole timeline as a picture: who played by colour, segments as notches, gaps as red bars.

        Returns:
            (height, width, 3) uint8 RGB.
        """
        picture = blank(width, height)
        bar = slice(height // 3, height - 2)
        shown = [self.index_at((x + 0.5) / width * self.duration_s) for x in range(width)]
        row = np.array([SOURCE_COLOURS.get(int(self.sources[i]), _OTHER_SOURCE) for i in shown], np.float64)
        picture[bar] = (row * 0.6).astype(np.uint8)
        for index in (np.flatnonzero(self.breaks[1:]) + 1).tolist():
            x = self._x(float(self.times_s[index]), width)
            picture[bar, x] = BACKGROUND
        for index in self.gaps_s:
            right = self._x(float(self.times_s[index]), width)
            left = self._x(float(self.times_s[index]) - GAP_S, width)
            picture[bar, left : max(right, left + 1)] = GAP_COLOUR
        return picture

    def draw_position(self, strip: Image, time_s: float) -> None:
        """Mark a time on a copy of `strip`, in place."""
        height, width = strip.shape[:2]
        x = self._x(time_s, width)
        cv2.line(strip, (x, height // 3), (x, height - 1), TEXT, 1)
        points = np.array([(x - 5, 0), (x + 5, 0), (x, height // 3)], np.int32)
        cv2.fillConvexPoly(strip, points, TEXT, cv2.LINE_AA)

    def time_at(self, x: float, width: int) -> float:
        """The time behind a point of the strip, in s."""
        return min(max(x / width, 0.0), 1.0) * self.duration_s

    def _x(self, time_s: float, width: int) -> int:
        return min(max(int(time_s / self.duration_s * width), 0), width - 1)
