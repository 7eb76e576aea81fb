"""The controller's vocabulary: the 19-element layout, rest values, evdev codes and pad profiles. The only copy.

Inputs are in *physical positions*: index 2 is the top face button and index 3 the left one, whatever a driver calls
them. The kernel's names disagree between drivers (xpad reports the left button as BTN_NORTH and the top one as
BTN_WEST, hid-playstation the other way round; measured, see `PROFILES`), so each driver has a profile that translates
on the way in (`controller_reader`) and one that translates on the way out (`apply_inputs`).

Codes are plain numbers from linux/input-event-codes.h, so that reading this file needs no evdev.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

LAYOUT_VERSION: Final = 1

EV_SYN: Final = 0x00
EV_KEY: Final = 0x01
EV_ABS: Final = 0x03
SYN_REPORT: Final = 0
SYN_DROPPED: Final = 3
BUS_USB: Final = 0x03
INPUT_EVENT: Final = struct.Struct("llHHi")
"""One event, as the kernel gives and takes it: seconds, microseconds, type, code, value. Source: linux/input.h."""


class Control(IntEnum):
    """Index of each control in the input vector. Buttons are 0 or 1, everything else is in [0, 1]."""

    SOUTH = 0  # A / Cross: jump
    EAST = 1  # B / Circle: boost
    NORTH = 2  # Y / Triangle (top): ball camera
    WEST = 3  # X / Square (left): powerslide, free air roll
    TL = 4  # LB / L1
    TR = 5  # RB / R1
    SELECT = 6
    START = 7
    MODE = 8
    THUMBL = 9  # left stick pressed
    THUMBR = 10  # right stick pressed
    LEFT_X = 11  # 0 = full left, 0.5 = rest, 1 = full right
    LEFT_Y = 12  # 0 = full up, 0.5 = rest, 1 = full down
    RIGHT_X = 13
    RIGHT_Y = 14
    LEFT_TRIGGER = 15  # 0 = released, 1 = fully pressed
    RIGHT_TRIGGER = 16
    HAT_X = 17  # 0 = left, 0.5 = rest, 1 = right
    HAT_Y = 18  # 0 = up, 0.5 = rest, 1 = down


N_CONTROLS: Final = len(Control)
N_BUTTONS: Final = int(Control.LEFT_X)
N_AXES: Final = N_CONTROLS - N_BUTTONS
BUTTONS: Final = slice(0, N_BUTTONS)
AXES: Final = slice(N_BUTTONS, N_CONTROLS)
NAMES: Final[tuple[str, ...]] = tuple(control.name.lower() for control in Control)

STICKS: Final = (Control.LEFT_X, Control.LEFT_Y, Control.RIGHT_X, Control.RIGHT_Y)
TRIGGERS: Final = (Control.LEFT_TRIGGER, Control.RIGHT_TRIGGER)
HATS: Final = (Control.HAT_X, Control.HAT_Y)
MENU_BUTTONS: Final = (Control.SELECT, Control.START, Control.MODE)

REST: Final[NDArray[np.float32]] = np.array([0.0] * N_BUTTONS + [0.5, 0.5, 0.5, 0.5, 0.0, 0.0, 0.5, 0.5], np.float32)
REST.flags.writeable = False


@dataclass(frozen=True)
class PadProfile:
    """How one kernel driver reports a gamepad.

    Attributes:
        name: Stored in session.json.
        buttons: evdev key code → the control in that physical position.
        axes: evdev axis code → the control.
        axis_keys: evdev key codes of triggers and d-pads that are only digital → the axis, and its end (0 or 1) that
            the key pushes it to.
        inverted: evdev axis codes that grow the wrong way: to the left, upwards, or when a trigger is let go.
    """

    name: str
    buttons: Mapping[int, Control]
    axes: Mapping[int, Control]
    axis_keys: Mapping[int, tuple[Control, float]]
    inverted: frozenset[int] = frozenset()


BTN_SOUTH, BTN_EAST, BTN_C, BTN_NORTH, BTN_WEST, BTN_Z = 0x130, 0x131, 0x132, 0x133, 0x134, 0x135
BTN_TL, BTN_TR, BTN_TL2, BTN_TR2 = 0x136, 0x137, 0x138, 0x139
BTN_SELECT, BTN_START, BTN_MODE, BTN_THUMBL, BTN_THUMBR = 0x13A, 0x13B, 0x13C, 0x13D, 0x13E
ABS_X, ABS_Y, ABS_Z, ABS_RX, ABS_RY, ABS_RZ, ABS_HAT0X, ABS_HAT0Y = 0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x10, 0x11
ABS_GAS, ABS_BRAKE, ABS_HAT2X, ABS_HAT2Y = 0x09, 0x0A, 0x14, 0x15
BTN_DPAD_UP, BTN_DPAD_DOWN, BTN_DPAD_LEFT, BTN_DPAD_RIGHT = 0x220, 0x221, 0x222, 0x223
# What tells other devices from gamepads.
BTN_JOYSTICK, BTN_GAMEPAD_END = 0x120, 0x13F
KEY_A, BTN_LEFT, BTN_TOUCH, BTN_STYLUS = 0x01E, 0x110, 0x14A, 0x14B
INPUT_PROP_POINTER, INPUT_PROP_DIRECT, INPUT_PROP_ACCELEROMETER = 0x00, 0x01, 0x06

_COMMON_BUTTONS: Final = {
    BTN_SOUTH: Control.SOUTH,
    BTN_EAST: Control.EAST,
    BTN_TL: Control.TL,
    BTN_TR: Control.TR,
    BTN_SELECT: Control.SELECT,
    BTN_START: Control.START,
    BTN_MODE: Control.MODE,
    BTN_THUMBL: Control.THUMBL,
    BTN_THUMBR: Control.THUMBR,
}
_COMMON_AXES: Final = {
    ABS_X: Control.LEFT_X,
    ABS_Y: Control.LEFT_Y,
    ABS_RX: Control.RIGHT_X,
    ABS_RY: Control.RIGHT_Y,
    ABS_Z: Control.LEFT_TRIGGER,
    ABS_RZ: Control.RIGHT_TRIGGER,
    ABS_HAT0X: Control.HAT_X,
    ABS_HAT0Y: Control.HAT_Y,
}

# Source: xpad's events measured through the kernel's own driver; X sends BTN_NORTH (0x133), Y sends BTN_WEST (0x134).
XPAD: Final = PadProfile(
    name="xpad",
    buttons=_COMMON_BUTTONS | {BTN_NORTH: Control.WEST, BTN_WEST: Control.NORTH},
    axes=_COMMON_AXES,
    axis_keys={},
)
# Source: hid-playstation, measured: square sends BTN_WEST, triangle BTN_NORTH; BTN_TL2/TR2 double the analog triggers.
PLAYSTATION: Final = PadProfile(
    name="playstation",
    buttons=_COMMON_BUTTONS | {BTN_NORTH: Control.NORTH, BTN_WEST: Control.WEST},
    axes=_COMMON_AXES,
    axis_keys={},
)
# Source: the same DualSense, and a DualShock 4, under hid-generic, measured: buttons are numbered in HID order, the
# right stick is on Z/RZ and the triggers on RX/RY.
PLAYSTATION_GENERIC: Final = PadProfile(
    name="playstation-generic",
    buttons={
        BTN_SOUTH: Control.WEST,
        BTN_EAST: Control.SOUTH,
        BTN_C: Control.EAST,
        BTN_NORTH: Control.NORTH,
        BTN_WEST: Control.TL,
        BTN_Z: Control.TR,
        BTN_TL2: Control.SELECT,
        BTN_TR2: Control.START,
        BTN_SELECT: Control.THUMBL,
        BTN_START: Control.THUMBR,
        BTN_MODE: Control.MODE,
    },
    axes={
        ABS_X: Control.LEFT_X,
        ABS_Y: Control.LEFT_Y,
        ABS_Z: Control.RIGHT_X,
        ABS_RZ: Control.RIGHT_Y,
        ABS_RX: Control.LEFT_TRIGGER,
        ABS_RY: Control.RIGHT_TRIGGER,
        ABS_HAT0X: Control.HAT_X,
        ABS_HAT0Y: Control.HAT_Y,
    },
    axis_keys={},
)
# Source: drivers/hid/hid-nintendo.c: positional names like hid-playstation, triggers only as BTN_TL2 and BTN_TR2.
NINTENDO: Final = PadProfile(
    name="nintendo",
    buttons=_COMMON_BUTTONS | {BTN_NORTH: Control.NORTH, BTN_WEST: Control.WEST},
    axes={code: control for code, control in _COMMON_AXES.items() if control not in TRIGGERS},
    axis_keys={BTN_TL2: (Control.LEFT_TRIGGER, 1.0), BTN_TR2: (Control.RIGHT_TRIGGER, 1.0)},
)
# What HID calls them: sticks on X Y Z RZ, triggers on the pedals. Source: SDL's mappings of Xbox pads on Bluetooth
# (045e:0b13) and of 8BitDo's Ultimate pads (2dc8:3011), both under hid-generic.
_PEDAL_AXES: Final = {
    ABS_X: Control.LEFT_X,
    ABS_Y: Control.LEFT_Y,
    ABS_Z: Control.RIGHT_X,
    ABS_RZ: Control.RIGHT_Y,
    ABS_BRAKE: Control.LEFT_TRIGGER,
    ABS_GAS: Control.RIGHT_TRIGGER,
    ABS_HAT0X: Control.HAT_X,
    ABS_HAT0Y: Control.HAT_Y,
}
HID: Final = PadProfile(name="hid", buttons=XPAD.buttons, axes=_PEDAL_AXES, axis_keys={})
# Source: SDL's mappings of 8BitDo's pads in D-input mode (2dc8:6006 and others): HID order by Nintendo's labels, on
# which A is right and B is below.
EIGHTBITDO: Final = PadProfile(
    name="8bitdo",
    buttons=_COMMON_BUTTONS
    | {BTN_SOUTH: Control.EAST, BTN_EAST: Control.SOUTH, BTN_NORTH: Control.NORTH, BTN_WEST: Control.WEST},
    axes=_PEDAL_AXES,
    axis_keys={},
)
PROFILES: Final[Mapping[str, PadProfile]] = {
    p.name: p for p in (XPAD, PLAYSTATION, PLAYSTATION_GENERIC, NINTENDO, HID, EIGHTBITDO)
}
DIGITAL: Final[Mapping[int, tuple[Control, float]]] = {
    BTN_TL2: (Control.LEFT_TRIGGER, 1.0),
    BTN_TR2: (Control.RIGHT_TRIGGER, 1.0),
    BTN_DPAD_UP: (Control.HAT_Y, 0.0),
    BTN_DPAD_DOWN: (Control.HAT_Y, 1.0),
    BTN_DPAD_LEFT: (Control.HAT_X, 0.0),
    BTN_DPAD_RIGHT: (Control.HAT_X, 1.0),
}
"""What stands in for an axis that a pad does not have. Source: the kernel's Documentation/input/gamepad.rst."""

VENDOR_SONY: Final = 0x054C
VENDOR_MICROSOFT: Final = 0x045E
VENDOR_NINTENDO: Final = 0x057E
VENDOR_8BITDO: Final = 0x2DC8
XBOX_360_PAD: Final = (VENDOR_MICROSOFT, 0x028E, 0x0114)
"""Vendor, product and version of the wired pad that every game and SDL know without a mapping."""
STEAM_VIRTUAL_PAD: Final = (0x28DE, 0x11FF)
"""Vendor and product of the copy that Steam Input makes of each pad."""


def swap_face_buttons(inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Exchange the top and the left face button, as between the namings of xpad and hid-playstation.

    Args:
        inputs: (..., 19) float32.

    Returns:
        A copy, (..., 19) float32.
    """
    swapped = inputs.copy()
    swapped[..., Control.NORTH] = inputs[..., Control.WEST]
    swapped[..., Control.WEST] = inputs[..., Control.NORTH]
    return swapped
