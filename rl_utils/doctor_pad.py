"""The doctor on gamepads: may they be read, and does what is pressed arrive?"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

import numpy as np

from rl_utils.console import log
from rl_utils.controls import NAMES
from rl_utils.errors import UserError
from rl_utils.findings import Finding, missing
from rl_utils.pad_finder import DEV, SeenDevice, list_pads

READ_RULE: Final = 'KERNEL=="event*", SUBSYSTEM=="input", ENV{ID_INPUT_JOYSTICK}=="1", MODE="0660", TAG+="uaccess"'
READ_FILE: Final = "/etc/udev/rules.d/60-rlai-gamepad.rules"
"""Must sort before 73-seat-late.rules, which is where `uaccess` takes effect."""
READ_COMMAND: Final = (
    f"echo '{READ_RULE}' | sudo tee {READ_FILE} && sudo udevadm control --reload"
    " && sudo udevadm trigger --subsystem-match=input"
)

MOVED: Final = 0.05
"""Less is noise of a stick that nobody touches."""
LOOK_S: Final = 0.01


def check_permission(seen: Sequence[SeenDevice]) -> list[Finding]:
    """Whether the nodes of gamepads may be read; nothing where there is no input device at all.

    Args:
        seen: What `list_pads` returned.
    """
    if not seen:
        return []
    closed = [pad for pad in seen if pad.is_pad and not pad.readable]
    detail = f"{sum(device.readable for device in seen)} of {len(seen)} devices in {DEV} are readable by you"
    if not closed:
        return [Finding("input access", ok=True, detail=f"{detail}; no gamepad needs more")]
    remedy = f'Run: {READ_COMMAND} (or "sudo usermod -aG input $USER", and log in again)'
    return [Finding("input access", ok=False, detail=f"{detail}, but not {closed[0]}", remedy=remedy)]


def check_events(seconds: float) -> list[Finding]:
    """Which controls move while the person presses something; nothing where there is no gamepad to read.

    Args:
        seconds: How long to wait; 0 does not listen.
    """
    from rl_utils.controller_reader import ControllerReader

    if seconds <= 0 or not any(pad.is_pad and pad.readable for pad in list_pads()):
        return []
    try:
        with ControllerReader() as pad:
            log(f"Press buttons and move the sticks of {pad.info.name} for {seconds:g} s.")
            first = pad.at(time.monotonic_ns()).values
            pad.take_events()  # the state when it was opened
            moved, events = np.zeros(len(first), bool), 0
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:
                moved |= np.abs(pad.at(time.monotonic_ns()).values - first) > MOVED
                events += len(pad.take_events())
                time.sleep(LOOK_S)
    except UserError as error:
        return [missing("pad events", error)]
    if not events:
        remedy = "Press something while this runs; if nothing arrives then either, check its connection and battery"
        return [Finding("pad events", ok=True, detail=f"None came in {seconds:g} s", remedy=remedy)]
    names = ", ".join(name for name, has_moved in zip(NAMES, moved, strict=True) if has_moved) or "only noise at rest"
    return [Finding("pad events", ok=True, detail=f"{events} in {seconds:g} s: {names}")]
