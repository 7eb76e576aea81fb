"""The doctor on gamepads: access that is missing, and events that arrive or do not."""

from __future__ import annotations

import dataclasses
import itertools
import time
import types
from pathlib import Path

import pytest

from rl_utils import doctor_pad
from rl_utils.doctor_pad import READ_RULE, check_events, check_permission
from tests.test_pad_finder import Machine


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_closed_gamepad_comes_with_the_exact_rule(machine: Machine) -> None:
    """A bare "permission denied" sends people to chmod 666; the rule is complete, to be copied."""
    machine.add_xpad(5)
    machine.add_dualsense(7)
    seen = [dataclasses.replace(pad, readable=False) for pad in machine.seen()]  # a test run as root may read all
    (finding,) = check_permission(seen)
    assert not finding.ok
    assert f"0 of {len(seen)} devices" in finding.detail
    assert READ_RULE in finding.remedy
    assert "udevadm control --reload" in finding.remedy


def test_keyboards_may_stay_closed(machine: Machine) -> None:
    """On a desktop nobody may read the keyboard, rightly: only gamepads are wanted."""
    machine.add_dualsense(7)
    seen = [pad if pad.is_pad else dataclasses.replace(pad, readable=False) for pad in machine.seen()]
    (finding,) = check_permission(seen)
    assert finding.ok
    assert f"1 of {len(seen)} devices" in finding.detail


def test_nothing_is_said_twice() -> None:
    """A machine without any input device has been told so by the line on the gamepad."""
    assert check_permission([]) == []


@pytest.mark.uinput
def test_what_is_pressed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pad that is found but sends nothing costs an evening; its owner sees at once which controls arrive."""
    from evdev import ecodes as e

    from tests import pads

    now_s, moves = 0.0, iter(())

    def sleep(seconds: float) -> None:
        nonlocal now_s
        now_s += seconds
        for value in itertools.islice(moves, 1):
            pads.send(pad, (e.EV_KEY, e.BTN_SOUTH, value), (e.EV_ABS, e.ABS_X, 20_000 * value))

    clock = types.SimpleNamespace(monotonic=lambda: now_s, monotonic_ns=time.monotonic_ns, sleep=sleep)
    monkeypatch.setattr(doctor_pad, "time", clock)
    with pads.make_xpad() as pad:
        (silent,) = check_events(0.3)
        assert "None came in 0.3 s" in silent.detail
        assert "battery" in silent.remedy
        moves = iter((1, 0, 1, 0))
        (heard,) = check_events(1.2)
        assert heard.ok
        assert "south, left_x" in heard.detail
        assert check_events(0) == []
