"""python -m rl_utils.bench_window [LOG SOCKET]: a picture that moves at 60 Hz over the whole screen, to measure by.

It counts its drawings in black and white blocks in its corner. LOG receives the times at which each number came onto
the screen, and the arena's pad on SOCKET holds a stick where the number says, so that a recording can be checked number
by number. The server copies the picture from memory of its own, so that drawing costs little. Ends when terminated.
"""

from __future__ import annotations

import contextlib
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from Xlib import X
from Xlib.display import Display

from rl_utils.controls import REST, Control
from rl_utils.interfaces import Image, Inputs, InputVector
from rl_utils.pacing import Pacer
from rl_utils.x11 import CONNECTION_LOST, open_display

TITLE: Final = "RLAI bench"
RATE_HZ: Final = 60.0
STEP_PX: Final = 7
"""So far the picture moves each time."""
BLOCK_PX: Final = 32
"""Side of a block; four times smaller it is still plain."""
BITS: Final = 16
SHOWN: Final = np.dtype([("number", "<i8"), ("before_ns", "<i8"), ("after_ns", "<i8")])
"""One row of the log: it came onto the screen between these two times."""
STEPS: Final = 256
"""The stick has so many places: the number's remainder."""
_REQUEST_BYTES: Final = 200_000  # the protocol's limit is 256 kB


def number_in(image: Image, *, width_px: int) -> int:
    """The number of the drawing that a picture of the window shows, in its lowest `BITS` bits.

    Args:
        image: (H, W, 3) uint8 RGB.
        width_px: Of the window itself.
    """
    scale = image.shape[1] / width_px
    row = int(BLOCK_PX / 2 * scale)
    return sum(1 << bit for bit in range(BITS) if image[row, int((bit + 0.5) * BLOCK_PX * scale), 0] > 127)


def stick_for(number: int) -> InputVector:
    """The pad's state while that number is shown. (19,) float32."""
    values = REST.copy()
    values[Control.RIGHT_X] = (number % STEPS) / (STEPS - 1)
    return values


def main() -> None:
    """Show it until terminated or until the X server goes."""
    display = open_display()
    with contextlib.ExitStack() as stack:
        told: list[Callable[[int], None]] = []
        log = None
        if len(sys.argv) > 2:
            log = stack.enter_context(Path(sys.argv[1]).open("wb", buffering=0))
            told.append(_open_pad(stack, Path(sys.argv[2])))
        stack.enter_context(contextlib.suppress(*CONNECTION_LOST))
        _show(display, told, log)


def _open_pad(stack: contextlib.ExitStack, path: Path) -> Callable[[int], None]:
    """Listen for readers of the pad; what comes back moves the stick."""
    from rl_utils.arena.server import LinkServer
    from rl_utils.arena.wire import PadMessage

    server = stack.enter_context(LinkServer(path, about={"driver": "bench", "state_names": []}))

    def move(number: int) -> None:
        now = time.monotonic_ns()
        server.poll(now)
        server.publish(PadMessage(Inputs(stick_for(number), t_ns=now), number))

    return move


def _show(display: Display, told: list[Callable[[int], None]], log: Any) -> None:
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
    display.sync()
    sys.stdout.write(f"{window.id}\n")
    sys.stdout.flush()
    pacer = Pacer(RATE_HZ)
    number = 0
    while True:
        for _ in range(display.pending_events()):
            display.next_event()
        top = pacer.wait().index * STEP_PX % height
        number += 1
        for tell in told:
            tell(number)
        # Into the picture first: one copy then shows it whole.
        for colour, bit in ((screen.black_pixel, 0), (screen.white_pixel, 1)):
            blocks = [(i * BLOCK_PX, top, BLOCK_PX, BLOCK_PX) for i in range(BITS) if number >> i & 1 == bit]
            context.change(foreground=colour)
            pixmap.poly_fill_rectangle(context, blocks)
        before = time.monotonic_ns()
        window.copy_area(context, pixmap, 0, top, width, height, 0, 0)
        display.sync()
        if log is not None:
            log.write(struct.pack("<qqq", number, before, time.monotonic_ns()))


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
