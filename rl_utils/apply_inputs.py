"""InputApplier: the 19 inputs as a virtual Xbox 360 pad that games, SDL, Steam and Proton know without a mapping."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
from evdev import AbsInfo, UInput, UInputError

from rl_utils.controls import (
    BUS_USB,
    EV_ABS,
    EV_KEY,
    EV_SYN,
    HATS,
    INPUT_EVENT,
    REST,
    STICKS,
    SYN_REPORT,
    XBOX_360_PAD,
    XPAD,
    Control,
)
from rl_utils.errors import UserError
from rl_utils.interfaces import ControllerSink, InputVector
from rl_utils.pad_finder import OWN_PHYS
from rl_utils.safety import mask_menu, rest_sticks

NAME: Final = "Microsoft X-Box 360 pad"
UINPUT: Final = "/dev/uinput"

UDEV_FILE: Final = "/etc/udev/rules.d/60-rlai-uinput.rules"
"""Must sort before 73-seat-late.rules, which is where `uaccess` takes effect."""
UDEV_RULE: Final = (
    'KERNEL=="uinput", SUBSYSTEM=="misc", MODE="0660", GROUP="input", TAG+="uaccess", OPTIONS+="static_node=uinput"'
)
UDEV_COMMAND: Final = (
    f"echo '{UDEV_RULE}' | sudo tee {UDEV_FILE} && sudo udevadm control --reload && sudo udevadm trigger /dev/uinput"
)
MODPROBE_COMMAND: Final = "sudo modprobe uinput"

# As the kernel's xpad reports a wired pad, but without its fuzz of 16 and flat of 128: the kernel applies fuzz to
# virtual pads too and would swallow small corrections. Source: drivers/input/joystick/xpad.c, xpad_set_up_abs.
STICK_RANGE: Final = (-32768, 32767)
TRIGGER_RANGE: Final = (0, 255)
HAT_RANGE: Final = (-1, 1)

GOODBYE_S: Final = 0.05
"""Three polls of a game at 60 Hz between the release and the pad's end: what is unread then is lost (measured)."""

_SYN: Final = INPUT_EVENT.pack(0, 0, EV_SYN, SYN_REPORT, 0)


def axis_range(control: Control) -> tuple[int, int]:
    """Least and greatest device value of a stick, trigger or d-pad axis of the virtual pad."""
    if control in STICKS:
        return STICK_RANGE
    return HAT_RANGE if control in HATS else TRIGGER_RANGE


class InputApplier(ControllerSink):
    """A virtual Xbox 360 pad, with everything at rest when it appears. The kernel removes it should we be killed.

    Only what changed since the last call is sent, in one write, so that a game never sees half a frame.

    Args:
        allow_menu: Let START and SELECT through (MODE never).
        dead_zone: A stick axis closer to its rest than this share of its way stays at rest; from 0 to below 1.
        node: The kernel's uinput device.
        name: What the pad calls itself.
        phys: What marks it as ours, so that nobody records the bot; the bench reads its own pad back.

    Raises:
        UserError: `node` is missing or may not be written.
    """

    def __init__(
        self,
        *,
        allow_menu: bool = False,
        dead_zone: float = 0.0,
        node: str = UINPUT,
        name: str = NAME,
        phys: str = OWN_PHYS,
    ) -> None:
        assert 0 <= dead_zone < 1, dead_zone
        self._allow_menu = allow_menu
        self._dead_zone = dead_zone
        self._pad = _create_pad(node, name, phys)
        self.path = ""
        """The device node that games read."""
        if self._pad.device is not None:
            self.path = str(self._pad.device.path)
            self._pad.device.close()  # UInput opens it for reading, which is not our part
        self._sent = device_values(REST)

    def apply(self, inputs: InputVector) -> None:
        """Set every control.

        Args:
            inputs: (19,) float32; clipped to [0, 1], buttons pressed from 0.5 on.

        Raises:
            ValueError: A value is not a number; nothing is changed.
        """
        if not np.isfinite(inputs).all():
            raise ValueError(f"inputs hold values that are not numbers: {inputs}")
        self._send(device_values(self.pressed(inputs)))

    def pressed(self, inputs: InputVector) -> InputVector:
        """What is left of the inputs without menu buttons and within the dead zone."""
        return rest_sticks(mask_menu(inputs, allow_menu=self._allow_menu), self._dead_zone)

    def release(self) -> None:
        """Sticks and d-pad to rest, triggers to 0, all buttons up."""
        # Everything, not only what changed: a signal may have come between a write of ours and our note of it. The
        # kernel itself leaves out what is so already.
        rest = device_values(REST)
        self._write(list(rest.items()))
        self._sent = rest

    def close(self) -> None:
        """Release everything, then remove the pad."""
        if self._pad.fd < 0:
            return
        try:
            self.release()
            time.sleep(GOODBYE_S)
        finally:
            self._pad.close()

    def _send(self, wanted: dict[tuple[int, int], int]) -> None:
        changed = [(key, value) for key, value in wanted.items() if self._sent[key] != value]
        if changed:
            self._write(changed)
        self._sent = wanted

    def _write(self, changed: list[tuple[tuple[int, int], int]]) -> None:
        packet = b"".join(INPUT_EVENT.pack(0, 0, kind, code, value) for (kind, code), value in changed) + _SYN
        # One write: 65 us where evdev's one write per event took 2.3 ms for a frame (measured in a guest).
        written = os.write(self._pad.fd, packet)
        assert written == len(packet), (written, len(packet))


def device_values(inputs: InputVector) -> dict[tuple[int, int], int]:
    """What the virtual pad reports for `inputs`: (event type, code) → device value. The inverse of profile XPAD.

    Args:
        inputs: (19,) float32 in [0, 1].
    """
    values = {(EV_KEY, code): int(inputs[control] >= 0.5) for code, control in XPAD.buttons.items()}
    for code, control in XPAD.axes.items():
        low, high = axis_range(control)
        share = min(1.0, max(0.0, float(inputs[control])))
        values[EV_ABS, code] = low + round(share * (high - low))
    return values


def _create_pad(node: str, name: str, phys: str) -> UInput:
    rest = device_values(REST)
    axes = [
        (code, AbsInfo(rest[EV_ABS, code], *axis_range(control), fuzz=0, flat=0, resolution=0))
        for code, control in XPAD.axes.items()
    ]
    vendor, product, version = XBOX_360_PAD
    events: dict[int, Any] = {EV_KEY: list(XPAD.buttons), EV_ABS: axes}
    try:
        return UInput(
            events,
            name=name,
            vendor=vendor,
            product=product,
            version=version,
            bustype=BUS_USB,
            devnode=node,
            phys=phys,
            max_effects=0,  # the default claims force feedback, which nobody would serve
        )
    except (UInputError, OSError) as error:
        raise _explain(node) from error


def uinput_problem(node: str = UINPUT) -> UserError | None:
    """Why no virtual pad can be made here, or None where one can be."""
    if Path(node).is_char_device() and os.access(node, os.W_OK):
        return None
    return _explain(node)


def _explain(node: str) -> UserError:
    if not Path(node).is_char_device():
        return UserError(
            f"{node} does not exist: the kernel's uinput module is not loaded",
            f'Run "{MODPROBE_COMMAND}" (and see "python -m rl_utils.doctor" for making that permanent)',
        )
    if not os.access(node, os.W_OK):
        return UserError(f"{node} is not writable", f"Allow it with a udev rule: {UDEV_COMMAND}")
    return UserError(
        f"{node} is writable, but the virtual pad could not be created or its device node may not be opened",
        'Run "sudo usermod -aG input $USER", log in again, and see "python -m rl_utils.doctor"',
    )
