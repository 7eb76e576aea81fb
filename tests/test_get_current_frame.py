"""Grabbing a window's pixels whatever happens to it, on real X servers with windows whose every pixel is known."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from rl_utils.errors import UserError
from rl_utils.game_window import GameWindow
from rl_utils.get_current_frame import SLOW_READ, FrameGrabber, WindowFrames
from rl_utils.interfaces import Frame
from tests.window_frames import SIZE, assert_live, await_live, await_picture, await_problem
from tests.x11_window import FIRST_ROW, ShownWindow, activate, compositor, counter, noise, until, xdotool

pytestmark = pytest.mark.x11


@pytest.fixture
def frames(x_display: str) -> Iterator[WindowFrames]:
    with WindowFrames(size=SIZE) as opened:
        yield opened


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


def test_what_befalls_windows_is_told_with_the_pixels(frames: WindowFrames) -> None:
    """Pixels of a window that came in front, or of another one with the focus, would be taken for the game's."""
    with ShownWindow() as shown, FrameGrabber(frames.monitor.server) as grabber:
        await_picture(frames)
        window = frames.monitor.window

        def told() -> bool:
            grabber.grab(window)
            return not grabber.undisturbed()

        until(lambda: not told())
        with ShownWindow("overlay", at="0,0", override=1):
            assert told(), "an overlay was mapped before these pixels were read"
        with ShownWindow("other"):
            until(lambda: frames.read() is None)  # it has the focus by now
            assert told()
        until(lambda: not told())
        xdotool("windowmove", shown.id, 70, 90)
        until(told)


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
            activate(editor.id)
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
                xdotool("windowmove", shown.id, 100, 100)
                # Again and again: the window manager may raise the new window a little later.
                until(lambda: xdotool("windowraise", overlay.id) or frames.monitor.update().covered)
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
        assert frames.wait_for_window(60).title == "Rocket League"


def test_a_reading_that_took_too_long_is_repeated(frames: WindowFrames, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pixels read long after their time would be paired with inputs of another moment."""
    slept_until = readings = 0
    grab = FrameGrabber.grab

    def after_a_nap(self: FrameGrabber, window: GameWindow) -> NDArray[np.uint8]:
        nonlocal slept_until, readings
        readings += 1
        if readings == 1:
            time.sleep(0.5 + SLOW_READ * frames._usual_read_ns / 1e9)
            slept_until = time.monotonic_ns()
        return grab(self, window)

    def newly_read() -> Frame | None:
        nonlocal readings
        readings = 0
        frame = frames.read()
        return frame if readings else None  # else nothing was drawn since the picture before

    with ShownWindow():
        assert_live(frames)
        monkeypatch.setattr(FrameGrabber, "grab", after_a_nap)
        frame = until(newly_read)
        assert readings == 2
        assert frame.t_ns >= slept_until
