"""How a gamepad is read: as its owner has mapped it, by its driver, or by what it can send.

One code means another button under another driver (`controls.PROFILES`), so a wrong profile swaps buttons in a
recording. Every answer comes with its reason, for `doctor` and session.json.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Final

from rl_utils.controls import (
    ABS_BRAKE,
    ABS_GAS,
    ABS_HAT2X,
    ABS_HAT2Y,
    ABS_RX,
    ABS_RY,
    ABS_RZ,
    ABS_Z,
    BTN_C,
    BTN_Z,
    DIGITAL,
    EIGHTBITDO,
    HID,
    NINTENDO,
    PLAYSTATION,
    PLAYSTATION_GENERIC,
    STEAM_VIRTUAL_PAD,
    TRIGGERS,
    VENDOR_8BITDO,
    VENDOR_MICROSOFT,
    VENDOR_NINTENDO,
    VENDOR_SONY,
    XPAD,
    Control,
    PadProfile,
)
from rl_utils.pad_mapping import load_mapping

EIGHTBITDO_XBOX_LABELS: Final = range(0x3000, 0x3020)
"""Products of 8BitDo with Xbox's labels (the Ultimate pads). Source: SDL's mappings of 2dc8:3011, 3013 and 301b."""


@dataclass(frozen=True)
class Reading:
    """A profile, and why it is this one.

    Attributes:
        profile: Fitted to the pad: only what it can send.
        reason: For people: "by its driver (xpad)".
        is_guess: Nobody knows this pad: its buttons may be in other places.
    """

    profile: PadProfile
    reason: str
    is_guess: bool = False


def reading_of(
    *,
    ids: Mapping[str, int],
    driver: str,
    keys: Set[int],
    axes: Set[int],
    is_own: bool = False,
    as_mapped: bool = True,
) -> Reading:
    """Find the profile of a pad.

    Args:
        ids: bus, vendor, product, version.
        driver: Kernel driver, empty for virtual devices.
        keys: EV_KEY codes it can send.
        axes: EV_ABS codes it can send.
        is_own: It is the virtual pad of this tool.
        as_mapped: Its owner's mapping counts first, where there is one.

    Raises:
        UserError: Its stored mapping cannot be read.
    """
    mapped = load_mapping(ids) if as_mapped else None
    if mapped is not None:
        return Reading(mapped, "as mapped with doctor --map")
    reading = _by_driver(ids, driver, keys, axes, is_own=is_own)
    return dataclasses.replace(reading, profile=_fitted(reading.profile, keys, axes))


def controls_in(profile: PadProfile, keys: Set[int], axes: Set[int]) -> frozenset[Control]:
    """The controls that a pad with these codes can move."""
    found = {control for code, control in profile.buttons.items() if code in keys}
    found |= {control for code, (control, _) in profile.axis_keys.items() if code in keys}
    return frozenset(found | {control for code, control in profile.axes.items() if code in axes})


def _by_driver(ids: Mapping[str, int], driver: str, keys: Set[int], axes: Set[int], *, is_own: bool) -> Reading:
    vendor, product = ids["vendor"], ids["product"]
    # Only hid-generic numbers buttons in HID order, which is where BTN_C and BTN_Z get in.
    in_hid_order = {BTN_C, BTN_Z} <= keys
    by_driver = f"by its driver ({driver})" if driver else f"by its vendor ({vendor:04x})"
    is_xbox = driver == "xpad" or (vendor == VENDOR_MICROSOFT and not in_hid_order)
    if is_own or is_xbox or (vendor, product) == STEAM_VIRTUAL_PAD:
        return Reading(XPAD, by_driver)
    if driver in ("playstation", "sony") or vendor == VENDOR_SONY:
        return Reading(PLAYSTATION_GENERIC if in_hid_order else PLAYSTATION, by_driver)
    if driver == "nintendo" or (vendor == VENDOR_NINTENDO and not in_hid_order):
        return Reading(NINTENDO, by_driver)
    if vendor == VENDOR_MICROSOFT and {ABS_GAS, ABS_BRAKE} <= axes:
        return Reading(HID, "by its vendor (Microsoft, Bluetooth)")
    if vendor == VENDOR_8BITDO and in_hid_order:
        labels = HID if product in EIGHTBITDO_XBOX_LABELS else EIGHTBITDO
        return Reading(_with_right_stick(labels, axes), "by its vendor (8BitDo, D-input mode)")
    return Reading(_guess(axes, in_hid_order=in_hid_order), "an unknown pad, guessed from its axes", is_guess=True)


def _guess(axes: Set[int], *, in_hid_order: bool) -> PadProfile:
    """The likeliest layout of a pad with these axes."""
    if {ABS_HAT2X, ABS_HAT2Y} <= axes:  # Source: gamepad.rst and hid-steam.c
        triggers = {ABS_HAT2Y: Control.LEFT_TRIGGER, ABS_HAT2X: Control.RIGHT_TRIGGER}
        kept = {code: control for code, control in XPAD.axes.items() if control not in TRIGGERS}
        return dataclasses.replace(XPAD, axes=kept | triggers)
    if {ABS_GAS, ABS_BRAKE} <= axes or not {ABS_RX, ABS_RY} <= axes:
        return _with_right_stick(HID, axes)
    # Copies of Sony's pads, in the order of their reports.
    return PLAYSTATION_GENERIC if in_hid_order and {ABS_Z, ABS_RZ} <= axes else XPAD


def _with_right_stick(profile: PadProfile, axes: Set[int]) -> PadProfile:
    """Take the right stick from RX and RY where the pad has no Z and RZ; without pedals those are its triggers."""
    if not {ABS_RX, ABS_RY} <= axes:
        return profile
    if not {ABS_GAS, ABS_BRAKE} <= axes:
        return dataclasses.replace(profile, axes=XPAD.axes)
    if {ABS_Z, ABS_RZ} <= axes:
        return profile
    right = {ABS_RX: Control.RIGHT_X, ABS_RY: Control.RIGHT_Y}
    return dataclasses.replace(profile, axes={**profile.axes, **right})


def _fitted(profile: PadProfile, keys: Set[int], axes: Set[int]) -> PadProfile:
    """Leave out axes that the pad does not have, and take the keys that stand in for them."""
    present = {code: control for code, control in profile.axes.items() if code in axes}
    spare = {
        code: end
        for code, end in {**DIGITAL, **profile.axis_keys}.items()
        if code in keys and code not in profile.buttons and end[0] not in present.values()
    }
    return dataclasses.replace(profile, axes=present, axis_keys=spare)
