"""The arena's window driven through the kernel, and the bot's pad as the kernel has it. For tests marked `uinput`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from rl_utils.arena.link import ArenaPad
from rl_utils.interfaces import PadEvent
from rl_utils.pad_device import PadDevice, Unplugged
from rl_utils.pad_finder import OWN_PHYS, SeenDevice, list_pads
from rl_utils.pad_state import PadState
from rl_utils.split_screen import HIDING
from tests.arena_process import connected, running_arena
from tests.conftest import start_xvfb


def until(what: Callable[[], object], deadline_s: float = 90.0) -> None:
    """Poll until it holds; the guest has one slow CPU, a broken program never gets there."""
    end = time.monotonic() + deadline_s
    while not what():
        assert time.monotonic() < end, "this did not become true in time"
        time.sleep(0.02)


class Witness:
    """The bot's pad as the kernel has it: what any game would find in it."""

    def __init__(self) -> None:
        found: list[SeenDevice] = []

        def is_there() -> bool:
            # The kernel shows a device in sysfs a moment before it has a node.
            found[:] = [device for device in list_pads() if device.phys == OWN_PHYS and device.readable]
            return bool(found)

        until(is_there)
        self._device = PadDevice(found[0])

    def state(self) -> np.ndarray:
        """The 19 inputs that it holds."""
        state = PadState(self._device.profile, self._device.axes)
        for event in self._device.state(1):
            state.apply(event)
        return state.sample(1)

    def holds(self, wanted: np.ndarray) -> bool:
        """Whether the pad's state is this one."""
        return np.allclose(self.state(), wanted, atol=0.01)

    def events(self) -> list[PadEvent]:
        """What has happened to it since this was asked last, with the kernel's own times."""
        return self._device.read()

    def is_gone(self) -> bool:
        """Whether the kernel has removed the pad."""
        try:
            self._device.read()
        except Unplugged:
            self._device.close()
            return True
        return False


@contextmanager
def driven_arena(folder: Path) -> Iterator[ArenaPad]:
    """An arena to be driven, in a window of its own, which does not see the person's DualSense."""
    import evdev

    keyboard = evdev.UInput(name="a keyboard")  # every machine has one; without any device /dev/input does not exist
    display, stop = start_xvfb("640x360")
    socket = folder / "arena.sock"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DISPLAY", display)
        patch.delenv("WAYLAND_DISPLAY", raising=False)
        patch.setenv(HIDING, "0x054c/0x0ce6")
        with running_arena(socket, "--driver", "pad", "--fps", "30", "--size", "320x180"), connected(socket) as pad:
            yield pad
    stop()
    keyboard.close()


def of_the(pad: ArenaPad) -> np.ndarray:
    return pad.at(time.monotonic_ns()).values
