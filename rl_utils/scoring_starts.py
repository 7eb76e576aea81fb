"""Warns of learning from the starts that scores are made from, where they are recorded and where they are learnt from.

`arena score` calls a score held out by its seeds alone: it cannot know what a checkpoint has learnt from.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rl_utils.arena.situations import SCORING_SEEDS

if TYPE_CHECKING:
    from rl_utils.recordings import Recording

logger = logging.getLogger(__name__)


def warn_before_recording(seed: object) -> None:
    """Warn when what is about to be recorded begins with a start that is kept for scoring.

    Args:
        seed: Of the arena's first start, as the command line or the arena says it; anything else than a number is
            nothing known. Smaller seeds never grow into those for scoring (`situations.next_seed`).
    """
    if _is_for_scoring(seed):
        logger.warning(
            "Starts from seed %d on are kept for scoring: to learn from this recording, use --situation training with a"
            " smaller --seed",
            SCORING_SEEDS,
        )


def warn_before_learning(recordings: Sequence[Recording]) -> None:
    """Warn when recordings hold starts that are kept for scoring, as far as their session.json says.

    Args:
        recordings: What is learnt from. Only recordings in direct mode have their seed in session.json.
    """
    for recording in recordings:
        settings = recording.meta.get("settings")
        if not isinstance(settings, Mapping) or settings.get("frames") != "arena":
            continue
        if _is_for_scoring(settings.get("seed")):
            logger.warning(
                "%s holds starts from seed %s on, which are kept for scoring: scores of what learns from them are not"
                " held out, whatever arena score says",
                recording.name,
                settings["seed"],
            )


def _is_for_scoring(seed: object) -> bool:
    return isinstance(seed, int) and seed >= SCORING_SEEDS
