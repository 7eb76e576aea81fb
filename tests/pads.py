"""Real kernel devices for tests, made with uinput, that look as the drivers of well-known pads make them look.

Needs a usable /dev/uinput: only for tests marked `uinput`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from evdev import AbsInfo, UInput
from evdev import ecodes as e

# Source of all ranges and codes: the kernel's own drivers, measured (xpad over USB/IP, hid-playstation over uhid).
STICK16 = AbsInfo(0, -32768, 32767, 16, 128, 0)
STICK8 = AbsInfo(128, 0, 255, 0, 0, 0)
STICK8_SILENT = AbsInfo(0, 0, 255, 0, 15, 0)
TRIGGER = AbsInfo(0, 0, 255, 0, 0, 0)
HAT = AbsInfo(0, -1, 1, 0, 0, 0)
XBOX_KEYS = (
    e.BTN_SOUTH,
    e.BTN_EAST,
    e.BTN_NORTH,
    e.BTN_WEST,
    e.BTN_TL,
    e.BTN_TR,
    e.BTN_SELECT,
    e.BTN_START,
    e.BTN_MODE,
    e.BTN_THUMBL,
    e.BTN_THUMBR,
)
SONY_KEYS = (*XBOX_KEYS, e.BTN_TL2, e.BTN_TR2)
GENERIC_KEYS = (*SONY_KEYS, e.BTN_C, e.BTN_Z)
HATS = ((e.ABS_HAT0X, HAT), (e.ABS_HAT0Y, HAT))


def make_xpad(stick: AbsInfo = STICK16, **options: object) -> UInput:
    """A wired Xbox 360 pad as xpad reports it."""
    axes = [(code, stick) for code in (e.ABS_X, e.ABS_Y, e.ABS_RX, e.ABS_RY)]
    axes += [(e.ABS_Z, TRIGGER), (e.ABS_RZ, TRIGGER), *HATS]
    about = {"name": "Xbox 360 Wired Controller", "vendor": 0x45E, "product": 0x28E, "version": 0x114}
    return _make(XBOX_KEYS, axes, {**about, "phys": "usb-test/input0", **options})


def make_dualsense(**options: object) -> UInput:
    """The gamepad node of a DualSense under hid-playstation."""
    axes = [(code, STICK8) for code in (e.ABS_X, e.ABS_Y, e.ABS_RX, e.ABS_RY)]
    axes += [(e.ABS_Z, TRIGGER), (e.ABS_RZ, TRIGGER), *HATS]
    return _make(SONY_KEYS, axes, {**_DUALSENSE, **options})


def make_dualsense_generic(**options: object) -> UInput:
    """A DualSense under hid-generic: other codes for most controls, and silent until its first report."""
    axes = [(code, STICK8_SILENT) for code in (e.ABS_X, e.ABS_Y, e.ABS_Z, e.ABS_RZ)]
    axes += [(e.ABS_RX, TRIGGER), (e.ABS_RY, TRIGGER), *HATS]
    return _make(GENERIC_KEYS, axes, {**_DUALSENSE, **options})


def make_switch_pro(**options: object) -> UInput:
    """A Switch Pro Controller under hid-nintendo: triggers are buttons."""
    stick = AbsInfo(0, -32767, 32767, 250, 500, 0)
    axes = [(code, stick) for code in (e.ABS_X, e.ABS_Y, e.ABS_RX, e.ABS_RY)]
    about = {"name": "Pro Controller", "vendor": 0x57E, "product": 0x2009, "version": 0x8111}
    return _make((*SONY_KEYS, e.BTN_Z), [*axes, *HATS], {**about, **options})


def make_keyboard() -> UInput:
    """An ordinary keyboard."""
    return UInput({e.EV_KEY: [e.KEY_A, e.KEY_ENTER, e.KEY_LEFTALT, e.KEY_TAB]}, name="AT Keyboard", max_effects=0)


def make_mouse() -> UInput:
    """An ordinary mouse."""
    events = {e.EV_KEY: [e.BTN_LEFT, e.BTN_RIGHT], e.EV_REL: [e.REL_X, e.REL_Y]}
    return UInput(events, name="Mouse", max_effects=0)


def make_touchpad() -> UInput:
    """The touchpad node that comes with a DualSense."""
    area = [(e.ABS_X, AbsInfo(0, 0, 1919, 0, 0, 0)), (e.ABS_Y, AbsInfo(0, 0, 1079, 0, 0, 0))]
    keys = [e.BTN_LEFT, e.BTN_TOOL_FINGER, e.BTN_TOUCH]
    about = {**_DUALSENSE, "name": f"{_DUALSENSE['name']} Touchpad"}
    return _make(keys, area, {**about, "input_props": [e.INPUT_PROP_POINTER]})


def make_motion_sensor() -> UInput:
    """The motion sensor node that comes with a DualSense."""
    axes = [(code, STICK16) for code in (e.ABS_X, e.ABS_Y, e.ABS_Z, e.ABS_RX, e.ABS_RY, e.ABS_RZ)]
    about = {**_DUALSENSE, "name": f"{_DUALSENSE['name']} Motion Sensors"}
    return _make((), axes, {**about, "input_props": [e.INPUT_PROP_ACCELEROMETER]})


def make_steam_copy() -> UInput:
    """The pad that Steam Input makes of another one."""
    return make_xpad(name="Microsoft X-Box 360 pad 0", vendor=0x28DE, product=0x11FF, version=1, phys="")


_DUALSENSE = {
    "name": "Sony Interactive Entertainment DualSense Wireless Controller",
    "vendor": 0x54C,
    "product": 0xCE6,
    "version": 0x8111,
    "phys": "usb-test/input3",
}


def _make(keys: Iterable[int], axes: list[tuple[int, AbsInfo]], options: dict[str, object]) -> UInput:
    events: dict[int, object] = {e.EV_ABS: axes}
    if keys := list(keys):
        events[e.EV_KEY] = keys
    return UInput(events, **{"bustype": e.BUS_USB, "max_effects": 0, **options})


@dataclass(frozen=True)
class Move:
    """What a hand does to a pad, in the codes of three drivers: (type, code, value) each."""

    name: str
    control: str
    value: float
    xpad: tuple[int, int, int]
    playstation: tuple[int, int, int]
    generic: tuple[int, int, int]


def _button(name: str, control: str, xpad: int, playstation: int, generic: int) -> Move:
    return Move(name, control, 1.0, (e.EV_KEY, xpad, 1), (e.EV_KEY, playstation, 1), (e.EV_KEY, generic, 1))


def _axis(name: str, control: str, value: float, codes: tuple[int, int, int], *, hat: bool = False) -> Move:
    eight = (e.EV_ABS, codes[1], round(value * 255)), (e.EV_ABS, codes[2], round(value * 255))
    if hat:
        step = round(value * 2) - 1
        return Move(name, control, value, *((e.EV_ABS, code, step) for code in codes))
    wide = round(value * 255) if "trigger" in control else round(-32768 + value * 65535)
    return Move(name, control, value, (e.EV_ABS, codes[0], wide), *eight)


# Names of the pads' own printing; the controls are positions. The generic column is HID order (square is button 1).
MOVES = (
    _button("A / cross", "south", e.BTN_SOUTH, e.BTN_SOUTH, e.BTN_EAST),
    _button("B / circle", "east", e.BTN_EAST, e.BTN_EAST, e.BTN_C),
    _button("Y / triangle", "north", e.BTN_WEST, e.BTN_NORTH, e.BTN_NORTH),
    _button("X / square", "west", e.BTN_NORTH, e.BTN_WEST, e.BTN_SOUTH),
    _button("LB / L1", "tl", e.BTN_TL, e.BTN_TL, e.BTN_WEST),
    _button("RB / R1", "tr", e.BTN_TR, e.BTN_TR, e.BTN_Z),
    _button("back / create", "select", e.BTN_SELECT, e.BTN_SELECT, e.BTN_TL2),
    _button("start / options", "start", e.BTN_START, e.BTN_START, e.BTN_TR2),
    _button("guide / PS", "mode", e.BTN_MODE, e.BTN_MODE, e.BTN_MODE),
    _button("left stick click", "thumbl", e.BTN_THUMBL, e.BTN_THUMBL, e.BTN_SELECT),
    _button("right stick click", "thumbr", e.BTN_THUMBR, e.BTN_THUMBR, e.BTN_START),
    _axis("left stick left", "left_x", 0.0, (e.ABS_X, e.ABS_X, e.ABS_X)),
    _axis("left stick down", "left_y", 1.0, (e.ABS_Y, e.ABS_Y, e.ABS_Y)),
    _axis("right stick right", "right_x", 1.0, (e.ABS_RX, e.ABS_RX, e.ABS_Z)),
    _axis("right stick up", "right_y", 0.0, (e.ABS_RY, e.ABS_RY, e.ABS_RZ)),
    _axis("left trigger", "left_trigger", 1.0, (e.ABS_Z, e.ABS_Z, e.ABS_RX)),
    _axis("right trigger, one third", "right_trigger", 85 / 255, (e.ABS_RZ, e.ABS_RZ, e.ABS_RY)),
    _axis("d-pad left", "hat_x", 0.0, (e.ABS_HAT0X,) * 3, hat=True),
    _axis("d-pad down", "hat_y", 1.0, (e.ABS_HAT0Y,) * 3, hat=True),
)

_STICKS8 = (e.ABS_X, e.ABS_Y, e.ABS_RX, e.ABS_RY)
_STICKS8_GENERIC = (e.ABS_X, e.ABS_Y, e.ABS_Z, e.ABS_RZ)
REST_BY_DRIVER = {
    "xpad": {},
    "playstation": {(e.EV_ABS, code): 128 for code in _STICKS8},
    "generic": {(e.EV_ABS, code): 128 for code in _STICKS8_GENERIC},
}
GENERIC_REST = tuple((e.EV_ABS, code, 128) for code in _STICKS8_GENERIC)
"""What a DualSense under hid-generic says in its first report when nobody touches it."""


def send(pad: UInput, *events: tuple[int, int, int]) -> None:
    """Make the pad report these events as one packet."""
    for kind, code, value in events:
        pad.write(kind, code, value)
    pad.syn()


def until(condition: Callable[[], bool], what: str, timeout_s: float = 60.0) -> None:
    """Wait for the kernel or a thread; a generous limit, since the guest shares its CPU."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {timeout_s:g} s"
        time.sleep(0.005)
