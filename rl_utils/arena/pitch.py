"""The ground: a texture of the pitch from above, laid onto the picture by a perspective warp.

Everything is symmetric in x, so that a mirrored picture is a picture of the mirrored play.
"""

from __future__ import annotations

import functools
import math
from typing import Final, cast

import cv2
import numpy as np

from rl_utils.arena.field import (
    BACK_WALL_Y_UU,
    BOOST_PADS,
    CORNER_SUM_UU,
    GOAL_DEPTH_UU,
    GOAL_HALF_WIDTH_UU,
    SIDE_WALL_X_UU,
)
from rl_utils.arena.lens import Colour, Lens, Pixels
from rl_utils.arena.looks import PLAIN, Paint

WIDTH_PX: Final = 1536
HALF_LENGTH_UU: Final = BACK_WALL_Y_UU + GOAL_DEPTH_UU + 16
TEXELS_PER_UU: Final = WIDTH_PX / (2 * SIDE_WALL_X_UU)
HEIGHT_PX: Final = round(2 * HALF_LENGTH_UU * TEXELS_PER_UU)
LEVELS: Final = 5
"""Halved copies for the distance."""
SHARPNESS: Final = 2.0
"""Texels per pixel (the mean of both directions) up to which a level is used."""

OUTSIDE: Final[Colour] = (46, 38, 36, 255)
GRASS: Final = ((52, 122, 56), (46, 108, 49), (60, 136, 63))
LINE: Final = (228, 236, 232)
GOAL_LINE: Final = ((255, 140, 50), (40, 130, 255))
GOAL_FLOOR: Final = ((120, 60, 25), (25, 70, 130))
BLUE_TINT: Final = (1.22, 0.97, 0.86)
ORANGE_TINT: Final = (0.84, 0.98, 1.22)


def _texel(x_uu: float, y_uu: float) -> tuple[int, int]:
    return round((x_uu + SIDE_WALL_X_UU) * TEXELS_PER_UU), round((y_uu + HALF_LENGTH_UU) * TEXELS_PER_UU)


def _grass() -> Pixels:
    """Mown squares of 512 uu with a soft mottle: something to see motion by, without costing much when compressed."""
    half = WIDTH_PX // 2
    rng = np.random.default_rng(0)
    mottle = rng.normal(12, 3, size=(HEIGHT_PX // 6 + 1, half // 6 + 1)).clip(0, 24).astype(np.uint8)
    mottle = cast(np.ndarray, cv2.resize(mottle, (half, HEIGHT_PX), interpolation=cv2.INTER_LINEAR))
    x = (half - 0.5 - np.arange(half)) / TEXELS_PER_UU
    y = (np.arange(HEIGHT_PX) + 0.5) / TEXELS_PER_UU - HALF_LENGTH_UU
    share = np.clip(0.5 + y / (2 * BACK_WALL_Y_UU), 0, 1)[:, None, None]  # 0 at blue's end, 1 at orange's
    tint = np.array(BLUE_TINT) * (1 - share) + np.array(ORANGE_TINT) * share
    shades = np.full((HEIGHT_PX, len(GRASS), 4), 255, np.uint8)
    shades[..., :3] = np.array(GRASS) * tint
    columns, rows = (x // 512).astype(int) % 2, (np.abs(y) // 512).astype(int) % 2
    # A row takes its shades from only two of the three: one for even squares, one for odd ones.
    left = np.where((columns == 0)[None, :, None], shades[np.arange(HEIGHT_PX), rows][:, None], 0)
    left += np.where((columns == 1)[None, :, None], shades[np.arange(HEIGHT_PX), rows + 1][:, None], 0)
    left = cv2.subtract(cv2.add(left, cv2.merge([mottle] * 4)), np.full_like(left, 12))
    left[..., 3] = 255
    return np.concatenate([left, left[:, ::-1]], axis=1)


def _lines(image: Pixels) -> None:
    thick = round(44 * TEXELS_PER_UU)
    aa = cv2.LINE_AA
    cv2.line(image, _texel(-SIDE_WALL_X_UU, 0), _texel(SIDE_WALL_X_UU, 0), LINE, thick, aa)
    cv2.circle(image, _texel(0, 0), round(1000 * TEXELS_PER_UU), LINE, thick, aa)
    cv2.circle(image, _texel(0, 0), round(100 * TEXELS_PER_UU), LINE, -1, aa)
    for side, colour, floor in zip((-1, 1), GOAL_LINE, GOAL_FLOOR, strict=True):
        line = side * BACK_WALL_Y_UU
        cv2.rectangle(image, _texel(-1900, line), _texel(1900, side * 3500), LINE, thick, aa)
        cv2.rectangle(
            image, _texel(-GOAL_HALF_WIDTH_UU, line), _texel(GOAL_HALF_WIDTH_UU, side * 4560), LINE, thick, aa
        )
        back = side * (BACK_WALL_Y_UU + GOAL_DEPTH_UU)
        cv2.rectangle(image, _texel(-GOAL_HALF_WIDTH_UU, line), _texel(GOAL_HALF_WIDTH_UU, back), floor, -1)
        ends = _texel(-GOAL_HALF_WIDTH_UU, line), _texel(GOAL_HALF_WIDTH_UU, line)
        cv2.line(image, *ends, colour, 2 * thick, aa)


def _pad_places(image: Pixels) -> None:
    for pad in BOOST_PADS:
        centre = _texel(pad.x, pad.y)
        radius = 150 if pad.is_big else 80
        cv2.circle(image, centre, round(radius * TEXELS_PER_UU), (40, 70, 60), -1, cv2.LINE_AA)
        ring = round(10 * TEXELS_PER_UU)
        cv2.circle(image, centre, round(radius * TEXELS_PER_UU), (70, 140, 150), ring, cv2.LINE_AA)


def pitch_texture() -> Pixels:
    """The pitch from above: (H, 1536, 4) uint8 BGRX, x from -4096 to 4096 uu, y growing downwards."""
    image = _grass()
    _lines(image)
    _pad_places(image)
    half = WIDTH_PX // 2
    left = image[:, :half]
    x = ((half - 0.5 - np.arange(half)) / TEXELS_PER_UU)[None, :]
    y = np.abs(np.arange(HEIGHT_PX) + 0.5 - HEIGHT_PX / 2)[:, None] / TEXELS_PER_UU
    in_goal = (x < GOAL_HALF_WIDTH_UU) & (y < BACK_WALL_Y_UU + GOAL_DEPTH_UU)
    left[~(in_goal | ((y < BACK_WALL_Y_UU) & (x + y < CORNER_SUM_UU)))] = OUTSIDE
    # OpenCV rounds thick lines to one side; a mirrored picture must be the picture of the mirrored play.
    image[:, half:] = left[:, ::-1]
    return image


class Pitch:
    """Draws the ground below the horizon.

    Args:
        paint: For all of it.
    """

    def __init__(self, paint: Paint = PLAIN) -> None:
        self._levels = [paint.picture(pitch_texture())]
        self._outside = paint.colour(OUTSIDE)
        for _ in range(LEVELS - 1):
            h, w = self._levels[-1].shape[:2]
            smaller = cv2.resize(self._levels[-1], (w // 2, h // 2), interpolation=cv2.INTER_AREA)
            self._levels.append(cast(Pixels, smaller))
        # Texture pixel centre (u, v) → world (x, y, 1).
        uu = 1 / TEXELS_PER_UU
        self._to_world = np.array(
            [[uu, 0, 0.5 * uu - SIDE_WALL_X_UU], [0, uu, 0.5 * uu - HALF_LENGTH_UU], [0.0, 0.0, 1.0]]
        )

    def draw(self, image: Pixels, lens: Lens, top: int) -> None:
        """Draw the rows from `top` (the first one below the horizon) down."""
        horizon, bottom = horizon_row(lens), lens.height
        if top >= bottom:
            return
        camera = np.array(
            [[lens.focal_px, 0, lens.width / 2 - 0.5], [0, lens.focal_px, lens.height / 2 - 0.5], [0, 0, 1.0]]
        )
        ground = np.column_stack([lens.rotation[:, :2], lens.offset])
        from_picture = np.linalg.inv(camera @ ground @ self._to_world)
        below = bottom
        for level in range(LEVELS):
            above = top
            if level < LEVELS - 1:
                limit = SHARPNESS * 2**level
                above = math.ceil(horizon + math.sqrt(lens.eye[2] * lens.focal_px * TEXELS_PER_UU / limit))
                above = min(below, max(top, above))
            if above < below:
                warp = from_picture.copy()
                warp[:, 2] += warp[:, 1] * above
                # Texel centres of a halved level lie at (u + 0.5) / 2^level - 0.5.
                scale = 2.0**-level
                warp[:2] = warp[:2] * scale + warp[2] * (0.5 * scale - 0.5)
                flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
                size = (lens.width, below - above)
                cv2.warpPerspective(
                    self._levels[level], warp, size, image[above:below], flags, cv2.BORDER_CONSTANT, self._outside
                )
            below = above


@functools.cache
def shared_pitch(paint: Paint = PLAIN) -> Pitch:
    """The pitch for all pictures: 18 MB, made in a tenth of a second, never changed."""
    return Pitch(paint)


def horizon_row(lens: Lens) -> float:
    """The picture row of the horizon of a level camera, far outside the picture when it looks steeply up or down."""
    forward_z, level = float(lens.rotation[2, 2]), -float(lens.rotation[1, 2])
    return lens.height / 2 + lens.focal_px * forward_z / max(level, 1e-6)
