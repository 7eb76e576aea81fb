"""Coach rounds: the policy plays, the scripted driver corrects it, and it learns from that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import train
from rl_utils.arena.direct import DirectArena
from rl_utils.arena.situations import SCORING_SEEDS, TRAINING_MIX
from rl_utils.checkpoint import load_checkpoint
from rl_utils.coach_rounds import SEEDS_PER_PIECE, first_seed, play_round
from rl_utils.config import TrainConfig
from rl_utils.data_batcher import BatchSaver
from rl_utils.interfaces import Source
from rl_utils.recordings import open_recordings
from rl_utils.run_state import Ending, Outcome
from rl_utils.selection import FIRST_SEED as SELECTION_SEEDS
from rl_utils.training_run import run_training

PLAY_MIN = 0.2
ROUNDS = range(1, 20)
PIECES = range(400)
"""Of the longest round, --coach-minutes 200."""


@pytest.fixture(scope="module")
def play(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fourteen seconds of the scripted driver."""
    folder = tmp_path_factory.mktemp("play")
    arena = DirectArena("training", 7, driver="expert", noise=1.0)
    with BatchSaver(folder, fps=30, size=(480, 270), frames=arena.info, pad=arena.pad.info, block=True) as saver:
        for _ in range(420):
            frame = arena.read()
            assert frame is not None
            saver.add(frame, arena.pad.at(frame.t_ns), segment=arena.segment)
    return folder


def learn(data: Path, out: Path, *, stop: Callable[[], bool] = lambda: False, resume: bool = False) -> Outcome:
    config = TrainConfig(
        data=(data,), out=out, epochs=2, batch_size=32, val_gap_s=0.2, threads=1, coach=2, coach_minutes=PLAY_MIN,
        resume=resume,
    )  # fmt: skip
    return run_training(config, stop=stop)


def test_a_round_is_the_policys_play_with_the_drivers_wishes(play: Path, tmp_path: Path) -> None:
    """Labels that were the policy's own inputs would teach it to repeat its mistakes."""
    whole = learn(play, tmp_path / "run")
    assert whole.ending is Ending.COMPLETE
    assert whole.epochs == 5, "two passes, between the rounds half as many, and two over everything"
    session, _ = open_recordings([tmp_path / "run" / "coach"])
    assert len(session) == round(PLAY_MIN * 60 * 30)
    assert set(session.source[1:].tolist()) == {Source.POLICY}
    assert session.has_labels
    assert np.abs(session.labels - session.inputs).mean() > 0.01
    state = load_checkpoint(tmp_path / "run" / "last.pt").resume["state"]
    assert state["round"] == 2
    best = load_checkpoint(tmp_path / "run" / "best.pt")
    assert best.data["samples"] == 420 + 2 * len(session)
    assert best.metrics["epoch"] == whole.epochs, "after a round the last pass counts, whatever its held-out loss"

    # Stopped between the pieces of the round, and gone on with: as if it had never been stopped.
    seen = list[str]()

    def stop() -> bool:
        seen.append("")
        return (tmp_path / "part" / "coach").exists()

    assert learn(play, tmp_path / "part", stop=stop).ending is Ending.INTERRUPTED
    assert seen
    assert learn(play, tmp_path / "part", resume=True).ending is Ending.COMPLETE
    one, two = (load_checkpoint(tmp_path / name / "last.pt").resume["network"] for name in ("run", "part"))
    assert all(torch.equal(one[name], two[name]) for name in one)

    other = play_round(
        tmp_path / "run" / "best.pt", tmp_path / "two", 3, minutes=0.05, on_progress=lambda _: None, stop=lambda: False
    )
    assert other is not None
    assert "touches" in str(other)
    (second,) = open_recordings([tmp_path / "two"])
    assert second.state is not None
    assert session.state is not None
    assert not np.array_equal(second.state[0], session.state[0]), "each round has its own starts"


def test_impossible_rounds_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """A slip in a number must not cost a night."""
    assert train.main(["nowhere", "--out", "run", "--coach", "-1"]) == 2
    assert "--coach -1 is out of range" in capsys.readouterr().err


def test_rounds_that_are_too_short_are_refused_at_the_start(
    play: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three seconds of play cannot be split: that was found out after the training and the round."""
    options = ["--out", str(tmp_path / "run"), "--val-share", "0.2", "--coach", "1", "--coach-minutes"]
    assert train.main([str(play), *options, "0.05"]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert "--coach-minutes 0.05 is too short to hold 20% out with 2 s between. Use at least 0.09, or lower" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("starts", [1, 3])
def test_rounds_play_all_kinds_of_starts(starts: int) -> None:
    """Half a minute is over after a few starts: if every piece began with the same kind, others would never be seen."""
    seeds = [first_seed(number, piece) + i for number in range(1, 6) for piece in range(12) for i in range(starts)]
    seen = Counter(TRAINING_MIX[seed % len(TRAINING_MIX)] for seed in seeds)
    for kind, count in Counter(TRAINING_MIX).items():
        assert seen[kind] / len(seeds) == pytest.approx(count / len(TRAINING_MIX), abs=0.04), kind


def test_no_start_is_played_twice_or_kept_for_something_else() -> None:
    """Starts by which checkpoints are chosen or scored would flatter them once they were learnt from."""
    firsts = sorted(first_seed(number, piece) for number in ROUNDS for piece in PIECES)
    assert np.diff(firsts).min() >= SEEDS_PER_PIECE
    assert firsts[-1] + SEEDS_PER_PIECE <= SELECTION_SEEDS < SCORING_SEEDS
