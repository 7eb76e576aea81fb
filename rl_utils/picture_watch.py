"""PictureWatch: a black picture, or one that stands still, is not play: it is never recorded or driven by in silence.

A broken capture (a root grab under Wayland, a game in exclusive full screen, a hanging driver) gives no error: it gives
black or the same picture for ever. So does a game that hangs. Both are told apart from play by time alone.
"""

from __future__ import annotations

import logging
from typing import Final

from rl_utils.images import is_black
from rl_utils.interfaces import Image

logger = logging.getLogger(__name__)

BLACK: Final = "black picture"
FROZEN: Final = "frozen picture"

BLACK_S: Final = 2.0
"""A fade to black and back takes about a second; a longer one is a loading screen, or a capture that sees nothing."""
FROZEN_S: Final = 5.0
"""Of pictures that are the same to the last bit. In play the clock, the grass or the boost gauge moves at least once a
second, also while a goal is replayed or counted down; a menu over a stopped game does not, and is nothing to learn."""
FROZEN_DRIVE_S: Final = 2.0
"""While a bot drives: what it cannot see, it should not hold the pad for. More than two ticks of a game's clock."""


class PictureWatch:
    """Looks at the pictures of one window, one after the other.

    Args:
        frozen_s: Time after which a picture that stays the same is a problem.
    """

    def __init__(self, frozen_s: float = FROZEN_S) -> None:
        self._frozen_ns = round(frozen_s * 1e9)
        self._told: set[str] = set()
        self.restart()

    def restart(self) -> None:
        """What comes next does not continue what came before: another window, or the focus was elsewhere."""
        self._changed_ns: int | None = None
        self._black_since_ns: int | None = None
        self._seen_light = False

    def problem(self, image: Image, t_ns: int, *, duplicate: bool) -> str:
        """What is wrong with the newest picture, "" where nothing is.

        Args:
            image: (H, W, 3) uint8 RGB.
            t_ns: When it was taken.
            duplicate: It equals the picture of the last call.
        """
        if self._changed_ns is None or not duplicate:
            self._changed_ns = t_ns
            black = is_black(image)
            self._seen_light |= not black
            if not black:
                self._black_since_ns = None
            elif self._black_since_ns is None:
                self._black_since_ns = t_ns
        frozen = t_ns - self._changed_ns > self._frozen_ns
        if self._black_since_ns is not None:
            long = t_ns - self._black_since_ns > BLACK_S * 1e9
            if long:
                self._warn(BLACK, "run the game in windowed or borderless mode; a loading screen passes by itself")
            # Black from the start is black at once: nothing has been seen that could be fading.
            return BLACK if long or frozen or not self._seen_light else ""
        if frozen:
            self._warn(FROZEN, "it goes on when the picture changes; is the game paused, or hanging?")
        return FROZEN if frozen else ""

    def _warn(self, problem: str, remedy: str) -> None:
        """Once of each kind: the status line shows it every time."""
        if problem not in self._told:
            self._told.add(problem)
            logger.warning("%s: nothing is taken from the window; %s", problem.capitalize(), remedy)
