"""What a frame costs: ours stage by stage, beside mss and the article's recipe, in turns on the same moving window."""

from __future__ import annotations

import logging
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, cast

import cv2
import mss
import numpy as np
from mss.exception import ScreenShotError
from numpy.typing import NDArray

from rl_utils.bench_window import TITLE
from rl_utils.errors import UserError
from rl_utils.game_window import GameWindow
from rl_utils.get_current_frame import FrameGrabber, WindowFrames
from rl_utils.images import compiled_shrinker, same_picture, shrink_to_rgb

logger = logging.getLogger(__name__)

SIZE: Final = (480, 270)
SCREEN: Final = "1920x1080"
"""Of the X server that is started where there is none."""
TURN_S: Final = 0.25
"""The contestants take turns of this length, so that what else the machine does befalls all of them."""
WARM_UP: Final = 3


@dataclass
class Contestant:
    """One way, or a stage of one, to get a frame.

    Attributes:
        name: As it is printed.
        frame: Do it once; False when it was not possible just now.
        ms: Wall time of each.
        cpu_ns: CPU time of all of them.
        broken: Why it cannot take part, else "".
    """

    name: str
    frame: Callable[[], bool]
    ms: list[float] = field(default_factory=list)
    cpu_ns: int = 0
    broken: str = ""

    def take_turn(self, seconds: float) -> None:
        """Get frames for that long, and at least one."""
        end = time.perf_counter() + seconds
        while True:
            cpu, began = time.thread_time_ns(), time.perf_counter_ns()
            done = self.frame()
            took, cpu = time.perf_counter_ns() - began, time.thread_time_ns() - cpu
            if done:
                self.ms.append(took / 1e6)
                self.cpu_ns += cpu
            if time.perf_counter() >= end:
                return

    @property
    def cpu_ms(self) -> float:
        """CPU time of one frame."""
        return self.cpu_ns / 1e6 / len(self.ms)


def bench_capture(seconds: float) -> list[dict[str, object]]:
    """Measure capture on a moving window over the whole screen: $DISPLAY's, or Xvfb's where there is none.

    Args:
        seconds: For each contestant.

    Returns:
        Rows: name; ms_p50 and ms_p99, wall time of a frame; cpu_ms, our CPU time of a frame, without the X server's;
        ratio, that CPU time as a multiple of "ours, whole". A contestant that this machine refuses has no row.

    Raises:
        UserError: No display and no Xvfb, or the window cannot be read.
    """
    from rl_utils.virtual_screen import screen

    with ExitStack() as stack:
        stack.enter_context(screen(Path(stack.enter_context(tempfile.TemporaryDirectory())), SCREEN))
        stack.enter_context(_moving_window())
        frames = stack.enter_context(WindowFrames(f"^{TITLE}$", SIZE, require_focus=False))
        frames.wait_for_window(30)
        window = _await_frame(frames)
        contestants = [*_ours(stack, frames), *_theirs(stack, window)]
        _compete(contestants, seconds)
    whole = next(c.cpu_ms for c in contestants if c.name.startswith("ours, whole"))
    return [_row(c, whole) for c in contestants if c.ms]


def _row(contestant: Contestant, whole_ms: float) -> dict[str, object]:
    return {
        "name": contestant.name,
        "ms_p50": float(np.percentile(contestant.ms, 50)),
        "ms_p99": float(np.percentile(contestant.ms, 99)),
        "cpu_ms": contestant.cpu_ms,
        "ratio": contestant.cpu_ms / whole_ms,
    }


def _compete(contestants: list[Contestant], seconds: float) -> None:
    turns = max(1, round(seconds / TURN_S))
    for turn in range(-1, turns):
        for contestant in contestants:
            if contestant.broken:
                continue
            try:
                if turn < 0:
                    for _ in range(WARM_UP):
                        contestant.frame()
                else:
                    contestant.take_turn(seconds / turns)
            except ScreenShotError as error:
                contestant.broken, contestant.ms = str(error), []
                logger.warning("%s cannot be measured here: %s", contestant.name, error)
    for contestant in contestants:
        if not contestant.ms and not contestant.broken:
            raise UserError(
                "The window could not be read while measuring", "Leave the moving picture in front and measure again"
            )


@contextmanager
def _moving_window() -> Iterator[None]:
    command = (sys.executable, "-m", "rl_utils.bench_window")
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parent.parent) as program:
        try:
            assert program.stdout is not None
            if not program.stdout.readline():
                raise UserError("The moving window did not open", "Run: python -m rl_utils.bench_window")
            yield
        finally:
            program.terminate()


def _await_frame(frames: WindowFrames, timeout_s: float = 30.0) -> GameWindow:
    """Wait until the window manager has placed the window and it can be read."""
    end = time.monotonic() + timeout_s
    while frames.read() is None or frames.monitor.window.off_screen:
        if time.monotonic() > end:
            raise UserError(
                f"The moving window cannot be read ({frames.problem or 'partly off-screen'})",
                "Leave it in front and measure again",
            )
        time.sleep(0.02)
    return frames.monitor.window


def _ours(stack: ExitStack, frames: WindowFrames) -> list[Contestant]:
    grabber = stack.enter_context(FrameGrabber(frames.monitor.server))
    window = frames.monitor.window
    pixels = grabber.grab(window).copy()
    last = shrink_to_rgb(pixels, *SIZE)
    width, height = window.size

    def grab() -> bool:
        return grabber.grab(window).size > 0

    def shrink() -> bool:
        return shrink_to_rgb(pixels, *SIZE).size > 0

    def whole() -> bool:
        # What `WindowFrames.read` does when there is a new picture; of an old one it would not read anything.
        nonlocal last
        image = shrink_to_rgb(grabber.grab(frames.monitor.update()), *SIZE)
        frames.monitor.update(sync=True)
        same_picture(image, last)
        last = image
        return True

    return [
        Contestant(f"ours, grab {width}x{height} ({grabber.backend})", grab),
        Contestant(f"ours, shrink to {SIZE[0]}x{SIZE[1]} ({'compiled' if compiled_shrinker() else 'OpenCV'})", shrink),
        Contestant("ours, whole (follow, grab, shrink, compare)", whole),
    ]


def _theirs(stack: ExitStack, window: GameWindow) -> list[Contestant]:
    """Mss with our way to shrink, and the article's recipe on mss' best and on its only backend of that time."""
    region = {"left": window.left, "top": window.top, "width": window.width, "height": window.height}
    found: list[Contestant] = []
    for backend, name in (("default", "mss"), ("xlib", "mss xlib")):
        try:
            screen = stack.enter_context(mss.MSS(backend=backend))
        except ScreenShotError as error:
            logger.warning("%s cannot be measured here: %s", name, error)
            continue
        if backend == "default":
            found.append(Contestant(f"{name}, our shrink", partial(_shrunk_frame, screen, region)))
        found.append(Contestant(f"{name}, article's recipe", partial(_article_frame, screen, region)))
    return found


def _shrunk_frame(screen: mss.MSS, region: dict[str, int]) -> bool:
    return shrink_to_rgb(np.asarray(screen.grab(region)), *SIZE).size > 0


def _article_frame(screen: mss.MSS, region: dict[str, int]) -> bool:
    return article_frame(screen, region).size > 0


def article_frame(screen: mss.MSS, region: dict[str, int]) -> NDArray[np.uint8]:
    """A frame as the article makes it: all pixels to RGB, copied, then shrunk by OpenCV's default.

    Source: the article, "Frame capture": `np.frombuffer(screenshot.rgb)`, reshape, copy, `cv2.resize`.
    """
    shot = screen.grab(region)
    pixels = np.frombuffer(shot.rgb, np.uint8).reshape(shot.height, shot.width, 3).copy()
    return cast("NDArray[np.uint8]", cv2.resize(pixels, SIZE))
