"""What is wrong with a button: pressed too often, too rarely, or at the wrong threshold; and all controls as a table.

F1 (`metrics`) is one number for two different mistakes. Precision says how many of the presses were right, recall how
many of the right ones were made, average precision what could be had at other thresholds; each also at the moments at
which that button changed.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from rl_utils.controls import N_BUTTONS, NAMES
from rl_utils.metrics import InputRows, used_controls

PRESS_COLUMNS: Final = ("precision", "recall", "average_precision", "precision_at_changes", "recall_at_changes")
Presses = Mapping[str, Mapping[str, float | int | None]]


def average_precision(probability: NDArray[np.floating[Any]], truth: NDArray[np.bool_]) -> float | None:
    """The area under the curve of precision over recall, in steps: at each press found, the precision so far.

    Args:
        probability: (N,) of being pressed.
        truth: (N,) whether it was pressed.

    Returns:
        In [0, 1]; chance gives the share of presses. None where nothing was pressed.
    """
    if not truth.any():
        return None
    order = np.argsort(-probability, kind="stable")
    hits = np.cumsum(truth[order])
    # Equal probabilities pass a threshold together: the curve has no point between them.
    ends = np.flatnonzero(np.append(np.diff(probability[order]) != 0, True))
    found, claimed = hits[ends], ends + 1
    return float((np.diff(found, prepend=0) * found / claimed).sum() / hits[-1])


def press_table(
    inputs: InputRows, probability: NDArray[np.float32], targets: InputRows, previous: InputRows
) -> Presses:
    """How each button is pressed.

    Args:
        inputs: (N, 19) decoded predictions.
        probability: (N, 11) that each button is pressed.
        targets: (N, 19) what should have been pressed.
        previous: (N, 19) what should have been pressed one frame before.

    Returns:
        Plain data, for each button by name: `presses`, the frames in which it should be pressed, and `PRESS_COLUMNS`;
        None where there is nothing to be right about.
    """
    table = {}
    for index, name in enumerate(NAMES[:N_BUTTONS]):
        truth, claimed = targets[:, index] >= 0.5, inputs[:, index] >= 0.5
        changed = truth != (previous[:, index] >= 0.5)
        precision, recall = _precision_recall(claimed, truth)
        precision_then, recall_then = _precision_recall(claimed[changed], truth[changed])
        values = (precision, recall, average_precision(probability[:, index], truth), precision_then, recall_then)
        table[name] = {"presses": int(truth.sum())} | dict(zip(PRESS_COLUMNS, values, strict=True))
    return table


def _precision_recall(claimed: NDArray[np.bool_], truth: NDArray[np.bool_]) -> tuple[float | None, float | None]:
    hits = int((claimed & truth).sum())
    return (
        hits / int(claimed.sum()) if claimed.any() else None,
        hits / int(truth.sum()) if truth.any() else None,
    )


def used_buttons(presses: Presses) -> list[str]:
    """Names of the buttons that are pressed at some time, or should be."""
    return [name for name, row in presses.items() if row["presses"] or row["precision"] is not None]


def presses_markdown(presses: Presses) -> str:
    """The table of the buttons that are used; higher is better everywhere."""
    lines = [
        "| button | presses | precision | recall | average precision | at changes: precision | recall |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in used_buttons(presses):
        cells = [_cell(presses[name][column]) for column in PRESS_COLUMNS]
        lines.append(f"| {name} | {presses[name]['presses']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def control_scalars(held_out: Mapping[str, Any]) -> dict[str, float]:
    """`metrics.report` with `press_table` as `presses`, as curves: control/measure → value, for controls in use."""
    curves: dict[str, float | None] = {}
    for name in used_controls(held_out):
        score = held_out["policy"]["controls"][name]
        measure = "f1" if NAMES.index(name) < N_BUTTONS else "error"
        curves |= {f"{name}/{measure}": score["all"], f"{name}/{measure}_at_changes": score["changes"]}
    for name in used_buttons(held_out["presses"]):
        curves |= {f"{name}/{column}": held_out["presses"][name][column] for column in PRESS_COLUMNS}
    return {name: value for name, value in curves.items() if value is not None}


def controls_csv(held_out: Mapping[str, Any]) -> str:
    """All controls, one row each, with what costs nothing beside it; empty where there is nothing to measure.

    Columns: control; measure, f1 of a button or error of an axis; who (policy, copy_last, constant) over all frames and
    at changes; changes, how many; then of buttons `presses` and `PRESS_COLUMNS`.
    """
    who = ("policy", "copy_last", "constant")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    at_changes = [f"{w}_at_changes" for w in who]
    writer.writerow(["control", "measure", *who, *at_changes, "changes", "presses", *PRESS_COLUMNS])
    for index, name in enumerate(NAMES):
        scores = [held_out[w]["controls"][name] for w in who]
        row = [s["all"] for s in scores] + [s["changes"] for s in scores]
        press = held_out["presses"].get(name, {})
        row += [scores[0]["n_changes"], *(press.get(column) for column in ("presses", *PRESS_COLUMNS))]
        cells = ["" if value is None else f"{value:.6g}" for value in row]
        writer.writerow([name, "f1" if index < N_BUTTONS else "error", *cells])
    return text.getvalue()


def _cell(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
