"""HotKeys: global hot keys of an X display, whichever window has the focus. They are only listened to, never taken.

XInput's raw events are told to every listener, also while a game grabs the keyboard; no key is grabbed here, so
nothing that the game or the desktop does with it changes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import xcffib
import xcffib.xinput
import xcffib.xproto
from Xlib import XK

from rl_utils.errors import UserError
from rl_utils.habits import Wish
from rl_utils.interfaces import Device

MODIFIERS: Final[Mapping[str, tuple[str, ...]]] = {
    "ctrl": ("Control_L", "Control_R"),
    "alt": ("Alt_L", "Alt_R"),
    "shift": ("Shift_L", "Shift_R"),
    "super": ("Super_L", "Super_R"),
}

_ALL_MASTER_DEVICES: Final = 1
"""Source: X11/extensions/XI2.h, XIAllMasterDevices."""


@dataclass(frozen=True)
class HotKey:
    """A key with modifiers.

    Attributes:
        modifiers: Names of `MODIFIERS` that must be held; no others may be.
        keysym: X's number of what is printed on the key.
    """

    modifiers: frozenset[str]
    keysym: int


def parse_hot_key(text: str) -> HotKey:
    """Read "ctrl+F9", with the key named as X names it.

    Raises:
        ValueError: It names no key.
    """
    *modifiers, key = (part.strip() for part in text.split("+"))
    wrong = [modifier for modifier in modifiers if modifier.lower() not in MODIFIERS]
    if wrong:
        raise ValueError(f"{wrong[0]} is none of {', '.join(MODIFIERS)}")
    spellings = (key, key.upper(), key.lower(), key.capitalize())
    keysym = next((found for name in spellings if (found := XK.string_to_keysym(name))), 0)
    if not keysym:
        raise ValueError(f"no key is called {key!r}")
    return HotKey(frozenset(modifier.lower() for modifier in modifiers), keysym)


class HotKeys(Device):
    """Wishes from the keyboard (`habits.Wishes`). For one thread only.

    Args:
        keys: What each key asks for: wish → its key.
        display: Like ":0"; None takes $DISPLAY.

    Raises:
        UserError: The display cannot be opened, knows no raw key events (XInput 2.1), or has no such key.
    """

    def __init__(self, keys: Mapping[Wish, HotKey], *, display: str | None = None) -> None:
        self._held: set[int] = set()
        self._connection: Any = None
        try:
            self._connection = xcffib.connect(display=display)  # type: ignore[no-untyped-call]  # only partly typed
            codes = _keycodes(self._connection)
            _listen(self._connection)
        except (xcffib.XcffibException, KeyError, ValueError) as problem:
            self.close()
            raise UserError(
                f"The display tells no keys to other programs ({problem or type(problem).__name__})",
                "Turn the hot keys off with --mark-key none --pause-key none --discard-key none",
            ) from problem
        self._modifiers = {
            code: name
            for name, keysyms in MODIFIERS.items()
            for keysym in keysyms
            for code in codes.get(XK.string_to_keysym(keysym), ())
        }
        self._keys = [(code, key.modifiers, wish) for wish, key in keys.items() for code in codes.get(key.keysym, ())]
        missing = [wish for wish, key in keys.items() if key.keysym not in codes]
        if missing:
            self.close()
            option = f"--{missing[0].value}-key"
            raise UserError(f"This keyboard has no key for {option}", f"Name another one, or {option} none")

    def take(self) -> Sequence[Wish]:
        """What was asked for since the last time. Never waits; nothing more comes when the X server is gone."""
        wishes: list[Wish] = []
        while self._connection is not None:
            try:
                event = self._connection.poll_for_event()
            except xcffib.XcffibException:
                self.close()
                break
            if event is None:
                break
            if isinstance(event, xcffib.xinput.RawKeyReleaseEvent):
                self._held.discard(event.detail)
            elif isinstance(event, xcffib.xinput.RawKeyPressEvent) and event.detail not in self._held:
                self._held.add(event.detail)
                modifiers = {self._modifiers[code] for code in self._held if code in self._modifiers}
                wishes += [wish for code, needed, wish in self._keys if code == event.detail and needed == modifiers]
        return wishes

    def close(self) -> None:
        """Disconnect."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()


def _listen(connection: Any) -> None:
    xinput = connection(xcffib.xinput.key)
    version = xinput.XIQueryVersion(2, 2).reply()
    if (version.major_version, version.minor_version) < (2, 1):  # before, raw events ended where a game grabs keys
        raise ValueError(f"XInput {version.major_version}.{version.minor_version}")
    wanted = xcffib.xinput.XIEventMask.RawKeyPress | xcffib.xinput.XIEventMask.RawKeyRelease
    mask = xcffib.xinput.EventMask.synthetic(_ALL_MASTER_DEVICES, 1, [wanted])  # type: ignore[no-untyped-call]
    xinput.XISelectEvents(connection.setup.roots[0].root, 1, [mask], is_checked=True).check()


def _keycodes(connection: Any) -> dict[int, list[int]]:
    """Keysym → the keys that show it, with or without a modifier."""
    first = connection.setup.min_keycode
    mapping = connection.core.GetKeyboardMapping(first, connection.setup.max_keycode - first + 1).reply()
    found: dict[int, list[int]] = {}
    for place, keysym in enumerate(mapping.keysyms):
        code = first + place // mapping.keysyms_per_keycode
        if keysym and code not in found.setdefault(keysym, []):
            found[keysym].append(code)
    return found
