"""A window that shows what a bot presses while it drives, drawn by a process of its own.

The driving loop only copies a picture and 19 numbers into shared memory, without a lock, and never waits: the other
process takes the newest ones when it is ready to draw, and whatever came in between is never seen.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import time
from multiprocessing.connection import Connection
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from rl_utils.controls import N_CONTROLS, REST
from rl_utils.errors import UserError
from rl_utils.interfaces import Device, Image, InputVector, Source
from rl_utils.overlay import PREDICTED, RECORDED
from rl_utils.scene import SCENE_SIZE, Caption, draw_scene
from rl_utils.viewer import Viewer, check_viewer

INSTEAD: Final = "leave --show away"
DRAW_HZ: Final = 30
"""How often the window is drawn at most."""
MAX_BYTES: Final = 1920 * 1080 * 3
"""Larger pictures are thinned out; memory is only taken for what is used."""
NICENESS: Final = 10  # the game and the bot come first
START_TIMEOUT_S: Final = 60.0
_POLL_S: Final = 0.005


class _Shared:
    """The newest sample, in memory that both processes see.

    `version` is odd while the sample is being written; a reader that sees it odd, or changed after reading, reads again
    later. There is one writer, and x86 and ARM Linux keep aligned 64-bit stores whole.
    """

    def __init__(self, memory: Any) -> None:
        whole = np.frombuffer(memory, np.uint8)
        self.header: NDArray[np.int64] = whole[: _HEADER * 8].view(np.int64)
        self.inputs: NDArray[np.float32] = whole[_HEADER * 8 : _PIXELS_AT].view(np.float32)
        self.pixels: NDArray[np.uint8] = whole[_PIXELS_AT:]

    def write(
        self, image: Image | None, inputs: InputVector, *, frames: int, t_ns: int, source: int = Source.POLICY
    ) -> None:
        """Replace the sample; without an image the picture stays."""
        self.header[_VERSION] += 1
        if image is not None:
            step = 1
            while image[::step, ::step].nbytes > MAX_BYTES:
                step += 1
            image = image[::step, ::step]
            height, width = image.shape[:2]
            self.header[_WIDTH], self.header[_HEIGHT] = width, height
            self.pixels[: image.size].reshape(image.shape)[:] = image
        self.inputs[:] = inputs
        self.header[_FRAMES], self.header[_TIME_NS], self.header[_SOURCE] = frames, t_ns, source
        self.header[_PAUSED] = image is None
        self.header[_VERSION] += 1

    def read(self) -> tuple[int, Image, InputVector, NDArray[np.int64]] | None:
        """(version, picture, inputs, header), all copies; None while it is being written."""
        header = self.header.copy()
        version, width, height = int(header[_VERSION]), int(header[_WIDTH]), int(header[_HEIGHT])
        size = width * height * 3
        if version % 2 or not 0 < size <= MAX_BYTES:
            return None
        image = self.pixels[:size].reshape(height, width, 3).copy()
        inputs = self.inputs.copy()
        return (version, image, inputs, header) if self.header[_VERSION] == version else None


_VERSION, _WIDTH, _HEIGHT, _PAUSED, _FRAMES, _TIME_NS, _SOURCE = range(7)
_HEADER: Final = 8
_PIXELS_AT: Final = _HEADER * 8 + N_CONTROLS * 4


class LiveView(Device):
    """The window and the process behind it. Closing the window ends the view, not the drive.

    Args:
        title: Of the window.

    Raises:
        UserError: pygame-ce is not installed, or there is no display.
    """

    def __init__(self, title: str) -> None:
        check_viewer(INSTEAD)
        context = multiprocessing.get_context("spawn")  # forking a process with threads of torch and X is unsafe
        memory = context.RawArray(ctypes.c_uint8, _PIXELS_AT + MAX_BYTES)
        self._shared = _Shared(memory)
        self._frames = 0
        self._began_ns = 0
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_run, args=(title, memory, theirs), name="live view", daemon=True)
        self._process.start()
        theirs.close()
        try:
            problem = self._connection.recv() if self._connection.poll(START_TIMEOUT_S) else ("It did not start", "")
        except EOFError:
            problem = ("It ended while starting", "")
        if problem is not None:
            self.close()
            raise UserError(problem[0], problem[1]) if problem[1] else RuntimeError(f"live view: {problem[0]}")

    def update(self, image: Image, inputs: InputVector, source: Source = Source.POLICY) -> None:
        """Show this picture and these inputs next. Costs a copy.

        Args:
            image: (H, W, 3) uint8 RGB of any size.
            inputs: (19,) float32 in [0, 1].
            source: Who holds the pad: the policy's inputs and a person's have different colours.
        """
        now = time.monotonic_ns()
        self._began_ns = self._began_ns or now
        self._frames += 1
        self._shared.write(image, inputs, frames=self._frames, t_ns=now - self._began_ns, source=source)

    def pause(self) -> None:
        """Show the released pad under the last picture."""
        t_ns = time.monotonic_ns() - self._began_ns if self._began_ns else 0
        self._shared.write(None, REST, frames=self._frames, t_ns=t_ns)

    @property
    def closed(self) -> bool:
        """Whether the window is gone."""
        return not self._process.is_alive()

    def close(self) -> None:
        """Close the window and end its process. May be called more than once."""
        self._connection.close()
        self._process.join(2.0)
        if self._process.is_alive():
            self._process.terminate()
            self._process.join()


def _run(title: str, memory: Any, connection: Connection) -> None:
    """The other process: draw the newest sample until the window is closed or the driving process is gone."""
    import cv2

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C reaches both processes; the drive's end closes this one
    os.nice(NICENESS)
    cv2.setNumThreads(1)
    try:
        viewer = Viewer(title, SCENE_SIZE, take_focus=False, instead=INSTEAD)
    except UserError as error:
        connection.send((error.problem, error.remedy))
        return
    connection.send(None)
    with viewer:
        _draw_until_closed(viewer, _Shared(memory), connection)


def _draw_until_closed(viewer: Viewer, shared: _Shared, connection: Connection) -> None:
    drawn, next_s = -1, 0.0
    viewer.show(np.zeros((SCENE_SIZE[1], SCENE_SIZE[0], 3), np.uint8))
    while not viewer.closed and not connection.poll(_POLL_S):  # readable = the other end was closed
        if any(event.name in ("q", "escape") for event in viewer.events()):
            return
        now = time.monotonic()
        if now < next_s or shared.header[_VERSION] == drawn:
            continue
        sample = shared.read()
        if sample is None:
            continue
        drawn, image, inputs, header = sample
        next_s = now + 1 / DRAW_HZ
        note = "released" if header[_PAUSED] else ""
        source = Source(int(header[_SOURCE]))
        caption = Caption(header[_TIME_NS] / 1e9, int(header[_FRAMES]), source=source, note=note)
        colour = RECORDED if source is Source.TAKEOVER else PREDICTED
        viewer.show(draw_scene(image, inputs, caption, colour=colour))
