"""Scores: repeatable, independent of the number of processes, and told as promised."""

from __future__ import annotations

import json
import os
import signal
import threading
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from rl_utils.arena.rollout import PlayerSpec, play_all
from rl_utils.arena.score import main, score
from rl_utils.arena.situations import SCORING_SEEDS
from rl_utils.controls import BUTTONS, REST, Control
from rl_utils.errors import UserError
from tests.recordings_kit import record_session, vectors
from tests.test_play_pool import players
from tests.x11_window import until

RATES = ("goals_per_min", "touches_per_min", "own_goals_per_min")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained network: it plays badly, but always the same."""
    import torch

    from rl_utils.checkpoint import Checkpoint, save_checkpoint
    from rl_utils.model import build_network, default_arguments, default_spec

    torch.manual_seed(0)
    spec = default_spec("motion", 30.0)
    arguments = default_arguments("motion", spec)
    network = build_network("motion", arguments)
    path = tmp_path_factory.mktemp("run") / "best.pt"
    saved = Checkpoint(
        model_name="motion",
        model_arguments=arguments,
        weights=network.state_dict(),
        spec=spec,
        fps=10.0,  # few pictures, to spare the machine
        capture_size=(480, 270),
    )
    save_checkpoint(saved, path)
    return path


@pytest.mark.parametrize("driver", ["expert", "random", "idle"])
def test_the_same_seeds_give_the_same_score_in_any_number_of_processes(driver: str, tmp_path: Path) -> None:
    """A score that depends on the machine's cores cannot be compared with anybody's."""
    results = []
    for workers in ("1", "3", "1"):
        file = tmp_path / f"{len(results)}.json"
        words = ["--driver", driver, "--episodes", "7", "--workers", workers, "--json", str(file)]
        assert main(words) == 0
        results.append(file.read_bytes())
    assert results[0] == results[1] == results[2]


def test_a_policy_scores_the_same_in_any_number_of_processes(checkpoint: Path) -> None:
    """Networks play from pixels; pictures and arithmetic have to repeat bit for bit, too."""
    spec = PlayerSpec("policy", checkpoint=checkpoint)
    seeds = [SCORING_SEEDS, SCORING_SEEDS + 1]
    alone = play_all(spec, "shot", seeds, workers=1)
    assert alone == play_all(spec, "shot", seeds, workers=2)
    assert all(rollout.stick_jerk > 0 for rollout in alone)


def test_minutes_are_played_by_whole_starts_in_order(tmp_path: Path) -> None:
    """With as many minutes for each row of a table, what is played must not depend on which process is fastest."""
    results = []
    for workers in ("1", "3"):
        file = tmp_path / f"{workers}.json"
        assert main(["--driver", "expert", "--minutes", "1", "--workers", workers, "--json", str(file)]) == 0
        results.append(file.read_bytes())
    assert results[0] == results[1]
    table = json.loads(results[0])
    seconds = [episode["seconds"] for episode in table["per_episode"]]
    assert sum(seconds[:-1]) < 60 <= sum(seconds)
    assert [episode["seed"] for episode in table["per_episode"]] == list(range(900000, 900000 + len(seconds)))


def test_starts_are_independent_of_each_other() -> None:
    """Scoring starts 0 to 9 or 5 to 9 has to agree on 5 to 9."""
    spec = PlayerSpec("expert")
    assert play_all(spec, "training", range(5), workers=1)[3:] == play_all(spec, "training", [3, 4], workers=1)


def test_the_json_holds_what_is_promised(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Reports and comparisons read these names."""
    file = tmp_path / "new" / "score.json"
    words = ["--driver", "expert", "--episodes", "10", "--seed", "900100", "--json", str(file), "--workers", "1"]
    assert main(words) == 0
    table = json.loads(file.read_text())
    for name in RATES:
        assert 0 <= table[f"{name}_low"] <= table[name] <= table[f"{name}_high"]
        assert table[f"{name}_high"] > 0
    assert (table["episodes"], table["seed"], table["situation"], table["name"]) == (10, 900100, "benchmark", "expert")
    assert table["held_out"] is True
    assert [episode["seed"] for episode in table["per_episode"]] == list(range(900100, 900110))
    seconds = [episode["seconds"] for episode in table["per_episode"]]
    assert max(seconds) <= 30
    assert table["minutes"] == pytest.approx(sum(seconds) / 60)
    assert table["touches_per_min"] * table["minutes"] == pytest.approx(
        sum(episode["touches"] for episode in table["per_episode"])
    )
    printed = capsys.readouterr().out
    assert "expert in benchmark: 10 episodes from seed 900100" in printed
    assert f"{table['goals_per_min']:.2f}" in printed


def test_seeds_for_training_are_not_held_out(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Somebody who scores a network on starts it may know has to be told."""
    words = ["--checkpoint", str(checkpoint), "--episodes", "1", "--seed", "0", "--situation", "shot"]
    assert main(words) == 0
    assert "not held out" in capsys.readouterr().err


def test_kickoffs_are_told_to_be_five(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All seeds share the same five starts: called held out and independent, a score would promise too much."""
    file = tmp_path / "score.json"
    words = ["--driver", "idle", "--episodes", "30", "--situation", "kickoff", "--workers", "1", "--json", str(file)]
    assert main(words) == 0
    table = json.loads(file.read_text())
    assert table["seed"] == SCORING_SEEDS
    assert table["held_out"] is False
    assert table["distinct_starts"] == 5
    said = "There are only 5 kickoffs, and training plays them, too. These 30 episodes had 5 different starts"
    assert said in table["note"]
    assert said in capsys.readouterr().out


def test_other_starts_are_told_to_be_different(tmp_path: Path) -> None:
    """A note where nothing is to be said would make people doubt every score."""
    file = tmp_path / "score.json"
    assert main(["--driver", "idle", "--episodes", "4", "--workers", "1", "--json", str(file)]) == 0
    table = json.loads(file.read_text())
    assert table["distinct_starts"] == 4
    assert "note" not in table


def test_a_constant_driver_holds_its_inputs() -> None:
    """The baseline "mean action" has to be just that: even sticks, and nearly no touches."""
    held = REST.copy()
    held[Control.RIGHT_TRIGGER] = 0.6
    spec = PlayerSpec("constant", held=tuple(held.tolist()))
    result = score(spec, name="constant", situation="benchmark", seed=900000, episodes=10, workers=1, quiet=True)
    assert result.stick_jerk == 0
    assert result.touches.per_min < 3


def test_the_mean_of_a_recording_is_what_it_teaches(tmp_path: Path) -> None:
    """Played from the disturbed inputs, or with half-pressed buttons, it would be no fair baseline."""
    recording = record_session(tmp_path / "play", 40, labels_from=0)
    words = ["--driver", "constant", "--constant", str(recording), "--episodes", "2", "--workers", "1"]
    assert main([*words, "--json", str(tmp_path / "score.json")]) == 0
    held = vectors(range(1000, 1040)).mean(axis=0, dtype=np.float64)
    held[BUTTONS] = held[BUTTONS] >= 0.5
    spec = PlayerSpec("constant", held=tuple(held.tolist()))
    expected = play_all(spec, "benchmark", [SCORING_SEEDS, SCORING_SEEDS + 1], workers=1)
    played = json.loads((tmp_path / "score.json").read_text())["per_episode"]
    assert played == [asdict(rollout) for rollout in expected]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--driver", "expert", "--situation", "nowhere"], "There is no situation nowhere"),
        (["--driver", "expert", "--seed", "-1"], "Seed -1 is out of range"),
        (["--checkpoint", "no/such.pt"], "no/such.pt"),
        (["--driver", "constant", "--constant", "no/such/folder"], "no/such/folder"),
        ([], "Nothing to score"),
    ],
)
@pytest.mark.parametrize("workers", ["1", "2"])
def test_mistakes_are_one_line(
    words: list[str], problem: str, workers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mistake in the command has to be answered, also by the processes that play, not by a traceback or a hang."""
    assert main([*words, "--episodes", "2", "--workers", workers]) == 2
    err = capsys.readouterr().err
    assert problem in err
    assert "Traceback" not in err


@pytest.mark.parametrize("name", ["file/score.json", "file/new/score.json", "folder"])
def test_a_result_that_could_not_be_written_is_refused_before_playing(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A slip in the path would cost an hour of scoring."""
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    # Would fail at once, too, if it were tried first.
    words = ["--driver", "constant", "--constant", "no/such/folder", "--json", str(tmp_path / name)]
    assert main(words) == 2
    err = capsys.readouterr().err
    assert "cannot be written" in err
    assert "--json" in err


def test_a_result_that_is_not_written_is_at_least_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """When the disk fills up while it plays, an hour of scoring must not be lost."""
    assert main(["--driver", "idle", "--episodes", "1", "--workers", "1", "--json", "/dev/full"]) == 2
    captured = capsys.readouterr()
    assert "/dev/full cannot be written (No space left on device)" in captured.err
    assert "idle in benchmark: 1 episodes" in captured.out


def test_a_killed_worker_is_told() -> None:
    """When the machine runs out of memory and kills a worker, the score must end and not wait for ever."""

    def kill_one() -> None:
        os.kill(until(lambda: players(os.getpid()), deadline_s=60)[0], signal.SIGKILL)

    killer = threading.Thread(target=kill_one)
    killer.start()
    with pytest.raises(UserError, match="ended from outside"):
        play_all(PlayerSpec("idle"), "benchmark", range(2000), workers=2)
    killer.join()
