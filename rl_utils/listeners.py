"""What may listen to a drive: the log of inputs, a recording of it, the live view. None of them can slow it down."""

from __future__ import annotations

import csv
import math
import time
from collections import deque
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from rl_utils.config import EvalConfig, config_table
from rl_utils.console import counted, log
from rl_utils.controls import NAMES
from rl_utils.data_batcher import QUEUE_BYTES, BatchSaver
from rl_utils.devices import Drive
from rl_utils.errors import UserError
from rl_utils.interfaces import (
    ControllerSink,
    ControllerSource,
    Device,
    Flag,
    Frame,
    FrameInfo,
    Inputs,
    InputVector,
    PadInfo,
    Source,
)
from rl_utils.loops import DriveSubscriber

PRE_TAKEOVER_S: Final = 1.5
"""So long before a takeover the policy was already wrong: a person needs 0.5 to 1 s to see it and to grab the pad."""
BURST_S: Final = PRE_TAKEOVER_S + 0.5
"""So much may be handed on at once, and has room in the saver's queue beside what waits there usually."""


class InputLog(Device):
    """`--log-inputs FILE.csv`: one row per frame, `frame_index` and the 19 values as the policy answered.

    Rows stay in memory (19 numbers each) and are written when the drive ends, however it ends.

    Raises:
        UserError: The file cannot be opened, which is said before anything is driven, or not be written at the end.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: list[InputVector] = []
        try:
            self._file = path.open("w", newline="")
        except OSError as error:
            raise UserError(
                f"{path} cannot be written ({error.strerror})", "Name another file with --log-inputs"
            ) from error

    def on_tick(self, frame: Frame, inputs: Inputs, segment: int, *, late: bool = False) -> None:
        """Keep a row."""
        self._rows.append(inputs.values)

    def on_pause(self) -> None:
        """A pause leaves no row."""

    def close(self) -> None:
        """Write everything."""
        if self._file.closed:
            return
        try:
            with self._file:
                writer = csv.writer(self._file)
                writer.writerow(("frame_index", *NAMES))
                for index, row in enumerate(self._rows):
                    # The shortest text that reads back as the same float32.
                    writer.writerow((index, *(np.format_float_positional(v, trim="0") for v in row)))
        except OSError as error:
            raise UserError(
                f"{self._path} cannot be written ({error.strerror})", "Free some space, or name another file"
            ) from error


class DriveRecorder(Device):
    """`--record DIR`: what was seen and pressed, as a session with source = policy or takeover.

    The policy's samples are handed on `PRE_TAKEOVER_S` late, so that those that turn out to lead to a takeover can be
    flagged; a person's are handed on at once. So should the process be killed, at most that much of the policy's own
    driving is missing besides what `BatchSaver` may lose.
    """

    def __init__(
        self,
        out: Path,
        frames: FrameInfo,
        *,
        fps: float,
        block: bool,
        settings: Mapping[str, Any] | None = None,
        takeover_pad: PadInfo | None = None,
        arena_pad: ControllerSource | None = None,
        sink: ControllerSink | None = None,
    ) -> None:
        self._out = out
        self._sink = sink
        self._arena_pad = arena_pad
        self._session: dict[str, Any] = {} if settings is None else {"settings": settings}
        if takeover_pad is not None:
            self._session["takeover_pad"] = takeover_pad
        self._frames = frames
        self._fps = fps
        self._block = block
        self._saver: BatchSaver | None = None
        self._waiting: deque[_Sample] = deque()

    def on_tick(self, frame: Frame, inputs: Inputs, segment: int, *, late: bool = False) -> None:
        """Queue the sample."""
        if self._saver is None:
            height, width = frame.image.shape[:2]
            names = () if self._arena_pad is None else self._arena_pad.info.state_names
            pad = PadInfo(name="policy", profile="policy", state_names=names)
            self._saver = BatchSaver(
                self._out,
                fps=self._fps,
                size=(width, height),
                frames=self._frames,
                pad=pad,
                block=self._block,
                queue_bytes=QUEUE_BYTES + math.ceil(BURST_S * self._fps) * frame.image.nbytes,
                session=self._session,
            )
        if self._sink is not None:  # menu buttons and small moves that were held back did not happen
            inputs = replace(inputs, values=self._sink.pressed(inputs.values))
        if self._arena_pad is not None:
            inputs = replace(inputs, state=self._arena_pad.at(frame.t_ns).state)
        since_ns = frame.t_ns - round(PRE_TAKEOVER_S * 1e9)
        self._hand_on(until_ns=since_ns)
        taken = inputs.source is Source.TAKEOVER
        if taken and self._waiting:
            for sample in self._waiting:  # a takeover is no judgement of what was before a cut
                sample.flags |= Flag.PRE_TAKEOVER if sample.segment == segment else Flag(0)
        flags = (Flag.DUPLICATE if frame.duplicate else Flag(0)) | (Flag.LATE if late else Flag(0))
        self._waiting.append(_Sample(frame, inputs, segment, flags))
        if taken:
            self._hand_on()

    def on_pause(self) -> None:
        """What follows does not continue what was."""
        self._hand_on()

    def close(self) -> None:
        """Finish the session and say where it is."""
        if self._saver is None:
            return
        try:
            self._hand_on()
        finally:
            saver, self._saver = self._saver, None
            saver.close()
            lost = f" {counted(saver.dropped, 'frame')} could not be stored in time." if saver.dropped else ""
            log(
                f"Recorded the drive in {saver.folder}.{lost}" if saver.samples else "Nothing of the drive is recorded."
            )

    def _hand_on(self, *, until_ns: int | None = None) -> None:
        while self._waiting and (until_ns is None or self._waiting[0].frame.t_ns < until_ns):
            sample = self._waiting.popleft()
            assert self._saver is not None
            try:
                self._saver.add(sample.frame, sample.inputs, segment=sample.segment, flags=int(sample.flags))
            except UserError:
                self._waiting.clear()  # there is no room for them either, and that is said once
                raise


@dataclass
class _Sample:
    frame: Frame
    inputs: Inputs
    segment: int
    flags: Flag


class Show(Device):
    """`--show`: a live view of what is pressed and how far, drawn by a process of its own."""

    EVERY_S = 1 / 30

    def __init__(self, title: str, sink: ControllerSink) -> None:
        from rl_utils.live_view import LiveView

        self._sink = sink
        self._view = LiveView(title)
        self._next = 0.0

    def on_tick(self, frame: Frame, inputs: Inputs, segment: int, *, late: bool = False) -> None:
        """Hand over the newest picture and inputs; older ones may be skipped."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + self.EVERY_S
            self._view.update(frame.image, self._sink.pressed(inputs.values), inputs.source)

    def on_pause(self) -> None:
        """Show the released pad."""
        self._view.pause()

    def close(self) -> None:
        """Close the window."""
        self._view.close()


def open_listeners(config: EvalConfig, devices: Drive, stack: ExitStack, *, fps: float) -> list[DriveSubscriber]:
    """What listens to a drive, as the options ask for it; closed with `stack`.

    Raises:
        UserError: A file cannot be written, or no window can be opened.
    """
    listeners: list[DriveSubscriber] = []
    if config.log_inputs is not None:
        listeners.append(stack.enter_context(InputLog(config.log_inputs)))
    if config.record is not None:
        frames, person = devices.frames, devices.person
        recorder = DriveRecorder(
            config.record,
            frames.info,
            fps=fps,
            block=not frames.real_time,
            settings=config_table(config),
            takeover_pad=person.info if person is not None else None,
            arena_pad=devices.arena_pad,
            sink=devices.sink,
        )
        listeners.append(stack.enter_context(recorder))
    if config.show:
        listeners.append(stack.enter_context(Show("RLAI: what the bot presses", devices.sink)))
    return listeners
