"""The learning part of `python -m rl_utils.bench`: every row measured, the alternative beside it."""

from __future__ import annotations

from rl_utils.bench_learning import bench_load, bench_train


def test_loading_is_measured_beside_the_articles_way() -> None:
    """A speed without what it is compared to says nothing."""
    rows = bench_load(0.01)
    assert str(rows[0]["loader"]).startswith("article")
    assert len(rows) == 12
    for row in rows:
        assert isinstance(row["cpu_ms"], float)
        assert row["cpu_ms"] > 0
        assert isinstance(row["samples_per_s"], float)
        assert row["samples_per_s"] > 0
    alone, whole, part, cold, _ = rows[7:]
    assert alone["share_of_model"] == 1.0
    for row in (part, cold):
        assert row["memory_mb"] < whole["memory_mb"]  # type: ignore[operator]
        assert row["disk_mb"] > 0  # type: ignore[operator]


def test_training_and_answering_are_measured_for_both_networks() -> None:
    """The choice of a network is a choice of speed, too."""
    rows = bench_train(0.01)
    names = " ".join(str(row["what"]) for row in rows)
    for expected in ("train RocketNet", "train MotionNet", "bfloat16", "answer RocketNet", "answer MotionNet"):
        assert expected in names
    for row in rows:
        figures = [value for value in row.values() if isinstance(value, float)]
        assert len(figures) == 2
        assert all(value > 0 for value in figures)
