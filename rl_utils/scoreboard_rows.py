"""The rows of the scoreboard as data: who plays, and what they learnt from by which options of `train.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from rl_utils.config import ScoreboardConfig

PIECES: Final = 8
"""Recordings of which each kind of play consists, so that an eighth, a quarter and a half of it can be learnt from."""
PLAYS: Final[Mapping[str, tuple[str, ...]]] = {"plain": (), "noise": ("--noise", "1")}
"""Kinds of play to learn from, and the options of `collect.py` that make them."""

# Source: the article as committed (facts, article). What it does not do (mirror, shift, average) is turned off.
ARTICLE: Final = (
    *("--model", "rocketnet", "--loss", "article", "--batch-size", "128", "--lr", "3e-4", "--weight-decay", "1e-5"),
    *("--patience", "5", "--mirror", "0", "--shift-px", "0", "--ema", "0"),
)
LEVERS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "belief": ("the same without a belief about the state", ("--belief-weight", "0")),
    "belief-and-middle": (
        "the same without belief and enlarged middle",
        ("--model", "motion", "--optimiser", "muon"),
    ),
    "mirror": ("the same without mirrored pictures", ("--mirror", "0")),
    "shift": ("the same without shifted pictures", ("--shift-px", "0")),
    "muon": ("the same with AdamW alone", ("--optimiser", "adamw")),
    "average": ("the same without the average of the weights", ("--ema", "0")),
}
"""What the coached policy is tried without: each one's title, and options of `train.py` that turn it off."""
STATE: Final = ("--model", "state", "--epochs", "12", "--batch-size", "256", "--patience", "0")


@dataclass(frozen=True)
class Training:
    """How policies of one kind come about, one for each training seed.

    Attributes:
        name: Of the policies.
        play: What they learn from, one of `PLAYS`.
        share: 4 takes a quarter of the play in as many steps as all of it, with four times the passes.
        after: The training whose runs this one goes on with, by coach rounds.
        article: Whether it is the article's network.
        fixed: Options that do not depend on the settings; without them it is a default policy.
        without: Options that turn off a part of a default policy.
    """

    name: str
    play: str
    share: int = 1
    after: str | None = None
    article: bool = False
    fixed: tuple[str, ...] = ()
    without: tuple[str, ...] = ()

    @property
    def run(self) -> str:
        """Name of the run folders."""
        return self.after or self.name

    def options(self, config: ScoreboardConfig) -> list[str]:
        """Options of `train.py` beside data, folder and seed."""
        if self.article:
            return [*self.fixed, "--epochs", str(config.article_epochs)]
        if self.fixed:
            return list(self.fixed)
        # Whoever has little play overfits first; to stop there would cut its course of the learning rate short.
        options = [*self.without, "--epochs", str(config.epochs * self.share), "--patience", "0"]
        if self.after is not None:
            options += ["--coach", str(config.coach), "--coach-minutes", f"{config.coach_minutes:g}"]
        return options


TRAININGS: Final = {
    training.name: training
    for training in (
        Training("article", "plain", article=True, fixed=ARTICLE),
        Training("plain", "plain"),
        Training("noise", "noise"),
        Training("coach", "noise", after="noise"),
        Training("state", "noise", fixed=STATE),
        Training("eighth", "noise", share=8),
        Training("quarter", "noise", share=4),
        Training("half", "noise", share=2),
        *(Training(f"noise-without-{name}", "noise", without=options) for name, (_, options) in LEVERS.items()),
        *(
            Training(f"coach-without-{name}", "noise", after=f"noise-without-{name}", without=options)
            for name, (_, options) in LEVERS.items()
        ),
    )
}


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        name: For --only, and of its files.
        title: As the table calls it.
        training: Whose policies play; None for a driver.
        player: Options of `arena score` beside the checkpoint; "play:NAME" stands for recorded play.
        plays: Recorded play that a driver needs.
        extra: Measured only when --only names it.
    """

    name: str
    title: str
    training: str | None = None
    player: tuple[str, ...] = ()
    plays: tuple[str, ...] = ()
    extra: bool = False


ROWS: Final = (
    Row("idle", "idle", player=("--driver", "idle")),
    Row("random", "random inputs", player=("--driver", "random")),
    Row(
        "constant",
        "constant (mean input)",
        player=("--driver", "constant", "--constant", "play:plain"),
        plays=("plain",),
    ),
    Row("article-shipped", "article, as shipped", "article", player=("--as-shipped",)),
    Row("article-fixed", "article, played as it was trained", "article"),
    Row("plain", "default policy, plain play", "plain"),
    Row("noise", "default policy, play with noise", "noise"),
    Row("coach", "default policy, play with noise and coach rounds", "coach"),
    Row("coach-orange", "  the same, in an orange car from the other end", "coach", ("--team", "orange"), extra=True),
    Row("coach-night", "  the same, by night", "coach", ("--look", "night"), extra=True),
    Row("coach-ice", "  the same, on ice-blue ground", "coach", ("--look", "ice"), extra=True),
    *(Row(f"without-{name}", f"  {title}", f"coach-without-{name}", extra=True) for name, (title, _) in LEVERS.items()),
    Row("state", "policy on the state, play with noise", "state"),
    Row("expert", "scripted driver", player=("--driver", "expert")),
)

PAIRS: Final = (
    ("article-fixed", "article-shipped"),
    ("plain", "article-fixed"),
    ("noise", "plain"),
    ("coach", "noise"),
    ("coach", "coach-orange"),
    ("coach", "coach-night"),
    ("coach", "coach-ice"),
    *(("coach", f"without-{name}") for name in LEVERS),
    ("without-belief", "without-belief-and-middle"),
    ("state", "coach"),
    ("expert", "coach"),
)
"""Rows that the report compares start by start: the first is expected to be the better one."""
