"""Recording under Wayland: a real compositor (sway) with its XWayland, in which Proton's games live."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import mss
import numpy as np
import pytest

import collect
from rl_utils.doctor import check_display
from rl_utils.errors import UserError
from rl_utils.get_current_frame import WindowFrames
from rl_utils.recordings import open_recordings
from tests.sway import running_sway, sway_command
from tests.window_frames import SIZE, assert_live, await_picture, await_problem
from tests.x11_window import ShownWindow

pytestmark = pytest.mark.x11


@pytest.fixture
def wayland(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with running_sway() as session:
        for name, value in session.items():
            monkeypatch.setenv(name, value)
        yield


def test_a_game_under_xwayland_is_recorded_live(
    wayland: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Most desktops are Wayland now, and there a grab of the screen is black without any error."""
    with ShownWindow():
        size = f"{SIZE[0]}x{SIZE[1]}"
        options = ["--pad", "none", "--size", size, "--seconds", "6", "--wait", "60"]
        assert collect.main(["--out", str(tmp_path), *options]) == 0
        with mss.MSS() as screen:
            shot = np.asarray(screen.grab(screen.monitors[0]))[..., :3]
        assert not shot.any(), "the screen has pixels here: then nothing was proved about capturing without it"
        assert "Wayland session" in check_display().detail
    assert "by xshm-window," in capsys.readouterr().err
    [recording] = open_recordings([tmp_path])
    assert len(recording) == 180
    pictures = [recording.frame(i) for i in range(len(recording))]
    assert all(picture.mean() > 50 for picture in pictures)
    assert len({picture.tobytes() for picture in pictures}) > 10, "a still, not a film"


def test_to_the_last_bit_and_only_while_it_is_focused(wayland: None) -> None:
    """Colours could be shifted, and another workspace's work would count as play."""
    with WindowFrames(size=SIZE) as frames:
        with ShownWindow():
            await_picture(frames)
            assert_live(frames)
            with ShownWindow("Editor", seed=7):
                await_problem(frames, "not focused")
            assert_live(frames)
            sway_command("workspace", "2")
            await_problem(frames, "not focused")
            sway_command("workspace", "1")
            assert_live(frames)
        await_problem(frames, "window not found")
        with ShownWindow(seed=3):
            await_picture(frames, 3)


def test_where_no_memory_can_be_shared_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Falling back to the screen would record black for hours."""
    wrapper = tmp_path / "xwayland"
    wrapper.write_text('#!/bin/sh\nexec Xwayland -extension MIT-SHM "$@"\n')
    wrapper.chmod(0o755)
    with running_sway(WLR_XWAYLAND=str(wrapper)) as session:
        for name, value in session.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(UserError, match="cannot be read in this Wayland session"):
            WindowFrames()


def test_a_window_that_is_no_x_window_is_explained(wayland: None) -> None:
    """A game that was told to be a Wayland one would just not be found."""
    command = [sys.executable, "collect.py", "--out", "x", "--pad", "none", "--wait", "0.1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "remove PROTON_ENABLE_WAYLAND=1" in done.stderr
