"""Which of the machine's input devices is the gamepad, by what each can do, with a reason for every one refused.

The kernel describes all input devices in sysfs, readable for everybody. So a pad that may not be opened is still seen,
and the message can say that permission is missing rather than that there is no pad.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from rl_utils.controls import (
    ABS_X,
    ABS_Y,
    BTN_GAMEPAD_END,
    BTN_JOYSTICK,
    BTN_LEFT,
    BTN_SOUTH,
    BTN_STYLUS,
    BTN_TOUCH,
    INPUT_PROP_ACCELEROMETER,
    INPUT_PROP_DIRECT,
    INPUT_PROP_POINTER,
    KEY_A,
    STEAM_VIRTUAL_PAD,
    Control,
    PadProfile,
)
from rl_utils.errors import UserError
from rl_utils.pad_mapping import is_mapped
from rl_utils.pad_profile import Reading, controls_in, reading_of

log = logging.getLogger(__name__)

OWN_PHYS: Final = "rlai/virtual-pad"
"""Marks the pads that this tool makes: reading one of them would record the bot instead of the person."""

SYSFS: Final = Path("/sys/class/input")
DEV: Final = Path("/dev/input")

READ_REMEDY: Final = (
    'Run "sudo usermod -aG input $USER" and log in again (a person at the machine\'s own screen needs no group: '
    "there udev gives access to gamepads)"
)
JOYSTICK: Final = 'a joystick whose buttons say nothing: map it with "python -m rl_utils.doctor --map" to use it'
NO_NODE: Final = "a gamepad without"
_WORD_BITS: Final = 8 * struct.calcsize("l")
_IDS: Final = re.compile(r"([0-9a-f]{4}):([0-9a-f]{4})")


@dataclass(frozen=True)
class SeenDevice:
    """One input device of the machine.

    Attributes:
        path: Device node.
        name: As the device calls itself.
        phys: Where it is plugged in; `OWN_PHYS` for our own.
        uniq: Serial number or Bluetooth address, often empty.
        ids: bus, vendor, product, version.
        driver: Kernel driver, empty for virtual devices.
        keys: EV_KEY codes it can send.
        axes: EV_ABS codes it can send.
        properties: INPUT_PROP_* of the device.
        readable: Whether this process may open it.
        refusal: Why it is not a gamepad to read from; empty when it is one.
        on_request: Refused by default, but taken when named with --device.
    """

    path: str
    name: str
    phys: str
    uniq: str
    ids: Mapping[str, int]
    driver: str
    keys: frozenset[int] = field(repr=False)
    axes: frozenset[int] = field(repr=False)
    properties: frozenset[int] = field(repr=False)
    readable: bool
    refusal: str = ""
    on_request: bool = False

    @property
    def is_pad(self) -> bool:
        """Whether it is a gamepad to read from by default."""
        return not self.refusal

    @property
    def number(self) -> int:
        """N of /dev/input/eventN; grows with every device plugged in."""
        return int(re.sub(r"\D", "", Path(self.path).name) or 0)

    def __str__(self) -> str:
        return f"{self.name} ({self.path})"


def list_pads(sysfs: Path = SYSFS, dev: Path = DEV) -> list[SeenDevice]:
    """Look at every input device, gamepads first, the one that fits best before the others.

    Args:
        sysfs: Where the kernel describes input devices.
        dev: Where their nodes are.
    """
    seen = [device for entry in sysfs.glob("event*") if (device := _look_at(entry, dev)) is not None]
    return sorted(seen, key=_rank, reverse=True)


def choose_pad(device: str | None = None, seen: Sequence[SeenDevice] | None = None) -> SeenDevice:
    """Choose the gamepad to read from.

    Args:
        device: A path, part of a name (any case), or vendor:product in hex. None takes the one that fits best.
        seen: What `list_pads` returned; looked up when None.

    Raises:
        UserError: There is no gamepad, none like `device`, or it may not be read.
    """
    found = list_pads() if seen is None else seen
    if device is None:
        fitting = [pad for pad in found if pad.is_pad]
        if not fitting:
            raise _no_pad(found)
    else:
        named = [pad for pad in found if matches(pad, device)]
        if not named:
            pads = [str(pad) for pad in found if pad.is_pad]
            raise UserError(
                f"No input device matches --device {device}",
                f"Choose from: {', '.join(pads)}" if pads else "No gamepad is plugged in: plug one in or pair it",
            )
        fitting = [pad for pad in named if pad.is_pad or pad.on_request]
        if not fitting:
            raise UserError(f"{named[0]} cannot be recorded: it is {named[0].refusal}", "Name a gamepad with --device")
    readable = [pad for pad in fitting if pad.readable]
    if not readable:
        raise UserError(f"The gamepad {fitting[0]} may not be read by you", READ_REMEDY)
    if len(readable) > 1:
        others = ", ".join(str(pad) for pad in readable[1:])
        log.warning("Several gamepads fit: %s is read; --device chooses another: %s", readable[0], others)
    return readable[0]


def matches(pad: SeenDevice, device: str) -> bool:
    """Whether `pad` is meant by --device `device`."""
    if device.startswith("/"):
        return os.path.realpath(device) == os.path.realpath(pad.path)
    ids = _IDS.fullmatch(device.lower())
    if ids is not None:
        return (pad.ids["vendor"], pad.ids["product"]) == (int(ids[1], 16), int(ids[2], 16))
    return device.casefold() in pad.name.casefold()


def unread_pads(problem: str, seen: Sequence[SeenDevice] | None = None) -> str:
    """Say why nothing can be read though a gamepad may be there; empty where there is simply none.

    Args:
        problem: What opening the gamepad ended with.
        seen: What `list_pads` returned; looked up when None.
    """
    found = list_pads() if seen is None else seen
    if any(pad.is_pad for pad in found):
        return problem
    doubtful = (pad for pad in found if pad.on_request or pad.refusal == JOYSTICK or pad.refusal.startswith(NO_NODE))
    return "; ".join(f"{pad}: {pad.refusal}" for pad in doubtful)


def reading_of_pad(pad: SeenDevice, *, as_mapped: bool = True) -> Reading:
    """How to read this pad, and why so.

    Args:
        pad: A gamepad.
        as_mapped: Its owner's mapping counts first, where there is one.

    Raises:
        UserError: That mapping is damaged.
    """
    own = pad.phys == OWN_PHYS
    return reading_of(ids=pad.ids, driver=pad.driver, keys=pad.keys, axes=pad.axes, is_own=own, as_mapped=as_mapped)


def profile_of(pad: SeenDevice) -> PadProfile:
    """How to read this pad."""
    return reading_of_pad(pad).profile


def controls_of(pad: SeenDevice, profile: PadProfile) -> frozenset[Control]:
    """The controls that this pad can move."""
    return controls_in(profile, pad.keys, pad.axes)


def _rank(device: SeenDevice) -> tuple[bool, int, bool, bool, int]:
    """Pads first, then more controls, then known before guessed, real before virtual, plugged in early before late."""
    if not device.is_pad:
        return False, 0, False, False, -device.number
    try:
        reading = reading_of_pad(device)
    except UserError:  # a damaged mapping must not hide the pad from who maps it again; opening the pad says it
        reading = dataclasses.replace(reading_of_pad(device, as_mapped=False), is_guess=True)
    count = len(controls_of(device, reading.profile))
    return True, count, not reading.is_guess, bool(device.driver), -device.number


def _look_at(entry: Path, dev: Path) -> SeenDevice | None:
    """Describe one /sys/class/input/eventN, or None when it vanished meanwhile."""
    node, about = dev / entry.name, entry / "device"
    try:
        ids = {
            key: int((about / "id" / file).read_text(), 16)
            for key, file in (("bus", "bustype"), ("vendor", "vendor"), ("product", "product"), ("version", "version"))
        }
        device = SeenDevice(
            path=str(node),
            name=_text(about / "name"),
            phys=_text(about / "phys"),
            uniq=_text(about / "uniq"),
            ids=ids,
            driver=_driver(about / "device"),
            keys=_bits(about / "capabilities" / "key"),
            axes=_bits(about / "capabilities" / "abs"),
            properties=_bits(about / "properties"),
            readable=os.access(node, os.R_OK),
        )
    except OSError as error:
        log.debug("%s vanished while it was looked at: %s", entry.name, error)
        return None
    refusal, on_request = _refusal(device, node_exists=node.exists())
    return dataclasses.replace(device, refusal=refusal, on_request=on_request)


def _refusal(device: SeenDevice, *, node_exists: bool) -> tuple[str, bool]:
    """Why a device is not read from, and whether naming it with --device changes that. The first reason counts."""
    keys, properties = device.keys, device.properties
    no_gamepad_buttons = BTN_SOUTH not in keys
    is_joystick = no_gamepad_buttons and ABS_X in device.axes and bool(keys & set(range(BTN_JOYSTICK, BTN_GAMEPAD_END)))
    mapped = is_mapped(device.ids)  # its owner says that it is a gamepad
    reasons = (
        (device.phys == OWN_PHYS, "the virtual pad of this tool"),
        (INPUT_PROP_ACCELEROMETER in properties, "a motion sensor"),
        (INPUT_PROP_POINTER in properties and BTN_TOUCH in keys, "a touchpad"),
        (INPUT_PROP_DIRECT in properties, "a touchscreen"),
        (BTN_STYLUS in keys, "a drawing tablet"),  # the buttons of Wacom's have gamepad codes and two idle axes
        (no_gamepad_buttons and KEY_A in keys, "a keyboard"),
        (no_gamepad_buttons and BTN_LEFT in keys, "a mouse"),
        (is_joystick and not mapped, JOYSTICK),
        (no_gamepad_buttons and not mapped, "a device without gamepad buttons"),
        (not {ABS_X, ABS_Y} <= device.axes and not mapped, "a device with gamepad buttons but no stick"),
        (not node_exists, f"{NO_NODE} {device.path} (a container that was not given /dev/input?)"),
    )
    for applies, reason in reasons:
        if applies:
            return reason, False
    if (device.ids["vendor"], device.ids["product"]) == STEAM_VIRTUAL_PAD:
        return "Steam's copy of a gamepad, read only when named with --device", True
    return "", False


def _no_pad(seen: Sequence[SeenDevice]) -> UserError:
    if not seen:
        return UserError("No gamepad was found; this machine has no input devices at all", "Plug one in or pair it")
    reasons: dict[str, list[str]] = {}
    for device in seen:
        reasons.setdefault(device.refusal, []).append(device.name)
    listed = "; ".join(f"{', '.join(names)}: {reason}" for reason, names in reasons.items())
    return UserError(f"No gamepad was found among {len(seen)} input devices ({listed})", "Plug one in or pair it")


def _bits(file: Path) -> frozenset[int]:
    """Read a bitmap as sysfs prints it: hexadecimal machine words, the highest first."""
    value = 0
    for word in file.read_text().split():
        value = value << _WORD_BITS | int(word, 16)
    return frozenset(i for i in range(value.bit_length()) if value >> i & 1)


def _text(file: Path) -> str:
    return file.read_text(errors="replace").strip()


def _driver(parent: Path) -> str:
    link = parent / "driver"
    return link.resolve().name if link.exists() else ""
