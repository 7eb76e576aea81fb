"""eval.py in direct mode: what its pad lets through, and what a killed one left."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import eval as eval_script
from rl_utils.controls import REST, Control
from rl_utils.recordings import open_recordings
from tests.learning_data import record
from tests.recordings_kit import write_article_file
from tests.test_recovery import orphan

DRIVE = ["--frames", "arena", "--sink", "arena", "--seed", "1", "--minutes", "0.02"]
MENU = [Control.START, Control.SELECT, Control.MODE]


@pytest.fixture
def pressed(tmp_path: Path) -> Path:
    """Half a second in which all menu buttons are pressed, and the stick is hardly moved."""
    inputs = REST.copy()
    inputs[[*MENU, Control.SOUTH]] = 1.0
    inputs[Control.LEFT_X] = 0.55
    record(tmp_path / "play", np.zeros((40, 18, 32, 3), np.uint8), np.tile(inputs, (40, 1)))
    return tmp_path / "play"


@pytest.mark.parametrize(
    ("options", "menu", "stick"),
    [([], [0, 0, 0], 0.55), (["--dead-zone", "0.2"], [0, 0, 0], 0.5), (["--allow-menu"], [1, 1, 0], 0.55)],
)
def test_menu_buttons_and_small_moves_are_held_back(
    pressed: Path, tmp_path: Path, options: list[str], menu: list[int], stick: float
) -> None:
    """A policy would be tried in direct mode with other controls than it has anywhere else."""
    out = tmp_path / "r"
    assert eval_script.main(["--inputs", str(pressed), *DRIVE, "--record", str(out), *options]) == 0
    (driven,) = open_recordings([out])
    with driven:
        assert np.allclose(driven.inputs[:, MENU], menu)
        assert np.allclose(driven.inputs[:, Control.LEFT_X], stick)
        assert (driven.inputs[:, Control.SOUTH] == 1).all()


@pytest.mark.parametrize(("profile", "button"), [("playstation", Control.SOUTH), ("playstation-generic", Control.WEST)])
def test_inputs_of_the_articles_files_are_those_of_the_named_pad(tmp_path: Path, profile: str, button: Control) -> None:
    """Another pad's jump would be played as boost."""
    inputs = REST.copy()
    inputs[Control.SOUTH] = 1.0
    file, out = tmp_path / "1_batch.h5", tmp_path / "r"
    write_article_file(file, np.zeros((40, 18, 32, 3), np.uint8), np.tile(inputs, (40, 1)))
    assert eval_script.main(["--inputs", str(file), "--pad-profile", profile, *DRIVE, "--record", str(out)]) == 0
    (driven,) = open_recordings([out])
    with driven:
        assert np.flatnonzero(driven.inputs[0] == 1).tolist() == [button]


def test_what_a_killed_one_left_is_recovered(pressed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Who only drives and corrects would never get it back: no other program looks into that folder."""
    part = orphan(tmp_path / "r", 8)
    assert part.exists()
    assert eval_script.main(["--inputs", str(pressed), *DRIVE, "--record", str(tmp_path / "r")]) == 0
    assert "Recovered " in capsys.readouterr().err
    assert not part.exists()
