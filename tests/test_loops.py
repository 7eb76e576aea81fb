"""The driving loop, on devices that obey the same interfaces as the real ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rl_utils.config import EvalConfig
from rl_utils.controls import REST, Control
from rl_utils.errors import UserError
from rl_utils.interfaces import (
    ControllerSink,
    Flag,
    Frame,
    Image,
    InputVector,
    Policy,
    Source,
)
from rl_utils.loops import PAUSE_LIMIT_S, DriveProgress, drive
from rl_utils.pacing import Pacer
from rl_utils.recordings import open_recordings
from rl_utils.safety import SafeSink
from tests.conftest import SimulatedClock
from tests.loop_devices import FPS, PERIOD_NS, Window


class Hands(ControllerSink):
    """Notes what is pressed, in order."""

    def __init__(self) -> None:
        self.log: list[str] = []

    def apply(self, inputs: InputVector) -> None:
        self.log.append("apply")

    def release(self) -> None:
        self.log.append("release")

    def close(self) -> None:
        self.log.append("close")


class Bot(Policy):
    """Counts frames since its last reset; may break."""

    fps = FPS

    def __init__(self, *, breaks_at: int | None = None) -> None:
        self.seen: list[int] = []
        self._since = 0
        self._breaks_at = breaks_at

    def reset(self) -> None:
        self._since = 0

    def act(self, image: Image) -> InputVector:
        if self._breaks_at == len(self.seen):
            raise RuntimeError("the network is broken")
        self.seen.append(self._since)
        self._since += 1
        values = REST.copy()
        values[Control.RIGHT_TRIGGER] = 1
        return values


def driven(
    clock: SimulatedClock,
    window: Window,
    bot: Bot,
    hands: Hands,
    *,
    stop: Callable[[], str] = lambda: "",
    **options: Any,
) -> DriveProgress:
    pacer = Pacer(FPS, now_ns=clock, sleep=clock.sleep)
    return drive(window, bot, hands, fps=FPS, stop=stop, pacer=pacer, **options)


def test_the_pad_is_released_on_the_very_tick_the_focus_is_lost(clock: SimulatedClock) -> None:
    """Held throttle would go on pressing keys of whatever has the focus now."""
    hands, bot = Hands(), Bot()
    done = driven(clock, Window(clock, ["", "", "not focused", "not focused", "", ""]), bot, hands)
    assert hands.log == ["apply", "apply", "release", "apply", "apply", "release"]
    assert bot.seen == [0, 1, 0, 1]
    assert done.pauses == 1
    assert done.ended_by == "no further frames"


def test_a_drive_that_waits_for_ever_ends(clock: SimulatedClock) -> None:
    """Who closes the game and forgets the bot must not find it driving in the next game, hours later."""
    pause = round(PAUSE_LIMIT_S * FPS)
    hands = Hands()
    problems = ["", *["not focused"] * (pause - 1), "", *["not focused"] * (2 * pause)]
    done = driven(clock, Window(clock, problems), Bot(), hands)
    assert done.ended_by == "nothing to see for 10 minutes (not focused)"
    assert (done.ticks, done.pauses) == (2, 2)
    assert hands.log == ["apply", "release", "apply", "release", "release"]


class Focus(Window):
    """A window that loses the focus at a given time, at which it is looked for at every read."""

    def __init__(self, clock: SimulatedClock, lost_ns: int) -> None:
        super().__init__(clock, [""] * 100)
        self.lost_ns = lost_ns

    def read(self) -> Frame | None:
        frame = super().read()
        if self._clock() < self.lost_ns:
            return frame
        self._problem = "not focused"
        return None


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_losing_the_focus_releases_within_one_tick(clock: SimulatedClock, share: float) -> None:
    """However the loss falls between two ticks, nothing may be held in another program for longer than one."""
    released: list[int] = []

    class Timed(Hands):
        def release(self) -> None:
            super().release()
            released.append(clock())

    window = Focus(clock, clock() + round((20 + share) * PERIOD_NS))
    hands = Timed()
    driven(clock, window, Bot(), hands, stop=lambda: "enough" if released else "")
    assert hands.log[:2] == ["apply", "apply"]
    assert 0 <= released[0] - window.lost_ns <= PERIOD_NS


def test_the_pad_is_released_when_the_policy_breaks(clock: SimulatedClock) -> None:
    """A crash must not leave the car boosting."""
    hands = Hands()
    with pytest.raises(RuntimeError, match="broken"):
        driven(clock, Window(clock, [""] * 9), Bot(breaks_at=3), hands)
    assert hands.log == ["apply"] * 3 + ["release"]


def test_what_was_driven_is_known_when_a_device_is_lost(clock: SimulatedClock) -> None:
    """Its summary and report would say nothing of the half an hour before."""
    hands, done, times = Hands(), DriveProgress(), iter(range(5))

    def stop() -> str:
        if next(times, None) is None:
            raise UserError("The pad is gone", "Plug it in")
        return ""

    with pytest.raises(UserError):
        driven(clock, Window(clock, [""] * 9), Bot(), hands, stop=stop, done=done)
    assert hands.log == ["apply"] * 5 + ["release"]
    assert (done.ticks, done.ended_by) == (5, "The pad is gone")


def test_stop_is_asked_before_anything_is_pressed(clock: SimulatedClock) -> None:
    """A hand on the real pad ends the drive within one tick."""
    hands = Hands()
    answers: Iterator[str] = iter(["", "", "you touched the gamepad"])
    done = driven(clock, Window(clock, [""] * 9), Bot(), hands, stop=lambda: next(answers))
    assert hands.log == ["apply", "apply", "release"]
    assert done.ended_by == "you touched the gamepad"


def test_a_drive_ends_after_its_minutes(clock: SimulatedClock) -> None:
    """A session that nobody watches must end by itself."""
    done = driven(clock, Window(clock, [""] * 500), Bot(), Hands(), minutes=0.1)
    assert done.ticks == round(0.1 * 60 * FPS)
    assert done.ended_by == "--minutes reached"


def test_subscribers_hear_everything(clock: SimulatedClock, tmp_path: Path) -> None:
    """What the bot did can be recorded and learnt from: source policy, segments at pauses, inputs as answered."""
    from rl_utils.listeners import DriveRecorder, InputLog

    window = Window(clock, ["", "", "minimised", "", ""])
    pacer = Pacer(FPS, now_ns=clock, sleep=clock.sleep)
    log = tmp_path / "out.csv"
    with DriveRecorder(tmp_path / "r", window.info, fps=FPS, block=True) as recorder, InputLog(log) as inputs:
        drive(window, Bot(), Hands(), fps=FPS, stop=lambda: "", subscribers=[recorder, inputs], pacer=pacer)
    (recording,) = open_recordings([tmp_path / "r"])
    with recording:
        assert recording.segment.tolist() == [0, 0, 1, 1]
        assert (recording.source == Source.POLICY).all()
        assert (recording.inputs[:, Control.RIGHT_TRIGGER] == 1).all()
    rows = log.read_text().splitlines()
    assert rows[0].startswith("frame_index,south,east,north,west,")
    assert len(rows) == 5
    assert [float(v) for v in rows[4].split(",")] == [3.0, *recording.inputs[3].tolist()]


def test_late_frames_are_flagged(clock: SimulatedClock, tmp_path: Path) -> None:
    """Whoever leaves them out of what is learnt would keep them."""
    from rl_utils.listeners import DriveRecorder

    window = Window(clock, [""] * 8, slow={0: 0.8 / FPS, 3: 0.8 / FPS, 5: 2.2 / FPS})
    with DriveRecorder(tmp_path, window.info, fps=FPS, block=True) as recorder:
        done = driven(clock, window, Bot(), Hands(), subscribers=[recorder])
    (recording,) = open_recordings([tmp_path])
    with recording:
        assert np.flatnonzero(recording.flags & Flag.LATE).tolist() == [3, 5, 6], "not the first one"
    assert done.missed == 1


class Nudger(Bot):
    """Steers a little, opens the menu and jumps."""

    def act(self, image: Image) -> InputVector:
        values = super().act(image)
        values[[Control.LEFT_X, Control.RIGHT_X]] = 0.55, 0.75
        values[[Control.START, Control.SOUTH]] = 1
        return values


def test_what_the_pad_held_back_is_not_recorded(clock: SimulatedClock, tmp_path: Path) -> None:
    """Learning from a recording of it would teach a bot moves that never reached the game."""
    from rl_utils.devices import Drive
    from rl_utils.listeners import open_listeners

    window, log = Window(clock, [""] * 3), tmp_path / "out.csv"
    pacer = Pacer(FPS, now_ns=clock, sleep=clock.sleep)
    config = EvalConfig(checkpoint=Path("best.pt"), record=tmp_path / "r", log_inputs=log)
    with SafeSink(Hands(), dead_zone=0.2, stale_s=60) as sink, ExitStack() as stack:
        listeners = open_listeners(config, Drive(window, sink), stack, fps=FPS)
        drive(window, Nudger(), sink, fps=FPS, stop=lambda: "", subscribers=listeners, pacer=pacer)
    (recording,) = open_recordings([tmp_path / "r"])
    controls = [Control.LEFT_X, Control.RIGHT_X, Control.START, Control.SOUTH]
    with recording:
        assert recording.inputs[:, controls].tolist() == [[0.5, 0.75, 0, 1]] * 3
    answered = [float(v) for v in log.read_text().splitlines()[1].split(",")[1:]]
    assert [answered[control] for control in controls] == pytest.approx([0.55, 0.75, 1, 1]), "the log has the answer"
