"""What observations cost, measured beside RLGym's own builder."""

from __future__ import annotations

import pytest

from rl_utils.bench_obs import bench_obs
from tests.conftest import rocket_league

rocket_league("obs_builders")


def test_every_match_is_compared() -> None:
    """The figures that the README quotes have to come from a comparison, match by match."""
    rows = bench_obs(0.05)
    matches = [("1v0", 1), ("1v1", 2), ("2v2", 4), ("3v3", 6)]
    assert [(row["match"], row["agents"]) for row in rows] == [match for match in matches for _ in range(2)]
    assert [row["states"] for row in rows] == ["arena", "RLGym"] * 4
    for row in rows:
        share = float(str(row["complete_us"])) / float(str(row["default_us"]))
        assert row["share"] == pytest.approx(share)
        assert 0 < share < 1, "dearer than RLGym's own"
