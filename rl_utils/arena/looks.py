"""How the arena looks: other colours and other light, so that a policy can be tested where it has never been.

A look changes nothing but colours: shapes, camera and play stay as they are, and so does what the game prints over the
picture. The default look leaves every pixel as it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from rl_utils.arena.lens import Colour, Pixels
from rl_utils.errors import UserError

_LUMINANCE: Final = np.array([0.114, 0.587, 0.299])
"""Of blue, green and red. Source: ITU-R BT.601."""


@dataclass(frozen=True, slots=True)
class Paint:
    """What becomes of the colours of one material.

    Attributes:
        order: Which of the old blue, green and red each new channel takes.
        tint: Blue, green and red of a body of one colour; colours are drawn towards it, each as bright as it was.
        share: How far they are drawn, 0 to 1.
        light: Factor of brightness.
    """

    order: tuple[int, int, int] = (0, 1, 2)
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    share: float = 0.0
    light: float = 1.0

    def on(self, colours: NDArray[np.float64]) -> NDArray[np.float64]:
        """Repaint (..., 3) blue, green, red from 0 to 255."""
        mixed = colours[..., list(self.order)]
        body = (mixed @ _LUMINANCE)[..., None] * np.array(self.tint)
        painted: NDArray[np.float64] = np.clip(self.light * ((1 - self.share) * mixed + self.share * body), 0.0, 255.0)
        return painted

    def colour(self, colour: Colour) -> Colour:
        """Repaint one colour; the fourth value stays."""
        if self == Paint():
            return colour
        b, g, r = self.on(np.array(colour[:3], float)).tolist()
        return b, g, r, colour[3]

    def picture(self, pixels: Pixels) -> Pixels:
        """Repaint (H, W, 4) uint8 BGRX; returns the same one where nothing changes."""
        if self == Paint():
            return pixels
        painted = pixels.copy()
        for rows in np.array_split(np.arange(len(pixels)), 16):  # a sixteenth as floats at a time
            painted[rows, :, :3] = np.rint(self.on(pixels[rows, :, :3].astype(np.float64)))
        return painted


PLAIN: Final = Paint()


@dataclass(frozen=True, slots=True)
class Look:
    """Colours and light of everything.

    Attributes:
        ground: The pitch with its lines, and shadows on it.
        walls: With the goals.
        sky: Above the walls.
        cars: Both teams' bodies.
        ball: Its body.
        vignette: How much darker the picture is in its corners than in its middle, 0 to 1.
    """

    ground: Paint = PLAIN
    walls: Paint = PLAIN
    sky: Paint = PLAIN
    cars: Paint = PLAIN
    ball: Paint = PLAIN
    vignette: float = 0.0

    def shade(self, width: int, height: int) -> Pixels | None:
        """(height, width, 4) uint8: 255 times the light at each pixel; None where it is the same everywhere."""
        if self.vignette == 0:
            return None
        x = (np.arange(width) + 0.5) / width * 2 - 1
        y = (np.arange(height) + 0.5) / height * 2 - 1
        light = 1 - self.vignette * (x[None, :] ** 2 + y[:, None] ** 2) / 2
        return np.repeat(np.rint(255 * light).astype(np.uint8)[..., None], 4, axis=2)


_MOON: Final = (1.5, 0.95, 0.7)
LOOKS: Final = {
    "default": Look(),
    "night": Look(
        ground=Paint(tint=_MOON, share=0.5, light=0.5),
        walls=Paint(tint=_MOON, share=0.3, light=0.55),
        sky=Paint(tint=(1.6, 0.8, 0.6), share=0.6, light=0.18),
        cars=Paint(light=0.75),
        ball=Paint(tint=(1.1, 1.0, 0.95), share=0.3, light=0.8),
        vignette=0.5,
    ),
    "desert": Look(
        ground=Paint(tint=(0.72, 1.02, 1.25), share=0.9, light=1.55),
        walls=Paint(tint=(0.7, 0.95, 1.3), share=0.6, light=1.1),
        sky=Paint(tint=(0.95, 1.0, 1.1), share=0.6, light=1.1),
        cars=Paint(order=(1, 0, 2)),
        ball=Paint(tint=(0.75, 0.85, 1.35), share=0.8, light=0.85),
        vignette=0.2,
    ),
    "ice": Look(
        ground=Paint(tint=(1.2, 1.0, 0.85), share=0.85, light=1.9),
        walls=Paint(tint=(1.25, 1.0, 0.8), share=0.5, light=1.35),
        sky=Paint(order=(2, 1, 0), light=1.05),
        cars=Paint(order=(1, 2, 0)),
        ball=Paint(tint=(0.6, 0.7, 1.6), share=0.85, light=0.7),
    ),
}
"""By name, as on the command line."""


@cache
def look_named(name: str) -> Look:
    """The look of this name.

    Raises:
        UserError: There is none.
    """
    if name not in LOOKS:
        raise UserError(f"There is no look {name}", f"Choose one of {', '.join(LOOKS)}")
    return LOOKS[name]
