"""Keeping the good parts of recordings, as `playback.py trim` does it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import playback
from rl_utils.controls import REST, Control
from rl_utils.dataset import make_samples
from rl_utils.errors import UserError
from rl_utils.quality import assess_recording
from rl_utils.recordings import Recording, open_recordings
from rl_utils.session_folder import amend_session
from tests.learning_data import record
from tests.recordings_kit import SIZE, pictures, record_session, vectors, write_article_file
from tests.test_playback import error_line


def trimmed(out: Path) -> Recording:
    (recording,) = open_recordings([out])
    return recording


@pytest.mark.parametrize("codec", ["gzip", "jpeg"])
def test_what_stays_is_what_it_was(tmp_path: Path, codec: str) -> None:
    """Curating that changed a pixel, a label or a time would spoil what it is meant to improve."""
    folder = record_session(tmp_path / "all", 90, codec=codec, batch_size=40, labels_from=30, state=True)  # type: ignore[arg-type]
    before = {file: file.read_bytes() for file in folder.iterdir()}
    whole = trimmed(folder)
    times = (whole.timestamps_ns - whole.timestamps_ns[0]) / 1e9
    keep = np.flatnonzero((times >= 0.5) & ~((times >= 1.0) & (times < 1.5)) & (times < 2.8))

    arguments = ["--start", "0.5", "--end", "2.8", "--drop", "1.0-1.5"]
    assert playback.main(["trim", str(folder), "--out", str(tmp_path / "good"), *arguments]) == 0
    part = trimmed(tmp_path / "good")
    assert len(part.files) == 3
    assert part.meta["complete"]
    assert part.meta["trimmed_from"] == whole.name
    for name in ("inputs", "labels", "timestamps_ns", "inputs_ns", "episode", "source", "flags", "state"):
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[keep], err_msg=name)
    np.testing.assert_array_equal(part.read_frames(range(len(keep))), whole.read_frames(keep))
    stored = [r.batches[0].pictures.encoded(i) for r, i in ((part, 0), (whole, keep[0]))]  # type: ignore[attr-defined]
    assert stored[0] == stored[1], "a JPEG that is encoded a second time loses"
    assert part.events["value"].tolist() == (-keep).tolist()
    cut = int(np.flatnonzero(np.diff(keep) > 1)[0])
    assert part.segment[cut + 1] > part.segment[cut], "learning would join what was not played together"
    assert (np.diff(part.segment) > 0).sum() == (np.diff(whole.segment[keep]) > 0).sum() + (
        whole.segment[keep[cut]] == whole.segment[keep[cut + 1]]
    )
    assert before == {file: file.read_bytes() for file in folder.iterdir()}, "the original is untouched"


@pytest.mark.parametrize("off_centre", [0.0, 0.06])
def test_idle_time_goes(tmp_path: Path, off_centre: float) -> None:
    """Minutes in a menu teach a bot to stand still, also where a worn stick does not rest at its centre."""
    inputs = np.tile(REST, (100, 1))
    inputs[:, Control.RIGHT_Y] += off_centre
    inputs[20:40, Control.RIGHT_TRIGGER] = 1.0
    inputs[80, Control.LEFT_X] = 0.9
    folder = record(tmp_path / "all", np.zeros((100, 27, 48, 3), np.uint8), inputs, fps=10)
    assert playback.main(["trim", str(folder), "--out", str(tmp_path / "good"), "--drop-idle", "1"]) == 0
    whole, part = trimmed(folder), trimmed(tmp_path / "good")
    kept = np.flatnonzero(np.isin(whole.timestamps_ns, part.timestamps_ns)).tolist()
    assert kept == [*range(11), *range(20, 50), *range(80, 91)]
    assert len(np.unique(part.segment)) == 3


def test_a_part_is_judged_by_itself(tmp_path: Path) -> None:
    """Where the disk was too slow for a moment, what is cut out elsewhere would be bad for ever."""
    folder = record_session(tmp_path / "all", 90)
    amend_session(folder, {"dropped": 7, "discarded": 5, "bytes_written": 12345, "verdict": {"good": False}})
    assert assess_recording(trimmed(folder)).dropped == 7
    assert playback.main(["trim", str(folder), "--out", str(tmp_path / "good"), "--start", "1"]) == 0
    part = trimmed(tmp_path / "good")
    assert part.meta["trimmed_from"] == folder.name
    assert not {"dropped", "discarded", "bytes_written", "verdict"} & set(part.meta)
    assert not any("dropped" in reason for reason in assess_recording(part).reasons)


def test_the_articles_files_become_a_session(tmp_path: Path) -> None:
    """Old recordings are worth curating, too."""
    (tmp_path / "old").mkdir()
    write_article_file(tmp_path / "old" / "1700000000000_batch.h5", pictures(range(60)), vectors(range(60)))
    assert playback.main(["trim", str(tmp_path / "old"), "--out", str(tmp_path / "good"), "--end", "0.99"]) == 0
    part = trimmed(tmp_path / "good")
    assert not part.is_article
    assert part.size == SIZE
    assert len(part) == 30
    np.testing.assert_array_equal(part.read_frames(range(30)), pictures(range(30)))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Nothing is to be left out"),
        (["--drop", "5"], "5 is not a stretch of time"),
        (["--drop", "9-3"], "9-3 is not a stretch of time"),
        (["--start", "3", "--end", "2"], "is not after --start"),
        (["--start", "100"], "Nothing of the 3.0 s would stay"),
        (["--drop", "0-1", "50-60"], "50-60 is after the end at 3.0 s"),
    ],
)
def test_mistakes_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    """A slip of the keyboard must not produce an empty session, or a copy."""
    folder = record_session(tmp_path / "all", 90)
    assert playback.main(["trim", str(folder), "--out", str(tmp_path / "good"), *arguments]) == 2
    assert said in error_line(capsys)
    assert not (tmp_path / "good").exists()


def test_a_part_is_never_learnt_from_beside_the_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is held out of one would be in the other, and the network would look better than it is."""
    folder = record_session(tmp_path / "all", 90)
    for out in (tmp_path / "all", folder / "good", tmp_path):
        assert playback.main(["trim", str(tmp_path / "all"), "--out", str(out), "--start", "1"]) == 2
        assert "would see both" in error_line(capsys)
    assert playback.main(["trim", str(folder), "--out", str(tmp_path / "good"), "--start", "1"]) == 0
    recordings = open_recordings([tmp_path])
    assert len(recordings) == 2
    with pytest.raises(UserError, match="is a part of"):
        make_samples(recordings, val_share=0.1, val_gap_s=0.1, action_shift_ms=0, seed=0)


def test_a_damaged_picture_leaves_no_half_session(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Half a session would look like a whole one later."""
    folder = record_session(tmp_path / "all", 60)
    recording = trimmed(folder)
    file = recording.files[0]
    damaged = bytearray(file.read_bytes())
    place = bytes(damaged).find(recording.batches[0].pictures.encoded(40))  # type: ignore[attr-defined]
    damaged[place + 10 : place + 60] = bytes(50)
    file.write_bytes(damaged)
    assert playback.main(["trim", str(folder), "--out", str(tmp_path / "good"), "--start", "1"]) == 2
    assert "picture 40 cannot be read" in error_line(capsys)
    assert list((tmp_path / "good").iterdir()) == []
