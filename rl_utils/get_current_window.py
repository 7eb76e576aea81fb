"""WindowMonitor: find the game's window and follow it by X events.

The article asks xdotool for the active window before every frame; that is a subprocess of 3 to 8 ms each time. Here
the server announces what changes, and an update in which nothing has changed costs 3 µs.
Source: facts of this project (capture), window tracking, measured 2026.
"""

from __future__ import annotations

import os
import re
import select
import time
from dataclasses import replace
from enum import Flag, auto
from typing import Any, Final

from Xlib import X, Xatom

from rl_utils.config import GAME_TITLE
from rl_utils.errors import UserError
from rl_utils.game_window import ARENA_CLASS, GameWindow, WindowState
from rl_utils.interfaces import Device
from rl_utils.x11 import CONNECTION_LOST, WINDOW_DIED, XServer, server_gone

GAME_CLASSES: Final = ("steam_app_252950", "rocketleague.exe", ARENA_CLASS)
"""Break ties between unfocused windows with fitting titles. Source: public configurations of Steam, Heroic, Lutris."""


class _Stale(Flag):
    """What has to be asked again."""

    NOTHING = 0
    MANAGER = auto()
    SCREEN = auto()
    SEARCH = auto()
    NAME = auto()
    FOCUS = auto()
    PLACE = auto()
    STATE = auto()
    COVER = auto()
    WINDOW = NAME | FOCUS | PLACE | STATE | COVER
    ALL = MANAGER | SCREEN | SEARCH | WINDOW


_NO_WINDOW: Final = GameWindow()
_ROOT_EVENTS: Final = X.PropertyChangeMask | X.SubstructureNotifyMask | X.StructureNotifyMask
_WINDOW_EVENTS: Final = X.StructureNotifyMask | X.PropertyChangeMask | X.FocusChangeMask
_ATTEMPTS = 5
"""So many windows may die under our hands in one update before the rest is left to the next one."""


class WindowMonitor(Device):
    """Follow the window whose title fits. The focused one wins where several do. For one thread only.

    Args:
        pattern: Regular expression that is searched in titles.
        display: Like ":0"; None takes $DISPLAY.

    Raises:
        UserError: The display cannot be opened.
    """

    def __init__(self, pattern: str = GAME_TITLE, *, display: str | None = None) -> None:
        self._pattern = re.compile(pattern)
        self._x = XServer(display)
        self._window = _NO_WINDOW
        self._handle: Any = None
        self._ancestors: list[int] = []
        self._focus = X.NONE
        self._focused_id = 0
        self._screen = (0, 0)
        self._serial = 0
        self._stale = _Stale.ALL
        self._x.root.change_attributes(event_mask=_ROOT_EVENTS)

    @property
    def window(self) -> GameWindow:
        """The result of the last `update`."""
        return self._window

    @property
    def process(self) -> int | None:
        """Id of the process whose window it is, by its own account; None without a window or where it does not say."""
        if not self._window.id:
            return None
        said = self._x.property(self._x.window(self._window.id), "_NET_WM_PID")
        return int(said[0]) if said is not None else None

    @property
    def server(self) -> XServer:
        """The connection, for further questions from the same thread."""
        return self._x

    def close(self) -> None:
        """Disconnect."""
        self._x.close()

    def update(self, *, sync: bool = False) -> GameWindow:
        """Take in what has happened since the last call; the same object comes back when nothing has.

        Args:
            sync: Ask the server first (0.1 ms), so that everything it did before an answer that we have is seen.

        Raises:
            UserError: The X server is gone.
        """
        try:
            if sync:
                self._x.display.sync()
            for _ in range(self._x.display.pending_events()):
                self._note(self._x.display.next_event())
            if not self._x.manager:
                self._poll_focus()
            if self._stale:
                self._refresh()
        except CONNECTION_LOST as error:
            raise server_gone(self._x.name) from error
        return self._window

    def wait(self, timeout_s: float) -> GameWindow:
        """Sleep until a fitting window exists, in whatever state.

        Raises:
            UserError: None appeared within `timeout_s`, or the X server is gone.
        """
        deadline = time.monotonic() + timeout_s
        while (window := self.update()).state is WindowState.NOT_FOUND:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise self._not_found(timeout_s)
            select.select([self._x.display.fileno()], [], [], min(left_s, 0.5))
        return window

    def titles(self) -> list[str]:
        """The titles of all windows of applications, without repetitions.

        Raises:
            UserError: The X server is gone.
        """
        try:
            return list(dict.fromkeys(title for client in self._x.clients() if (title := self._x.title(client))))
        except CONNECTION_LOST as error:
            raise server_gone(self._x.name) from error

    def _not_found(self, timeout_s: float) -> UserError:
        seen = ", ".join(f'"{title}"' for title in self.titles()[:12]) or "none"
        remedy = f"Start the game, or name its window with --window REGEX; titles seen: {seen}"
        if os.environ.get("WAYLAND_DISPLAY") or os.environ.get("XDG_SESSION_TYPE") == "wayland":
            remedy += "; in this Wayland session remove PROTON_ENABLE_WAYLAND=1 from the game's launch options"
        return UserError(f"No window with a title like {self._pattern.pattern} within {timeout_s:g} s", remedy)

    def _note(self, event: Any) -> None:
        """Mark what an event makes stale. Nothing is asked here: one question later answers for many events."""
        kind = event.type
        subject = int(getattr(getattr(event, "window", None), "id", 0))
        is_target = subject == self._window.id != 0
        if kind == X.PropertyNotify:
            self._stale |= self._made_stale_by_property(subject, event.atom, is_target=is_target)
        elif kind in (X.FocusIn, X.FocusOut):
            self._stale |= _Stale.FOCUS
        elif kind == X.DestroyNotify and subject == self._x.manager != 0:
            self._stale |= _Stale.MANAGER | _Stale.FOCUS
        elif kind == X.ConfigureNotify and subject == self._x.root.id:
            self._stale |= _Stale.SCREEN | _Stale.PLACE
        elif kind in (
            X.ConfigureNotify,
            X.MapNotify,
            X.UnmapNotify,
            X.DestroyNotify,
            X.ReparentNotify,
            X.CirculateNotify,
        ):
            if is_target and kind == X.DestroyNotify:
                self._lose()
            self._stale |= self._made_stale_by_structure(subject)

    def _made_stale_by_property(self, subject: int, atom: int, *, is_target: bool) -> _Stale:
        if subject == self._x.root.id:
            if atom == self._x.atom("_NET_SUPPORTING_WM_CHECK"):
                return _Stale.MANAGER | _Stale.FOCUS
            if atom == self._x.atom("_NET_ACTIVE_WINDOW"):
                return _Stale.FOCUS
            is_list = atom == self._x.atom("_NET_CLIENT_LIST")
            return _Stale.SEARCH if is_list and self._handle is None else _Stale.NOTHING
        if atom in (Xatom.WM_NAME, Xatom.WM_CLASS, self._x.atom("_NET_WM_NAME")):
            return _Stale.NAME if is_target else _Stale.SEARCH | _Stale.FOCUS
        if is_target and atom in (self._x.atom("WM_STATE"), self._x.atom("_NET_WM_STATE")):
            return _Stale.STATE
        return _Stale.NOTHING

    def _made_stale_by_structure(self, subject: int) -> _Stale:
        if self._handle is None:
            return _Stale.SEARCH
        # VisibilityNotify would not do: once redirected a window counts as unobscured, whatever lies over it.
        stale = _Stale.COVER
        if not self._x.manager:
            stale |= _Stale.FOCUS
        if subject in self._ancestors:
            stale |= _Stale.PLACE | _Stale.STATE
        return stale

    def _poll_focus(self) -> None:
        # Without a window manager nothing announces that the focus went from one foreign window to another.
        focus = self._x.keyboard_focus()
        if focus != self._focus:
            self._focus = focus
            self._stale |= _Stale.FOCUS

    def _refresh(self) -> None:
        for _ in range(_ATTEMPTS):
            stale, self._stale = self._stale, _Stale.NOTHING
            try:
                self._measure(stale)
            except WINDOW_DIED:
                self._lose()
            if not self._stale:
                return

    def _measure(self, stale: _Stale) -> None:
        if _Stale.MANAGER in stale:
            self._x.find_manager()
        if _Stale.SCREEN in stale:
            screen = self._x.root.get_geometry()
            self._screen = (screen.width, screen.height)
        if _Stale.NAME in stale and self._handle is not None and not self._fits(self._handle):
            self._lose()
            stale |= _Stale.SEARCH
        if stale & (_Stale.FOCUS | _Stale.SEARCH):
            self._focused_id = self._find_focused()
            best = self._focused_id
            if best == 0 and self._handle is None:
                best = self._find_any()
            if best not in (0, self._window.id):
                self._follow(best)
                stale = _Stale.WINDOW
        self._stale = _Stale.NOTHING
        if self._handle is not None:
            self._describe(stale)

    def _fits(self, window: Any) -> bool:
        return self._pattern.search(self._x.title(window)) is not None

    def _find_focused(self) -> int:
        """The fitting window that has the focus, else 0."""
        if self._x.manager:
            active = self._x.active_window()
            if active:
                self._watch_name(self._x.window(active))
            return active if active and self._fits(self._x.window(active)) else 0
        self._focus = self._x.keyboard_focus()
        if self._focus not in (X.NONE, X.PointerRoot, self._x.root.id):
            chain = self._x.ancestors(self._x.window(self._focus))
            return next((i for i in chain if self._fits(self._x.window(i))), 0)
        # Nobody has the focus, as on a bare server: the topmost fitting window is as good as focused.
        clients = self._x.clients()
        return next((int(c.id) for c in clients if self._fits(c) and self._x.is_viewable(c)), 0)

    def _find_any(self) -> int:
        """The best of the fitting windows, else 0; every window is watched for a new name from now on."""
        clients = self._x.clients()
        for client in clients:
            self._watch_name(client)
        fitting = [client for client in clients if self._fits(client)]
        fitting.sort(key=lambda c: (not self._x.is_viewable(c), self._x.wm_class(c) not in GAME_CLASSES))
        return int(fitting[0].id) if fitting else 0

    def _watch_name(self, window: Any) -> None:
        if window.id != self._window.id:
            window.change_attributes(event_mask=X.PropertyChangeMask)

    def _follow(self, window_id: int) -> None:
        if self._handle is not None:
            self._handle.change_attributes(event_mask=X.PropertyChangeMask)
        self._serial += 1
        self._handle = self._x.window(window_id)
        self._handle.change_attributes(event_mask=_WINDOW_EVENTS)
        self._window = GameWindow(state=WindowState.MINIMISED, id=window_id, serial=self._serial)

    def _lose(self) -> None:
        self._handle = None
        self._window = replace(_NO_WINDOW, serial=self._serial)
        self._ancestors = []
        self._stale |= _Stale.SEARCH

    def _describe(self, stale: _Stale) -> None:
        """Ask again for what is stale about the window.

        Raises:
            WINDOW_DIED: It has died meanwhile.
        """
        handle, window = self._handle, self._window
        if _Stale.NAME in stale:
            window = replace(window, title=self._x.title(handle), wm_class=self._x.wm_class(handle))
        if _Stale.PLACE in stale:
            geometry = handle.get_geometry()
            # python-xlib: destination.translate_coords(source, x, y)
            place = self._x.root.translate_coords(handle, 0, 0)
            width, height = self._screen
            inside = 0 <= place.x <= width - geometry.width and 0 <= place.y <= height - geometry.height
            self._ancestors = self._x.ancestors(handle)
            window = replace(
                window,
                left=place.x,
                top=place.y,
                width=geometry.width,
                height=geometry.height,
                border=geometry.border_width,
                off_screen=not inside,
            )
        if stale & (_Stale.PLACE | _Stale.COVER):
            covered = not self._x.is_composited() and self._x.is_covered(self._ancestors, window.rect)
            window = replace(window, covered=covered)
        if stale & (_Stale.STATE | _Stale.FOCUS):
            window = replace(window, state=self._state(handle))
        if window != self._window:
            self._window = window

    def _state(self, handle: Any) -> WindowState:
        if not self._x.is_viewable(handle) or self._x.is_iconic(handle):
            return WindowState.MINIMISED
        return WindowState.FOCUSED if self._focused_id == handle.id else WindowState.NOT_FOCUSED
