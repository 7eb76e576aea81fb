"""What the doctor finds: one line each, and under it what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rl_utils.errors import UserError

Need = Literal["record", "drive", "train", "practise"]


@dataclass(frozen=True)
class Finding:
    """The answer of one check.

    Attributes:
        name: What was looked at.
        ok: Nothing needs to be done.
        detail: What was found.
        remedy: What to do, where something is to be done or worth knowing.
        needed_for: Who needs it.
    """

    name: str
    ok: bool
    detail: str
    remedy: str = ""
    needed_for: Need = "record"


def missing(name: str, error: UserError, needed_for: Need = "record") -> Finding:
    """The finding that stands for an error."""
    return Finding(name, ok=False, detail=error.problem, remedy=error.remedy, needed_for=needed_for)


def report(findings: Sequence[Finding]) -> str:
    """The findings as text, what is to be done under each."""
    lines = []
    for finding in findings:
        state = "ok" if finding.ok else "FIX" if finding.needed_for == "record" else f"for {finding.needed_for}"
        lines.append(f"{state:<13}{finding.name:<14}{finding.detail}")
        if finding.remedy:
            lines.append(f"{'':27}→ {finding.remedy}")
    return "\n".join(lines)
