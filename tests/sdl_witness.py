"""What SDL, and so most games, makes of the gamepads that are plugged in: a line of JSON (19 inputs) for every change.

A program of its own, started by tests: SDL opens and closes pads while it holds the interpreter, and the pads of
tests/usb_pads.py could not answer the kernel meanwhile. Shares only the order of the controls with the product.
"""

from __future__ import annotations

import json
import os
import time

os.environ |= {
    "PYGAME_HIDE_SUPPORT_PROMPT": "1",
    "SDL_VIDEODRIVER": "dummy",
    "SDL_JOYSTICK_ALLOW_BACKGROUND_EVENTS": "1",
    "SDL_JOYSTICK_DISABLE_UDEV": "1",  # no udev daemon runs in the guest
    "SDL_GAMECONTROLLER_USE_BUTTON_LABELS": "0",  # A is the lowest button, whatever is printed on it
}

import pygame
from pygame._sdl2 import controller

BUTTONS = ("A", "B", "Y", "X", "LEFTSHOULDER", "RIGHTSHOULDER", "BACK", "START", "GUIDE", "LEFTSTICK", "RIGHTSTICK")
STICKS = ("LEFTX", "LEFTY", "RIGHTX", "RIGHTY")
TRIGGERS = ("TRIGGERLEFT", "TRIGGERRIGHT")
D_PAD = (("LEFT", "RIGHT"), ("UP", "DOWN"))


def state(pad: controller.Controller) -> list[float]:
    """The 19 inputs."""

    def button(name: str) -> float:
        return float(pad.get_button(getattr(pygame, f"CONTROLLER_BUTTON_{name}")))

    def axis(name: str) -> int:
        return int(pad.get_axis(getattr(pygame, f"CONTROLLER_AXIS_{name}")))

    values = [button(name) for name in BUTTONS]
    values += [axis(name) / 65535 + 0.5 for name in STICKS] + [axis(name) / 32767 for name in TRIGGERS]
    return values + [0.5 - button(f"DPAD_{low}") / 2 + button(f"DPAD_{high}") / 2 for low, high in D_PAD]


def main() -> None:
    """Tell until killed."""
    pygame.display.init()
    pygame.joystick.init()
    controller.init()
    pads: dict[int, controller.Controller] = {}
    last: object = None
    print(json.dumps("ready"), flush=True)
    while True:
        for event in pygame.event.get():
            if event.type == pygame.CONTROLLERDEVICEADDED:
                pad = controller.Controller(event.device_index)
                pads[pad.as_joystick().get_instance_id()] = pad
            elif event.type == pygame.CONTROLLERDEVICEREMOVED and event.instance_id in pads:
                pads.pop(event.instance_id).quit()
        seen = [state(pad) for pad in pads.values()]
        if seen != last:
            print(json.dumps(seen), flush=True)
        last = seen
        time.sleep(0.005)


if __name__ == "__main__":
    main()
