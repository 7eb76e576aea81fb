"""A recording as a window and a gamepad: frames and inputs come back as they were taken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rl_utils.controls import BUTTONS, HATS, REST
from rl_utils.interfaces import (
    ControllerSource,
    Flag,
    Frame,
    FrameInfo,
    FrameSource,
    Inputs,
    PadEvent,
    PadInfo,
    Source,
)
from rl_utils.recordings import Recording


class ReplayFrames(FrameSource):
    """The pictures of a recording, one per `read`, in simulated time.

    Args:
        recording: Stays open when this is closed.
        start: First sample.
        stop: One past the last sample; the end of the recording by default.
    """

    real_time = False

    def __init__(self, recording: Recording, *, start: int = 0, stop: int | None = None) -> None:
        self._recording = recording
        self._next = start
        self._stop = len(recording) if stop is None else min(stop, len(recording))
        self._last = start

    @property
    def index(self) -> int:
        """Position of the frame that was read last."""
        return self._last

    @property
    def segment(self) -> int:
        """Segment of the frame that was read last, of the first one before that."""
        return int(self._recording.segment[self._last])

    def read(self) -> Frame | None:
        """Return the next picture, None at the end.

        Raises:
            UserError: The picture is damaged, or its file is gone.
        """
        if self._next >= self._stop:
            return None
        self._last, self._next = self._next, self._next + 1
        return Frame(
            image=self._recording.frame(self._last),
            t_ns=int(self._recording.timestamps_ns[self._last]),
            duplicate=bool(self._recording.flags[self._last] & Flag.DUPLICATE),
        )

    @property
    def problem(self) -> str:
        """Says so at the end of the recording."""
        return "end of the recording" if self.exhausted else ""

    @property
    def info(self) -> FrameInfo:
        """The recorded window, with "replay" as its backend."""
        window = self._recording.meta.get("window", {})
        native = window.get("native_size", self._recording.size)
        return FrameInfo(
            title=str(window.get("title", self._recording.name)),
            wm_class=str(window.get("wm_class", "")),
            native_size=(int(native[0]), int(native[1])),
            backend="replay",
            is_arena=bool(window.get("is_arena", False)),
        )

    @property
    def exhausted(self) -> bool:
        """True after the last picture."""
        return self._next >= self._stop

    def close(self) -> None:
        """Nothing is held."""


class ReplayPad(ControllerSource):
    """The pad of a recording: at any time, what was stored with the newest sample up to then.

    Args:
        recording: Stays open when this is closed.
    """

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._seen = -1
        self._events_from = 0
        self._events_to = 0

    def at(self, t_ns: int) -> Inputs:
        """Return the inputs stored for `t_ns`; rest before the first sample.

        When several samples went by since the previous call, buttons and d-pad presses in any of them are kept.
        """
        recording = self._recording
        index = int(np.searchsorted(recording.timestamps_ns, t_ns, side="right")) - 1
        index = max(index, self._seen)
        self._events_to = int(np.searchsorted(recording.events["t_ns"], t_ns, side="right"))
        if index < 0:
            return Inputs(REST.copy())
        first = min(self._seen + 1, index) if self._seen >= 0 else index
        self._seen = index
        return Inputs(
            values=_with_taps(recording.inputs[first : index + 1]),
            t_ns=int(recording.inputs_ns[index]),
            labels=recording.labels[index].copy() if recording.has_labels else None,
            state=None if recording.state is None else recording.state[index].copy(),
            episode=int(recording.episode[index]),
            source=Source(int(recording.source[index])),
        )

    @property
    def info(self) -> PadInfo:
        """The recorded pad, with "replay" as its profile."""
        pad: dict[str, Any] = self._recording.meta.get("pad", {})
        return PadInfo(
            name=str(pad.get("name", self._recording.name)),
            profile="replay",
            ids={str(key): int(value) for key, value in pad.get("ids", {}).items()},
            path=str(pad.get("path", "")),
            ranges={str(key): (int(v[0]), int(v[1]), int(v[2])) for key, v in pad.get("ranges", {}).items()},
            state_names=self._recording.state_names,
        )

    def take_events(self) -> Sequence[PadEvent]:
        """Return and forget the recorded events up to the time of the last `at`."""
        taken = self._recording.events[self._events_from : self._events_to]
        self._events_from = max(self._events_from, self._events_to)
        return [PadEvent(*event) for event in taken.tolist()]

    def close(self) -> None:
        """Nothing is held."""


def _with_taps(rows: np.ndarray) -> np.ndarray:
    """The last of (K, 19) rows, with buttons and d-pad directions of the rows before it that it no longer has."""
    values = np.array(rows[-1])
    values[BUTTONS] = rows[:, BUTTONS].max(axis=0)
    for hat in HATS:
        pressed = np.flatnonzero(rows[:, hat] != REST[hat])
        if len(pressed):
            values[hat] = rows[pressed[-1], hat]
    return values
