"""A disk that fills up while a policy is trained: one line says so, and what was saved before still opens."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import train
from rl_utils.checkpoint import load_checkpoint
from rl_utils.config import TrainConfig
from rl_utils.training_run import run_training
from tests.learning_data import record_marker_play
from tests.test_trainer import stop_after

FAST = ("--model", "motion", "--batch-size", "16", "--val-gap-s", "0.5", "--threads", "1", "--epochs", "2")


@pytest.fixture(scope="module")
def play(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six seconds of play."""
    return record_marker_play(tmp_path_factory.mktemp("play"), 180)


@contextmanager
def no_file_beyond(size: int) -> Iterator[None]:
    """Files cannot grow beyond so many bytes; the error is not ENOSPC but EFBIG."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def resume(play: Path, run: Path, *more: str) -> list[str]:
    return [str(play), "--out", str(run), *FAST, "--resume", *more]


@pytest.mark.parametrize(
    ("size", "named"),
    [
        (100, "config.toml"),
        (20_000, "tensorboard/events"),
        (1_000_000, "best.pt"),
    ],
)
def test_a_full_disk_is_one_line_and_spoils_nothing(
    size: int, named: str, play: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """TensorBoard's own writer ends with a traceback of its thread; a half-written checkpoint would end the run."""
    run = tmp_path / "run"
    how = {"model": "motion", "batch_size": 16, "val_gap_s": 0.5, "threads": 1, "epochs": 2}
    config = TrainConfig(data=(play,), out=run, **how)  # type: ignore[arg-type]
    assert run_training(config, stop=stop_after(8)).interrupted
    before = {name: (run / name).read_bytes() for name in ("last.pt", "config.toml")}
    capsys.readouterr()
    with no_file_beyond(size):
        assert train.main(resume(play, run)) == 2
    said = capsys.readouterr().err
    line = said.strip().splitlines()[-1]
    assert line.startswith(f"train.py: {run / named}")
    assert "cannot be written (File too large)" in line
    assert "Free some space" in line
    assert "Traceback" not in said
    assert "Exception" not in said
    assert (run / "last.pt").read_bytes() == before["last.pt"]
    if named == "config.toml":
        assert (run / "config.toml").read_bytes() == before["config.toml"]
    assert not list(run.rglob("*.part"))
    assert train.main(resume(play, run)) == 0
    assert load_checkpoint(run / "last.pt").resume["state"]["epoch"] == 2
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    assert len(events.Scalars("held-out/loss")) == 2, "what follows a torn file is still shown"


def test_a_disk_that_is_full_before_a_coach_round_is_one_line(
    play: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The copy of who plays was the one file of a run that nothing watched over."""
    run = tmp_path / "run"
    assert train.main([str(play), "--out", str(run), *FAST]) == 0
    before = (run / "last.pt").read_bytes()
    with no_file_beyond(1_000_000):
        assert train.main(resume(play, run, "--coach", "1")) == 2
    said = capsys.readouterr().err
    assert f"train.py: {run / 'coach' / 'round1.pt'} cannot be written" in said.strip().splitlines()[-1]
    assert "Traceback" not in said
    assert (run / "last.pt").read_bytes() == before
