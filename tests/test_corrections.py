"""Learning on from corrections: the run begins with the policy that was corrected, and learns what the person did."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from rl_utils.checkpoint import load_checkpoint, load_policy, save_checkpoint
from rl_utils.config import TrainConfig
from rl_utils.controls import Control
from rl_utils.errors import UserError
from rl_utils.interfaces import Flag, Source
from rl_utils.run_state import Outcome
from rl_utils.training_run import run_training
from tests.learning_data import marker_play, record, record_marker_play

WRONG, RIGHT = 0.0, 1.0


@pytest.fixture(scope="module")
def play(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Play of somebody who never brakes."""
    return record_marker_play(tmp_path_factory.mktemp("play"), 300)


@pytest.fixture(scope="module")
def first(play: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The policy that learned from it."""
    out = tmp_path_factory.mktemp("runs") / "first"
    train((play,), out, epochs=2)
    return out / "best.pt"


def train(data: tuple[Path, ...], out: Path, **changes: object) -> Outcome:
    settings: dict[str, object] = {"model": "motion", "epochs": 1, "batch_size": 16, "val_gap_s": 0.5, "threads": 1}
    config = TrainConfig(data=data, out=out, **(settings | changes))  # type: ignore[arg-type]
    return run_training(config, stop=lambda: False)


def test_a_run_begins_with_the_weights_it_is_given(play: Path, first: Path, tmp_path: Path) -> None:
    """Learning on must not begin from nothing, else each round of corrections costs a whole training."""
    train((play,), tmp_path / "on", init=first, lr=1e-12, weight_decay=0.0, ema=0.0, seed=7, epochs=2)
    best = load_checkpoint(tmp_path / "on" / "best.pt")
    given, found = load_checkpoint(first).weights, best.weights
    moved = [n for n in given if "running" not in n and "num_batches" not in n and not np.allclose(given[n], found[n])]
    assert not moved
    assert best.metrics["epoch"] == 2, "held-out play that was learnt before cannot say which pass is best"
    assert "learnt before is not known here" in (tmp_path / "on" / "README.md").read_text()


def test_learning_on_keeps_the_network_as_it_was_made(play: Path, tmp_path: Path) -> None:
    """Policies from before hidden units leaked would see otherwise from one moment to the next."""
    train((play,), tmp_path / "new", model="fovea")
    made = load_checkpoint(tmp_path / "new" / "best.pt")
    assert made.model_arguments["leak"] > 0
    arguments = {name: value for name, value in made.model_arguments.items() if name != "leak"}
    save_checkpoint(dataclasses.replace(made, model_arguments=arguments), tmp_path / "old.pt")
    train((play,), tmp_path / "on", model="fovea", init=tmp_path / "old.pt", lr=1e-12)
    assert "leak" not in load_checkpoint(tmp_path / "on" / "best.pt").model_arguments


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"model": "rocketnet"}, "holds a motion"), ({"init": Path("nothing.pt")}, "nothing.pt")],
)
def test_weights_that_do_not_fit_are_refused_before_anything_is_read(
    changes: dict[str, object], message: str, play: Path, first: Path, tmp_path: Path
) -> None:
    """Found out after an hour of reading pictures, it would be an hour too late."""
    with pytest.raises(UserError, match=message):
        train((play,), tmp_path / "run", **({"init": first} | changes))
    assert not (tmp_path / "run").exists(), "a folder in which nothing was done would be taken for a run"


@pytest.mark.parametrize("begun", [True, False])
def test_a_run_is_not_resumed_as_another_kind_of_run(begun: bool, play: Path, first: Path, tmp_path: Path) -> None:
    """Which pass becomes best.pt depends on it; half of the run would be chosen by one rule, half by the other."""
    with_init: dict[str, object] = {"init": first}
    train((play,), tmp_path / "run", **(with_init if begun else {}))
    message = "begun with --init .*Give --init" if begun else "begun without --init, not with it.*Leave --init away"
    with pytest.raises(UserError, match=message):
        train((play,), tmp_path / "run", resume=True, epochs=2, **({} if begun else with_init))
    outcome = train((play,), tmp_path / "run", resume=True, epochs=2, **(with_init if begun else {}))
    assert outcome.epochs == 2


def corrected_drive(folder: Path) -> Path:
    """The policy drives without braking, until somebody takes over and brakes."""
    frames, inputs = marker_play(300, seed=5)
    source = np.where(np.arange(300) < 200, Source.POLICY, Source.TAKEOVER)
    flags = np.where(np.arange(300) // 45 == 155 // 45, Flag.PRE_TAKEOVER, 0).astype(np.uint8)
    inputs[:, Control.LEFT_TRIGGER] = np.where(source == Source.TAKEOVER, RIGHT, WRONG)
    return record(folder, frames, inputs, sources=source, flags=flags)


def test_what_the_person_did_is_learnt_and_what_they_stopped_is_not(play: Path, first: Path, tmp_path: Path) -> None:
    """The purpose of taking over: next time the policy does it the person's way."""
    drive = corrected_drive(tmp_path / "drive")
    train((play, drive), tmp_path / "second", init=first, epochs=2, takeover_weight=8.0)
    frames, _ = marker_play(60, seed=9)
    before, after = (
        float(np.mean([policy.act(frame)[Control.LEFT_TRIGGER] for frame in frames]))
        for policy in (load_policy(first), load_policy(tmp_path / "second" / "best.pt"))
    )
    assert before < 0.25, "it is 0 in play; how near so short a training comes depends on the processor"
    assert after > before + 0.3
    card = (tmp_path / "second" / "README.md").read_text()
    assert "| policy 67%, takeover 33% |" in card
    assert "takeovers 8, and" in card
