"""The whole drive on a real kernel: eval.py's virtual pad in the arena through SDL, a hand on a pad, and kill -9."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from rl_utils.arena.link import ArenaPad
from rl_utils.controls import ABS_X, REST, Control
from rl_utils.interfaces import Source
from rl_utils.recordings import open_recordings
from rl_utils.recovery import recover_orphans
from tests.arena_process import running, stopped_with
from tests.driven_arena import Witness, driven_arena, of_the, until
from tests.learning_data import record
from tests.x11_window import try_xdotool, xdotool

pytestmark = pytest.mark.uinput

BOT = REST.copy()
BOT[[Control.RIGHT_TRIGGER, Control.EAST]] = 1.0  # throttle and boost

COUNT = 9000
"""Five minutes: no test may see the end of its inputs."""


@pytest.fixture
def hand() -> Iterator[object]:
    """A DualSense in somebody's hand."""
    from tests import pads

    pad = pads.make_dualsense()
    yield pad
    pad.close()


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArenaPad]:
    """An arena to be driven."""
    with driven_arena(tmp_path_factory.mktemp("arena")) as pad:
        yield pad


@pytest.fixture
def drive(arena: ArenaPad, hand: object, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Witness]]:
    """eval.py holds throttle and boost in that window, through the virtual pad."""
    record(tmp_path / "play", np.zeros((COUNT, 18, 32, 3), np.uint8), np.tile(BOT, (COUNT, 1)))
    options = ["--takeover", "pad", "--give-back-s", "0.5", "--record", str(tmp_path / "r"), "--minutes", "5"]
    with running(["eval.py", "--inputs", str(tmp_path / "play"), *options]) as child:
        witness = Witness()
        until(lambda: witness.holds(BOT))
        yield child, witness


def test_a_hand_takes_over_in_the_kernel_and_gives_back_and_kill_9_releases(
    drive: tuple[subprocess.Popen[str], Witness], arena: ArenaPad, hand: object, tmp_path: Path
) -> None:
    """All that a person relies on: their pad drives when touched, the bot's after, and nothing stays held, ever."""
    from evdev import ecodes as e

    from tests.pads import send

    child, witness = drive
    until(lambda: np.allclose(of_the(arena), BOT, atol=0.01))
    send(hand, (e.EV_KEY, e.BTN_WEST, 1), (e.EV_ABS, e.ABS_X, 0))  # square and the left stick, in a DualSense's codes
    person = REST.copy()
    person[[Control.WEST, Control.LEFT_X]] = 1.0, 0.0
    until(lambda: witness.holds(person))
    until(lambda: np.allclose(of_the(arena), person, atol=0.01))
    send(hand, (e.EV_KEY, e.BTN_WEST, 0), (e.EV_ABS, e.ABS_X, 128))
    until(lambda: witness.holds(BOT))
    until(lambda: np.allclose(of_the(arena), BOT, atol=0.01))

    def has_the_persons(file: h5py.File) -> bool:
        return bool(np.isclose(file["inputs"][:], person, atol=0.01).all(axis=1).any())

    until(lambda: stopped_with(child, tmp_path / "r", has_the_persons))
    child.send_signal(signal.SIGKILL)
    child.wait()
    until(witness.is_gone)
    until(lambda: np.array_equal(of_the(arena), REST))
    assert recover_orphans(tmp_path / "r")
    (recording,) = open_recordings([tmp_path / "r"])
    with recording:
        taken = recording.source == Source.TAKEOVER
        assert np.isclose(recording.inputs[taken], person, atol=0.01).all(axis=1).any()
        assert (recording.inputs[~taken] == BOT).all()


def test_unplugging_the_hands_pad_in_a_takeover_ends_the_drive(
    drive: tuple[subprocess.Popen[str], Witness], arena: ArenaPad, hand: object
) -> None:
    """Without the person's pad nobody could interrupt the bot any more: released, and over."""
    from evdev import ecodes as e

    from tests.pads import send

    child, witness = drive
    send(hand, (e.EV_ABS, e.ABS_RZ, 255))
    person = REST.copy()
    person[Control.RIGHT_TRIGGER] = 1.0
    until(lambda: witness.holds(person))
    hand.close()  # type: ignore[attr-defined]
    told, _ = child.communicate(timeout=60)
    assert child.returncode == 0
    assert "the gamepad was unplugged" in told
    assert witness.is_gone()
    until(lambda: np.array_equal(of_the(arena), REST))


def test_a_second_bot_is_refused_and_the_first_one_drives_on(
    drive: tuple[subprocess.Popen[str], Witness], tmp_path: Path
) -> None:
    """The game would obey both: the car jerks, and nobody knows why."""
    child, witness = drive
    with running(["eval.py", "--inputs", str(tmp_path / "play"), "--takeover", "off", "--minutes", "5"]) as second:
        _, told = second.communicate(timeout=120)
    assert second.returncode == 2
    assert "Another bot of this tool is driving" in told
    assert child.poll() is None
    assert witness.holds(BOT)


def test_losing_the_focus_releases_within_one_tick_in_the_kernel(arena: ArenaPad, hand: object, tmp_path: Path) -> None:
    """What the bot holds must not reach the window that a person opens over the game: one tick may be under way."""
    inputs = np.tile(BOT, (COUNT, 1))
    inputs[:, Control.LEFT_X] = np.arange(COUNT) * 0.37 % 1  # other than before in every tick, so that each can be seen
    record(tmp_path / "play", np.zeros((COUNT, 18, 32, 3), np.uint8), inputs)
    with running(["eval.py", "--inputs", str(tmp_path / "play"), "--takeover", "pad", "--minutes", "5"]):
        witness = Witness()
        steered: set[int] = set()

        def is_steered() -> bool:
            steered.update(event.value for event in witness.events() if event.code == ABS_X)
            return len(steered) > 1

        until(is_steered)
        game = xdotool("getactivewindow")
        with running(["xev", "-name", "somebody's chat", "-event", "button"]):
            until(lambda: try_xdotool("getactivewindow") != game)
            lost_ns = time.monotonic_ns()
            until(lambda: witness.holds(REST))
            after = [event for event in witness.events() if event.t_ns > lost_ns]
            assert len({event.t_ns for event in after}) <= 2, "one tick that was under way, and the release"
            time.sleep(0.5)
            assert witness.events() == [], "and stays so"
        until(lambda: witness.state()[Control.RIGHT_TRIGGER] == 1.0)
        until(lambda: try_xdotool("getactivewindow") == game)
