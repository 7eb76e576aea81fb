"""The learning rate's course: torch's OneCycle to the digit, and a run that ends when its time is up."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rl_utils.schedule import FINISH_S, StepSchedule, TimeSchedule


@settings(max_examples=25, deadline=None)
@given(total=st.integers(4, 300), highest=st.sampled_from([1e-3, 3e-4]))
def test_it_is_torchs_one_cycle(total: int, highest: float) -> None:
    """The article trains with OneCycleLR (30 %, 1/25, 1/1000); another course is another recipe."""
    optimiser = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=highest)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=highest, total_steps=total, pct_start=0.3, div_factor=25, final_div_factor=1000
    )
    schedule = StepSchedule(total, highest)
    for step in range(total):
        pace = schedule.pace(step)
        settings_now = optimiser.param_groups[0]
        assert pace.lr == pytest.approx(settings_now["lr"], rel=1e-6, abs=1e-15)
        assert pace.beta1 == pytest.approx(settings_now["betas"][0], rel=1e-6)
        optimiser.step()
        if step < total - 1:
            scheduler.step()
    assert schedule.progress(total) == 1


def test_the_articles_rates() -> None:
    """The article names them: from 1.2e-5 up to 3e-4, then down to a very small value."""
    schedule = StepSchedule(1000, 3e-4)
    assert schedule.pace(0).lr == pytest.approx(1.2e-5)
    assert max(schedule.pace(i).lr for i in range(1000)) == pytest.approx(3e-4)
    assert schedule.pace(999).lr == pytest.approx(3e-4 / 25 / 1000)


def test_a_run_of_one_step_takes_one() -> None:
    """--epochs 1 with one step per pass took two passes, for the sake of a course that needs two steps."""
    schedule = StepSchedule(1, 1e-3, first=5)
    assert schedule.progress(5) == 0
    assert schedule.progress(6) == 1
    assert schedule.pace(5).lr > 1e-4, "at the end of the course nothing would be learnt"
    assert schedule.pace(6).lr == schedule.pace(5).lr


class Clock:
    """Seconds that only pass when a test lets them."""

    def __init__(self) -> None:
        self.t = 100.0

    def __call__(self) -> float:
        return self.t


@pytest.mark.parametrize("step_s", [0.01, 0.5, 7.0])
def test_a_time_budget_holds_on_any_machine(step_s: float) -> None:
    """`--minutes 4` on a slow machine must end after four minutes with the whole course of the rate, not a part."""
    clock = Clock()
    schedule = TimeSchedule(240, 1e-3, spent_s=0, made=clock.t, now=clock)
    clock.t += 30  # reading the recordings
    schedule.begin()
    schedule.validation_s = 5
    rates = []
    while schedule.progress(0) < 1:
        rates.append(schedule.pace(0).lr)
        clock.t += step_s
    clock.t += 5 + FINISH_S
    assert clock.t - 100 <= 240 + step_s
    assert clock.t - 100 >= 240 - 2 * step_s
    assert max(rates) > 9e-4
    if step_s < 1:
        assert rates[-1] < 1e-6
    assert schedule.pace(0).lr == pytest.approx(4e-8)


def test_a_budget_that_reading_used_up_still_trains_a_little() -> None:
    """A run that learns nothing at all would be worth nothing."""
    clock = Clock()
    schedule = TimeSchedule(60, 1e-3, spent_s=0, made=clock.t, now=clock)
    clock.t += 100
    schedule.begin()
    assert schedule.progress(0) == 0
    clock.t += 5
    assert 0 < schedule.progress(0) < 1


def test_a_resumed_budget_goes_on_where_it_was() -> None:
    """Ctrl+C after half of the time and --resume must not start the rate from the beginning."""
    clock = Clock()
    schedule = TimeSchedule(240, 1e-3, spent_s=118, made=clock.t, now=clock)
    schedule.begin()
    assert schedule.progress(0) == pytest.approx(118 / 238, abs=0.01)
    clock.t += 121
    assert schedule.progress(0) == 1
    slow = TimeSchedule(240, 1e-3, spent_s=60, made=clock.t, read_s=40, now=clock)
    clock.t += 500  # reading again
    slow.begin()
    assert slow.progress(0) == pytest.approx(60 / 198, abs=0.01), "of 240 s, reading took 40 once, and saving takes 2"
    clock.t += 139
    assert slow.progress(0) == 1
    used_up = TimeSchedule(240, 1e-3, spent_s=240, made=clock.t, now=clock)
    used_up.begin()
    assert used_up.progress(0) == 1
