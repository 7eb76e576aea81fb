"""`bench drive` as a person runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rl_utils import bench
from tests.conftest import has_uinput


def test_every_stage_from_frame_to_pad_is_measured(
    x_display: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A stage that is missing from the table hides where the time goes; without uinput the rest is still told."""
    file = tmp_path / "bench.json"
    assert bench.main(["drive", "--seconds", "0.3", "--json", str(file)]) == 0
    results = json.loads(file.read_text())
    driven = [row for row in results["drive"] if row["loop"] != "empty"]
    pads = {"arena", "uinput"} if has_uinput() else {"arena"}
    assert {(row["loop"], row["rate_hz"], row["pad"]) for row in driven} == {
        (network, rate, pad) for network in ("fovea", "rocketnet") for rate in (30, 60) for pad in pads
    }
    for row in driven:
        stages = sum(row[f"{stage}_p50"] for stage in ("grab", "decide", "set"))
        assert 0 < row["grab_p50"] <= row["grab_p99"]
        assert stages <= 2 * row["latency_ms_p99"], "the stages are parts of the whole"
    assert ("pad" in results) == has_uinput()
    assert ("pad was left out" in capsys.readouterr().err) != has_uinput()
