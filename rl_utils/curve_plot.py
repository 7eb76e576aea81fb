"""Learning curves as a picture: how well policies play over what they learnt from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rl_utils.arena.rates import Rate
from rl_utils.errors import UserError
from rl_utils.plots import COLOURS, DPI

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GREYS: Final = ("#888888", "#333333")


@dataclass(frozen=True)
class Point:
    """Policies that learnt from the same.

    Attributes:
        x: Where it stands.
        label: What stands below it.
        touches: Per minute, of each training seed; the curve goes through the first.
        goals: The same.
    """

    x: float
    label: str
    touches: tuple[Rate, ...]
    goals: tuple[Rate, ...]


@dataclass(frozen=True)
class Curve:
    """One column of the picture.

    Attributes:
        title: What grows from left to right.
        points: From left to right.
        logarithmic: Whether doubling is the same step everywhere.
    """

    title: str
    points: tuple[Point, ...]
    logarithmic: bool = False


def curve_plot(curves: Sequence[Curve], references: Sequence[tuple[str, Rate, Rate]], path: Path) -> None:
    """Draw touches and goals per minute over each curve's points, with the 95 % interval of each first seed, as a PNG.

    Args:
        curves: One column each.
        references: Name, touches and goals of drivers to compare with, drawn as lines.
        path: The picture.

    Raises:
        UserError: It cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    assert curves, "no curve to show"
    figure = Figure(figsize=(5.2 * len(curves) + 0.6, 6.4), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(2, len(curves), sharey="row", squeeze=False)
    for row, (what, colour) in enumerate(zip(("touches", "goals"), COLOURS, strict=True)):
        for column, curve in enumerate(curves):
            axes = grid[row][column]
            _draw(axes, curve, [getattr(point, what) for point in curve.points], colour)
            for (name, *rates), grey in zip(references, GREYS, strict=False):
                axes.axhline(rates[row].per_min, color=grey, linestyle="--", linewidth=1, label=name, zorder=1)
            axes.set_ylim(bottom=-0.02 * axes.get_ylim()[1])  # a dot at 0 is seen whole
            if column == 0:
                axes.set_ylabel(f"{what} per minute")
            if row == 1:
                axes.set_xlabel(curve.title)
    if references:
        figure.legend(*grid[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8)
    figure.suptitle(
        "Play in the practice arena: curve and 95 % intervals of one training seed, dots of others", size=11
    )
    try:
        figure.savefig(path, format="png")
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror})", "Free some space") from error


def _draw(axes: Axes, curve: Curve, rates: Sequence[Sequence[Rate]], colour: str) -> None:
    places = [point.x for point in curve.points]
    firsts = [seeds[0] for seeds in rates]
    values = [first.per_min for first in firsts]
    limits = ([v.per_min - v.low for v in firsts], [v.high - v.per_min for v in firsts])
    axes.errorbar(places, values, yerr=limits, color=colour, marker="o", capsize=3.5, linewidth=1.8, zorder=3)
    for x, seeds in zip(places, rates, strict=True):
        others = [seed.per_min for seed in seeds[1:]]
        axes.plot([x] * len(others), others, "o", markerfacecolor="white", color=colour, markersize=5, zorder=4)
    if curve.logarithmic:
        axes.set_xscale("log", base=2)
    axes.minorticks_off()
    axes.set_xticks(places, [point.label for point in curve.points])
    axes.grid(color="#dddddd", zorder=0)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
