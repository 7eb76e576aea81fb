"""The two loops of the product, written on interfaces only: `record` (play → files) and `drive` (frames → pad).

Everything else listens: recording what a bot does, the log, the live view are subscribers, so that neither loop has an
option for them. Inside a tick nothing touches the disk, starts a process or prints.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from rl_utils.cuts import CutDetector
from rl_utils.data_batcher import BatchSaver
from rl_utils.interfaces import (
    ControllerSink,
    ControllerSource,
    Flag,
    Frame,
    FrameSource,
    Inputs,
    InputVector,
    Policy,
)
from rl_utils.pacing import LATE_SHARE, Pacer, Tick, real_time_pacer

GAP_NS = 1_000_000_000
"""Longer without a sample and the next one begins a new segment (recording format, version 1)."""

Stop = Callable[[], bool]


class SegmentCounter:
    """Numbers the stretches of a recording within which consecutive samples belong together."""

    def __init__(self, *, find_cuts: bool) -> None:
        self.segment = 0
        self._cuts = CutDetector() if find_cuts else None
        self._last_ns: int | None = None
        self._episode: int | None = None
        self._broken = False

    def interrupt(self) -> None:
        """Something was left out here: focus lost, pause, pad unplugged."""
        self._broken = True

    def next(self, frame: Frame, inputs: Inputs) -> int:
        """Return the segment of this sample."""
        cut = self._cuts is not None and self._cuts.is_cut(frame.image)
        first = self._last_ns is None
        gap = self._last_ns is not None and frame.t_ns - self._last_ns > GAP_NS
        reset = self._episode is not None and inputs.episode != self._episode
        if not first and (self._broken or cut or gap or reset):
            self.segment += 1
        self._broken = False
        self._last_ns = frame.t_ns
        self._episode = inputs.episode
        return self.segment


@dataclass
class RecordProgress:
    """What the recording loop has seen so far; `record` returns the final one."""

    samples: int = 0
    late: int = 0
    missed: int = 0
    gaps: int = 0
    problem: str = ""
    ended_by: str = ""
    recorded_s: float = 0.0
    pad_activity: int = 0


RecordListener = Callable[[RecordProgress, Frame | None, Inputs | None, int], None]


def record(
    frames: FrameSource,
    pad: ControllerSource,
    saver: BatchSaver,
    *,
    fps: float,
    stop: Stop,
    seconds: float | None = None,
    on_tick: RecordListener | None = None,
    pacer: Pacer | None = None,
) -> RecordProgress:
    """Pair every frame with the pad's state at its time and hand both to the saver, until told to stop.

    Args:
        frames: The game; while it has nothing to take, nothing is recorded and a new segment begins.
        pad: Whose inputs are stored. Unplugging it interrupts the recording.
        saver: Opened session.
        fps: Samples per second; sources that are not real-time are read as fast as they come.
        stop: Asked once per tick.
        seconds: Recorded time after which to end.
        on_tick: Told about every pass: progress, the sample or None, and its flags.
        pacer: The clock; by default the real one where the frames are real-time.

    Raises:
        UserError: The disk filled up.
    """
    done = RecordProgress()
    if pacer is None and frames.real_time:
        pacer = real_time_pacer(fps)
    segments = SegmentCounter(find_cuts=not frames.info.is_arena)
    limit = None if seconds is None else round(seconds * fps)
    previous: InputVector | None = None
    while not stop():
        tick = pacer.wait() if pacer is not None else None
        frame = frames.read()
        problem = frames.problem if frame is None else "" if pad.connected else "gamepad unplugged"
        if frame is None or problem:
            if frame is None and frames.exhausted:
                done.ended_by = "no further frames"
                break
            if frame is None or not pad.connected:
                pad.at(time.monotonic_ns() if frame is None else frame.t_ns)  # what was pressed meanwhile is not play
            pad.take_events()
            segments.interrupt()
            done.gaps += not done.problem and done.samples > 0
            done.problem = problem or "nothing to capture"
            if on_tick is not None:
                on_tick(done, None, None, 0)
            continue
        resumed, done.problem = bool(done.problem), ""
        inputs = pad.at(frame.t_ns)
        flags = _flags(frame, tick, pacer, after_pause=resumed or done.samples == 0)
        segment = segments.next(frame, inputs)
        saver.add(frame, inputs, segment=segment, flags=flags, events=pad.take_events())
        done.samples += 1
        done.recorded_s = done.samples / fps
        done.late += bool(flags & Flag.LATE)
        done.missed += tick.missed if tick is not None and not resumed else 0
        done.pad_activity += previous is not None and not np.array_equal(previous, inputs.values)
        previous = inputs.values
        if on_tick is not None:
            on_tick(done, frame, inputs, flags)
        if limit is not None and done.samples >= limit:
            done.ended_by = "--seconds reached"
            break
    done.ended_by = done.ended_by or "stopped"
    return done


def _flags(frame: Frame, tick: Tick | None, pacer: Pacer | None, *, after_pause: bool) -> int:
    flags = Flag.DUPLICATE if frame.duplicate else Flag(0)
    if tick is not None and pacer is not None and not after_pause:
        # Between its deadline and the reading of the window the loop may have been put to sleep, too.
        late = frame.t_ns - tick.deadline_ns > LATE_SHARE * pacer.period_ns
        flags |= Flag.LATE if late or tick.is_late(pacer.period_ns) else Flag(0)
    return int(flags)


class DriveSubscriber(Protocol):
    """Listens to a drive. Called inside the loop: must return at once."""

    def on_tick(self, frame: Frame, inputs: InputVector) -> None:
        """The policy answered `frame` with `inputs`, and the pad was set."""

    def on_pause(self) -> None:
        """The pad was released because there was nothing to look at."""


@dataclass
class DriveProgress:
    """What the driving loop has seen so far; `drive` returns the final one."""

    ticks: int = 0
    late: int = 0
    missed: int = 0
    pauses: int = 0
    problem: str = ""
    ended_by: str = ""
    driven_s: float = 0.0
    latencies_ms: list[float] = field(default_factory=list)

    def latency_ms(self, percentile: float, *, last: int | None = None) -> float:
        """Frame-to-pad latency of all ticks, or of the last ones. 0 before the first."""
        values = self.latencies_ms if last is None else self.latencies_ms[-last:]
        return float(np.percentile(values, percentile)) if values else 0.0


def drive(
    frames: FrameSource,
    policy: Policy,
    sink: ControllerSink,
    *,
    fps: float,
    stop: Callable[[], str],
    minutes: float | None = None,
    subscribers: Sequence[DriveSubscriber] = (),
    on_status: Callable[[DriveProgress], None] | None = None,
    pacer: Pacer | None = None,
) -> DriveProgress:
    """Look, decide, press, until told to stop. The pad is released on every way out, and while there is nothing to see.

    Args:
        frames: The game.
        policy: Who decides. Forgets the past after every interruption.
        sink: The pad.
        fps: Decisions per second; sources that are not real-time are read as fast as they come.
        stop: Asked once per tick, before anything is pressed; a reason ends the drive.
        minutes: Driven time after which to end.
        subscribers: Listeners to every tick.
        on_status: Told about every pass, for a status line.
        pacer: The clock; by default the real one where the frames are real-time.
    """
    if pacer is None and frames.real_time:
        pacer = real_time_pacer(fps)
    hands = _Hands(frames, policy, sink, subscribers)
    done = hands.done
    limit = None if minutes is None else max(1, round(minutes * 60 * fps))
    policy.reset()
    try:
        while not (reason := stop()):
            tick = pacer.wait() if pacer is not None else None
            frame = frames.read()
            if frame is not None:
                if tick is not None and pacer is not None:
                    hands.count(tick, pacer.period_ns)
                hands.answer(frame)
                done.driven_s = done.ticks / fps
            elif frames.exhausted:
                reason = "no further frames"
                break
            else:
                hands.pause()
            if on_status is not None:
                on_status(done)
            if limit is not None and done.ticks >= limit:
                reason = "--minutes reached"
                break
    finally:
        sink.release()
    done.ended_by = reason
    return done


class _Hands:
    """What `drive` does in one pass: answer a frame, or let go because there is none."""

    def __init__(
        self, frames: FrameSource, policy: Policy, sink: ControllerSink, subscribers: Sequence[DriveSubscriber]
    ) -> None:
        self.done = DriveProgress()
        self._frames = frames
        self._policy = policy
        self._sink = sink
        self._subscribers = subscribers
        self._cuts = CutDetector() if frames.real_time else None
        self._segment = frames.segment

    def count(self, tick: Tick, period_ns: int) -> None:
        """Count lateness, but not that of the first tick or of the first one after a pause."""
        if self.done.ticks > 0 and not self.done.problem:
            self.done.late += tick.is_late(period_ns)
            self.done.missed += tick.missed

    def answer(self, frame: Frame) -> None:
        """Look, decide, press, tell."""
        done = self.done
        done.problem = ""
        cut = self._cuts is not None and self._cuts.is_cut(frame.image)
        if cut or self._frames.segment != self._segment:
            self._policy.reset()
            self._segment = self._frames.segment
        inputs = self._policy.act(frame.image)
        self._sink.apply(inputs)
        if self._frames.real_time:
            done.latencies_ms.append((time.monotonic_ns() - frame.t_ns) / 1e6)
        done.ticks += 1
        for subscriber in self._subscribers:
            subscriber.on_tick(frame, inputs)

    def pause(self) -> None:
        """Release everything, first of all, on the tick on which the picture was lost."""
        if not self.done.problem:
            self._sink.release()
            self._policy.reset()
            self.done.pauses += 1
            for subscriber in self._subscribers:
                subscriber.on_pause()
        self.done.problem = self._frames.problem or "nothing to capture"


def drive_status(done: DriveProgress, minutes: float, *, real_time: bool = True) -> str:
    """The live line of a drive."""
    if not real_time:
        return f"{done.ticks} frames"
    head = f"released: {done.problem}" if done.problem else "BOT DRIVING"
    recent = 300
    times = f"{_clock(done.driven_s)} of {_clock(minutes * 60)}"
    latency = f"latency p50 {done.latency_ms(50, last=recent):.1f} p99 {done.latency_ms(99, last=recent):.1f} ms"
    return f"{head} | {times} | {latency} | {done.late} late | Ctrl+C or touch your gamepad to stop"


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
