"""train.py as a person calls it: good and bad command lines, Ctrl+C, and going on afterwards."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import train
from rl_utils.checkpoint import load_checkpoint, load_policy
from rl_utils.config import TrainConfig
from rl_utils.training_run import run_training
from tests.learning_data import marker_play, record_marker_play

ROOT = Path(__file__).resolve().parent.parent
FAST = ("--batch-size", "16", "--val-gap-s", "0.5", "--threads", "1")


@pytest.fixture(scope="module")
def play(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve seconds of play."""
    return record_marker_play(tmp_path_factory.mktemp("play"), 360)


def test_a_recording_becomes_a_policy(play: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The third of the four steps: session folder in, something that drives out."""
    run = tmp_path / "run"
    assert train.main([str(play), "--out", str(run), "--epochs", "1", *FAST]) == 0
    printed = capsys.readouterr()
    assert f"{run / 'best.pt'} drives" in printed.out
    assert "| left_x | error |" in printed.out
    assert (run / "config.toml").exists()
    policy = load_policy(run / "best.pt")
    assert policy.act(marker_play(1)[0][0]).shape == (19,)


def test_the_saved_settings_repeat_the_run(play: Path, tmp_path: Path) -> None:
    """config.toml is the record of a run and the way to repeat it."""
    assert train.main([str(play), "--out", str(tmp_path / "a"), "--epochs", "1", "--seed", "5", *FAST]) == 0
    assert train.main(["--config", str(tmp_path / "a" / "config.toml"), "--out", str(tmp_path / "b")]) == 0
    a, b = (load_checkpoint(tmp_path / name / "best.pt") for name in ("a", "b"))
    assert a.metrics["loss"] == b.metrics["loss"]
    assert b.training["settings"]["seed"] == 5


def test_the_time_budget_is_an_option(play: Path, tmp_path: Path) -> None:
    """The demo gives minutes, not passes."""
    run = tmp_path / "run"
    assert train.main([str(play), "--out", str(run), "--minutes", "0.05", *FAST]) == 0
    assert load_checkpoint(run / "best.pt").training["settings"]["minutes"] == 0.05


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{play}", "--out", "{tmp}/run", "--lr", "fast"], "lr"),
        (["{play}", "--out", "{tmp}/run", "--epoch", "3"], "--epoch"),
        (["{play}"], "--out"),
        (["{tmp}/nowhere", "--out", "{tmp}/run"], "does not exist"),
        (["{tmp}", "--out", "{tmp}/run"], "holds no"),
        (["{tmp}/text.h5", "--out", "{tmp}/run"], "no HDF5 file"),
        (["{play}", "--out", "{tmp}/text.h5"], "cannot be made"),
        (["{play}", "--out", "{tmp}/run", "--model", "resnet"], "model"),
        (["{play}", "--out", "{tmp}/run", "--val-share", "0.99"], "--val-share"),
        (["{play}", "--out", "{tmp}/run", "--clip", "0"], "--clip"),
        (["{play}", "--out", "{tmp}/run", "--weight-decay", "-1"], "--weight-decay"),
        (["{play}", "--out", "{tmp}/run", "--resume"], "last.pt"),
        (["{play}", "--out", "{tmp}/run", "--val-gap-s", "60"], "too short"),
        (["{play}", "--out", "{tmp}/" + "x" * 300], "File name too long"),
        (["{play}", "--out", "{tmp}/run", "--model", "state"], "leave --model away"),
    ],
)
def test_bad_command_lines_are_one_line(
    words: list[str], message: str, play: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each mistake gets its remedy in one line and exit code 2, and leaves nothing behind."""
    (tmp_path / "text.h5").write_text("this is no recording")
    argv = [word.format(play=play, tmp=tmp_path) for word in words]
    assert train.main(argv) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("train.py: ")
    assert message in line
    assert not (tmp_path / "run").exists()


def test_a_resumed_run_that_is_stopped_while_it_reads_says_what_is_saved(play: Path, tmp_path: Path) -> None:
    """Whoever reads "Nothing was learnt yet" after an hour of training deletes the folder."""
    how: dict[str, Any] = {"model": "motion", "batch_size": 16, "val_gap_s": 0.5, "threads": 1}
    config = TrainConfig(data=(play,), out=tmp_path / "run", **how)
    calls = iter(range(20))
    learnt = run_training(config, stop=lambda: next(calls, None) is None)
    outcome = run_training(replace(config, resume=True), stop=lambda: True)
    assert outcome.interrupted
    assert (outcome.steps, outcome.seconds) == (learnt.steps, learnt.seconds)
    said = train._summary(outcome, config)
    assert f"{learnt.steps} steps" in said
    assert "last.pt is saved; the same command with --resume goes on." in said
    assert "Nothing was learnt" not in said


def test_the_time_budget_holds_after_an_interruption(play: Path, tmp_path: Path) -> None:
    """What measuring takes was forgotten: the first pass after --resume ended later by as much."""
    t = 0.0

    def stop_at(end: float) -> Callable[[], bool]:
        def stop() -> bool:  # asked 12 times while it reads, at each of 37 steps, and 23 times while it measures
            nonlocal t
            t += 1
            return t >= end

        return stop

    how: dict[str, Any] = {"model": "motion", "batch_size": 4, "val_share": 0.5, "val_gap_s": 0.5, "threads": 1}
    config = TrainConfig(data=(play,), out=tmp_path / "run", minutes=125 / 60, **how)
    before = run_training(config, stop=stop_at(85), now=lambda: t)
    assert before.epochs == 1
    t = 0.0
    outcome = run_training(replace(config, resume=True), stop=stop_at(1000), now=lambda: t)
    assert not outcome.interrupted
    assert outcome.epochs == 2
    assert before.seconds + t <= 125


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_saves_and_resume_goes_on(number: signal.Signals, play: Path, tmp_path: Path) -> None:
    """Ctrl+C is a normal way to stop: last.pt is whole, the exit code says so, and --resume continues."""
    run = tmp_path / "run"
    settings = [*FAST, "--model", "motion", "--patience", "0", "--epochs"]
    command = [sys.executable, "train.py", str(play), "--out", str(run), *settings]
    process = subprocess.Popen([*command, "1000"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        while not (run / "last.pt").exists() and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(number)
        out, err = process.communicate()
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert "--resume goes on" in out
    assert "Traceback" not in err
    steps = load_checkpoint(run / "last.pt").resume["state"]["step"]
    assert steps > 0
    if number == signal.SIGTERM:
        return
    epochs = load_checkpoint(run / "last.pt").resume["state"]["epoch"]
    # One pass more than was begun: of that, perhaps only the measuring is left.
    assert train.main([*command[2:], str(epochs + 2), "--resume"]) == 0
    assert load_checkpoint(run / "last.pt").resume["state"]["step"] > steps
