"""What a recording holds, in figures: for a person to read and for other programs as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import h5py
import numpy as np

from rl_utils import schema
from rl_utils.controls import NAMES
from rl_utils.delay import DelayEstimate
from rl_utils.errors import UserError
from rl_utils.interfaces import Flag, Source
from rl_utils.quality import Verdict, assess_recording
from rl_utils.recordings import Recording
from rl_utils.scene import clock_text

_BAR: Final = 20


@dataclass(frozen=True)
class Summary:
    """One recording. Shares are of the samples, 0 to 1.

    Attributes:
        name: Short name.
        path: Session folder or file.
        written_by: "article", or "format 1".
        codec: "gzip", "jpeg", or "raw".
        files: How many batch files.
        width: Of the pictures in px.
        height: The same.
        fps_known: False for the article's files: rate, gaps and late samples of these are unknown.
        bytes: Size of the batch files.
        segments: Stretches within which samples follow one another.
        episodes: How many.
        sources: Who held the pad (names of `interfaces.Source`, lower case) → share.
        labels: Whether it says what should be learnt where that differs from the inputs.
        pre_takeover_share: Shortly before a takeover.
        delay: From inputs to pictures, as it was estimated when the recording ended; None where it was not.
        verdict: Judgement, rate, times and use of every control.
    """

    name: str
    path: str
    written_by: str
    codec: str
    files: int
    width: int
    height: int
    fps_known: bool
    bytes: int
    segments: int
    episodes: int
    sources: dict[str, float]
    labels: bool
    pre_takeover_share: float
    delay: DelayEstimate | None
    verdict: Verdict

    @property
    def gb_per_hour(self) -> float:
        """10^9 bytes per recorded hour."""
        return self.bytes / 1e9 / (self.verdict.duration_s / 3600) if self.verdict.duration_s else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Plain data for --json; unknown values are None."""
        table = {name: value for name, value in vars(self).items() if name not in ("verdict", "delay")}
        table["delay_estimate"] = self.delay.as_dict() if self.delay is not None else None
        judged = self.verdict.as_dict()
        judged["reasons"] = list(judged["reasons"])
        if not self.fps_known:
            for name in ("rate_hz", "gaps", "gap_s", "late_share", "duplicate_share"):
                judged[name] = None
        return {**table, "gb_per_hour": self.gb_per_hour, **judged}


def inspect_recording(recording: Recording) -> Summary:
    """Look at one recording: all inputs and times, some of the pictures.

    Raises:
        UserError: A picture is damaged, or a file is gone.
    """
    try:
        size = sum(file.stat().st_size for file in recording.files)
    except OSError as error:
        raise UserError(
            f"{error.filename} is gone ({error.strerror})", "Restore it, or name another recording"
        ) from error
    names = {int(source): source.name.lower() for source in Source}
    kinds, counts = np.unique(recording.source, return_counts=True)
    breaks = np.count_nonzero(np.diff(recording.segment)) + 1
    episodes = np.count_nonzero(np.diff(recording.episode)) + 1
    delay = recording.meta.get("delay_estimate")
    return Summary(
        name=recording.name,
        path=str(recording.path),
        written_by="article" if recording.is_article else f"format {schema.FORMAT_VERSION}",
        codec=_codec(recording),
        files=len(recording.files),
        width=recording.size[0],
        height=recording.size[1],
        fps_known=recording.fps_known,
        bytes=size,
        segments=int(breaks),
        episodes=int(episodes),
        sources={
            names.get(kind, str(kind)): count / len(recording)
            for kind, count in zip(kinds.tolist(), counts.tolist(), strict=True)
        },
        labels=recording.has_labels,
        pre_takeover_share=float(np.mean((recording.flags & Flag.PRE_TAKEOVER) != 0)),
        delay=DelayEstimate.from_dict(delay) if isinstance(delay, Mapping) else None,
        verdict=assess_recording(recording),
    )


def _codec(recording: Recording) -> str:
    with h5py.File(recording.files[0], "r", locking=False) as file:
        if schema.JPEG in file:
            return "jpeg"
        return str(file[schema.FRAMES].compression or "raw")


def info_table(summaries: Sequence[Summary]) -> dict[str, Any]:
    """Everything as plain data: `recordings`, a list, and `total` of all of them."""
    return {
        "recordings": [summary.as_dict() for summary in summaries],
        "total": {
            "recordings": len(summaries),
            "samples": sum(s.verdict.samples for s in summaries),
            "duration_s": sum(s.verdict.duration_s for s in summaries),
            "bytes": sum(s.bytes for s in summaries),
            "good": sum(s.verdict.good for s in summaries),
        },
    }


def info_text(summaries: Sequence[Summary]) -> str:
    """Everything for a person to read, one block per recording and a closing line for several."""
    blocks = [_block(summary) for summary in summaries]
    if len(summaries) > 1:
        total = info_table(summaries)["total"]
        blocks.append(
            f"{total['recordings']} recordings, {total['good']} of them good: {total['samples']:,} frames,"
            f" {clock_text(total['duration_s'])}, {_size(total['bytes'])}"
        )
    return "\n\n".join(blocks)


def _block(summary: Summary) -> str:
    verdict = summary.verdict
    if summary.fps_known:
        pace = (
            f"{verdict.rate_hz:.1f} of {verdict.target_hz:g} frames per second, {verdict.late_share:.1%} late,"
            f" {verdict.duplicate_share:.1%} duplicate"
        )
        left_out = f" ({clock_text(verdict.gap_s)} left out)" if verdict.gaps else ""
        gaps = f"{_count(verdict.gaps, 'gap')}{left_out}, "
    else:
        pace, gaps = f"not stored, {verdict.target_hz:g} frames per second assumed", ""
    learn = "; labels say what to learn" if summary.labels else ""
    before = f", {summary.pre_takeover_share:.1%} shortly before a takeover" if summary.pre_takeover_share else ""
    lines = [
        summary.path,
        f"  pictures  {summary.width}x{summary.height}, {summary.codec}, {_count(summary.files, 'file')} of"
        f" {summary.written_by}, {_size(summary.bytes)}, {summary.gb_per_hour:.1f} GB per hour",
        f"  length    {clock_text(verdict.duration_s)}, {verdict.samples:,} frames",
        f"  rate      {pace}",
        f"  parts     {gaps}{_count(summary.segments, 'segment')}, {_count(summary.episodes, 'episode')}",
        "  played by " + ", ".join(f"{name} {share:.0%}" for name, share in summary.sources.items()) + before + learn,
        f"  delay     {summary.delay or 'not estimated'}",
        f"  idle      {verdict.idle_share:.1%} of the frames with every control at rest",
        "  control         used   mean  spread",
    ]
    for name in NAMES:
        use = verdict.controls[name]
        bar = "#" * round(use.share * _BAR)
        lines.append(f"    {name:<14}{use.share:6.1%}  {use.mean:5.3f}  {use.std:5.3f}  {bar}".rstrip())
    lines.append(f"  verdict   {'good' if verdict.good else 'bad'}")
    lines += [f"            - {reason}" for reason in verdict.reasons]
    return "\n".join(lines)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _size(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
