"""The picture of scores in the demo's report."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from rl_utils.errors import UserError
from rl_utils.plots import COLOURS, ScoreRow, report_plot

WEAK = ScoreRow("idle", 30, 0.1, 0.0, 0.3, 0.1, 0.02, 0.2)
STRONG = ScoreRow("scripted driver", 30, 23.6, 22.0, 25.1, 4.58, 3.9, 5.2, "a note")


def coloured(path: Path, colour: str) -> np.ndarray:
    """Per row of pixels, how many have this colour."""
    picture = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    return (np.abs(picture.astype(int) - rgb).max(axis=2) < 8).sum(axis=1)


@pytest.mark.parametrize("colour", COLOURS)
def test_longer_bars_play_better_and_the_first_row_is_on_top(tmp_path: Path, colour: str) -> None:
    """A bar in the wrong row or of the wrong length tells that the wrong driver is the better one."""
    report_plot([STRONG, WEAK], tmp_path / "strong_first.png")
    report_plot([WEAK, STRONG], tmp_path / "weak_first.png")
    strong_first, weak_first = (coloured(tmp_path / name, colour) for name in ("strong_first.png", "weak_first.png"))
    middle = len(strong_first) // 2
    assert strong_first[:middle].max() > 20 * strong_first[middle:].max() > 0
    assert weak_first[middle:].max() > 20 * weak_first[:middle].max() > 0


def test_every_row_gets_its_place(tmp_path: Path) -> None:
    """With more drivers the picture has to grow instead of squeezing names into each other."""
    report_plot([WEAK], tmp_path / "one.png")
    report_plot([WEAK] * 9, tmp_path / "nine.png")
    one, nine = (cv2.imread(str(tmp_path / name)).shape for name in ("one.png", "nine.png"))
    assert nine[0] > one[0] + 8 * 50
    assert nine[1] == one[1]


def test_nobody_touched_the_ball(tmp_path: Path) -> None:
    """A demo whose policy does nothing must still end with its report."""
    report_plot([ScoreRow("nobody", 0.5, 0, 0, 0, 0, 0, 0)], tmp_path / "new" / "nothing.png")
    assert (tmp_path / "new" / "nothing.png").stat().st_size > 0


def test_an_interval_that_excludes_its_value_is_drawn(tmp_path: Path) -> None:
    """Rounded figures may lie just outside their interval, which matplotlib refuses as a negative length."""
    report_plot([ScoreRow("rounded", 1, 1.0, 1.01, 0.99, 0.5, 0.6, 0.4)], tmp_path / "rounded.png")
    assert (tmp_path / "rounded.png").exists()


def test_unwritable_place_is_the_users_to_fix(tmp_path: Path) -> None:
    """A traceback at the very end of the demo would hide where the results are."""
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        report_plot([WEAK], tmp_path / "file" / "scores.png")
