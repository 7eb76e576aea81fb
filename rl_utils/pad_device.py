"""One opened gamepad: its events on our clock, its ranges, and its true state when events alone do not tell it."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import struct
import time
from collections import deque
from collections.abc import Mapping
from typing import Final

import evdev

from rl_utils.controls import (
    EV_ABS,
    EV_KEY,
    EV_SYN,
    INPUT_EVENT,
    STICKS,
    SYN_DROPPED,
    SYN_REPORT,
    TRIGGERS,
    PadProfile,
)
from rl_utils.errors import UserError
from rl_utils.interfaces import PadEvent
from rl_utils.pad_finder import READ_REMEDY, SeenDevice, reading_of_pad
from rl_utils.pad_state import AxisRange

log = logging.getLogger(__name__)

EVIOCSCLOCKID: Final = 0x400445A0
"""_IOW('E', 0xa0, int): the clock of a device's time stamps. Source: linux/input.h."""

REST_SHARE: Final = 1 / 8
"""A stick this near to its centre when the pad is opened is taken to be at rest; worn ones are off by up to 5 %."""

READ_BYTES: Final = 1 << 16
"""More than any pad's queue holds, so that one call empties it."""

MAX_GAPS: Final = 1000
"""Gaps that are remembered; the newest ones."""


def queue_events(axes: int) -> int:
    """How many unread events make the kernel drop them, for a pad with so many axes and no touch surface.

    Source: linux/drivers/input/evdev.c, evdev_compute_buffer_size; input.c, input_estimate_events_per_packet.
    """
    wanted = max(64, 8 * (axes + 8))
    return 1 << (wanted - 1).bit_length()


class Unplugged(Exception):  # noqa: N818  # an event of the device's life, not a failure
    """The device has gone."""


class PadDevice:
    """A gamepad's device node, opened for reading only and never grabbed (a grab would make the game deaf).

    Args:
        pad: What `pad_finder` chose.

    Raises:
        UserError: It may not be read.
        Unplugged: It vanished meanwhile.
    """

    def __init__(self, pad: SeenDevice) -> None:
        self.pad = pad
        self.reading = reading_of_pad(pad)
        self.profile: PadProfile = self.reading.profile
        self.dropped = 0
        """How often the kernel had to throw events away (SYN_DROPPED)."""
        self.drop_gaps: deque[tuple[int, int]] = deque(maxlen=MAX_GAPS)
        """When nobody had read, each time events were thrown away: from one read's beginning to the next one's end."""
        self.longest_wait_ns = 0
        """How long an event had to wait at most until it was read."""
        self._read_ns = time.monotonic_ns()
        self._skipping = False
        self._stale = False
        try:
            self._device: evdev.InputDevice[str] = evdev.InputDevice(pad.path, readonly=True)
        except PermissionError as error:
            raise UserError(f"The gamepad {pad} may not be read by you", READ_REMEDY) from error
        except OSError as error:
            raise Unplugged(str(pad)) from error
        try:
            # Empties the device's queue, so it comes first and the state is asked for afterwards.
            fcntl.ioctl(self._device.fd, EVIOCSCLOCKID, struct.pack("i", time.CLOCK_MONOTONIC))
            infos = {code: self._device.absinfo(code) for code in self.profile.axes if code in pad.axes}
        except OSError as error:
            self._device.close()
            raise Unplugged(str(pad)) from error
        self.axes: Mapping[int, AxisRange] = {
            code: _axis_range(
                info, is_centred=self.profile.axes[code] not in TRIGGERS, is_inverted=code in self.profile.inverted
            )
            for code, info in infos.items()
            if info.max > info.min
        }
        # Under hid-generic all axes are 0 until the first report: both sticks in a corner that no stick reaches.
        sticks = [info for code, info in infos.items() if self.profile.axes[code] in STICKS]
        self._silent = bool(sticks) and all(info.value == info.min == 0 for info in sticks)

    def fileno(self) -> int:
        """For poll."""
        return int(self._device.fd)

    def read(self) -> list[PadEvent]:
        """Return all key and axis events that wait, without waiting.

        Where the kernel dropped some, the incomplete remains are left out and events that state the present follow.

        Raises:
            Unplugged: The device has gone.
        """
        events: list[PadEvent] = []
        before = self.dropped
        last_ns, self._read_ns = self._read_ns, time.monotonic_ns()
        try:
            raw = os.read(self._device.fd, READ_BYTES)
        except BlockingIOError:
            return events
        except OSError as error:
            raise Unplugged(str(self.pad)) from error
        for s, us, kind, code, value in INPUT_EVENT.iter_unpack(raw):
            if kind == EV_SYN:
                self._note(code)
            elif not self._skipping and kind in (EV_KEY, EV_ABS):
                events.append(PadEvent(s * 1_000_000_000 + us * 1000, kind, code, value))
        now_ns = time.monotonic_ns()
        first_s, first_us, *_ = INPUT_EVENT.unpack_from(raw)
        self.longest_wait_ns = max(self.longest_wait_ns, now_ns - first_s * 1_000_000_000 - first_us * 1000)
        if self.dropped > before:
            self.drop_gaps.append((last_ns, now_ns))
            log.debug("%s: the kernel dropped events, unread for up to %.1f ms", self.pad, (now_ns - last_ns) / 1e6)
        if self._silent and events:
            self._silent, self._stale = False, True  # axes that really are 0 were left out of the first report
        if self._stale and not self._skipping:
            events += self.state(s * 1_000_000_000 + us * 1000)  # at the newest event's time
            self._stale = False
        return events

    def _note(self, code: int) -> None:
        """Take a synchronisation event into account."""
        if code == SYN_DROPPED:
            self.dropped += 1
            self._skipping = self._stale = True
        elif code == SYN_REPORT:
            self._skipping = False  # what was left of the packet that was cut is over

    def state(self, t_ns: int) -> list[PadEvent]:
        """Return the state of every key and axis that the profile reads, as events at `t_ns`.

        Raises:
            Unplugged: The device has gone.
        """
        try:
            held = set(self._device.active_keys())
            values = {code: self._device.absinfo(code).value for code in self.axes}
        except (OSError, SystemError) as error:  # evdev 2.0's active_keys raises SystemError without a device
            raise Unplugged(str(self.pad)) from error
        codes = {*self.profile.buttons, *self.profile.axis_keys} & self.pad.keys
        keys = [PadEvent(t_ns, EV_KEY, code, int(code in held)) for code in sorted(codes)]
        return keys + [PadEvent(t_ns, EV_ABS, code, value) for code, value in values.items()]

    def initial_state(self, t_ns: int) -> list[PadEvent]:
        """Like `state`, without the sticks of a pad that has not reported yet."""
        events = self.state(t_ns)
        if not self._silent:
            return events
        return [e for e in events if e.type == EV_KEY or self.profile.axes[e.code] not in STICKS]

    def close(self) -> None:
        """Close the device node; may be called more than once."""
        try:
            self._device.close()
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise


def _axis_range(info: evdev.AbsInfo, *, is_centred: bool, is_inverted: bool) -> AxisRange:
    usual = round((info.min + info.max) / 2) if is_centred else info.max if is_inverted else info.min
    near = abs(info.value - usual) <= (info.max - info.min) * REST_SHARE
    return AxisRange(info.min, info.value if near else usual, info.max, info.flat)
