"""Pictures ready for training: the very bits that play sees, whatever is cached, spilled or damaged."""

from __future__ import annotations

import resource
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np
import pytest

from rl_utils.errors import UserError
from rl_utils.frame_store import FrameStore
from rl_utils.preprocess import History
from rl_utils.recordings import Recording, open_recordings
from tests.learning_data import marker_play, record, record_marker_play, write_article_file
from tests.test_dataset import SPEC, samples_of


def loaded(recordings: list[Recording], folder: Path, **arguments: int) -> FrameStore:
    store = FrameStore(recordings, SPEC, **({"cache_bytes": 10**9, "spill": folder} | arguments))  # type: ignore[arg-type]
    assert store.load(lambda _: None, lambda: False)
    return store


def test_stacks_never_cross_segments_or_recordings(tmp_path: Path) -> None:
    """A stack across a goal replay or another session would show motion that never happened."""
    frames, inputs = marker_play(400)
    segments = np.repeat([0, 1], [150, 250])
    episodes = np.repeat([0, 1], [300, 100])
    record(tmp_path / "a", frames, inputs, segments=segments, episodes=episodes)
    record(tmp_path / "b", *marker_play(200, seed=1))
    recordings = open_recordings([tmp_path / "a", tmp_path / "b"])
    samples = samples_of(recordings)
    np.testing.assert_array_equal(np.unique(samples.firsts), [0, 150, 300, 400])
    with loaded(recordings, tmp_path) as store:
        for first in (0, 150, 300, 400):
            for index in range(first, first + 8):
                stack = store.stacks(np.array([index]), samples.firsts[[index]])[0]
                history = History(SPEC)
                for i in range(first, index + 1):
                    owner, place = (recordings[0], i) if i < 400 else (recordings[1], i - 400)
                    expected = history.push(owner.frame(place))
                np.testing.assert_array_equal(stack, expected, err_msg=f"sample {index}")


def test_training_sees_what_play_sees(tmp_path: Path) -> None:
    """The same stored pixels must give the same bits in training and in eval, whatever is cached."""
    folder = record_marker_play(tmp_path, 150)
    recordings = open_recordings([folder])
    history = History(SPEC)
    played = np.stack([history.push(recordings[0].frame(i)) for i in range(150)])
    frame_bytes = 3 * SPEC.width * SPEC.height
    index = np.random.default_rng(0).permutation(150)
    # All in memory; most of it decoded when needed; some of each; nothing in memory, all in the file.
    for cached, on_disk in ((150, 0), (70, 0), (50, 50), (0, 150)):
        room = {"cache_bytes": cached * frame_bytes, "disk_bytes": on_disk * frame_bytes}
        with loaded(recordings, tmp_path, **room) as store:
            assert store.ready_share == (cached + on_disk) / 150
            assert store.ready_bytes == cached * frame_bytes
            assert bool(open_files(tmp_path)) == bool(on_disk)
            np.testing.assert_array_equal(store.stacks(index, np.zeros(150, np.int64)), played[index])


@pytest.mark.parametrize("cached", [30, 100, 150, 200])
def test_ours_beside_the_articles(tmp_path: Path, cached: int) -> None:
    """The article's pictures are made ready first, wherever they stand: none may land under another moment."""
    ours = record_marker_play(tmp_path, 100)
    write_article_file(tmp_path / "article", *marker_play(100, size=(320, 180), seed=1))
    recordings = open_recordings([ours, tmp_path / "article"])
    assert [recording.is_article for recording in recordings] == [False, True]
    own = [History(SPEC).push(recording.frame(i)) for recording in recordings for i in range(100)]
    frame_bytes = 3 * SPEC.width * SPEC.height
    with loaded(recordings, tmp_path, cache_bytes=cached * frame_bytes, disk_bytes=10**9) as store:
        assert store.ready_share == 1
        index = np.arange(200)
        np.testing.assert_array_equal(store.stacks(index, index), np.stack(own))


def open_files(folder: Path) -> list[str]:
    """Files without a name in a folder that this process has open."""
    targets = []
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the folder's own, and what other threads close meanwhile
            targets.append(str(link.readlink()))
    return [target for target in targets if target.startswith(f"{folder}/") and target.endswith("(deleted)")]


def test_article_files_that_do_not_fit_go_to_the_disk(tmp_path: Path) -> None:
    """Decoding one picture of an article file costs a second; a run would never end."""
    frames, inputs = marker_play(120, size=(320, 180))
    write_article_file(tmp_path / "article", frames, inputs)
    recordings = open_recordings([tmp_path / "article"])
    with loaded(recordings, tmp_path, cache_bytes=50 * 3 * SPEC.width * SPEC.height) as store:
        assert store.ready_share == 1
        assert open_files(tmp_path)
        stacks = store.stacks(np.arange(120), np.zeros(120, np.int64))
    assert not open_files(tmp_path)
    history = History(SPEC)
    np.testing.assert_array_equal(stacks, np.stack([history.push(frame) for frame in frames]))


def test_reading_can_be_stopped(tmp_path: Path) -> None:
    """Ctrl+C while gigabytes are read must not have to wait for the end."""
    recordings = open_recordings([record_marker_play(tmp_path, 300)])
    with FrameStore(recordings, SPEC, cache_bytes=10**9, spill=tmp_path) as store:
        assert not store.load(lambda _: None, lambda: True)


def test_a_damaged_picture_is_one_line(tmp_path: Path) -> None:
    """A broken file in a large collection must be named."""
    folder = record_marker_play(tmp_path, 200)
    file = next(folder.glob("*.h5"))
    with h5py.File(file) as opened:
        place = opened["frames"].id.get_chunk_info(100).byte_offset
    content = bytearray(file.read_bytes())
    content[place : place + 40] = bytes(40)
    file.write_bytes(content)
    with (
        FrameStore(open_recordings([folder]), SPEC, cache_bytes=10**9, spill=tmp_path) as store,
        pytest.raises(UserError, match=file.name),
    ):
        store.load(lambda _: None, lambda: False)


def test_a_disk_that_is_too_small_is_one_line(tmp_path: Path) -> None:
    """The room is asked for before hours of decoding, not found missing after them."""
    recordings = open_recordings([record_marker_play(tmp_path, 150)])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(UserError, match="has no room for"):
            FrameStore(recordings, SPEC, cache_bytes=0, spill=tmp_path, disk_bytes=10**9)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
