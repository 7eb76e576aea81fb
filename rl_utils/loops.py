"""The driving loop, written on interfaces only: frames → policy → pad; `record_loop` is the recording one.

Everything else listens: recording what a bot does, the log, the live view are subscribers, so that the loop has no
option for them. Inside a tick nothing touches the disk, starts a process or prints.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np

from rl_utils.cuts import CutDetector
from rl_utils.data_batcher import GAP_NS
from rl_utils.errors import UserError
from rl_utils.interfaces import (
    ControllerSink,
    Frame,
    FrameSource,
    Inputs,
    Person,
    Policy,
    Source,
)
from rl_utils.pacing import Pacer, Tick, real_time_pacer

PAUSE_LIMIT_S: Final = 600.0
"""After so long without anything to see, a drive ends: hours later, nobody expects a bot in the game any more."""


class DriveSubscriber(Protocol):
    """Listens to a drive. Called inside the loop: must return at once."""

    def on_tick(self, frame: Frame, inputs: Inputs, segment: int, *, late: bool = False) -> None:
        """The sink was told to apply `inputs` in answer to `frame`; `inputs.source` tells by whom.

        Args:
            frame: What was seen.
            inputs: What was answered, and who held the pad: policy or takeover. `ControllerSink.pressed` tells what
                the pad made of it.
            segment: Grows whenever the picture does not continue the previous one.
            late: The frame was taken late, or ticks before it were missed.
        """

    def on_pause(self) -> None:
        """The pad was released because there was nothing to look at."""


@dataclass
class DriveProgress:
    """What the driving loop has seen so far; `drive` returns the final one."""

    ticks: int = 0
    late: int = 0
    missed: int = 0
    duplicates: int = 0
    pauses: int = 0
    problem: str = ""
    ended_by: str = ""
    driven_s: float = 0.0
    taken_by: str = ""
    takeovers: int = 0
    taken_ticks: int = 0
    latencies_ms: list[float] = field(default_factory=list)

    def latency_ms(self, percentile: float, *, last: int | None = None) -> float:
        """Frame-to-pad latency of all ticks, or of the last ones. 0 before the first."""
        values = self.latencies_ms if last is None else self.latencies_ms[-last:]
        return float(np.percentile(values, percentile)) if values else 0.0

    @property
    def taken_share(self) -> float:
        """Share of the drive in which somebody else than the policy held the pad."""
        return self.taken_ticks / self.ticks if self.ticks else 0.0


def drive(
    frames: FrameSource,
    policy: Policy,
    sink: ControllerSink,
    *,
    fps: float,
    stop: Callable[[], str],
    minutes: float | None = None,
    person: Person | None = None,
    subscribers: Sequence[DriveSubscriber] = (),
    on_status: Callable[[DriveProgress], None] | None = None,
    pacer: Pacer | None = None,
    done: DriveProgress | None = None,
) -> DriveProgress:
    """Look, decide, press, until told to stop. The pad is released on every way out, and while there is nothing to see.

    After `PAUSE_LIMIT_S` with nothing to see it ends, too.

    Args:
        frames: The game.
        policy: Who decides. Forgets the past after every interruption.
        sink: The pad.
        fps: Decisions per second; sources that are not real-time are read as fast as they come.
        stop: Asked once per tick, before anything is pressed; a reason ends the drive.
        minutes: Driven time after which to end.
        person: Who may take the pad from the policy; losing them ends the drive.
        subscribers: Listeners to every tick.
        on_status: Told about every pass, for a status line.
        pacer: The clock; by default the real one where the frames are real-time.
        done: What is filled and returned; whoever brings it also has it when the drive breaks off.

    Raises:
        UserError: What a device said when it was lost; `done.ended_by` tells, too.
    """
    if pacer is None and frames.real_time:
        pacer = real_time_pacer(fps)
    done = DriveProgress() if done is None else done
    hands = _Hands(frames, policy, sink, person, subscribers, done=done)
    limit = None if minutes is None else max(1, round(minutes * 60 * fps))
    paused = 0
    reason = ""
    policy.reset()
    try:
        while not (reason := stop() or (person.lost if person is not None else "")):
            tick = pacer.wait() if pacer is not None else None
            frame = frames.read()
            if frame is not None:
                paused = 0
                late = tick is not None and pacer is not None and hands.count(frame, tick, pacer.period_ns)
                hands.answer(frame, late=late)
                done.driven_s = (done.ticks + done.missed) / fps  # time that passed, also where a tick was missed
            elif frames.exhausted:
                reason = "no further frames"
                break
            else:
                hands.pause()
                paused += 1 + tick.missed if tick is not None else 0
                if paused > PAUSE_LIMIT_S * fps:
                    reason = f"nothing to see for {PAUSE_LIMIT_S / 60:.0f} minutes ({done.problem})"
                    break
            if on_status is not None:
                on_status(done)
            if limit is not None and done.ticks + done.missed >= limit:
                reason = "--minutes reached"
                break
    except UserError as error:
        reason = error.problem
        raise
    finally:
        sink.release()
        done.ended_by = reason
    return done


class _Hands:
    """What `drive` does in one pass: answer a frame, or let go because there is none."""

    def __init__(
        self,
        frames: FrameSource,
        policy: Policy,
        sink: ControllerSink,
        person: Person | None,
        subscribers: Sequence[DriveSubscriber],
        *,
        done: DriveProgress,
    ) -> None:
        self.done = done
        self._frames = frames
        self._policy = policy
        self._sink = sink
        self._person = person
        self._subscribers = subscribers
        self._cuts = CutDetector() if frames.real_time else None
        self._episode = frames.segment
        self._segment = 0
        self._last_ns: int | None = None

    def count(self, frame: Frame, tick: Tick, period_ns: int) -> bool:
        """Count lateness, but not of the first tick or of the first one after a pause. Whether the frame is late."""
        if self.done.ticks == 0 or self.done.problem:
            return False
        self.done.late += tick.is_late(period_ns)
        self.done.missed += tick.missed
        return tick.reads_late(frame.t_ns, period_ns)

    def answer(self, frame: Frame, *, late: bool) -> None:
        """Look, decide, press, tell. While a person holds the pad, their inputs go out and the policy only watches."""
        done = self.done
        self._begin(frame)
        taken = self._person.take() if self._person is not None else None
        values = self._policy.act(frame.image) if taken is None else taken
        self._sink.apply(values)
        if self._frames.real_time:
            done.latencies_ms.append((time.monotonic_ns() - frame.t_ns) / 1e6)
        if taken is None:
            done.taken_by = ""
        else:
            self._policy.act(frame.image)  # so that it knows the past when it gets the pad back
            assert self._person is not None
            done.takeovers += not done.taken_by
            done.taken_ticks += 1
            done.taken_by = self._person.name
        done.ticks += 1
        done.duplicates += frame.duplicate
        source = Source.POLICY if taken is None else Source.TAKEOVER
        inputs = Inputs(values.copy(), frame.t_ns, episode=self._episode, source=source)
        for subscriber in self._subscribers:
            subscriber.on_tick(frame, inputs, self._segment, late=late)

    def pause(self) -> None:
        """Release everything, first of all, on the tick on which the picture was lost, whoever pressed it."""
        if not self.done.problem:
            self._sink.release()
            self._policy.reset()
            self.done.pauses += 1
            for subscriber in self._subscribers:
                subscriber.on_pause()
        if self._person is not None:
            self._person.take()  # what is pressed meanwhile is for something else than the game
        self.done.taken_by = ""
        self.done.problem = self._frames.problem or "nothing to capture"

    def _begin(self, frame: Frame) -> None:
        """Note whether this picture continues the last one; where it does not, the policy forgets the past."""
        cut = self._cuts is not None and self._cuts.is_cut(frame.image)
        gap = self._last_ns is not None and frame.t_ns - self._last_ns > GAP_NS
        if cut or gap or self._frames.segment != self._episode:
            self._policy.reset()
        if self._last_ns is not None and (cut or gap or self.done.problem or self._frames.segment != self._episode):
            self._segment += 1
        self._episode = self._frames.segment
        self._last_ns = frame.t_ns
        self.done.problem = ""


def drive_status(done: DriveProgress, minutes: float, *, real_time: bool = True, hint: str = "Ctrl+C to stop") -> str:
    """The live line of a drive: who drives, for how long, how fast, and what a person can do about it.

    Args:
        done: The drive so far.
        minutes: Its limit.
        real_time: Whether time means anything.
        hint: What a person can do while the bot drives; short, so that the line fits a terminal.
    """
    taken = f" | {done.takeovers} takeovers, {done.taken_share:.0%}" if done.takeovers else ""
    if not real_time:
        return f"{done.ticks} frames{taken}"
    head = f"released: {done.problem}" if done.problem else f"{done.taken_by or 'BOT'} DRIVING"
    recent = 300
    times = f"{_clock(done.driven_s)} of {_clock(minutes * 60)}"
    latency = f"latency p50 {done.latency_ms(50, last=recent):.1f} p99 {done.latency_ms(99, last=recent):.1f} ms"
    return f"{head} | {times}{taken} | {latency} | {done.late} late | {hint}"


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
