"""The same play is never both learnt from and held out, whatever its folder is called."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import playback
import train
from rl_utils.copies import refuse_copies
from rl_utils.errors import UserError
from rl_utils.recordings import open_recordings
from tests.learning_data import marker_play, record, record_marker_play


def trimmed(recording: Path, out: Path, start: float, end: float) -> None:
    words = ["trim", str(recording), "--out", str(out), "--start", str(start), "--end", str(end)]
    assert playback.main(words) == 0


def test_a_backup_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever keeps a copy of last week's play would see a network that has learnt its examination by heart."""
    folder = record_marker_play(tmp_path / "play", 300)
    shutil.copytree(folder, tmp_path / "backup" / "last week")
    data = [str(tmp_path / "play"), str(tmp_path / "backup")]
    assert train.main([*data, "--out", str(tmp_path / "run"), "--model", "motion"]) == 2
    assert "holds the same play as" in capsys.readouterr().err
    words = [data[0], "--hold-out", data[1], "--out", str(tmp_path / "run"), "--model", "motion"]
    assert train.main(words) == 2
    assert "holds the same play as" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_parts_are_refused_where_they_overlap(tmp_path: Path) -> None:
    """Two parts of one evening may both be learnt from, but not the second between them twice."""
    folder = record_marker_play(tmp_path / "play", 600)
    trimmed(folder, tmp_path / "first", 0, 8)
    trimmed(folder, tmp_path / "second", 10, 20)
    refuse_copies(open_recordings([tmp_path / "first", tmp_path / "second"]))
    trimmed(folder, tmp_path / "between", 7.5, 9.5)
    with pytest.raises(UserError, match="are parts of one recording that overlap"):
        refuse_copies(open_recordings([tmp_path / "first", tmp_path / "between"]))
    (part,) = (tmp_path / "second").iterdir()
    trimmed(part, tmp_path / "part of a part", 2, 5)
    with pytest.raises(UserError, match="holds the same play"):
        refuse_copies(open_recordings([folder, tmp_path / "part of a part"]))


def test_other_play_of_the_same_moments_is_no_copy(tmp_path: Path) -> None:
    """Simulated time begins at the same moment in every recording, and often with the same inputs."""
    frames, inputs = marker_play(300)
    others = [marker_play(300, seed=seed)[1] for seed in (1, 2)]
    for name, play in zip("ab", others, strict=True):
        play[:40] = inputs[:40]
        record(tmp_path / name, frames, play)
    still = np.tile(inputs[:1], (300, 1))
    for name in "cd":
        record(tmp_path / name, frames, still)
    refuse_copies(open_recordings([tmp_path]))
    shutil.copytree(tmp_path / "a", tmp_path / "e")
    with pytest.raises(UserError, match="holds the same play"):
        refuse_copies(open_recordings([tmp_path]))


def test_a_run_inside_its_recordings_learns_from_no_other_rounds(tmp_path: Path) -> None:
    """`cd play; train.py . --out run` must be able to go on, and must not take its own play for yours."""
    record_marker_play(tmp_path, 300)
    record_marker_play(tmp_path / "run" / "coach" / "round1", 60, seed=1)
    everything, own = open_recordings([tmp_path]), open_recordings([tmp_path], leave_out=tmp_path / "run")
    assert [len(recording) for recording in everything] != [len(recording) for recording in own] == [300]
    shutil.rmtree(tmp_path / "run")
    words = [str(tmp_path), "--out", str(tmp_path / "run"), "--model", "motion", "--batch-size", "16", "--threads", "1"]
    assert train.main([*words, "--val-gap-s", "0.5", "--epochs", "1"]) == 0
    record_marker_play(tmp_path / "run" / "coach" / "round1", 60, seed=1)
    assert train.main([*words, "--val-gap-s", "0.5", "--epochs", "2", "--resume"]) == 0
