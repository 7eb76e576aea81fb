"""FrameGrabber: the pixels of the game's window. WindowFrames: the window as a source of frames."""

from __future__ import annotations

import contextlib
import logging
import time
from typing import Final

import mss
import numpy as np
from mss.exception import ScreenShotError
from numpy.typing import NDArray

from rl_utils.config import GAME_TITLE, WindowSize
from rl_utils.errors import UserError
from rl_utils.game_window import GameWindow, NotReadable, WindowState
from rl_utils.get_current_window import WindowMonitor
from rl_utils.images import same_picture, shrink_to_rgb
from rl_utils.interfaces import Device, Frame, FrameInfo, FrameSource, Image
from rl_utils.picture_watch import FROZEN_S, PictureWatch
from rl_utils.x11 import XServer
from rl_utils.xshm import XshmGrabber
from rl_utils.xshm_segment import ShmUnavailable

SLOW_READ: Final = 2
"""A reading that takes so many times as long as usual, and `SLEPT_NS` more, is repeated."""
SLEPT_NS: Final = 5_000_000
USUAL_OF: Final = 16
"""Of about so many readings the mean is what is usual."""
ANOTHER_WINDOW: Final = "another window"
"""Said once, between the last picture of one window and the first one of the next."""

logger = logging.getLogger(__name__)


class MssGrabber:
    """Cut the window out of a picture of the screen, as the article does: slower, and blind to what is covered.

    Args:
        display: Name of the display, like ":0".
        reason: Why this way is taken.

    Raises:
        UserError: The screen cannot be read this way either.
    """

    name = "mss"

    def __init__(self, display: str, reason: str) -> None:
        self.reason = reason
        self._screen: mss.MSS | None = None
        try:
            self._screen = mss.MSS(display=display)
        except ScreenShotError as problem:
            raise UserError(
                f"The screen of display {display} cannot be read ({problem}; before that: {reason})",
                "Use an X server with MIT-SHM and a colour depth of 24 bits",
            ) from problem

    def close(self) -> None:
        """Disconnect."""
        # Forgotten first: closing after the server has gone raises, and mss would free its connection a second time.
        screen, self._screen = self._screen, None
        if screen is not None:
            with contextlib.suppress(ScreenShotError):
                screen.close()

    def is_silent(self, window: GameWindow) -> bool:
        """Nothing tells of drawings here."""
        return False

    def confirm(self, *, changed: bool) -> None:
        """Nothing to learn from it."""

    def hide(self) -> None:
        """Nothing is kept of a minimised window."""

    def undisturbed(self) -> bool:
        """Nobody tells."""
        return False

    def grab(self, window: GameWindow) -> NDArray[np.uint8]:
        """Return the window's pixels, (height, width, 4) uint8 BGRX.

        Raises:
            NotReadable: It is covered, partly off-screen, or was just changing.
        """
        if window.covered:
            raise NotReadable("covered by another window")
        if window.off_screen:
            raise NotReadable("partly off-screen")
        assert self._screen is not None, "closed"
        region = {"left": window.left, "top": window.top, "width": window.width, "height": window.height}
        try:
            return np.asarray(self._screen.grab(region))
        except (ScreenShotError, AssertionError) as problem:  # the latter is how mss notices that the server has gone
            raise NotReadable("changing") from problem


class FrameGrabber(Device):
    """Read a window's pixels in the best way that this X server allows. For one thread only.

    Args:
        server: Where the window is; a second connection of its own is opened to the same server.

    Raises:
        UserError: No way works.

    Attributes:
        backend: "xshm-window" (the window's own pixels, SysV memory), "xshm-window-memfd", or "mss".
        reason: Why it is not the first one, else "".
    """

    def __init__(self, server: XServer) -> None:
        self._grabber: XshmGrabber | MssGrabber
        try:
            self._grabber = XshmGrabber(server.name)
        except ShmUnavailable as problem:
            reason = f"MIT-SHM cannot be used: {problem}"
            if server.is_xwayland():
                # There the screen is black without any error: recording it would be the worst answer.
                raise UserError(
                    f"The game's window cannot be read in this Wayland session ({reason})",
                    "Run this outside the container, as the user of the session, or log in to an X11 session",
                ) from problem
            self._grabber = MssGrabber(server.name, reason)
        self.backend, self.reason = self._grabber.name, self._grabber.reason
        if self.reason:
            logger.info("capture by %s: %s", self.backend, self.reason)

    def close(self) -> None:
        """Free connection and memory."""
        self._grabber.close()

    def grab(self, window: GameWindow) -> NDArray[np.uint8]:
        """Return the window's pixels as they are now.

        Args:
            window: As `WindowMonitor` sees it at this moment; not minimised.

        Returns:
            (height, width, 4) uint8 BGRX with a meaningless fourth byte; the next `grab` overwrites it.

        Raises:
            NotReadable: There are no whole pixels of it at this moment.
            UserError: The X server is gone, or has colours that cannot be recorded.
        """
        return self._grabber.grab(window)

    def is_silent(self, window: GameWindow) -> bool:
        """Whether the server is known to tell of drawings, and has told of none since the last `confirm`.

        Raises:
            UserError: The X server is gone.
        """
        return self._grabber.is_silent(window)

    def confirm(self, *, changed: bool) -> None:
        """Say what came of a `grab`: whether the pixels differ from those of the last `confirm`.

        Raises:
            UserError: The X server is gone.
        """
        self._grabber.confirm(changed=changed)

    def hide(self) -> None:
        """Say that the window is minimised: when it comes back, its pixels are its own only once it has drawn them.

        Raises:
            UserError: The X server is gone.
        """
        self._grabber.hide()

    def undisturbed(self) -> bool:
        """Whether the server is known to tell of what happens to windows, and told of nothing up to the last `grab`.

        Each call counts from the one before.

        Raises:
            UserError: The X server is gone.
        """
        return self._grabber.undisturbed()


class WindowFrames(FrameSource):
    """The game's window as a source of frames. For one thread only.

    A picture that is black, or stays the same for some seconds, is a `problem` and no frame: see `PictureWatch`. So is
    the moment at which another fitting window gets the focus, even where no time lies between the two: whoever reads
    then looks again at what there is.

    Args:
        pattern: Regular expression that is searched in window titles.
        size: Width and height of the frames in px.
        require_focus: Read the window only while it has the focus.
        display: Like ":0"; None takes $DISPLAY.
        frozen_s: How long a picture may stay the same.

    Raises:
        UserError: The display cannot be opened, or its windows cannot be read.
    """

    def __init__(
        self,
        pattern: str = GAME_TITLE,
        size: WindowSize = (480, 270),
        *,
        require_focus: bool = True,
        display: str | None = None,
        frozen_s: float = FROZEN_S,
    ) -> None:
        self._size = size
        self._require_focus = require_focus
        self._monitor = WindowMonitor(pattern, display=display)
        try:
            self._grabber = FrameGrabber(self._monitor.server)
        except UserError:
            self._monitor.close()
            raise
        self._problem = WindowState.NOT_FOUND.value
        self._last_window = self._monitor.window
        self._last_image: Image | None = None
        self._last_serial = 0
        self._watch = PictureWatch(frozen_s)
        self._usual_read_ns = 0

    @property
    def monitor(self) -> WindowMonitor:
        """Follows the window; for the same thread only."""
        return self._monitor

    @property
    def problem(self) -> str:
        """Why the last `read` returned None, "" otherwise."""
        return self._problem

    @property
    def info(self) -> FrameInfo:
        """The window as it was last seen."""
        window = self._last_window
        return FrameInfo(
            title=window.title,
            wm_class=window.wm_class,
            native_size=window.size,
            backend=self._grabber.backend,
            reason=self._grabber.reason,
            is_arena=window.is_arena,
        )

    def close(self) -> None:
        """Free connections and memory."""
        self._grabber.close()
        self._monitor.close()

    def wait_for_window(self, timeout_s: float) -> FrameInfo:
        """Sleep until a fitting window exists, focused or not.

        Raises:
            UserError: None appeared within `timeout_s`; the titles that were seen are listed.
        """
        self._last_window = self._monitor.wait(timeout_s)
        return self.info

    def read(self) -> Frame | None:
        """Return the window's picture as it is now, or None while it cannot or must not be read.

        Raises:
            UserError: The X server is gone.
        """
        window = self._monitor.update()
        self._problem = self._objection(window)
        if not self._problem and self._last_serial not in (0, window.serial):
            self._problem = ANOTHER_WINDOW
        if self._problem:
            self._last_serial = 0
            self._watch.restart()
            if window.state is WindowState.MINIMISED:
                self._grabber.hide()
            return None
        t_ns = time.monotonic_ns()
        if self._last_image is not None and self._grabber.is_silent(window):
            image, duplicate = self._last_image.copy(), True
        else:
            grabbed = self._grab(window)
            if grabbed is None:
                return None
            image, t_ns = grabbed
            duplicate = self._last_image is not None and same_picture(image, self._last_image)
            self._grabber.confirm(changed=not duplicate)
        self._last_image, self._last_serial = image, window.serial
        self._problem = self._watch.problem(image, t_ns, duplicate=duplicate)
        return None if self._problem else Frame(image, t_ns, duplicate=duplicate)

    def _grab(self, window: GameWindow) -> tuple[Image, int] | None:
        """Read and shrink the window: picture and time, or say in `problem` why it was not possible."""
        try:
            pixels, t_ns = self._read_pixels(window)
        except NotReadable as reason:
            self._problem = str(reason)
            return None
        # What happened to the window before the server read it may be in the picture. Without a window manager nobody
        # tells of the focus.
        calm = self._grabber.undisturbed() and self._monitor.server.manager
        after = window if calm else self._monitor.update(sync=True)
        self._problem = self._objection(after) or ("" if _same_view(window, after) else "changing")
        return None if self._problem else (shrink_to_rgb(pixels, *self._size), t_ns)

    def _read_pixels(self, window: GameWindow) -> tuple[NDArray[np.uint8], int]:
        """The window's pixels, and their time in ns.

        Read once more where reading took unusually long: then this process was asleep between looking at the clock and
        the server's reading, and the pixels may be newer than their time by more than a frame.
        """
        pixels, t_ns = self._timed_grab(window)
        if time.monotonic_ns() - t_ns > SLOW_READ * self._usual_read_ns + SLEPT_NS:
            pixels, t_ns = self._timed_grab(window)
        return pixels, t_ns

    def _timed_grab(self, window: GameWindow) -> tuple[NDArray[np.uint8], int]:
        t_ns = time.monotonic_ns()
        pixels = self._grabber.grab(window)
        self._usual_read_ns += (time.monotonic_ns() - t_ns - self._usual_read_ns) // USUAL_OF
        return pixels, t_ns

    def _objection(self, window: GameWindow) -> str:
        if window.state is WindowState.NOT_FOUND:
            return window.state.value
        self._last_window = window
        if window.state is WindowState.NOT_FOCUSED and not self._require_focus:
            return ""
        return window.state.value


def _same_view(before: GameWindow, after: GameWindow) -> bool:
    """Whether a picture taken between the two shows the whole of one window and nothing else."""
    same = (before.serial, before.size, before.off_screen) == (after.serial, after.size, after.off_screen)
    return same and (before.covered or not after.covered)
