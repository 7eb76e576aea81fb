"""A window that shows pictures and tells which keys were pressed in it (pygame-ce)."""

from __future__ import annotations

import importlib.util
import os
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Self

import cv2
import numpy as np

from rl_utils.errors import UserError
from rl_utils.interfaces import Image

WM_CLASS: Final = "rlai-viewer"
"""Tells this window from the game's, whatever its title."""

_SETTINGS: Final = {
    "PYGAME_HIDE_SUPPORT_PROMPT": "1",
    "SDL_FRAMEBUFFER_ACCELERATION": "0",  # flip costs 0.2 ms instead of 3 ms (measured on Xvfb, 960×540)
    "SDL_VIDEO_X11_NET_WM_BYPASS_COMPOSITOR": "0",  # a viewer must not switch desktop effects off
    "SDL_VIDEO_ALLOW_SCREENSAVER": "1",
}
_KEY_REPEAT_MS: Final = (350, 40)


@dataclass(frozen=True)
class ViewerEvent:
    """Something the person did in the window.

    Attributes:
        name: A key in lower case ("space", "left", "page up", "q", "+"), "click", "drag", or "quit" for the window's
            close button.
        x: Position in px of the shown picture, for "click" and "drag".
        y: The same.
    """

    name: str
    x: float = 0.0
    y: float = 0.0


def check_viewer(instead: str) -> None:
    """See to it that a window could be opened, without opening one.

    Args:
        instead: What the person can do without a window, to end the remedy "Run it in a desktop session, or ...".

    Raises:
        UserError: pygame-ce is not installed, or there is no display.
    """
    if importlib.util.find_spec("pygame") is None:
        raise UserError("Showing pictures needs pygame-ce, which is not installed", 'Run "pip install pygame-ce"')
    if not _drivers():
        raise UserError(
            "There is no display to open a window on (DISPLAY is not set)",
            f"Run it in a desktop session, or {instead}",
        )


def _drivers() -> str:
    """SDL's ways to a screen that may work here, best first. Left to itself, SDL ends up drawing into nothing."""
    chosen = os.environ.get("SDL_VIDEODRIVER", "")
    ways = [name for name, variable in (("x11", "DISPLAY"), ("wayland", "WAYLAND_DISPLAY")) if os.environ.get(variable)]
    return chosen or ",".join(ways)


class Viewer:
    """A resizable window. Pictures are scaled to it, keeping their shape. Use one per process.

    Args:
        title: Of the window.
        size: (width, height) in px.
        take_focus: Whether the window may become the active one when it appears. Without, it stays in the background
            of the keyboard: a game that is being driven must not lose the focus to it.
        instead: See `check_viewer`.

    Raises:
        UserError: pygame-ce is not installed, or there is no display.
    """

    def __init__(
        self, title: str, size: tuple[int, int], *, take_focus: bool = True, instead: str = "go without"
    ) -> None:
        check_viewer(instead)
        for name, value in _SETTINGS.items():
            os.environ.setdefault(name, value)
        os.environ["SDL_VIDEO_X11_WMCLASS"] = WM_CLASS
        import pygame

        self._pygame = pygame
        self._closed = False
        self._image: Image | None = None
        self._scale = 1.0
        self._offset = (0, 0)
        drivers, before = _drivers(), os.environ.get("SDL_VIDEODRIVER")
        os.environ["SDL_VIDEODRIVER"] = drivers
        try:
            pygame.display.init()
            quiet = not take_focus and pygame.display.get_driver() == "x11"
            flags = pygame.RESIZABLE | (pygame.HIDDEN if quiet else 0)
            pygame.display.set_mode(size, flags)
        except pygame.error as error:
            pygame.display.quit()
            raise UserError(
                f"No window could be opened on display {os.environ.get('DISPLAY') or 'of Wayland'} ({error})",
                f"Run it in a desktop session, or {instead}",
            ) from error
        finally:
            if before is None:
                del os.environ["SDL_VIDEODRIVER"]
        pygame.display.set_caption(title)
        if quiet:
            # Asking for the pointer is a round trip to the server: SDL's own requests, hiding among them, are done.
            pygame.mouse.get_pos(desktop=True)
            _map_without_focus()
        pygame.key.set_repeat(*_KEY_REPEAT_MS)

    @property
    def closed(self) -> bool:
        """Whether the person closed the window, or `close` was called."""
        return self._closed

    def show(self, image: Image) -> None:
        """Show a picture. Does nothing once closed.

        Args:
            image: (H, W, 3) uint8 RGB of any size.
        """
        if self._closed:
            return
        self._image = image
        surface: Any = self._pygame.display.get_surface()  # another one after the window was resized
        width, height = surface.get_size()
        h, w = image.shape[:2]
        self._scale = min(width / w, height / h)
        new_w, new_h = max(1, round(w * self._scale)), max(1, round(h * self._scale))
        self._offset = ((width - new_w) // 2, (height - new_h) // 2)
        if (new_w, new_h) != (w, h):
            method = cv2.INTER_AREA if self._scale < 1 else cv2.INTER_LINEAR
            image = np.asarray(cv2.resize(image, (new_w, new_h), interpolation=method), np.uint8)
        picture = self._pygame.image.frombuffer(np.ascontiguousarray(image).data, (new_w, new_h), "RGB")
        if (new_w, new_h) != (width, height):
            surface.fill((0, 0, 0))
        surface.blit(picture, self._offset)
        self._pygame.display.flip()

    def events(self) -> list[ViewerEvent]:
        """What happened since the last call. Call it often: it also keeps the window alive."""
        if self._closed:
            return []
        found: list[ViewerEvent] = []
        events = self._pygame.event.get()
        repaint = (self._pygame.VIDEOEXPOSE, self._pygame.WINDOWSIZECHANGED)
        if self._image is not None and any(event.type in repaint for event in events):
            self.show(self._image)
        for event in events:
            translated = self._translate(event)
            if translated is not None:
                found.append(translated)
        if any(e.name == "quit" for e in found):
            self.close()
        return found

    def _translate(self, event: Any) -> ViewerEvent | None:
        pygame = self._pygame
        if event.type == pygame.QUIT:
            return ViewerEvent("quit")
        if event.type == pygame.KEYDOWN:
            # "+" is a shifted key on most keyboards: what was typed counts, not where it is
            name = event.unicode if event.unicode in ("+", "-") else pygame.key.name(event.key)
            return ViewerEvent(str(name).lower())
        if event.type == pygame.MOUSEBUTTONDOWN and event.button == pygame.BUTTON_LEFT:
            return ViewerEvent("click", *self._picture_position(event.pos))
        if event.type == pygame.MOUSEMOTION and event.buttons[0]:
            return ViewerEvent("drag", *self._picture_position(event.pos))
        return None

    def _picture_position(self, position: tuple[int, int]) -> tuple[float, float]:
        return (position[0] - self._offset[0]) / self._scale, (position[1] - self._offset[1]) / self._scale

    def close(self) -> None:
        """Close the window. May be called more than once."""
        if not self._closed:
            self._closed = True
            self._pygame.display.quit()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _map_without_focus() -> None:
    """Make SDL's hidden window appear by X requests of our own.

    SDL 2.32's hint against activation has no effect on X11, and without a window manager SDL takes the focus outright
    (measured); a user time of 0 tells window managers not to activate a new window. The window is found by its class
    and process, because pygame.display.get_wm_info() crashes when a second display is opened (pygame-ce 2.5.8).
    Source: Extended Window Manager Hints 1.5, _NET_WM_USER_TIME, _NET_WM_PID.
    """
    from Xlib.error import BadWindow

    from rl_utils.x11 import open_display

    display = open_display()
    try:
        pid, cardinal = display.get_atom("_NET_WM_PID"), display.get_atom("CARDINAL")
        for window in display.screen().root.query_tree().children:
            with suppress(BadWindow):  # someone else's, just closed
                owner = window.get_full_property(pid, cardinal)
                ours = owner is not None and owner.value[0] == os.getpid()
                if ours and window.get_wm_class() == (WM_CLASS, WM_CLASS):
                    window.change_property(display.get_atom("_NET_WM_USER_TIME"), cardinal, 32, [0])
                    window.map()
        display.sync()
    finally:
        display.close()
