"""Recording: what was captured is what is stored, nothing is lost in silence, and the disk may fill up."""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from h5py._objects import phil
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rl_utils import data_batcher, schema
from rl_utils.controls import LAYOUT_VERSION, N_CONTROLS
from rl_utils.data_batcher import BatchSaver
from rl_utils.errors import UserError
from rl_utils.interfaces import Flag, Frame, Inputs, PadEvent
from rl_utils.recordings import open_recordings
from rl_utils.recovery import recover_orphans
from tests.recordings_kit import (
    PAD,
    SIZE,
    WINDOW,
    pictures,
    record_session,
    sample,
    vector,
    vectors,
)
from tests.x11_window import until

unit = st.floats(0, 1, width=32)


def saver_in(out: Path, **options: object) -> BatchSaver:
    given_options = {"fps": 30, "size": SIZE, "frames": WINDOW, "pad": PAD, **options}
    return BatchSaver(out, **given_options)


def add_samples(saver: BatchSaver, indices: range) -> None:
    for i in indices:
        saver.add(*sample(i), segment=0)


def noise(index: int) -> Frame:
    """A picture that cannot be compressed, 389 kB."""
    return Frame(np.random.default_rng(index).integers(0, 256, (270, 480, 3), np.uint8), index * 10)


def add_noise(saver: BatchSaver, indices: range) -> None:
    for i in indices:
        saver.add(noise(i), Inputs(vector(i)), segment=0)


def wait_until_safe(saver: BatchSaver, count: int) -> None:
    while saver.safe_samples < count:
        time.sleep(0.01)


def fill_the_disk(hog: Path) -> None:
    with hog.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(100_000))
        except OSError as error:
            assert error.errno == errno.ENOSPC  # noqa: PT017  # the loop ends no other way


@settings(max_examples=20, deadline=None)
@given(
    images=st.lists(hnp.arrays(np.uint8, (5, 7, 3)), min_size=1, max_size=6),
    values=hnp.arrays(np.float32, (6, N_CONTROLS), elements=unit),
    segments=st.lists(st.integers(0, 3), min_size=6, max_size=6),
)
def test_any_sample_survives_the_round_trip(images: list, values: np.ndarray, segments: list[int]) -> None:
    """A captured picture or input that differs from its stored copy would teach the policy something false."""
    with tempfile.TemporaryDirectory() as name:
        with saver_in(Path(name), size=(7, 5), batch_size=4, block=True) as saver:
            for i, image in enumerate(images):
                saver.add(Frame(image, i * 10), Inputs(values[i], t_ns=i), segment=segments[i], flags=i)
        (recording,) = open_recordings([Path(name)])
        n = len(images)
        assert np.array_equal(recording.read_frames(np.arange(n)), np.stack(images))
        assert np.array_equal(recording.inputs, values[:n])
        assert recording.segment.tolist() == segments[:n]
        assert recording.flags.tolist() == list(range(n))
        assert recording.timestamps_ns.tolist() == [i * 10 for i in range(n)]


def test_stock_h5py_reads_the_default_codec(tmp_path: Path) -> None:
    """The article's own reader (glob, frames, inputs, four attributes) must open our files without our code."""
    folder = record_session(tmp_path, 25, batch_size=10)
    frames, inputs = [], []
    for path in sorted(folder.glob("*_batch.h5")):
        with h5py.File(path) as file:
            frames.append(file["frames"][:])
            inputs.append(file["inputs"][:])
            assert file.attrs["timestamp"] == int(path.name.removesuffix("_batch.h5"))
            assert file.attrs["original_shape"].tolist() == [540, 960, 3]
            assert not file.attrs["grayscale"]
            assert file.attrs["target_size"].tolist() == list(SIZE)
    assert [len(part) for part in frames] == [10, 10, 5]
    assert np.array_equal(np.concatenate(frames), pictures(range(25)))
    assert np.array_equal(np.concatenate(inputs), vectors(range(25)))


def test_files_say_what_they_are(tmp_path: Path) -> None:
    """A reader of a later version must be able to refuse or convert a file from its attributes alone."""
    (path,) = record_session(tmp_path, 3, fps=60).glob("*_batch.h5")
    with h5py.File(path) as file:
        assert file.attrs["format_version"] == 1
        assert file.attrs["layout_version"] == LAYOUT_VERSION
        assert file.attrs["fps"] == 60
        assert file.attrs["complete"]
        assert set(file) == {"frames", *schema.COLUMNS, "events"}
        for name, (dtype, tail) in schema.COLUMNS.items():
            assert (file[name].dtype, file[name].shape) == (dtype, (3, *tail))


def test_jpeg_keeps_full_colour_resolution(tmp_path: Path) -> None:
    """Subsampled colour would blur the boost number and the team colours that a policy looks at."""
    (path,) = record_session(tmp_path, 12, codec="jpeg").glob("*_batch.h5")
    with h5py.File(path) as file:
        assert "frames" not in file
        offset, length = file["jpeg_index"][7]
        encoded = file["jpeg"][offset : offset + length].tobytes()
    start_of_frame = encoded.index(b"\xff\xc0")
    sampling = [encoded[start_of_frame + 11 + 3 * component] for component in range(3)]
    assert sampling == [0x11, 0x11, 0x11]
    (recording,) = open_recordings([path])
    error = recording.read_frames(range(12)).astype(int) - pictures(range(12))
    assert np.abs(error).mean() < 3


def test_batch_names_grow_even_within_a_millisecond(tmp_path: Path) -> None:
    """Two files of one name would overwrite each other, and readers sort by name."""
    folder = record_session(tmp_path, 30, batch_size=1)
    names = [path.name for path in folder.glob("*_batch.h5")]
    stamps = sorted(int(name.removesuffix("_batch.h5")) for name in names)
    assert len(set(stamps)) == 30
    order = [h5py.File(folder / f"{stamp}_batch.h5")["timestamps_ns"][0] for stamp in stamps]
    assert order == sorted(order)


def test_a_file_has_its_final_name_only_when_whole(tmp_path: Path) -> None:
    """A trainer that reads the folder during play must never meet half a file."""
    with saver_in(tmp_path, batch_size=100) as saver:
        saver.add(*sample(0), segment=0)
        while not list(saver.folder.glob("*.part")):
            assert not list(saver.folder.glob("*_batch.h5"))
    assert [path.suffix for path in sorted(saver.folder.iterdir())] == [".h5", ".json"]


def test_labels_are_stored_from_the_first_that_exists(tmp_path: Path) -> None:
    """Demonstrations with noise would teach the noise if their clean labels were lost or shifted."""
    plain = record_session(tmp_path / "plain", 5)
    assert "labels" not in h5py.File(next(plain.glob("*_batch.h5")))
    record_session(tmp_path / "late", 40, labels_from=25, batch_size=30)
    (recording,) = open_recordings([tmp_path / "late"])
    assert recording.has_labels
    assert np.array_equal(recording.labels[:25], vectors(range(25)))
    assert np.array_equal(recording.labels[25:], vectors(range(1025, 1040)))


def test_labels_and_state_may_begin_after_a_flush(tmp_path: Path) -> None:
    """The rows that were already on disk when the first label came must get theirs, too."""
    with saver_in(tmp_path) as saver:
        add_samples(saver, range(7))
        wait_until_safe(saver, 7)
        for i in range(7, 12):
            saver.add(*sample(i, labels=True, state=True), segment=0)
    (recording,) = open_recordings([tmp_path])
    assert np.array_equal(recording.inputs, vectors(range(12)))
    assert np.array_equal(recording.labels, np.concatenate([vectors(range(7)), vectors(range(1007, 1012))]))
    assert recording.state is not None
    assert np.isnan(recording.state[:7]).all()
    assert recording.state[7:, 0].tolist() == list(range(7, 12))


def test_state_is_stored_with_its_names(tmp_path: Path) -> None:
    """The arena's observation is useless to a reader who cannot tell its numbers apart."""
    record_session(tmp_path, 6, state=True)
    (recording,) = open_recordings([tmp_path])
    assert recording.state_names == ("x", "y")
    assert recording.state is not None
    assert recording.state.tolist() == [[i, -i] for i in range(6)]


def test_session_json_describes_pad_window_and_outcome(tmp_path: Path) -> None:
    """Weeks later nobody remembers which pad, window and rate a folder was recorded with."""
    saver = saver_in(tmp_path, session={"note": "first try"})
    started = json.loads((saver.folder / "session.json").read_text())
    assert not started["complete"]
    saver.add(*sample(0), segment=0)
    saver.close({"verdict": "good"})
    saver.close({"verdict": "changed"})
    session = json.loads((saver.folder / "session.json").read_text())
    assert session["complete"]
    assert (session["verdict"], session["note"], session["samples"], session["dropped"]) == ("good", "first try", 1, 0)
    assert session["window"]["title"] == "Rocket League"
    assert session["window"]["native_size"] == [960, 540]
    assert session["pad"]["ranges"] == {"left_x": [-32768, 0, 32767]}
    assert (session["fps"], session["size"], session["layout_version"]) == (30, list(SIZE), LAYOUT_VERSION)


def test_a_session_without_samples_leaves_no_folder(tmp_path: Path) -> None:
    """Starting the recorder and changing one's mind should not litter the recordings."""
    with saver_in(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_full_queue_drops_counts_and_flags(tmp_path: Path) -> None:
    """A disk that cannot keep up must cost samples that are counted, not memory, time or silence."""
    with saver_in(tmp_path, queue_bytes=0) as saver:
        with phil:  # h5py's own lock: the writer stands still as behind a slow disk
            taken = [saver.add(*sample(i), segment=0, events=[]) for i in range(40)]
        wait_until_safe(saver, saver.samples)
        assert saver.add(*sample(100), segment=0)
        kept = [i for i, was_taken in enumerate(taken) if was_taken]
    assert saver.dropped == taken.count(False) >= 30
    (recording,) = open_recordings([tmp_path])
    assert recording.inputs.tolist() == vectors([*kept, 100]).tolist()
    after_a_drop = [i > 0 and not taken[i - 1] for i in kept]
    assert [bool(flags & Flag.LATE) for flags in recording.flags] == [*after_a_drop, True]
    assert recording.segment.tolist() == [0] * len(kept) + [1]  # more than a second was lost
    assert recording.meta["dropped"] == saver.dropped


def test_a_gathering_writer_looks_before_the_queue_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a high rate or with large pictures, samples would be dropped while the writer waits for more of them."""
    monkeypatch.setattr(data_batcher, "GATHER_S", 3600.0)
    monkeypatch.setattr(data_batcher, "FLUSH_S", 3600.0)
    with saver_in(tmp_path, queue_bytes=0) as saver:
        saver.add(*sample(0), segment=0)
        until(lambda: saver.queue_length == 0)  # the first one is not kept waiting
        time.sleep(0.1)  # it waits by now; if not, it does not yet need to be woken
        for i in range(1, 6):
            saver.add(*sample(i), segment=0)
        until(lambda: saver.queue_length == 0)
        saver.add(*sample(6), segment=0)
    assert (saver.samples, saver.dropped) == (7, 0)  # closing does not wait either
    assert len(open_recordings([tmp_path])[0]) == 7


def test_events_of_dropped_samples_are_kept(tmp_path: Path) -> None:
    """Raw events are a stream: a hole in it would leave a button pressed for ever."""
    with saver_in(tmp_path, queue_bytes=0) as saver:
        with phil:
            for i in range(40):
                saver.add(*sample(i), segment=0, events=[PadEvent(i, 1, 0x130, i % 2)])
        wait_until_safe(saver, saver.samples)
        saver.add(*sample(40), segment=0, events=[PadEvent(40, 1, 0x130, 0)])
    assert saver.dropped
    (recording,) = open_recordings([tmp_path])
    assert recording.events["t_ns"].tolist() == list(range(41))


def test_a_blocking_saver_waits_instead(tmp_path: Path) -> None:
    """Direct mode is faster than the disk: it must slow down, not lose samples."""
    with saver_in(tmp_path, block=True, queue_bytes=0, batch_size=50) as saver:
        assert all(saver.add(*sample(i), segment=0) for i in range(300))
    assert (saver.samples, saver.dropped) == (300, 0)
    assert len(open_recordings([tmp_path])[0]) == 300


def test_a_vanished_folder_stops_the_recording(tmp_path: Path) -> None:
    """Recording on into nowhere would waste an evening of play."""
    saver = saver_in(tmp_path, batch_size=1)
    shutil.rmtree(saver.folder)
    with pytest.raises(UserError, match="could not be written"):
        add_samples(saver, range(100_000))
    saver.close()


def test_a_bug_in_the_writer_surfaces(tmp_path: Path) -> None:
    """An exception that dies with its thread is the article's silent data loss."""
    saver = saver_in(tmp_path, batch_size=2)
    frame, inputs = sample(0, state=True)
    saver.add(frame, inputs, segment=0)
    saver.add(frame, Inputs(vector(1), state=np.zeros(5, np.float32)), segment=0)
    with pytest.raises(ValueError, match="inhomogeneous"):
        saver.close()


def test_an_unusable_folder_is_the_users_error(tmp_path: Path) -> None:
    """The person mistyped --out, and should read that instead of a traceback."""
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot hold recordings"):
        saver_in(tmp_path / "file")


def test_the_counters_tell_disk_use(tmp_path: Path) -> None:
    """The status line promises GB per hour; wrong figures fill disks."""
    with saver_in(tmp_path, block=True) as saver:
        for i in range(50):
            saver.add(*sample(i), segment=0)
    (path,) = saver.files
    assert saver.bytes_written == pytest.approx(path.stat().st_size, rel=0.5)
    assert saver.gb_per_hour == pytest.approx(saver.bytes_written / 50 * 30 * 3600 / 1e9)
    assert saver.free_bytes > 0


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A real file system of 24 MB."""
    with tempfile.TemporaryDirectory() as name:
        mount = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", name], capture_output=True, text=True, check=False
        )
        if mount.returncode != 0:
            pytest.skip(f"mounting a small disk needs root ({mount.stderr.strip()}); the write limit is tested instead")
        yield Path(name)
        subprocess.run(["umount", name], check=True)


def test_recording_stops_before_the_disk_is_full(small_disk: Path) -> None:
    """A disk filled to the last byte takes the game's saves with it, and the recording's last file."""
    saver = saver_in(small_disk, size=(480, 270), batch_size=5)
    with pytest.raises(UserError, match="is full"):
        add_noise(saver, range(10_000))
    saver.close()
    assert not list(saver.folder.glob("*.part"))
    (recording,) = open_recordings([small_disk])
    assert len(recording) > 20
    assert np.array_equal(recording.frame(-1), noise(int(recording.timestamps_ns[-1]) // 10).image)
    assert recording.meta["samples"] == len(recording)
    assert saver.free_bytes > 1_000_000
    with pytest.raises(UserError, match="is full"):
        saver_in(small_disk)


def test_a_disk_that_is_full_at_once_loses_no_finished_sample(small_disk: Path) -> None:
    """Another program may take the last byte: what was flushed must come back once there is room."""
    saver = saver_in(small_disk, size=(480, 270), batch_size=1000, reserve_bytes=0)
    add_noise(saver, range(10))
    wait_until_safe(saver, 10)
    hog = small_disk / "hog"
    fill_the_disk(hog)
    with pytest.raises(UserError, match=r"full|No space"):
        add_noise(saver, range(10, 10_000))
    saver.close()
    hog.unlink()
    recover_orphans(small_disk)
    (recording,) = open_recordings([small_disk])
    assert len(recording) >= 10
    for i in range(len(recording)):
        assert np.array_equal(recording.frame(i), noise(i).image)


WRITE_LIMITED = """
import resource, sys
from pathlib import Path
from rl_utils.errors import UserError
from tests.test_data_batcher import add_noise, saver_in, wait_until_safe

resource.setrlimit(resource.RLIMIT_FSIZE, (8_000_000, 8_000_000))
try:
    with saver_in(Path(sys.argv[1]), size=(480, 270), block=True, codec=sys.argv[2]) as saver:
        add_noise(saver, range(10))
        wait_until_safe(saver, 10)
        add_noise(saver, range(10, 200))
except UserError as error:
    print(error.problem)
"""


@pytest.mark.parametrize("codec", ["gzip", "jpeg"])
def test_a_write_limit_gives_back_what_was_flushed(tmp_path: Path, codec: str) -> None:
    """A quota ends a recording like a full disk does: what was flushed comes back at the next start."""
    done = subprocess.run(
        [sys.executable, "-c", WRITE_LIMITED, str(tmp_path), codec],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "File too large" in done.stdout
    assert done.stderr == ""
    assert recover_orphans(tmp_path)
    (recording,) = open_recordings([tmp_path])
    assert recording.timestamps_ns.tolist() == [i * 10 for i in range(len(recording))]
    assert len(recording.read_frames(range(len(recording)))) >= 10
