"""What the gamepad's way costs: from a pad's event to the inputs, storms at up to 1000 Hz, and from inputs to the game.

Needs /dev/uinput: a second process plays a physical pad. Elsewhere `tests/vm/run.py` brings a kernel that has it.
"""

from __future__ import annotations

import multiprocessing
import os
import select
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import numpy as np

from rl_utils.apply_inputs import InputApplier, uinput_problem
from rl_utils.controller_reader import REST_BETWEEN_READS_MS, ControllerReader
from rl_utils.controls import AXES, BTN_SOUTH, EV_KEY, NAMES, REST, TRIGGERS, Control
from rl_utils.errors import UserError
from rl_utils.interfaces import InputVector
from rl_utils.pacing import Pacer
from rl_utils.pad_device import queue_events

STORM_RATES_HZ: Final = (125.0, 250.0, 500.0, 1000.0)
FRAME_RATE_HZ: Final = 60.0
TRIALS: Final = 300
BURST_S: Final = 0.005
EVENTS_PER_PACKET: Final = 8
"""At most: six axes, a button, and the packet's end."""
QUEUE_PACKETS: Final = queue_events(len(NAMES[AXES])) // EVENTS_PER_PACKET
"""What the kernel keeps for a reader of this pad: 16 packets, or 16 ms at 1000 Hz."""
SCHEDULED_MS: Final = REST_BETWEEN_READS_MS + sys.getswitchinterval() * 1e3
"""The reading thread rests for so long, and other threads of ours leave it the interpreter after so long."""
PHYS: Final = "rlai/bench"
NAME: Final = "RLAI bench pad"


@dataclass(frozen=True)
class Gap:
    """A time in which nobody read the pad, after which the kernel said that it had thrown events away.

    Attributes:
        ms: How long it was.
        packets: Sent meanwhile, with one that was perhaps being sent when it began.
    """

    ms: float
    packets: int


@dataclass(frozen=True)
class Storm:
    """What a storm of events was, and what came of it.

    Attributes:
        packets: Sent; each moves six axes, and every second one presses or releases a button.
        pressed: Presses sent.
        seen: Presses that the reader showed.
        dropped: How often the kernel said that it threw events away (SYN_DROPPED).
        gaps: One for each of those, the newest 1000.
        longest_wait_ms: How long an event that was not thrown away waited at most until it was read.
        waited_for_cpu_ms: How long the reading thread was ready to run and did not, in total. None where the kernel
            keeps no account of it (CONFIG_SCHED_INFO).
        sent_s: Time that sending took.
        at_ms: What each call of the reader took.
        is_final_right: Whether the state after the storm is the one that was sent last.
    """

    packets: int
    pressed: int
    seen: int
    dropped: int
    gaps: Sequence[Gap]
    longest_wait_ms: float
    waited_for_cpu_ms: float | None
    sent_s: float
    at_ms: list[float]
    is_final_right: bool

    @property
    def needless_drops(self) -> list[Gap]:
        """Drops that the reader is to blame for: it ran, or the kernel's queue was not even full.

        A reader that runs when it wants to reads again after `SCHEDULED_MS` at the latest; the queue holds
        `QUEUE_PACKETS`. So a blameless drop has a longer gap, in which more was sent.
        """
        return [gap for gap in self.gaps if gap.ms <= SCHEDULED_MS or gap.packets < QUEUE_PACKETS]


def bench_pad(seconds: float) -> list[dict[str, object]]:
    """Measure the pad's two ways; each storm lasts `seconds`.

    Returns:
        Rows: latencies in ms at p50 and p99; of storms the packets, presses sent and shown, and dropped events.

    Raises:
        UserError: /dev/uinput is missing or not writable.
    """
    problem = uinput_problem()
    if problem is not None:
        raise problem
    rows = [_latency_row("event to inputs", _event_to_inputs()), _latency_row("inputs to event", _inputs_to_event())]
    for rate in STORM_RATES_HZ:
        storm = run_storm(rate, seconds)
        rows.append(
            {
                **_latency_row(f"storm {rate:g} Hz", storm.at_ms),
                "packets": storm.packets,
                "real_hz": storm.packets / storm.sent_s,
                "pressed": storm.pressed,
                "seen": storm.seen,
                "dropped": storm.dropped,
                "needless": len(storm.needless_drops),
                "drop_gap_ms": min((gap.ms for gap in storm.gaps), default=""),
                "longest_wait_ms": storm.longest_wait_ms,
                "waited_for_cpu_ms": "" if storm.waited_for_cpu_ms is None else storm.waited_for_cpu_ms,
                "final": "right" if storm.is_final_right else "WRONG",
            }
        )
    return rows


def run_storm(rate_hz: float, seconds: float) -> Storm:
    """Let a second process play a pad that sends `rate_hz` packets a second, and read it once a frame at 60 Hz.

    Raises:
        UserError: /dev/uinput is missing or not writable.
    """
    with _playing_pad() as (pipe, path), ControllerReader(path) as reader:
        pipe.send((rate_hz, seconds))
        waited_ms = _waited_for_cpu_ms(reader.thread_id)
        pacer = Pacer(FRAME_RATE_HZ)
        seen = 0
        at_ms = []
        while True:
            is_over = pipe.poll()  # before looking, so that one look follows the last packet
            began = time.perf_counter()
            values = reader.at(time.monotonic_ns()).values
            at_ms.append((time.perf_counter() - began) * 1e3)
            seen += sum(e.type == EV_KEY and e.code == BTN_SOUTH and e.value == 1 for e in reader.take_events())
            if is_over:
                break
            pacer.wait()
        if waited_ms is not None:
            waited_ms = (_waited_for_cpu_ms(reader.thread_id) or waited_ms) - waited_ms
        sent_ns, pressed, last = pipe.recv()
        values = reader.at(time.monotonic_ns()).values  # taps are over now
        return Storm(
            packets=len(sent_ns),
            pressed=pressed,
            seen=seen,
            dropped=reader.dropped,
            gaps=[
                Gap((to_ns - from_ns) / 1e6, int(np.sum((sent_ns >= from_ns) & (sent_ns <= to_ns))) + 1)
                for from_ns, to_ns in reader.drop_gaps
            ],
            longest_wait_ms=reader.longest_wait_ms,
            waited_for_cpu_ms=waited_ms,
            sent_s=float(sent_ns[-1] - sent_ns[0]) / 1e9,
            at_ms=at_ms,
            is_final_right=bool(np.allclose(values, last, atol=1e-4)),
        )


def _waited_for_cpu_ms(thread_id: int) -> float | None:
    """How long a thread of ours has been ready to run and did not. Source: Documentation/scheduler/sched-stats.rst."""
    try:
        return int(Path(f"/proc/self/task/{thread_id}/schedstat").read_text().split()[1]) / 1e6
    except OSError:
        return None


def _latency_row(name: str, ms: list[float]) -> dict[str, object]:
    return {"pad": name, "ms_p50": float(np.percentile(ms, 50)), "ms_p99": float(np.percentile(ms, 99))}


@contextmanager
def _playing_pad() -> Iterator[tuple[Connection[Any, Any], str]]:
    """A process that plays a physical pad; a pipe to it, and the pad's device node."""
    context = multiprocessing.get_context("spawn")  # a fork would copy this process's threads half
    ours, theirs = context.Pipe()
    player = context.Process(target=_play, args=(theirs,), daemon=True)
    player.start()
    try:
        theirs.close()
        path = ours.recv()
        if not path:
            raise UserError("The bench's gamepad has no device node", 'See "python -m rl_utils.doctor"')
        yield ours, path
    finally:
        ours.close()
        player.join(5)
        player.kill()
        player.join()


def _play(pipe: Connection[Any, Any]) -> None:
    """In the second process: one storm on request."""
    with InputApplier(phys=PHYS, name=NAME) as pad:
        pipe.send(pad.path)
        try:
            rate_hz, seconds = pipe.recv()
            packets = round(rate_hz * seconds)
            values = REST.copy()
            sent_ns = np.empty(packets, np.int64)
            due = time.monotonic()
            for i in range(packets):
                # Sleeping a little too long is made up for. More is not: where the whole machine stood still, a pad
                # that is polled by USB would not send its past in one burst either.
                due = max(due, time.monotonic() - BURST_S)
                if (early_s := due - time.monotonic()) > 0:
                    time.sleep(early_s)
                due += 1 / rate_hz
                _move(values, i)
                sent_ns[i] = time.monotonic_ns()
                pad.apply(values)
            pipe.send((sent_ns, (packets + 3) // 4, values))
            pipe.recv()
        except EOFError:
            return


def _move(values: InputVector, i: int) -> None:
    """The state after packet `i`: six axes move in every one, the button is pressed in the first of four."""
    values[Control.SOUTH] = float(i % 4 < 2)
    angles = i * 0.05 + np.arange(4)
    values[[Control.LEFT_X, Control.LEFT_Y, Control.RIGHT_X, Control.RIGHT_Y]] = 0.5 + 0.5 * np.sin(angles)
    values[list(TRIGGERS)] = i % 256 / 255


def _event_to_inputs() -> list[float]:
    """From before the pad's write to when `at` shows it, asked for at once."""
    times = []
    with InputApplier(phys=PHYS, name=NAME) as pad, ControllerReader(pad.path) as reader:
        values = REST.copy()
        for i in range(TRIALS):
            values[Control.SOUTH] = float(i % 2 == 0)
            began = time.perf_counter()
            pad.apply(values)
            while reader.at(time.monotonic_ns()).values[Control.SOUTH] != values[Control.SOUTH]:
                pass
            times.append((time.perf_counter() - began) * 1e3)
            reader.at(time.monotonic_ns())
            time.sleep(0.002)
    return times


def _inputs_to_event() -> list[float]:
    """From inputs to an event that a game which sleeps in select() is woken by."""
    times = []
    with InputApplier() as pad:
        node = os.open(pad.path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            values = REST.copy()
            for i in range(TRIALS):
                values[Control.SOUTH] = float(i % 2 == 0)
                began = time.perf_counter()
                pad.apply(values)
                select.select([node], [], [])
                times.append((time.perf_counter() - began) * 1e3)
                os.read(node, 4096)
                time.sleep(0.002)
        finally:
            os.close(node)
    return times
