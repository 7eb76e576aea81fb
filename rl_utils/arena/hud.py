"""What the game prints over the picture: score, time, boost, and an arrow to a ball that is out of sight.

Everything is centred, so that a mirrored picture looks like one of ours, and nothing lies where the car is.
"""

from __future__ import annotations

import math
from typing import Final

import cv2
import numpy as np

from rl_utils.arena.lens import NEAR_UU, SHIFT, Brush, Colour, Lens, Pixels
from rl_utils.arena.snapshot import Snapshot

GAUGE_TOP: Final = 0.935
"""The boost gauge begins here, as a share of the picture's height; the car stays above."""
GAUGE_BOTTOM: Final = 0.97
GAUGE_WIDTH: Final = 0.4
BOX_HEIGHT: Final = 0.06

DARK: Final[Colour] = (34, 30, 28, 255)
BOOST: Final[Colour] = (40, 190, 255, 255)
TEXT: Final[Colour] = (250, 250, 250, 255)
TEAMS: Final[tuple[Colour, Colour]] = ((220, 105, 30, 255), (25, 115, 235, 255))
ARROW: Final[Colour] = (250, 250, 250, 255)
_FONT: Final = cv2.FONT_HERSHEY_DUPLEX


class Hud:
    """Draws on pictures of one size.

    Args:
        width: Picture, px.
        height: Picture, px.
    """

    def __init__(self, width: int, height: int) -> None:
        self._width, self._height = width, height
        self._unit = min(height, width * 9 / 16)
        self._board: Pixels = np.zeros((0, 0, 4), np.uint8)
        self._board_shows: tuple[int, int, int] | None = None

    def draw(self, brush: Brush, lens: Lens, snapshot: Snapshot) -> None:
        """Draw everything onto the brush's picture."""
        self._draw_board(brush.image, snapshot)
        self._draw_gauge(brush, snapshot.cars[0].boost)
        self._draw_arrow(brush, lens, snapshot)

    def _draw_board(self, image: Pixels, snapshot: Snapshot) -> None:
        shows = (*snapshot.score, max(0, math.ceil(snapshot.time_left_s)))
        if shows != self._board_shows:
            self._board, self._board_shows = self._make_board(*shows), shows
        h, w = self._board.shape[:2]
        left, top = (self._width - w) // 2, round(0.015 * self._height)
        image[top : top + h, left : left + w] = self._board[: max(0, self._height - top)]

    def _make_board(self, blue: int, orange: int, seconds: int) -> Pixels:
        h = max(3, round(BOX_HEIGHT * self._unit))
        side, middle = round(1.4 * h), round(2.6 * h)
        board = np.empty((h, min(self._width, 2 * side + middle), 4), np.uint8)
        board[:] = DARK
        board[:, :side] = TEAMS[0]
        board[:, side + middle :] = TEAMS[1]
        clock = f"{seconds // 60}:{seconds % 60:02d}"
        for text, centre in ((str(blue), side / 2), (clock, side + middle / 2), (str(orange), 1.5 * side + middle)):
            scale, thick = h / 34, max(1, h // 18)
            (tw, th), _ = cv2.getTextSize(text, _FONT, scale, thick)
            place = (round(centre - tw / 2), round(h / 2 + th / 2))
            cv2.putText(board, text, place, _FONT, scale, TEXT, thick, cv2.LINE_AA)
        return board

    def _draw_gauge(self, brush: Brush, boost: float) -> None:
        w, h = self._width, self._height
        half = GAUGE_WIDTH * self._unit * 16 / 9 / 2
        edge = max(1.0, 0.005 * self._unit)
        top, bottom = GAUGE_TOP * h, GAUGE_BOTTOM * h
        self._bar(brush, half + edge, top - edge, bottom + edge, DARK)
        if boost > 0:
            self._bar(brush, half * min(1.0, boost / 100), top, bottom, BOOST)
        # Quarter marks, so that the amount can be read.
        for share in (-0.5, 0.5):
            x = w / 2 + share * half
            self._rectangle(brush, (x - edge / 2, top, x + edge / 2, bottom), DARK)

    def _bar(self, brush: Brush, half: float, top: float, bottom: float, colour: Colour) -> None:
        self._rectangle(brush, (self._width / 2 - half, top, self._width / 2 + half, bottom), colour)

    @staticmethod
    def _rectangle(brush: Brush, box: tuple[float, float, float, float], colour: Colour) -> None:
        x0, y0, x1, y1 = box
        corners = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)]) - 0.5
        brush.fill(np.rint(corners * (1 << SHIFT)).astype(np.int32), colour)

    def _draw_arrow(self, brush: Brush, lens: Lens, snapshot: Snapshot) -> None:
        """Point from the picture's edge to where a ball out of sight is."""
        ball = lens.to_camera(snapshot.ball.position)
        x, y, z = ball.tolist()
        half_w, half_h = self._width / 2, self._height / 2
        if z > NEAR_UU and abs(x) * lens.focal_px < half_w * z and abs(y) * lens.focal_px < half_h * z:
            return
        # Behind the eye, the side is what matters; straight behind, any side is right.
        dx, dy = x, y if z > 0 else 0.35 * y
        length = math.hypot(dx, dy)
        dx, dy = (dx / length, dy / length) if length > 1e-6 else (1.0, 0.0)
        reach = min(0.94 * half_w / max(abs(dx), 1e-6), 0.72 * half_h / max(abs(dy), 1e-6))
        tip_x, tip_y = half_w + dx * reach, 0.98 * half_h + dy * reach
        size = 0.045 * self._unit
        for scale, colour in ((1.35, DARK), (1.0, ARROW)):
            s = size * scale
            middle_x, middle_y = tip_x - dx * 0.5 * size, tip_y - dy * 0.5 * size
            corners = np.array(
                [
                    (middle_x + dx * s * 0.9, middle_y + dy * s * 0.9),
                    (middle_x - dx * s * 0.6 - dy * s * 0.8, middle_y - dy * s * 0.6 + dx * s * 0.8),
                    (middle_x - dx * s * 0.6 + dy * s * 0.8, middle_y - dy * s * 0.6 - dx * s * 0.8),
                ]
            )
            brush.fill(np.rint((corners - 0.5) * (1 << SHIFT)).astype(np.int32), colour)
