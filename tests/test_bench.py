"""`python -m rl_utils.bench`: what it does whatever is measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from rl_utils import bench


def test_figures_that_cannot_be_written_are_refused_before_measuring(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A slip in the path would cost minutes of measuring."""
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert bench.main(["obs", "--seconds", "0.1", "--json", str(blocked / "bench.json")]) == 2
    error = capsys.readouterr().err
    assert "cannot be written (Not a directory). Name another file with --json" in error
    assert "Measuring" not in error
