"""Xbox pads at the level of USB: programs that play the hardware over USB/IP, for the kernel's own xpad to bind to.

Needs the kernel's virtual USB port (vhci_hcd) and root: only for tests marked `drivers`.
"""

from __future__ import annotations

import socket
import struct
import threading
from abc import ABC, abstractmethod
from collections import deque
from pathlib import Path

from rl_utils.controls import Control
from tests.hid_pads import Hand, at, bits

PORTS = Path("/sys/devices/platform/vhci_hcd.0")
# Source: the kernel's Documentation/usb/usbip_protocol.rst; all numbers big-endian, 48 bytes before the data.
SUBMIT, UNLINK, RET_SUBMIT, RET_UNLINK = 1, 2, 3, 4
HEADER_BYTES = 48
FREE, HIGH_SPEED = "004", 3
NO_SUCH_REQUEST, STALLED = -104, -32
GET_STATUS, GET_DESCRIPTOR = 0, 6
DEVICE, CONFIGURATION, STRING = 1, 2, 3
VENDOR_CLASS = 0xFF


class UsbPad(ABC):
    """A pad on a virtual USB port, with one interface and one endpoint each way."""

    ids: tuple[int, int, int]
    protocol: tuple[int, int]
    """Subclass and protocol of its interface, by which xpad knows what it speaks."""
    endpoint = 1

    def __init__(self) -> None:
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._lock = threading.Lock()
        self._asked: deque[int] = deque()
        self._reports: deque[bytes] = deque()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        with theirs:
            ports = [line.split() for line in (PORTS / "status").read_text().splitlines()[1:]]
            self._port = next(int(port[1]) for port in ports if port[0] == "hs" and port[2] == FREE)
            (PORTS / "attach").write_text(f"{self._port} {theirs.fileno()} {1 << 16 | 2} {HIGH_SPEED}")

    @abstractmethod
    def reports(self, hand: Hand) -> list[bytes]:
        """What a pad that is held so sends."""

    def hold(self, hand: Hand | None = None) -> None:
        """Hold exactly this, and let go of everything else."""
        with self._lock:
            self._reports += self.reports(hand or {})
            self._deliver()

    def close(self) -> None:
        """Pull the plug; may be called more than once."""
        if self._ours.fileno() >= 0:
            (PORTS / "detach").write_text(str(self._port))
            self._thread.join()
            self._ours.close()

    def _serve(self) -> None:
        while (header := self._read(HEADER_BYTES)) is not None:
            command, number, _, is_in, endpoint = struct.unpack_from(">5I", header)
            with self._lock:
                if command == UNLINK:
                    (unwanted,) = struct.unpack_from(">I", header, 20)
                    status = NO_SUCH_REQUEST if unwanted in self._asked else 0
                    self._asked = deque(asked for asked in self._asked if asked != unwanted)
                    self._send(RET_UNLINK, number, status)
                elif endpoint == 0:
                    self._answer(number, header[40:48])
                elif is_in:
                    self._asked.append(number)
                    self._deliver()
                else:  # lights and rumble
                    (length,) = struct.unpack_from(">i", header, 24)
                    self._read(length)
                    self._send(RET_SUBMIT, number, 0, length=length)

    def _answer(self, number: int, setup: bytes) -> None:
        """Answer a control request: who are you?"""
        kind, request, value, _, length = struct.unpack("<BBHHH", setup)
        answer = b""
        if request == GET_DESCRIPTOR:
            answer = self._descriptors().get(value >> 8, b"")
        elif request == GET_STATUS:
            answer = b"\0\0"
        is_stalled = request == GET_DESCRIPTOR and not answer
        self._send(RET_SUBMIT, number, STALLED if is_stalled else 0, answer[:length] if kind & 0x80 else b"")

    def _descriptors(self) -> dict[int, bytes]:
        vendor, product, version = self.ids
        device = struct.pack(
            "<BBHBBBBHHHBBBB", 18, DEVICE, 0x200, 0xFF, 0xFF, 0xFF, 8, vendor, product, version, 0, 0, 0, 1
        )
        interface = struct.pack("9B", 9, 4, 0, 0, 2, VENDOR_CLASS, *self.protocol, 0)
        ways = b"".join(struct.pack("<BBBBHB", 7, 5, way | self.endpoint, 3, 64, 4) for way in (0x80, 0))
        body = interface + ways
        configuration = struct.pack("<BBHBBBBB", 9, CONFIGURATION, 9 + len(body), 1, 1, 0, 0xA0, 250)
        return {DEVICE: device, CONFIGURATION: configuration + body}

    def _deliver(self) -> None:
        while self._asked and self._reports:
            self._send(RET_SUBMIT, self._asked.popleft(), 0, self._reports.popleft())

    def _send(self, command: int, number: int, status: int, data: bytes = b"", length: int | None = None) -> None:
        sizes = (status, len(data) if length is None else length)
        head = struct.pack(">5I2i", command, number, 0, 0, 0, *sizes)
        self._ours.sendall(head.ljust(HEADER_BYTES, b"\0") + data)

    def _read(self, count: int) -> bytes | None:
        read = b""
        while len(read) < count:
            more = self._ours.recv(count - len(read))
            if not more:
                return None
            read += more
        return read


def _stick(hand: Hand, control: Control) -> int:
    """16 bits, upwards positive for the vertical axes."""
    value = round(at(hand, control) * 65535) - 32768
    if control in (Control.LEFT_X, Control.RIGHT_X):
        return value if at(hand, control) != 0.5 else 0
    return ~value if at(hand, control) != 0.5 else 0


def _d_pad(hand: Hand) -> int:
    """Up, down, left, right."""
    x, y = at(hand, Control.HAT_X), at(hand, Control.HAT_Y)
    return (y == 0) | (y == 1) << 1 | (x == 0) << 2 | (x == 1) << 3


STICKS = (Control.LEFT_X, Control.LEFT_Y, Control.RIGHT_X, Control.RIGHT_Y)
FACE = (Control.SOUTH, Control.EAST, Control.WEST, Control.NORTH)
"""A, B, X, Y."""


class Xbox360(UsbPad):
    """A wired Xbox 360 pad. Source: xpad360_process_packet in drivers/input/joystick/xpad.c."""

    ids = (0x045E, 0x028E, 0x0114)
    protocol = (0x5D, 0x01)

    def reports(self, hand: Hand) -> list[bytes]:
        """One packet of 20 bytes."""
        first = _d_pad(hand) | bits(hand, Control.START, Control.SELECT, Control.THUMBL, Control.THUMBR) << 4
        second = bits(hand, Control.TL, Control.TR, Control.MODE, None, *FACE)
        triggers = (round(at(hand, c) * 255) for c in (Control.LEFT_TRIGGER, Control.RIGHT_TRIGGER))
        return [struct.pack("<6B4h6x", 0, 20, first, second, *triggers, *(_stick(hand, c) for c in STICKS))]


class XboxOne(UsbPad):
    """An Xbox One S pad on its cable. Source: xpadone_process_packet; its guide button has a packet of its own."""

    ids = (0x045E, 0x02EA, 0x0408)
    protocol = (0x47, 0xD0)

    def reports(self, hand: Hand) -> list[bytes]:
        """The inputs, then the guide button."""
        first = bits(hand, None, None, Control.START, Control.SELECT, *FACE)
        second = _d_pad(hand) | bits(hand, Control.TL, Control.TR, Control.THUMBL, Control.THUMBR) << 4
        triggers = (round(at(hand, c) * 1023) for c in (Control.LEFT_TRIGGER, Control.RIGHT_TRIGGER))
        inputs = struct.pack("<6B2H4h", 0x20, 0, 1, 14, first, second, *triggers, *(_stick(hand, c) for c in STICKS))
        return [inputs.ljust(32, b"\0"), bytes((0x07, 0x20, 1, 2, bits(hand, Control.MODE), 0x5B))]
