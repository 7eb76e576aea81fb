"""One picture for a person to look at: the game's frame, what is known of it, and the pad below it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, cast

import cv2

from rl_utils.interfaces import Flag, Image, InputVector, Source
from rl_utils.overlay import (
    DIM_TEXT,
    PAD_SIZE,
    RECORDED,
    Box,
    Colour,
    blank,
    draw_pad,
    draw_text,
    text_width,
)

WARNING: Final[Colour] = (255, 92, 92)

PICTURE_SIZE: Final = (960, 540)
"""(width, height) in px of the shown game picture: twice the stored 480×270."""
CAPTION_HEIGHT: Final = 26
PANEL_HEIGHT: Final = CAPTION_HEIGHT + PAD_SIZE[1] + 4
SCENE_SIZE: Final = (PICTURE_SIZE[0], PICTURE_SIZE[1] + PANEL_HEIGHT)
"""(width, height) in px of `draw_scene`'s picture."""

_MARGIN: Final = 10


@dataclass(frozen=True)
class Caption:
    """What is known of a sample besides picture and inputs.

    Attributes:
        time_s: Since the beginning of what is shown.
        frame: Index of the sample.
        n_frames: How many there are; 0 where that is not known (live).
        episode: As recorded; None leaves it out.
        segment: The same.
        source: Who held the pad.
        flags: `interfaces.Flag` bits.
        note: Anything else, shown at the right end (file name, speed, "paused").
    """

    time_s: float
    frame: int
    n_frames: int = 0
    episode: int | None = None
    segment: int | None = None
    source: int = Source.HUMAN
    flags: int = 0
    note: str = ""

    @property
    def text(self) -> str:
        """Everything but flags and note, in one line."""
        words = [clock_text(self.time_s), f"frame {self.frame}" + (f" of {self.n_frames}" if self.n_frames else "")]
        words += [f"{name} {n}" for name, n in (("episode", self.episode), ("segment", self.segment)) if n is not None]
        known = self.source in Source.__members__.values()
        words.append(Source(self.source).name.lower() if known else f"source {self.source}")
        return "   ".join(words)

    @property
    def flag_text(self) -> str:
        """The flags that are set, in words, "" without any."""
        return ", ".join(flag.name.lower().replace("_", " ") for flag in Flag if self.flags & flag and flag.name)


def clock_text(seconds: float) -> str:
    """Seconds as m:ss.t or h:mm:ss.t."""
    tenths = round(max(seconds, 0.0) * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    head = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    return f"{head}:{rest // 10:02d}.{rest % 10}"


def fit_picture(image: Image, size: tuple[int, int]) -> Image:
    """Scale a picture to fit `size` (width, height), centred on the background.

    Whole-number enlargement repeats pixels, so that what is stored is what is seen.

    Returns:
        (height, width, 3) uint8 RGB, always a new array.
    """
    width, height = size
    h, w = image.shape[:2]
    factor = min(width / w, height / h)
    new_w, new_h = max(1, round(w * factor)), max(1, round(h * factor))
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_NEAREST if factor == int(factor) else cv2.INTER_LINEAR
    scaled = image.copy() if factor == 1 else cast(Image, cv2.resize(image, (new_w, new_h), interpolation=method))
    if (new_w, new_h) == size:
        return scaled
    canvas = blank(width, height)
    top, left = (height - new_h) // 2, (width - new_w) // 2
    canvas[top : top + new_h, left : left + new_w] = scaled
    return canvas


def draw_scene(
    image: Image,
    inputs: InputVector,
    caption: Caption,
    *,
    predicted: InputVector | None = None,
    colour: Colour = RECORDED,
    titles: tuple[str, str] = ("recorded", "policy"),
    lines: tuple[str, ...] = (),
    banner: str = "",
    extra_height: int = 0,
) -> Image:
    """The picture at 960×540 with caption and pad below it.

    Args:
        image: (H, W, 3) uint8 RGB of any size.
        inputs: (19,) float32 in [0, 1].
        caption: Shown between picture and pad.
        predicted: A policy's answer, drawn beside `inputs`.
        colour: Of what is pressed, RGB.
        titles: Shown under the two pads when there are two.
        lines: Text laid over the picture's upper left corner.
        banner: Says in large letters why the picture stands still, and darkens it.
        extra_height: Rows of background left free at the bottom, in px.

    Returns:
        (540 + 180 + extra_height, 960, 3) uint8 RGB, always a new array.
    """
    width, height = SCENE_SIZE
    scene = blank(width, height + extra_height)
    scene[: PICTURE_SIZE[1]] = fit_picture(image, PICTURE_SIZE)
    if banner:
        picture = scene[: PICTURE_SIZE[1]]
        picture[:] = picture // 3
        draw_text(picture, banner, PICTURE_SIZE[0] / 2, PICTURE_SIZE[1] / 2, scale=1.0, centred=True)
    if lines:
        draw_lines(scene, lines)
    base = PICTURE_SIZE[1] + CAPTION_HEIGHT - 8
    end = _MARGIN + draw_text(scene, caption.text, _MARGIN, base)
    if caption.flag_text:
        end += 24 + draw_text(scene, caption.flag_text, end + 24, base, colour=WARNING)
    if caption.note:
        room = width - _MARGIN - end - 24
        note = _shorten(caption.note, room)
        draw_text(scene, note, width - _MARGIN - text_width(note), base, colour=DIM_TEXT)
    pads = Box(0, PICTURE_SIZE[1] + CAPTION_HEIGHT, width, PAD_SIZE[1])
    draw_pad(scene, inputs, predicted=predicted, box=pads, colour=colour, titles=titles)
    return scene


def draw_lines(canvas: Image, lines: tuple[str, ...]) -> None:
    """Lay lines of text over the upper left corner, on a darkened ground."""
    width = 2 * _MARGIN + max(text_width(line) for line in lines)
    ground = canvas[: 2 * _MARGIN + 20 * len(lines), :width]
    ground[:] = ground // 4
    for number, line in enumerate(lines):
        draw_text(canvas, line, _MARGIN, _MARGIN + 14 + 20 * number)


def _shorten(text: str, room_px: int) -> str:
    """Leave the end of a text standing: of a path, that is what tells files apart."""
    if text_width(text) <= room_px:
        return text
    while text and text_width("..." + text) > room_px:
        text = text[1:]
    return "..." + text if text else ""
