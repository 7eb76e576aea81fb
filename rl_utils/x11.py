"""What is asked of the X server through python-xlib: connect, titles, client windows, focus, what covers a window.

Answers about windows that die while being asked about are the empty answer. Only a lost connection is an error.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from typing import Any, Final

import xcffib
import xcffib.xproto
from Xlib import X, Xutil, error
from Xlib.display import Display

from rl_utils.errors import UserError

WINDOW_DIED: Final = (error.BadWindow, error.BadDrawable, error.BadMatch)
CONNECTION_LOST: Final = (error.ConnectionClosedError, OSError)

_CLIENT_DEPTH = 3
"""Without a client list, windows are looked for this deep: managers of before EWMH put one or two frames around."""


class _Connection(Display):  # type: ignore[misc]  # python-xlib has no types
    """A connection that knows no events of extensions.

    python-xlib keeps those in a table of the class, where a second server's numbers collide with the first one's
    (TypeError in add_extension_event when one of the two lacks MIT-SHM). Nothing here needs them.
    """

    def extension_add_event(self, *_: Any) -> None:
        """Leave the table alone."""

    def extension_add_subevent(self, *_: Any) -> None:
        """Leave the table alone."""


def open_display(name: str | None = None) -> Display:
    """Connect to an X server.

    Args:
        name: Like ":0"; None takes $DISPLAY.

    Raises:
        UserError: There is no display, its name is none, or its server does not answer or refuses us.
    """
    wanted = name or os.environ.get("DISPLAY", "")
    if not wanted:
        if os.environ.get("WAYLAND_DISPLAY"):
            raise UserError(
                "This Wayland session has no X display (DISPLAY is not set)",
                "Turn XWayland on in the session's settings: the game's window is read through it",
            )
        raise UserError(
            "There is no display (DISPLAY is not set)",
            'Start this in a terminal of your desktop, or make a screen: "Xvfb :99 &", "export DISPLAY=:99"',
        )
    # libxcb tries first: when the connection fails, python-xlib would leave its socket to the garbage collector.
    try:
        xcffib.connect(display=wanted).disconnect()  # type: ignore[no-untyped-call]  # xcffib is only partly typed
        # python-xlib writes to stdout when ~/.Xauthority is empty, which is no problem of ours.
        with contextlib.redirect_stdout(io.StringIO()):
            display = _Connection(wanted)
    except (xcffib.XcffibException, error.DisplayError, *CONNECTION_LOST) as problem:
        raise UserError(
            f"The display {wanted} cannot be opened",
            "Check that its X server is running and that DISPLAY and XAUTHORITY are those of your session",
        ) from problem
    # Errors of requests without a reply arrive late and only ever mean that a window has died meanwhile.
    display.set_error_handler(lambda *_: None)
    return display


class XServer:
    """A connection with the questions that following a window needs. For one thread only.

    Attributes:
        display: The python-xlib connection.
        root: The root window.
        manager: Window id of the EWMH window manager's check window, 0 without such a manager.
    """

    def __init__(self, name: str | None = None) -> None:
        self.display = open_display(name)
        self.name = str(self.display.get_display_name())
        self.root = self.display.screen().root
        self._atoms: dict[str, int] = {}
        self.manager = 0
        self.find_manager()

    def close(self) -> None:
        """Disconnect; also fine when the server is gone."""
        with contextlib.suppress(*CONNECTION_LOST):
            self.display.close()

    def atom(self, name: str) -> int:
        """The number of an atom, asked for once."""
        if name not in self._atoms:
            self._atoms[name] = int(self.display.intern_atom(name))
        return self._atoms[name]

    def window(self, window_id: int) -> Any:
        """A python-xlib window object."""
        return self.display.create_resource_object("window", window_id)

    def property(self, window: Any, name: str) -> Any:
        """The value of a property whatever its type (bytes or array of numbers), None when it is absent or empty."""
        try:
            # xdotool writes _NET_WM_NAME as STRING: insisting on UTF8_STRING would find it empty.
            found = window.get_full_property(self.atom(name), X.AnyPropertyType)
        except WINDOW_DIED:
            return None
        return found.value if found is not None and len(found.value) else None

    def title(self, window: Any) -> str:
        """_NET_WM_NAME, else WM_NAME, else ""."""
        for name in ("_NET_WM_NAME", "WM_NAME"):
            value = self.property(window, name)
            if isinstance(value, bytes):
                return _decode(value.split(b"\0")[0]).strip()
        return ""

    def wm_class(self, window: Any) -> str:
        """The class part of WM_CLASS, else ""."""
        value = self.property(window, "WM_CLASS")
        parts = value.split(b"\0") if isinstance(value, bytes) else []
        return _decode(parts[1 if len(parts) > 1 and parts[1] else 0]) if parts else ""

    def is_iconic(self, window: Any) -> bool:
        """Whether the window manager says that it is minimised."""
        state = self.property(window, "WM_STATE")
        if state is not None and state[0] == Xutil.IconicState:
            return True
        hints = self.property(window, "_NET_WM_STATE")
        return hints is not None and self.atom("_NET_WM_STATE_HIDDEN") in hints

    def is_viewable(self, window: Any) -> bool:
        """Whether it and all windows around it are mapped, and it has pixels at all."""
        try:
            attributes = window.get_attributes()
        except WINDOW_DIED:
            return False
        return bool(attributes.map_state == X.IsViewable and attributes.win_class == X.InputOutput)

    def find_manager(self) -> None:
        """Look for a window manager that keeps the EWMH properties up to date, and remember it in `manager`."""
        self.manager = 0
        check = self.property(self.root, "_NET_SUPPORTING_WM_CHECK")
        if check is not None:
            # The root's property outlives the manager; only a living check window that names itself counts.
            itself = self.property(self.window(check[0]), "_NET_SUPPORTING_WM_CHECK")
            if itself is not None and itself[0] == check[0]:
                self.manager = int(check[0])

    def clients(self) -> list[Any]:
        """The windows of applications: the manager's list, or what is found below the root, the topmost first."""
        if self.manager:
            listed = self.property(self.root, "_NET_CLIENT_LIST")
            return [self.window(i) for i in listed] if listed is not None else []
        return list(self._search_clients(self.root, _CLIENT_DEPTH))

    def _search_clients(self, parent: Any, depth: int) -> Iterator[Any]:
        for child in reversed(self.children(parent)):
            if self.property(child, "WM_STATE") is not None or self.title(child):
                yield child
            elif depth > 1:
                yield from self._search_clients(child, depth - 1)

    def children(self, window: Any) -> list[Any]:
        """Its children, the lowest first."""
        try:
            return list(window.query_tree().children)
        except WINDOW_DIED:
            return []

    def ancestors(self, window: Any) -> list[int]:
        """Ids of the window, its parent, and so on up to the child of the root; empty when it has died."""
        chain: list[int] = []
        try:
            while window != 0 and window.id != self.root.id:
                chain.append(int(window.id))
                window = window.query_tree().parent
        except WINDOW_DIED:
            return []
        return chain

    def active_window(self) -> int:
        """The window that the manager calls active, 0 without one."""
        active = self.property(self.root, "_NET_ACTIVE_WINDOW")
        return int(active[0]) if active is not None else 0

    def keyboard_focus(self) -> int:
        """The window with the keyboard focus; X.NONE (0) or X.PointerRoot (1) when no window has it."""
        focus = self.display.get_input_focus().focus
        return int(getattr(focus, "id", focus))

    def is_composited(self) -> bool:
        """Whether a compositor keeps the pixels of every window, so that none can be covered."""
        owner = self.display.get_selection_owner(self.atom(f"_NET_WM_CM_S{self.display.get_default_screen()}"))
        return bool(int(getattr(owner, "id", owner)) != X.NONE)

    def is_covered(self, chain: list[int], rect: tuple[int, int, int, int]) -> bool:
        """Whether any window above overlaps `rect`.

        Args:
            chain: `ancestors` of the window in question.
            rect: Its left, top, width and height on the root.
        """
        children = self.children(self.root)
        ids = [int(child.id) for child in children]
        if not chain or chain[-1] not in ids:
            return False
        return any(
            self.is_viewable(child) and self._overlaps(child, rect) for child in children[ids.index(chain[-1]) + 1 :]
        )

    def _overlaps(self, child: Any, rect: tuple[int, int, int, int]) -> bool:
        try:
            g = child.get_geometry()
        except WINDOW_DIED:
            return False
        left, top, width, height = rect
        right, bottom = g.x + g.width + 2 * g.border_width, g.y + g.height + 2 * g.border_width
        return bool(g.x < left + width and right > left and g.y < top + height and bottom > top)

    def is_xwayland(self) -> bool:
        """Whether this is XWayland, whose root window has no pixels."""
        if self.display.has_extension("XWAYLAND"):
            return True
        if not self.display.has_extension("RANDR"):
            return False
        resources = self.root.xrandr_get_screen_resources_current()
        names = (
            self.display.xrandr_get_output_info(output, resources.config_timestamp).name for output in resources.outputs
        )
        return any(str(name).startswith("XWAYLAND") for name in names)


def _decode(text: bytes) -> str:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        return text.decode("latin-1")  # what the type STRING means


def server_gone(display: str) -> UserError:
    """What a person is told when the X server goes away under us."""
    return UserError(
        f"The X server of display {display} is gone", "Log in again and restart; what was recorded so far is kept"
    )
