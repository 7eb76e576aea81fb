"""A person at the arena's window: keyboard and gamepad (by SDL's mapping) → the 19 inputs, by physical position.

Only while the window has the focus: SDL hands out neither keys nor gamepad events otherwise.
"""

from __future__ import annotations

import logging
from typing import Any, Final

import numpy as np
import pygame
import pygame._sdl2.controller as sdl_controller

from rl_utils.arena.wire import Taps
from rl_utils.controls import REST, Control
from rl_utils.interfaces import InputVector

log = logging.getLogger(__name__)

# Keys by their place on the keyboard, so that W/A/S/D lie as they should on any layout.
KEY_VALUES: Final[dict[int, tuple[Control, float]]] = {
    pygame.KSCAN_W: (Control.RIGHT_TRIGGER, 1.0),
    pygame.KSCAN_S: (Control.LEFT_TRIGGER, 1.0),
    pygame.KSCAN_SPACE: (Control.SOUTH, 1.0),
    pygame.KSCAN_LSHIFT: (Control.EAST, 1.0),
    pygame.KSCAN_RSHIFT: (Control.EAST, 1.0),
    pygame.KSCAN_LCTRL: (Control.WEST, 1.0),
    pygame.KSCAN_X: (Control.WEST, 1.0),
    pygame.KSCAN_C: (Control.NORTH, 1.0),
    pygame.KSCAN_Q: (Control.TL, 1.0),
    pygame.KSCAN_E: (Control.TR, 1.0),
}
"""Keys that press something."""
KEY_STICKS: Final[dict[int, tuple[Control, float]]] = {
    pygame.KSCAN_A: (Control.LEFT_X, -0.5),
    pygame.KSCAN_D: (Control.LEFT_X, 0.5),
    pygame.KSCAN_LEFT: (Control.LEFT_X, -0.5),
    pygame.KSCAN_RIGHT: (Control.LEFT_X, 0.5),
    pygame.KSCAN_UP: (Control.LEFT_Y, -0.5),
    pygame.KSCAN_DOWN: (Control.LEFT_Y, 0.5),
}
"""Keys that push a stick away from rest; opposite ones cancel."""

PAD_BUTTONS: Final[dict[int, Control]] = {
    pygame.CONTROLLER_BUTTON_A: Control.SOUTH,
    pygame.CONTROLLER_BUTTON_B: Control.EAST,
    pygame.CONTROLLER_BUTTON_Y: Control.NORTH,
    pygame.CONTROLLER_BUTTON_X: Control.WEST,
    pygame.CONTROLLER_BUTTON_LEFTSHOULDER: Control.TL,
    pygame.CONTROLLER_BUTTON_RIGHTSHOULDER: Control.TR,
    pygame.CONTROLLER_BUTTON_BACK: Control.SELECT,
    pygame.CONTROLLER_BUTTON_START: Control.START,
    pygame.CONTROLLER_BUTTON_GUIDE: Control.MODE,
    pygame.CONTROLLER_BUTTON_LEFTSTICK: Control.THUMBL,
    pygame.CONTROLLER_BUTTON_RIGHTSTICK: Control.THUMBR,
}
PAD_HATS: Final[dict[int, tuple[Control, float]]] = {
    pygame.CONTROLLER_BUTTON_DPAD_LEFT: (Control.HAT_X, -0.5),
    pygame.CONTROLLER_BUTTON_DPAD_RIGHT: (Control.HAT_X, 0.5),
    pygame.CONTROLLER_BUTTON_DPAD_UP: (Control.HAT_Y, -0.5),
    pygame.CONTROLLER_BUTTON_DPAD_DOWN: (Control.HAT_Y, 0.5),
}
PAD_AXES: Final[dict[int, Control]] = {
    pygame.CONTROLLER_AXIS_LEFTX: Control.LEFT_X,
    pygame.CONTROLLER_AXIS_LEFTY: Control.LEFT_Y,
    pygame.CONTROLLER_AXIS_RIGHTX: Control.RIGHT_X,
    pygame.CONTROLLER_AXIS_RIGHTY: Control.RIGHT_Y,
    pygame.CONTROLLER_AXIS_TRIGGERLEFT: Control.LEFT_TRIGGER,
    pygame.CONTROLLER_AXIS_TRIGGERRIGHT: Control.RIGHT_TRIGGER,
}
AXIS_MAX: Final = 32767


def axis_value(control: Control, raw: int) -> float:
    """SDL's axis (-32768 to 32767, triggers from 0) → [0, 1], rest exactly at rest."""
    share = min(1.0, max(-1.0, raw / AXIS_MAX))
    return max(0.0, share) if REST[control] == 0 else 0.5 + share / 2


class Keyboard:
    """Keys that are held, from the window's events."""

    def __init__(self) -> None:
        self._held: set[int] = set()
        self._taps = Taps()

    def take_event(self, event: pygame.event.Event) -> None:
        """A key went down or up, or the focus went away and all keys with it."""
        if event.type == pygame.KEYDOWN:
            self._held.add(event.scancode)
        elif event.type == pygame.KEYUP:
            self._held.discard(event.scancode)
        elif event.type == pygame.WINDOWFOCUSLOST:
            self._held.clear()
        else:
            return
        self._taps.see(self._inputs())

    def read(self) -> InputVector:
        """(19,) float32; a key that was tapped since the last call is shown once."""
        return self._taps.take()

    def _inputs(self) -> InputVector:
        values = REST.copy()
        for key in self._held:
            if key in KEY_VALUES:
                control, value = KEY_VALUES[key]
                values[control] = value
        for control in (Control.LEFT_X, Control.LEFT_Y):
            pushes = {KEY_STICKS[key][1] for key in self._held if key in KEY_STICKS and KEY_STICKS[key][0] is control}
            values[control] += sum(pushes)
        return values


class Gamepads:
    """All gamepads that SDL knows how to map; they come and go."""

    def __init__(self) -> None:
        sdl_controller.init()
        self._open: dict[int, Any] = {}
        self._values: dict[int, InputVector] = {}
        self._taps = Taps()
        for index in range(sdl_controller.get_count()):
            self._plug(index)

    @property
    def names(self) -> list[str]:
        """Of those plugged in."""
        return [str(pad.name) for pad in self._open.values()]

    def take_event(self, event: pygame.event.Event) -> None:
        """Something happened to a gamepad."""
        kind = event.type
        if kind == pygame.CONTROLLERDEVICEADDED:
            self._plug(event.device_index)
            return
        if kind == pygame.CONTROLLERDEVICEREMOVED:
            self._open.pop(event.instance_id, None)
            self._values.pop(event.instance_id, None)
        elif kind == pygame.WINDOWFOCUSLOST:
            for values in self._values.values():
                values[:] = REST
        elif kind in (pygame.CONTROLLERBUTTONDOWN, pygame.CONTROLLERBUTTONUP, pygame.CONTROLLERAXISMOTION):
            values = self._values.setdefault(event.instance_id, REST.copy())
            if kind == pygame.CONTROLLERAXISMOTION:
                _set_axis(values, event.axis, event.value)
            else:
                _set_button(values, event.button, down=kind == pygame.CONTROLLERBUTTONDOWN)
        else:
            return
        self._taps.see(merge(list(self._values.values())))

    def read(self) -> InputVector:
        """(19,) float32, of all gamepads together; a button that was tapped since the last call is shown once."""
        return self._taps.take()

    def close(self) -> None:
        """Let go of all."""
        for pad in self._open.values():
            pad.quit()
        self._open.clear()
        sdl_controller.quit()

    def _plug(self, index: int) -> None:
        if not sdl_controller.is_controller(index):
            return
        try:
            pad = sdl_controller.Controller(index)
        except pygame.error as error:  # unplugged again already
            log.info("Gamepad %d could not be opened: %s", index, error)
            return
        self._open[pad.id] = pad
        # What was held while it was plugged in comes without events.
        values = self._values.setdefault(pad.id, REST.copy())
        for axis in PAD_AXES:
            _set_axis(values, axis, pad.get_axis(axis))
        for button in (*PAD_BUTTONS, *PAD_HATS):
            _set_button(values, button, down=bool(pad.get_button(button)))
        self._taps.see(merge(list(self._values.values())))


def _set_axis(values: InputVector, axis: int, raw: int) -> None:
    control = PAD_AXES.get(axis)
    if control is not None:
        values[control] = axis_value(control, raw)


def _set_button(values: InputVector, button: int, *, down: bool) -> None:
    if button in PAD_BUTTONS:
        values[PAD_BUTTONS[button]] = float(down)
    elif button in PAD_HATS:
        control, push = PAD_HATS[button]
        if down:
            values[control] = 0.5 + push
        elif values[control] == 0.5 + push:
            values[control] = 0.5


def merge(devices: list[InputVector]) -> InputVector:
    """Several devices as one: for each control the one that is farthest from rest.

    Args:
        devices: (19,) float32 each.
    """
    if not devices:
        return REST.copy()
    stacked = np.stack(devices)
    farthest = np.abs(stacked - REST).argmax(0)
    merged: InputVector = np.take_along_axis(stacked, farthest[None], 0)[0]
    return merged
