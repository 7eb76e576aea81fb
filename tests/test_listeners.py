"""What listens to a drive, where machine or disk cannot keep up: nothing is lost in silence or left unfinished."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rl_utils.controls import REST
from rl_utils.interfaces import Flag, Frame, FrameInfo, Inputs, Source
from rl_utils.listeners import PRE_TAKEOVER_S, DriveRecorder
from rl_utils.recordings import open_recordings

WINDOW = FrameInfo("window", native_size=(1280, 720))
PICTURE = np.zeros((720, 1280, 3), np.uint8)


def test_what_led_to_a_takeover_is_stored_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Everything before it is handed on at once: of large pictures, those that matter most were dropped."""
    fps = 30.0
    with DriveRecorder(tmp_path, WINDOW, fps=fps, block=False) as recorder:
        for tick in range(round(PRE_TAKEOVER_S * fps) + 1):
            source = Source.TAKEOVER if tick == PRE_TAKEOVER_S * fps else Source.POLICY
            recorder.on_tick(Frame(PICTURE, round(tick / fps * 1e9)), Inputs(REST, source=source), 0)
    [driven] = open_recordings([tmp_path])
    with driven:
        assert np.count_nonzero(driven.flags & Flag.PRE_TAKEOVER) == 45
        assert len(driven) == 46
    assert "could not be stored" not in capsys.readouterr().err


def test_what_was_dropped_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A recording with holes would be taken for a whole one."""
    with DriveRecorder(tmp_path, WINDOW, fps=1.0, block=False) as recorder:
        for tick in range(200):  # far more than the rate that room was made for
            recorder.on_tick(Frame(PICTURE, tick * 1_000_000), Inputs(REST, source=Source.TAKEOVER), 0)
    [driven] = open_recordings([tmp_path])
    with driven:
        dropped = driven.meta["dropped"]
        assert dropped + len(driven) == 200
    assert dropped
    assert f"{dropped} frames could not be stored in time." in capsys.readouterr().err
