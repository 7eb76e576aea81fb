"""GameWindow: what is known of the game's window at one moment. The monitor makes it, the grabbers read by it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

ARENA_CLASS: Final = "rlai-arena"
"""WM_CLASS of the practice arena, which shares its title with the game."""


class NotReadable(Exception):  # noqa: N818  # a passing state of the window, not a failure
    """The window's pixels cannot be had at this moment; the text says why, for the status line."""


class WindowState(StrEnum):
    """How the game's window is; the value is what the status line says of it."""

    NOT_FOUND = "window not found"
    MINIMISED = "minimised"
    NOT_FOCUSED = "not focused"
    FOCUSED = ""


@dataclass(frozen=True, slots=True)
class GameWindow:
    """The game's window as it was at one `WindowMonitor.update`.

    Attributes:
        state: The worst that is true of it.
        id: X window id, 0 while there is none.
        title: As the window manager shows it.
        wm_class: Class part of WM_CLASS.
        left: Of its own pixels, without the manager's frame, in px from the screen's left edge; may be negative.
        top: In px from the screen's upper edge; may be negative.
        width: In px.
        height: In px.
        border: Width of its X border in px, 0 under nearly every window manager.
        covered: Other windows lie over it, and no compositor keeps its pixels.
        off_screen: A part of it is outside the screen.
        serial: Grows when another window is followed, also when that has the same id again.
    """

    state: WindowState = WindowState.NOT_FOUND
    id: int = 0
    title: str = ""
    wm_class: str = ""
    left: int = 0
    top: int = 0
    width: int = 0
    height: int = 0
    border: int = 0
    covered: bool = False
    off_screen: bool = False
    serial: int = 0

    @property
    def rect(self) -> tuple[int, int, int, int]:
        """Left, top, width and height in px."""
        return self.left, self.top, self.width, self.height

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in px."""
        return self.width, self.height

    @property
    def is_arena(self) -> bool:
        """Whether it is the practice arena rather than the real game."""
        return self.wm_class == ARENA_CLASS
