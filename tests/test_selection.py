"""The pass that is kept: by its play in the arena, on starts of its own, and the same after an interruption."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

import train
from rl_utils.arena.situations import SCORING_SEEDS
from rl_utils.checkpoint import load_checkpoint
from rl_utils.coach_rounds import FIRST_SEED as COACH_SEED
from rl_utils.coach_rounds import SEEDS_PER_ROUND
from rl_utils.config import TrainConfig
from rl_utils.run_state import Ending, RunState
from rl_utils.selection import FIRST_SEED, GOALS, PLAYED_COLUMNS, TOUCHES, standing
from rl_utils.training_run import run_training
from tests.learning_data import record_marker_play
from tests.test_state_policy import record_states


def test_the_starts_are_those_of_nobody_else() -> None:
    """A pass chosen by the very starts that are scored later would be published as better than it is."""
    most = 2000
    TrainConfig(data=(Path("a"),), out=Path("b"), select_episodes=most, coach=18)
    assert COACH_SEED + 19 * SEEDS_PER_ROUND <= FIRST_SEED
    assert FIRST_SEED + most <= SCORING_SEEDS


def metrics(loss: float, goals: float | None = None, touches: float = 0.0) -> dict[str, object]:
    return {"loss": loss, "arena": {} if goals is None else {GOALS: goals, TOUCHES: touches}}


def test_the_better_player_wins_whatever_its_loss() -> None:
    """The loss ranked nothing where both were measured; without play it is all there is."""
    assert standing(metrics(3.0, 1.0, 10.0)) > standing(metrics(2.0, 0.5, 10.0))
    assert standing(metrics(3.0, 0.0, 16.0)) > standing(metrics(2.0, 1.0, 10.0)), "many touches outweigh one goal"
    assert standing(metrics(2.0, 0.0, 0.0)) > standing(metrics(3.0, 0.0, 0.0)), "before it has learnt to play"
    assert standing(metrics(2.0)) > standing(metrics(3.0))
    assert standing({"loss": 2.0}) == standing(metrics(2.0)), "a run that was begun with an earlier version"


def test_losses_of_rounds_are_not_compared_but_play_is() -> None:
    """A round on other held-out play could never beat, or always beat, the one before it."""
    state = RunState(best=metrics(2.0, 1.0, 10.0))
    state.next_round(keep_best=True)
    assert state.best
    state.next_round(keep_best=False)
    assert not state.best


def learn(play: Path, out: Path, *, stop_in_play: bool = False, resume: bool = False) -> Ending:
    config = TrainConfig(
        data=(play,), out=out, model="state", epochs=1, batch_size=64, val_gap_s=0.5, threads=1, select="score",
        select_episodes=2, resume=resume,
    )  # fmt: skip
    # last.pt is written first before the policy plays.
    return run_training(config, stop=lambda: stop_in_play and (out / "last.pt").exists()).ending


def test_a_run_stopped_while_it_plays_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    """Ctrl+C comes in the longest wait; it must neither be ignored nor cost the pass, nor change what is chosen."""
    record_states(tmp_path / "play", 60, 3)
    before = torch.get_num_threads()
    assert learn(tmp_path / "play", tmp_path / "whole") is Ending.COMPLETE
    assert torch.get_num_threads() == before
    assert learn(tmp_path / "play", tmp_path / "part", stop_in_play=True) is Ending.INTERRUPTED
    assert not (tmp_path / "part" / "best.pt").exists()
    assert learn(tmp_path / "play", tmp_path / "part", resume=True) is Ending.COMPLETE
    one, two = (load_checkpoint(tmp_path / name / "best.pt") for name in ("whole", "part"))
    assert set(one.metrics["arena"]) == set(PLAYED_COLUMNS)
    assert one.metrics["arena"] == two.metrics["arena"]
    assert all(torch.equal(one.weights[name], two.weights[name]) for name in one.weights)
    with (tmp_path / "part" / "metrics.csv").open() as file:
        (row,) = csv.DictReader(file)
    np.testing.assert_allclose(float(row[TOUCHES]), one.metrics["arena"][TOUCHES], rtol=1e-4)
    assert "chosen by its play" in (tmp_path / "part" / "README.md").read_text()


@pytest.mark.parametrize("option", [["--coach", "1"], ["--select", "score"]])
def test_what_cannot_be_played_is_said_first(
    option: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An hour of training must not end in the news that its policy cannot play the arena."""
    play = record_marker_play(tmp_path / "play", 300, fps=25.0)
    words = [str(play), "--out", str(tmp_path / "run"), *option, "--val-gap-s", "0.5"]
    assert train.main([*words, "--batch-size", "16"]) == 2
    assert "25 fps" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("option", [["--coach", "1"], ["--select", "score"]])
def test_play_of_something_else_is_pointed_out(
    option: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody who recorded the game would otherwise get a policy of the arena mixed in, without a word."""
    play = record_marker_play(tmp_path / "play", 300, fps=30.0)
    words = [str(play), "--out", str(tmp_path / "run"), "--val-gap-s", "0.5", *option]
    assert train.main([*words, "--batch-size", "1024"]) == 2, "nothing is learnt here"
    assert "None of the recordings is of the practice arena" in caplog.text
