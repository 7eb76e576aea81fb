"""Coach rounds: the policy plays the practice arena, the scripted driver says what it would have done, both recorded.

A policy that only ever saw its teacher's play does not know its own mistakes. Here it makes them, and learns what to do
about them (DAgger). The play is in direct mode, in several processes, on training starts.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from numpy.typing import NDArray

from rl_utils.arena.play_pool import play_pool

if TYPE_CHECKING:
    from rl_utils.arena.direct import DirectArena
    from rl_utils.policy import NetworkPolicy, StatePolicy

PIECE_S: Final = 30.0
"""Play time of one session: between two of them a round can be stopped, and processes have about as many each."""
FIRST_SEED: Final = 500_000
SEEDS_PER_ROUND: Final = 19_987
SEEDS_PER_PIECE: Final = 43
"""More starts than a piece can have. Each piece, and each round, begins at another place of the 20 starts that take
turns (`TRAINING_MIX`): a piece has time for a few, and all are to be played as often."""
SITUATION: Final = "training"


@dataclass(frozen=True)
class Tally:
    """How the policy played while it was watched.

    Attributes:
        minutes: Simulated.
        touches: Of the ball.
        goals: Scored.
    """

    minutes: float = 0.0
    touches: int = 0
    goals: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.minutes + other.minutes, self.touches + other.touches, self.goals + other.goals)

    def __str__(self) -> str:
        per_min = 1 / max(self.minutes, 1e-9)
        return (
            f"{self.minutes:.1f} min, {self.touches * per_min:.1f} touches and {self.goals * per_min:.2f} goals per min"
        )


def play_round(
    checkpoint: Path,
    out: Path,
    number: int,
    *,
    minutes: float,
    on_progress: Callable[[float], None],
    stop: Callable[[], bool],
    processes: int = 0,
) -> Tally | None:
    """Let a policy play, coached, and record it as sessions.

    Args:
        checkpoint: The policy.
        out: Folder that receives the sessions, one numbered folder for each: their order is that of their starts.
        number: Of the round, from 1: each round plays other starts.
        minutes: Of play, all processes together.
        on_progress: Told how many minutes are done.
        stop: Asked after every piece.
        processes: 0 takes one per core.

    Returns:
        How it played, None when stopped.

    Raises:
        UserError: The checkpoint cannot be used, its rate does not divide the arena's, the disk is full, or a process
            was ended from outside.
    """
    pieces = max(1, round(minutes * 60 / PIECE_S))
    seconds = minutes * 60 / pieces
    processes = min(processes or len(os.sched_getaffinity(0)), pieces)
    tally = Tally()
    with play_pool(processes, _prepare, checkpoint) as pool:
        futures = [
            pool.submit(_play, first_seed(number, piece), seconds, out / f"{piece:03d}") for piece in range(pieces)
        ]
        for future in as_completed(futures):
            tally += future.result()
            on_progress(tally.minutes)
            if stop():
                return None
    return tally


def first_seed(number: int, piece: int) -> int:
    """Of the starts of a piece (from 0) of a round (from 1; after 19 of them they begin again)."""
    return FIRST_SEED + number % 19 * SEEDS_PER_ROUND + SEEDS_PER_PIECE * piece


class _Worker:
    """What a process keeps between pieces."""

    checkpoint: Path
    policy: NetworkPolicy | StatePolicy | None = None
    arena: DirectArena | None = None


def _prepare(checkpoint: Path) -> None:
    _Worker.checkpoint = checkpoint


def _play(seed: int, seconds: float, out: Path) -> Tally:
    from rl_utils.arena.direct import DirectArena
    from rl_utils.checkpoint import load_arena_policy
    from rl_utils.data_batcher import BatchSaver

    if _Worker.policy is None or _Worker.arena is None:
        policy = _Worker.policy = load_arena_policy(_Worker.checkpoint)
        _Worker.arena = DirectArena(SITUATION, seed, fps=policy.fps, size=policy.capture_size, driver="expert")
    policy, arena = _Worker.policy, _Worker.arena
    arena.restart(seed)
    policy.reset()
    segment = arena.segment
    with BatchSaver(
        out,
        fps=policy.fps,
        size=policy.capture_size,
        frames=arena.info,
        pad=arena.pad.info,
        codec="jpeg",
        block=True,
        session={"coached": _Worker.checkpoint.name},
    ) as saver:
        for _ in range(round(seconds * policy.fps)):
            frame = arena.read()
            assert frame is not None
            if arena.segment != segment:
                policy.reset()
                segment = arena.segment
            pad = arena.pad.at(frame.t_ns)
            saver.add(frame, pad, segment=segment)
            assert pad.state is not None
            seen: NDArray[Any] = frame.image if policy.sees == "pictures" else pad.state
            arena.sink.apply(policy.act(seen))
    stats = arena.stats
    return Tally(seconds / 60, int(stats["touches"]), int(stats["goals"]))
