"""Reading recordings: ours and the article's, whole folders, from several threads, and what cannot be read."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest

from rl_utils.controls import N_CONTROLS, REST, Control, swap_face_buttons
from rl_utils.errors import UserError
from rl_utils.interfaces import Source
from rl_utils.recordings import open_recordings
from tests.conftest import without_root
from tests.recordings_kit import SIZE, picture, pictures, record_session, sample, vectors, write_article_file

GOLDEN = Path(__file__).parent / "golden"


def test_everything_recorded_comes_back(tmp_path: Path) -> None:
    """Training pairs pictures with inputs by position; a shift by one would teach late reactions."""
    folder = record_session(tmp_path, 45, batch_size=20, labels_from=0, state=True)
    with open_recordings([folder])[0] as recording:
        assert len(recording) == 45
        assert len(recording.files) == 3
        assert (recording.path, recording.name, recording.fps, recording.size) == (folder, folder.name, 30, SIZE)
        assert recording.fps_known
        assert not recording.is_article
        assert recording.meta["pad"]["name"] == "Test pad"
        assert np.array_equal(recording.inputs, vectors(range(45)))
        assert np.array_equal(recording.labels, vectors(range(1000, 1045)))
        assert recording.timestamps_ns.tolist() == [sample(i)[0].t_ns for i in range(45)]
        assert recording.inputs_ns.tolist() == [sample(i)[1].t_ns for i in range(45)]
        assert recording.segment.tolist() == [i // 20 for i in range(45)]
        assert recording.episode.tolist() == [i // 10 for i in range(45)]
        assert recording.source.tolist() == [Source.HUMAN] * 45
        assert recording.flags.tolist() == [i % 2 for i in range(45)]
        assert recording.events["value"].tolist() == [-i for i in range(45)]
        assert np.array_equal(recording.frame(44), picture(44))


@pytest.mark.parametrize("codec", ["gzip", "jpeg"])
def test_frames_are_read_in_any_order_across_files(tmp_path: Path, codec: str) -> None:
    """A shuffled batch that mixes up pictures would make the data useless without an error."""
    folder = record_session(tmp_path, 30, batch_size=7, codec=codec)
    (recording,) = open_recordings([folder])
    order = [29, 0, 7, 6, 13, 13, 14, -1]
    read = recording.read_frames(order)
    assert read.dtype == np.uint8
    expected = pictures([29, 0, 7, 6, 13, 13, 14, 29])
    assert np.abs(read.astype(int) - expected).mean() < (3 if codec == "jpeg" else 1e-9)
    assert recording.read_frames([]).shape == (0, SIZE[1], SIZE[0], 3)
    read[:] = 0  # the receiver owns it


@pytest.mark.parametrize("codec", ["gzip", "jpeg", "article"])
def test_threads_read_at_the_same_time(tmp_path: Path, codec: str) -> None:
    """The loader's threads share one recording; a shared file position would swap their pictures."""
    if codec == "article":
        write_article_file(tmp_path / "1_batch.h5", pictures(range(60)), vectors(range(60)))
    else:
        record_session(tmp_path, 60, batch_size=25, codec=codec)
    (recording,) = open_recordings([tmp_path])
    expected = recording.read_frames(range(60))
    orders = [np.random.default_rng(seed).permutation(60) for seed in range(16)]
    with ThreadPoolExecutor(8) as pool:
        for order, read in zip(orders, pool.map(recording.read_frames, orders), strict=True):
            assert np.array_equal(read, expected[order])


@pytest.mark.parametrize("index", [5, -6, 1000])
def test_a_sample_that_is_not_there_is_an_index_error(tmp_path: Path, index: int) -> None:
    """Wrapping around silently would pair the last inputs with the first picture."""
    record_session(tmp_path, 5)
    (recording,) = open_recordings([tmp_path])
    with pytest.raises(IndexError):
        recording.frame(index)


def test_folders_of_sessions_are_searched_and_nothing_is_opened_twice(tmp_path: Path) -> None:
    """Data counted twice would weigh twice, and end up in both training and validation."""
    first = record_session(tmp_path / "monday", 3)
    second = record_session(tmp_path / "deep" / "down", 4, size=(64, 32), fps=60)
    recordings = open_recordings([tmp_path, first, next(second.glob("*_batch.h5"))])
    assert [(len(r), r.size, r.fps) for r in recordings] == [(4, (64, 32), 60), (3, SIZE, 30)]


def test_a_single_batch_file_is_a_recording(tmp_path: Path) -> None:
    """Looking at one file of a long session should not need the rest of it."""
    folder = record_session(tmp_path, 20, batch_size=10)
    second = sorted(folder.glob("*_batch.h5"))[1]
    (recording,) = open_recordings([second])
    assert len(recording) == 10
    assert recording.name == second.stem
    assert recording.meta["id"] == folder.name
    assert np.array_equal(recording.frame(0), picture(10))


def test_files_follow_their_numbers_not_their_letters(tmp_path: Path) -> None:
    """999_batch.h5 was recorded before 1000_batch.h5."""
    write_article_file(tmp_path / "1000_batch.h5", pictures([2, 3]), vectors([2, 3]))
    write_article_file(tmp_path / "999_batch.h5", pictures([0, 1]), vectors([0, 1]))
    (recording,) = open_recordings([tmp_path])
    assert np.array_equal(recording.inputs, vectors(range(4)))
    assert np.array_equal(recording.read_frames(range(4)), pictures(range(4)))


def test_the_articles_files_open(tmp_path: Path) -> None:
    """People who followed the article keep their hours of recordings."""
    size = (480, 270)
    for k in range(2):
        indices = range(20 * k, 20 * k + 20)
        write_article_file(tmp_path / f"{1700000000000 + k}_batch.h5", pictures(indices, size), vectors(indices))
    with h5py.File(tmp_path / "1700000000000_batch.h5") as file:
        assert file["frames"].chunks[0] > 1  # h5py's choice, as in the article's files
    (recording,) = open_recordings([tmp_path])
    assert recording.is_article
    assert (recording.fps, recording.fps_known, recording.size, len(recording)) == (30, False, size, 40)
    assert np.array_equal(recording.inputs, vectors(range(40)))
    assert recording.labels is recording.inputs
    assert recording.segment.tolist() == [0] * 20 + [1] * 20
    assert np.allclose(np.diff(recording.timestamps_ns), 1e9 / 30, atol=1)
    assert np.array_equal(recording.read_frames([39, 3, 21]), pictures([39, 3, 21], size))
    assert recording.state is None
    assert len(recording.events) == 0


def test_an_article_files_chunks_are_decoded_once(tmp_path: Path) -> None:
    """Decoding 122 MB for every single picture would make the article's files unusable."""
    path = tmp_path / "1_batch.h5"
    write_article_file(path, pictures(range(16), (160, 90)), vectors(range(16)))
    (recording,) = open_recordings([path])
    with h5py.File(path) as file:
        together = file["frames"].chunks[0]
    assert together > 1
    assert np.array_equal(recording.frame(0), picture(0, (160, 90)))
    path.unlink()
    assert np.array_equal(recording.frame(together - 1), picture(together - 1, (160, 90)))
    recording.close()
    with pytest.raises(UserError, match="cannot be read"):
        recording.frame(0)


def test_older_article_files_open(tmp_path: Path) -> None:
    """Grey and 180×320 recordings exist; pictures are RGB for every reader."""
    grey = pictures(range(4), (480, 270))[..., 0]
    write_article_file(tmp_path / "1_batch.h5", grey, vectors(range(4)))
    write_article_file(tmp_path / "2_batch.h5", pictures(range(6), (320, 180)), vectors(range(6)))
    first, second = open_recordings([tmp_path])
    assert np.array_equal(first.frame(2), np.repeat(grey[2][..., None], 3, axis=2))
    assert (first.size, second.size, len(second)) == ((480, 270), (320, 180), 6)
    assert np.array_equal(second.frame(5), picture(5, (320, 180)))


def test_pad_profiles_move_the_articles_controls_to_their_positions(tmp_path: Path) -> None:
    """The article stored evdev's names; on an Xbox pad they exchange ball camera and powerslide."""
    path = tmp_path / "1_batch.h5"
    write_article_file(path, pictures(range(8)), vectors(range(8)))
    stored = vectors(range(8))
    assert np.array_equal(open_recordings([path], pad_profile="playstation")[0].inputs, stored)
    assert np.array_equal(open_recordings([path], pad_profile="xpad")[0].inputs, swap_face_buttons(stored))
    generic = open_recordings([path], pad_profile="playstation-generic")[0].inputs
    assert np.array_equal(generic[:, Control.SOUTH], stored[:, Control.EAST])
    assert np.array_equal(generic[:, Control.RIGHT_X], stored[:, Control.LEFT_TRIGGER])
    assert (generic[:, Control.SELECT] == REST[Control.SELECT]).all()  # the article did not read that code
    nintendo = open_recordings([path], pad_profile="nintendo")[0].inputs
    assert (nintendo[:, Control.LEFT_TRIGGER] == 0).all()
    with pytest.raises(UserError, match="Choose xpad, playstation"):
        open_recordings([path], pad_profile="keyboard")


def test_our_files_ignore_the_pad_profile(tmp_path: Path) -> None:
    """They are in physical positions already; swapping them again would undo that."""
    record_session(tmp_path, 3)
    (recording,) = open_recordings([tmp_path], pad_profile="xpad")
    assert np.array_equal(recording.inputs, vectors(range(3)))


def test_repacked_files_open(tmp_path: Path) -> None:
    """h5repack and other tools may store the same data in another layout."""
    path = next(record_session(tmp_path, 9).glob("*_batch.h5"))
    with h5py.File(path, "r+") as file:
        data = file["frames"][:]
        del file["frames"]
        file.create_dataset("frames", data=data, chunks=(1, *data.shape[1:]), compression="gzip", shuffle=True)
    assert np.array_equal(open_recordings([path])[0].read_frames(range(9)), pictures(range(9)))
    with h5py.File(path, "r+") as file:
        del file["frames"]
        file.create_dataset("frames", data=data)
    assert np.array_equal(open_recordings([path])[0].read_frames(range(9)), pictures(range(9)))


def test_an_unfinished_file_is_left_out_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """After a crash the rest of the session must still open, and the person must learn what is missing."""
    folder = record_session(tmp_path, 20, batch_size=10)
    last = sorted(folder.glob("*_batch.h5"))[1]
    last.rename(last.with_name(last.name + ".part"))
    with caplog.at_level(logging.WARNING):
        (recording,) = open_recordings([tmp_path])
    assert len(recording) == 10
    assert "collect.py" in caplog.text
    next(folder.glob("*_batch.h5")).unlink()
    with pytest.raises(UserError, match=r"only the unfinished .*collect\.py --out"):
        open_recordings([tmp_path])


def test_a_damaged_picture_is_named(tmp_path: Path) -> None:
    """One bad sector must not feed noise into training, nor hide which file to replace."""
    path = next(record_session(tmp_path, 9).glob("*_batch.h5"))
    with h5py.File(path) as file:
        chunk = file["frames"].id.get_chunk_info(4)
    with path.open("r+b") as file:
        file.seek(chunk.byte_offset + chunk.size // 2)
        file.write(os.urandom(20))
    (recording,) = open_recordings([path])
    recording.frame(3)
    with pytest.raises(UserError, match="picture 4 cannot be read"):
        recording.read_frames(range(9))


def edit(path: Path, change: Callable[[h5py.File], None]) -> None:
    with h5py.File(path, "r+") as file:
        change(file)


def replace(name: str, data: np.ndarray) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[name]
        file[name] = data

    return change


def grouped(name: str) -> Callable[[Path], None]:
    """Put a group where a dataset belongs."""

    def change(file: h5py.File) -> None:
        if name in file:
            del file[name]
        file.create_group(name)

    return lambda path: edit(path, change)


def emptied(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        for name in list(file):
            file[name].resize(0, axis=0)


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: path.unlink(), "does not exist"),
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
    "no HDF5": (lambda path: path.write_bytes(b"hello" * 100), "is no HDF5 file"),
    "truncated": (lambda path: os.truncate(path, path.stat().st_size // 2), "is truncated"),
    "foreign": (lambda path: shutil.copy(foreign(path.parent), path), "holds weights instead of frames and inputs"),
    "no inputs": (lambda path: edit(path, lambda f: f.__delitem__("inputs")), "instead of frames and inputs"),
    "no times": (lambda path: edit(path, lambda f: f.__delitem__("timestamps_ns")), "timestamps_ns is missing"),
    "no samples": (emptied, "holds no sample"),
    "short inputs": (lambda path: edit(path, replace("inputs", vectors(range(3)))), "rows for 3 inputs"),
    "more frames": (lambda path: edit(path, replace("frames", pictures(range(9)))), "9 frames for 5 inputs"),
    "float frames": (
        lambda path: edit(path, replace("frames", pictures(range(5)).astype(np.float32))),
        "frames are float32",
    ),
    "20 controls": (lambda path: edit(path, replace("inputs", np.zeros((5, 20), np.float32))), r"instead of float32"),
    "raw axes": (lambda path: edit(path, replace("inputs", vectors(range(5)) * 255)), "instead of 0 to 1"),
    "NaN": (lambda path: edit(path, replace("inputs", np.full((5, N_CONTROLS), np.nan, "f4"))), "no numbers in 5 of 5"),
    **{
        f"{name} is a group": (grouped(name), f"{name} is a group instead of a dataset")
        for name in ("frames", "inputs", "segment", "labels", "state", "events")
    },
    "one number": (lambda path: edit(path, replace("segment", np.array(1))), "segment has no rows"),
    "other events": (lambda path: edit(path, replace("events", np.zeros(3))), "instead of raw pad events"),
    "newer format": (lambda path: edit(path, lambda f: f.attrs.__setitem__("format_version", 2)), "format 2.*Update"),
    "other layout": (lambda path: edit(path, lambda f: f.attrs.__setitem__("layout_version", 7)), "layout 7"),
}


def foreign(folder: Path) -> Path:
    path = folder / "weights.h5"
    with h5py.File(path, "w") as file:
        file["weights"] = np.zeros(3)
    return path


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_file_says_what_is_wrong(tmp_path: Path, kind: str) -> None:
    """The person must be able to tell a wrong path from a damaged disk and an old version."""
    path = next(record_session(tmp_path, 5).glob("*_batch.h5"))
    break_it, message = BROKEN[kind]
    break_it(path)
    with pytest.raises(UserError, match=message):
        open_recordings([path])


def test_a_truncated_jpeg_file_says_so(tmp_path: Path) -> None:
    """A copy that was cut short must not end in half a picture."""
    path = next(record_session(tmp_path, 5, codec="jpeg").glob("*_batch.h5"))
    edit(path, lambda file: file["jpeg"].resize(100, axis=0))
    with pytest.raises(UserError, match="points outside"):
        open_recordings([path])


@pytest.mark.parametrize("name", ["jpeg", "jpeg_index"])
def test_a_jpeg_file_of_groups_says_so(tmp_path: Path, name: str) -> None:
    """A foreign file with our names in it is still a foreign file."""
    path = next(record_session(tmp_path, 5, codec="jpeg").glob("*_batch.h5"))
    grouped(name)(path)
    with pytest.raises(UserError, match=f"{name} is a group"):
        open_recordings([path])


def test_what_may_not_be_read_says_just_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody whose disk belongs to another user must not be told to record something, nor read HDF5's internals."""
    tmp_path.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    path = next(record_session(tmp_path, 5).glob("*_batch.h5")).relative_to(tmp_path)
    path.parent.chmod(0o755)
    path.chmod(0o000)
    (tmp_path / "locked").mkdir(mode=0o000)
    with without_root():
        for named in (path, Path("locked"), Path("locked") / path):
            with pytest.raises(UserError, match=r"cannot be read \(Permission denied\)") as caught:
                open_recordings([named])
            assert "Record" not in str(caught.value)
    path.chmod(0o644)
    with without_root(), caplog.at_level(logging.WARNING):
        assert len(open_recordings([Path()])) == 1
    assert "locked cannot be read" in caplog.text


def test_an_empty_folder_says_what_to_do(tmp_path: Path) -> None:
    """The usual mistake is to name the wrong folder."""
    with pytest.raises(UserError, match=r"holds no \*_batch\.h5.*Record something"):
        open_recordings([tmp_path])
    foreign(tmp_path)
    with pytest.raises(UserError, match=r"but weights\.h5.*Name that file itself"):
        open_recordings([tmp_path])
    with pytest.raises(UserError, match="does not exist"):
        open_recordings([tmp_path / "nowhere"])


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    """A session folder into which another session's file was copied would change size in the middle."""
    folder = record_session(tmp_path, 5)
    other = record_session(tmp_path, 5, size=(64, 32))
    shutil.copy(next(other.glob("*_batch.h5")), folder)
    with pytest.raises(UserError, match=r"64x32.*48x28"):
        open_recordings([folder])


def test_a_damaged_session_json_is_reported(tmp_path: Path) -> None:
    """Half a session.json should read as that, not as a traceback of the JSON parser."""
    folder = record_session(tmp_path, 5)
    (folder / "session.json").write_text("{")
    with pytest.raises(UserError, match=r"session\.json cannot be read"):
        open_recordings([folder])
    (folder / "session.json").unlink()
    assert open_recordings([folder])[0].meta == {}


@pytest.mark.parametrize("codec", ["gzip", "jpeg"])
def test_recordings_of_released_versions_still_open(codec: str) -> None:
    """Whoever updates the program keeps all recordings; these files are never regenerated."""
    (recording,) = open_recordings([GOLDEN / f"v1_{codec}"])
    count = 12
    assert len(recording) == count
    assert (recording.fps, recording.size, recording.meta["codec"]) == (30, SIZE, codec)
    assert np.array_equal(recording.inputs, vectors(range(count)))
    assert np.array_equal(recording.labels[6:], vectors(range(1006, 1000 + count)))
    assert np.array_equal(recording.labels[:6], vectors(range(6)))
    assert recording.state is not None
    assert recording.state.tolist() == [[i, -i] for i in range(count)]
    assert recording.state_names == ("x", "y")
    assert recording.events["value"].tolist() == [-i for i in range(count)]
    assert recording.timestamps_ns.tolist() == [sample(i)[0].t_ns for i in range(count)]
    assert recording.meta["pad"]["profile"] == "xpad"
    difference = np.abs(recording.read_frames(range(count)).astype(int) - pictures(range(count)))
    assert difference.mean() < 3 if codec == "jpeg" else not difference.any()
