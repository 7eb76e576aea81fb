"""Rates per minute and how sure they are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl_utils.arena.rates import crossed_rate, gamma_quantile, poisson_rate, rate, student_quantile


@pytest.mark.parametrize(
    ("count", "low", "high"),
    [(0, 0.0, 3.689), (1, 0.0253, 5.572), (5, 1.623, 11.668), (10, 4.795, 18.390), (100, 81.364, 121.627)],
)
def test_exact_poisson_limits(count: int, low: float, high: float) -> None:
    """The published table (Garwood 1936; Ulm 1990): a report that claims to be surer than that misleads."""
    result = poisson_rate(count, 1.0)
    assert result.per_min == count
    assert result.low == pytest.approx(low, abs=2e-3)
    assert result.high == pytest.approx(high, abs=2e-3)


def test_no_goals_are_not_certainly_none() -> None:
    """[0, 0] for ten minutes without a goal would make every comparison look decided."""
    result = rate([0, 0, 0], [5.0, 3.0, 2.0])
    assert (result.per_min, result.low) == (0, 0)
    assert result.high == pytest.approx(0.3689, abs=1e-4)


def test_bunched_touches_widen_the_interval() -> None:
    """A hundred touches of one lucky minute say less than one touch a minute for a hundred."""
    even, bunched = rate([10] * 10, [1.0] * 10), rate([0, 20] * 5, [1.0] * 10)
    assert even.per_min == bunched.per_min == 10
    assert bunched.high - bunched.low > 2 * (even.high - even.low)


def test_episodes_that_end_with_a_goal_are_covered() -> None:
    """The interval has to hold the truth 95 times of 100, also where a goal ends its episode."""
    rng = np.random.default_rng(0)
    truth, limit, hits = 1.5, 0.5, 0
    for _ in range(400):
        waits = rng.exponential(1 / truth, size=40)
        goals, minutes = (waits < limit).astype(int), np.minimum(waits, limit)
        result = rate(goals.tolist(), minutes.tolist())
        hits += result.low <= truth <= result.high
    assert hits / 400 > 0.93


def test_one_early_goal_does_not_explode_the_interval() -> None:
    """A ball that rolls in after a tenth of a second is one goal, not proof that nothing is known."""
    result = rate([1] + [0] * 59, [0.002] + [0.5] * 59)
    assert result.high < 0.3


@given(st.floats(0.05, 5000), st.floats(0.001, 0.999))
def test_quantiles_rise(shape: float, probability: float) -> None:
    """An interval with its ends exchanged would be printed without a word."""
    at, above = gamma_quantile(shape, probability), gamma_quantile(shape, min(0.9995, probability + 0.0005))
    assert 0 <= at <= above


@given(st.lists(st.tuples(st.integers(0, 50), st.floats(0.01, 2)), min_size=1, max_size=50))
def test_the_rate_lies_within_its_interval(episodes: list[tuple[int, float]]) -> None:
    """Whatever was played, the report's numbers must not contradict each other."""
    counts, minutes = zip(*episodes, strict=True)
    result = rate(counts, minutes)
    assert 0 <= result.low <= result.per_min <= result.high


@pytest.mark.parametrize(("freedom", "t"), [(1, 12.706), (2, 4.303), (5, 2.571), (30, 2.042), (10**6, 1.960)])
def test_student_table(freedom: float, t: float) -> None:
    """The published table: three training seeds say far less than thirty."""
    assert student_quantile(freedom) == pytest.approx(t, abs=3e-3)


def test_other_seeds_on_other_starts_are_covered() -> None:
    """An interval from three networks on shared starts has to hold what such networks do on average, on any starts."""
    rng = np.random.default_rng(1)
    truth, players, starts, minutes = 10.0, 3, 60, 0.5
    crossed = pooled = 0
    for _ in range(200):
        skill = rng.gamma(25, 1 / 25, (players, 1))
        luck = rng.gamma(2, 1 / 2, (1, starts))
        counts = rng.poisson(truth * minutes * skill * luck).ravel().tolist()
        lengths = [minutes] * len(counts)
        labels = np.indices((players, starts))
        result = crossed_rate(counts, lengths, labels[0].ravel().tolist(), labels[1].ravel().tolist())
        crossed += result.low <= truth <= result.high
        alone = rate(counts, lengths)
        assert (alone.per_min, alone.low >= result.low) == (result.per_min, True)
        pooled += alone.low <= truth <= alone.high
    assert crossed / 200 > 0.93
    assert pooled / 200 < 0.85, "the common starts and the few players are what makes the difference"


def test_one_player_is_counted_as_ever() -> None:
    """A driver without training seeds must not get another interval than `arena score` gives it."""
    counts, minutes = [3, 0, 5, 1], [0.5, 0.4, 0.5, 0.1]
    assert crossed_rate(counts, minutes, [0] * 4, [1, 2, 3, 4]) == rate(counts, minutes)
    assert crossed_rate([0, 0], [1.0, 1.0], [0, 1], [1, 1]) == rate([0, 0], [1.0, 1.0])
