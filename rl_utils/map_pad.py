"""Guided mapping of a gamepad that nobody knows: its owner presses what is asked for, and the answers are kept.

`python -m rl_utils.doctor --map`. Neither names nor drivers are believed here, only what moves.
"""

from __future__ import annotations

import select
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import evdev

from rl_utils.console import log
from rl_utils.controls import EV_ABS, EV_KEY, N_BUTTONS, NAMES, STICKS, Control, PadProfile
from rl_utils.errors import UserError
from rl_utils.interfaces import PadEvent
from rl_utils.pad_finder import JOYSTICK, READ_REMEDY, SeenDevice, choose_pad, list_pads, matches
from rl_utils.pad_mapping import MAPPED, save_mapping
from rl_utils.pad_state import AxisRange

FAR: Final = 0.35
"""Share of its range that an axis must move to count; half of it is the way of a stick to one side."""
NEAR: Final = 0.15
"""Closer than this to where it began, an axis counts as let go."""

QUESTIONS: Final[tuple[tuple[Control, float, str], ...]] = (
    (Control.SOUTH, 1.0, "the bottom face button (A, cross)"),
    (Control.EAST, 1.0, "the right face button (B, circle)"),
    (Control.NORTH, 1.0, "the top face button (Y, triangle)"),
    (Control.WEST, 1.0, "the left face button (X, square)"),
    (Control.TL, 1.0, "the left shoulder button (LB, L1)"),
    (Control.TR, 1.0, "the right shoulder button (RB, R1)"),
    (Control.SELECT, 1.0, "the small button left of the middle (back, share, minus)"),
    (Control.START, 1.0, "the small button right of the middle (start, options, plus)"),
    (Control.MODE, 1.0, "the guide button (Xbox, PS, home)"),
    (Control.THUMBL, 1.0, "the left stick, as a button"),
    (Control.THUMBR, 1.0, "the right stick, as a button"),
    (Control.LEFT_X, 1.0, "the left stick to the right"),
    (Control.LEFT_Y, 1.0, "the left stick down, towards you"),
    (Control.RIGHT_X, 1.0, "the right stick to the right"),
    (Control.RIGHT_Y, 1.0, "the right stick down, towards you"),
    (Control.LEFT_TRIGGER, 1.0, "the left trigger, as far as it goes"),
    (Control.RIGHT_TRIGGER, 1.0, "the right trigger, as far as it goes"),
    (Control.HAT_X, 0.0, "the d-pad to the left"),
    (Control.HAT_X, 1.0, "the d-pad to the right"),
    (Control.HAT_Y, 0.0, "the d-pad up"),
    (Control.HAT_Y, 1.0, "the d-pad down"),
)
"""What is asked for, and the end that it pushes the control to."""


@dataclass(frozen=True)
class Moved:
    """What was moved and has come back to rest.

    Attributes:
        key: evdev key code, if a key was pressed.
        axis: evdev axis code, if an axis moved far.
        grew: Whether the axis grew.
    """

    key: int | None
    axis: int | None
    grew: bool = True


class MoveDetector:
    """From events to one deliberate movement: from the first change until everything is back.

    Args:
        axes: Ranges by axis code, with the value at rest.
        taken_keys: Keys that mean something else already.
        taken_axes: Axes likewise.
    """

    def __init__(
        self, axes: Mapping[int, AxisRange], taken_keys: Iterable[int] = (), taken_axes: Iterable[int] = ()
    ) -> None:
        self._axes = {code: axis for code, axis in axes.items() if code not in set(taken_axes)}
        self._taken_keys = frozenset(taken_keys)
        self._held: set[int] = set()
        self._offset: dict[int, float] = {}
        self._furthest: dict[int, float] = {}
        self._key: int | None = None

    def feed(self, event: PadEvent) -> Moved | None:
        """Take one event; the movement, once it is over."""
        if event.type == EV_KEY and event.code not in self._taken_keys:
            if event.value:
                self._held.add(event.code)
                self._key = event.code if self._key is None else self._key
            else:
                self._held.discard(event.code)
        elif event.type == EV_ABS and event.code in self._axes:
            axis = self._axes[event.code]
            offset = (event.value - axis.rest) / (axis.maximum - axis.minimum)
            self._offset[event.code] = offset
            if abs(offset) > abs(self._furthest.get(event.code, 0.0)):
                self._furthest[event.code] = offset
        else:
            return None
        return self._result()

    def _result(self) -> Moved | None:
        axis = max(self._furthest, key=lambda code: abs(self._furthest[code]), default=None)
        if axis is not None and abs(self._furthest[axis]) < FAR:
            axis = None
        is_over = not self._held and all(abs(offset) < NEAR for offset in self._offset.values())
        if not is_over or (axis is None and self._key is None):
            return None
        return Moved(self._key, axis, axis is None or self._furthest[axis] > 0)


class Answers:
    """Collects what was moved into a profile."""

    def __init__(self) -> None:
        self._buttons: dict[int, Control] = {}
        self._axes: dict[int, Control] = {}
        self._axis_keys: dict[int, tuple[Control, float]] = {}
        self._inverted: set[int] = set()

    def detector(self, axes: Mapping[int, AxisRange]) -> MoveDetector:
        """Looks for something that was not moved before."""
        return MoveDetector(axes, {*self._buttons, *self._axis_keys}, self._axes)

    def is_known(self, control: Control) -> bool:
        """Whether both of its ends are known: a d-pad that is an axis is known by one of them."""
        return control in self._axes.values()

    def take(self, control: Control, end: float, moved: Moved) -> bool:
        """Note what was moved for one question; whether it can be that control."""
        if control < N_BUTTONS:
            if moved.key is None:
                return False
            self._buttons[moved.key] = control
        elif moved.axis is not None:  # many triggers are axis and key at once
            self._axes[moved.axis] = control
            if moved.grew != (end > 0.5):
                self._inverted.add(moved.axis)
        elif moved.key is not None and control not in STICKS:
            self._axis_keys[moved.key] = (control, end)
        else:
            return False
        return True

    def profile(self) -> PadProfile:
        """All answers."""
        return PadProfile(MAPPED, self._buttons, self._axes, self._axis_keys, frozenset(self._inverted))


def map_pad(device: str | None = None) -> str:
    """Ask for every control of a pad, and store the answers.

    Args:
        device: As for `choose_pad`; joysticks may be named too.

    Returns:
        What was stored, for people.

    Raises:
        UserError: There is no such device, it may not be read, or nothing was pressed.
    """
    pad = _choose(device)
    try:
        opened: evdev.InputDevice[str] = evdev.InputDevice(pad.path, readonly=True)
    except OSError as error:
        raise UserError(f"The gamepad {pad} may not be read by you", READ_REMEDY) from error
    try:
        profile = _ask_all(opened, pad)
    except KeyboardInterrupt:
        return "Stopped. Nothing was stored."
    except OSError as error:
        raise UserError(f"The gamepad {pad} was unplugged, nothing was stored", "Plug it in and start again") from error
    finally:
        opened.close()
    answered = {*profile.buttons.values(), *profile.axes.values(), *(c for c, _ in profile.axis_keys.values())}
    if not answered:
        raise UserError("Nothing was pressed, so nothing was stored", "Start again and press what is asked for")
    file = save_mapping(pad.ids, profile, pad.name)
    missing = ", ".join(NAMES[control] for control in Control if control not in answered)
    without = f" Without: {missing}." if missing else ""
    return f"{len(answered)} controls of {pad.name} are stored in {file} and used from now on.{without}"


def _choose(device: str | None) -> SeenDevice:
    """The device to be mapped: a gamepad, or a joystick of which nobody knows that it is one."""
    joysticks = [d for d in list_pads() if d.refusal == JOYSTICK and (device is None or matches(d, device))]
    try:
        return choose_pad(device)
    except UserError:
        if not joysticks:
            raise
        return joysticks[0]


def _ask_all(opened: evdev.InputDevice[str], pad: SeenDevice) -> PadProfile:
    log(f"Mapping {pad}. Press what is asked for and let go; Enter skips what the pad does not have, Ctrl+C ends.")
    # Some pads tell where their sticks are with their first report only.
    _ask(opened, MoveDetector(_axes(opened, pad)), "any button")
    axes = _axes(opened, pad)
    answers = Answers()
    for control, end, words in QUESTIONS:
        if answers.is_known(control):
            continue
        while (moved := _ask(opened, answers.detector(axes), words)) is not None:
            if answers.take(control, end, moved):
                break
            log("That cannot be it; once more.")
    return answers.profile()


def _axes(opened: evdev.InputDevice[str], pad: SeenDevice) -> dict[int, AxisRange]:
    """Ranges of all axes; they are at rest now, since nobody has been asked to touch them."""
    infos = {code: opened.absinfo(code) for code in sorted(pad.axes)}
    return {code: AxisRange(i.min, i.value, i.max, i.flat) for code, i in infos.items() if i.max > i.min}


def _ask(opened: evdev.InputDevice[str], detector: MoveDetector, words: str) -> Moved | None:
    """Wait for a movement; None when the person pressed Enter."""
    log(f"  {words}")
    while True:
        ready = select.select([opened.fd, sys.stdin], [], [])[0]
        if sys.stdin in ready:
            if not sys.stdin.readline():
                raise UserError("There is nobody to answer", "Run it in a terminal")
            return None
        for event in list(opened.read()):
            moved = detector.feed(PadEvent(0, event.type, event.code, event.value))
            if moved is not None:
                return moved
