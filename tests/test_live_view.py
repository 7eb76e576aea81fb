"""The live view of eval.py --show: its own process, out of the driver's way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from rl_utils.controls import REST, Control
from rl_utils.errors import UserError
from rl_utils.live_view import MAX_BYTES, LiveView
from rl_utils.overlay import PREDICTED
from rl_utils.scene import PICTURE_SIZE
from tests.test_viewer import press_close_button, shown_pixels, window_id
from tests.x11_window import ShownWindow, activate, try_xdotool, until, xdotool

pytestmark = pytest.mark.x11

ROOT = Path(__file__).resolve().parent.parent


def game(width: int = 480, height: int = 270) -> np.ndarray:
    """Red left, blue right."""
    image = np.zeros((height, width, 3), np.uint8)
    image[:, : width // 2, 0] = 255
    image[:, width // 2 :, 2] = 255
    return image


def boosting() -> np.ndarray:
    inputs = REST.copy()
    inputs[Control.EAST] = 1
    inputs[Control.RIGHT_TRIGGER] = 1
    return inputs


def pressed_pixels() -> int:
    """How much of the shown pad is coloured as pressed."""
    return int((shown_pixels()[PICTURE_SIZE[1] :] == PREDICTED).all(axis=2).sum())


def test_shows_picture_and_pad_as_they_change(x_display: str) -> None:
    """The view exists to see what the bot presses at this moment."""
    with LiveView("live") as view:
        view.update(game(), REST)
        until(lambda: tuple(shown_pixels()[100, 100]) == (255, 0, 0))
        assert tuple(shown_pixels()[100, 900]) == (0, 0, 255)
        assert pressed_pixels() == 0
        view.update(game()[:, ::-1], boosting())
        until(lambda: tuple(shown_pixels()[100, 100]) == (0, 0, 255))
        until(lambda: pressed_pixels() > 500)
        view.pause()
        until(lambda: pressed_pixels() == 0)
        assert tuple(shown_pixels()[100, 100]) == (0, 0, 255)


def test_the_game_keeps_the_focus(x_display: str) -> None:
    """A view that takes the focus makes the bot let go of everything."""
    with ShownWindow("Rocket League") as other:
        activate(other.id)
        with LiveView("live") as view:
            view.update(game(), boosting())
            until(lambda: pressed_pixels() > 500)
            assert xdotool("getactivewindow") == str(other.id)


@pytest.mark.parametrize("size", [(1920, 1080), (3840, 2160), (64, 36)])
def test_pictures_of_any_size(x_display: str, size: tuple[int, int]) -> None:
    """A 4K window must not end the drive at its first frame."""
    assert MAX_BYTES < 3840 * 2160 * 3
    with LiveView("live") as view:
        view.update(game(*size), REST)
        until(lambda: tuple(shown_pixels()[100, 100]) == (255, 0, 0))
        assert tuple(shown_pixels()[100, 900]) == (0, 0, 255)


def test_closing_the_window_does_not_stop_the_drive(x_display: str) -> None:
    """A person who has seen enough closes the window; the bot drives on."""
    with LiveView("live") as view:
        view.update(game(), REST)
        press_close_button(window_id())
        until(lambda: view.closed)
        view.update(game(), boosting())
        view.pause()


def test_an_update_survives_a_frozen_view(x_display: str) -> None:
    """The driving loop must go on at its pace when the window hangs."""
    with LiveView("live") as view:
        view.update(game(), REST)
        until(lambda: tuple(shown_pixels()[100, 100]) == (255, 0, 0))
        process = view._process
        assert process.pid is not None
        os.kill(process.pid, signal.SIGSTOP)
        try:
            for _ in range(300):
                view.update(game(), boosting())
        finally:
            os.kill(process.pid, signal.SIGCONT)
        until(lambda: pressed_pixels() > 500)


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), 9)", "raise ValueError", "pass"])
def test_no_window_stays_behind(x_display: str, end: str) -> None:
    """Whatever ends the drive must end the view, or every crash leaves a window on the screen."""
    program = f"""
        import os, numpy as np
        from rl_utils.controls import REST
        from rl_utils.live_view import LiveView
        if __name__ == "__main__":
            view = LiveView("live")
            view.update(np.zeros((270, 480, 3), np.uint8), REST)
            print("shown", flush=True)
            input()
            {end}
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"shown\n"
        window_id()
        process.communicate(b"\n")
    until(lambda: not try_xdotool("search", "--class", "rlai-viewer"))


def test_ctrl_c_ends_it_without_a_traceback(x_display: str) -> None:
    """Ctrl+C reaches both processes; the view must wait for the drive to end in order."""
    program = """
        import time, numpy as np
        from rl_utils.controls import REST
        from rl_utils.live_view import LiveView
        if __name__ == "__main__":
            with LiveView("live") as view:
                view.update(np.zeros((270, 480, 3), np.uint8), REST)
                try:
                    print("shown", flush=True)
                    while True:  # signal.pause() would miss a signal that comes just before it, and wait forever
                        time.sleep(0.05)
                except KeyboardInterrupt:
                    assert not view.closed
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"shown\n"
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate()
    assert process.returncode == 0
    assert b"Traceback" not in errors


def test_no_display_is_said_before_anything_is_driven(monkeypatch: pytest.MonkeyPatch) -> None:
    """--show over ssh has to name the way on: leave it away."""
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UserError, match="leave --show away"):
        LiveView("live")


def test_a_dead_display_is_said_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other process finds out; its message has to reach the person as one line."""
    monkeypatch.setenv("DISPLAY", ":9999")
    for name in ("WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UserError, match=r"No window could be opened.*leave --show away"):
        LiveView("live")
