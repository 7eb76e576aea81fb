"""From recordings to samples: what is learnt from each moment, which are held out, how far back one may look."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from rl_utils.errors import UserError
from rl_utils.interfaces import Flag, Source
from rl_utils.recordings import Recording
from rl_utils.split import play_time, split_by_time

RATE_TOLERANCE: Final = 0.1
"""Recordings whose rates differ by more than this share do not fit one network: its past would mean other times."""

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Samples:
    """What is learnt from each moment of several recordings, by one running index.

    Attributes:
        targets: (N, 19) float32, the inputs to answer with.
        previous: (N, 19) float32, the target of the moment before; its own where there is none.
        firsts: (N,) int64, the first sample of each sample's segment: nothing before it is looked at.
        train: (T,) int64, indices to learn from.
        held_out: (V,) int64, indices to measure on.
        fps: Rate in Hz.
        capture_size: (width, height) in px of the recordings, the most frequent one.
        fingerprint: Plain data that tells this data from other data.
    """

    targets: NDArray[np.float32]
    previous: NDArray[np.float32]
    firsts: Indices
    train: Indices
    held_out: Indices
    fps: float
    capture_size: tuple[int, int]
    fingerprint: dict[str, Any]


def make_samples(
    recordings: Sequence[Recording], *, val_share: float, val_gap_s: float, action_shift_ms: float, seed: int
) -> Samples:
    """Decide what is learnt from each moment and which moments are held out.

    Left out of learning, though visible as the past of others: moments driven by a policy without labels, and moments
    shortly before a person took over (`Flag.PRE_TAKEOVER`), which show what not to do.

    Args:
        recordings: Of one rate.
        val_share: Share of the play time that is held out.
        val_gap_s: Seconds left out on both sides.
        action_shift_ms: Pair each frame with the inputs this much later (negative: earlier), within its segment.
        seed: Of the held-out places.

    Raises:
        UserError: The recordings differ in rate, or hold too little.
    """
    fps = _common_rate(recordings)
    offsets = np.concatenate([[0], np.cumsum([len(r) for r in recordings])])
    times = np.concatenate([r.timestamps_ns for r in recordings])
    firsts = np.concatenate([o + _segment_firsts(r) for o, r in zip(offsets[:-1], recordings, strict=True)])
    labels = np.concatenate([r.labels for r in recordings])
    period = np.concatenate([np.full(len(r), 1 / r.fps) for r in recordings])
    paired = _paired(times, firsts, round(action_shift_ms * 1e6), period)
    targets = np.clip(labels[np.maximum(paired, 0)], 0, 1)
    index = np.arange(len(targets))
    before = np.where(index > firsts, index - 1, index)
    usable = np.concatenate([_learnable(r) for r in recordings]) & (paired >= 0)
    # A training stack reaches back and its target ahead: neither may touch what is held out.
    gap_s = max(val_gap_s, abs(action_shift_ms) / 1e3 + 0.5)
    train, held_out = split_by_time(play_time(times, firsts, period), share=val_share, gap_s=gap_s, seed=seed)
    if not (usable & train).any() or not (usable & held_out).any():
        raise UserError(
            "Nothing to learn from: the recordings hold only a policy's own driving",
            "Record yourself, or relabelled play",
        )
    sizes = {r.size: sum(len(s) for s in recordings if s.size == r.size) for r in recordings}
    return Samples(
        targets=targets,
        previous=targets[before],
        firsts=firsts,
        train=np.flatnonzero(usable & train),
        held_out=np.flatnonzero(usable & held_out),
        fps=fps,
        capture_size=max(sizes, key=lambda size: sizes[size]),
        fingerprint=_fingerprint(recordings),
    )


def join_samples(first: Samples, second: Samples, recordings: Sequence[Recording]) -> Samples:
    """The samples of two groups of recordings as one; what was held out of each stays held out.

    Args:
        first: Of the recordings that come first.
        second: Of those after them.
        recordings: All of them.

    Raises:
        UserError: They differ in rate.
    """
    offset = len(first.targets)
    return Samples(
        targets=np.concatenate([first.targets, second.targets]),
        previous=np.concatenate([first.previous, second.previous]),
        firsts=np.concatenate([first.firsts, second.firsts + offset]),
        train=np.concatenate([first.train, second.train + offset]),
        held_out=np.concatenate([first.held_out, second.held_out + offset]),
        fps=_common_rate(recordings),
        capture_size=first.capture_size,
        fingerprint=_fingerprint(recordings),
    )


def _common_rate(recordings: Sequence[Recording]) -> float:
    rates = [r.fps for r in recordings]
    if max(rates) > (1 + RATE_TOLERANCE) * min(rates):
        slow, fast = (next(r for r in recordings if r.fps == rate) for rate in (min(rates), max(rates)))
        raise UserError(
            f"{fast.name} was recorded at {fast.fps:g} fps and {slow.name} at {slow.fps:g}",
            "Train on recordings of one rate, so that the past means the same everywhere",
        )
    return float(np.median(np.repeat(rates, [len(r) for r in recordings])))


def _segment_firsts(recording: Recording) -> Indices:
    """For each sample the index of the first of its segment; a new episode begins a segment, too."""
    index = np.arange(len(recording))
    changed = (np.diff(recording.segment) != 0) | (np.diff(recording.episode) != 0)
    return np.maximum.accumulate(np.where(np.concatenate([[True], changed]), index, 0))


def _learnable(recording: Recording) -> NDArray[np.bool_]:
    if recording.has_labels:
        return np.ones(len(recording), bool)
    learnable: NDArray[np.bool_] = (recording.source != Source.POLICY) & (recording.flags & Flag.PRE_TAKEOVER == 0)
    return learnable


def _paired(times: Indices, firsts: Indices, shift_ns: int, period_s: NDArray[np.float64]) -> Indices:
    """For each sample the one nearest to `shift_ns` later in its segment; -1 where the segment ends before that."""
    if shift_ns == 0:
        return np.arange(len(times))
    paired = np.full(len(times), -1, np.int64)
    borders = np.append(np.flatnonzero(firsts == np.arange(len(firsts))), len(times))
    for begin, end in itertools.pairwise(borders.tolist()):
        own = times[begin:end]
        wanted = own + shift_ns
        right = np.clip(np.searchsorted(own, wanted), 1, max(1, end - begin - 1))
        right = np.minimum(right, end - begin - 1)
        left = np.maximum(right - 1, 0)
        nearest = np.where(np.abs(own[left] - wanted) <= np.abs(own[right] - wanted), left, right)
        half = period_s[begin] * 1e9 / 2
        inside = (wanted >= own[0] - half) & (wanted <= own[-1] + half)
        paired[begin:end] = np.where(inside, begin + nearest, -1)
    return paired


def _fingerprint(recordings: Sequence[Recording]) -> dict[str, Any]:
    digest = hashlib.sha256()
    for recording in recordings:
        digest.update(np.ascontiguousarray(recording.labels).tobytes())
        digest.update(recording.timestamps_ns.tobytes())
    return {
        "sha256": digest.hexdigest(),
        "samples": sum(len(r) for r in recordings),
        "minutes": round(sum(len(r) / r.fps for r in recordings) / 60, 2),
        "recordings": [
            {"name": r.name, "samples": len(r), "fps": r.fps, "size": list(r.size), "labels": r.has_labels}
            for r in recordings
        ],
    }
