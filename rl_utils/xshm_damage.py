"""DrawingWatch: whether a window has been drawn into since it was last read, by the X extension DAMAGE.

Where nothing was drawn the last picture still holds, and reading it again (0.8 ms at 1080p) is saved. The silence of an
extension is no proof, though: a driver may show pictures past it. So it has to earn trust by announcing every change of
the pixels, is checked again while it is silent, and a single change that it missed ends the trust for good.
"""

from __future__ import annotations

import logging
import time
from typing import Any, Final

import xcffib
import xcffib.damage
import xcffib.xproto

from rl_utils.game_window import GameWindow

logger = logging.getLogger(__name__)

TRUSTED_AFTER: Final = 30
"""Changes of the pixels that were announced, all of them, before silence is believed."""
CHECK_NS: Final = 250_000_000
"""Silence is checked against the pixels this often: for so long, and only once, a server could deceive us."""

_EVENTS: Final = (
    xcffib.xproto.EventMask.PropertyChange
    | xcffib.xproto.EventMask.StructureNotify
    | xcffib.xproto.EventMask.SubstructureNotify
    | xcffib.xproto.EventMask.FocusChange
)
"""At least what `WindowMonitor` asks for, of the root window and of the game's."""


class DrawingWatch:
    """Hears of drawings into one window at a time, and whether anything else befell windows. For one thread only.

    `WindowMonitor` hears what that was, on a connection of its own. On this one, which reads the pixels, the server
    tells of everything before it hands out pixels that were read later.

    Args:
        connection: To the X server; its events are taken here.
        damage: Its extension DAMAGE, or None where it has none: then nothing is known of drawings.
    """

    def __init__(self, connection: Any, damage: Any) -> None:
        self._connection = connection
        self._damage = damage
        self._id = 0
        self._window = GameWindow()
        self._drawn = False
        self._announced = False
        self._moved = False
        self._confirmed = 0
        self._distrusted = 0
        self._checked_ns = 0
        self._news = True
        self._listen(connection.setup.roots[connection.pref_screen].root)
        if damage is not None:
            damage.QueryVersion(1, 1).reply()

    @property
    def works(self) -> bool:
        """Whether the server tells of drawings at all."""
        return self._damage is not None

    def follow(self, window: GameWindow) -> None:
        """Watch this window.

        Raises:
            xcffib.Error: It has died.
        """
        if _view(window) == _view(self._window):
            return
        if window.serial != self._window.serial:
            self._listen(window.id)
        if self.works and (window.serial != self._window.serial or not self._id):
            if self._id:
                self._damage.Destroy(self._id)
            self._id, self._window, self._announced = 0, GameWindow(), False
            watched = int(self._connection.generate_id())
            self._damage.Create(watched, window.id, xcffib.damage.ReportLevel.NonEmpty, is_checked=True).check()
            self._id = watched
        # What goes full screen may be shown in another way from now on: trust is earned anew.
        self._window, self._confirmed, self._moved = window, 0, True

    def begin(self) -> None:
        """The window is about to be read, or to be waited for: only drawings from now on count as new."""
        self._announced |= self.drawn()
        self._drawn = False
        if self._id:
            self._damage.Subtract(self._id, xcffib.NONE, xcffib.NONE)

    def drawn(self) -> bool:
        """Whether the window was drawn into since the last `begin`."""
        while True:
            try:
                event = self._connection.poll_for_event()
            except xcffib.Error:
                continue  # late news of a window that has died
            if event is None:
                return self._drawn
            if isinstance(event, xcffib.damage.NotifyEvent):
                self._drawn |= event.damage == self._id
            else:
                self._news = True

    def take_news(self) -> bool:
        """Whether anything happened to windows between the last call and what the server answered last."""
        self.drawn()
        news, self._news = self._news, False
        return news

    def _listen(self, window_id: int) -> None:
        self._connection.core.ChangeWindowAttributes(window_id, xcffib.xproto.CW.EventMask, [_EVENTS])
        self._news = True

    def is_silent(self, window: GameWindow) -> bool:
        """Whether the picture of the last `confirm` is known to be still there."""
        if self._confirmed < TRUSTED_AFTER or _view(window) != _view(self._window):
            return False
        quiet = not self.drawn() and not self._announced
        return quiet and time.monotonic_ns() - self._checked_ns < CHECK_NS

    def confirm(self, *, changed: bool) -> None:
        """Say what came of reading the window: whether its pixels differ from those of the `confirm` before."""
        # The server tells of a drawing before it hands out pixels that show it.
        announced, self._announced = self._announced or self.drawn(), False
        moved, self._moved = self._moved, False
        self._checked_ns = time.monotonic_ns()
        if not self._id or not changed or moved or self._distrusted == self._window.serial:
            return
        if announced:
            self._confirmed += 1
        else:
            self._confirmed, self._distrusted = 0, self._window.serial
            logger.info("DAMAGE misses drawings of this window: every picture is read and compared instead")


def _view(window: GameWindow) -> tuple[object, ...]:
    """What a window's pixels may depend on besides drawing."""
    return window.serial, window.rect, window.covered, window.off_screen
