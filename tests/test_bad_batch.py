"""Numbers that are none stop a run, wherever they come from, and the moments behind them are kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rl_utils.arena.obs_layout import OBS_NAMES
from rl_utils.batches import Augmentation, Batch, Batches
from rl_utils.checkpoint import load_checkpoint
from rl_utils.config import TrainConfig
from rl_utils.console import Progress
from rl_utils.controls import Control
from rl_utils.dataset import Samples, make_samples
from rl_utils.errors import UserError
from rl_utils.frame_store import FrameStore
from rl_utils.model import default_spec
from rl_utils.recordings import open_recordings
from rl_utils.schedule import StepSchedule
from rl_utils.trainer import Trainer
from rl_utils.training_log import NoLog
from rl_utils.training_run import run_training
from rl_utils.workers import Workers
from tests.learning_data import marker_play, record

BATCH = 16


@pytest.fixture(scope="module")
def play(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six seconds of play whose state is known."""
    frames, inputs = marker_play(180)
    states = np.zeros((180, len(OBS_NAMES)), np.float32)
    states[:, OBS_NAMES.index("car_forward_x")] = states[:, OBS_NAMES.index("car_up_z")] = 1
    return record(tmp_path_factory.mktemp("play"), frames, inputs, states=states)


class Run:
    """A training whose samples can be spoilt before it begins."""

    def __init__(self, play: Path, out: Path, **settings: Any) -> None:
        out.mkdir()
        self.out = out
        self.config = TrainConfig(data=(play,), out=out, batch_size=BATCH, **settings)
        recordings = open_recordings([play])
        self.samples: Samples = make_samples(recordings, val_share=0.1, val_gap_s=0.2, action_shift_ms=0, seed=0)
        spec = default_spec(self.config.model, 30)
        self.store = FrameStore(recordings, spec, cache_bytes=10**9, spill=out)
        self.store.load(lambda _: None, lambda: False)
        self.trainer = Trainer(
            self.config,
            self.samples,
            self.store,
            resume=None,
            training={},
            schedule=StepSchedule(100, 1e-6),
            log=NoLog(),
            workers=Workers(torch.device("cpu")),
        )

    def batches(self) -> list[Batch]:
        """Those of the first pass, as they are now."""
        how = Augmentation(self.config.mirror, self.config.shift_px)
        made = Batches(self.store, self.samples, augmentation=how, seed=self.config.seed)
        return list(made.shuffled(0, BATCH))

    def fail(self) -> str:
        """Train; returns what is said."""
        with pytest.raises(UserError) as error:
            self.trainer.run(lambda: False, Progress("", 1, shown=False))
        assert not (self.out / "best.pt").exists()
        return str(error.value)

    def kept(self) -> dict[str, Any]:
        """bad_batch.pt."""
        return dict(torch.load(self.out / "bad_batch.pt", weights_only=True))


def assert_holds(kept: dict[str, Any], batches: Sequence[Batch]) -> None:
    """It holds all of these batches and nothing else."""
    assert set(kept) == {field.name for field in dataclasses.fields(Batch)}
    for name, tensor in kept.items():
        expected = np.concatenate([getattr(batch, name) for batch in batches])
        np.testing.assert_array_equal(tensor.numpy(), expected, err_msg=name)


def test_a_loss_that_is_no_number_keeps_its_batch(play: Path, tmp_path: Path) -> None:
    """Whoever looks for the moment that broke a run must find it, and all that the network was asked there."""
    run = Run(play, tmp_path / "run", model="motion")
    bad = run.batches()[3]
    run.samples.targets[bad.indices[5], Control.LEFT_X] = np.nan
    said = run.fail()
    assert f"The loss is nan at step 4; the batch is in {run.out / 'bad_batch.pt'}" in said
    assert_holds(run.kept(), [run.batches()[3]])


def test_it_is_said_which_part_of_a_loss_is_no_number(play: Path, tmp_path: Path) -> None:
    """A run was stopped by "The loss is 0.53": it was the belief about the state that had gone."""
    run = Run(play, tmp_path / "run", model="fovea", accumulate=2)
    bad = run.batches()[1]
    run.samples.states[bad.indices[0]] = 3e38  # no NaN, which would mean that the state is not known
    said = run.fail()
    assert "The loss is " in said
    parts = dict(part.split() for part in said.split("(")[1].split(")")[0].split(", "))
    assert np.isfinite(float(parts["inputs"]))
    assert not np.isfinite(float(parts["belief"]))
    assert ") at step 1; the batch is in" in said
    assert_holds(run.kept(), [run.batches()[1]])


def test_a_gradient_that_is_no_number_keeps_all_batches_of_its_step(play: Path, tmp_path: Path) -> None:
    """It is the sum over several batches: the last of them alone may be sound."""
    run = Run(play, tmp_path / "run", model="motion", accumulate=2)
    run.samples.targets[run.batches()[2].indices[0], Control.SOUTH] = 1e30
    said = run.fail()
    assert "The gradient is inf at step 2; the 2 batches of that step are in" in said
    assert_holds(run.kept(), run.batches()[2:4])


def test_a_held_out_loss_that_is_no_number_stops_the_run(play: Path, tmp_path: Path) -> None:
    """Nothing is less than NaN: the pass it belongs to would stay the best one for good."""
    run = Run(play, tmp_path / "run", model="motion")
    moment = run.samples.held_out[3]
    run.samples.targets[moment, Control.LEFT_X] = np.nan
    said = run.fail()
    assert "The held-out loss after step" in said
    assert "is no number (loss nan, button_loss" in said
    assert "axis_loss nan" in said
    kept = run.kept()
    assert int(moment) in kept["indices"].tolist()
    assert set(kept["indices"].tolist()) <= set(run.samples.held_out.tolist())


def test_exploding_weights_stop_the_run_and_spoil_nothing(play: Path, tmp_path: Path) -> None:
    """The article skipped such batches or put a constant in their place, and trained on for hours."""
    config = TrainConfig(data=(play,), out=tmp_path / "run", model="motion", batch_size=BATCH, val_gap_s=0.2, lr=1e30)
    with pytest.raises(UserError, match=r"The (loss|gradient|held-out loss).*(nan|inf).*bad_batch\.pt"):
        run_training(config, stop=lambda: False)
    assert not (tmp_path / "run" / "best.pt").exists()
    last = tmp_path / "run" / "last.pt"
    assert not last.exists() or all(bool(w.isfinite().all()) for w in load_checkpoint(last).weights.values())
