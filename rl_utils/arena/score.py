"""`python -m rl_utils.arena score`: goals and touches per minute of a policy or a driver, repeatable and held out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from rl_utils.arena.paired import Difference, Earlier, compare, read_score
from rl_utils.arena.rates import Rate, rate
from rl_utils.arena.rollout import PlayerSpec, Rollout, play_all, play_minutes
from rl_utils.arena.situations import KICKOFF_PLACES, SCORING_SEEDS, check_situation, is_held_out, make_start, next_seed
from rl_utils.config import ScoreConfig, parse_config
from rl_utils.console import log, progress
from rl_utils.controls import BUTTONS
from rl_utils.errors import UserError, user_errors
from rl_utils.paths import require_checkpoint, require_folder, require_writable

COUNTED: Final = ("goals", "touches", "own_goals")


@dataclass(frozen=True)
class Score:
    """How well somebody plays.

    Attributes:
        name: Who played.
        situation: How play started.
        seed: Of the first start.
        held_out: Whether all starts are kept for scoring.
        distinct_starts: How many different ones were played.
        goals: Per minute.
        touches: Per minute.
        own_goals: Per minute.
        minutes: Simulated time of all episodes.
        stick_jerk: Mean of the episodes', weighted by their length.
        rollouts: The episodes, in the order of their seeds, so that two players can be compared start by start.
    """

    name: str
    situation: str
    seed: int
    held_out: bool
    distinct_starts: int
    goals: Rate
    touches: Rate
    own_goals: Rate
    minutes: float
    stick_jerk: float
    rollouts: tuple[Rollout, ...]

    @property
    def note(self) -> str:
        """What is to be known before these figures are believed; mostly nothing."""
        if self.situation != "kickoff":
            return ""
        few = f"There are only {len(KICKOFF_PLACES)} kickoffs, and training plays them, too."
        if self.distinct_starts == len(self.rollouts):
            return few
        return (
            f"{few} These {len(self.rollouts)} episodes had {self.distinct_starts} different starts, and repeats are "
            "not independent: intervals are too narrow, and p of a comparison is too small."
        )

    def as_table(self) -> dict[str, Any]:
        """As plain data, for JSON."""
        rates = {"goals": self.goals, "touches": self.touches, "own_goals": self.own_goals}
        table: dict[str, Any] = {
            "name": self.name,
            "situation": self.situation,
            "seed": self.seed,
            "held_out": self.held_out,
            "episodes": len(self.rollouts),
            "distinct_starts": self.distinct_starts,
            "minutes": self.minutes,
        } | ({"note": self.note} if self.note else {})
        for name, value in rates.items():
            table[f"{name}_per_min"] = value.per_min
            table[f"{name}_per_min_low"] = value.low
            table[f"{name}_per_min_high"] = value.high
        return table | {"stick_jerk": self.stick_jerk, "per_episode": [asdict(rollout) for rollout in self.rollouts]}


def score(
    spec: PlayerSpec,
    *,
    name: str,
    situation: str,
    seed: int,
    episodes: int,
    minutes: float | None = None,
    workers: int = 0,
    quiet: bool = False,
) -> Score:
    """Play episodes from consecutive seeds and count.

    Args:
        spec: Who plays.
        name: What to call it.
        situation: One of `situations.NAMES`.
        seed: Of the first start; the others follow by `situations.next_seed`.
        episodes: How many.
        minutes: Instead of `episodes`: play until there are so many simulated minutes.
        workers: Processes; 0 takes one per core. The result does not depend on it, bit for bit.
        quiet: Show no progress.

    Raises:
        UserError: The checkpoint cannot be used, unknown situation, bad seed, or no RocketSim.
    """
    check_situation(situation, seed)
    with progress(f"{name} plays", minutes or episodes, shown=not quiet) as bar:
        if minutes is not None:
            rollouts = play_minutes(spec, situation, seed, minutes, workers=workers, on_progress=bar.update)
        else:
            seeds = [seed]
            while len(seeds) < episodes:
                seeds.append(next_seed(seeds[-1]))
            rollouts = play_all(spec, situation, seeds, workers=workers, on_progress=bar.update)
    seconds = [rollout.seconds for rollout in rollouts]
    played = [s / 60 for s in seconds]
    return Score(
        name=name,
        situation=situation,
        seed=seed,
        held_out=all(is_held_out(situation, rollout.seed) for rollout in rollouts),
        # By their text, since arrays have no hash.
        distinct_starts=len({repr(make_start(situation, rollout.seed)) for rollout in rollouts}),
        goals=rate([r.goals for r in rollouts], played),
        touches=rate([r.touches for r in rollouts], played),
        own_goals=rate([r.own_goals for r in rollouts], played),
        minutes=sum(played),
        stick_jerk=float(np.average([r.stick_jerk for r in rollouts], weights=seconds)),
        rollouts=tuple(rollouts),
    )


@user_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Score a policy or a driver and print the result."""
    config = parse_config(ScoreConfig, argv, prog="python -m rl_utils.arena score")
    if config.json is not None:
        require_folder(config.json.parent, "--json")  # what is missing of it is made
        if config.json.parent.is_dir():
            require_writable(config.json, "--json")
    spec, name = _player(config)
    variant = [config.team] * (config.team != "blue") + [config.look] * (config.look != "default")
    name = f"{name} ({', '.join(variant)})" if variant else name
    earlier = read_score(config.against) if config.against is not None else None
    if earlier is not None:
        _check_comparable(earlier, config)
    result = score(
        spec,
        name=name,
        situation=config.situation,
        seed=config.seed,
        episodes=config.episodes,
        minutes=config.minutes,
        workers=config.workers,
    )
    if config.checkpoint is not None and config.seed < SCORING_SEEDS:
        log(f"Seeds below {SCORING_SEEDS} may have been trained on: this score is not held out.")
    differences = {} if earlier is None else {w: compare(result.rollouts, earlier, w) for w in COUNTED}
    print(_text(result))
    if earlier is not None:
        print(_comparison(differences, earlier.name))
    if config.json is not None:
        against = {} if earlier is None else {"name": earlier.name, **{w: asdict(d) for w, d in differences.items()}}
        _write(result.as_table() | ({"against": against} if against else {}), config.json)
    return 0


def _check_comparable(earlier: Earlier, config: ScoreConfig) -> None:
    if earlier.situation != config.situation:
        raise UserError(
            f"{config.against} was played in {earlier.situation}", f"Add --situation {earlier.situation} to compare"
        )
    if config.seed not in earlier.episodes:
        first = min(earlier.episodes)
        raise UserError(f"{config.against} does not have the start {config.seed}", f"Add --seed {first} to compare")


def _player(config: ScoreConfig) -> tuple[PlayerSpec, str]:
    if config.checkpoint is not None:
        file = config.checkpoint
        require_checkpoint(file)
        if config.as_shipped:
            spec = PlayerSpec("article", checkpoint=file.absolute(), team=config.team, look=config.look)
            return spec, f"{file}, as shipped"
        who = PlayerSpec(
            "policy", checkpoint=file.absolute(), team=config.team, look=config.look, compute=config.compute
        )
        return who, str(file)
    assert config.driver is not None
    if config.driver == "constant":
        assert config.constant is not None
        return PlayerSpec("constant", held=_mean_inputs(config.constant)), "constant"
    return PlayerSpec(config.driver), config.driver


def _mean_inputs(recording: Path) -> tuple[float, ...]:
    """What a recording teaches on average: mean sticks and triggers, buttons that are held more often than not."""
    from rl_utils.recordings import open_recordings

    labels = np.concatenate([opened.labels for opened in open_recordings([recording])])
    held = labels.mean(axis=0, dtype=np.float64)
    held[BUTTONS] = held[BUTTONS] >= 0.5
    return tuple(held.tolist())


def _write(table: dict[str, Any], file: Path) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(table, indent=1) + "\n")
    except OSError as error:
        raise UserError(f"{file} cannot be written ({error.strerror})", "Choose another --json") from error


def _text(result: Score) -> str:
    lines = [
        f"{result.name} in {result.situation}: {len(result.rollouts)} episodes from seed {result.seed}, "
        f"{result.minutes:.1f} min",
        f"{'per minute':<12}{'':>8}   95 % interval",
    ]
    for label, value in (("goals", result.goals), ("touches", result.touches), ("own goals", result.own_goals)):
        lines.append(f"{label:<12}{value.per_min:>8.2f}   {value.low:.2f} to {value.high:.2f}")
    lines.append(f"{'stick jerk':<12}{result.stick_jerk:>8.4f}")
    return "\n".join([*lines, result.note] if result.note else lines)


def _comparison(differences: dict[str, Difference], name: str) -> str:
    lines = []
    for what, found in differences.items():
        label = f"{what.replace('_', ' ')} - {name}"
        lines.append(
            f"{label}: {found.per_min:+.2f} per minute, {found.low:.2f} to {found.high:.2f}, p = {found.p:.4f} "
            f"({found.starts} starts of both)"
        )
    return "\n".join(lines)
