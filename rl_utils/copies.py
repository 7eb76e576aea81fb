"""Refuses the same play twice: what is held out of one copy would be learnt from the other.

Names do not tell: a backup lies in another folder, and a part that `playback.py trim` cut out may lie beside another
part, or beside the whole that both came from. Times and inputs do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from rl_utils.controls import N_CONTROLS
from rl_utils.errors import UserError
from rl_utils.recordings import Recording

SHARE: Final = 0.2
"""Of the moments in which inputs change, how many two recordings may have in common. Simulated time begins at the same
moment in each, so that a kick-off can be played twice alike; a kick-off is a few seconds."""
LEAST: Final = 5
"""Fewer moments in common are chance."""
FACTORS: Final = np.random.default_rng(0).integers(0, 2**64, N_CONTROLS + 1, np.uint64) | np.uint64(1)


def refuse_copies(recordings: Sequence[Recording]) -> None:
    """Refuse play that is there twice, whole or in part.

    Raises:
        UserError: One recording is a part of another, or two of them hold the same play.
    """
    names = {recording.name for recording in recordings}
    parts: dict[str, list[Recording]] = {}
    for recording in recordings:
        original = recording.meta.get("trimmed_from")
        if original in names:
            _refuse(f"{recording.name} is a part of {original}")
        if original is None:
            continue
        for part in parts.setdefault(original, []):
            if len(np.intersect1d(part.timestamps_ns, recording.timestamps_ns)):
                _refuse(f"{part.path} and {recording.path} are parts of one recording that overlap")
        parts[original].append(recording)
    keys = [_changes(recording) for recording in recordings]
    moments = np.concatenate(keys)
    owners = np.repeat(np.arange(len(recordings)), [len(key) for key in keys])
    order = np.lexsort([owners, moments])
    moments, owners = moments[order], owners[order]
    alike = (moments[1:] == moments[:-1]) & (owners[1:] != owners[:-1])
    pairs = np.stack([owners[:-1][alike], owners[1:][alike]], axis=1)
    for (a, b), count in zip(*np.unique(pairs, axis=0, return_counts=True), strict=True):
        first, second = recordings[a], recordings[b]
        if count >= max(LEAST, SHARE * min(len(keys[a]), len(keys[b]))):
            _refuse(f"{second.path} holds the same play as {first.path}")


def _changes(recording: Recording) -> NDArray[np.uint64]:
    """(C,) a number for each moment in which inputs change, of its time and its inputs: equal ones are the same."""
    bits = np.ascontiguousarray(recording.inputs).view(np.uint32)
    changed = np.flatnonzero((bits[1:] != bits[:-1]).any(axis=1)) + 1
    columns = np.column_stack([recording.timestamps_ns[changed].view(np.uint64), bits[changed].astype(np.uint64)])
    numbers: NDArray[np.uint64] = (columns * FACTORS).sum(axis=1, dtype=np.uint64)  # overflows, as hashes do
    return numbers


def _refuse(what: str) -> None:
    raise UserError(
        f"{what}: what is held out of one would be learnt from the other",
        "Name only one of the two",
    )
