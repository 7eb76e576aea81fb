"""How training pictures may look otherwise: other colours, out of focus, or without their past.

For recordings whose light, map or sharpness is not that of the play to come, and against a network that copies what it
did from the older pictures. All of it is in training only, off unless asked for, and drawn anew for every moment of
every pass from the run's seed; what must be the same in play stands in the preprocessing (`preprocess`, its masks).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from rl_utils.preprocess import PreprocessSpec, Stack

MIDDLE: Final = 128.0
"""The grey that contrast leaves as it is."""


@dataclass(frozen=True)
class Looks:
    """How far pictures may differ.

    Attributes:
        colour: Contrast changes by up to this share, brightness by half as much of the whole range, and each of red,
            green and blue by half as much of itself.
        blur: Share of moments that are seen out of focus.
        drop_past: Share of moments whose older pictures are replaced by the newest: nothing moves.
    """

    colour: float = 0.0
    blur: float = 0.0
    drop_past: float = 0.0

    @property
    def any(self) -> bool:
        """Whether there is anything to do."""
        return max(self.colour, self.blur, self.drop_past) > 0


AS_RECORDED: Final = Looks()


@dataclass(frozen=True)
class DrawnLooks:
    """What happens to each moment of a batch.

    Attributes:
        tables: (B, 3, 256) uint8, for red, green and blue what each value becomes; empty where colours stay.
        blurred: (B,) bool.
        without_past: (B,) bool.
    """

    tables: NDArray[np.uint8]
    blurred: NDArray[np.bool_]
    without_past: NDArray[np.bool_]

    @classmethod
    def draw(cls, how: Looks, count: int, chance: np.random.Generator) -> Self:
        """Draw lots for `count` moments."""
        blurred, without_past = chance.random((2, count)) < [[how.blur], [how.drop_past]]
        tables = np.empty((count, 0, 256), np.uint8)
        if how.colour:
            contrast, brightness = 1 + how.colour * chance.uniform(-1, 1, count), chance.uniform(-1, 1, count)
            gain = 1 + how.colour / 2 * chance.uniform(-1, 1, (count, 3))
            values = contrast[:, None] * (np.arange(256) - MIDDLE) + MIDDLE + how.colour / 2 * 255 * brightness[:, None]
            tables = np.rint(gain[:, :, None] * values[:, None]).clip(0, 255).astype(np.uint8)
        return cls(tables, blurred, without_past)

    def of(self, part: slice) -> Self:
        """The lots of some of the moments."""
        return type(self)(self.tables[part], self.blurred[part], self.without_past[part])


def change_looks(stacks: NDArray[Any], drawn: DrawnLooks, spec: PreprocessSpec) -> NDArray[Any]:
    """Change pictures as drawn.

    Args:
        stacks: (B, channels, height, width) uint8; left as they are.
        drawn: For each of them.
        spec: What the channels are.

    Returns:
        The same shape. All pictures of a moment change alike.
    """
    stacks = stacks.copy()
    # The newest picture has all planes.
    newest = {plane: channel for channel, (ago, plane) in enumerate(spec.planes) if ago == 0}
    source = [newest[plane] for _, plane in spec.planes]
    for i in np.flatnonzero(drawn.without_past).tolist():
        stacks[i] = stacks[i, source]
    for i in np.flatnonzero(drawn.blurred).tolist():
        _blur(stacks[i])
    if drawn.tables.size:
        for stack, tables in zip(stacks, drawn.tables, strict=True):
            for channel, (_, plane) in zip(stack, spec.planes, strict=True):
                cv2.LUT(channel, tables[plane % len(tables)], dst=channel)
    return stacks


def _blur(stack: Stack) -> None:
    for channel in stack:
        channel[:] = cv2.blur(channel, (3, 3))
