"""The pad's bench on a real kernel; its storms are the test of the reader (a full minute: `bench pad --seconds 60`)."""

from __future__ import annotations

import pytest

from rl_utils import bench_pad
from rl_utils.errors import UserError

STORM_S = 4.0


@pytest.mark.uinput
def test_a_storm_loses_no_press_and_ends_in_the_right_state() -> None:
    """A pad that sends a thousand packets a second must be recorded whole, or every loss be counted."""
    storm = bench_pad.run_storm(1000.0, STORM_S)
    assert storm.packets == STORM_S * 1000
    assert storm.is_final_right
    assert storm.seen == storm.pressed or storm.dropped > 0
    assert storm.seen <= storm.pressed + storm.dropped, "a state that is restored shows no press twice"
    assert len(storm.gaps) == storm.dropped, "every drop has its gap"
    assert storm.needless_drops == [], "dropped although the reader was scheduled"


@pytest.mark.uinput
def test_without_a_storm_nothing_is_dropped() -> None:
    """The kernel's queue holds 16 packets of this pad: whoever reads in time loses nothing."""
    storm = bench_pad.run_storm(60.0, 2.0)
    assert (storm.seen, storm.dropped) == (storm.pressed, 0)


def test_without_uinput_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`bench pad` on a machine without the module must name the remedy, and `bench drive` go on without it."""
    from rl_utils import apply_inputs, bench

    monkeypatch.setattr(apply_inputs.uinput_problem, "__defaults__", ("/dev/no-such-uinput",))
    with pytest.raises(UserError, match="no-such-uinput does not exist"):
        bench_pad.bench_pad(0.1)
    assert bench.main(["pad", "--seconds", "0.1"]) == 2
    assert "modprobe uinput" in capsys.readouterr().err
