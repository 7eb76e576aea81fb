"""What listens to a drive, where machine or disk cannot keep up: nothing is lost in silence or left unfinished."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import eval as eval_script
from rl_utils.controls import REST, Control
from rl_utils.data_batcher import BatchSaver
from rl_utils.devices import LogSink
from rl_utils.interfaces import Flag, Frame, FrameInfo, Image, Inputs, InputVector, PadInfo, Source
from rl_utils.listeners import PRE_TAKEOVER_S, DriveRecorder, Show
from rl_utils.recordings import open_recordings
from rl_utils.safety import SafeSink
from tests.small_disk import run_on_a_small_disk

WINDOW = FrameInfo("window", native_size=(1280, 720))
PICTURE = np.zeros((720, 1280, 3), np.uint8)


def test_what_led_to_a_takeover_is_stored_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Everything before it is handed on at once: of large pictures, those that matter most were dropped."""
    fps = 30.0
    with DriveRecorder(tmp_path, WINDOW, fps=fps, block=False) as recorder:
        for tick in range(round(PRE_TAKEOVER_S * fps) + 1):
            source = Source.TAKEOVER if tick == PRE_TAKEOVER_S * fps else Source.POLICY
            recorder.on_tick(Frame(PICTURE, round(tick / fps * 1e9)), Inputs(REST, source=source), 0)
    [driven] = open_recordings([tmp_path])
    with driven:
        assert np.count_nonzero(driven.flags & Flag.PRE_TAKEOVER) == 45
        assert len(driven) == 46
    assert "could not be stored" not in capsys.readouterr().err


def test_what_was_dropped_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A recording with holes would be taken for a whole one."""
    with DriveRecorder(tmp_path, WINDOW, fps=1.0, block=False) as recorder:
        for tick in range(200):  # far more than the rate that room was made for
            recorder.on_tick(Frame(PICTURE, tick * 1_000_000), Inputs(REST, source=Source.TAKEOVER), 0)
    [driven] = open_recordings([tmp_path])
    with driven:
        dropped = driven.meta["dropped"]
        assert dropped + len(driven) == 200
    assert dropped
    assert f"{dropped} frames could not be stored in time." in capsys.readouterr().err


def record_throttle(folder: Path, samples: int, *, size: tuple[int, int] = (480, 270)) -> None:
    """Full throttle for `eval.py --inputs`, which then looks at pictures of that size; these here do not matter."""
    frames = FrameInfo("window", native_size=size)
    picture, full = np.zeros((size[1], size[0], 3), np.uint8), REST.copy()
    full[Control.RIGHT_TRIGGER] = 1.0
    with BatchSaver(folder, fps=30.0, size=size, frames=frames, pad=PadInfo("pad"), block=True) as saver:
        for tick in range(samples):
            saver.add(Frame(picture, round((tick + 1) / 30 * 1e9)), Inputs(full), segment=0)


def test_the_live_view_shows_what_the_pad_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """START that the policy asks for and that is held back would be drawn as pressed."""
    shown: list[InputVector] = []

    class View:
        def __init__(self, title: str) -> None:
            self.title = title

        def update(self, image: Image, inputs: InputVector, source: Source) -> None:
            shown.append(inputs)

        def close(self) -> None:
            shown.append(REST)

    monkeypatch.setattr("rl_utils.live_view.LiveView", View)
    wanted = REST.copy()
    wanted[[Control.START, Control.SOUTH]] = 1.0
    with SafeSink(LogSink()) as sink, Show("a bot", sink) as show:
        show.on_tick(Frame(PICTURE, 0), Inputs(wanted), 0)
    assert shown[0][[Control.START, Control.SOUTH]].tolist() == [0.0, 1.0]


def test_a_small_disk_ends_the_drive_in_order(tmp_path: Path) -> None:
    """The session stayed unfinished: no file under its final name, and nothing that says it is whole."""
    record_throttle(tmp_path / "inputs", 600)
    drive = ["eval.py", "--inputs", str(tmp_path / "inputs"), "--frames", "arena", "--sink", "arena"]
    done, copy = run_on_a_small_disk(tmp_path, *drive, option="--record")
    assert done.returncode == 2, done.stderr
    assert "is full" in done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not list(copy.rglob("*.part"))
    (driven,) = open_recordings([copy])
    with driven:
        assert len(driven) > 50
        assert driven.meta["complete"]
        assert driven.meta["samples"] == len(driven)


def test_a_log_on_a_full_disk_is_one_line_after_the_summary(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Ten minutes of driving would end with a traceback, without the summary and the report of it."""
    record_throttle(tmp_path / "inputs", 30)
    report = tmp_path / "report.json"
    drive = ["--inputs", str(tmp_path / "inputs"), "--frames", "arena", "--sink", "arena", "--minutes", "0.01"]
    assert eval_script.main([*drive, "--log-inputs", "/dev/full", "--report", str(report)]) == 2
    said = capsys.readouterr()
    assert said.out.startswith("Drove 0.6 s (18 frames)")
    assert json.loads(report.read_text())["ticks"] == 18
    assert (
        said.err.strip().splitlines()[-1].startswith("eval.py: /dev/full cannot be written (No space left on device)")
    )
    assert "Traceback" not in said.err


@pytest.mark.parametrize(("options", "ticks"), [([], 30), (["--fps", "60"], 30), (["--minutes", "0.01"], 18)])
def test_a_replay_ends_with_its_inputs(tmp_path: Path, options: list[str], ticks: int) -> None:
    """The car would stand still for the rest of ten minutes, and --record would store that as play."""
    record_throttle(tmp_path / "inputs", 30, size=(32, 18))
    drive = ["--inputs", str(tmp_path / "inputs"), "--frames", "arena", "--sink", "arena", *options]
    limit = [] if options[:1] == ["--minutes"] else ["--minutes", "0.1"]
    assert eval_script.main([*drive, *limit, "--record", str(tmp_path / "r")]) == 0
    [driven] = open_recordings([tmp_path / "r"])
    with driven:
        assert len(driven) == ticks
        assert (driven.inputs[:, Control.RIGHT_TRIGGER] == 1).all()
