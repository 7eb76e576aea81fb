"""The recording loop, written on interfaces only: frames + inputs → saver, with what the person asks for meanwhile.

Inside a tick nothing touches the disk, starts a process or prints.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from rl_utils.cuts import CutDetector
from rl_utils.data_batcher import GAP_NS, BatchSaver
from rl_utils.habits import Habits, Wish
from rl_utils.interfaces import ControllerSource, Flag, Frame, FrameSource, Inputs, InputVector, PadEvent
from rl_utils.pacing import Pacer, Tick, real_time_pacer
from rl_utils.pad_state import newest_events
from rl_utils.resume import pad_identity

PAUSED_BY_HAND = "paused by you"
CHORD_HELD = "a chord is held"
OTHER_DEVICE = "another gamepad or game is there now"
"""Why `record` ended when what follows must not be mixed with what was recorded."""

_LATE, _DUPLICATE = int(Flag.LATE), int(Flag.DUPLICATE)
"""As plain numbers, which are combined thirty times as fast."""

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
        """Something was left out here: focus lost, pause, pad unplugged, play discarded."""
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
    """What the recording loop has seen so far; `record` returns the final one.

    Attributes:
        samples: Recorded and not discarded.
        late: Ticks that were taken late.
        missed: Ticks that could not be taken at all.
        gaps: Times that recording was interrupted.
        marks: Times that the person marked a new episode.
        discards: Times that the person discarded something.
        discarded: Samples that went with that.
        problem: Why nothing is recorded at this moment, "" while it is.
        ended_by: Why the recording ended.
        recorded_s: Time that is recorded and not discarded.
        pad_activity: Samples in which the pad moved.
    """

    samples: int = 0
    late: int = 0
    missed: int = 0
    gaps: int = 0
    marks: int = 0
    discards: int = 0
    discarded: int = 0
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
    limit: int | None = None,
    on_tick: RecordListener | None = None,
    pacer: Pacer | None = None,
    habits: Habits | None = None,
    done: RecordProgress | None = None,
) -> RecordProgress:
    """Pair every frame with the pad's state at its time and hand both to the saver, until told to stop.

    Args:
        frames: The game; while it has nothing to take, nothing is recorded and a new segment begins.
        pad: Whose inputs are stored. Unplugging it interrupts the recording; plugging in another one ends it.
        saver: Opened session.
        fps: Samples per second; sources that are not real-time are read as fast as they come.
        stop: Asked once per tick.
        limit: Samples after which to end; discarded ones do not count.
        on_tick: Told about every pass: progress, the sample or None, and its flags.
        pacer: The clock; by default the real one where the frames are real-time.
        habits: What the person may ask for. Samples in which a chord is held are left out.
        done: Kept up to date while it runs, so that it is known after an error, too.

    Raises:
        UserError: The disk filled up.
    """
    if pacer is None and frames.real_time:
        pacer = real_time_pacer(fps)
    hand = _Recorder(frames, pad, saver, fps=fps, habits=habits or Habits(), done=done or RecordProgress())
    done = hand.done
    while not stop():
        tick = pacer.wait() if pacer is not None else None
        frame = frames.read()
        if frame is None and frames.exhausted:
            done.ended_by = "no further frames"
            break
        inputs = hand.look(frame, slept=tick is not None and tick.missed > 0)
        if done.ended_by:
            break
        flags = 0
        if frame is not None and inputs is not None:
            flags = hand.keep(frame, inputs, tick, pacer)
        if on_tick is not None:
            on_tick(done, None if inputs is None else frame, inputs, flags)
        if limit is not None and done.samples >= limit:
            done.ended_by = "all that was asked for is recorded"
            break
    done.ended_by = done.ended_by or "stopped"
    return done


class _Recorder:
    """What `record` does in one pass: look what there is and what is asked for, and keep the sample."""

    def __init__(
        self,
        frames: FrameSource,
        pad: ControllerSource,
        saver: BatchSaver,
        *,
        fps: float,
        habits: Habits,
        done: RecordProgress,
    ) -> None:
        self.done = done
        self._frames = frames
        self._pad = pad
        self._saver = saver
        self._fps = fps
        self._habits = habits
        self._segments = SegmentCounter(find_cuts=not frames.info.is_arena)
        self._devices = self._identity()
        self._paused = False
        self._resumed = True
        self._previous: InputVector | None = None
        self._events: list[PadEvent] = []

    def look(self, frame: Frame | None, *, slept: bool) -> Inputs | None:
        """The inputs that belong to `frame`, or None when this is not to be recorded; `done.problem` says why.

        Args:
            frame: What is to be recorded, if anything.
            slept: Whether ticks were missed, in which a pad may have been exchanged without any tick to see it gone.
        """
        done = self.done
        connected = self._pad.connected
        # Asked in any case: what is pressed meanwhile must not turn up in the first sample after it.
        inputs = self._pad.at(time.monotonic_ns() if frame is None else frame.t_ns)
        self._events += self._pad.take_events()
        there = frame is not None and connected
        for wish in self._habits.take(inputs.values if there else None):
            self._obey(wish)
        problem = (self._frames.problem or "nothing to capture") if frame is None else ""
        problem = problem or ("" if connected else "gamepad unplugged")
        problem = problem or (PAUSED_BY_HAND if self._paused else CHORD_HELD if self._habits.chords.held else "")
        if problem:
            self._events = newest_events(self._events)
            self._segments.interrupt()
            done.gaps += not done.problem and done.samples > 0
            done.problem = problem
            return None
        if (done.problem or slept) and self._identity() != self._devices:
            done.ended_by = OTHER_DEVICE
            return None
        self._resumed = self._resumed or bool(done.problem)
        done.problem = ""
        return replace(inputs, episode=inputs.episode + done.marks) if done.marks else inputs

    def keep(self, frame: Frame, inputs: Inputs, tick: Tick | None, pacer: Pacer | None) -> int:
        """Hand a sample to the saver; returns its flags."""
        done = self.done
        flags = _flags(frame, tick, pacer, after_pause=self._resumed)
        events, self._events = self._events, []
        segment = self._segments.next(frame, inputs)
        self._count(int(self._saver.add(frame, inputs, segment=segment, flags=flags, events=events)))
        done.late += bool(flags & _LATE)
        done.missed += tick.missed if tick is not None and not self._resumed else 0
        done.pad_activity += self._previous is not None and self._previous.tobytes() != inputs.values.tobytes()
        self._previous = inputs.values
        self._resumed = False
        return flags

    def _obey(self, wish: Wish) -> None:
        if wish is Wish.MARK:
            self.done.marks += 1
        elif wish is Wish.PAUSE:
            self._paused = not self._paused
        elif wish is Wish.DISCARD:
            taken_back = self._saver.discard(round(self._habits.discard_s * self._fps))
            self.done.discards += 1
            self.done.discarded += taken_back
            self.done.pad_activity -= round(self.done.pad_activity * taken_back / max(1, self.done.samples))
            self._count(-taken_back)
            self._segments.interrupt()

    def _count(self, samples: int) -> None:
        self.done.samples += samples
        self.done.recorded_s = self.done.samples / self._fps

    def _identity(self) -> tuple[object, ...]:
        """Tells whether the same pad and the same game are still there, once they can be looked at again."""
        info = self._frames.info
        return pad_identity(self._pad.info), info.wm_class, info.is_arena


def _flags(frame: Frame, tick: Tick | None, pacer: Pacer | None, *, after_pause: bool) -> int:
    flags = _DUPLICATE if frame.duplicate else 0
    if tick is not None and pacer is not None and not after_pause:
        flags |= _LATE if tick.reads_late(frame.t_ns, pacer.period_ns) else 0
    return flags


def count_down(
    frames: FrameSource, stop: Stop, seconds: float, *, say: Callable[[str], None], look_s: float = 0.05
) -> None:
    """Wait until the game has had the focus for a while, so that recording does not begin with the way to it.

    Args:
        frames: The game; without any further pictures there is nothing to wait for.
        stop: Ends the waiting.
        seconds: How long it must be there without a break.
        say: Is told what is waited for.
        look_s: How often to look.
    """
    since: float | None = None
    while not stop() and not frames.exhausted:
        frame, now = frames.read(), time.monotonic()
        if frame is None:
            since = None
            say(f"waiting: {frames.problem}")
        else:
            since = now if since is None else since
            left = seconds - (now - since)
            if left <= 0:
                return
            say(f"recording begins in {left:.0f} s" if left >= 1 else "recording begins")
        time.sleep(look_s)
