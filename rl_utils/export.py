"""Pictures as an .mp4 file that appears under its name only when it is whole."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import cv2

from rl_utils.errors import UserError
from rl_utils.interfaces import Image
from rl_utils.playlist import SHOWN_SIZE, Playlist

SUFFIX: Final = ".mp4"
CODECS: Final = ("avc1", "mp4v")
"""H.264 where this OpenCV has an encoder (the wheels from PyPI have none), else MPEG-4: 2.3 ms and 9 kB per picture at
960×540. VP9, which they do have, takes 220 ms and cannot be told to be faster. Source: measured 2026, OpenCV 5.0."""


class Mp4Writer:
    """Writes one video. Leaving the `with` block normally completes it; an exception leaves no file behind.

    Args:
        path: Ends in .mp4; its folder is made where missing; an older file is replaced once the new one is whole.
        size: (width, height) of all pictures in px, even numbers.
        fps: Pictures per second.

    Attributes:
        frames: How many were written.
        codec: The one of `CODECS` that is used.

    Raises:
        UserError: The name does not end in .mp4, or nothing can be written there.
    """

    def __init__(self, path: Path, *, size: tuple[int, int], fps: float) -> None:
        assert size[0] % 2 == 0, size
        assert size[1] % 2 == 0, size
        check_video_path(path)
        self.frames = 0
        self._path = path
        self._size = size
        self._part = path.with_name(f".{path.stem}.{os.getpid()}.part{SUFFIX}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._part.touch()
        except OSError as error:
            raise _unwritable(path, error.strerror) from error
        self.codec, self._writer = _open(self._part, size, fps)
        if self._writer is None:
            self._part.unlink()
            raise _unwritable(path, "OpenCV has no encoder for it")

    def write(self, image: Image) -> None:
        """Append a picture, (H, W, 3) uint8 RGB of the size that was announced."""
        assert image.shape == (self._size[1], self._size[0], 3), image.shape
        assert self._writer is not None
        self._writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        self.frames += 1

    def close(self, *, keep: bool = True) -> None:
        """Complete the file, or remove it. May be called more than once.

        Raises:
            UserError: It did not get whole, because the disk is full.
        """
        if self._writer is None:
            return
        self._writer.release()
        self._writer = None
        try:
            if keep:
                if _count_frames(self._part) != self.frames:
                    raise _unwritable(self._path, "the disk is full, or the file may not grow as large")
                self._part.replace(self._path)
        except OSError as error:
            raise _unwritable(self._path, error.strerror) from error
        finally:
            self._part.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc: object) -> None:
        self.close(keep=kind is None and self.frames > 0)


def check_video_path(path: Path) -> None:
    """See to it that a video could get this name.

    Raises:
        UserError: It does not end in .mp4, is a folder, or cannot exist.
    """
    if path.suffix.lower() != SUFFIX:
        raise UserError(
            f"--save {path} does not end in {SUFFIX}", f'Name the video like "{path.stem or "play"}{SUFFIX}"'
        )
    try:
        folder = path.is_dir()
    except OSError as error:
        raise _unwritable(path, error.strerror) from error
    if folder:
        raise UserError(f"--save {path} is a folder", f"Name a file that ends in {SUFFIX}")


def _unwritable(path: Path, why: str | None) -> UserError:
    return UserError(f"{path} cannot be written ({why})", "Free some space, or name another place with --save")


def _open(path: Path, size: tuple[int, int], fps: float) -> tuple[str, Any]:
    """(codec, writer) of the first codec that works, or ("", None)."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # a codec that is not there is no error worth a line
    before = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        for codec in CODECS:
            writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), fps, size)
            if writer.isOpened():
                return codec, writer
    finally:
        cv2.utils.logging.setLogLevel(before)
    return "", None


def _count_frames(path: Path) -> int:
    """How many pictures a video holds, 0 when it cannot be read."""
    capture = cv2.VideoCapture(str(path))
    try:
        return int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 0
    finally:
        capture.release()


@dataclass(frozen=True)
class SavedVideo:
    """What `save_video` wrote."""

    path: Path
    frames: int
    seconds: float
    codec: str


def save_video(
    playlist: Playlist,
    path: Path,
    *,
    start_s: float = 0.0,
    end_s: float | None = None,
    speed: float = 1.0,
    stop: Callable[[], bool] = lambda: False,
    on_progress: Callable[[float], None] = lambda _seconds: None,
) -> SavedVideo:
    """Write what playback shows. Samples appear at their real times (a late one late), gaps are shortened and marked.

    Args:
        playlist: What is shown.
        path: The video.
        start_s: Play time of the first picture.
        end_s: Play time of the end; the timeline's end by default.
        speed: 2 shows every second of the recording in half a second, leaving out pictures.
        stop: Asked before every picture; what was written by then is kept.
        on_progress: Told the play time that is done, in s since `start_s`.

    Raises:
        UserError: The video cannot be written, or a picture is damaged.
    """
    timeline = playlist.timeline
    end = timeline.duration_s if end_s is None else min(end_s, timeline.duration_s)
    # half a frame ahead, so that rounding cannot show a sample one picture late
    half = 0.5 / playlist.fps
    count = max(1, round((end - start_s) * playlist.fps / speed))
    shown: tuple[int, str] | None = None
    note = "" if speed == 1 else f"{speed:g}x"
    with Mp4Writer(path, size=SHOWN_SIZE, fps=playlist.fps) as video:
        for number in range(count):
            if stop():
                break
            time_s = start_s + number * speed / playlist.fps + half
            wanted = (timeline.index_at(time_s), playlist.gap_at(time_s))
            if wanted != shown:
                picture = playlist.render(time_s, note=note)
                shown = wanted
            video.write(picture)
            on_progress(time_s - start_s)
    return SavedVideo(path, video.frames, video.frames / playlist.fps, video.codec)
