"""Interactive playback: where we are, how fast it goes, and what keys and clicks do to that."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from rl_utils.playlist import SHOWN_SIZE, Playlist
from rl_utils.scene import SCENE_SIZE
from rl_utils.viewer import Viewer, ViewerEvent

SPEEDS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 4.0, 8.0, 16.0, 20.0)
SEEK_S: Final = {"up": -1.0, "down": 1.0, "page up": -10.0, "page down": 10.0}
LONGEST_STEP_S: Final = 0.25
"""When a picture takes longer than this to decode, playback waits for it instead of jumping ahead."""
_IDLE_S: Final = 0.004


class Player:
    """The state of playback. `run` shows it in a window until the person closes that.

    Args:
        playlist: What is played.
        start_s: First play time.
        end_s: Where to stop; the timeline's end by default.
        speed: 1 is as recorded.

    Attributes:
        time_s: The play time that is shown.
        playing: Not paused.
        speed: As above.
        done: The person wants to leave.
    """

    def __init__(
        self, playlist: Playlist, *, start_s: float = 0.0, end_s: float | None = None, speed: float = 1.0
    ) -> None:
        self.time_s = start_s
        self.playing = True
        self.speed = speed
        self.done = False
        self._playlist = playlist
        self._timeline = playlist.timeline
        self._start_s = start_s
        self._end_s = self._timeline.duration_s if end_s is None else min(end_s, self._timeline.duration_s)
        self._info = False
        self._keys: dict[str, Callable[[], None]] = {
            "space": self._toggle,
            "left": lambda: self._step(-1),
            "right": lambda: self._step(1),
            "home": lambda: self._seek(self._start_s),
            "end": lambda: self._seek(self._end_s),
            "+": lambda: self._change_speed(1),
            "=": lambda: self._change_speed(1),  # the same key without shift
            "-": lambda: self._change_speed(-1),
            "i": self._toggle_info,
            "q": self._leave,
            "escape": self._leave,
            "quit": self._leave,
        }

    def handle(self, event: ViewerEvent) -> None:
        """Do what a key or click asks for; others are ignored."""
        if event.name in SEEK_S:
            self._seek(self.time_s + SEEK_S[event.name])
        elif event.name in self._keys:
            self._keys[event.name]()
        elif event.name in ("click", "drag") and event.y >= SCENE_SIZE[1]:
            self._seek(self._timeline.time_at(event.x, SHOWN_SIZE[0]))

    def advance(self, seconds: float) -> None:
        """Let real time pass."""
        if self.playing:
            self.time_s += min(seconds, LONGEST_STEP_S) * self.speed
            if self.time_s >= self._end_s:
                self._seek(self._end_s)
                self.playing = False

    @property
    def note(self) -> str:
        """State in words for the caption."""
        return f"{self.speed:g}x" + ("" if self.playing else "   paused")

    def run(self, viewer: Viewer, stop: Callable[[], bool] = lambda: False) -> None:
        """Play until the window is closed, or until told to stop.

        Raises:
            UserError: A picture is damaged.
        """
        last_s = time.monotonic()
        shown: object = None
        while not (self.done or viewer.closed or stop()):
            events = viewer.events()
            for event in events:
                self.handle(event)
            now_s = time.monotonic()
            self.advance(now_s - last_s)
            last_s = now_s
            index = self._timeline.index_at(self.time_s)
            wanted = (
                index,
                self.note,
                self._playlist.gap_at(self.time_s),
                self._info,
                not self.playing and self.time_s,
            )
            if wanted == shown and not events:
                time.sleep(_IDLE_S)
                continue
            lines = self._playlist.facts(self.time_s) if self._info else ()
            viewer.show(self._playlist.render(self.time_s, note=self.note, lines=lines))
            shown = wanted

    def _toggle(self) -> None:
        self.playing = not self.playing
        if self.playing and self._timeline.index_at(self.time_s) >= self._timeline.index_at(self._end_s):
            self._seek(self._start_s)

    def _step(self, by: int) -> None:
        self.playing = False
        index = self._timeline.index_at(self.time_s) + by
        self.time_s = float(self._timeline.times_s[min(max(index, 0), len(self._timeline) - 1)])

    def _seek(self, time_s: float) -> None:
        last = float(self._timeline.times_s[-1])
        self.time_s = min(max(time_s, 0.0), last)

    def _change_speed(self, by: int) -> None:
        others = [s for s in SPEEDS if (s > self.speed if by > 0 else s < self.speed)]
        if others:
            self.speed = min(others) if by > 0 else max(others)

    def _toggle_info(self) -> None:
        self._info = not self._info

    def _leave(self) -> None:
        self.done = True
