"""How good predictions are, beside what costs nothing: repeating the last inputs, and always the same inputs.

Frame by frame, repeating the last inputs is right nearly always, so a plain accuracy says little. Each control is
therefore also measured at its change-points, where repeating is always wrong. Closed-loop scores
(`python -m rl_utils.arena score`) rank policies; these numbers tell what they see wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from rl_utils.controls import AXES, BUTTONS, N_BUTTONS, NAMES

USABLE: Final = 0.05
"""An axis within this of the target counts as right. Source: the article's "usable" accuracy."""
STRICT: Final = 0.01
"""Source: the article's "strict" accuracy."""
CHANGE: Final = 0.1
"""An axis that moves further than this from one frame to the next has changed."""

InputRows = NDArray[np.float32]
"""(N, 19) float32 in [0, 1]."""


@dataclass(frozen=True)
class Accuracy:
    """The article's accuracies, and the one that allows no excuse. All are shares in [0, 1].

    Attributes:
        buttons: Of button states that are right.
        axes: Of axis values within 5 %.
        axes_strict: Of axis values within 1 %.
        all_right: Of samples with all 19 controls right, axes within 5 %.
    """

    buttons: float
    axes: float
    axes_strict: float
    all_right: float


def accuracy(inputs: InputRows, targets: InputRows) -> Accuracy:
    """Compare decoded inputs (N, 19) with targets (N, 19)."""
    buttons = inputs[:, BUTTONS] == (targets[:, BUTTONS] >= 0.5)
    error = np.abs(inputs[:, AXES] - targets[:, AXES])
    usable = error < USABLE
    return Accuracy(
        buttons=float(buttons.mean()),
        axes=float(usable.mean()),
        axes_strict=float((error < STRICT).mean()),
        all_right=float((buttons.all(axis=1) & usable.all(axis=1)).mean()),
    )


def f1(pressed: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float | None:
    """Harmonic mean of precision and recall; None where there is nothing to find and nothing was claimed."""
    hits = int((pressed & truth).sum())
    claims = int(pressed.sum()) + int(truth.sum())
    return 2 * hits / claims if claims else None


def constant_inputs(targets: InputRows) -> InputRows:
    """The best single answer to everything: each button's majority, each axis's median. (19,) float32."""
    constant: InputRows = np.median(targets, axis=0).astype(np.float32)
    constant[BUTTONS] = targets[:, BUTTONS].mean(axis=0) >= 0.5
    return constant


def report(inputs: InputRows, targets: InputRows, previous: InputRows, constant: InputRows) -> dict[str, Any]:
    """Everything that is said about predictions on held-out play.

    Args:
        inputs: (N, 19) decoded predictions.
        targets: (N, 19) what should have been pressed.
        previous: (N, 19) what should have been pressed one frame before.
        constant: (19,) from `constant_inputs` of the training samples.

    Returns:
        Plain data: the accuracies, then for each of policy, copy_last and constant per control `all` and `changes`:
        F1 of a button (None where it is never pressed) or mean error of an axis. `changes` is measured where that
        control changed since the frame before; None where it never did.
    """
    answers = {
        "policy": inputs,
        "copy_last": previous,
        "constant": np.broadcast_to(constant, targets.shape).astype(np.float32),
    }
    table: dict[str, Any] = {"samples": len(targets)}
    for who, answer in answers.items():
        right = accuracy(answer, targets)
        table[who] = {
            "button_accuracy": right.buttons,
            "axis_accuracy": right.axes,
            "axis_accuracy_strict": right.axes_strict,
            "all_right": right.all_right,
            "controls": {name: _control_score(index, answer, targets, previous) for index, name in enumerate(NAMES)},
        }
    return table


def _control_score(
    index: int, answer: InputRows, targets: InputRows, previous: InputRows
) -> dict[str, float | int | None]:
    mine, truth, before = answer[:, index], targets[:, index], previous[:, index]
    changed = np.abs(truth - before) > CHANGE
    score: dict[str, float | int | None] = {"n_changes": int(changed.sum())}
    if index < N_BUTTONS:
        score["all"] = f1(mine >= 0.5, truth >= 0.5)
        score["changes"] = f1(mine[changed] >= 0.5, truth[changed] >= 0.5)
    else:
        error = np.abs(mine - truth)
        score["all"] = float(error.mean())
        score["changes"] = float(error[changed].mean()) if changed.any() else None
    return score


def used_controls(table: Mapping[str, Any]) -> list[str]:
    """Names of the controls that the held-out play uses: pressed at some time, or moved away from one place."""
    used = []
    for name, score in table["constant"]["controls"].items():
        if NAMES.index(name) < N_BUTTONS:
            pressed = table["copy_last"]["controls"][name]["all"] is not None
        else:
            pressed = score["all"] > STRICT
        if pressed or score["n_changes"]:
            used.append(name)
    return used


def as_markdown(table: Mapping[str, Any]) -> str:
    """The report as a table: F1 of buttons (higher is better), mean error of axes (lower is better)."""
    lines = [
        "| control | measure | policy | copy last | constant | at changes: policy | copy last | constant | changes |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    who = ("policy", "copy_last", "constant")
    for name in used_controls(table):
        scores = [table[w]["controls"][name] for w in who]
        cells = [_cell(s["all"]) for s in scores] + [_cell(s["changes"]) for s in scores]
        measure = "F1" if NAMES.index(name) < N_BUTTONS else "error"
        lines.append(f"| {name} | {measure} | {' | '.join(cells)} | {scores[0]['n_changes']} |")
    return "\n".join(lines)


def _cell(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
