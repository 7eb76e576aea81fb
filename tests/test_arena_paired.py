"""Comparing two players on the same starts: what is noise, what is not, and what cannot be compared."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from rl_utils.arena.paired import difference
from rl_utils.arena.score import main


def played(rates: np.ndarray, seed: int) -> np.ndarray:
    """Touches and minutes of starts of half a minute each."""
    minutes = np.full(len(rates), 0.5)
    return np.stack([np.random.default_rng(seed).poisson(rates * minutes), minutes], axis=1).astype(float)


def test_equal_players_are_rarely_told_apart() -> None:
    """A test that finds progress in noise would reward every change."""
    starts = np.random.default_rng(0).gamma(2, 5, 60)  # some starts are easier than others
    found = [difference(played(starts, 2 * i), played(starts, 2 * i + 1)) for i in range(40)]
    assert np.mean([d.p < 0.05 for d in found]) < 0.15
    assert np.mean([d.low <= 0 <= d.high for d in found]) > 0.85


def test_a_better_player_is_found_though_starts_differ_more() -> None:
    """Pairing is what makes half an hour of play enough."""
    starts = np.random.default_rng(0).gamma(2, 5, 60)
    found = difference(played(1.4 * starts, 1), played(starts, 2))
    assert found.p < 0.01
    assert 0 < found.low < found.per_min < found.high
    assert found.starts == 60
    other_way = difference(played(starts, 2), played(1.4 * starts, 1))
    assert other_way.per_min == pytest.approx(-found.per_min)


def test_score_compares_with_an_earlier_score(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The judgement of a round of corrections is one command."""
    idle, both = tmp_path / "idle.json", tmp_path / "both.json"
    assert main(["--driver", "idle", "--episodes", "6", "--workers", "1", "--json", str(idle)]) == 0
    capsys.readouterr()
    words = ["--driver", "expert", "--episodes", "8", "--workers", "1", "--against", str(idle), "--json", str(both)]
    assert main(words) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("touches - idle"))
    assert "6 starts" in line
    assert "p = 0.0" in line
    table = json.loads(both.read_text())["against"]
    assert table["name"] == "idle"
    assert table["touches"]["low"] > 5


@pytest.mark.parametrize(
    "content",
    [
        None,
        "no json",
        "{}",
        "[1, 2]",
        '{"per_episode": 3}',
        '{"name": "a", "situation": "benchmark", "per_episode": []}',
        '{"name": "a", "situation": "benchmark", "per_episode": [{"seed": 900000}]}',
    ],
)
def test_what_is_no_score_is_refused(content: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong file must be named before an hour of playing."""
    file = tmp_path / "other.json"
    if content is not None:
        file.write_text(content)
    assert main(["--driver", "idle", "--episodes", "1", "--against", str(file)]) == 2
    line = capsys.readouterr().err
    assert (
        "other.json cannot be read (No such" in line if content is None else "other.json holds no score. Name" in line
    )


def test_other_starts_cannot_be_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two scores on different starts differ by luck that pairing does not take away."""
    file = tmp_path / "idle.json"
    assert main(["--driver", "idle", "--episodes", "1", "--json", str(file)]) == 0
    assert main(["--driver", "idle", "--episodes", "1", "--seed", "900005", "--against", str(file)]) == 2
    assert "--seed" in capsys.readouterr().err
