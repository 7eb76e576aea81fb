"""Train a policy on recordings: session folders → RUN/best.pt, with a model card, metrics and TensorBoard beside it."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rl_utils.config import TrainConfig, parse_config
from rl_utils.errors import EXIT_INTERRUPTED, user_errors
from rl_utils.paths import require_checkpoint, require_data

if TYPE_CHECKING:
    from rl_utils.run_state import Outcome


@user_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Train until the schedule ends or nothing improves any more; Ctrl+C saves last.pt and returns 130.

    Under torchrun every process runs this, and they train one network together.
    """
    config = parse_config(TrainConfig, argv, prog="train.py")
    leads = os.environ.get("RANK", "0") == "0"  # set by torchrun: one process writes and talks for all
    logging.basicConfig(format="%(levelname)s: %(message)s")
    logging.getLogger("rl_utils").setLevel(logging.INFO if leads else logging.WARNING)
    for path in (*config.data, *config.hold_out):
        require_data(path)
    if config.init is not None:
        require_checkpoint(config.init)
    # Before torch is loaded: its CPU threads otherwise spin while they wait for each other, which costs a busy machine
    # nine tenths of the speed (90 against 680 samples/s, 2 threads on 2 cores at load 6. Source: measured 2026).
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    from rl_utils.signals import stop_on_signals
    from rl_utils.training_run import run_training

    with stop_on_signals() as stop:
        outcome = run_training(config, stop=stop)
    if leads:
        print(_summary(outcome, config))
    return EXIT_INTERRUPTED if outcome.interrupted else 0


def _summary(outcome: Outcome, config: TrainConfig) -> str:
    from rl_utils.metrics import as_markdown
    from rl_utils.run_state import BEST, LAST

    lines = [
        f"Training {outcome.ending}: {outcome.epochs} passes, {outcome.steps} steps, {outcome.seconds / 60:.1f} min."
    ]
    best = outcome.metrics
    if best:
        right = best["held_out"]["policy"]
        how = "python -m rl_utils.arena score --checkpoint" if config.model == "state" else "eval.py --checkpoint"
        lines += [
            f"Best after pass {best['epoch']}: held-out loss {best['loss']:.4f}, buttons right "
            f"{right['button_accuracy']:.1%}, axes within 5 % {right['axis_accuracy']:.1%}, all 19 right "
            f"{right['all_right']:.1%}.",
            *_play(best.get("arena", {})),
            as_markdown(best["held_out"]),
            f"{config.out / BEST} drives ({how}); {config.out / 'README.md'} describes it.",
        ]
    if outcome.interrupted:
        saved = f"{config.out / LAST} is saved; the same command with --resume goes on."
        lines.append(saved if outcome.steps else "Nothing was learnt yet, so nothing is saved.")
    return "\n".join(lines)


def _play(played: Mapping[str, float]) -> list[str]:
    from rl_utils.selection import GOALS, TOUCHES

    if not played:
        return []
    return [
        f"It was chosen by its play: {played[GOALS]:.2f} goals and {played[TOUCHES]:.1f} touches per minute, which the "
        "choice flatters; arena score plays starts that nobody chose by."
    ]


if __name__ == "__main__":
    sys.exit(main())
