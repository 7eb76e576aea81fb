"""The doctor on gamepads: access that is missing, and events that arrive or do not."""

from __future__ import annotations

import dataclasses
import threading
import time
from pathlib import Path

import pytest

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
def test_what_is_pressed_is_named() -> None:
    """A pad that is found but sends nothing costs an evening; its owner sees at once which controls arrive."""
    from evdev import ecodes

    from tests import pads

    pad = pads.make_xpad()

    def press() -> None:
        for value in (1, 0, 1, 0):
            time.sleep(0.2)
            pad.write(ecodes.EV_KEY, ecodes.BTN_SOUTH, value)
            pad.write(ecodes.EV_ABS, ecodes.ABS_X, 20_000 * value)
            pad.syn()

    try:
        (silent,) = check_events(0.3)
        assert "None came in 0.3 s" in silent.detail
        assert "battery" in silent.remedy
        hand = threading.Thread(target=press)
        hand.start()
        (heard,) = check_events(1.2)
        hand.join()
        assert heard.ok
        assert "south, left_x" in heard.detail
        assert check_events(0) == []
    finally:
        pad.close()
