"""The driving loop, written on interfaces only: frames → policy → pad; `record_loop` is the recording one.

Everything else listens: recording what a bot does, the log, the live view are subscribers, so that the loop has no
option for them. Inside a tick nothing touches the disk, starts a process or prints.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from rl_utils.cuts import CutDetector
from rl_utils.interfaces import (
    ControllerSink,
    Frame,
    FrameSource,
    InputVector,
    Policy,
)
from rl_utils.pacing import Pacer, Tick


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
        pacer = Pacer(fps)
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
