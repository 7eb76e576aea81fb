"""From the scores in a scoreboard's folder to its table: as JSON, as Markdown and as pictures."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from rl_utils.arena.paired import Difference, difference
from rl_utils.arena.rates import Rate, crossed_rate, rate
from rl_utils.config import ScoreboardConfig
from rl_utils.curve_plot import Curve, Point, curve_plot
from rl_utils.errors import UserError
from rl_utils.hardware import Hardware, hardware
from rl_utils.plots import ScoreRow, report_plot
from rl_utils.scoreboard_rows import PAIRS, ROWS, Row
from rl_utils.scoreboard_steps import Steps

COUNTED: Final = ("touches", "goals", "own_goals")


@dataclass(frozen=True)
class Result:
    """What one row of the table says.

    Attributes:
        row: Which.
        scores: What `arena score --json` wrote for each training seed, or once for a driver, by seed (0 for a driver).
        frames: Of the play that it learnt from, with what was held out of it, mean over the seeds; None for a driver.
        cpu_min: Of training, coach rounds included, mean over the seeds; None for a driver.
        wall_min: The same by the clock.
    """

    row: Row
    scores: Mapping[int, Mapping[str, Any]]
    frames: float | None
    cpu_min: float | None
    wall_min: float | None

    @property
    def minutes(self) -> float:
        """Simulated, of all seeds together."""
        return float(sum(score["minutes"] for score in self.scores.values()))

    @property
    def stick_jerk(self) -> float:
        """Weighted by time."""
        weights = [score["minutes"] for score in self.scores.values()]
        return float(np.average([score["stick_jerk"] for score in self.scores.values()], weights=weights))

    def pooled(self, what: str) -> Rate:
        """Of exactly these networks: all episodes of all seeds together, with Poisson limits."""
        return rate(*self._episodes(what)[:2])

    def expected(self, what: str) -> Rate:
        """What training seeds reach on average, on any starts; for a driver the same as `pooled`."""
        return crossed_rate(*self._episodes(what))

    def by_start(self, what: str) -> dict[int, tuple[float, float]]:
        """Events and minutes of each start that all seeds played, summed over the seeds."""
        played = [{e["seed"]: (e[what], e["seconds"] / 60) for e in s["per_episode"]} for s in self.scores.values()]
        common = set(played[0]).intersection(*played)
        return {seed: (sum(p[seed][0] for p in played), sum(p[seed][1] for p in played)) for seed in sorted(common)}

    def _episodes(self, what: str) -> tuple[list[int], list[float], list[int], list[int]]:
        rows = [(e, seed) for seed, score in self.scores.items() for e in score["per_episode"]]
        return (
            [e[what] for e, _ in rows],
            [e["seconds"] / 60 for e, _ in rows],
            [seed for _, seed in rows],
            [e["seed"] for e, _ in rows],
        )


def write_tables(config: ScoreboardConfig, *, quiet: bool = False) -> str:
    """Write what can be said so far: scoreboard.json and scoreboard.md, and pictures of it.

    Args:
        config: Of the scoreboard.
        quiet: Write the JSON only, in the middle of the work.

    Returns:
        The Markdown.
    """
    out = config.out
    steps = Steps(out / "steps")
    results = [result for row in ROWS if (result := _result(out, steps, row)) is not None]
    if not results:
        raise UserError(f"{out} holds no score yet", "Leave --only away, or name a row that is not curves")
    comparisons = _comparisons({result.row.name: result for result in results})
    made: dict[str, Any] = {"date": time.strftime("%Y-%m-%d"), "settings": _settings(config)}
    if quiet:
        (out / "scoreboard.json").write_text(json.dumps(_as_json(results, comparisons, made), indent=1) + "\n")
        return ""
    machine = hardware()
    made["hardware"] = str(machine)
    curves = _curves(out, steps, config)
    made["curves"] = [dataclasses.asdict(curve) for curve in curves]
    (out / "scoreboard.json").write_text(json.dumps(_as_json(results, comparisons, made), indent=1) + "\n")
    text = _markdown(config, results, comparisons, machine)
    (out / "scoreboard.md").write_text(text)
    report_plot([_bar(result) for result in results], out / "scoreboard.png")
    if any(len(curve.points) > 1 for curve in curves):
        references = [(r.row.title, r.pooled("touches"), r.pooled("goals")) for r in results if r.row.name in LINES]
        curve_plot([curve for curve in curves if len(curve.points) > 1], references, out / "curves.png")
    return text


LINES: Final = ("idle", "expert")
"""Rows that the learning curves show as lines to compare with."""


def _result(out: Path, steps: Steps, row: Row) -> Result | None:
    scores: dict[int, Mapping[str, Any]] = {}
    if row.training is None:
        files = [(0, f"score-{row.name}")]
    else:
        files = [(seed, f"score-{row.name}-seed{seed}") for seed in range(1, 101)]
    for seed, step in files:
        if steps.done(step):
            scores[seed] = json.loads((out / "scores" / f"{step.removeprefix('score-')}.json").read_text())
    if not scores:
        return None
    if row.training is None:
        return Result(row, scores, None, None, None)
    names = [f"train-{row.training}-seed{seed}" for seed in scores]
    costs = [steps.cost(name) for name in names]
    return Result(
        row,
        scores,
        frames=float(np.mean([steps.facts(name)["frames"] for name in names])),
        cpu_min=float(np.mean([cost.cpu_s for cost in costs])) / 60,
        wall_min=float(np.mean([cost.wall_s for cost in costs])) / 60,
    )


def _comparisons(results: Mapping[str, Result]) -> dict[tuple[str, str], dict[str, Difference]]:
    found = {}
    for one, other in PAIRS:
        if one in results and other in results:
            found[one, other] = {what: _compare(results[one], results[other], what) for what in COUNTED}
    return found


def _compare(one: Result, other: Result, what: str) -> Difference:
    ours, theirs = one.by_start(what), other.by_start(what)
    common = sorted(ours.keys() & theirs.keys())
    return difference(np.array([ours[s] for s in common], float), np.array([theirs[s] for s in common], float))


def _curves(out: Path, steps: Steps, config: ScoreboardConfig) -> list[Curve]:
    """Over frames of play (all with noise, as many steps each), and over coach rounds."""

    def point(x: float, label: str, names: Sequence[str]) -> list[Point]:
        done = [name for name in names if steps.done(f"score-{name}")]
        scores = [json.loads((out / "scores" / f"{name}.json").read_text()) for name in done]
        rates = {what: tuple(_rate_of(score, what) for score in scores) for what in ("touches", "goals")}
        return [Point(x, label, rates["touches"], rates["goals"])] if scores else []

    seeds = range(1, 101)
    frames: list[Point] = []
    for name, share in (("eighth", 8), ("quarter", 4), ("half", 2), ("noise", 1)):
        minutes = config.minutes_of_play / share
        thousands = f"{minutes * 60 * FPS / 1000:.3g}k"
        frames += point(minutes, thousands, [f"{name}-seed{seed}" for seed in (seeds if share == 1 else (1,))])
    rounds = point(0, "0", [f"noise-seed{seed}" for seed in seeds])
    for number in range(1, config.coach):
        rounds += point(number, str(number), [f"round{number}-seed1"])
    rounds += point(config.coach, str(config.coach), [f"coach-seed{seed}" for seed in seeds])
    return [
        Curve("frames of play with noise, in as many steps each", tuple(frames), logarithmic=True),
        Curve(f"coach rounds of {config.coach_minutes:g} min", tuple(rounds)),
    ]


FPS: Final = 30
"""Rate at which `collect.py` records by default."""


def _rate_of(score: Mapping[str, Any], what: str) -> Rate:
    return Rate(*(score[f"{what}_per_min{end}"] for end in ("", "_low", "_high")))


def _settings(config: ScoreboardConfig) -> dict[str, Any]:
    return {k: v for k, v in dataclasses.asdict(config).items() if k not in ("out", "only", "resume")}


def _as_json(
    results: Sequence[Result],
    comparisons: Mapping[tuple[str, str], Mapping[str, Difference]],
    made: Mapping[str, Any],
) -> dict[str, Any]:
    rows = []
    for result in results:
        table: dict[str, Any] = {
            "name": result.row.name,
            "title": result.row.title,
            "training_seeds": [seed for seed in result.scores if seed],
            "minutes": result.minutes,
            "frames": result.frames,
            "training_cpu_min": result.cpu_min,
            "training_wall_min": result.wall_min,
            "stick_jerk": result.stick_jerk,
        }
        for what in COUNTED:
            table[what] = {
                "expected": dataclasses.asdict(result.expected(what)),
                "pooled": dataclasses.asdict(result.pooled(what)),
                "each_seed": [dataclasses.asdict(_rate_of(score, what)) for score in result.scores.values()],
            }
        rows.append(table)
    pairs = [
        {"row": one, "against": other, **{what: dataclasses.asdict(d) for what, d in found.items()}}
        for (one, other), found in comparisons.items()
    ]
    return {**made, "rows": rows, "start_by_start": pairs}


def _markdown(
    config: ScoreboardConfig,
    results: Sequence[Result],
    comparisons: Mapping[tuple[str, str], Mapping[str, Difference]],
    machine: Hardware,
) -> str:
    titles = {row.name: row.title.strip() for row in ROWS}
    lines = [
        f"{time.strftime('%d %B %Y').lstrip('0')}, {machine}. Situation `benchmark`, held-out starts from seed "
        f"{config.seed}, the same for all, at least {config.score_minutes:g} simulated minutes for each row. "
        "With several training seeds, the 95 % interval is for what seeds reach on average, on any starts.",
        "",
        _recipe(config),
        "",
        "| driver | frames of play | training, min of CPU | seeds | min played | touches/min [95 %] | "
        "goals/min [95 %] | own goals/min | stick jerk |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for r in results:
        learnt = "" if r.frames is None else f"{r.frames:,.0f}"
        cost = "" if r.cpu_min is None else _minutes(r.cpu_min)
        if machine.gpu and r.wall_min is not None:
            cost += f" (GPU: {_minutes(r.wall_min)})"
        seeds = "" if r.frames is None else str(len(r.scores))
        touches, goals = _limits(r.expected("touches"), 1), _limits(r.expected("goals"), 2)
        lines.append(
            f"| {r.row.title} | {learnt} | {cost} | {seeds} | {r.minutes:.0f} | {touches} | {goals} | "
            f"{r.pooled('own_goals').per_min:.2f} | {r.stick_jerk:.3f} |"
        )
    several = [r for r in results if len(r.scores) > 1]
    if several:
        lines += [
            "",
            "Each training seed, and the interval for exactly these networks together (Poisson):",
            "",
            "| driver | touches/min by seed | these networks [95 %] | goals/min by seed | these networks [95 %] |",
            "| --- | --- | --- | --- | --- |",
        ]
        lines += [
            f"| {r.row.title} | {_each(r, 'touches', 1)} | {_limits(r.pooled('touches'), 1)} | "
            f"{_each(r, 'goals', 2)} | {_limits(r.pooled('goals'), 2)} |"
            for r in several
        ]
    if comparisons:
        lines += [
            "",
            "Start by start, the networks of all seeds together; p by exchanging the two at random starts:",
            "",
            "| difference | touches/min [95 %] | p | goals/min [95 %] | p | starts |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        for (one, other), found in comparisons.items():
            balls, shots = found["touches"], found["goals"]
            lines.append(
                f"| {titles[one]} − {titles[other]} | {_signed(balls, 1)} | {balls.p:.4f} | "
                f"{_signed(shots, 2)} | {shots.p:.4f} | {shots.starts} |"
            )
    return "\n".join([*lines, ""])


def _recipe(config: ScoreboardConfig) -> str:
    """What was learnt from and how, in a sentence."""
    options = f", {' '.join(config.train_options)}" if config.train_options else ""
    return (
        f"Learnt from {config.minutes_of_play:g} min of the scripted driver's play in {config.epochs} passes (the "
        f"article's network: {config.article_epochs}; the article ran 25){options}; {config.coach} coach rounds of "
        f"{config.coach_minutes:g} min. Training seeds are given to `train.py` from 1 on."
    )


def _minutes(value: float) -> str:
    return f"{value:.1f}" if value < 10 else f"{value:.0f}"


def _limits(value: Rate, digits: int) -> str:
    return f"{value.per_min:.{digits}f} [{value.low:.{digits}f}, {value.high:.{digits}f}]"


def _signed(value: Difference, digits: int) -> str:
    return f"{value.per_min:+.{digits}f} [{value.low:+.{digits}f}, {value.high:+.{digits}f}]"


def _each(result: Result, what: str, digits: int) -> str:
    return ", ".join(f"{score[f'{what}_per_min']:.{digits}f}" for score in result.scores.values())


def _bar(result: Result) -> ScoreRow:
    touches, goals = result.expected("touches"), result.expected("goals")
    count = len(result.scores)
    return ScoreRow(
        name=result.row.title,
        minutes=result.minutes,
        touches_per_min=touches.per_min,
        touches_low=touches.low,
        touches_high=touches.high,
        goals_per_min=goals.per_min,
        goals_low=goals.low,
        goals_high=goals.high,
        note="" if result.frames is None else f"{count} training seed{'s' if count > 1 else ''}",
    )
