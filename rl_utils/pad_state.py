"""From a pad's events to the 19 inputs: pure arithmetic, for live pads and recorded streams alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from rl_utils.controls import EV_ABS, EV_KEY, HATS, REST, Control, PadProfile
from rl_utils.interfaces import InputVector, PadEvent

TAP_MEMORY_NS: Final = 1_000_000_000
"""A tap is shown by the next sample if it is this recent: after a pause, what was pressed during it means nothing.
The length of a gap that begins a new segment."""


@dataclass(frozen=True)
class AxisRange:
    """What an axis can report, in device units.

    Attributes:
        minimum: Least value.
        rest: Value when nobody touches it.
        maximum: Greatest value.
        flat: Noise around the rest, as the driver declares it.
    """

    minimum: int
    rest: int
    maximum: int
    flat: int = 0

    def normalise(self, value: int) -> float:
        """Map a device value to [0, 1]."""
        return min(1.0, max(0.0, (value - self.minimum) / (self.maximum - self.minimum)))


class PadState:
    """Turns a pad's events into the 19 inputs. Knows no device, so a recorded stream works as well.

    Args:
        profile: How the pad's driver reports it.
        axes: Ranges by axis code; axes that are not in it stay at rest.
    """

    def __init__(self, profile: PadProfile, axes: Mapping[int, AxisRange]) -> None:
        self._profile = profile
        self._axes = axes
        self._values = REST.copy()
        self._taps: dict[Control, tuple[int, float]] = {}
        self.t_ns = 0
        """Time of the newest event applied."""

    def apply(self, event: PadEvent) -> None:
        """Take one event into account."""
        pressed = event.value == 1  # 2 is the kernel's auto-repeat
        if event.type == EV_KEY and event.code in self._profile.buttons:
            control = self._profile.buttons[event.code]
            value = float(event.value != 0)
        elif event.type == EV_KEY and event.code in self._profile.axis_keys:
            control, end = self._profile.axis_keys[event.code]
            if event.value == 0 and self._values[control] != end:
                return  # the opposite key has been pressed meanwhile
            value = end if event.value else float(REST[control])
        elif event.type == EV_ABS and event.code in self._axes:
            control = self._profile.axes[event.code]
            value = self._axes[event.code].normalise(event.value)
            if event.code in self._profile.inverted:
                value = 1.0 - value
            pressed = control in HATS and value != REST[control]
        else:
            return
        self._values[control] = value
        self.t_ns = max(self.t_ns, event.t_ns)
        if pressed:
            self._taps[control] = (event.t_ns, value)

    def sample(self, t_ns: int) -> InputVector:
        """Return the state, with buttons and d-pad presses that came and went since the last sample, and forget those.

        Args:
            t_ns: Time of the sample; taps long before it are left out.
        """
        values = self._values.copy()
        for control, (pressed_ns, value) in self._taps.items():
            if values[control] == REST[control] and t_ns - pressed_ns <= TAP_MEMORY_NS:
                values[control] = value
        self._taps.clear()
        return values

    def forget_taps(self) -> None:
        """Leave past presses out of the next sample."""
        self._taps.clear()


def newest_events(events: Iterable[PadEvent]) -> list[PadEvent]:
    """Of a stream of events, those that tell the pad's state at its end: the last one of every key and axis, in order.

    They stand for the stream where it is left out of a recording (a pause, discarded play), so that what follows can
    still be replayed from the events.
    """
    newest = {(event.type, event.code): event for event in events}
    return sorted(newest.values(), key=lambda event: event.t_ns)
