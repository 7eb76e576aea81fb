"""One sitting of recording: from opened devices to a session on disk that is whole and judged."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from rl_utils.config import CollectConfig, config_table, save_config
from rl_utils.console import StatusLine, log
from rl_utils.data_batcher import BatchSaver
from rl_utils.delay import DelayEstimate, estimate_delay
from rl_utils.errors import UserError
from rl_utils.habits import Habits
from rl_utils.interfaces import ControllerSource, Frame, FrameSource, Inputs
from rl_utils.kept_memory import kept_memory
from rl_utils.quality import QualityMonitor, Verdict, assess_recording
from rl_utils.record_loop import OTHER_DEVICE, PAUSED_BY_HAND, RecordProgress, record
from rl_utils.recordings import open_recordings
from rl_utils.resume import Resumable, newest_session, open_resumable
from rl_utils.session_folder import amend_session
from rl_utils.sounds import Sounds

logger = logging.getLogger(__name__)


@dataclass
class Devices:
    """What a sitting is recorded from, all of it open.

    Attributes:
        frames: The game.
        pad: The gamepad.
        stop: Whether to end.
        habits: What the person may ask for.
        sounds: May be off.
    """

    frames: FrameSource
    pad: ControllerSource
    stop: Callable[[], bool]
    habits: Habits = field(default_factory=Habits)
    sounds: Sounds = field(default_factory=lambda: Sounds(on=False))


@dataclass(frozen=True)
class Sitting:
    """What came of a sitting.

    Attributes:
        saver: Closed.
        done: What the loop saw.
        verdict: About what is stored; None where that is nothing.
        delay: From inputs to pictures; None where nothing is stored.
        error: Why it ended, where that is the person's to mend.
    """

    saver: BatchSaver
    done: RecordProgress
    verdict: Verdict | None
    delay: DelayEstimate | None
    error: UserError | None

    @property
    def goes_on(self) -> bool:
        """Another pad or game is there: a session of its own follows."""
        return self.error is None and self.done.ended_by == OTHER_DEVICE

    def summary(self) -> str:
        """What is there now, for the person."""
        saver, done = self.saver, self.done
        if not saver.samples:
            return f"Nothing was recorded ({done.problem or done.ended_by or 'stopped at once'})."
        size = f"{saver.bytes_written / 1e6:.0f} MB, {saver.gb_per_hour:.1f} GB per hour"
        habits = (
            f"; {_count(done.marks, 'mark')}, {done.discarded} frames discarded" if done.marks or done.discards else ""
        )
        return (
            f"{saver.folder}: {saver.samples} frames, {saver.recorded_s / 60:.1f} min,"
            f" {_count(done.gaps, 'gap')}, {size}.\n"
            f"{done.late} late ticks, {done.missed} missed, {saver.dropped} dropped{habits};"
            f" ended: {'too early, see below' if self.error else done.ended_by}.\n"
            f"Delay: {self.delay or 'not estimated'}.\n"
            f"Verdict: {self.verdict or 'not judged'}."
        )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def run_sitting(config: CollectConfig, devices: Devices, *, limit: int | None) -> Sitting:
    """Record until something ends it, close the session, and judge what is on disk then.

    Args:
        config: Settings.
        devices: What to record from.
        limit: Samples after which to end.

    Raises:
        UserError: Nothing could be begun: the folder or the disk.
    """
    frames, pad = devices.frames, devices.pad
    info = frames.info
    size = f"{info.native_size[0]}x{info.native_size[1]}"
    read_as = f", read as {pad.info.profile}, {pad.info.reason}" if pad.info.reason else ""
    log(f'Recording "{info.title}" {size} by {info.backend}, pad: {pad.info.name}{read_as}.')
    if info.reason:
        log(f"Not the fastest way to capture: {info.reason}.")
    quality = QualityMonitor(config.fps, has_pad=config.pad != "none")
    resume = _resumable(config, devices) if config.resume else None
    saver = BatchSaver(
        config.out,
        fps=config.fps,
        size=config.size_px,
        frames=info,
        pad=pad.info,
        codec=config.codec,
        batch_size=config.batch_size,
        block=not frames.real_time,
        session={"settings": config_table(config)},
        resume=resume,
    )
    error: UserError | None = None
    line, done = StatusLine(), RecordProgress()
    cues = _Cues(config, line, devices.sounds)

    def on_tick(done: RecordProgress, frame: Frame | None, inputs: Inputs | None, flags: int) -> None:
        if frame is not None and inputs is not None:
            quality.update(frame.image, inputs.values, frame.t_ns, flags)
        cues.update(done)
        if line.due():
            line.show(_status(done, quality, saver, config, limit=limit, real_time=frames.real_time))

    try:
        with kept_memory(), saver:
            record(
                frames,
                pad,
                saver,
                fps=config.fps,
                stop=devices.stop,
                limit=limit,
                on_tick=on_tick,
                habits=devices.habits,
                done=done,
            )
    except UserError as problem:
        error = problem
    finally:
        line.end()
    devices.sounds.play("ended")
    verdict, delay = None, None
    if saver.samples:
        try:
            verdict, delay = _judge(saver, quality, whole=resume is None, real_time=frames.real_time)
        except KeyboardInterrupt:
            log("You could not wait for the verdict: the recording is whole, and playback.py --info judges it.")
        with suppress(UserError):  # on a full disk the settings are still in session.json
            save_config(config, saver.folder / "config.toml")
    return Sitting(saver, done, verdict, delay, error)


def _resumable(config: CollectConfig, devices: Devices) -> Resumable | None:
    folder = newest_session(config.out)
    if folder is None:
        return None
    try:
        resume = open_resumable(
            folder,
            fps=config.fps,
            size=config.size_px,
            codec=config.codec,
            frames=devices.frames.info,
            pad=devices.pad.info,
        )
    except UserError as error:
        log(f"{error.problem}: a new session begins.")
        return None
    log(f"Going on with {folder}.")
    return resume


def _judge(
    saver: BatchSaver, quality: QualityMonitor, *, whole: bool, real_time: bool
) -> tuple[Verdict, DelayEstimate]:
    """Judge what is stored, now that nothing more can be dropped or discarded, and note it in session.json.

    Args:
        saver: Closed.
        quality: Has seen every sample of this sitting, also those that were discarded later.
        whole: This sitting is all of the session.
        real_time: In simulated time there is no delay to estimate.
    """
    verdict = quality.verdict(dropped=saver.dropped)
    delay = DelayEstimate(None, reason="simulated time" if not real_time else "the recording could not be read")
    try:
        (recording,) = open_recordings([saver.folder])
        with recording:
            if saver.discarded or saver.dropped or not whole:
                verdict = assess_recording(recording)
            if real_time:
                delay = estimate_delay(recording)
        amend_session(saver.folder, {"verdict": verdict.as_dict(), "delay_estimate": delay.as_dict()})
    except (UserError, OSError) as error:  # a disk that is full or gone, which has been said already
        logger.info("no verdict in %s: %s", saver.folder, error)
    return verdict, delay


class _Cues:
    """Tells the person, once each, what has just changed."""

    def __init__(self, config: CollectConfig, line: StatusLine, sounds: Sounds) -> None:
        self._config = config
        self._line = line
        self._sounds = sounds
        self._recording = False
        self._by_hand = False
        self._marks = self._discards = self._discarded = 0

    def update(self, done: RecordProgress) -> None:
        """Compare with the tick before; nearly always nothing has changed."""
        recording = not done.problem
        if recording != self._recording:
            self._recording = recording
            self._sounds.play("recording" if recording else "paused")
            by_hand = done.problem == PAUSED_BY_HAND
            if by_hand or self._by_hand:
                self._say("Paused by you." if by_hand else "Recording again.")
            self._by_hand = by_hand
        if done.marks != self._marks:
            self._marks = done.marks
            self._sounds.play("marked")
            self._say(f"Marked: episode {done.marks + 1} begins.")
        if done.discards != self._discards:
            frames, self._discards, self._discarded = done.discarded - self._discarded, done.discards, done.discarded
            self._sounds.play("discarded")
            self._say(f"Discarded the last {frames / self._config.fps:.1f} s ({frames} frames).")

    def _say(self, text: str) -> None:
        self._line.end()
        log(text)


def _status(
    done: RecordProgress,
    quality: QualityMonitor,
    saver: BatchSaver,
    config: CollectConfig,
    *,
    limit: int | None,
    real_time: bool,
) -> str:
    paused = "" if done.problem == PAUSED_BY_HAND else "paused: "
    pace = f" {quality.rate_hz:.1f} fps, focused" if real_time else ""
    head = f"{paused}{done.problem}" if done.problem else f"recording{pace}"
    aim = "" if limit is None else f" of {limit}"
    room = f" for {saver.free_bytes / 1e9 / saver.gb_per_hour:.1f} h" if saver.gb_per_hour else ""
    disk = (
        f"{saver.bytes_written / 1e6:.0f} MB, {saver.gb_per_hour:.1f} GB/h, {saver.free_bytes / 1e9:.0f} GB free{room}"
    )
    share = done.pad_activity / done.samples if done.samples else 0.0
    pad = "no pad" if config.pad == "none" else f"pad moves in {share:.0%} of frames"
    return f"{head} | {done.samples}{aim} frames, {done.late} late, {saver.dropped} dropped | {disk} | {pad}"
