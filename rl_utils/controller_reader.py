"""ControllerReader: a gamepad as a stream of time-stamped events, and its state at the time of any frame.

A thread takes events from the kernel as they come (polling once per frame loses events of fast pads: at 1000 Hz the
kernel drops some in every frame, measured). `at` replays them up to the frame's time, so that inputs belong to the
picture they were pressed at, not to whenever they were asked for.
"""

from __future__ import annotations

import logging
import os
import select
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Final

from rl_utils.controls import REST, Control
from rl_utils.errors import UserError
from rl_utils.interfaces import ControllerSource, Inputs, PadEvent, PadInfo
from rl_utils.pad_device import PadDevice, Unplugged
from rl_utils.pad_finder import SeenDevice, choose_pad, controls_of, list_pads, matches
from rl_utils.pad_mapping import codes_of
from rl_utils.pad_state import PadState

log = logging.getLogger(__name__)

RESCAN_S: Final = 0.5
"""While the pad is unplugged, devices are looked at this often."""

REST_BETWEEN_READS_MS: Final = 4
"""The thread only has to be faster than the kernel's queue fills (21 ms at 1000 Hz): `at` reads by itself what is new.
Waking for every packet of such a pad took several times the CPU."""

MAX_WAITING: Final = 100_000
"""Events kept for `at` while nobody calls it (20 s of a 1000 Hz pad); older ones only update the state."""

MAX_CONSUMED: Final = 1_000_000
"""Events kept for `take_events`."""


class ControllerReader(ControllerSource):
    """A gamepad of this machine. Only reads: never grabs it, never writes to it.

    Unplugging sets `connected` to False and every control to rest; the same pad plugged in again (or another, where
    none was named) goes on.

    Args:
        device: Path, part of a name, or vendor:product; None takes the pad that fits best.

    Raises:
        UserError: No gamepad fits, or it may not be read.
    """

    def __init__(self, device: str | None = None) -> None:
        self._wanted = device
        self._lock = threading.Lock()
        self._waiting: deque[PadEvent] = deque()
        self._consumed: deque[PadEvent] = deque(maxlen=MAX_CONSUMED)
        self._device: PadDevice | None = None
        self._gone: PadDevice | None = None
        self._lost_ns = 0
        self._error: BaseException | None = None
        self._closing = False
        self._dropped_before = 0
        self.replugs = 0
        """How often the pad came back."""
        try:
            self._open(choose_pad(device))
        except Unplugged as error:
            raise UserError(f"The gamepad {error} was unplugged just now", "Plug it in and start again") from error
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="gamepad", daemon=True)
        self._thread.start()

    def at(self, t_ns: int) -> Inputs:
        """Return the pad's state at `t_ns`; see `ControllerSource.at`. At rest while the pad is unplugged."""
        with self._lock:
            if self._error is not None:
                raise self._error
            self._drain()  # the thread may not have run since the newest event
            while self._waiting and self._waiting[0].t_ns <= t_ns:
                event = self._waiting.popleft()
                self._state.apply(event)
                self._consumed.append(event)
            if self._device is None:  # since when is not known exactly: the kernel says so when it is asked
                return Inputs(REST.copy(), self._lost_ns)
            return Inputs(self._state.sample(t_ns), self._state.t_ns)

    @property
    def info(self) -> PadInfo:
        """Describe the pad (the last one, while it is unplugged)."""
        return self._info

    @property
    def connected(self) -> bool:
        """False while the pad is unplugged."""
        return self._device is not None

    @property
    def dropped(self) -> int:
        """How often the kernel threw events away because they were not read in time (the state was then restored)."""
        device = self._device
        return self._dropped_before + (device.dropped if device is not None else 0)

    @property
    def drop_gaps(self) -> Sequence[tuple[int, int]]:
        """From when to when (ns) the present pad was not read, each time the kernel threw events of it away."""
        device = self._device
        return () if device is None else tuple(device.drop_gaps)

    @property
    def longest_wait_ms(self) -> float:
        """How long an event of the present pad waited at most until it was read."""
        device = self._device
        return 0.0 if device is None else device.longest_wait_ns / 1e6

    @property
    def thread_id(self) -> int:
        """The reading thread, as the kernel numbers it."""
        assert self._thread.native_id is not None
        return self._thread.native_id

    def take_events(self) -> Sequence[PadEvent]:
        """Return and forget the key and axis events that `at` has consumed; those of one packet share their time."""
        with self._lock:
            events = tuple(self._consumed)
            self._consumed.clear()
        return events

    def close(self) -> None:
        """Stop reading."""
        if self._closing:
            return
        self._closing = True
        os.write(self._wake_write, b"x")
        self._thread.join()
        os.close(self._wake_read)
        os.close(self._wake_write)
        for device in (self._device, self._gone):
            if device is not None:
                device.close()

    def _open(self, pad: SeenDevice) -> None:
        """Open `pad` and take over its present state."""
        device = PadDevice(pad)
        try:
            initial = device.initial_state(time.monotonic_ns())
        except Unplugged:
            device.close()
            raise
        profile = device.profile
        missing = [c.name.lower() for c in Control if c not in controls_of(pad, profile)]
        if missing:
            log.info("%s has no %s", pad, ", ".join(missing))
        if device.reading.is_guess:
            log.warning(
                '%s is an unknown pad, its layout is guessed: check it with "%s --map"',
                pad,
                "python -m rl_utils.doctor",
            )
        with self._lock:
            self._device = device
            self._waiting.clear()
            self._state = PadState(profile, device.axes)
            for event in initial:
                self._state.apply(event)
            self._state.forget_taps()
            self._state.t_ns = 0  # the state is known, but no event has come yet
            self._consumed.extend(initial)  # so that the stream of raw events tells it too
            self._info = PadInfo(
                name=pad.name,
                profile=profile.name,
                ids=pad.ids,
                path=pad.path,
                ranges={
                    profile.axes[code].name.lower(): (axis.minimum, axis.rest, axis.maximum)
                    for code, axis in device.axes.items()
                },
                reason=device.reading.reason,
                codes=codes_of(profile),
            )
            self._seen = pad

    def _run(self) -> None:
        """The thread: take events as they come; while there is no pad, look for one."""
        try:
            while not self._closing:
                device = self._device
                self._wait(device, None if device is not None else RESCAN_S * 1000)
                with self._lock:
                    self._drain()
                    gone, self._gone = self._gone, None
                if gone is not None:
                    gone.close()
                    log.warning("%s was unplugged", gone.pad)
                elif device is None:
                    self._look_again()
                else:
                    self._wait(None, REST_BETWEEN_READS_MS)
        except BaseException as error:  # noqa: BLE001  # raised again by at()
            self._error = error

    def _wait(self, device: PadDevice | None, timeout_ms: float | None) -> None:
        """Sleep until there are events of `device`, or the time is over, or close() wants us to end."""
        poll = select.poll()
        poll.register(self._wake_read, select.POLLIN)
        if device is not None:
            poll.register(device.fileno(), select.POLLIN)
        poll.poll(timeout_ms)

    def _drain(self) -> None:
        """Move what the kernel holds to `_waiting`. Needs the lock."""
        if self._device is None:
            return
        try:
            self._waiting += self._device.read()
        except Unplugged:
            # Only the thread closes the node: it may be polling it just now.
            self._dropped_before += self._device.dropped
            self._device, self._gone = None, self._device
            self._lost_ns = time.monotonic_ns()
        while len(self._waiting) > MAX_WAITING:
            self._state.apply(self._waiting.popleft())

    def _look_again(self) -> None:
        """Open the pad that was lost, or else another one that fits --device."""
        fitting = [pad for pad in list_pads() if pad.readable and (pad.is_pad or pad.on_request)]
        same = [pad for pad in fitting if _identity(pad) == _identity(self._seen)]
        by_path = self._wanted is not None and self._wanted.startswith("/")
        if self._wanted is None:
            other = [pad for pad in fitting if pad.is_pad]
        else:
            other = [pad for pad in fitting if not by_path and matches(pad, self._wanted)]
        for pad in (same + other)[:1]:
            try:
                self._open(pad)
            except (Unplugged, UserError) as error:  # gone again, or udev has not given access yet: try next time
                log.debug("%s could not be opened yet: %s", pad, error)
            else:
                self.replugs += 1
                log.warning("%s is used now", pad)


def _identity(pad: SeenDevice) -> tuple[str, int, int, str]:
    return pad.name, pad.ids["vendor"], pad.ids["product"], pad.uniq
