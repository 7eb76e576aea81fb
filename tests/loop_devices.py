"""A window and a pad on the simulated clock, for the tests of the recording and the driving loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from rl_utils.controls import EV_KEY, REST, Control
from rl_utils.habits import Wish
from rl_utils.interfaces import ControllerSource, Frame, FrameInfo, FrameSource, Inputs, PadEvent, PadInfo
from tests.conftest import SimulatedClock

FPS = 50.0
PERIOD_NS = round(1e9 / FPS)
SIZE = (32, 18)


class Window(FrameSource):
    """A window on the simulated clock: `script` says for every read whether there is a picture, or why not."""

    def __init__(self, clock: SimulatedClock, script: list[str], *, slow: dict[int, float] | None = None) -> None:
        self._clock = clock
        self._script = script
        self._slow = slow or {}
        self._reads = 0
        self._problem = ""

    def read(self) -> Frame | None:
        index = self._reads
        self._reads += 1
        if index in self._slow:
            self._clock.sleep(self._slow[index])
        if index >= len(self._script):
            self._problem = "closed"
            return None
        self._problem = self._script[index]
        if self._problem:
            return None
        image = np.full((SIZE[1], SIZE[0], 3), index % 200, np.uint8)
        return Frame(image, self._clock())

    @property
    def problem(self) -> str:
        return self._problem

    @property
    def info(self) -> FrameInfo:
        return FrameInfo("window", native_size=SIZE, is_arena=True)

    @property
    def exhausted(self) -> bool:
        return self._reads > len(self._script)

    def close(self) -> None:
        """Nothing to free."""


class Pad(ControllerSource):
    """A pad whose left stick says how many times it was asked.

    Args:
        gone: Reads for which it is unplugged.
        episode_every: Length of the episodes that it tells of.
        held: Control → reads for which it is pressed.
        another_after: From this read on it is another pad.
    """

    def __init__(
        self,
        *,
        gone: range = range(0),
        episode_every: int = 0,
        held: Mapping[Control, range] | None = None,
        another_after: int | None = None,
    ) -> None:
        self._asked = 0
        self._gone = gone
        self._episode_every = episode_every
        self._held = held or {}
        self._another_after = another_after
        self._pressed: set[Control] = set()
        self._events: list[PadEvent] = []

    def at(self, t_ns: int) -> Inputs:
        values = REST.copy()
        values[Control.LEFT_X] = self._asked % 100 / 100
        for control, reads in self._held.items():
            pressed = self._asked in reads
            values[control] = pressed
            if pressed != (control in self._pressed):
                self._pressed ^= {control}
                self._events.append(PadEvent(t_ns, EV_KEY, int(control), int(pressed)))
        episode = self._asked // self._episode_every if self._episode_every else 0
        self._asked += 1
        return Inputs(values, t_ns, episode=episode)

    def take_events(self) -> Sequence[PadEvent]:
        events, self._events = self._events, []
        return events

    @property
    def connected(self) -> bool:
        return self._asked not in self._gone

    @property
    def info(self) -> PadInfo:
        another = self._another_after is not None and self._asked > self._another_after
        # A worn stick rests elsewhere whenever it is opened.
        return PadInfo("another pad" if another else "pad", ranges={"left_x": (0, 120 + self._asked % 7, 255)})

    def close(self) -> None:
        """Nothing to free."""


class Keyboard:
    """Wishes by the number of the tick at which they come."""

    def __init__(self, script: Mapping[int, Sequence[Wish]]) -> None:
        self._script = script
        self._ticks = 0

    def take(self) -> Sequence[Wish]:
        self._ticks += 1
        return self._script.get(self._ticks - 1, ())
