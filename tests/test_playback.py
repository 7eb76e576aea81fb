"""playback.py as a person runs it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

import playback
from rl_utils.controls import NAMES, REST, Control
from rl_utils.interfaces import Source
from rl_utils.model import RocketNet
from rl_utils.overlay import PREDICTED
from rl_utils.playlist import SHOWN_SIZE
from rl_utils.scene import PICTURE_SIZE
from tests.learning_data import record
from tests.recordings_kit import pictures, record_session, vectors, write_article_file
from tests.test_export import decoded
from tests.test_viewer import press_close_button, shown_pixels, window_id
from tests.x11_window import activate, until, xdotool

ROOT = Path(__file__).resolve().parent.parent

SUMMARY_KEYS = {
    "delay_estimate",
    *("name", "path", "written_by", "codec", "files", "width", "height", "fps_known", "bytes", "gb_per_hour"),
    *("segments", "episodes", "sources", "labels", "pre_takeover_share", "good", "reasons", "samples", "duration_s"),
    *("rate_hz", "target_hz", "gaps", "gap_s", "idle_share", "late_share", "duplicate_share", "black_s", "frozen_s"),
    *("still_pad_s", "dropped", "controls"),
}


def brightening(out: Path, count: int = 200, **options: object) -> Path:
    """A session at 10 frames per second in which picture i has the level i everywhere."""
    frames = np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None, None], (count, 27, 48, 3))
    return record(out, frames, np.tile(REST, (count, 1)), fps=10, **options)  # type: ignore[arg-type]


def error_line(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr."""
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("playback.py: ")
    return lines[0]


@pytest.fixture
def no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("no_display")
def test_info_names_what_a_person_wants_to_know(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before training on a recording one has to see whether it is any good."""
    folder = record_session(tmp_path, 40)
    assert playback.main([str(folder), "--info"]) == 0
    text = capsys.readouterr().out
    for expected in ("48x28, gzip, 1 file", "0:01.3, 40 frames", "30.0 of 30 frames per second", "50.0% late"):
        assert expected in text
    for expected in ("2 segments, 4 episodes", "human 100%", "GB per hour", "0 gaps", "verdict   good", *NAMES):
        assert expected in text


def test_json_is_complete_and_stable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Other programs rely on these names."""
    record_session(tmp_path / "both", 40, codec="jpeg", labels_from=0)
    brightening(tmp_path / "both", source=Source.SCRIPTED, segments=np.repeat([0, 1], 100))
    assert playback.main([str(tmp_path), "--json"]) == 0
    table = json.loads(capsys.readouterr().out)
    assert set(table) == {"recordings", "total"}
    by_codec = {r["codec"]: r for r in table["recordings"]}
    ours, plain = by_codec["jpeg"], by_codec["gzip"]
    assert set(ours) == set(plain) == SUMMARY_KEYS
    assert (ours["samples"], ours["labels"], ours["sources"]) == (40, True, {"human": 1.0})
    assert (plain["samples"], plain["labels"], plain["sources"]) == (200, False, {"scripted": 1.0})
    assert (plain["segments"], plain["idle_share"], plain["good"]) == (2, 1.0, False)
    assert plain["reasons"]
    assert plain["rate_hz"] == pytest.approx(10, rel=0.01)
    assert set(plain["controls"]) == set(NAMES)
    assert set(plain["controls"]["left_x"]) == {"share", "mean", "std"}
    assert plain["bytes"] == sum(f.stat().st_size for f in Path(plain["path"]).glob("*_batch.h5"))
    total = table["total"]
    assert (total["recordings"], total["samples"], total["good"]) == (2, 240, 1)


@pytest.mark.parametrize("grayscale", [False, True])
@pytest.mark.parametrize("size", [(480, 270), (320, 180)])
def test_files_of_the_article(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], grayscale: bool, size: tuple[int, int]
) -> None:
    """Recordings that people already have must be looked at, with their colours and without invented times."""
    frames = pictures(range(30), size)
    frames = np.ascontiguousarray(frames[..., 0]) if grayscale else frames
    file = tmp_path / "1700000000000_batch.h5"
    write_article_file(file, frames, vectors(range(30)))
    assert playback.main([str(file), "--json"]) == 0
    (summary,) = json.loads(capsys.readouterr().out)["recordings"]
    assert (summary["written_by"], summary["fps_known"], summary["samples"]) == ("article", False, 30)
    assert [summary[name] for name in ("rate_hz", "gaps", "late_share")] == [None, None, None]
    assert playback.main([str(tmp_path), "--info"]) == 0
    assert "30 frames per second assumed" in capsys.readouterr().out
    video = tmp_path / "video.mp4"
    assert playback.main([str(file), "--save", str(video)]) == 0
    shown = decoded(video)
    assert len(shown) == 30
    scale = PICTURE_SIZE[0] // size[0]
    small = shown[20][: PICTURE_SIZE[1] : scale, ::scale].astype(int)
    stored = np.broadcast_to(frames[20][..., None], (*frames[20].shape[:2], 3)) if grayscale else frames[20]
    assert np.abs(small - stored.astype(int)).mean() < 5


def test_save_writes_what_was_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--start and --seconds cut a scene out of an hour."""
    folder = brightening(tmp_path)
    video = tmp_path / "videos" / "part.mp4"
    assert playback.main([str(folder), "--save", str(video), "--start", "5", "--seconds", "4"]) == 0
    assert f"Saved 4.0 s (40 frames) as {video}." in capsys.readouterr().out
    shown = decoded(video)
    levels = [float(p[100:400].mean()) for p in shown]
    assert levels == pytest.approx(range(50, 90), abs=5)  # the codec drifts a little
    assert shown[0].shape == (SHOWN_SIZE[1], SHOWN_SIZE[0], 3)


def test_a_checkpoint_of_the_article_is_drawn_beside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--checkpoint shows what a policy would have pressed, also one from before this project."""
    torch.manual_seed(0)
    torch.save(RocketNet().state_dict(), tmp_path / "rlai-1.4M.pth")
    folder = brightening(tmp_path / "recordings", 20)
    video = tmp_path / "video.mp4"
    arguments = [str(folder), "--checkpoint", str(tmp_path / "rlai-1.4M.pth"), "--save", str(video)]
    assert playback.main(arguments) == 0
    assert "the policy learned from 30" in capsys.readouterr().err  # this recording has 10 frames per second
    panel = decoded(video)[10][PICTURE_SIZE[1] :, SHOWN_SIZE[0] // 2 :].astype(int)
    assert (np.abs(panel - PREDICTED).max(axis=2) < 40).sum() > 50


def test_an_unusable_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong file after --checkpoint is the person's to fix."""
    folder = brightening(tmp_path / "recordings", 20)
    (tmp_path / "best.pt").write_bytes(b"no checkpoint")
    video = str(tmp_path / "video.mp4")
    assert playback.main([str(folder), "--checkpoint", str(tmp_path / "best.pt"), "--save", video]) == 2
    assert "best.pt" in error_line(capsys)
    assert not Path(video).exists()


@pytest.mark.parametrize("option", [["--info"], ["--json"], ["--save", "video.mp4"]])
@pytest.mark.parametrize("kind", ["missing", "foreign", "truncated", "empty folder", "text"])
def test_bad_recordings_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: str, option: list[str]
) -> None:
    """A person who names the wrong thing needs its name and a remedy, no traceback and no half video."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "1700000000000_batch.h5"
    if kind == "foreign":
        with h5py.File(path, "w") as file:
            file["weather"] = np.arange(5)
    elif kind == "truncated":
        whole = record_session(tmp_path / "whole", 20)
        content = next(whole.glob("*_batch.h5")).read_bytes()
        path.write_bytes(content[: len(content) // 2])
    elif kind == "empty folder":
        path.mkdir()
    elif kind == "text":
        path.write_text("hello")
    assert playback.main([str(path), *option]) == 2
    assert path.name in error_line(capsys)
    assert not (tmp_path / "video.mp4").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--save", "video.avi"], "does not end in .mp4"),
        (["--save", "video.mp4", "--start", "500"], "after the end"),
        (["--speeed", "2"], "did you mean --speed"),
        (["--speed", "0"], "out of range"),
        (["--info", "--pad-profile", "wheel"], "--pad-profile wheel is unknown"),
    ],
)
def test_bad_options_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    """Each slip of the keyboard gets its remedy."""
    monkeypatch.chdir(tmp_path)
    folder = brightening(tmp_path / "recordings", 20)
    assert playback.main([str(folder), *options]) == 2
    assert said in error_line(capsys)


@pytest.mark.usefixtures("no_display")
def test_without_a_display_it_names_the_other_ways(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Over ssh one can still save a video or read the figures."""
    folder = brightening(tmp_path, 20)
    assert playback.main([str(folder)]) == 2
    line = error_line(capsys)
    assert "DISPLAY" in line
    assert "--save FILE.mp4" in line
    assert "--info" in line


@contextmanager
def shown(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """playback.py in a process of its own, with its window active."""
    command = [sys.executable, "playback.py", *map(str, arguments)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        activate(window_id())
        yield process
    finally:
        process.kill()
        process.communicate()


def level() -> int:
    """Which picture of `brightening` is on the screen; -1 before the first one."""
    pixels = shown_pixels()
    if pixels.shape[:2] != (SHOWN_SIZE[1], SHOWN_SIZE[0]):
        return -1
    return int(pixels[300, 900, 0])


def press_until(key: str, wanted: int) -> None:
    xdotool("key", key)
    until(lambda: level() == wanted)


@pytest.mark.x11
def test_keys_in_the_window(tmp_path: Path, x_display: str) -> None:
    """Pause, step, seek and quit are what playback is for."""
    folder = brightening(tmp_path)
    with shown(folder, "--start", "5") as process:
        until(lambda: level() > 50)
        xdotool("key", "space")
        press_until("Home", 50)
        press_until("Right", 51)
        press_until("Right", 52)
        press_until("Left", 51)
        press_until("Down", 61)
        press_until("Page_Down", 161)
        press_until("Up", 151)
        press_until("Page_Up", 51)
        press_until("End", 199)
        window = window_id()
        middle_of_the_strip = SHOWN_SIZE[0] // 2, SHOWN_SIZE[1] - 6
        xdotool("mousemove", "--window", window, *middle_of_the_strip, "click", 1)
        until(lambda: abs(level() - 100) <= 1)
        before = shown_pixels()
        xdotool("key", "i")
        until(lambda: not np.array_equal(shown_pixels()[:100], before[:100]))
        xdotool("key", "q")
        out, errors = process.communicate()
    assert process.returncode == 0
    assert out == errors == ""


@pytest.mark.x11
def test_it_plays_on_its_own_to_the_end(tmp_path: Path, x_display: str) -> None:
    """Opened, it plays; at the end it waits there."""
    folder = brightening(tmp_path, 30)
    with shown(folder, "--speed", "2"):
        seen: set[int] = set()

        def at_the_end() -> bool:
            seen.add(level())
            return 29 in seen

        until(at_the_end)
        assert level() == 29


@pytest.mark.x11
def test_inputs_are_drawn_in_the_window(tmp_path: Path, x_display: str) -> None:
    """The article's overlay was commented out."""
    from rl_utils.overlay import RECORDED

    inputs = np.tile(REST, (30, 1))
    inputs[15:, Control.SOUTH] = 1
    folder = record(tmp_path, np.full((30, 27, 48, 3), (200, 0, 0), np.uint8), inputs, fps=10)

    def pressed() -> int:
        return int((shown_pixels()[PICTURE_SIZE[1] : SHOWN_SIZE[1] - 22] == RECORDED).all(axis=2).sum())

    with shown(folder) as process:
        xdotool("key", "End")
        until(lambda: pressed() > 100)
        assert tuple(shown_pixels()[300, 500]) == (200, 0, 0)
        until(
            lambda: xdotool("key", "Home") or pressed() == 0
        )  # it may still be playing, and leave the beginning again
        press_close_button(window_id())
        process.communicate()
    assert process.returncode == 0


@pytest.mark.x11
def test_ctrl_c_ends_it_in_order(tmp_path: Path, x_display: str) -> None:
    """Ctrl+C in the terminal is a normal way to leave."""
    with shown(brightening(tmp_path)) as process:
        until(lambda: level() >= 0)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    assert process.returncode == 0
    assert errors == ""
