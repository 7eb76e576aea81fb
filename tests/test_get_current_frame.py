"""Grabbing a window's pixels, on real X servers with windows whose every pixel is known."""

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
from rl_utils.game_window import NotReadable
from rl_utils.get_current_frame import FrameGrabber, WindowFrames
from rl_utils.get_current_window import WindowMonitor
from rl_utils.interfaces import Frame
from tests.conftest import start_xvfb
from tests.x11_window import FIRST_ROW, ShownWindow, compositor, counter, noise, set_screen_size, until, xdotool

pytestmark = pytest.mark.x11

SIZE = (320, 240)
Start = Callable[..., None]


@pytest.fixture
def frames(x_display: str) -> Iterator[WindowFrames]:
    with WindowFrames(size=SIZE) as opened:
        yield opened


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


def test_pixels_are_exact(frames: WindowFrames) -> None:
    """A learner would see other colours than the player, or shifted ones."""
    assert frames.read() is None
    assert frames.problem == "window not found"
    with ShownWindow():
        frame = await_picture(frames)
        assert frames.problem == ""
        assert frame.image.flags.c_contiguous
        assert frame.image.flags.owndata
        info = frames.info
        assert (info.backend, info.reason) == ("xshm-window", "")
        assert (info.title, info.wm_class, info.native_size) == ("Rocket League", "x11_window", SIZE)
        assert not info.is_arena
        assert not frames.exhausted
        assert_live(frames)


def test_frames_belong_to_the_receiver(frames: WindowFrames) -> None:
    """A writer that works a little later would store the newest picture many times."""
    with ShownWindow():
        first = await_picture(frames)
        number = counter(first.image)
        until(lambda: counter(await_picture(frames).image) != number)
        assert counter(first.image) == number


def test_repeated_pictures_are_marked(frames: WindowFrames) -> None:
    """Frames captured faster than the game draws would count as new ones."""
    with ShownWindow():
        previous = await_picture(frames)
        kinds = set()

        def both_seen() -> bool:
            nonlocal previous
            frame = frames.read()
            if frame is not None:
                assert frame.duplicate == (counter(frame.image) == counter(previous.image))
                assert frame.t_ns > previous.t_ns
                kinds.add(frame.duplicate)
                previous = frame
            return kinds == {True, False}

        until(both_seen)


def test_large_window_is_shrunk(x_display: str) -> None:
    """Recordings would have the window's size instead of the one asked for."""
    with WindowFrames(size=(160, 120)) as frames, ShownWindow(size="640x480"):
        frame = until(frames.read)
        assert frame.image.shape == (120, 160, 3)
        assert frames.info.native_size == (640, 480)
        whole = noise(640, 480).reshape(120, 4, 160, 4, 3).mean((1, 3))

        def is_mean() -> bool:
            newest = frames.read()
            rows = slice(FIRST_ROW, None)
            return newest is not None and bool(np.abs(newest.image[rows] - whole[rows]).max() <= 1.5)

        until(is_mean)


@pytest.mark.parametrize("size", ["333x217", "1x1", "17x300"])
def test_odd_sizes(bare_display: str, size: str) -> None:
    """Windows of a width that is no multiple of four would come out slanted."""
    width, height = (int(n) for n in size.split("x"))
    with WindowFrames(size=(width, height)) as frames, ShownWindow(size=size):
        frame = until(frames.read)
        assert frame.image.shape == (height, width, 3)
        if height > FIRST_ROW:
            await_picture(frames)


def test_moved(frames: WindowFrames) -> None:
    """The place where the window was would be recorded."""
    with ShownWindow() as shown:
        await_picture(frames)
        for place in ((400, 300), (0, 0), (1500, 700)):
            xdotool("windowmove", shown.id, *place)
            assert_live(frames)


def test_covered_and_uncovered(frames: WindowFrames) -> None:
    """A notification or an overlay of ours over the game would end up in the recording."""
    with ShownWindow(at="100,100"):
        await_picture(frames)
        for _ in range(3):
            # Each cover is watched from before it comes until after it has gone: no frame may show any of it.
            with ShownWindow("overlay", at="150,150", size="150x100", override=1, seed=7):
                until(lambda: frames.monitor.update().covered)
                assert_live(frames)
                assert frames.monitor.window.covered
            until(lambda: not frames.monitor.update().covered)
            assert_live(frames)


def test_no_frame_ever_shows_the_cover(frames: WindowFrames) -> None:
    """One wrong frame at each coming and going of a pop-up would be learnt as the game."""
    with ShownWindow(at="100,100"):
        await_picture(frames)
        for _ in range(4):
            with ShownWindow("overlay", at="150,150", size="150x100", override=1, seed=7) as cover:
                assert_live(frames)
                cover.process.kill()
                assert_live(frames)


def test_covered_wholly(frames: WindowFrames) -> None:
    """A window behind another one is still played when focus is not required."""
    with (
        WindowFrames(size=SIZE, require_focus=False) as unfocused,
        ShownWindow(at="100,100"),
    ):
        await_picture(unfocused)
        with ShownWindow("Editor", at="50,50", size="800x600", seed=7) as editor:
            xdotool("windowactivate", "--sync", editor.id)
            until(lambda: unfocused.monitor.update().covered)
            assert_live(unfocused)
            await_problem(frames, "not focused")


@pytest.mark.parametrize("place", [(-100, 100), (100, -100), (1700, 100), (100, 950), (-50, -50)])
def test_partly_off_screen(frames: WindowFrames, place: tuple[int, int]) -> None:
    """Dragging the window over the edge would stop the recording, or record only a part."""
    with ShownWindow() as shown:
        await_picture(frames)
        xdotool("windowmove", shown.id, *place)
        until(lambda: frames.monitor.update().off_screen)
        assert_live(frames)
        xdotool("windowmove", shown.id, 200, 200)
        until(lambda: not frames.monitor.update().off_screen)
        assert_live(frames)


def test_off_screen_then_covered_on_screen(frames: WindowFrames) -> None:
    """The way back from the edge under another window is a change that no single event announces."""
    with ShownWindow() as shown, ShownWindow("overlay", at="900,500", size="500x400", override=1, seed=7):
        await_picture(frames)
        for place in ((-100, 100), (950, 520), (1800, 500), (200, 200)):
            xdotool("windowmove", shown.id, *place)
            assert_live(frames)


def test_under_a_compositor(frames: WindowFrames) -> None:
    """Most desktops have one: redirecting the game there costs it frames and gains nothing."""
    with ShownWindow() as shown:
        with compositor():
            xdotool("windowmove", shown.id, 110, 110)
            assert_live(frames)
            with ShownWindow("overlay", at="150,150", size="150x100", override=1, seed=7):
                assert_live(frames)
                assert not frames.monitor.window.covered
            for place in ((-100, -30), (200, 200)):
                xdotool("windowmove", shown.id, *place)
                until(lambda: frames.monitor.update().off_screen == (place[0] < 0))  # noqa: B023  # asked before the next turn
                assert_live(frames)
            xdotool("windowminimize", shown.id)
            await_problem(frames, "minimised")
            xdotool("windowactivate", shown.id)
            assert_live(frames)
        assert_live(frames)
        with ShownWindow("overlay", at="150,150", size="500x400", override=1, seed=7):
            until(lambda: frames.monitor.update().covered)
            assert_live(frames)


def test_with_a_border_off_screen(bare_display: str) -> None:
    """The window's own pixmap begins with its border; the picture would be shifted by it."""
    with WindowFrames(size=SIZE) as frames, ShownWindow(at="-60,40", border=7):
        until(lambda: frames.monitor.update().off_screen)
        assert_live(frames)


def test_minimised(frames: WindowFrames) -> None:
    """The last picture would be recorded over and over."""
    with ShownWindow() as shown:
        await_picture(frames)
        xdotool("windowminimize", shown.id)
        await_problem(frames, "minimised")
        xdotool("windowactivate", shown.id)
        assert_live(frames)
        with ShownWindow("overlay", at="150,150", size="150x100", override=1, seed=7):
            until(lambda: frames.monitor.update().covered)
            assert_live(frames)
            xdotool("windowminimize", shown.id)
            await_problem(frames, "minimised")
            xdotool("windowactivate", shown.id)
            assert_live(frames)


def test_resized(x_display: str) -> None:
    """A window that grows would be cut off, or its memory overrun."""
    with WindowFrames(size=SIZE) as frames, ShownWindow() as shown:
        await_picture(frames)
        for size in ((640, 480), (1280, 960), (640, 480)):
            xdotool("windowsize", shown.id, *size)
            until(lambda: frames.read() is not None and frames.info.native_size == size)  # noqa: B023  # asked before the next turn
        xdotool("windowsize", shown.id, *SIZE)
        await_live(frames)


def test_resized_while_reading(frames: WindowFrames) -> None:
    """Reading in the middle of a resize would be an error that ends the recording."""
    with ShownWindow() as shown:
        await_picture(frames)
        commands = [f"windowsize {shown.id} {300 + 7 * i} {200 + 5 * i}" for i in range(40)]
        dragging = subprocess.Popen(["xdotool", *" ".join(commands).split()])
        while dragging.poll() is None:
            frame = frames.read()
            assert frame is None or frame.image.shape == (240, 320, 3)
        assert dragging.returncode == 0
        xdotool("windowsize", shown.id, *SIZE)
        await_live(frames)


def test_closed_and_restarted(frames: WindowFrames) -> None:
    """After a crash of the game the player would have to restart the recorder too."""
    for seed in range(3):
        with ShownWindow(seed=seed):
            await_picture(frames, seed)
        await_problem(frames, "window not found")
        assert not frames.exhausted


def test_closed_and_restarted_while_covered(frames: WindowFrames) -> None:
    """What was arranged for the dead window would be taken as arranged for the new one with its id."""
    with ShownWindow("overlay", at="150,150", size="150x100", override=1, seed=7) as overlay:
        for _ in range(2):
            with ShownWindow() as shown:
                until(lambda: frames.monitor.update().id == shown.id)
                xdotool("windowmove", shown.id, 100, 100, "windowraise", overlay.id)
                until(lambda: frames.monitor.update().covered)
                assert_live(frames)
            await_problem(frames, "window not found")


def test_renamed_away_and_back(frames: WindowFrames) -> None:
    """Another program's picture would be recorded after a launcher has changed its title."""
    with ShownWindow() as shown:
        await_picture(frames)
        shown.rename("Rocket League wiki - Firefox")
        await_problem(frames, "window not found")
        shown.rename("Rocket League (64-bit, DX11, Cooked)")
        await_picture(frames)
        assert frames.info.title == "Rocket League (64-bit, DX11, Cooked)"


def test_second_window_with_the_same_title(frames: WindowFrames) -> None:
    """With arena and game both open, the one that is not played would be recorded."""
    with ShownWindow(seed=1) as first, ShownWindow(at="900,500", seed=2) as second:
        for seed, game in ((1, first), (2, second), (1, first)):
            xdotool("windowactivate", game.id)
            await_picture(frames, seed)


def test_focus_is_required_unless_told_otherwise(frames: WindowFrames) -> None:
    """What happens while the player is elsewhere would be recorded as play."""
    with (
        WindowFrames(size=SIZE, require_focus=False) as unfocused,
        ShownWindow(),
        ShownWindow("Editor", at="900,500") as editor,
    ):
        xdotool("windowactivate", editor.id)
        await_problem(frames, "not focused")
        assert_live(unfocused)


def test_without_a_window_manager(bare_display: str) -> None:
    """Servers without a screen have none, and tests and the demo run there."""
    with WindowFrames(size=SIZE) as frames, ShownWindow():
        assert_live(frames)


def test_waiting_for_the_window(frames: WindowFrames) -> None:
    """Starting the recorder before the game would not work, or not say why."""
    with pytest.raises(UserError, match="titles seen: none"):
        frames.wait_for_window(0.05)
    with ShownWindow():
        assert frames.wait_for_window(20).title == "Rocket League"


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
    with ShownWindow():
        with WindowFrames(size=SIZE) as frames:
            await_picture(frames)
        del frames
        gc.collect()
        files, segments = len(list(Path("/proc/self/fd").iterdir())), shared_segments(os.getpid())
        for _ in range(10):
            with WindowFrames(size=SIZE) as frames:
                await_picture(frames)
            frames.close()
        del frames
        gc.collect()
        assert len(list(Path("/proc/self/fd").iterdir())) == files
        assert shared_segments(os.getpid()) == segments == 0


def test_memory_outlives_the_grabber(x_display: str) -> None:
    """Looking at the last picture after closing would crash the interpreter."""
    with WindowMonitor() as monitor, ShownWindow():
        window = until(lambda: (w := monitor.update()).id and w)
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
