"""How long it takes until the picture shows what the pad did: input changes ↔ changes of motion in the picture.

Whatever a game does with its inputs, pressing something changes how the picture moves: a jump shifts it, steering turns
it. So changes of the inputs are compared with changes of the motion in a grid of cells, at every delay up to half a
second. The delay at which they have most in common counts if it stands out from delays of a second and more, at which
they can have nothing in common but by chance; else there is no answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from rl_utils.controls import MENU_BUTTONS, Control
from rl_utils.interfaces import Image
from rl_utils.recordings import Recording

SIZE: Final = (120, 66)
"""(width, height) in px at which motion is looked at."""
BLUR_PX: Final = 1.5
CELLS: Final = (4, 3)
"""Columns and rows of the grid."""
FLAT: Final = 2.0
"""Added to the gradients' squares: cells without structure have no motion instead of any."""
OUTLIER: Final = 4.0
"""Changes beyond so many times the usual one count as that: a cut must not outweigh a minute of play."""

LONGEST_S: Final = 0.5
CHANCE_S: Final = (0.8, 6.0)
"""Delays at which inputs and pictures have nothing to do with each other."""
NOTABLE: Final = 2.0
"""Times the scatter at those delays; what stands out less is no evidence."""
CLEAR: Final = 2.6
"""How many times the evidence for the best chance delay an answer must have. Inputs and pictures of different times
reached 2.4 once and 1.8 otherwise in 100 trials; those of one time, 40 to 90 s in the arena, 2.7 to 10 (1.7 on a
machine so busy that every eighth picture was late). Source: measured 2026-11-21."""
STRETCH_S: Final = 20.0
SHORTEST_S: Final = 4.0
ENOUGH_ROWS: Final = 100
"""Fewer samples that are so far apart tell nothing about that delay."""
MOVED: Final = 0.1
"""A smaller change of a control is noise of its sensor."""
ENOUGH_CHANGES: Final = 8
"""A control that changed less often tells nothing."""
MAX_SAMPLES: Final = 2400
"""Pictures that are looked at: 5 s of work."""


@dataclass(frozen=True)
class DelayEstimate:
    """The delay from an input to the picture, or why there is none.

    Attributes:
        ms: From the sample that has the input to the sample that shows its effect; None where it is not clear.
        clarity: How many times as much evidence there is for it as for the best delay of mere chance.
        samples: How many were compared.
        reason: Why `ms` is None, else "".
    """

    ms: float | None
    clarity: float = 0.0
    samples: int = 0
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain data for session.json."""
        return asdict(self)

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> DelayEstimate:
        """What `as_dict` made."""
        known = {name: table[name] for name in ("ms", "clarity", "samples", "reason") if name in table}
        return cls(**{"ms": None, **known})

    def __str__(self) -> str:
        if self.ms is None:
            return f"unknown: {self.reason}"
        return f"{self.ms:.0f} ms from an input to the picture"


def estimate_delay(recording: Recording, *, max_samples: int = MAX_SAMPLES) -> DelayEstimate:
    """Estimate the delay from the stretches of a recording in which most was done.

    Args:
        recording: Its times are used, and `inputs`, whatever `labels` say.
        max_samples: Pictures to look at.

    Raises:
        UserError: A picture is damaged.
    """
    if not recording.fps_known:
        return DelayEstimate(None, reason="no times are stored")
    rate = recording.fps
    stretches = _stretches(recording, max_samples)
    used = _controls(recording, stretches)
    samples = sum(len(stretch) for stretch in stretches)
    if not used:
        return DelayEstimate(None, samples=samples, reason="not enough activity")
    causes, effects, owner = [], [], []
    for number, stretch in enumerate(stretches):
        inputs = recording.inputs[stretch.start : stretch.stop, used]
        causes.append(_changes(inputs))
        effects.append(_changes(motion(recording, stretch)))
        owner.append(np.full(len(stretch), number))
    cause, effect, stretch_of = np.concatenate(causes), _robust(np.concatenate(effects)), np.concatenate(owner)
    longest, chance, end = (round(seconds * rate) for seconds in (LONGEST_S, *CHANCE_S))
    evidence = _evidence(cause, effect, stretch_of, lags=end + 1, chance=chance)
    if evidence is None:
        return DelayEstimate(None, samples=samples, reason="not enough activity")
    candidates = evidence[: longest + 1]
    best = int(np.argmax(candidates))
    clarity = float(candidates[best] / max(evidence[chance:].max(), 1.0))
    if clarity < CLEAR:
        return DelayEstimate(None, clarity, samples, "no delay stands out; play on, with more steering and jumps")
    near = np.arange(max(0, best - 1), min(len(candidates), best + 2))
    lag = float(np.sum(near * candidates[near]) / np.sum(candidates[near]))
    return DelayEstimate(lag * 1e3 / rate, clarity, samples)


def _evidence(
    cause: NDArray[np.float64], effect: NDArray[np.float64], owner: NDArray[np.int64], *, lags: int, chance: int
) -> NDArray[np.float64] | None:
    """How much speaks for each delay: how far it stands out from delays of chance, summed over the controls.

    Each control is asked alone: a jump shows at once and briefly, steering slowly, and the one that nobody sees (a
    horn) would bury the others.

    Args:
        cause: (N, C) changes of the controls.
        effect: (N, F) changes of the motion.
        owner: (N,) stretch of each row.
        lags: How many delays, from 0 samples on.
        chance: From this one on they have nothing to do with each other.

    Returns:
        (at most `lags`,): as many as there are samples for; None where these are too few to know what chance does.
    """
    lags = next((lag for lag in range(lags) if _pairs(cause, effect, owner, lag).sum() < ENOUGH_ROWS), lags)
    if lags < 2 * chance:
        return None
    total = np.zeros(lags)
    for control in range(cause.shape[1]):
        common = np.array([in_common(cause[:, control : control + 1], effect, owner, lag) for lag in range(lags)])
        usual = np.median(common[chance:])
        scatter = 1.4826 * np.median(np.abs(common[chance:] - usual)) + 1e-9
        total += np.maximum(0.0, (common - usual) / scatter - NOTABLE)
    return total


def _pairs(
    cause: NDArray[np.float64], effect: NDArray[np.float64], owner: NDArray[np.int64], lag: int
) -> NDArray[np.bool_]:
    """(N - lag,) whether a row of `cause` and that of `effect` so much later are known and of one stretch."""
    known = ~(np.isnan(cause[: len(cause) - lag]).any(axis=1) | np.isnan(effect[lag:]).any(axis=1))
    pairs: NDArray[np.bool_] = known & (owner[: len(owner) - lag] == owner[lag:])
    return pairs


def _stretches(recording: Recording, max_samples: int) -> list[range]:
    """Stretches without a gap, those with most changes of the inputs first, as many as are looked at."""
    moved = np.zeros(len(recording), np.int64)
    moved[1:] = (np.abs(np.diff(recording.inputs, axis=0)) > MOVED).sum(axis=1)
    breaks = np.flatnonzero(np.diff(recording.segment)) + 1
    length = round(STRETCH_S * recording.fps)
    pieces = [
        range(start, min(start + length, int(end)))
        for first, end in zip([0, *breaks], [*breaks, len(recording)], strict=True)
        for start in range(int(first), int(end), length)
    ]
    shortest = round(SHORTEST_S * recording.fps)
    pieces = [piece for piece in pieces if len(piece) >= shortest]
    pieces.sort(key=lambda piece: -int(moved[piece.start : piece.stop].sum()))
    samples_before = np.cumsum([0, *map(len, pieces)])
    return [piece for piece, before in zip(pieces, samples_before, strict=False) if before + length <= max_samples]


def _controls(recording: Recording, stretches: list[range]) -> list[int]:
    """The controls that did enough to tell something."""
    counts = np.zeros(len(Control), np.int64)
    for stretch in stretches:
        counts += (np.abs(np.diff(recording.inputs[stretch.start : stretch.stop], axis=0)) > MOVED).sum(axis=0)
    return [int(control) for control in Control if counts[control] >= ENOUGH_CHANGES and control not in MENU_BUTTONS]


def motion(recording: Recording, stretch: range) -> NDArray[np.float64]:
    """How the picture moves in each cell of a grid.

    Args:
        recording: Its pictures are decoded a hundred at a time.
        stretch: Which samples.

    Returns:
        (N, F): right and down in px of `SIZE` for every cell, and how much the picture changed; NaN for the first.
    """
    columns, rows = CELLS
    moved = np.full((len(stretch), 2 * columns * rows + 1), np.nan)
    before: NDArray[np.float32] | None = None
    for start in range(0, len(stretch), 100):
        for place, image in enumerate(recording.read_frames(stretch[start : start + 100]), start=start):
            grey = _small(image)
            if before is not None:
                moved[place] = _flow(before, grey)
            before = grey
    return moved


def _small(image: Image) -> NDArray[np.float32]:
    grey = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), SIZE, interpolation=cv2.INTER_AREA)
    return cv2.GaussianBlur(grey, (0, 0), BLUR_PX).astype(np.float32)


def _flow(before: NDArray[np.float32], after: NDArray[np.float32]) -> NDArray[np.float64]:
    """Motion by the brightness gradient, one shift per cell (Lucas and Kanade)."""
    middle = (before + after) / 2
    along_x = cv2.Sobel(middle, -1, 1, 0, scale=1 / 8)
    along_y = cv2.Sobel(middle, -1, 0, 1, scale=1 / 8)
    in_time = after - before
    products = (along_x**2, along_y**2, along_x * along_y, along_x * in_time, along_y * in_time)
    xx, yy, xy, xt, yt = (cv2.resize(product, CELLS, interpolation=cv2.INTER_AREA) for product in products)
    xx, yy = xx + FLAT, yy + FLAT
    determinant = xx * yy - xy**2
    right, down = (xy * yt - yy * xt) / determinant, (xy * xt - xx * yt) / determinant
    flow: NDArray[np.float64] = np.concatenate([right.ravel(), down.ravel(), [np.abs(in_time).mean()]])
    return flow


def _changes(rows: NDArray[Any]) -> NDArray[np.float64]:
    """(N, K) → (N, K), each row less the one before it; NaN for the first."""
    changes = np.full(rows.shape, np.nan)
    changes[1:] = rows[1:] - rows[:-1]
    return changes


def _robust(values: NDArray[np.float64]) -> NDArray[np.float64]:
    usual = 1.4826 * np.nanmedian(np.abs(values), axis=0) + 1e-6
    clipped: NDArray[np.float64] = np.clip(values / usual, -OUTLIER, OUTLIER)
    return clipped


def in_common(cause: NDArray[np.float64], effect: NDArray[np.float64], owner: NDArray[np.int64], lag: int) -> float:
    """How much two series have in common when one is `lag` samples behind: Pillai's trace times their length.

    Args:
        cause: (N, C), NaN where unknown.
        effect: (N, F), NaN where unknown.
        owner: (N,) stretch of each row; rows of different stretches are never compared.
        lag: Of the effect, in rows.

    Returns:
        About C · F for two series without any connection.
    """
    whole = _pairs(cause, effect, owner, lag)
    x, y = cause[: len(cause) - lag], effect[lag:]
    x, y = x[whole] - x[whole].mean(axis=0), y[whole] - y[whole].mean(axis=0)
    between = x.T @ y
    explained = np.linalg.solve(_ridge(x.T @ x, 1e-3), between) @ np.linalg.solve(_ridge(y.T @ y, 1e-2), between.T)
    return float(np.trace(explained)) * len(x)


def _ridge(square: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    stabilised: NDArray[np.float64] = square + np.eye(len(square)) * (share * np.trace(square) / len(square) + 1e-9)
    return stabilised
