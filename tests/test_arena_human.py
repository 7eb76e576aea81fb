"""A person at the arena's window: keys and gamepad events become inputs."""

from __future__ import annotations

import numpy as np
import pygame
import pytest

from rl_utils.arena.human import AXIS_MAX, KEY_VALUES, Gamepads, Keyboard, axis_value, merge
from rl_utils.controls import REST, Control


def key(kind: int, scancode: int) -> pygame.event.Event:
    return pygame.event.Event(kind, scancode=scancode)


def test_keys_add_up_and_cancel() -> None:
    """Both directions at once are rest; two keys of one control are one."""
    keyboard = Keyboard()
    for code in (pygame.KSCAN_A, pygame.KSCAN_LEFT, pygame.KSCAN_UP):
        keyboard.take_event(key(pygame.KEYDOWN, code))
    held = keyboard.read()
    assert (held[Control.LEFT_X], held[Control.LEFT_Y]) == (0.0, 0.0)
    keyboard.take_event(key(pygame.KEYDOWN, pygame.KSCAN_D))
    assert keyboard.read()[Control.LEFT_X] == 0.5
    for code, (control, value) in KEY_VALUES.items():
        keyboard.take_event(key(pygame.KEYDOWN, code))
        keyboard.take_event(key(pygame.KEYUP, code))
        if control < Control.LEFT_X:
            assert keyboard.read()[control] == value, "a tap between two pictures is lost"
        assert keyboard.read()[control] == REST[control]


def test_sdl_axes_rest_at_rest_and_reach_both_ends() -> None:
    """A pad at rest that reads 0.50001 would count as played."""
    assert axis_value(Control.LEFT_X, 0) == 0.5
    assert axis_value(Control.LEFT_X, AXIS_MAX) == 1
    assert axis_value(Control.LEFT_X, -AXIS_MAX - 1) == 0
    assert axis_value(Control.LEFT_TRIGGER, 0) == 0
    assert axis_value(Control.LEFT_TRIGGER, AXIS_MAX) == 1


def test_gamepad_events_become_inputs_by_position() -> None:
    """The virtual pad of eval.py reaches the arena this way; unplugging must release what was held."""
    pads = Gamepads()
    try:
        tell = pygame.event.Event
        pads.take_event(tell(pygame.CONTROLLERBUTTONDOWN, instance_id=7, button=pygame.CONTROLLER_BUTTON_Y))
        pads.take_event(tell(pygame.CONTROLLERBUTTONDOWN, instance_id=7, button=pygame.CONTROLLER_BUTTON_DPAD_UP))
        pads.take_event(
            tell(pygame.CONTROLLERAXISMOTION, instance_id=7, axis=pygame.CONTROLLER_AXIS_TRIGGERRIGHT, value=AXIS_MAX)
        )
        pads.take_event(
            tell(pygame.CONTROLLERAXISMOTION, instance_id=8, axis=pygame.CONTROLLER_AXIS_LEFTX, value=-9999)
        )
        held = pads.read()
        assert held[Control.NORTH] == 1
        assert held[Control.HAT_Y] == 0
        assert held[Control.RIGHT_TRIGGER] == 1
        assert held[Control.LEFT_X] == pytest.approx(0.5 - 9999 / AXIS_MAX / 2)
        pads.take_event(tell(pygame.CONTROLLERBUTTONUP, instance_id=7, button=pygame.CONTROLLER_BUTTON_DPAD_UP))
        assert pads.read()[Control.HAT_Y] == 0.5
        pads.take_event(tell(pygame.CONTROLLERDEVICEREMOVED, instance_id=7))
        left = pads.read()
        assert left[Control.NORTH] == 0
        assert left[Control.RIGHT_TRIGGER] == 0
        assert left[Control.LEFT_X] < 0.5
        pads.take_event(tell(pygame.WINDOWFOCUSLOST))
        assert np.array_equal(pads.read(), REST)
    finally:
        pads.close()
    assert np.array_equal(merge([]), REST)
