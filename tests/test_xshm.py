"""Grabbing on X servers of every kind: without extensions, in containers, over the network, going away."""

from __future__ import annotations

import gc
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from rl_utils.errors import UserError
from rl_utils.game_window import NotReadable, WindowState
from rl_utils.get_current_frame import FrameGrabber, WindowFrames
from rl_utils.get_current_window import WindowMonitor
from tests.conftest import start_xvfb
from tests.window_frames import SIZE, assert_live, await_live, await_picture, await_problem
from tests.x11_window import ShownWindow, set_screen_size, until, xdotool

pytestmark = pytest.mark.x11

Start = Callable[..., None]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Start X servers of the test's own making and set DISPLAY."""
    stops: list[Callable[[], None]] = []
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)

    def begin(**how: object) -> None:
        display, stop = start_xvfb(**how)
        stops.append(stop)
        monkeypatch.setenv("DISPLAY", display)

    yield begin
    for stop in stops:
        stop()


@pytest.mark.parametrize("backend", ["xshm-window", "mss"])
def test_the_server_goes_away(monkeypatch: pytest.MonkeyPatch, backend: str) -> None:
    """Logging out while recording would lose the way to a clean end."""
    display, stop = start_xvfb(options=("-extension", "MIT-SHM") if backend == "mss" else ())
    monkeypatch.setenv("DISPLAY", display)
    with WindowFrames(size=SIZE) as frames, FrameGrabber(frames.monitor.server) as grabber, ShownWindow():
        window = await_picture(frames) and frames.monitor.window
        assert grabber.backend == backend
        stop()
        with pytest.raises((UserError, NotReadable)):
            grabber.grab(window)  # the case that it goes between following and grabbing
        for _ in range(3):
            with pytest.raises(UserError, match="is gone"):
                frames.read()
        assert frames.info.title == "Rocket League"


def test_no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over ssh, a traceback of a library would be all that one sees."""
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(UserError, match="DISPLAY is not set"):
        WindowFrames()


def test_mss_where_the_server_has_no_shm(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    """Recording would be slow, or impossible, without any hint of the reason."""
    start(options=("-extension", "MIT-SHM"))
    with (
        caplog.at_level(logging.INFO, "rl_utils.get_current_frame"),
        WindowFrames(size=SIZE) as frames,
        ShownWindow() as shown,
    ):
        assert_live(frames)
        assert frames.info.backend == "mss"
        assert frames.info.reason == "MIT-SHM cannot be used: the X server does not offer it"
        assert frames.info.reason in caplog.text
        with ShownWindow("overlay", at="0,0", size="1900x1000", override=1, seed=7):
            await_problem(frames, "covered by another window")
        assert_live(frames)
        xdotool("windowmove", shown.id, -50, 100)
        await_problem(frames, "partly off-screen")
        xdotool("windowmove", shown.id, 500, 100)
        assert_live(frames)


def other_ipc_namespace() -> tuple[str, ...]:
    """A command that runs a server as containers do: it sees none of our SysV memory."""
    command = ("unshare", "--ipc") if os.geteuid() == 0 else ("unshare", "--user", "--map-current-user", "--ipc")
    able = shutil.which("unshare") and subprocess.run([*command, "true"], capture_output=True, check=False)
    if not able or able.returncode:
        pytest.skip("needs an IPC namespace: run the tests as root, or allow user namespaces (sysctl user.max_*)")
    return command


def test_memfd_where_the_server_is_in_a_container(start: Start) -> None:
    """In a container, frames would be all zeros or somebody else's memory."""
    start(prefix=other_ipc_namespace())
    with WindowFrames(size=SIZE) as frames, ShownWindow() as shown:
        assert_live(frames)
        assert frames.info.backend == "xshm-window-memfd"
        assert frames.info.reason.startswith("SysV shared memory was refused (")
        xdotool("windowsize", shown.id, 1280, 960)
        until(lambda: frames.read() is not None and frames.info.native_size == (1280, 960))
        xdotool("windowsize", shown.id, *SIZE, "windowmove", shown.id, -50, 20)
        await_live(frames)


def test_mss_where_no_memory_can_be_shared(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """A display over the network would end in an error about file descriptors."""
    start(prefix=other_ipc_namespace(), options=("-listen", "tcp", "-ac"), window_manager=False)
    monkeypatch.setenv("DISPLAY", "127.0.0.1" + os.environ["DISPLAY"])
    with WindowFrames(size=SIZE) as frames, ShownWindow():
        assert_live(frames)
        assert frames.info.backend == "mss"
        assert "SysV shared memory was refused" in frames.info.reason
        assert "memfd" in frames.info.reason


def test_covered_without_composite(start: Start) -> None:
    """Servers without that extension cannot give a covered window's pixels, and must not give the cover's."""
    start(options=("-extension", "Composite"))
    with WindowFrames(size=SIZE) as frames, ShownWindow():
        assert_live(frames)
        with ShownWindow("overlay", at="0,0", size="1900x1000", override=1, seed=7):
            until(lambda: frames.read() is None and "covered" in frames.problem)
        assert_live(frames)


@pytest.mark.parametrize("depth", [16, 30])
def test_other_colour_depths_are_refused(start: Start, depth: int) -> None:
    """Colours of a 30 bit screen would be stored as noise."""
    start(depth=depth, window_manager=False)
    with (
        WindowFrames(size=SIZE) as frames,
        ShownWindow(plain=1),
        pytest.raises(UserError, match=f"colour depth of {depth} bits"),
    ):
        until(frames.read)


def test_screen_grows_under_mss(start: Start) -> None:
    """A monitor that is plugged in while recording would end it."""
    start(options=("-extension", "MIT-SHM"), window_manager=False)
    set_screen_size(640, 480)
    with WindowFrames(size=SIZE) as frames, ShownWindow(at="10,10") as shown:
        assert_live(frames)
        set_screen_size(1920, 1080)
        xdotool("windowmove", shown.id, 900, 600, "windowsize", shown.id, 1000, 460)
        until(lambda: frames.read() is not None and frames.info.native_size == (1000, 460))
        xdotool("windowsize", shown.id, *SIZE)
        await_live(frames)


def shared_segments(pid: int) -> int:
    """How many SysV segments exist that this process has made."""
    rows = [line.split() for line in Path("/proc/sysvipc/shm").read_text().splitlines()]
    return [row[rows[0].index("cpid")] for row in rows[1:]].count(str(pid))


def test_nothing_is_left_behind(x_display: str) -> None:
    """A day of starting and stopping would use up shared memory and file descriptors."""
    gc.collect()
    earlier = shared_segments(os.getpid())  # what is in use where a loop begins (`gc.freeze`) may outlive its test
    with ShownWindow():
        with WindowFrames(size=SIZE) as frames:
            await_picture(frames)
        del frames
        gc.collect()
        files = len(list(Path("/proc/self/fd").iterdir()))
        for _ in range(10):
            with WindowFrames(size=SIZE) as frames:
                await_picture(frames)
            frames.close()
        del frames
        gc.collect()
        assert len(list(Path("/proc/self/fd").iterdir())) == files
        until(lambda: shared_segments(os.getpid()) <= earlier)  # the server lets go of them a moment later


def test_memory_outlives_the_grabber(x_display: str) -> None:
    """Looking at the last picture after closing would crash the interpreter."""
    with WindowMonitor() as monitor, ShownWindow():
        window = until(lambda: (w := monitor.update()).state is WindowState.FOCUSED and w)
        grabber = FrameGrabber(monitor.server)
        grabbed: list[np.ndarray] = [grabber.grab(window)]
        while not grabbed[-1][..., :3].any():
            grabbed.append(grabber.grab(window))
        pixels = grabbed[-1]
        grabber.close()
        grabber.close()
        del grabber
        gc.collect()
        assert pixels.shape == (240, 320, 4)
        assert int(pixels.astype(np.int64).sum()) > 0


def test_killed_recorder_leaves_no_shared_memory(x_display: str) -> None:
    """After a crash, memory would stay taken until the next restart of the machine."""
    code = (
        "import os, signal\n"
        "from rl_utils.get_current_frame import WindowFrames\n"
        "frames = WindowFrames()\n"
        "assert ' %d ' % os.getpid() in open('/proc/sysvipc/shm').read()\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.Popen([sys.executable, "-c", code])
    assert killed.wait() == -signal.SIGKILL
    until(lambda: shared_segments(killed.pid) == 0)
