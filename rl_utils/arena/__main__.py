"""`python -m rl_utils.arena`: open the practice arena, or `score` a policy or driver in it."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rl_utils.config import ArenaConfig, parse_config
from rl_utils.errors import user_errors

PROG = "python -m rl_utils.arena"


@user_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Play until the window is closed; with "score" as the first word, score instead."""
    args = list(sys.argv[1:] if argv is None else argv)
    if args[:1] == ["score"]:
        from rl_utils.arena.score import main as score

        return score(args[1:])
    config = parse_config(ArenaConfig, args, prog=PROG)
    from rl_utils.arena.live import play

    return play(config)


if __name__ == "__main__":
    sys.exit(main())
