"""Which mistake a button makes: precision, recall, and what another threshold would give."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest

from rl_utils.controls import BUTTONS, NAMES, REST, Control
from rl_utils.metrics import constant_inputs, report
from rl_utils.press_metrics import (
    average_precision,
    control_scalars,
    controls_csv,
    press_table,
    presses_markdown,
    used_buttons,
)


def test_average_precision_is_the_area_under_the_curve() -> None:
    """Worked by hand: presses at ranks 1, 3 and 4 of five."""
    probability = np.array([0.9, 0.8, 0.7, 0.6, 0.1])
    truth = np.array([1, 0, 1, 1, 0], bool)
    assert average_precision(probability, truth) == pytest.approx((1 / 1 + 2 / 3 + 3 / 4) / 3)
    assert average_precision(np.full(5, 0.3), truth) == pytest.approx(3 / 5), "no order: the share of presses"
    assert average_precision(probability, np.zeros(5, bool)) is None


def measured() -> tuple[dict[str, object], np.ndarray]:
    """Ten frames in which south is pressed in 4 to 7, and a policy that presses it in 5 to 8."""
    targets = np.tile(REST, (10, 1)).astype(np.float32)
    targets[4:8, Control.SOUTH] = 1
    previous = np.concatenate([targets[:1], targets[:-1]])
    inputs = np.tile(REST, (10, 1)).astype(np.float32)
    inputs[5:9, Control.SOUTH] = 1
    probability = inputs[:, BUTTONS].copy()
    found = report(inputs, targets, previous, constant_inputs(targets))
    return found | {"presses": press_table(inputs, probability, targets, previous)}, targets


def test_pressed_too_late_is_seen_at_the_changes() -> None:
    """Three quarters right over all frames, and wrong at both moments that matter."""
    found, _ = measured()
    presses = found["presses"]
    assert isinstance(presses, dict)
    south = presses["south"]
    assert (south["presses"], south["precision"], south["recall"]) == (4, 0.75, 0.75)
    assert (south["precision_at_changes"], south["recall_at_changes"]) == (0, 0)
    assert presses["east"] == {
        "presses": 0, "precision": None, "recall": None, "average_precision": None, "precision_at_changes": None,
        "recall_at_changes": None,
    }  # fmt: skip
    assert used_buttons(presses) == ["south"]


def test_tables_and_curves_hold_what_was_measured() -> None:
    """Stored in checkpoints as plain data, shown in TensorBoard, written for a spreadsheet."""
    found, _ = measured()
    assert json.loads(json.dumps(found)) == found
    curves = control_scalars(found)
    assert curves["south/precision"] == 0.75
    assert not [name for name in curves if name.startswith("east")]
    rows = list(csv.DictReader(io.StringIO(controls_csv(found))))
    assert [row["control"] for row in rows] == list(NAMES)
    assert (rows[0]["precision"], rows[1]["precision"], rows[0]["changes"]) == ("0.75", "", "2")
    assert presses_markdown(found["presses"]).splitlines()[2].startswith("| south | 4 | 0.750 |")  # type: ignore[arg-type]
