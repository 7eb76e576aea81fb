"""Native Wayland windows: recorded from a PipeWire daemon of the test's own, with a picture that moves."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import collect
from rl_utils.data_batcher import BatchSaver
from rl_utils.devices import NoPad
from rl_utils.errors import UserError
from rl_utils.interfaces import Frame
from rl_utils.portal_frames import PortalFrames
from rl_utils.record_loop import record
from rl_utils.recordings import open_recordings
from tests.pipewire import running_source

SIZE = (160, 120)


def test_a_window_is_recorded_until_its_stream_ends(tmp_path: Path) -> None:
    """Who plays a native Wayland game could record nothing, or black."""
    stages: list[str] = []
    seen: set[bytes] = set()

    class Watched(PortalFrames):
        def read(self) -> Frame | None:
            frame = super().read()
            if frame is not None:
                seen.add(frame.image.tobytes())
            return frame

    def stop() -> bool:
        """Let it run, stand still, run again, and end it."""
        assert time.monotonic() < end, (stages, frames.problem)
        if not stages and saver.samples >= 30 and len(seen) > 20:
            source.program.send_signal(signal.SIGSTOP)
            stages.append("stopped")
        elif stages == ["stopped"] and frames.problem == "frozen picture":
            source.program.send_signal(signal.SIGCONT)
            stages.append("goes on")
            marks.append(saver.samples)
        elif stages == ["stopped", "goes on"] and saver.samples >= marks[0] + 15:
            source.daemon.kill()
            stages.append("closed")
        return False

    marks: list[int] = []
    with running_source() as source, Watched(source.descriptor, source.node, SIZE, frozen_s=1.0) as frames:
        info = frames.wait_for_picture(60)
        end = time.monotonic() + 60
        assert (info.backend, info.native_size) == ("pipewire", (640, 480))
        with NoPad() as pad, BatchSaver(tmp_path, fps=30, size=SIZE, frames=info, pad=pad.info) as saver:
            done = record(frames, pad, saver, fps=30, stop=stop)
    assert done.ended_by == "no further frames"
    assert stages == ["stopped", "goes on", "closed"]
    [recording] = open_recordings([tmp_path])
    pictures = recording.read_frames(np.arange(len(recording)))
    assert pictures.max() > 200, "the white ball is not there"
    places = {tuple(np.argwhere(picture[..., 0] > 200).mean(0).round().astype(int)) for picture in pictures}
    assert len(places) > 8, "a still, not a film"
    assert recording.segment[-1] > recording.segment[0]


def test_without_a_portal_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A traceback of D-Bus would be all that one sees."""
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", f"unix:path={tmp_path}/nobody")
    monkeypatch.delenv("DISPLAY", raising=False)
    assert collect.main(["--out", str(tmp_path), "--frames", "portal", "--pad", "none"]) == 2
    assert "no portal for sharing windows" in capsys.readouterr().err


def test_without_the_extra_the_command_is_that_of_a_clone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The project is not on PyPI: by its name pip would fetch a stranger's package, or none."""
    monkeypatch.setitem(sys.modules, "pipewire_capture", None)
    assert collect.main(["--out", str(tmp_path), "--frames", "portal", "--pad", "none"]) == 2
    assert "pip install -e '.[wayland]' in the clone" in capsys.readouterr().err


def test_a_source_that_never_draws_is_no_recording() -> None:
    """The recorder would wait for ever, or store nothing without a word."""
    with running_source() as source:
        source.program.send_signal(signal.SIGSTOP)
        with (
            PortalFrames(source.descriptor, source.node, SIZE) as frames,
            pytest.raises(UserError, match="No picture came"),
        ):
            frames.wait_for_picture(0.5)
