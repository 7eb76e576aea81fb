"""A gamepad drawn as a picture: how far the sticks and triggers are, and which of the buttons are pressed.

Everything here draws on (H, W, 3) uint8 RGB arrays with OpenCV's drawing functions, which do not care about the order
of the channels: no picture is converted to BGR here. Colours are RGB tuples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from rl_utils.controls import REST, Control
from rl_utils.interfaces import Image, InputVector

Colour = tuple[int, int, int]

BACKGROUND: Final[Colour] = (20, 22, 28)
OUTLINE: Final[Colour] = (112, 118, 130)
TEXT: Final[Colour] = (236, 238, 242)
DIM_TEXT: Final[Colour] = (150, 156, 168)
RECORDED: Final[Colour] = (64, 208, 128)
PREDICTED: Final[Colour] = (255, 164, 48)

PAD_SIZE: Final = (480, 150)
"""(width, height) in px of one drawn pad at scale 1."""
TEXT_SCALE: Final = 0.45
AT_REST: Final = 0.02
"""Sticks and triggers less far out than this share of their way are drawn as resting: a 0..255 pad rests at 0.50196."""

_FONT: Final = cv2.FONT_HERSHEY_SIMPLEX
_SHIFT: Final = 4  # OpenCV takes coordinates with this many fractional bits

_STICK_RADIUS: Final = 40
_KNOB_RADIUS: Final = 11
_LEFT_STICK: Final = (100.0, 82.0)
_RIGHT_STICK: Final = (380.0, 82.0)
_DPAD: Final = (193.0, 92.0)
_FACE: Final = (287.0, 92.0)
_FACE_SPREAD: Final = 22
_FACE_BUTTONS: Final = {  # letter, and position in units of the spread
    Control.SOUTH: ("A", 0, 1),
    Control.EAST: ("B", 1, 0),
    Control.WEST: ("X", -1, 0),
    Control.NORTH: ("Y", 0, -1),
}
_MENU_BUTTONS: Final = {Control.SELECT: ("SEL", 202), Control.MODE: ("MODE", 240), Control.START: ("STA", 278)}
_BUMPERS: Final = {Control.TL: ("LB", 60.0), Control.TR: ("RB", 340.0)}
_TRIGGERS: Final = {Control.LEFT_TRIGGER: ("LT", 12.0), Control.RIGHT_TRIGGER: ("RT", 446.0)}


@dataclass(frozen=True)
class Box:
    """A rectangle on a canvas, in px."""

    x: int
    y: int
    width: int
    height: int


def blank(width: int, height: int) -> Image:
    """An empty canvas, (height, width, 3) uint8 RGB."""
    canvas = np.empty((height, width, 3), np.uint8)
    canvas[:] = np.tile(np.array(BACKGROUND, np.uint8), (width, 1))  # whole rows: 20 times faster than pixel by pixel
    return canvas


def draw_text(
    canvas: Image,
    text: str,
    x: float,
    y: float,
    *,
    colour: Colour = TEXT,
    scale: float = TEXT_SCALE,
    centred: bool = False,
) -> int:
    """Write one line of ASCII text; other characters are shown as "?".

    Args:
        canvas: (H, W, 3) uint8 RGB, drawn on in place.
        text: What to write.
        x: Left end (or middle, with `centred`) in px.
        y: Base line in px.
        colour: RGB.
        scale: 0.45 is about 10 px high.
        centred: `x` is the middle.

    Returns:
        Width in px.
    """
    width = text_width(text, scale)
    left = x - width / 2 if centred else x
    cv2.putText(canvas, _ascii(text), (round(left), round(y)), _FONT, scale, colour, 1, cv2.LINE_AA)
    return width


def text_width(text: str, scale: float = TEXT_SCALE) -> int:
    """Width in px of a line as `draw_text` writes it."""
    return int(cv2.getTextSize(_ascii(text), _FONT, scale, 1)[0][0])


def _ascii(text: str) -> str:
    return text.encode("ascii", "replace").decode("ascii")


def draw_pad(
    canvas: Image,
    inputs: InputVector,
    *,
    predicted: InputVector | None = None,
    box: Box | None = None,
    colour: Colour = RECORDED,
    titles: tuple[str, str] = ("recorded", "policy"),
) -> None:
    """Draw what is pressed and how far; with a prediction, both side by side in different colours.

    Args:
        canvas: (H, W, 3) uint8 RGB, drawn on in place.
        inputs: (19,) float32 in [0, 1]; values outside are clipped, those that are not numbers are drawn at rest.
        predicted: The same of a policy, drawn at the right of `inputs`.
        box: Where to draw; by default the whole canvas. The pad is scaled to fit and centred in it.
        colour: Of what is pressed, RGB.
        titles: Shown under the two pads when there are two.
    """
    height, width = canvas.shape[:2]
    where = box if box is not None else Box(0, 0, width, height)
    if predicted is None:
        _Pad(canvas, where, colour).draw(inputs, "")
        return
    half = where.width // 2
    _Pad(canvas, Box(where.x, where.y, half, where.height), colour).draw(inputs, titles[0])
    _Pad(canvas, Box(where.x + half, where.y, where.width - half, where.height), PREDICTED).draw(predicted, titles[1])


class _Pad:
    """Draws one pad, scaled into a box. Coordinates are those of a pad of `PAD_SIZE`."""

    def __init__(self, canvas: Image, box: Box, colour: Colour) -> None:
        self._canvas = canvas
        self._colour = colour
        self._scale = min(box.width / PAD_SIZE[0], box.height / PAD_SIZE[1])
        self._x = box.x + (box.width - PAD_SIZE[0] * self._scale) / 2
        self._y = box.y + (box.height - PAD_SIZE[1] * self._scale) / 2

    def draw(self, inputs: InputVector, title: str) -> None:
        """Draw every control."""
        values = np.clip(np.where(np.isfinite(inputs), inputs, REST), 0.0, 1.0)
        pressed = values >= 0.5
        self._stick(_LEFT_STICK, values[Control.LEFT_X], values[Control.LEFT_Y], pressed=bool(pressed[Control.THUMBL]))
        self._stick(
            _RIGHT_STICK, values[Control.RIGHT_X], values[Control.RIGHT_Y], pressed=bool(pressed[Control.THUMBR])
        )
        for trigger, (name, x) in _TRIGGERS.items():
            self._trigger(name, x, float(values[trigger]))
        for bumper, (name, x) in _BUMPERS.items():
            self._bar_button(name, x, 8, 80, 20, pressed=bool(pressed[bumper]))
        for button, (letter, dx, dy) in _FACE_BUTTONS.items():
            centre = (_FACE[0] + dx * _FACE_SPREAD, _FACE[1] + dy * _FACE_SPREAD)
            self._round_button(letter, centre, 12, pressed=bool(pressed[button]))
        for button, (name, middle) in _MENU_BUTTONS.items():
            self._bar_button(name, middle - 17, 28, 34, 16, pressed=bool(pressed[button]), text=0.3)
        self._dpad(float(values[Control.HAT_X]), float(values[Control.HAT_Y]))
        if title:
            self._text(title, PAD_SIZE[0] / 2, 146, self._colour, 0.42)

    def _stick(self, centre: tuple[float, float], x: float, y: float, *, pressed: bool) -> None:
        right, down = 2 * float(x) - 1, 2 * float(y) - 1
        knob = (centre[0] + right * _STICK_RADIUS, centre[1] + down * _STICK_RADIUS)
        moved = max(abs(right), abs(down)) > AT_REST
        self._circle(centre, _STICK_RADIUS + _KNOB_RADIUS, OUTLINE)
        self._line((centre[0] - 5, centre[1]), (centre[0] + 5, centre[1]), OUTLINE)
        self._line((centre[0], centre[1] - 5), (centre[0], centre[1] + 5), OUTLINE)
        if pressed:
            self._circle(centre, _STICK_RADIUS + _KNOB_RADIUS - 4, self._colour, thickness=3)
        if moved:
            self._line(centre, knob, self._colour, thickness=3)
        self._circle(knob, _KNOB_RADIUS, self._colour if moved or pressed else OUTLINE, thickness=-1)
        if moved:
            ways = ((right, "left", "right"), (down, "up", "down"))
            words = [f"{ahead if v > 0 else back} {100 * abs(v):.0f}" for v, back, ahead in ways if abs(v) > AT_REST]
            self._text("  ".join(words), centre[0], 146, TEXT, 0.36)

    def _trigger(self, name: str, x: float, value: float) -> None:
        top, bottom = 24.0, 132.0
        self._rectangle(x, top, 22, bottom - top, OUTLINE)
        if value > AT_REST:
            level = bottom - 2 - value * (bottom - top - 4)
            self._rectangle(x + 2, level, 18, bottom - 2 - level, self._colour, filled=True)
            self._text(f"{100 * value:.0f}", x + 11, 146, TEXT, 0.36)
        self._text(name, x + 11, 18, TEXT if value > AT_REST else DIM_TEXT, 0.42)

    def _dpad(self, hat_x: float, hat_y: float) -> None:
        directions = ((-1, 0, hat_x < 0.25), (1, 0, hat_x > 0.75), (0, -1, hat_y < 0.25), (0, 1, hat_y > 0.75))
        side = 17.0
        for dx, dy, on in directions:
            left = _DPAD[0] + dx * (side + 2) - side / 2
            top = _DPAD[1] + dy * (side + 2) - side / 2
            self._rectangle(left, top, side, side, self._colour if on else OUTLINE, filled=on)

    def _round_button(self, letter: str, centre: tuple[float, float], radius: float, *, pressed: bool) -> None:
        self._circle(centre, radius, self._colour if pressed else OUTLINE, thickness=-1 if pressed else 1)
        self._text(letter, centre[0], centre[1] + 4.5, BACKGROUND if pressed else DIM_TEXT, 0.4)

    def _bar_button(
        self, name: str, x: float, y: float, width: float, height: float, *, pressed: bool, text: float = 0.42
    ) -> None:
        self._rectangle(x, y, width, height, self._colour if pressed else OUTLINE, filled=pressed)
        self._text(name, x + width / 2, y + height / 2 + 11 * text, BACKGROUND if pressed else DIM_TEXT, text)

    def _at(self, x: float, y: float) -> tuple[float, float]:
        return self._x + x * self._scale, self._y + y * self._scale

    def _fixed(self, x: float, y: float) -> tuple[int, int]:
        px, py = self._at(x, y)
        return round(px * (1 << _SHIFT)), round(py * (1 << _SHIFT))

    def _circle(self, centre: tuple[float, float], radius: float, colour: Colour, thickness: int = 1) -> None:
        fixed = round(radius * self._scale * (1 << _SHIFT))
        cv2.circle(self._canvas, self._fixed(*centre), fixed, colour, thickness, cv2.LINE_AA, _SHIFT)

    def _line(self, a: tuple[float, float], b: tuple[float, float], colour: Colour, thickness: int = 1) -> None:
        cv2.line(self._canvas, self._fixed(*a), self._fixed(*b), colour, thickness, cv2.LINE_AA, _SHIFT)

    def _rectangle(
        self, x: float, y: float, width: float, height: float, colour: Colour, *, filled: bool = False
    ) -> None:
        # whole pixels: a rectangle's edges are crisp only there
        left, top = (round(v) for v in self._at(x, y))
        right, bottom = (round(v) for v in self._at(x + width, y + height))
        cv2.rectangle(self._canvas, (left, top), (right, bottom), colour, -1 if filled else 1)

    def _text(self, text: str, x: float, y: float, colour: Colour, scale: float) -> None:
        px, py = self._at(x, y)
        draw_text(self._canvas, text, px, py, colour=colour, scale=scale * self._scale, centred=True)
