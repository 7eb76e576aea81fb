"""python -m rl_utils.scoreboard: what each way of learning is worth in the arena, beside baselines, as one table.

Recordings, trainings and scores are the commands that a person would type (`collect.py`, `train.py`, `arena score`),
each run once and kept, so that the same command with --resume goes on where it was interrupted, adds rows (--only) or
training seeds (--seeds). In --out: `play/`, `runs/`, `policies/` (what was scored), `scores/` (each policy's own JSON),
`steps/` (every command with its cost), `config.toml`, and the result: scoreboard.json, .md and .png, and curves.png.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from rl_utils.config import ScoreboardConfig, TrainConfig, load_config, parse_config, save_config
from rl_utils.console import log
from rl_utils.errors import UserError, user_errors
from rl_utils.paths import require_folder
from rl_utils.scoreboard_rows import PIECES, PLAYS, ROWS, TRAININGS, Row, Training
from rl_utils.scoreboard_steps import Cost, Step, Steps

MAY_CHANGE: Final = frozenset({"out", "seeds", "article_seeds", "only", "resume"})
"""Settings that may change when going on: they add to what is there and leave it true."""
OWN_OPTIONS: Final = frozenset(
    {"--data", "--out", "--seed", "--epochs", "--coach", "--coach-minutes", "--resume", "--config"}
)
"""Options of `train.py` that no --train-options may name, whichever rows are asked for."""


class Scoreboard:
    """Does what rows need, once.

    Args:
        config: The settings; `config.out` absolute.
    """

    def __init__(self, config: ScoreboardConfig) -> None:
        self._config = config
        self._out = config.out
        self._steps = Steps(config.out / "steps")

    def measure(self, row: Row) -> None:
        """Record, train and score what this row of the table needs, as far as it is not there."""
        if row.training is None:
            self._play(row.plays)
            words = tuple(str(self._out / "play" / w[5:]) if w.startswith("play:") else w for w in row.player)
            self._score(row.name, words)
            return
        seeds = self._seeds(TRAININGS[row.training])
        # Seeds of before have played longer where they were fewer: all play the same starts, so that all count.
        before = [self._asked_min(f"score-{row.name}-seed{seed}") for seed in seeds]
        minutes = max([self._config.score_minutes / len(seeds), *(asked for asked in before if asked is not None)])
        for seed in seeds:
            policy = self._train(TRAININGS[row.training], seed)
            self._score(f"{row.name}-seed{seed}", ("--checkpoint", policy, *row.player), minutes=minutes)

    def measure_curves(self) -> None:
        """Score policies of less play and of fewer coach rounds, of the first training seed."""
        for name in ("eighth", "quarter", "half"):
            self._score(f"{name}-seed1", ("--checkpoint", self._train(TRAININGS[name], 1)))
        self._train(TRAININGS["noise"], 1)
        self._train(TRAININGS["coach"], 1)
        for number in range(1, self._config.coach):
            # The policy that plays round n + 1 is what n rounds have made.
            policy = self._run(TRAININGS["coach"], 1) / "coach" / f"round{number + 1}.pt"
            self._score(f"round{number}-seed1", ("--checkpoint", policy))

    def _seeds(self, training: Training) -> range:
        count = self._config.article_seeds if training.article else self._config.seeds
        return range(1, count + 1)

    def _play(self, names: Iterable[str]) -> None:
        """Record the scripted driver, in pieces that can be learnt from one by one."""
        seconds = self._config.minutes_of_play * 60 / PIECES
        for name in names:
            todo = []
            for piece in range(PIECES):
                folder = self._out / "play" / name / f"{piece + 1}"
                words: tuple[str | Path, ...] = (
                    "collect.py",
                    "--out",
                    folder,
                    "--frames",
                    "arena",
                    "--codec",
                    "jpeg",
                    *PLAYS[name],
                )
                limits = ("--seconds", f"{seconds:g}", "--seed", str(10_000 * (piece + 1)))
                step = Step(f"play-{name}-{piece + 1}", (*words, *limits))
                if not self._steps.done(step.name):
                    shutil.rmtree(folder, ignore_errors=True)  # of an attempt that was interrupted
                    todo.append(step)
            at_once = len(os.sched_getaffinity(0))
            for i in range(0, len(todo), at_once):
                group = todo[i : i + at_once]
                for step, cost in zip(group, self._steps.run(*group), strict=True):
                    self._steps.note(step, cost)

    def _run(self, training: Training, seed: int) -> Path:
        return self._out / "runs" / f"{training.run}-seed{seed}"

    def _train(self, training: Training, seed: int) -> Path:
        """Train one policy, after the one that it goes on from; returns its checkpoint."""
        name = f"{training.name}-seed{seed}"
        policy = self._out / "policies" / f"{name}.pt"
        if self._steps.done(f"train-{name}"):
            return policy
        before = Cost(0, 0)
        if training.after is not None:
            self._train(TRAININGS[training.after], seed)
            before = self._steps.cost(f"train-{training.after}-seed{seed}")
        self._play([training.play])
        run = self._run(training, seed)
        pieces = PIECES // training.share
        play = self._out / "play" / training.play
        data = [play] if training.share == 1 else [play / str(piece + 1) for piece in range(pieces)]
        words: list[str | Path] = ["train.py", *data, "--out", run, "--seed", str(seed)]
        words += training.options(self._config)
        if not training.fixed:
            words += self._config.train_words
        begun = (run / "last.pt").exists()
        if begun:
            words.append("--resume")
        step = Step(f"train-{name}", tuple(words), goes_on=begun)
        (cost,) = self._steps.run(step)
        policy.parent.mkdir(exist_ok=True)
        shutil.copy2(run / "best.pt", policy)
        from rl_utils.checkpoint import load_checkpoint

        learnt = load_checkpoint(policy).data
        self._steps.note(step, before + cost, frames=learnt["samples"], minutes=learnt["minutes"])
        return policy

    def _asked_min(self, step: str) -> float | None:
        """The minutes that a finished score was asked for; None where there is none, or it is not known."""
        return self._steps.facts(step).get("minutes") if self._steps.done(step) else None

    def _score(self, name: str, player: Sequence[str | Path], *, minutes: float | None = None) -> None:
        minutes = minutes or self._config.score_minutes
        file = self._out / "scores" / f"{name}.json"
        limits = ("--minutes", f"{minutes:g}", "--seed", str(self._config.seed))
        step = Step(f"score-{name}", ("-m", "rl_utils.arena", "score", *player, *limits, "--json", file))
        asked = self._asked_min(step.name)
        if not self._steps.done(step.name) or (asked is not None and asked < minutes):
            (cost,) = self._steps.run(step)
            self._steps.note(step, cost, minutes=minutes)


def _open_folder(config: ScoreboardConfig) -> None:
    """Make the folder, or see that what is there was made with the same settings."""
    require_folder(config.out, "--out")
    file = config.out / "config.toml"
    if not file.exists():
        if config.out.exists() and any(config.out.iterdir()):
            raise UserError(f"{config.out} holds something else", "Choose another --out")
        try:
            config.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{config.out} cannot be made ({error.strerror})", "Choose another --out") from error
    elif not config.resume:
        raise UserError(f"{config.out} already holds a scoreboard", "Add --resume to go on, or choose another --out")
    else:
        before = load_config(ScoreboardConfig, file)
        for key, then in before.items():
            value = getattr(config, key)
            if key not in MAY_CHANGE and then != value:
                option = "--" + key.replace("_", "-")
                raise UserError(
                    f"{config.out} was begun with {option} {_said(then)}, not {_said(value)}",
                    f"Give {option} {_said(then)} again, or choose another --out",
                )
    save_config(config, file)


def _refuse_own_options(config: ScoreboardConfig) -> None:
    """Refuse --train-options that the scoreboard gives to `train.py` itself: rows would not be what they are called."""
    asked = [row for row in ROWS if row.name in config.only or not (config.only or row.extra)]
    trainings = [TRAININGS[row.training] for row in asked if row.training is not None]
    own = {word for training in trainings if not training.fixed for word in training.options(config)} | OWN_OPTIONS
    for word in config.train_words:
        option = word.replace("_", "-")
        if option.startswith("--") and option in own:
            raise UserError(
                f"--train-options {option.removeprefix('--')}: the scoreboard gives {option} to train.py itself",
                "Leave it away; the scoreboard's own --help says what it takes instead",
            )


def _said(value: object) -> str:
    """A setting as it is typed."""
    return " ".join(map(str, value)) or "(nothing)" if isinstance(value, tuple) else f"{value}"


def run_scoreboard(config: ScoreboardConfig) -> str:
    """Measure what is asked for; returns the table of everything in the folder, as text.

    Raises:
        UserError: A step did not end well, or the folder is of other settings.
    """
    # Found out now instead of in an hour.
    _refuse_own_options(config)
    parse_config(TrainConfig, ["data", "--out", "run", *config.train_words], prog="train.py")
    _open_folder(config)
    from rl_utils.scoreboard_table import write_tables

    board = Scoreboard(config)
    for row in ROWS:
        if row.name in config.only or not (config.only or row.extra):
            log(f"\n{row.title.strip()}")
            board.measure(row)
            write_tables(config, quiet=True)
    if not config.only or "curves" in config.only:
        log("\nLearning curves")
        board.measure_curves()
    return write_tables(config)


@user_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print the table."""
    import dataclasses

    config = parse_config(ScoreboardConfig, argv, prog="python -m rl_utils.scoreboard")
    config = dataclasses.replace(config, out=config.out.absolute())
    sys.stdout.write(run_scoreboard(config))
    return 0


if __name__ == "__main__":
    sys.exit(main())
