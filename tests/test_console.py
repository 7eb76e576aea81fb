"""What a terminal is told of how far something is."""

from __future__ import annotations

import pytest

from rl_utils import console
from rl_utils.console import progress


def test_what_an_earlier_run_did_takes_no_time_of_this_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A training that is resumed half done and said to be over in a minute took another hour."""
    now = 1000.0
    monkeypatch.setattr(console.time, "monotonic", lambda: now)
    with progress("training", 1.0) as shown:
        now += 500.0  # reading the pictures again
        shown.begin(0.5)
        now += 60.0
        shown.update(0.6)
    with progress("scores", 10.0) as shown:
        now += 60.0
        shown.update(1.0)
    assert capsys.readouterr().err.splitlines() == ["training:  60%, 240 s left", "scores:  10%, 540 s left"]
