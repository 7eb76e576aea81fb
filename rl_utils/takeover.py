"""A hand on the physical gamepad: it stops the bot, or takes the pad from it and gives it back.

Inputs are in physical positions on both sides, so whatever pad the person holds, the virtual one does the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import numpy as np

from rl_utils.controls import REST, STICKS, TRIGGERS, Control
from rl_utils.interfaces import ControllerSource, Device, InputVector, PadInfo, Person
from rl_utils.safety import mask_menu

STICK_TOUCH: Final = 0.15
"""A stick that moved by this share of its whole way was moved by a person: worn ones drift by up to 5 %, a bumped table
moves them less than 10 %."""
TRIGGER_TOUCH: Final = 0.15

GIVE_BACK_CHORD: Final = (Control.SELECT, Control.START)
"""Pressed together they give the pad back at once. A policy never presses them and they do not reach the game (menu
buttons are masked), so that nothing happens there meanwhile."""

UNPLUGGED: Final = "the gamepad was unplugged"

_REACH: Final = np.zeros_like(REST)
_REACH[list(STICKS)] = STICK_TOUCH
_REACH[list(TRIGGERS)] = TRIGGER_TOUCH


def is_let_go(inputs: InputVector) -> np.bool_:
    """Whether nobody presses or moves anything, as far as a worn pad can tell.

    Args:
        inputs: (..., 19) float32.

    Returns:
        (...) bool.
    """
    released: np.bool_ = (np.abs(inputs - REST) <= _REACH).all(axis=-1)
    return released


class TouchMonitor(Device):
    """Notices when a person takes the physical pad: the bot's kill switch.

    Compares with the pad's state when it was made, so that a drifting stick is no touch, nor is letting go of what was
    held then; a pad that is unplugged is.

    Args:
        pad: The physical pad. Closed with this one.
        now_ns: The clock of `pad`.
    """

    def __init__(self, pad: ControllerSource, *, now_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._pad = pad
        self._now_ns = now_ns
        self.last = self.read()
        """(19,) float32: the pad as it was when it was looked at last."""
        self._known = self.last
        self.reason = ""
        """What was touched first; "" while nothing was."""

    @property
    def info(self) -> PadInfo:
        """The pad that is watched."""
        return self._pad.info

    @property
    def connected(self) -> bool:
        """False while the pad is unplugged."""
        return self._pad.connected

    def read(self) -> InputVector:
        """Look at the pad: its state now, with what was tapped since the last look. (19,) float32."""
        self.last = self._pad.at(self._now_ns()).values
        self._pad.take_events()  # nobody else wants them here
        return self.last

    def touched(self) -> bool:
        """Whether the pad was touched since this object was made or armed again. Cheap enough for every tick."""
        if not self.reason:
            values = self.read()
            self.reason = self._difference(values) if self._pad.connected else UNPLUGGED
        return bool(self.reason)

    def rearm(self) -> None:
        """Forget the touch. What is held at this moment is a new one only after it was let go."""
        self.reason = ""
        self._known = self.last

    def close(self) -> None:
        """Close the pad."""
        self._pad.close()

    def _difference(self, values: InputVector) -> str:
        """What was moved away from where it was known to be, other than back towards its rest."""
        low, high = np.minimum(self._known, REST) - _REACH, np.maximum(self._known, REST) + _REACH
        moved = np.flatnonzero((values < low) | (values > high))
        if len(moved):
            control = Control(int(moved[0]))
            verb = "was moved" if control in STICKS else "was pressed"
            return f"{control.name.lower().replace('_', ' ')} {verb}"
        # What was held and is let go is known to be free from now on.
        self._known = np.where(np.abs(values - REST) < np.abs(self._known - REST), values, self._known)
        return ""


class PadTakeover(Person):
    """A person who takes the pad from the bot by touching their own, and gives it back by letting go.

    From the first tick after the touch on, the person's inputs are passed on instead of the bot's. The bot drives again
    when everything was let go for `give_back_s`, or at once when `GIVE_BACK_CHORD` is pressed.

    Args:
        pad: The physical pad. Closed with this one.
        give_back_s: Of letting go; 0 leaves only the chord.
        allow_menu: Pass START and SELECT on, too.
        now_ns: The clock of `pad`.
    """

    def __init__(
        self,
        pad: ControllerSource,
        *,
        give_back_s: float,
        allow_menu: bool = False,
        now_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._touch = TouchMonitor(pad, now_ns=now_ns)
        self._now_ns = now_ns
        self._give_back_ns = round(give_back_s * 1e9)
        self._allow_menu = allow_menu
        self._holds = False
        self._busy_ns = 0

    @property
    def info(self) -> PadInfo:
        """Their own pad."""
        return self._touch.info

    @property
    def lost(self) -> str:
        """Without their pad a person can no longer interfere: then the bot must not go on."""
        return "" if self._touch.connected else UNPLUGGED

    def take(self) -> InputVector | None:
        """See `Person.take`."""
        if not self._holds:
            if not self._touch.touched():
                return None
            self._holds, self._busy_ns = True, self._now_ns()
        elif self._wants_the_bot(self._touch.read()):
            self._holds = False
            self._touch.rearm()
            return None
        return mask_menu(self._touch.last, allow_menu=self._allow_menu)

    def close(self) -> None:
        """Close the pad."""
        self._touch.close()

    def _wants_the_bot(self, values: InputVector) -> bool:
        if (values[list(GIVE_BACK_CHORD)] > 0.5).all():
            return True
        now = self._now_ns()
        if not is_let_go(values):
            self._busy_ns = now
        return 0 < self._give_back_ns <= now - self._busy_ns
