"""PortalFrames: a native Wayland window, through the desktop's own picker and PipeWire. The extra `wayland` brings it.

X programs cannot see such a window. The person chooses it once at every start; nothing tells whether it has the focus,
so this is for recording only. Games under Proton are XWayland windows by default and need none of this.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from rl_utils.config import WindowSize
from rl_utils.errors import UserError
from rl_utils.images import same_picture, shrink_to_rgb
from rl_utils.interfaces import Frame, FrameInfo, FrameSource, Image
from rl_utils.picture_watch import FROZEN_S, PictureWatch

if TYPE_CHECKING:
    from types import ModuleType

NO_PICTURE: Final = "no picture yet"
CLOSED: Final = "window closed"
_WAIT_S: Final = 0.02


class PortalFrames(FrameSource):
    """Pictures of a PipeWire node. For one thread only.

    Args:
        descriptor: A connection to PipeWire; it stays the caller's.
        node: Id of the node that gives the pictures.
        size: Width and height of the frames in px.
        hint_px: Width and height of the window as far as they are known.
        frozen_s: How long a picture may stay the same.
        on_close: Called after the stream has ended, to end what it came from.

    Raises:
        UserError: The extra is not installed, or PipeWire's library is missing.
    """

    def __init__(
        self,
        descriptor: int,
        node: int,
        size: WindowSize = (480, 270),
        *,
        hint_px: WindowSize = (1920, 1080),
        frozen_s: float = FROZEN_S,
        on_close: Callable[[], None] | None = None,
    ) -> None:
        self._size = size
        self._native = hint_px
        self._on_close = on_close
        self._watch = PictureWatch(frozen_s)
        self._problem = NO_PICTURE
        self._last_image: Image | None = None
        # No pause between pictures: the newest one is taken at each tick of the loop.
        self._stream: Any = _library().CaptureStream(descriptor, node, *hint_px, capture_interval=0.0)
        self._stream.start()

    @property
    def problem(self) -> str:
        """Why the last `read` returned None, "" otherwise."""
        return self._problem

    @property
    def exhausted(self) -> bool:
        """The window was closed: it would have to be chosen anew."""
        return self._problem == CLOSED

    @property
    def info(self) -> FrameInfo:
        """What the portal tells: the size alone."""
        reason = "a native Wayland window gives its pictures only through the portal"
        return FrameInfo("window chosen in the portal", native_size=self._native, backend="pipewire", reason=reason)

    def close(self) -> None:
        """End the stream and the portal's session."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.stop()
            if self._on_close is not None:
                self._on_close()

    def wait_for_picture(self, timeout_s: float) -> FrameInfo:
        """Sleep until the first picture has come.

        Raises:
            UserError: None came within `timeout_s`, or the stream failed.
        """
        deadline = time.monotonic() + timeout_s
        while self.read() is None and self._problem in (NO_PICTURE, CLOSED):
            if self.exhausted or time.monotonic() > deadline:
                reason = self._stream.error or f"none within {timeout_s:g} s"
                raise UserError(
                    f"No picture came from the chosen window ({reason})",
                    "Choose it again; a desktop that only shares graphics memory (DMA-BUF) cannot be recorded this way",
                )
            time.sleep(_WAIT_S)
        return self.info

    def read(self) -> Frame | None:
        """Return the newest picture, or None while there is none, or none to learn from.

        Its time is that of this call: PipeWire gives a window's picture up to one of the desktop's frames later.
        """
        assert self._stream is not None, "closed"
        if self._stream.window_invalid:
            self._problem = CLOSED
            return None
        t_ns = time.monotonic_ns()
        pixels = self._stream.get_frame()
        if pixels is None and self._last_image is None:
            self._problem = NO_PICTURE
            return None
        if pixels is None:
            assert self._last_image is not None
            image, duplicate = self._last_image.copy(), True
        else:
            self._native = (pixels.shape[1], pixels.shape[0])
            image = shrink_to_rgb(pixels, *self._size)
            duplicate = self._last_image is not None and same_picture(image, self._last_image)
        self._last_image = image
        self._problem = self._watch.problem(image, t_ns, duplicate=duplicate)
        return None if self._problem else Frame(image, t_ns, duplicate=duplicate)


def open_portal(size: WindowSize) -> PortalFrames:
    """Let the person choose a window, and read it.

    Raises:
        UserError: There is no portal, nothing was chosen, or the extra is not installed.
    """
    library = _library()
    if not library.is_available():
        raise UserError(
            "This session has no portal for sharing windows (org.freedesktop.portal.ScreenCast)",
            "Install xdg-desktop-portal and the one of your desktop (-gnome, -kde, -wlr), then log in again",
        )
    try:
        session = library.PortalCapture().select_window()
    except RuntimeError as error:
        raise UserError(f"The portal cannot share the window ({error})", "Record an XWayland window instead") from error
    if session is None:
        raise UserError("No window was chosen", "Choose the game's window in the dialog")
    hint = (session.width or 1920, session.height or 1080)
    try:
        return PortalFrames(session.fd, session.node_id, size, hint_px=hint, on_close=session.close)
    except BaseException:
        session.close()
        raise


def _library() -> ModuleType:
    try:
        import pipewire_capture
    except ImportError as error:
        raise UserError(
            f"Native Wayland windows cannot be read ({error})",
            "Run pip install -e '.[wayland]' in the clone of this project (x86-64, glibc 2.34 or newer), and install"
            " PipeWire (libpipewire-0.3)",
        ) from error
    library: ModuleType = pipewire_capture
    return library
