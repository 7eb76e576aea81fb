"""How well several drivers play, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rl_utils.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DPI: Final = 110
WIDTH_IN: Final = 10.0
ROW_IN: Final = 0.62
COLOURS: Final = ("#2f7fd6", "#2fa36b")
"""Of touches and of goals: apart in brightness, too, for those who see colours differently."""


@dataclass(frozen=True)
class ScoreRow:
    """How one driver played. The intervals are of 95 %.

    Attributes:
        name: Of the driver.
        minutes: How long it played.
        touches_per_min: Contacts with the ball.
        touches_low: Lower end of the interval.
        touches_high: Upper end.
        goals_per_min: Goals for the driver's side.
        goals_low: Lower end.
        goals_high: Upper end.
        note: Shown in small letters under the name.
    """

    name: str
    minutes: float
    touches_per_min: float
    touches_low: float
    touches_high: float
    goals_per_min: float
    goals_low: float
    goals_high: float
    note: str = ""


def report_plot(rows: Sequence[ScoreRow], path: Path) -> None:
    """Draw touches and goals per minute of each driver, with their intervals, as a PNG.

    Args:
        rows: The first one is shown on top.
        path: The picture; its folder is made where missing.

    Raises:
        UserError: The picture cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    assert rows, "no driver to show"
    figure = Figure(figsize=(WIDTH_IN, 1.2 + ROW_IN * len(rows)), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    touches, goals = figure.subplots(1, 2, sharey=True)
    values = [(r.touches_per_min, r.touches_low, r.touches_high) for r in rows]
    _bars(touches, values, "touches per minute", COLOURS[0], digits=1)
    values = [(r.goals_per_min, r.goals_low, r.goals_high) for r in rows]
    _bars(goals, values, "goals per minute", COLOURS[1], digits=2)
    touches.set_yticks(range(len(rows)), [row.name for row in rows])
    for y, row in enumerate(rows):
        small = f"{row.minutes:.1f} min" + (f", {row.note}" if row.note else "")
        touches.annotate(
            small,
            (0, y),
            xytext=(-4, -9),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            ha="right",
            va="top",
            fontsize=7,
            color="#666666",
        )
    touches.invert_yaxis()
    figure.suptitle("Play in the practice arena, with 95 % intervals", fontsize=11)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="png")
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror})", "Free some space, or choose another folder"
        ) from error


def _bars(axes: Axes, values: Sequence[tuple[float, float, float]], title: str, colour: str, *, digits: int) -> None:
    """One bar per (value, low, high), with the interval as a whisker and the value written at its end."""
    places = range(len(values))
    means = [value for value, _, _ in values]
    # An interval may exclude its own value by rounding, and errorbar refuses negative lengths.
    below = [max(0.0, value - low) for value, low, _ in values]
    above = [max(0.0, high - value) for value, _, high in values]
    axes.barh(places, means, height=0.56, color=colour, zorder=2)
    axes.errorbar(
        means, places, xerr=(below, above), fmt="none", ecolor="#222222", elinewidth=1.2, capsize=3.5, zorder=3
    )
    for y, (value, _, high) in enumerate(values):
        text, at = f"{value:.{digits}f}", (max(value, high), y)
        axes.annotate(text, at, xytext=(7, 0), textcoords="offset points", va="center", fontsize=9)
    axes.set_title(title, fontsize=10)
    axes.set_xlim(0, max(0.1, *(max(v, high) for v, _, high in values)) * 1.18)
    axes.set_ylim(-0.6, len(values) - 0.4)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#dddddd", zorder=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
