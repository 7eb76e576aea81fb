"""Videos: colours, length, times, and nothing half-written under the final name."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from rl_utils.controls import REST
from rl_utils.errors import UserError
from rl_utils.export import Mp4Writer, save_video
from rl_utils.playlist import SHOWN_SIZE, Playlist
from rl_utils.recordings import open_recordings
from rl_utils.scene import PICTURE_SIZE
from tests.learning_data import record

SIZE = (160, 96)
COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "white": (255, 255, 255)}


def plain(colour: tuple[int, int, int], size: tuple[int, int] = SIZE) -> np.ndarray:
    return np.full((size[1], size[0], 3), colour, np.uint8)


def decoded(path: Path) -> list[np.ndarray]:
    """Every picture of a video, (H, W, 3) uint8 RGB."""
    capture = cv2.VideoCapture(str(path))
    pictures = []
    while (read := capture.read())[0]:
        pictures.append(cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB))
    capture.release()
    return pictures


def rate(path: Path) -> float:
    capture = cv2.VideoCapture(str(path))
    fps = capture.get(cv2.CAP_PROP_FPS)
    capture.release()
    return float(fps)


def test_colours_size_rate_and_length_come_back(tmp_path: Path) -> None:
    """A video with red and blue swapped is what the article's readers got."""
    path = tmp_path / "new folder" / "video.mp4"
    with Mp4Writer(path, size=SIZE, fps=30) as video:
        for colour in COLOURS.values():
            for _ in range(10):
                video.write(plain(colour))
    pictures = decoded(path)
    assert len(pictures) == 10 * len(COLOURS)
    assert rate(path) == 30
    for number, colour in enumerate(COLOURS.values()):
        picture = pictures[10 * number + 5]
        assert picture.shape == (SIZE[1], SIZE[0], 3)
        assert np.abs(picture.mean(axis=(0, 1)) - colour).max() < 20
    assert [p.name for p in path.parent.iterdir()] == ["video.mp4"]


@pytest.mark.parametrize("fps", [10.0, 29.97, 60.0, 120.0])
def test_any_rate(tmp_path: Path, fps: float) -> None:
    """Recordings at 60 frames per second must not play at half speed."""
    path = tmp_path / "video.MP4"
    with Mp4Writer(path, size=SIZE, fps=fps) as video:
        for _ in range(20):
            video.write(plain(COLOURS["red"]))
    assert rate(path) == pytest.approx(fps, rel=1e-3)
    assert len(decoded(path)) == 20


def test_a_broken_off_export_leaves_the_old_video(tmp_path: Path) -> None:
    """An error in the middle must not replace a good video by half of another one."""
    path = tmp_path / "video.mp4"
    path.write_bytes(b"the old one")

    def break_off() -> None:
        with Mp4Writer(path, size=SIZE, fps=30) as video:
            video.write(plain(COLOURS["red"]))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        break_off()
    assert path.read_bytes() == b"the old one"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["video.avi", "video", "mp4", ".mp4"])
def test_other_suffixes_are_refused_with_a_name_that_works(tmp_path: Path, name: str) -> None:
    """OpenCV would write an .avi that few players understand, or nothing."""
    with pytest.raises(UserError, match=r"does not end in .mp4.*Name the video like"):
        Mp4Writer(tmp_path / name, size=SIZE, fps=30)
    assert list(tmp_path.iterdir()) == []


def test_unwritable_targets(tmp_path: Path) -> None:
    """OpenCV says nothing when it cannot write; minutes of work would vanish."""
    (tmp_path / "file").touch()
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(UserError, match="cannot be written"):
        Mp4Writer(tmp_path / "file" / "video.mp4", size=SIZE, fps=30)
    with pytest.raises(UserError, match="is a folder"):
        Mp4Writer(tmp_path / "folder.mp4", size=SIZE, fps=30)
    with pytest.raises(UserError, match="cannot be written"):
        Mp4Writer(tmp_path / ("long" * 100 + ".mp4"), size=SIZE, fps=30)


@pytest.fixture
def small_files_only() -> Iterator[None]:
    """The kernel refuses files over 20 kB to this process, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_noticed(tmp_path: Path, small_files_only: None) -> None:
    """A video that cannot be played must not be announced as saved."""
    noise = np.random.default_rng(0)

    def write() -> None:
        with Mp4Writer(tmp_path / "video.mp4", size=SIZE, fps=30) as video:
            for _ in range(60):
                video.write(noise.integers(0, 256, (SIZE[1], SIZE[0], 3), np.uint8))

    with pytest.raises(UserError, match="disk is full"):
        write()
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def playlist(tmp_path: Path) -> Playlist:
    """One second of red, green and blue each, a gap of 100 s, one second of white; 10 frames per second."""
    frames = np.repeat(np.stack([plain(c, (48, 27)) for c in COLOURS.values()]), 10, axis=0)
    folder = record(tmp_path / "recordings", frames, np.tile(REST, (40, 1)), fps=10)
    recording = open_recordings([folder])[0]
    recording.timestamps_ns = recording.timestamps_ns + np.where(np.arange(40) >= 30, 100_000_000_000, 0)
    return Playlist([recording])


def colour_of(picture: np.ndarray) -> str:
    """Which of `COLOURS` the game's picture has, judged away from text."""
    mean = picture[50 : PICTURE_SIZE[1] // 4, 100:-100].mean(axis=(0, 1))
    return min(COLOURS, key=lambda name: float(np.abs(mean - COLOURS[name]).sum()))


def test_video_follows_the_recorded_times(playlist: Playlist, tmp_path: Path) -> None:
    """Each second of play is a second of video, and a pause of the player is short."""
    saved = save_video(playlist, tmp_path / "video.mp4")
    pictures = decoded(saved.path)
    assert len(pictures) == saved.frames == 44  # 40 and half a second of gap instead of a tenth
    assert pictures[0].shape == (SHOWN_SIZE[1], SHOWN_SIZE[0], 3)
    assert [colour_of(pictures[i]) for i in (0, 9, 10, 19, 20, 29)] == ["red"] * 2 + ["green"] * 2 + ["blue"] * 2
    assert [colour_of(p) for p in pictures[-10:]] == ["white"] * 10
    blue, gap = (p[: PICTURE_SIZE[1]].astype(int).sum() for p in (pictures[29], pictures[32]))
    assert gap < 0.6 * blue  # darkened


def test_video_of_a_part_and_at_another_speed(playlist: Playlist, tmp_path: Path) -> None:
    """--start and --seconds are play time, whatever the speed."""
    part = save_video(playlist, tmp_path / "part.mp4", start_s=1.0, end_s=2.0)
    assert {colour_of(p) for p in decoded(part.path)} == {"green"}
    assert part.frames == 10
    fast = save_video(playlist, tmp_path / "fast.mp4", end_s=3.0, speed=2.0)
    assert [colour_of(p) for p in decoded(fast.path)] == ["red"] * 5 + ["green"] * 5 + ["blue"] * 5
    slow = save_video(playlist, tmp_path / "slow.mp4", end_s=1.0, speed=0.5)
    assert slow.frames == 20


def test_stopping_keeps_what_was_written(playlist: Playlist, tmp_path: Path) -> None:
    """Ctrl+C in a long export is a normal way to stop."""
    asked = iter(range(100))
    saved = save_video(playlist, tmp_path / "video.mp4", stop=lambda: next(asked) >= 7)
    assert saved.frames == len(decoded(saved.path)) == 7
    nothing = save_video(playlist, tmp_path / "nothing.mp4", stop=lambda: True)
    assert nothing.frames == 0
    assert not nothing.path.exists()
