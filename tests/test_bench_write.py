"""The writing benchmark compares like with like."""

from __future__ import annotations

from rl_utils.bench_write import bench_write


def test_every_recipe_stores_every_picture() -> None:
    """A recipe that looks cheap because it stores less would make the comparison a lie."""
    rows = {str(row["recipe"]): row for row in bench_write(0.5)}
    assert list(rows) == ["empty loop", "ours, gzip", "ours, jpeg", "article"]
    for name in ("ours, gzip", "ours, jpeg", "article"):
        assert rows[name]["dropped"] == 0
        assert 1000 < int(str(rows[name]["bytes_per_frame"])) < 480 * 270 * 3
    assert rows["empty loop"]["bytes_per_frame"] == 0
