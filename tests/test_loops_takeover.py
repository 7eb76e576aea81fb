"""The driving loop with a person who may take the pad: who drives on which tick, and what the recording says of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rl_utils.controls import REST, Control
from rl_utils.interfaces import Flag, Source
from rl_utils.listeners import PRE_TAKEOVER_S, DriveRecorder
from rl_utils.loops import DriveProgress, drive, drive_status
from rl_utils.pacing import Pacer
from rl_utils.recordings import open_recordings
from rl_utils.takeover import PadTakeover
from tests.conftest import HandPad, SimulatedClock
from tests.test_loops import FPS, Bot, Hands, Window


class Script:
    """Moves a hand's pad between ticks: `moves` says before which tick what is held from then on."""

    def __init__(self, pad: HandPad, moves: dict[int, dict[Control, float]]) -> None:
        self._pad = pad
        self._moves = moves
        self._tick = 0

    def __call__(self) -> str:
        if self._tick in self._moves:
            self._pad.values = REST.copy()
            for control, value in self._moves[self._tick].items():
                self._pad.values[control] = value
        self._tick += 1
        return ""


def test_a_takeover_is_driven_recorded_and_given_back(clock: SimulatedClock, tmp_path: Path) -> None:
    """The car is the person's from the tick after the touch on, and the recording tells who drove when."""
    pad, bot, hands = HandPad(), Bot(), Hands()
    window = Window(clock, [""] * 190)
    person = PadTakeover(pad, give_back_s=0.2, now_ns=clock)
    script = Script(pad, {100: {Control.LEFT_X: 0.9}, 130: {}, 160: {Control.EAST: 1.0}, 170: {}})
    pacer = Pacer(FPS, now_ns=clock, sleep=clock.sleep)
    with DriveRecorder(tmp_path, window.info, fps=FPS, block=True) as recorder:
        done = drive(window, bot, hands, fps=FPS, stop=script, person=person, subscribers=[recorder], pacer=pacer)
    (recording,) = open_recordings([tmp_path])
    with recording:
        taken = recording.source == Source.TAKEOVER
        go = round(0.2 * FPS) - 1  # the tick on which it is given back is the bot's
        assert np.flatnonzero(taken).tolist() == [*range(100, 130 + go), *range(160, 170 + go)]
        assert (recording.inputs[100:130, Control.LEFT_X] == np.float32(0.9)).all()
        assert (recording.inputs[taken, Control.RIGHT_TRIGGER] == 0).all(), "nothing of the bot's is mixed in"
        assert (recording.inputs[~taken, Control.RIGHT_TRIGGER] == 1).all()
        flagged = np.flatnonzero(recording.flags & Flag.PRE_TAKEOVER)
        assert flagged.tolist() == [*range(100 - round(PRE_TAKEOVER_S * FPS), 100), *range(130 + go, 160)]
        assert not recording.segment.any()
    assert bot.seen == list(range(190)), "it goes on looking while a person drives"
    assert (done.takeovers, done.taken_ticks) == (2, int(taken.sum()))


def test_a_person_drives_in_the_focused_game_only(clock: SimulatedClock) -> None:
    """What is pressed while a chat window is open is not for the game, whoever presses it."""
    pad, hands = HandPad(), Hands()
    window = Window(clock, ["", "", "not focused", "not focused", "", ""])
    person = PadTakeover(pad, give_back_s=1.0, now_ns=clock)
    script = Script(pad, {1: {Control.EAST: 1.0}})
    done = drive(
        window, Bot(), hands, fps=FPS, stop=script, person=person, pacer=Pacer(FPS, now_ns=clock, sleep=clock.sleep)
    )
    assert hands.log == ["apply", "apply", "release", "apply", "apply", "release"]
    assert done.taken_ticks == 3


def test_a_person_whose_pad_is_gone_ends_the_drive(clock: SimulatedClock) -> None:
    """A bot that nobody can interrupt must not go on."""
    pad, hands = HandPad(), Hands()
    person = PadTakeover(pad, give_back_s=1.0, now_ns=clock)

    class Unplug(Script):
        def __call__(self) -> str:
            pad.plugged_in = self._tick < 3
            return super().__call__()

    pacer = Pacer(FPS, now_ns=clock, sleep=clock.sleep)
    done = drive(Window(clock, [""] * 9), Bot(), hands, fps=FPS, stop=Unplug(pad, {}), person=person, pacer=pacer)
    assert hands.log == ["apply"] * 3 + ["release"]
    assert "unplugged" in done.ended_by


def test_a_takeover_judges_nothing_before_a_cut(clock: SimulatedClock, tmp_path: Path) -> None:
    """Play that a pause or a new start lies behind did not lead to the takeover and stays worth learning."""
    pad = HandPad()
    window = Window(clock, [""] * 20 + ["minimised"] + [""] * 20)
    person = PadTakeover(pad, give_back_s=1.0, now_ns=clock)
    script = Script(pad, {31: {Control.EAST: 1.0}})
    pacer = Pacer(FPS, now_ns=clock, sleep=clock.sleep)
    with DriveRecorder(tmp_path, window.info, fps=FPS, block=True) as recorder:
        drive(window, Bot(), Hands(), fps=FPS, stop=script, person=person, subscribers=[recorder], pacer=pacer)
    (recording,) = open_recordings([tmp_path])
    with recording:
        assert np.flatnonzero(recording.flags & Flag.PRE_TAKEOVER).tolist() == list(range(20, 30))
        assert np.flatnonzero(recording.source == Source.TAKEOVER).tolist() == list(range(30, 40))


def test_the_status_line_says_who_drives() -> None:
    """A person has to see at a glance whose the car is, and how to change it."""
    done = DriveProgress(ticks=300, driven_s=10.0)
    assert drive_status(done, 10).startswith("BOT DRIVING | 0:10 of 10:00")
    done.taken_by, done.takeovers, done.taken_ticks = "YOU", 120, 75
    done.latencies_ms = [123.4] * 300
    shown = drive_status(done, 10, hint="touch your gamepad to drive")
    assert shown.startswith("YOU DRIVING")
    assert "120 takeovers, 25%" in shown
    assert shown.endswith("touch your gamepad to drive")
    assert len(shown) <= 120, "a line that wraps cannot be rewritten in place"
    done.problem = "not focused"
    assert drive_status(done, 10).startswith("released: not focused")
