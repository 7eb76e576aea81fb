"""The arena's window: SDL through pygame-ce, as in real games, so that our virtual gamepad meets it as it meets them.

The picture is copied into the window as it is, without scaling: capturing the window gives the renderer's very pixels.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

import numpy as np

from rl_utils.arena.lens import Pixels
from rl_utils.errors import UserError
from rl_utils.interfaces import InputVector

TITLE: Final = "Rocket League"
WM_CLASS: Final = "rlai-arena"
SMALLEST: Final = (64, 36)

_ENVIRONMENT: Final = {
    "PYGAME_HIDE_SUPPORT_PROMPT": "1",
    "SDL_VIDEO_X11_WMCLASS": WM_CLASS,
    # Our pictures are X11 windows even in a Wayland session: only those can be captured.
    "SDL_VIDEODRIVER": "x11",
    "SDL_AUDIODRIVER": "dummy",
    # Copying to the window through OpenGL costs 3.3 ms a frame without a GPU, 0.2 ms without it (measured on Xvfb).
    "SDL_FRAMEBUFFER_ACCELERATION": "0",
    "SDL_NO_SIGNAL_HANDLERS": "1",
    # A is the bottom button also on pads that print another letter there.
    "SDL_GAMECONTROLLER_USE_BUTTON_LABELS": "0",
    "SDL_JOYSTICK_ALLOW_BACKGROUND_EVENTS": "0",
    # Watching /dev/input itself also finds pads that are plugged in later where no udev daemon runs (containers).
    "SDL_JOYSTICK_DISABLE_UDEV": "1",
    "SDL_VIDEO_MINIMIZE_ON_FOCUS_LOSS": "0",
}


@dataclass(frozen=True, slots=True)
class Held:
    """What a person does at the window.

    Attributes:
        keys: (19,) float32.
        gamepads: (19,) float32, all of them together.
    """

    keys: InputVector
    gamepads: InputVector

    @property
    def all(self) -> InputVector:
        """(19,) float32, both together: for each control the one farther from rest."""
        from rl_utils.arena.human import merge

        return merge([self.keys, self.gamepads])


class ArenaWindow:
    """Shows pictures, and hears keyboard and gamepads while it has the focus. For the main thread.

    Args:
        width: Inside of the window, px.
        height: Inside of the window, px.

    Raises:
        UserError: There is no X display, it refuses, or pygame-ce is missing.
    """

    def __init__(self, width: int, height: int) -> None:
        if not os.environ.get("DISPLAY"):
            raise UserError(
                "The arena's window needs an X display (DISPLAY is not set)",
                'Start it in a terminal of your desktop, or make a screen: "Xvfb :99 &", "export DISPLAY=:99"',
            )
        os.environ.update(_ENVIRONMENT)
        try:
            import pygame
        except ImportError as error:
            raise UserError(
                f"The arena's window needs pygame-ce ({error})", 'Run "python -m pip install pygame-ce"'
            ) from error
        from rl_utils.arena.human import Gamepads, Keyboard

        self._pygame = pygame
        try:
            pygame.display.init()
            pygame.display.set_caption(TITLE)
            self._surface = pygame.display.set_mode((width, height), pygame.RESIZABLE)
        except pygame.error as error:
            pygame.display.quit()
            raise UserError(
                f"The display {os.environ['DISPLAY']} cannot be used ({error})",
                'Check that its X server is running, or make a screen: "Xvfb :99 &", "export DISPLAY=:99"',
            ) from error
        # Text input would eat dead keys and open an on-screen keyboard on some desktops.
        pygame.key.stop_text_input()
        self._keyboard = Keyboard()
        self._gamepads = Gamepads()
        self.close_requested = False
        """The person closed the window or pressed Esc."""
        self.restart_requested = False
        """R was pressed since `pump` was called last."""

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the picture to show, in px; very small windows show the corner of a larger one."""
        width, height = self._surface.get_size()
        return max(width, SMALLEST[0]), max(height, SMALLEST[1])

    @property
    def gamepads(self) -> list[str]:
        """Names of the gamepads plugged in."""
        return self._gamepads.names

    def pump(self) -> None:
        """Take in what happened since the last call."""
        pygame = self._pygame
        self.restart_requested = False
        for event in pygame.event.get():
            self._keyboard.take_event(event)
            self._gamepads.take_event(event)
            if event.type == pygame.QUIT or (event.type == pygame.KEYDOWN and event.scancode == pygame.KSCAN_ESCAPE):
                self.close_requested = True
            elif event.type == pygame.KEYDOWN and event.scancode == pygame.KSCAN_R:
                self.restart_requested = True
        self._surface = pygame.display.get_surface() or self._surface

    def read(self) -> Held:
        """What the person holds; what was tapped since the last call is shown once."""
        return Held(keys=self._keyboard.read(), gamepads=self._gamepads.read())

    def show(self, image: Pixels) -> None:
        """Put a picture into the window. (H, W, 4) uint8 BGRX."""
        width, height = self._surface.get_size()
        shown = image[:height, :width]
        pitch = self._surface.get_pitch()
        target = np.frombuffer(self._surface.get_buffer(), np.uint8)  # type: ignore[call-overload]  # a buffer all right
        rows = target.reshape(-1, pitch)[: len(shown), : 4 * shown.shape[1]]
        rows.reshape(len(shown), -1, 4)[:] = shown
        del target, rows
        self._pygame.display.flip()

    def close(self) -> None:
        """Close the window. May be called more than once."""
        if self._pygame.display.get_init():
            self._gamepads.close()
            self._pygame.display.quit()
