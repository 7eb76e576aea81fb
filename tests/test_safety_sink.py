"""Hands off the pad: everything is released on every way out, by signals, and when inputs stay away."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from rl_utils.controls import MENU_BUTTONS, N_CONTROLS, REST, Control
from rl_utils.errors import UserError
from rl_utils.interfaces import ControllerSink, InputVector
from rl_utils.safety import SafeSink, mask_menu, rest_sticks

EVERYTHING = np.ones(N_CONTROLS, np.float32)


class ListSink(ControllerSink):
    """A sink that keeps what it is told, like the log of eval.py."""

    def __init__(self) -> None:
        self.applied: list[InputVector] = []
        self.calls: list[str] = []
        self.released = threading.Event()

    def apply(self, inputs: InputVector) -> None:
        self.applied.append(inputs)
        self.calls.append("apply")
        self.released.clear()

    def release(self) -> None:
        self.calls.append("release")
        self.released.set()

    def close(self) -> None:
        self.calls.append("close")


class BrokenSink(ListSink):
    """A pad that was taken away while it was driven."""

    def apply(self, inputs: InputVector) -> None:
        super().apply(inputs)
        raise OSError("No such device")


def test_menu_buttons_never_pass_unless_allowed() -> None:
    """Pausing or leaving a match is not for the bot; the guide button never is."""
    with SafeSink(ListSink()) as sink:
        sink.apply(EVERYTHING)
        assert [sink._sink.applied[-1][b] for b in MENU_BUTTONS] == [0.0, 0.0, 0.0]
    allowed = mask_menu(EVERYTHING, allow_menu=True)
    assert allowed[Control.START] == allowed[Control.SELECT] == 1.0
    assert allowed[Control.MODE] == 0.0
    assert EVERYTHING[Control.MODE] == 1.0, "the caller's array is not touched"


def test_inputs_that_stay_away_release_everything() -> None:
    """A loop that hangs must not leave the throttle held."""
    inner = ListSink()
    with SafeSink(inner, stale_s=0.05) as sink:
        sink.apply(EVERYTHING)
        assert inner.released.wait(60)
        assert sink.times_stale == 1
        sink.apply(EVERYTHING)
        assert inner.released.wait(60)
        assert sink.times_stale == 2
    assert inner.calls[:4] == ["apply", "release"] * 2, "it goes on when inputs come again"


def test_fresh_inputs_are_not_interrupted() -> None:
    """A watchdog that fires between frames would make the car stutter."""
    inner = ListSink()
    with SafeSink(inner, stale_s=60.0) as sink:
        for _ in range(20):
            sink.apply(EVERYTHING)
            time.sleep(0.005)
        assert "release" not in inner.calls


def test_nothing_held_is_not_released_again_and_again() -> None:
    """An idle sink must not send packets four times a second."""
    inner = ListSink()
    with SafeSink(inner, stale_s=0.01) as sink:
        sink.apply(EVERYTHING)
        assert inner.released.wait(60)
        time.sleep(0.1)
        assert inner.calls == ["apply", "release"]


def test_an_exception_in_the_loop_releases_first() -> None:
    """Whatever goes wrong, the pad is let go before anything else."""
    inner = ListSink()

    def play() -> None:
        with SafeSink(inner, stale_s=60.0) as sink:
            sink.apply(EVERYTHING)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        play()
    assert inner.calls == ["apply", "release", "close"]


def test_closing_twice_closes_once() -> None:
    """close() is called by `with`, at interpreter exit and by hand."""
    inner = ListSink()
    sink = SafeSink(inner)
    sink.close()
    sink.close()
    sink.release()
    assert inner.calls == ["release", "close"]
    with pytest.raises(RuntimeError, match="closed"):
        sink.apply(EVERYTHING)


def test_a_sink_that_fails_half_way_is_released_too() -> None:
    """A write that fails may still have pressed something."""
    inner = BrokenSink()
    with SafeSink(inner, stale_s=0.05) as sink:
        with pytest.raises(OSError, match="No such device"):
            sink.apply(EVERYTHING)
        assert inner.released.wait(60), "the watchdog knows that something may be held"


def test_what_the_guard_finds_stops_the_driving() -> None:
    """Starting the anti-cheat build while the bot drives must stop it, not only refuse the next start."""
    inner = ListSink()
    found = threading.Event()

    def guard() -> None:
        if found.is_set():
            raise UserError("The anti-cheat runs", "Close it")

    def play(sink: SafeSink) -> None:
        for _ in range(12_000):
            sink.apply(EVERYTHING)
            time.sleep(0.005)

    with SafeSink(inner, stale_s=0.02, guard=guard, guard_interval_s=0.01) as sink:
        sink.apply(EVERYTHING)
        found.set()
        with pytest.raises(UserError, match="The anti-cheat runs"):
            play(sink)
        assert inner.calls[-1] == "release"


WITHOUT_WITH = """
import sys
sys.path.insert(0, {root!r})
import numpy as np
from tests.test_safety_sink import EVERYTHING, ListSink
from rl_utils.safety import SafeSink

class Told(ListSink):
    def release(self):
        print("released", flush=True)

sink = SafeSink(Told(), stale_s=600.0)
sink.apply(EVERYTHING)
{end}
"""


@pytest.mark.parametrize("end", ["", "sys.exit(3)", "1 / 0"])
def test_leaving_the_interpreter_releases(end: str) -> None:
    """A script that forgets to close, or dies, must not leave the car driving."""
    root = str(Path(__file__).resolve().parent.parent)
    code = WITHOUT_WITH.format(root=root, end=end)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "released\n"


def test_sticks_near_their_rest_stay_at_rest() -> None:
    """A policy that is never quite still must not make the car tremble where the person asked for a dead zone."""
    values = REST.copy()
    values[Control.LEFT_X], values[Control.LEFT_Y], values[Control.RIGHT_X] = 0.54, 0.44, 1.0
    values[Control.RIGHT_TRIGGER] = 0.03
    still = rest_sticks(values, 0.1)
    expected = values.copy()
    expected[Control.LEFT_X] = 0.5
    assert np.array_equal(still, expected)
    assert np.array_equal(rest_sticks(values, 0.0), values)


def test_a_sink_tells_what_it_would_press() -> None:
    """Recordings of a drive hold what the pad did, which is not always what it was told."""
    values = REST.copy()
    values[Control.LEFT_X], values[Control.START], values[Control.SOUTH] = 0.55, 1.0, 1.0
    for allow_menu in (False, True):
        inner = ListSink()
        with SafeSink(inner, allow_menu=allow_menu, dead_zone=0.2) as sink:
            told = sink.pressed(values)
            sink.apply(values)
        assert np.array_equal(told, inner.applied[0])
        assert told[Control.LEFT_X] == 0.5
        assert told[Control.START] == allow_menu
