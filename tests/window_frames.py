"""How tests of capturing look at a `WindowFrames`: is the picture the window's, to the last bit, and does it live?"""

from __future__ import annotations

import numpy as np

from rl_utils.get_current_frame import WindowFrames
from rl_utils.interfaces import Frame
from tests.x11_window import FIRST_ROW, counter, noise, until

SIZE = (320, 240)
"""Of the window and of the frames."""


def shows(frame: Frame | None, seed: int = 0) -> bool:
    """Whether the frame is the window with that seed, to the last bit."""
    if frame is None:
        return False
    height, width = frame.image.shape[:2]
    return np.array_equal(frame.image[FIRST_ROW:], noise(width, height, seed)[FIRST_ROW:])


def difference(frame: Frame, seed: int = 0) -> str:
    """Where the frame is not the window with that seed."""
    height, width = frame.image.shape[:2]
    rows, columns = np.nonzero((frame.image != noise(width, height, seed)).any(2)[FIRST_ROW:])
    return f"in x {columns.min()}-{columns.max()}, y {rows.min() + FIRST_ROW}-{rows.max() + FIRST_ROW}, {rows.size} px"


def await_picture(frames: WindowFrames, seed: int = 0) -> Frame:
    return until(lambda: shows(frame := frames.read(), seed) and frame)


def await_problem(frames: WindowFrames, problem: str) -> None:
    until(lambda: frames.read() is None and frames.problem == problem)


def assert_live(frames: WindowFrames) -> None:
    """The picture goes on, and each frame of it is whole."""
    seen = {counter(await_picture(frames).image)}

    def another() -> bool:
        frame = frames.read()
        assert frame is None or shows(frame), f"a frame has foreign pixels {difference(frame)}"
        if frame is not None:
            seen.add(counter(frame.image))
        return len(seen) > 5

    until(another)


def await_live(frames: WindowFrames) -> None:
    """As `assert_live`, but the program may first draw a few more pictures of the size that the window had before."""
    seen: set[int] = set()

    def another() -> bool:
        frame = frames.read()
        if frame is not None and not shows(frame):
            seen.clear()
        elif frame is not None:
            seen.add(counter(frame.image))
        return len(seen) > 5

    until(another)
