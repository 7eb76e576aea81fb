"""Short tones that tell a player what the recorder does, without a look at the terminal."""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from rl_utils.console import log, ring
from rl_utils.interfaces import Device

RATE_HZ: Final = 22_050
NOTE_S: Final = 0.09
VOLUME: Final = 0.25

TUNES: Final[Mapping[str, tuple[int, ...]]] = {
    "recording": (660, 880),
    "paused": (660, 440),
    "marked": (1320,),
    "discarded": (330, 330, 220),
    "ended": (660, 440, 330),
}
"""Name → its notes in Hz, one after the other."""


def tune(notes_hz: tuple[int, ...]) -> np.ndarray:
    """(N,) int16 mono at `RATE_HZ`; every note fades in and out, so that it does not click."""
    seconds = np.arange(round(NOTE_S * RATE_HZ)) / RATE_HZ
    fade = np.sin(np.pi * seconds / NOTE_S)
    waves = [np.sin(2 * np.pi * hertz * seconds) * fade for hertz in notes_hz]
    return (np.concatenate(waves) * VOLUME * 32767).astype(np.int16)


class Sounds(Device):
    """Plays the tunes without waiting for them; where there is no sound device, the terminal's bell instead.

    Args:
        on: Without it nothing is opened, and nothing is heard.
    """

    def __init__(self, *, on: bool) -> None:
        self._on = on
        self._mixer: Any = None
        self._tunes: dict[str, Any] = {}
        if not on:
            return
        os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
        try:
            mixer = importlib.import_module("pygame.mixer")
            mixer.init(frequency=RATE_HZ, size=-16, channels=1, buffer=512)
            # A device may have its own idea of rate and channels: sounds are made for what it takes.
            _, _, channels = mixer.get_init()
            for name, notes in TUNES.items():
                mono = tune(notes)
                samples = mono if channels == 1 else np.repeat(mono[:, None], channels, axis=1)
                self._tunes[name] = mixer.Sound(buffer=np.ascontiguousarray(samples))
            self._mixer = mixer
        except (ImportError, RuntimeError) as error:  # pygame.error is a RuntimeError
            log(f"There is no sound device ({error}): the terminal's bell rings instead.")

    def play(self, name: str) -> None:
        """Begin to play one of `TUNES`."""
        if self._mixer is not None:
            self._tunes[name].play()
        elif self._on:
            ring()

    def close(self) -> None:
        """Let the last tune end, and close the device."""
        mixer, self._mixer = self._mixer, None
        if mixer is None:
            return
        deadline = time.monotonic() + NOTE_S * max(map(len, TUNES.values())) + 0.2
        while mixer.get_busy() and time.monotonic() < deadline:
            time.sleep(0.02)
        mixer.quit()
