"""Gamepads at the level of HID reports: programs that play the hardware, for the kernel's own drivers to bind to.

Needs /dev/uhid: only for tests marked `drivers`. A pad is held in terms of our own layout (`hold`), so that two pads
can be held physically alike.
"""

from __future__ import annotations

import os
import struct
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping

from rl_utils.controls import BUS_USB, REST, TRIGGERS, Control

Hand = Mapping[Control, float]
"""What a person holds; what is not in it is at rest."""

BUS_BLUETOOTH = 0x05
# Source: linux/uhid.h, enum uhid_event_type and the packed structs behind it.
DESTROY, STOP, OUTPUT, GET_REPORT, GET_REPORT_REPLY = 1, 3, 6, 9, 10
CREATE, INPUT, SET_REPORT, SET_REPORT_REPLY = 11, 12, 13, 14
EVENT_BYTES = 4380
DATA_BYTES = 4096


def at(hand: Hand, control: Control) -> float:
    """Where this control is, in [0, 1]."""
    return hand.get(control, float(REST[control]))


def bits(hand: Hand, *order: Control | None) -> int:
    """Buttons, and triggers once fully pressed, as a bit field, the first one lowest; None is an unused bit."""
    return sum(1 << i for i, control in enumerate(order) if control is not None and at(hand, control) == 1)


def bytes_of(hand: Hand, *order: Control) -> bytes:
    """Sticks and triggers, a byte each; sticks rest at 128, as Sony's do."""
    values = (0.502 if c not in TRIGGERS and at(hand, c) == REST[c] else at(hand, c) for c in order)
    return bytes(round(value * 255) for value in values)


def hat(hand: Hand) -> int:
    """The d-pad as a hat switch: 0 is up, then clockwise by 45°; 8 is nothing."""
    x, y = (round(at(hand, control) * 2) - 1 for control in (Control.HAT_X, Control.HAT_Y))
    around = ((0, -1), (1, -1), (1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1))
    return around.index((x, y)) if (x, y) != (0, 0) else 8


class HidPad(ABC):
    """A pad that the kernel takes for hardware. Answers its driver's questions in a thread."""

    name: str
    ids: tuple[int, int]
    version = 0x0111
    bus = BUS_USB
    descriptor: bytes
    features: Mapping[int, bytes] = {}
    """Answers to the driver's questions by number."""

    def __init__(self, uniq: str = "aa:bb:cc:00:00:01") -> None:
        self._fd = os.open("/dev/uhid", os.O_RDWR | os.O_CLOEXEC)
        names = struct.pack("128s64s64s", self.name.encode(), b"usb-test/input0", uniq.encode())
        about = struct.pack("<HHIIII", len(self.descriptor), self.bus, *self.ids, self.version, 0)
        self._write(CREATE, names + about + self.descriptor.ljust(DATA_BYTES, b"\0"))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @abstractmethod
    def report(self, hand: Hand) -> bytes:
        """What a pad that is held so sends."""

    def hold(self, hand: Hand | None = None) -> None:
        """Hold exactly this, and let go of everything else."""
        self.send(self.report(hand or {}))

    def send(self, report: bytes) -> None:
        """Send one input report."""
        self._write(INPUT, struct.pack("<H", len(report)) + report)

    def close(self) -> None:
        """Pull the plug; may be called more than once."""
        if self._fd >= 0:
            self._write(DESTROY)
            self._thread.join()
            os.close(self._fd)
            self._fd = -1

    def take_output(self, report: bytes) -> None:
        """The driver has sent this: lights and rumble, which need no answer; or a question that does."""
        del report

    def _write(self, kind: int, payload: bytes = b"") -> None:
        os.write(self._fd, struct.pack("<I", kind) + payload)

    def _serve(self) -> None:
        while True:
            event = os.read(self._fd, EVENT_BYTES)
            kind, body = struct.unpack_from("<I", event)[0], event[4:]
            if kind == STOP:  # the driver has let go: nothing more will come
                return
            if kind == GET_REPORT:
                question, number = struct.unpack_from("<IB", body)
                data = self.features.get(number, b"")
                self._write(GET_REPORT_REPLY, struct.pack("<IHH", question, 0 if data else 5, len(data)) + data)
            elif kind == SET_REPORT:
                self._write(SET_REPORT_REPLY, struct.pack("<IH", *struct.unpack_from("<I", body), 0))
            elif kind == OUTPUT:
                self.take_output(body[: struct.unpack_from("<H", body, DATA_BYTES)[0]])


# Report descriptors are lists of items: a tag whose low bits tell the size, then a number. Source: HID 1.11, 6.2.2.
USAGE_PAGE, USAGE, USAGE_MIN, USAGE_MAX, REPORT_ID = 0x05, 0x09, 0x19, 0x29, 0x85
LOGICAL_MIN, LOGICAL_MAX, LOGICAL_MAX_WIDE, PHYSICAL_MAX_WIDE, UNIT = 0x15, 0x25, 0x26, 0x46, 0x65
SIZE, COUNT, COUNT_WIDE, FIELD, OUTPUT_FIELD, FEATURE_FIELD, COLLECTION, END = (
    0x75,
    0x95,
    0x96,
    0x81,
    0x91,
    0xB1,
    0xA1,
    0xC0,
)
DESKTOP, SIMULATION, BUTTON_PAGE, VENDOR = 1, 2, 9, 0xFF00
X, Y, Z, RX, RY, RZ, HAT = 0x30, 0x31, 0x32, 0x33, 0x34, 0x35, 0x39
ACCELERATOR, BRAKE = 0xC4, 0xC5


def items(*pairs: tuple[int, int]) -> bytes:
    """A piece of a descriptor."""
    return b"".join(bytes((tag,)) + value.to_bytes((0, 1, 2, 4)[tag & 3], "little") for tag, value in pairs)


def gamepad(*fields: bytes) -> bytes:
    """The whole descriptor of a gamepad."""
    return items((USAGE_PAGE, DESKTOP), (USAGE, 5), (COLLECTION, 1)) + b"".join(fields) + bytes((END,))


def axes(*usages: int, page: int = DESKTOP) -> bytes:
    """A byte for each axis."""
    named = [(USAGE, usage) for usage in usages]
    ranges = ((LOGICAL_MIN, 0), (LOGICAL_MAX_WIDE, 255), (SIZE, 8), (COUNT, len(usages)), (FIELD, 2))
    return items((USAGE_PAGE, page), *named, *ranges)


def hat_switch() -> bytes:
    """Four bits."""
    ranges = ((LOGICAL_MIN, 0), (LOGICAL_MAX, 7), (PHYSICAL_MAX_WIDE, 315), (UNIT, 0x14), (SIZE, 4), (COUNT, 1))
    return items((USAGE_PAGE, DESKTOP), (USAGE, HAT), *ranges, (FIELD, 0x42), (PHYSICAL_MAX_WIDE, 0), (UNIT, 0))


def buttons(count: int) -> bytes:
    """A bit for each button, numbered from 1."""
    named = ((USAGE_PAGE, BUTTON_PAGE), (USAGE_MIN, 1), (USAGE_MAX, count))
    return items(*named, (LOGICAL_MIN, 0), (LOGICAL_MAX, 1), (SIZE, 1), (COUNT, count), (FIELD, 2))


def padding(count: int) -> bytes:
    """Bits without a meaning."""
    return items((SIZE, 1), (COUNT_WIDE, count), (FIELD, 3))


def other(number: int, count: int, kind: int) -> bytes:
    """A report of `count` bytes that is no input."""
    named = ((REPORT_ID, number), (0x06, VENDOR), (USAGE, number), (LOGICAL_MIN, 0), (LOGICAL_MAX_WIDE, 255))
    return items(*named, (SIZE, 8), (COUNT, count), (kind, 2))


FACE = (Control.WEST, Control.SOUTH, Control.EAST, Control.NORTH)
"""Square, cross, circle, triangle."""
SHOULDERS = (Control.TL, Control.TR, *TRIGGERS, Control.SELECT, Control.START, Control.THUMBL, Control.THUMBR)
STICK_BYTES = (Control.LEFT_X, Control.LEFT_Y, Control.RIGHT_X, Control.RIGHT_Y)


def question(number: int, size: int) -> dict[int, bytes]:
    """An answer that says nothing but its number and an address."""
    return {number: bytes((number, 1, 0, 0, 0xCC, 0xBB, 0xAA)).ljust(size, b"\0")}


class DualSense(HidPad):
    """A DualSense on USB. Source: struct dualsense_input_report in drivers/hid/hid-playstation.c."""

    name = "Sony Interactive Entertainment DualSense Wireless Controller"
    ids = (0x054C, 0x0CE6)
    descriptor = gamepad(
        items((REPORT_ID, 1)) + axes(X, Y, Z, RZ, RX, RY) + padding(8) + hat_switch() + buttons(15),
        padding(13 + 52 * 8),
        *(other(number, size, FEATURE_FIELD) for number, size in ((0x05, 40), (0x09, 19), (0x20, 63))),
        other(0x02, 47, OUTPUT_FIELD),
    )
    features = question(0x05, 41) | question(0x09, 20) | question(0x20, 64)

    def report(self, hand: Hand) -> bytes:
        """Sticks, triggers, a counter, then 19 bits: the hat and 15 buttons."""
        keys = hat(hand) | bits(hand, *FACE, *SHOULDERS, Control.MODE) << 4
        body = bytes_of(hand, *STICK_BYTES, *TRIGGERS) + b"\0" + keys.to_bytes(4, "little")
        no_touch = b"\x80\0\0\0" * 2
        return (b"\x01" + body).ljust(33, b"\0") + no_touch + bytes(64 - 33 - 8)


# How its motion sensors are calibrated; hid-sony divides by the differences: gyroscope, its speed, accelerometer.
SENSORS = {0x02: struct.pack("<B17h2x", 0x02, 0, 0, 0, *(1000, -1000) * 3, 540, 540, *(8192, -8192) * 3)}


class DualShock4(HidPad):
    """A DualShock 4 on USB. Source: struct dualshock4_input_report_usb in drivers/hid/hid-playstation.c.

    Kernels before 6.2 have hid-sony for it, which asks for its address in another report (0x81).
    """

    name = "Sony Interactive Entertainment Wireless Controller"
    ids = (0x054C, 0x09CC)
    descriptor = gamepad(
        items((REPORT_ID, 1)) + axes(X, Y, Z, RZ) + hat_switch() + buttons(14) + padding(6) + axes(RX, RY),
        padding(54 * 8),
        *(other(number, size, FEATURE_FIELD) for number, size in ((0x02, 36), (0x12, 15), (0xA3, 48))),
        other(0x05, 31, OUTPUT_FIELD),
    )
    features = SENSORS | question(0x12, 16) | question(0x81, 7) | question(0xA3, 49)

    def report(self, hand: Hand) -> bytes:
        """Sticks, 18 bits of hat and buttons, triggers."""
        keys = hat(hand) | bits(hand, *FACE, *SHOULDERS, Control.MODE) << 4
        body = bytes_of(hand, *STICK_BYTES) + keys.to_bytes(3, "little") + bytes_of(hand, *TRIGGERS)
        return (b"\x01" + body).ljust(64, b"\0")


class SwitchPro(HidPad):
    """A Switch Pro Controller on Bluetooth. Source: drivers/hid/hid-nintendo.c; its triggers are buttons."""

    name = "Pro Controller"
    ids = (0x057E, 0x2009)
    bus, version = BUS_BLUETOOTH, 0x0001
    CENTRE, REACH = 2000, 1500
    descriptor = gamepad(
        items((REPORT_ID, 0x30)) + padding(48 * 8) + items((REPORT_ID, 0x21)) + padding(48 * 8),
        other(0x01, 48, OUTPUT_FIELD) + other(0x10, 9, OUTPUT_FIELD),
    )

    def report(self, hand: Hand, number: int = 0x30) -> bytes:
        """24 buttons, then two sticks of 12 bits an axis, upwards positive."""
        face = (Control.WEST, Control.NORTH, Control.SOUTH, Control.EAST)
        right = (*face, None, None, Control.TR, Control.RIGHT_TRIGGER)
        middle = (Control.SELECT, Control.START, Control.THUMBR, Control.THUMBL, Control.MODE, None, None, None)
        up, left = at(hand, Control.HAT_Y), at(hand, Control.HAT_X)
        cross = (up == 1) | (up == 0) << 1 | (left == 1) << 2 | (left == 0) << 3
        keys = bits(hand, *right, *middle) | cross << 16 | bits(hand, Control.TL, Control.LEFT_TRIGGER) << 22
        sticks = b"".join(
            _twelve_bits(*(self.CENTRE + round((at(hand, c) - 0.5) * sign * 2 * self.REACH) for c, sign in axes_of_one))
            for axes_of_one in (
                ((Control.LEFT_X, 1), (Control.LEFT_Y, -1)),
                ((Control.RIGHT_X, 1), (Control.RIGHT_Y, -1)),
            )
        )
        return (bytes((number, 0, 0x80)) + keys.to_bytes(3, "little") + sticks + b"\0").ljust(49, b"\0")

    def take_output(self, report: bytes) -> None:
        """Answer the driver's questions: what this is, and what lies in its memory (how far its sticks reach)."""
        if report[0] != 0x01:
            return
        command, asked = report[10], report[11:16]
        data = bytes((4, 0x21, 3, 2, 0xAA, 0xBB, 0xCC, 0, 0, 1))
        if command == 0x10:
            reach, centre = _twelve_bits(self.REACH, self.REACH), _twelve_bits(self.CENTRE, self.CENTRE)
            memory = {0x603D: reach + centre + reach, 0x6046: centre + reach + reach}
            data = asked + memory.get(int.from_bytes(asked[:2], "little"), b"\xff" * 24)
        self.send((self.report({}, 0x21)[:13] + bytes((0x80 | command, command)) + data).ljust(49, b"\0"))


def _twelve_bits(a: int, b: int) -> bytes:
    return (a | b << 12).to_bytes(3, "little")


class EightBitDo(HidPad):
    """An 8BitDo Pro 2 in its D-input mode: no driver of its own, so hid-generic takes it.

    Source: SDL's mapping for 2dc8:6006 (0x30 sticks on X Y Z RZ, triggers on the pedals, Nintendo's labels).
    """

    name = "8BitDo 8BitDo Pro 2"
    ids = (0x2DC8, 0x6006)
    descriptor = gamepad(
        axes(X, Y, Z, RZ),
        axes(BRAKE, ACCELERATOR, page=SIMULATION),
        hat_switch() + padding(4),
        buttons(15) + padding(1),
    )

    def report(self, hand: Hand) -> bytes:
        """Sticks, triggers, hat, buttons in HID order (A B C X Y Z L1 R1 L2 R2 select start home L3 R3)."""
        face = (Control.EAST, Control.SOUTH, None, Control.NORTH, Control.WEST, None)
        keys = bits(hand, *face, *SHOULDERS[:6], Control.MODE, *SHOULDERS[6:])
        return bytes_of(hand, *STICK_BYTES, *TRIGGERS) + bytes((hat(hand),)) + keys.to_bytes(2, "little")
