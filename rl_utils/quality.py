"""Is a recording worth learning from? The same judgement while it is made and when it is looked at later.

`QualityMonitor` is fed sample by sample inside the recording loop; `assess_recording` feeds it from a stored recording.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from rl_utils.controls import NAMES, REST
from rl_utils.images import is_black
from rl_utils.interfaces import Flag, Image, InputVector
from rl_utils.recordings import Recording

_LATE, _DUPLICATE = int(Flag.LATE), int(Flag.DUPLICATE)
PIXEL_STRIDE: Final = 8
"""Of pictures every 8th row is compared: a moving ball still shows."""
GAP_S: Final = 1.0
"""A longer time between two samples is a gap, not a slow tick (recording format, version 1)."""
AT_REST: Final = 0.1
"""A stick or trigger closer to its rest is not moved; worn sticks rest up to 0.06 off."""

SETTLE_S: Final = 5.0
"""Nothing is said about the pad, idling and the rate of shorter recordings."""
STILL_PAD_S: Final = 30.0
"""A pad that does not change for so long has lost its connection, or nobody plays."""
BLACK_S: Final = 3.0
FROZEN_S: Final = 5.0
"""Loading screens fade for a second or two; the game's clock and grass move in every picture."""
IDLE_SHARE: Final = 0.5
RATE_TOLERANCE: Final = 0.1

BURST: Final = 32
"""Inputs are taken into account so many at a time: one by one, code and data are out of the processor's cache each
time, which costs a recording 70 µs a sample instead of 5."""

ASSESSED_PICTURES: Final = 600
"""Pictures of a stored recording that are looked at, evenly spread; all inputs and times are."""


@dataclass(frozen=True)
class ControlUse:
    """How one control was used.

    Attributes:
        share: Of the samples, in which it was pressed or away from its rest.
        mean: Of its values.
        std: Of its values.
    """

    share: float
    mean: float
    std: float


@dataclass(frozen=True)
class Verdict:
    """Whether a recording is good, and the figures behind it. Shares are of the samples, 0 to 1.

    Attributes:
        good: Nothing speaks against learning from it.
        reasons: Why not, each with what to do about it.
        samples: How many there are.
        duration_s: Recorded time, without gaps.
        rate_hz: Samples per second within that time, 0 where unknown.
        target_hz: What was asked for.
        gaps: Times that nothing was recorded for more than `GAP_S`.
        gap_s: Their total.
        idle_share: All controls at rest.
        late_share: Taken late.
        duplicate_share: Known to show the previous picture again.
        black_s: Longest stretch of black pictures.
        frozen_s: Longest stretch of one and the same picture.
        still_pad_s: Longest stretch in which no control changed.
        dropped: Samples that the disk was too slow for.
        controls: Control name → its use.
    """

    good: bool
    reasons: tuple[str, ...]
    samples: int
    duration_s: float
    rate_hz: float
    target_hz: float
    gaps: int
    gap_s: float
    idle_share: float
    late_share: float
    duplicate_share: float
    black_s: float
    frozen_s: float
    still_pad_s: float
    dropped: int
    controls: Mapping[str, ControlUse]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for session.json and --json."""
        return asdict(self)

    def __str__(self) -> str:
        if self.good and self.duration_s <= SETTLE_S:
            return f"nothing wrong, but {self.duration_s:.1f} s are too short to judge"
        return "good" if self.good else "bad: " + "; ".join(self.reasons)


class _Stretch:
    """The longest time for which something was so without a break."""

    def __init__(self) -> None:
        self.longest_ns = 0
        self._since: int | None = None

    def update(self, holds: bool, previous_ns: int, now_ns: int) -> None:
        """`holds`: it was so from the previous sample to this one."""
        if not holds:
            self._since = None
            return
        if self._since is None:
            self._since = previous_ns
        self.longest_ns = max(self.longest_ns, now_ns - self._since)

    @property
    def longest_s(self) -> float:
        return self.longest_ns / 1e9


class QualityMonitor:
    """Running statistics of a recording.

    Args:
        fps: Target rate in Hz.
        has_pad: Inputs are recorded too; without, only the picture is judged.
    """

    def __init__(self, fps: float, *, has_pad: bool = True) -> None:
        self._fps = fps
        self._has_pad = has_pad
        self._samples = self._gaps = self._idle = self._late = self._duplicates = 0
        self._steps = self._recorded_ns = self._gap_ns = 0
        self._last_ns: int | None = None
        self._last_values: InputVector | None = None
        self._burst: list[tuple[InputVector, bool, int, int]] = []
        self._pixels: bytes | None = None
        self._pixels_ns = 0
        self._was_black = False
        self._black, self._frozen, self._still = _Stretch(), _Stretch(), _Stretch()
        self._moved = np.zeros(len(REST), np.int64)
        self._sum = np.zeros(len(REST))
        self._squares = np.zeros(len(REST))

    def update(self, image: Image | None, values: InputVector, t_ns: int, flags: int = 0) -> None:
        """Take one sample into account.

        Args:
            image: (H, W, 3) uint8 RGB, or None to look at the rest only.
            values: (19,) float32 in [0, 1].
            t_ns: The frame's time.
            flags: Bits of `interfaces.Flag`.
        """
        previous_ns = t_ns if self._last_ns is None else self._last_ns
        gap = self._update_time(t_ns)
        self._samples += 1
        self._late += bool(flags & _LATE)
        self._duplicates += bool(flags & _DUPLICATE)
        self._burst.append((values.copy(), gap, previous_ns, t_ns))
        if len(self._burst) >= BURST:
            self._update_inputs()
        self._last_ns = t_ns
        if gap:
            self._pixels = None
        if image is not None:
            self._update_picture(image, t_ns)

    def _update_inputs(self) -> None:
        """Take the inputs of the last few samples into account."""
        burst, self._burst = self._burst, []
        if not burst:
            return
        values = np.array([sample[0] for sample in burst], np.float64)
        away = np.abs(values - REST) > AT_REST
        self._idle += len(burst) - int(away.any(axis=1).sum())
        self._moved += away.sum(axis=0)
        self._sum += values.sum(axis=0)
        self._squares += np.square(values).sum(axis=0)
        for sample, gap, previous_ns, t_ns in burst:
            same = self._last_values is not None and not gap and self._last_values.tobytes() == sample.tobytes()
            self._still.update(same, previous_ns, t_ns)
            self._last_values = sample

    def _update_time(self, t_ns: int) -> bool:
        """Whether there is a gap before this sample."""
        if self._last_ns is None:
            return False
        step = t_ns - self._last_ns
        if not 0 <= step <= GAP_S * 1e9:
            self._gaps += 1
            self._gap_ns += max(0, step)
            return True
        self._steps += 1
        self._recorded_ns += step
        return False

    def _update_picture(self, image: Image, t_ns: int) -> None:
        pixels = image[::PIXEL_STRIDE].tobytes()
        previous, previous_ns = self._pixels, self._pixels_ns
        black = is_black(image)
        self._pixels, self._pixels_ns = pixels, t_ns
        frozen = previous == pixels
        start = t_ns if previous is None else previous_ns
        self._black.update(black and self._was_black and previous is not None, start, t_ns)
        self._frozen.update(frozen, start, t_ns)
        self._was_black = black

    @property
    def rate_hz(self) -> float:
        """Samples per second so far, gaps left out; 0 before the second sample."""
        return self._steps / (self._recorded_ns / 1e9) if self._recorded_ns else 0.0

    def verdict(self, *, dropped: int = 0) -> Verdict:
        """Judge what was seen so far.

        Args:
            dropped: Samples that the disk was too slow for.
        """
        self._update_inputs()
        n = max(1, self._samples)
        mean = self._sum / n
        std = np.sqrt(np.maximum(self._squares / n - mean**2, 0.0))
        figures: dict[str, Any] = {
            "samples": self._samples,
            "duration_s": self._recorded_ns / 1e9 + (1 / self._fps if self._samples else 0.0),
            "rate_hz": self.rate_hz,
            "target_hz": self._fps,
            "gaps": self._gaps,
            "gap_s": self._gap_ns / 1e9,
            "idle_share": self._idle / n,
            "late_share": self._late / n,
            "duplicate_share": self._duplicates / n,
            "black_s": self._black.longest_s,
            "frozen_s": self._frozen.longest_s,
            "still_pad_s": self._still.longest_s,
            "dropped": dropped,
            "controls": {
                name: ControlUse(share=float(self._moved[i] / n), mean=float(mean[i]), std=float(std[i]))
                for i, name in enumerate(NAMES)
            },
        }
        never_moved = self._steps > 0 and bool((std < 1e-6).all())
        reasons = _picture_reasons(figures)
        if self._has_pad:
            reasons += _pad_reasons(figures, never_moved=never_moved)
        reasons += _pace_reasons(figures)
        return Verdict(good=not reasons, reasons=reasons, **figures)


def _picture_reasons(figures: Mapping[str, Any]) -> tuple[str, ...]:
    if not figures["samples"]:
        return ("Nothing was recorded: keep the game's window focused while you play",)
    reasons = []
    if figures["black_s"] > BLACK_S:
        reasons.append(
            f"The picture was black for {figures['black_s']:.0f} s: run the game in borderless or windowed mode, "
            'and see "python -m rl_utils.doctor"'
        )
    if figures["frozen_s"] > FROZEN_S and figures["black_s"] < figures["frozen_s"]:
        reasons.append(
            f"The picture did not change for {figures['frozen_s']:.0f} s: check that the game was not in a menu or "
            'hanging, and see "python -m rl_utils.doctor"'
        )
    return tuple(reasons)


def _pad_reasons(figures: Mapping[str, Any], *, never_moved: bool) -> tuple[str, ...]:
    reasons = []
    long_enough = figures["duration_s"] > SETTLE_S
    if long_enough and never_moved:
        reasons.append(
            f"The gamepad did nothing in {figures['duration_s']:.0f} s: check with "
            '"python -m rl_utils.doctor" that it is the one you play with'
        )
    elif figures["still_pad_s"] > STILL_PAD_S:
        reasons.append(
            f"The gamepad did not change for {figures['still_pad_s']:.0f} s: check its connection and battery, "
            "and record only while you play"
        )
    if long_enough and not never_moved and figures["idle_share"] > IDLE_SHARE:
        reasons.append(f"All controls were at rest in {figures['idle_share']:.0%} of it: record only while you play")
    return tuple(reasons)


def _pace_reasons(figures: Mapping[str, Any]) -> tuple[str, ...]:
    reasons = []
    off = figures["rate_hz"] / figures["target_hz"] - 1
    if figures["duration_s"] > SETTLE_S and abs(off) > RATE_TOLERANCE:
        reasons.append(
            f"It ran at {figures['rate_hz']:.1f} instead of {figures['target_hz']:g} frames per second: close other "
            "programs, or record with a lower --fps"
        )
    if figures["dropped"]:
        reasons.append(
            f"{figures['dropped']} samples were dropped because the disk was too slow or full: use another disk, "
            "or --codec jpeg"
        )
    return tuple(reasons)


def assess_recording(recording: Recording) -> Verdict:
    """Judge a stored recording: all inputs and times, and pictures evenly spread over it.

    Raises:
        UserError: A picture is damaged.
    """
    monitor = QualityMonitor(recording.fps, has_pad=recording.meta.get("pad", {}).get("profile") != "none")
    stride = max(1, len(recording) // ASSESSED_PICTURES)
    # No further apart than what counts as a gap, so that black and frozen stretches show in long recordings, too.
    stride = min(stride, max(1, int(recording.fps * GAP_S)))
    for index in range(len(recording)):
        image = recording.frame(index) if index % stride == 0 else None
        monitor.update(image, recording.inputs[index], int(recording.timestamps_ns[index]), int(recording.flags[index]))
    return monitor.verdict(dropped=int(recording.meta.get("dropped", 0)))
