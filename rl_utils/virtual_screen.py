"""A screen to open windows on where there is none: Xvfb with a window manager, for the demo."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from rl_utils.console import log
from rl_utils.errors import UserError

MANAGER_S: Final = 30.0
"""Time that the window manager may take to start."""


@contextmanager
def screen(folder: Path, size: str = "1280x800") -> Iterator[str]:
    """A display to open windows on: the person's own, else Xvfb of that size with a window manager."""
    display = os.environ.get("DISPLAY", "")
    if display and _answers(display):
        log(f"Using your display {display}.")
        yield display
        return
    if shutil.which("Xvfb") is None:
        raise UserError("There is no display and no Xvfb", "Run: sudo apt-get install xvfb openbox")
    read, write = os.pipe()
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", f"{size}x24", "-nolisten", "tcp", "-noreset"]
    with ExitStack() as stack, (folder / "xvfb.log").open("w") as output:
        server = subprocess.Popen(command, pass_fds=(write,), stderr=output, stdout=output)
        stack.callback(end_process, server)
        os.close(write)
        with os.fdopen(read) as pipe:
            display = f":{pipe.readline().strip()}"
        if display == ":":
            raise UserError("Xvfb did not start", f"Look into {folder / 'xvfb.log'}")
        stack.enter_context(environment(DISPLAY=display, WAYLAND_DISPLAY=None))
        if shutil.which("openbox"):
            manager = subprocess.Popen(["openbox"], stderr=output, stdout=output)
            stack.callback(end_process, manager)
            _wait_until_managed(display, folder)
        log(f"No display here: using a virtual one, Xvfb {display} (a real window, only not on a monitor).")
        yield display


@contextmanager
def environment(**values: str | None) -> Iterator[None]:
    """Set variables for what is started in the block (None removes one), and put them back after it."""
    before = {name: os.environ.get(name) for name in values}
    _set(values)
    try:
        yield
    finally:
        _set(before)


def _set(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _wait_until_managed(display: str, folder: Path) -> None:
    """Wait until a window is really managed: a manager announces itself earlier, and loses what is mapped in between.

    Raises:
        UserError: The manager did not take over the screen in time.
    """
    from rl_utils.x11 import XServer

    server = XServer(display)
    probe = server.root.create_window(0, 0, 1, 1, 0, server.display.screen().root_depth)
    try:
        deadline = time.monotonic() + MANAGER_S
        while server.property(probe, "WM_STATE") is None:
            if time.monotonic() > deadline:
                raise UserError("The window manager openbox did not start", f"Look into {folder / 'xvfb.log'}")
            probe.unmap()
            probe.map()
            server.display.sync()
            time.sleep(0.02)
    finally:
        probe.destroy()
        server.close()


def _answers(display: str) -> bool:
    from rl_utils.x11 import open_display

    try:
        open_display(display).close()
    except UserError:
        return False
    return True


def end_process(process: subprocess.Popen[Any]) -> None:
    """Ask a process to end, and make it."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
