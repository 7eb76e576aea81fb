"""python -m rl_utils.bench_window: a picture that moves at 60 Hz over the whole screen, to measure capture by.

The server copies it from memory of its own, so that drawing costs next to nothing. Ends when it is terminated.
"""

from __future__ import annotations

import contextlib
import sys
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from Xlib import X
from Xlib.display import Display

from rl_utils.pacing import Pacer
from rl_utils.x11 import CONNECTION_LOST, open_display

TITLE: Final = "RLAI bench"
RATE_HZ: Final = 60.0
STEP_PX: Final = 7
"""So far the picture moves each time."""
_REQUEST_BYTES: Final = 200_000  # the protocol's limit is 256 kB


def main() -> None:
    """Show it until terminated or until the X server goes."""
    display = open_display()
    with contextlib.suppress(*CONNECTION_LOST):
        _show(display)


def _show(display: Display) -> None:
    screen = display.screen()
    width, height = screen.width_in_pixels, screen.height_in_pixels
    window = screen.root.create_window(0, 0, width, height, 0, screen.root_depth, event_mask=X.StructureNotifyMask)
    window.set_wm_name(TITLE)
    window.set_wm_class("rlai-bench", "rlai-bench")
    fullscreen = display.intern_atom("_NET_WM_STATE_FULLSCREEN")
    window.change_property(display.intern_atom("_NET_WM_STATE"), display.intern_atom("ATOM"), 32, [fullscreen])
    context = window.create_gc(graphics_exposures=False)
    pixmap = window.create_pixmap(width, 2 * height, screen.root_depth)
    _fill(pixmap, context, width, height)
    window.map()
    sys.stdout.write(f"{window.id}\n")
    sys.stdout.flush()
    pacer = Pacer(RATE_HZ)
    while True:
        for _ in range(display.pending_events()):
            display.next_event()
        top = pacer.wait().index * STEP_PX % height
        window.copy_area(context, pixmap, 0, top, width, height, 0, 0)
        display.flush()


def _fill(pixmap: Any, context: Any, width: int, height: int) -> None:
    """Draw the picture twice, one below the other, so that it can move in a circle."""
    picture = np.concatenate([_picture(width, height)] * 2)
    rows = max(1, _REQUEST_BYTES // (4 * width))
    for top in range(0, 2 * height, rows):
        strip = picture[top : top + rows]
        pixmap.put_image(context, 0, top, width, len(strip), X.ZPixmap, 24, 0, strip.tobytes())


def _picture(width: int, height: int) -> NDArray[np.uint8]:
    """Gradients with squares, as varied as a game's picture. (height, width, 4) uint8 BGRX."""
    y, x = np.mgrid[:height, :width]
    squares = np.random.default_rng(0).integers(0, 80, (height // 40 + 1, width // 40 + 1, 4))
    planes = [x * 175 // width, y * 175 // height, (x + y) * 175 // (width + height), 0 * x]
    return (np.stack(planes, -1) + squares.repeat(40, 0).repeat(40, 1)[:height, :width]).astype(np.uint8)


if __name__ == "__main__":
    main()
