"""The capture benchmark compares like with like, and leaves nothing behind."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rl_utils.bench_capture import bench_capture
from rl_utils.bench_window import TITLE
from rl_utils.errors import UserError
from rl_utils.get_current_window import WindowMonitor
from tests.conftest import start_xvfb
from tests.x11_window import until

pytestmark = pytest.mark.x11

NAMES = (
    "ours, grab 1920x1080",
    "ours, shrink to 480x270",
    "ours, whole",
    "mss, our shrink",
    "mss, article's recipe",
    "mss xlib, article's recipe",
)


@pytest.mark.parametrize("screen", ["", "own"])
def test_every_contestant_is_measured(screen: str, request: pytest.FixtureRequest, monkeypatch) -> None:
    """A comparison from which the rival is missing proves nothing."""
    if screen == "own":
        request.getfixturevalue("x_display")
    else:
        monkeypatch.setenv("DISPLAY", "")
    rows = bench_capture(0.1)
    assert len(rows) == len(NAMES)
    for row, name in zip(rows, NAMES, strict=True):
        assert str(row["name"]).startswith(name)
        assert 0 < row["ms_p50"] <= row["ms_p99"]
        assert row["cpu_ms"] > 0
        assert math.isclose(row["ratio"], row["cpu_ms"] / rows[2]["cpu_ms"])
    if screen == "own":
        with WindowMonitor(f"^{TITLE}$") as monitor:
            until(lambda: monitor.update().id == 0)  # the server hears of a program's end a moment later


def test_everybody_sees_the_same_picture(bare_display: str) -> None:
    """A rival that reads another part of the screen, or black, would be measured at something else."""
    import mss

    from rl_utils.bench_capture import SIZE, _await_frame, _moving_window, article_frame
    from rl_utils.get_current_frame import WindowFrames

    with _moving_window(), WindowFrames(f"^{TITLE}$", SIZE, require_focus=False) as frames, mss.MSS() as screen:
        frames.wait_for_window(60)
        window = _await_frame(frames)
        region = {"left": window.left, "top": window.top, "width": window.width, "height": window.height}

        def alike() -> bool:
            ours, theirs = frames.read(), article_frame(screen, region)
            if ours is None or ours.image.std() <= 20:
                return False
            # The picture moves on between the two, and OpenCV's default filter is not ours.
            return bool(np.abs(ours.image.astype(int) - theirs).mean() < 4)

        until(alike, deadline_s=60)


def test_without_a_way_to_read_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that cannot be measured would print a traceback instead of the reason."""
    display, stop = start_xvfb("640x480", depth=16, window_manager=False)
    monkeypatch.setenv("DISPLAY", display)
    try:
        with pytest.raises(UserError, match="colour depth"):
            bench_capture(0.1)
    finally:
        stop()
