"""A real 3D game in its own window: ViZDoom, played at random, recorded by collect.py."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import collect
from rl_utils.recordings import open_recordings
from tests.conftest import ROOT


@pytest.mark.x11
def test_a_real_game_is_recorded(x_display: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Everything would work with windows of our own, and fail with the first game that draws through SDL."""
    # It writes its settings into the folder that it runs in.
    command = [sys.executable, str(ROOT / "tests" / "vizdoom_game.py")]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, start_new_session=True) as game:
        try:
            assert game.stdout is not None
            assert game.stdout.readline() == b"playing\n"
            options = ["--window", "^VIZDOOM", "--pad", "none", "--seconds", "8", "--wait", "60"]
            assert collect.main(["--out", str(tmp_path / "out"), *options]) == 0
        finally:
            os.killpg(game.pid, signal.SIGKILL)  # the engine is a process of its own
    assert "by xshm-window," in capsys.readouterr().err
    [recording] = open_recordings([tmp_path / "out"])
    window = json.loads((recording.path / "session.json").read_text())["window"]
    assert window["native_size"] == [640, 480]
    pictures = recording.read_frames(np.arange(len(recording)))
    assert pictures.shape == (240, 270, 480, 3)
    assert pictures.reshape(240, -1).std(1).min() > 10, "a picture without a scene"
    moved = (pictures[1:] != pictures[:-1]).any((1, 2, 3))
    assert moved.sum() > 30, "a busy machine draws fewer pictures, but never a still"
    assert np.array_equal(~moved, (recording.flags[1:] & 2) > 0)
