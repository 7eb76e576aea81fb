"""From recordings to samples: what is learnt from each moment, which are held out, how far back one may look."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from rl_utils.arena.obs_layout import OBS_NAMES
from rl_utils.copies import refuse_copies
from rl_utils.errors import UserError
from rl_utils.interfaces import Flag, Source
from rl_utils.metrics import CHANGE
from rl_utils.recordings import Recording
from rl_utils.split import least_gap_s, play_time, split_by_time
from rl_utils.takeover import is_let_go

RATE_TOLERANCE: Final = 0.1
"""Recordings whose rates differ by more than this share do not fit one network: its past would mean other times."""

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Weights:
    """How often moments of a drive are learnt from, by who held the pad; a person's own play counts once.

    Attributes:
        policy: Driven by a policy, and not labelled. 0: left out.
        takeover: Driven by somebody who took the pad from a policy: how it gets out of what it got into.
        pre_takeover: Factor for the seconds that led to a takeover, which show what not to do.
        change: Factor for moments in which a control changes: rare, and where repeating the last inputs is wrong.
    """

    policy: float = 0.0
    takeover: float = 2.0
    pre_takeover: float = 0.0
    change: float = 1.0


@dataclass(frozen=True)
class Samples:
    """What is learnt from each moment of several recordings, by one running index.

    Attributes:
        targets: (N, 19) float32, the inputs to answer with.
        states: (N, 24) float32, the arena's state at that moment (`OBS_NAMES`); NaN where it was not recorded.
        previous: (N, 19) float32, the target of the moment before; its own where there is none.
        teaches: (N,) bool, whether its target is to be learnt at all, here or as what follows another moment.
        firsts: (N,) int64, the first sample of each sample's segment: nothing before it is looked at.
        train: (T,) int64, indices to learn from.
        weights: (T,) float64, how often each of them is seen in a pass, on average.
        held_out: (V,) int64, indices to measure on.
        fps: Rate in Hz.
        capture_size: (width, height) in px of the recordings, the most frequent one.
        fingerprint: Plain data that tells this data from other data.
    """

    targets: NDArray[np.float32]
    states: NDArray[np.float32]
    previous: NDArray[np.float32]
    teaches: NDArray[np.bool_]
    firsts: Indices
    train: Indices
    weights: NDArray[np.float64]
    held_out: Indices
    fps: float
    capture_size: tuple[int, int]
    fingerprint: dict[str, Any]

    @property
    def per_pass(self) -> int:
        """How many moments a pass consists of."""
        return round(float(self.weights.sum()))

    def order(self, chance: np.random.Generator) -> Indices:
        """The moments of one pass in random order, each as often as its weight says, rounded up or down by chance.

        Returns:
            (per_pass,) int64, from `train`.
        """
        if (self.weights == 1).all():
            return chance.permutation(self.train)
        ends = np.cumsum(self.weights)
        # Evenly spaced places on a line on which each moment has its weight's length: rounding averages out.
        places = (np.arange(self.per_pass) + chance.random()) * (ends[-1] / self.per_pass)
        picked = np.minimum(np.searchsorted(ends, places, side="right"), len(ends) - 1)
        return chance.permutation(self.train[picked])


def make_samples(
    recordings: Sequence[Recording],
    *,
    val_share: float,
    val_gap_s: float,
    action_shift_ms: float,
    seed: int,
    weights: Weights = Weights(),  # frozen
    reach_s: float = 0.0,
) -> Samples:
    """Decide what is learnt from each moment, how often, and which moments are held out.

    What weighs nothing is left out, though visible as the past of others: by default moments driven by a policy without
    labels, and moments shortly before a person took over (`Flag.PRE_TAKEOVER`). Always left out: the end of a takeover
    in which everything is let go, which would teach to do nothing.

    Args:
        recordings: Of one rate.
        val_share: Share of the play time that is held out; 0: nothing.
        val_gap_s: Seconds left out on both sides.
        action_shift_ms: Pair each frame with the inputs this much later (negative: earlier), within its segment.
        seed: Of the held-out places.
        weights: How often moments of a drive are learnt from.
        reach_s: How far what is seen of a moment reaches back, and what is learnt from it ahead, together.

    Raises:
        UserError: The recordings differ in rate, hold the same play twice, or too little.
    """
    fps = _common_rate(recordings)
    refuse_copies(recordings)
    offsets = np.concatenate([[0], np.cumsum([len(r) for r in recordings])])
    times = np.concatenate([r.timestamps_ns for r in recordings])
    firsts = np.concatenate([o + _segment_firsts(r) for o, r in zip(offsets[:-1], recordings, strict=True)])
    labels = np.concatenate([r.labels for r in recordings])
    weight = np.concatenate([_weights(r, weights) for r in recordings])
    period = np.concatenate([np.full(len(r), 1 / r.fps) for r in recordings])
    paired = _paired(times, firsts, round(action_shift_ms * 1e6), period)
    targets = np.clip(labels[np.maximum(paired, 0)], 0, 1)
    index = np.arange(len(targets))
    before = np.where((index > firsts) & (paired[index - 1] >= 0), index - 1, index)
    weight = np.where(paired >= 0, np.minimum(weight, weight[np.maximum(paired, 0)]), 0)
    weight = np.where((np.abs(targets - targets[before]) > CHANGE).any(axis=1), weights.change * weight, weight)
    usable = weight > 0
    if not usable.any():
        raise UserError(
            "Nothing to learn from: the recordings hold only a policy's own driving",
            "Record yourself, relabelled play or takeovers; --policy-weight 1 learns from a policy",
        )
    gap_s = least_gap_s(val_gap_s, action_shift_ms=action_shift_ms, reach_s=reach_s)
    time_s = play_time(times, firsts, period, usable)
    if val_share:
        train, held_out = split_by_time(time_s, share=val_share, gap_s=gap_s, seed=seed)
    else:
        train, held_out = np.full(len(time_s), True), np.full(len(time_s), False)
    chosen = np.flatnonzero(usable & train)
    sizes = {r.size: sum(len(s) for s in recordings if s.size == r.size) for r in recordings}
    return Samples(
        targets=targets,
        states=np.concatenate([known_states(r) for r in recordings]),
        previous=targets[before],
        teaches=usable,
        firsts=firsts,
        train=chosen,
        weights=weight[chosen],
        held_out=np.flatnonzero(usable & held_out),
        fps=fps,
        capture_size=max(sizes, key=lambda size: sizes[size]),
        fingerprint=_fingerprint(recordings),
    )


def hold_out(samples: Samples) -> Samples:
    """The same with nothing to learn from: everything is measured on."""
    nothing = np.zeros(0, np.int64)
    return replace(samples, train=nothing, weights=nothing.astype(float), held_out=samples.train)


def join_samples(first: Samples, second: Samples, recordings: Sequence[Recording]) -> Samples:
    """The samples of two groups of recordings as one; what was held out of each stays held out.

    Args:
        first: Of the recordings that come first.
        second: Of those after them.
        recordings: All of them.

    Raises:
        UserError: They differ in rate, or hold the same play.
    """
    fps = _common_rate(recordings)
    refuse_copies(recordings)
    offset = len(first.targets)
    return Samples(
        targets=np.concatenate([first.targets, second.targets]),
        states=np.concatenate([first.states, second.states]),
        previous=np.concatenate([first.previous, second.previous]),
        teaches=np.concatenate([first.teaches, second.teaches]),
        firsts=np.concatenate([first.firsts, second.firsts + offset]),
        train=np.concatenate([first.train, second.train + offset]),
        weights=np.concatenate([first.weights, second.weights]),
        held_out=np.concatenate([first.held_out, second.held_out + offset]),
        fps=fps,
        capture_size=first.capture_size,
        fingerprint=_fingerprint(recordings),
    )


def known_states(recording: Recording) -> NDArray[np.float32]:
    """(N, 24) float32, the state that a recording holds, in the order of `OBS_NAMES`; NaN where it holds none."""
    if recording.state is None or not set(OBS_NAMES) <= set(recording.state_names):
        return np.full((len(recording), len(OBS_NAMES)), np.nan, np.float32)
    return recording.state[:, [recording.state_names.index(name) for name in OBS_NAMES]]


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


def _weights(recording: Recording, weights: Weights) -> NDArray[np.float64]:
    """(N,): how often each moment is to be learnt from. A label is right whoever drove, and before a takeover, too."""
    taken = recording.source == Source.TAKEOVER
    weight = np.where(taken, weights.takeover, 1.0)
    if not recording.has_labels:
        weight[recording.source == Source.POLICY] = weights.policy
        weight[recording.flags & Flag.PRE_TAKEOVER != 0] *= weights.pre_takeover
        weight[_letting_go(recording, taken)] = 0.0
    return weight


def _letting_go(recording: Recording, taken: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(N,): the moments of each takeover after everything was let go for the last time in it."""
    passive = taken & is_let_go(recording.inputs)
    index = np.arange(len(taken))
    # The next moment that is not passive: a takeover that still does something, or the end of it.
    following = np.where(passive, len(taken), index)
    following = np.minimum.accumulate(following[::-1])[::-1]
    still_taken = np.append(taken, False)[np.minimum(following, len(taken))]
    ends: NDArray[np.bool_] = passive & ~still_taken
    return ends


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
            {
                "name": r.name,
                "samples": len(r),
                "fps": r.fps,
                "size": list(r.size),
                "labels": r.has_labels,
                "drivers": {s.name.lower(): int((r.source == s).sum()) for s in Source if (r.source == s).any()},
            }
            for r in recordings
        ],
    }
