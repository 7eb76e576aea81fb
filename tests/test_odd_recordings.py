"""Recordings that are odd in every way that was thought of: learnt from, or refused with what is wrong and where."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest

import train
from rl_utils.checkpoint import load_checkpoint
from rl_utils.controls import Control
from rl_utils.data_batcher import BatchSaver
from rl_utils.frame_store import FrameStore
from rl_utils.interfaces import Frame, FrameInfo, Inputs, PadInfo
from rl_utils.preprocess import PreprocessSpec
from rl_utils.recordings import open_recordings
from tests.learning_data import marker_play, record, write_article_file
from tests.test_dataset import samples_of

FAST = ("--model", "motion", "--epochs", "1", "--batch-size", "16", "--val-gap-s", "0.5", "--threads", "1")


@pytest.mark.parametrize("kind", ["inputs", "labels", "article"])
def test_a_planted_nan_is_named(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One bad number in a night's recordings must not end the training hours later, nor be learnt from."""
    frames, inputs = marker_play(20)
    bad = inputs.copy()
    bad[7, Control.LEFT_X] = math.nan
    if kind == "article":
        write_article_file(tmp_path / "play", frames, bad)
    else:
        record(tmp_path / "play", frames, bad if kind == "inputs" else inputs, labels=bad if kind == "labels" else None)
    assert train.main([str(tmp_path / "play"), "--out", str(tmp_path / "run"), *FAST]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert "no numbers in 1 of 20 samples, first in number 7" in line
    assert "_batch.h5" in line
    assert not (tmp_path / "run").exists()


def test_ten_samples_are_too_few_to_learn_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A recording that was ended at once gets a sentence, not a division by zero."""
    frames, inputs = marker_play(10)
    record(tmp_path / "play", frames, inputs)
    assert train.main([str(tmp_path / "play"), "--out", str(tmp_path / "run"), *FAST]) == 2
    assert "0.3 s of play are too short" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("loss", ["balanced", "article"])
def test_constant_controls_and_buttons_that_are_never_pressed(loss: str, tmp_path: Path) -> None:
    """The article's 1 / std, a press weight of releases / 0, F1 of nothing: none of it may become a NaN."""
    frames, inputs = marker_play(200)
    inputs[:] = inputs[0]
    inputs[:, Control.SOUTH] = 0
    inputs[:, Control.EAST] = 1
    record(tmp_path / "play", frames, inputs)
    assert train.main([str(tmp_path / "play"), "--out", str(tmp_path / "run"), "--loss", loss, *FAST]) == 0
    best = load_checkpoint(tmp_path / "run" / "best.pt")
    assert math.isfinite(best.metrics["loss"])
    assert all(bool(weights.isfinite().all()) for weights in best.weights.values())
    with (tmp_path / "run" / "controls.csv").open() as file:
        rows = {row["control"]: row for row in csv.DictReader(file)}
    assert (rows["south"]["average_precision"], rows["south"]["presses"]) == ("", "0")
    assert rows["east"]["average_precision"] == "1"


def test_hundreds_of_tiny_files_are_one_recording(tmp_path: Path) -> None:
    """A recorder that was set to small files must not cost open files, order, or pictures."""
    count, each = 450, 3
    frames, inputs = marker_play(count, size=(16, 9))
    with BatchSaver(
        tmp_path, fps=30, size=(16, 9), frames=FrameInfo("test"), pad=PadInfo("test"), batch_size=each, block=True
    ) as saver:
        for i in range(count):
            t_ns = 1_000_000_000 + round(i * 1e9 / 30)
            saver.add(Frame(np.ascontiguousarray(frames[i]), t_ns), Inputs(inputs[i], t_ns), segment=0)
    (recording,) = recordings = open_recordings([tmp_path])
    assert len(recording.files) == count // each
    samples = samples_of(recordings)
    np.testing.assert_array_equal(samples.targets, inputs)
    before = len(list(Path("/proc/self/fd").iterdir()))
    spec = PreprocessSpec(width=16, height=9)
    with FrameStore(recordings, spec, cache_bytes=10**9, spill=tmp_path) as store:
        assert store.load(lambda _: None, lambda: False)
        stacks = store.stacks(np.arange(count), np.zeros(count, np.int64))
    np.testing.assert_array_equal(stacks, frames.transpose(0, 3, 1, 2))
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 20
