"""`make demo` in small: every step for real, ending in a scored report."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest

from rl_utils import demo
from rl_utils.demo import Budget


@pytest.mark.timeout(900)
def test_demo_ends_in_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first thing a stranger runs: from nothing to a table of scores, a video, a plot and a checkpoint."""
    monkeypatch.delenv("DISPLAY", raising=False)
    assert demo.main(["--minutes", "1", "--out", str(tmp_path)]) == 0
    (out,) = tmp_path.iterdir()
    table = capsys.readouterr().out
    for name in ("policy, real time", "policy, direct mode", "idle", "constant", "scripted driver"):
        assert f"| {name} |" in table
    rows = {row["name"]: row for row in json.loads((out / "report.json").read_text())["rows"]}
    assert rows["scripted driver"]["touches_per_min"] > 5 * rows["idle"]["touches_per_min"] + 5
    for name, row in rows.items():
        assert row["touches_low"] <= row["touches_per_min"] <= row["touches_high"]
        # Half a minute in real time; a game that a loaded machine lets stand still is not played meanwhile.
        assert row["minutes"] > (0.05 if name == "policy, real time" else 0.3)
    for file in ("scores.png", "window.png", "run/training.png", "run/best.pt", "run/README.md", "report.md"):
        assert (out / file).stat().st_size > 500, file
    assert (out / "report.md").read_text().startswith("# How well it plays\n\n| driver |")
    window = cv2.imread(str(out / "window.png"))
    assert window.shape == (540, 960, 3)
    assert window.std() > 15
    video = cv2.VideoCapture(str(out / "playback.mp4"))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) > 100
    video.release()


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first command of all must not answer a slip of the keyboard with a traceback."""
    (tmp_path / "file").write_text("")
    assert demo.main(["--out", str(tmp_path / "file")]) == 2
    assert "(Not a directory). Choose another --out" in capsys.readouterr().err


@pytest.mark.parametrize("minutes", [1, 5, 10, 60])
def test_a_budget_stays_within_its_minutes(minutes: float) -> None:
    """`make demo MINUTES=60` must not take two hours; recording directly takes an eighth of the play at most."""
    budget = Budget.of(minutes, cores=2)
    played = (budget.live_s + budget.recorders * budget.direct_s) / 60
    coached = budget.coach_rounds * budget.coach_min
    seen = budget.epochs * played + budget.coach_rounds * (played + coached)
    learning = seen * 1800 / 250 / 60  # 250 samples per second
    spent = budget.live_s / 60 + budget.direct_s / 60 / 6 + coached / 10 + learning + budget.drive_min
    assert spent <= max(minutes, 3)
