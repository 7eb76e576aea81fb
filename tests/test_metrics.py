"""Numbers about predictions that mean something: beside baselines, and where something changes."""

from __future__ import annotations

import json

import numpy as np
import pytest

from rl_utils.controls import N_CONTROLS, NAMES, REST, Control
from rl_utils.metrics import accuracy, as_markdown, constant_inputs, f1, report, used_controls


def rows(count: int) -> np.ndarray:
    return np.tile(REST, (count, 1)).astype(np.float32)


def test_accuracies_are_the_articles_and_one_that_allows_no_excuse() -> None:
    """Buttons at one half, axes within 5 % and 1 %; 'all right' needs all 19 at once."""
    targets, inputs = rows(4), rows(4)
    inputs[0, Control.SOUTH] = 1
    inputs[1, Control.LEFT_X] = 0.53
    inputs[2, Control.LEFT_X] = 0.57
    right = accuracy(inputs, targets)
    assert right.buttons == pytest.approx(1 - 1 / 44)
    assert right.axes == pytest.approx(1 - 1 / 32)
    assert right.axes_strict == pytest.approx(1 - 2 / 32)
    assert right.all_right == pytest.approx(0.5)


def test_f1_of_a_button() -> None:
    """Two of three claims right, two of four presses found: the harmonic mean of 2/3 and 1/2."""
    truth = np.array([1, 1, 1, 1, 0, 0], bool)
    claims = np.array([1, 1, 0, 0, 1, 0], bool)
    assert f1(claims, truth) == pytest.approx(2 * (2 / 3 * 1 / 2) / (2 / 3 + 1 / 2))
    assert f1(np.zeros(6, bool), truth) == 0
    assert f1(np.zeros(6, bool), np.zeros(6, bool)) is None


def test_the_constant_answer_is_the_best_one() -> None:
    """A weak baseline would flatter every policy."""
    targets = rows(10)
    targets[:7, Control.EAST] = 1
    targets[:2, Control.SOUTH] = 1
    targets[:, Control.LEFT_X] = [0.1] * 6 + [1.0] * 4
    constant = constant_inputs(targets)
    assert constant[Control.EAST] == 1
    assert constant[Control.SOUTH] == 0
    assert constant[Control.LEFT_X] == pytest.approx(0.1)


def play() -> tuple[np.ndarray, np.ndarray]:
    targets = rows(100)
    targets[30:50, Control.SOUTH] = 1
    targets[40:, Control.LEFT_X] = 0.9
    previous = np.concatenate([targets[:1], targets[:-1]])
    return targets, previous


def test_repeating_the_last_inputs_looks_good_until_something_changes() -> None:
    """The reason for change-points: copying is right in 97 of 100 frames and cannot play."""
    targets, previous = play()
    table = report(targets, targets, previous, constant_inputs(targets))
    copying = table["copy_last"]["controls"]["south"]
    assert copying["all"] == pytest.approx(0.95)
    assert copying["changes"] == 0
    assert copying["n_changes"] == 2
    assert table["policy"]["controls"]["south"]["changes"] == 1
    assert table["copy_last"]["all_right"] == pytest.approx(0.97)
    assert table["policy"]["all_right"] == 1
    stick = table["copy_last"]["controls"]["left_x"]
    assert stick["changes"] == pytest.approx(0.4)
    assert stick["all"] == pytest.approx(0.004)


def test_constant_and_policy_are_measured_alike() -> None:
    """A policy that always answers the same must get exactly the constant's numbers."""
    targets, previous = play()
    constant = constant_inputs(targets)
    table = report(np.tile(constant, (100, 1)), targets, previous, constant)
    assert table["policy"] == table["constant"]


def test_the_report_is_plain_data_with_every_control() -> None:
    """It is stored in checkpoints, which hold nothing else."""
    targets, previous = play()
    table = report(targets, targets, previous, constant_inputs(targets))
    assert json.loads(json.dumps(table)) == table
    assert set(table["policy"]["controls"]) == set(NAMES)
    assert len(NAMES) == N_CONTROLS


def test_the_table_shows_what_is_used() -> None:
    """Fifteen rows of controls that nobody touches would hide the four that matter."""
    targets, previous = play()
    table = report(targets, targets, previous, constant_inputs(targets))
    assert used_controls(table) == ["south", "left_x"]
    text = as_markdown(table)
    assert text.count("\n") == 3
    assert "| south | F1 | 1.000 | 0.950 |" in text
    assert "– " not in text.splitlines()[2]
