"""Whoever records or learns from starts that scores are made from is told."""

from __future__ import annotations

from pathlib import Path

import pytest

import collect
import eval as eval_script
import train
from tests.arena_process import running_arena
from tests.test_listeners import record_throttle

DIRECT = ["--frames", "arena", "--situation", "benchmark", "--seconds", "0.5", "--codec", "jpeg"]
KEPT = "kept for scoring"


@pytest.mark.parametrize("seed", [899_999, 900_000])
def test_recording_and_learning_in_direct_mode_say_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, seed: int
) -> None:
    """These are the very starts of a plain `arena score`, which would call the result held out."""
    told = seed == 900_000
    assert collect.main(["--out", str(tmp_path / "play"), *DIRECT, "--seed", str(seed)]) == 0
    assert (KEPT in caplog.text) == told
    caplog.clear()
    # Too short to learn from, which is found later than what it holds.
    assert train.main([str(tmp_path / "play"), "--out", str(tmp_path / "run"), "--model", "state"]) == 2
    assert (KEPT in caplog.text) == told


def test_a_recorded_drive_says_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its default starts are those of a plain `arena score`; corrections of it are what people learn from."""
    record_throttle(tmp_path / "throttle", 30)
    drive = ["--frames", "arena", "--sink", "arena", "--inputs", str(tmp_path / "throttle")]
    assert eval_script.main([*drive, "--record", str(tmp_path / "r")]) == 0
    assert KEPT in caplog.text
    caplog.clear()
    assert train.main([str(tmp_path / "r"), "--out", str(tmp_path / "run")]) == 2
    assert KEPT in caplog.text


def test_recording_an_arenas_window_says_it(
    x_display: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The window looks the same whatever its seed, and so does the recording of it."""
    socket = tmp_path / "arena.sock"
    monkeypatch.setenv("RLAI_ARENA_SOCKET", str(socket))
    with running_arena(socket, "--driver", "expert", "--situation", "benchmark", "--seed", "900003"):
        assert collect.main(["--out", str(tmp_path / "r"), "--pad", "arena", "--seconds", "1"]) == 0
    assert KEPT in caplog.text
