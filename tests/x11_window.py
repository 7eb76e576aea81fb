"""A window whose every pixel is known, for the tests of finding and grabbing: `python tests/x11_window.py TITLE ...`.

It is filled with noise that follows from its size and seed, redraws itself 30 times a second as games do, and counts
these drawings in the blocks of its first rows. Its id is the first line on stdout; it goes when it is killed. SIGUSR1
makes it black and, the next time, not black again; SIGSTOP freezes it.
"""

from __future__ import annotations

import argparse
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
import xcffib
import xcffib.composite
import xcffib.randr
import xcffib.xproto
from Xlib import X, Xatom, display

BLOCK = 8
BITS = 16
FIRST_ROW = BLOCK
"""Below the counter."""
PERIOD_S = 1 / 30


def noise(width: int, height: int, seed: int = 0) -> np.ndarray:
    """The window's pixels, (height, width, 3) uint8 RGB; the rows above `FIRST_ROW` hold the counter instead."""
    return np.random.default_rng((width, height, seed)).integers(0, 256, (height, width, 3), np.uint8)


def counter(image: np.ndarray) -> int:
    """The number of the drawing that a picture of the window shows, any channel order."""
    middles = image[BLOCK // 2, BLOCK // 2 : BITS * BLOCK : BLOCK, 0]
    return sum(1 << i for i, value in enumerate(middles) if value > 127)


def until(what: Callable[[], Any], *, deadline_s: float = 60.0) -> Any:
    """Ask again and again until the answer is true, and return it. A loaded machine may stand still for seconds."""
    end = time.monotonic() + deadline_s
    while not (answer := what()):
        assert time.monotonic() < end, "this did not become true in time"
        time.sleep(0.01)
    return answer


def xdotool(*arguments: object) -> str:
    """Run xdotool on $DISPLAY."""
    done = subprocess.run(["xdotool", *map(str, arguments)], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def try_xdotool(*arguments: object) -> str:
    """As `xdotool`, "" where it fails: it finds nothing, or no window is active at this moment."""
    done = subprocess.run(["xdotool", *map(str, arguments)], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def activate(window: int) -> None:
    """Ask the window manager for the focus, and return when the window has it, which xdotool's --sync may not do."""
    xdotool("windowactivate", window)
    until(lambda: try_xdotool("getactivewindow") == str(window))


def set_screen_size(width: int, height: int) -> None:
    """Give $DISPLAY's screen another size, as monitors that come and go do; Xvfb's first size is the largest."""
    connection: Any = xcffib.connect()
    randr, root = connection(xcffib.randr.key), connection.setup.roots[0].root
    found = randr.GetScreenResources(root).reply()
    off = (0, 0, 0, xcffib.randr.Rotation.Rotate_0, 0, [])
    randr.SetCrtcConfig(found.crtcs[0], 0, found.config_timestamp, *off).reply()
    randr.SetScreenSize(root, width, height, width // 4, height // 4, is_checked=True).check()
    connection.disconnect()


@contextmanager
def compositor() -> Iterator[None]:
    """Keep every window's pixels off the screen of $DISPLAY, as the compositors of desktops do; it shows nothing."""
    connection: Any = xcffib.connect()
    composite, root = connection(xcffib.composite.key), connection.setup.roots[0].root
    composite.QueryVersion(0, 4).reply()
    owner, name = connection.generate_id(), "_NET_WM_CM_S0"
    connection.core.CreateWindow(0, owner, root, 0, 0, 1, 1, 0, xcffib.xproto.WindowClass.InputOnly, 0, 0, [])
    atom = connection.core.InternAtom(False, len(name), name).reply().atom
    connection.core.SetSelectionOwner(owner, atom, xcffib.CurrentTime)
    composite.RedirectSubwindows(root, xcffib.composite.Redirect.Manual, is_checked=True).check()
    try:
        yield
    finally:
        connection.disconnect()


class ShownWindow:
    """The program in a process of its own, on $DISPLAY, until the end of the `with` block.

    Attributes:
        id: X window id.
        process: The program.
    """

    def __init__(self, title: str = "Rocket League", **options: object) -> None:
        arguments = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
        command = [sys.executable, str(Path(__file__)), title, *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.close()
            raise AssertionError("the window's program did not start")
        self.id = int(line)

    def rename(self, title: str) -> None:
        xdotool("set_window", "--name", title, self.id)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _fill(connection: display.Display, drawable: Any, gc: Any, width: int, height: int, seed: int) -> None:
    pixels = np.zeros((height, width, 4), np.uint8)
    pixels[..., :3] = noise(width, height, seed)[..., ::-1]
    strip = max(1, 200_000 // (width * 4))
    for top in range(0, height, strip):
        rows = pixels[top : top + strip]
        drawable.put_image(gc, 0, top, width, len(rows), X.ZPixmap, 24, 0, rows.tobytes())


def _open(connection: display.Display, options: argparse.Namespace) -> Any:
    width, height = (int(n) for n in options.size.split("x"))
    left, top = (int(n) for n in options.at.split(","))
    screen = connection.screen()
    parent = screen.root
    if options.frame:  # as window managers of before EWMH do: an untitled frame around the window
        parent = screen.root.create_window(
            left, top, width + 10, height + 30, 0, screen.root_depth, override_redirect=True
        )
        parent.map()
        left, top = 5, 25
    window = parent.create_window(
        left,
        top,
        width,
        height,
        options.border,
        0 if options.input_only else screen.root_depth,
        X.InputOnly if options.input_only else X.InputOutput,
        override_redirect=options.override,
        event_mask=0 if options.input_only else X.ExposureMask | X.StructureNotifyMask,
    )
    window.set_wm_name(options.title.encode("latin-1", "replace").decode("latin-1"))
    if not options.old_title:
        name, utf8 = connection.intern_atom("_NET_WM_NAME"), connection.intern_atom("UTF8_STRING")
        window.change_property(name, utf8, 8, options.title.encode())
    window.set_wm_class("game", options.wm_class)
    # The place asked for counts also for a manager that likes to choose it: flags USPosition and USSize.
    hints = [3, left & 0xFFFFFFFF, top & 0xFFFFFFFF, width, height, *[0] * 13]
    window.change_property(Xatom.WM_NORMAL_HINTS, Xatom.WM_SIZE_HINTS, 32, hints)
    if not options.unmapped:
        window.map()
    connection.sync()
    return window


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("title")
    parser.add_argument("--wm-class", default="x11_window")
    parser.add_argument("--size", default="320x240")
    parser.add_argument("--at", default="100,100")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--border", type=int, default=0)
    for flag in ("--frame", "--override", "--input-only", "--unmapped", "--old-title", "--plain"):
        parser.add_argument(flag, type=int, default=0)
    options = parser.parse_args(argv)
    switches = itertools.count()
    black = next(switches)

    def switch(*_: object) -> None:
        nonlocal black
        black = next(switches) % 2

    signal.signal(signal.SIGUSR1, switch)
    connection = display.Display()
    connection.set_error_handler(lambda *_: None)
    window = _open(connection, options)
    sys.stdout.write(f"{window.id}\n")
    sys.stdout.flush()
    gc = window.create_gc()
    picture, size, number = None, (0, 0), 0
    while True:
        for _ in range(connection.pending_events()):
            connection.next_event()
        geometry = window.get_geometry()
        if (geometry.width, geometry.height) != size:
            size = (geometry.width, geometry.height)
            picture = window.create_pixmap(*size, connection.screen().root_depth)
            _fill(connection, picture, gc, *size, options.seed)
        for bit in range(BITS):
            gc.change(foreground=0xFFFFFF if number >> bit & 1 else 0)
            picture.fill_rectangle(gc, bit * BLOCK, 0, BLOCK, BLOCK)
        if black:
            gc.change(foreground=0)
            window.fill_rectangle(gc, 0, 0, *size)
        else:
            window.copy_area(gc, picture, 0, 0, *size, 0, 0)
        connection.flush()
        number = (number + 1) % (1 << BITS)
        time.sleep(PERIOD_S)


if __name__ == "__main__":
    try:
        main()
    except (OSError, display.error.ConnectionClosedError):
        os._exit(0)  # the X server went away, as some tests want it to
