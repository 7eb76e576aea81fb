"""The figures of recordings, for people and programs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from rl_utils.controls import REST, Control
from rl_utils.errors import UserError
from rl_utils.inspect_recording import info_table, info_text, inspect_recording
from rl_utils.interfaces import Flag, Source
from rl_utils.recordings import open_recordings
from tests.learning_data import record
from tests.recordings_kit import pictures, record_session, vectors, write_article_file


def test_shares_add_up(tmp_path: Path) -> None:
    """Who played how much decides what a policy learns from."""
    inputs = np.tile(REST, (100, 1))
    inputs[:25, Control.LEFT_X] = 0.9
    flags = np.where(np.arange(100) < 10, Flag.PRE_TAKEOVER, 0)
    frames = pictures(range(100))
    folder = record(tmp_path, frames, inputs, flags=flags, segments=np.arange(100) // 50, source=Source.POLICY)
    (recording,) = open_recordings([folder])
    recording.source = np.repeat(np.array([Source.POLICY, Source.TAKEOVER, 9], np.uint8), [50, 30, 20])
    summary = inspect_recording(recording)
    assert summary.sources == {"policy": 0.5, "takeover": 0.3, "9": 0.2}
    assert summary.pre_takeover_share == pytest.approx(0.1)
    assert summary.segments == 2
    assert summary.verdict.idle_share == pytest.approx(0.75)
    assert summary.verdict.controls["left_x"].share == pytest.approx(0.25)
    text = info_text([summary])
    for expected in ("policy 50%, takeover 30%, 9 20%", "10.0% shortly before a takeover", "left_x         25.0%"):
        assert expected in text


def test_gaps_are_counted_and_their_length_told(tmp_path: Path) -> None:
    """Time that is missing from a recording must be visible."""
    (recording,) = open_recordings([record_session(tmp_path, 60)])
    recording.timestamps_ns = recording.timestamps_ns + np.where(np.arange(60) >= 20, 90_000_000_000, 0)
    text = info_text([inspect_recording(recording)])
    assert "1 gap (1:30.0 left out)" in text
    assert "0:02.0, 60 frames" in text


def test_size_per_hour_follows_from_the_files(tmp_path: Path) -> None:
    """GB per hour tells how long the disk will last."""
    folder = record_session(tmp_path, 90, batch_size=40)
    (recording,) = open_recordings([folder])
    summary = inspect_recording(recording)
    on_disk = sum(file.stat().st_size for file in folder.glob("*_batch.h5"))
    assert summary.files == 3
    assert summary.bytes == on_disk
    assert summary.gb_per_hour == pytest.approx(on_disk / 1e9 * 1200, rel=0.01)


@pytest.mark.parametrize("codec", ["gzip", "jpeg"])
def test_the_codec_is_told(tmp_path: Path, codec: str) -> None:
    """Lossy pictures should be known as such."""
    (recording,) = open_recordings([record_session(tmp_path, 5, codec=codec)])  # type: ignore[arg-type]
    assert inspect_recording(recording).codec == codec


def test_a_bad_recording_says_why(tmp_path: Path) -> None:
    """A verdict without its reason cannot be acted on."""
    frames = pictures(range(300))
    (recording,) = open_recordings([record(tmp_path, frames, np.tile(REST, (300, 1)))])
    text = info_text([inspect_recording(recording)])
    assert "verdict   bad" in text
    assert "- The gamepad did nothing" in text


def test_several_recordings_get_a_total(tmp_path: Path) -> None:
    """A folder of sessions is what one trains on; its sum is what counts."""
    record_session(tmp_path / "ours", 30)
    (tmp_path / "article").mkdir()
    article = tmp_path / "article" / "1700000000000_batch.h5"
    write_article_file(article, pictures(range(15)), vectors(range(15)))
    summaries = [inspect_recording(r) for r in open_recordings([tmp_path])]
    assert info_text(summaries).splitlines()[-1].startswith("2 recordings, 2 of them good: 45 frames, 0:01.5")
    table = json.loads(json.dumps(info_table(summaries), allow_nan=False))
    assert table["total"]["samples"] == 45
    assert [r["rate_hz"] is None for r in table["recordings"]] == [not s.fps_known for s in summaries]


def test_a_single_frame_is_no_division_by_zero(tmp_path: Path) -> None:
    """Someone who pressed Ctrl+C at once still gets an answer."""
    (recording,) = open_recordings([record_session(tmp_path, 1)])
    summary = inspect_recording(recording)
    assert summary.verdict.samples == 1
    json.dumps(info_table([summary]), allow_nan=False)
    assert "1 segment, 1 episode" in info_text([summary])


def test_a_file_that_vanished_meanwhile(tmp_path: Path) -> None:
    """Cleaning up while looking on is no bug of ours."""
    folder = record_session(tmp_path, 5)
    (recording,) = open_recordings([folder])
    next(folder.glob("*_batch.h5")).unlink()
    with pytest.raises(UserError, match="is gone"):
        inspect_recording(recording)
