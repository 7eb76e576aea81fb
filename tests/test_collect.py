"""collect.py as a person runs it: the arena's real window and pad, direct mode, and missing devices."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

import collect
import playback
from rl_utils.controls import Control
from rl_utils.delay import DelayEstimate
from rl_utils.interfaces import Source
from rl_utils.recordings import Recording, open_recordings
from tests.arena_process import focus, running, running_arena, stopped_with
from tests.small_disk import run_on_a_small_disk
from tests.x11_window import ShownWindow, until, xdotool


def session_of(folder: Path) -> Path:
    (session,) = (path for path in folder.iterdir() if path.is_dir())
    return session


def test_records_window_and_pad_of_the_arena(
    x_display: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first step of the product: pixels of the window and the pad's state in one file, with a verdict."""
    socket = tmp_path / "arena.sock"
    monkeypatch.setenv("RLAI_ARENA_SOCKET", str(socket))
    with running_arena(socket, "--driver", "expert", "--noise", "1"):
        code = collect.main(["--out", str(tmp_path / "r"), "--pad", "arena", "--seconds", "6"])
    assert code == 0
    out = capsys.readouterr().out
    assert "180 frames" in out
    (recording,) = open_recordings([tmp_path / "r"])
    with recording:
        assert len(recording) == 180
        assert recording.size == (480, 270)
        assert (recording.source == Source.SCRIPTED).all()
        assert recording.has_labels
        assert recording.state is not None
        assert recording.inputs[:, Control.RIGHT_TRIGGER].std() > 0.01
        assert recording.frame(100).std() > 10
        assert not np.array_equal(recording.frame(60), recording.frame(120))
        # Each frame's inputs are those of its time: never newer than the frame.
        assert (recording.inputs_ns <= recording.timestamps_ns).all()
    meta = json.loads((session_of(tmp_path / "r") / "session.json").read_text())
    assert meta["window"]["is_arena"] is True
    assert meta["window"]["title"] == "Rocket League"
    assert meta["verdict"]["samples"] == 180
    # Six seconds need not be enough to know the delay, still less where the machine stood still for one of them (which
    # begins a segment); whether they are, is said everywhere alike.
    estimate = meta["delay_estimate"]
    assert estimate["samples"] == 180 or estimate["reason"] == "not enough activity" or recording.segment.any()
    said = str(DelayEstimate.from_dict(meta["delay_estimate"]))
    assert f"Delay: {said}." in out
    assert playback.main([str(tmp_path / "r"), "--info"]) == 0
    assert f"  delay     {said}\n" in capsys.readouterr().out


def test_pauses_while_another_window_has_the_focus(
    x_display: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is typed into a chat window must not become training data; the gap is marked."""
    socket = tmp_path / "arena.sock"
    monkeypatch.setenv("RLAI_ARENA_SOCKET", str(socket))
    with running_arena(socket, "--driver", "expert"):
        command = ["collect.py", "--out", str(tmp_path / "r"), "--pad", "arena", "--batch-size", "20"]
        with running(command) as child:
            _wait_for_files(tmp_path / "r", child, 1)
            with running(["xev", "-event", "button"]):
                focus("name", "Event Tester")
                lost_ns = time.monotonic_ns()
                time.sleep(1.0)
                back_ns = time.monotonic_ns()
            focus("class", "rlai-arena")
            _wait_for_files(tmp_path / "r", child, 2, more=True)
            child.send_signal(signal.SIGINT)
            _, err = child.communicate(timeout=60)
            assert child.returncode == 0, err
    (recording,) = open_recordings([tmp_path / "r"])
    with recording:
        _assert_left_out(recording, lost_ns, back_ns)


def test_hot_keys_of_a_running_recording(x_display: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A player marks, pauses and discards without leaving the game, and is told what happened."""
    socket, out = tmp_path / "arena.sock", tmp_path / "r"
    monkeypatch.setenv("RLAI_ARENA_SOCKET", str(socket))
    with running_arena(socket, "--driver", "expert", "--situation", "benchmark"):
        options = ["--pad", "arena", "--batch-size", "20", "--discard-seconds", "1", "--countdown", "0.5"]
        with running(["collect.py", "--out", str(out), *options]) as child:
            _wait_for_files(out, child, 1)
            said = _press("ctrl+F9", child, "Marked: episode 2 begins.")
            _wait_for_files(out, child, 2, more=True)
            _press("ctrl+F11", child, "Discarded the last 1.0 s (30 frames).")
            _press("ctrl+F10", child, "Paused by you.")
            paused_ns = time.monotonic_ns()
            time.sleep(0.5)
            again_ns = time.monotonic_ns()
            _press("ctrl+F10", child, "Recording again.")
            _wait_for_files(out, child, 1, more=True)
            child.send_signal(signal.SIGINT)
            assert child.stdout is not None
            stdout = child.stdout.read()
            assert child.wait(60) == 0
    assert "ctrl+F11 discards 1 s" in said
    assert "1 mark, 30 frames discarded" in stdout
    (recording,) = open_recordings([out])
    with recording:
        assert f" {len(recording)} frames, " in stdout
        assert recording.meta["discarded"] == 30
        assert recording.meta["verdict"]["samples"] == len(recording)
        assert len(np.unique(recording.episode)) >= 2
        _assert_left_out(recording, paused_ns, again_ns)
        discarded = np.diff(recording.timestamps_ns) > 0.95e9
        assert (np.diff(recording.segment)[discarded] > 0).any()


def test_sittings_are_joined_only_when_they_fit(
    x_display: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two sittings of different size or rate in one session would be a recording that lies about half of itself."""
    socket, out = tmp_path / "arena.sock", tmp_path / "r"
    monkeypatch.setenv("RLAI_ARENA_SOCKET", str(socket))
    record = ["--out", str(out), "--pad", "arena", "--until", "20frames"]
    with running_arena(socket, "--driver", "expert"):
        assert collect.main(record) == 0
        assert collect.main([*record, "--resume"]) == 0
        (joined,) = open_recordings([out])
        assert collect.main([*record, "--resume", "--size", "240x136", "--fps", "60"]) == 0
        assert collect.main(record) == 0
    assert "was recorded with another rate and another size: a new session begins" in capsys.readouterr().err
    sessions = open_recordings([out])
    assert [len(recording) for recording in sessions] == [40, 20, 20]
    assert sorted(recording.size for recording in sessions) == [(240, 136), (480, 270), (480, 270)]
    assert len(joined.files) == 2
    assert joined.segment[20] > joined.segment[19]
    assert joined.episode[20] > joined.episode[19]
    assert (np.diff(joined.timestamps_ns) > 0).all()
    assert (joined.meta["samples"], joined.meta["files"]) == (40, [file.name for file in joined.files])
    assert joined.meta["verdict"]["samples"] == 40


def test_another_game_in_the_middle_gets_a_session_of_its_own(x_display: str, tmp_path: Path) -> None:
    """The real game after the practice arena, under the same title, must not be learnt as one and the same."""
    out = tmp_path / "r"
    # Ten seconds of recording: enough to exchange the game in the middle, on a busy machine too.
    record = ["collect.py", "--out", str(out), "--pad", "none", "--fps", "10", "--until", "100frames"]
    with running(record) as child:
        with running_arena(tmp_path / "arena.sock", "--driver", "expert"):
            _wait_for_samples(out, child)
        with ShownWindow("Rocket League", size="640x360") as game:
            xdotool("windowactivate", game.id)
            stdout, stderr = child.communicate(timeout=60)
            assert child.returncode == 0, stderr
    assert "another gamepad or game is there now" in stdout
    recordings = open_recordings([out])
    assert sum(len(recording) for recording in recordings) == 100
    assert {recording.meta["window"]["is_arena"] for recording in recordings} == {True, False}


def _wait_for_samples(folder: Path, child: subprocess.Popen[str], *, size: int = 100_000) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and child.poll() is None:
        if any(part.stat().st_size > size for part in folder.rglob("*.h5*")):
            return
        time.sleep(0.05)
    pytest.fail("collect.py did not begin to record")


def _wait_for_files(folder: Path, child: subprocess.Popen[str], count: int, *, more: bool = False) -> None:
    """Wait until so many batch files are whole, or so many more than now: that counts samples, whatever the rate."""
    wanted = count + (len(list(folder.rglob("*_batch.h5"))) if more else 0)

    def are_there() -> bool:
        assert child.poll() is None, "collect.py has ended"
        return len(list(folder.rglob("*_batch.h5"))) >= wanted

    until(are_there, deadline_s=90)


def _press(key: str, child: subprocess.Popen[str], answer: str) -> str:
    """Press a hot key and wait for the answer; returns what was said until then. Not to be mixed with `communicate`."""
    xdotool("key", key)
    assert child.stderr is not None
    said = []
    for line in child.stderr:
        said.append(line)
        if answer in line:
            return "".join(said)
    pytest.fail(f"{answer} was not said, but {said}")


def _assert_left_out(recording: Recording, from_ns: int, to_ns: int) -> None:
    """Nothing is recorded of that time but a tick that was under way; before and after it, in different segments."""
    times = recording.timestamps_ns
    before, after = np.flatnonzero(times < from_ns), np.flatnonzero(times > to_ns)
    assert len(recording) - len(before) - len(after) <= 1
    assert recording.segment[after[0]] > recording.segment[before[-1]]


def test_the_next_start_recovers_what_sigkill_left(
    x_display: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A crash of the machine's memory killer must not cost an evening of play."""
    socket, out = tmp_path / "arena.sock", tmp_path / "r"
    monkeypatch.setenv("RLAI_ARENA_SOCKET", str(socket))
    with running_arena(socket, "--driver", "expert"):
        command = ["collect.py", "--out", str(out), "--pad", "arena"]
        with running(command) as child:
            _wait_for_samples(out, child)
            until(lambda: stopped_with(child, out, lambda file: len(file["inputs"]) > 1), deadline_s=90)
            child.kill()
        killed = session_of(out)
        assert collect.main(["--out", str(out), "--pad", "arena", "--seconds", "1"]) == 0
    said = capsys.readouterr().err
    (recording,) = open_recordings([killed])
    with recording:
        assert len(recording) > 1
        assert f"({len(recording)} frames), left by a recording" in said, said
        assert recording.frame(len(recording) - 1).std() > 10


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_recording_in_order(
    x_display: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """Ctrl+C is the normal way to stop: everything is saved, and the exit code is 0."""
    socket, out = tmp_path / "arena.sock", tmp_path / "r"
    monkeypatch.setenv("RLAI_ARENA_SOCKET", str(socket))
    with running_arena(socket, "--driver", "expert"):
        command = ["collect.py", "--out", str(out), "--pad", "arena"]
        with running(command) as child:
            _wait_for_samples(out, child)
            child.send_signal(number)
            stdout, stderr = child.communicate(timeout=60)
            assert child.returncode == 0, stderr
    assert "Verdict" in stdout
    (file,) = session_of(out).glob("*.h5*")
    assert file.name.endswith("_batch.h5")
    with h5py.File(file) as batch:
        assert batch.attrs["complete"]


def test_direct_mode_needs_no_display(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data for learning can be made on a server, and the same seed gives the same play."""
    monkeypatch.delenv("DISPLAY", raising=False)
    for name in ("a", "b"):
        options = ["--frames", "arena", "--noise", "1", "--seconds", "3", "--seed", "5", "--codec", "jpeg"]
        assert collect.main(["--out", str(tmp_path / name), *options]) == 0
    (a,), (b,) = open_recordings([tmp_path / "a"]), open_recordings([tmp_path / "b"])
    with a, b:
        assert len(a) == len(b) == 90
        assert np.array_equal(a.inputs, b.inputs)
        assert np.array_equal(a.frame(80), b.frame(80))
        assert not np.array_equal(a.inputs, a.labels)
        assert a.meta["delay_estimate"] == DelayEstimate(None, reason="simulated time").as_dict()


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    lines = captured.err.strip().splitlines()
    assert lines[-1].startswith("collect.py: "), captured.err
    assert "Traceback" not in captured.err
    return lines[-1]


def test_without_a_display(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Over ssh the person has to learn what is missing."""
    monkeypatch.delenv("DISPLAY", raising=False)
    assert collect.main(["--out", str(tmp_path), "--pad", "none"]) == 2
    assert "DISPLAY" in one_line(capsys)


def test_ctrl_c_while_waiting_for_the_game(x_display: str, tmp_path: Path) -> None:
    """Who starts the recorder too early and thinks better of it must not be answered with a traceback."""
    with running(["collect.py", "--out", str(tmp_path / "r"), "--pad", "none"]) as child:
        assert child.stderr is not None
        assert child.stderr.readline() == "Waiting for the game's window, at most 60 s.\n"
        child.send_signal(signal.SIGINT)
        _, stderr = child.communicate(timeout=60)
    assert child.returncode == 0, stderr
    assert stderr.strip().endswith("Stopped before anything was recorded.")
    assert not (tmp_path / "r").exists()


def test_without_the_window(x_display: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The game may not run yet, or carry another title."""
    assert collect.main(["--out", str(tmp_path), "--pad", "none", "--wait", "0.5"]) == 2
    assert "--window" in one_line(capsys)


def test_without_the_arena(
    x_display: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--pad arena` needs an arena to listen to."""
    monkeypatch.setenv("RLAI_ARENA_SOCKET", str(tmp_path / "nobody.sock"))
    with running(["xev", "-name", "Rocket League", "-event", "button"]):
        assert collect.main(["--out", str(tmp_path), "--pad", "arena", "--wait", "60"]) == 2
    assert "rl_utils.arena" in one_line(capsys)


def test_without_a_pad(x_display: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An hour recorded without a pad would be worthless."""
    with running(["xev", "-name", "Rocket League", "-event", "button"]):
        assert collect.main(["--out", str(tmp_path), "--device", "no such pad", "--wait", "60"]) == 2
    assert "gamepad" in one_line(capsys).lower()


def test_a_small_disk_ends_the_recording_in_order(tmp_path: Path) -> None:
    """A disk that fills up must cost what does not fit, said in one line, and not the file that was being written."""
    record = ["collect.py", "--frames", "arena", "--batch-size", "100", "--until", "1h"]
    done, copy = run_on_a_small_disk(tmp_path, *record, option="--out")
    assert done.returncode == 2, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("collect.py: The disk of ")
    assert "is full" in last
    assert "what was recorded is safe" in last
    assert "Traceback" not in done.stderr
    assert "ended: too early, see below" in done.stdout
    assert "GB per hour" in done.stdout
    assert int((copy / "free").read_text()) > 8_000_000
    assert not list(copy.rglob("*.part"))
    (recording,) = open_recordings([copy])
    with recording:
        assert len(recording) > 150
        assert f"{len(recording)} frames" in done.stdout
        assert recording.meta["complete"]
        assert recording.meta["samples"] == len(recording)
        assert recording.meta["verdict"]["samples"] == len(recording)
        assert (np.diff(recording.timestamps_ns) > 0).all()
        assert recording.read_frames(range(0, len(recording), 50)).std() > 10


@pytest.mark.parametrize("out", ["file", "file/r", "x" * 300])
def test_where_nothing_can_be_written(
    out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder that cannot be made is said before anybody plays: before a window or a pad is looked for."""
    monkeypatch.delenv("DISPLAY", raising=False)
    (tmp_path / "file").write_text("")
    assert collect.main(["--out", str(tmp_path / out), "--pad", "none"]) == 2
    assert "--out" in one_line(capsys)


@pytest.mark.parametrize("display", [None, ":9999"])
def test_no_display_is_one_line(
    display: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Several messages about one missing thing hide what to do about it."""
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    if display is None:
        monkeypatch.delenv("DISPLAY", raising=False)
    else:
        monkeypatch.setenv("DISPLAY", display)
    assert collect.main(["--out", str(tmp_path / "r"), "--pad", "arena"]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    assert "display" in lines[0]
