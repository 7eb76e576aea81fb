"""The recording and the driving loop, on devices that obey the same interfaces as the real ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from rl_utils.controls import REST, Control
from rl_utils.data_batcher import BatchSaver
from rl_utils.interfaces import (
    ControllerSink,
    ControllerSource,
    Flag,
    Frame,
    FrameInfo,
    FrameSource,
    Image,
    Inputs,
    InputVector,
    PadInfo,
    Policy,
    Source,
)
from rl_utils.loops import GAP_NS, DriveProgress, SegmentCounter, drive, record
from rl_utils.pacing import Pacer
from rl_utils.recordings import Recording, open_recordings
from tests.conftest import SimulatedClock

FPS = 50.0
PERIOD_NS = round(1e9 / FPS)
SIZE = (32, 18)


class Window(FrameSource):
    """A window on the simulated clock: `script` says for every read whether there is a picture, or why not."""

    def __init__(self, clock: SimulatedClock, script: list[str], *, slow: dict[int, float] | None = None) -> None:
        self._clock = clock
        self._script = script
        self._slow = slow or {}
        self._reads = 0
        self._problem = ""

    def read(self) -> Frame | None:
        index = self._reads
        self._reads += 1
        if index in self._slow:
            self._clock.sleep(self._slow[index])
        if index >= len(self._script):
            self._problem = "closed"
            return None
        self._problem = self._script[index]
        if self._problem:
            return None
        image = np.full((SIZE[1], SIZE[0], 3), index % 200, np.uint8)
        return Frame(image, self._clock())

    @property
    def problem(self) -> str:
        return self._problem

    @property
    def info(self) -> FrameInfo:
        return FrameInfo("window", native_size=SIZE, is_arena=True)

    @property
    def exhausted(self) -> bool:
        return self._reads > len(self._script)

    def close(self) -> None:
        """Nothing to free."""


class Pad(ControllerSource):
    """A pad whose left stick says how many times it was asked; unplugged for the reads in `gone`."""

    def __init__(self, *, gone: range = range(0), episode_every: int = 0) -> None:
        self._asked = 0
        self._gone = gone
        self._episode_every = episode_every

    def at(self, t_ns: int) -> Inputs:
        values = REST.copy()
        values[Control.LEFT_X] = self._asked % 100 / 100
        episode = self._asked // self._episode_every if self._episode_every else 0
        self._asked += 1
        return Inputs(values, t_ns, episode=episode)

    @property
    def connected(self) -> bool:
        return self._asked not in self._gone

    @property
    def info(self) -> PadInfo:
        return PadInfo("pad")

    def close(self) -> None:
        """Nothing to free."""


def recorded(
    tmp_path: Path, clock: SimulatedClock, window: Window, pad: Pad, *, seconds: float | None = None
) -> tuple[Recording, object]:
    pacer = Pacer(FPS, now_ns=clock, sleep=clock.sleep)
    with BatchSaver(tmp_path, fps=FPS, size=SIZE, frames=window.info, pad=pad.info, block=True) as saver:
        done = record(window, pad, saver, fps=FPS, stop=lambda: False, seconds=seconds, pacer=pacer)
    (recording,) = open_recordings([tmp_path])
    return recording, done


def test_every_frame_meets_the_inputs_of_its_time(tmp_path: Path, clock: SimulatedClock) -> None:
    """A pairing that slips by one would teach the bot to press too late."""
    recording, done = recorded(tmp_path, clock, Window(clock, [""] * 60), Pad())
    with recording:
        assert done.samples == len(recording) == 60
        assert [int(recording.frame(i)[0, 0, 0]) for i in range(60)] == list(range(60))
        assert np.allclose(recording.inputs[:, Control.LEFT_X], np.arange(60) / 100)
        assert np.array_equal(np.diff(recording.timestamps_ns), np.full(59, PERIOD_NS))
        assert not recording.segment.any()


def test_losing_the_focus_pauses_and_marks_the_gap(tmp_path: Path, clock: SimulatedClock) -> None:
    """Frames before and after a chat window must not be learnt as one motion."""
    script = [""] * 10 + ["not focused"] * 5 + [""] * 10
    recording, done = recorded(tmp_path, clock, Window(clock, script), Pad())
    with recording:
        assert len(recording) == 20
        assert recording.segment.tolist() == [0] * 10 + [1] * 10
        assert done.gaps == 1
        assert not (recording.flags & Flag.LATE).any()


def test_an_unplugged_pad_pauses_and_recording_goes_on_after(tmp_path: Path, clock: SimulatedClock) -> None:
    """Minutes of a dead pad would teach standing still."""
    recording, _ = recorded(tmp_path, clock, Window(clock, [""] * 30), Pad(gone=range(10, 15)))
    with recording:
        assert len(recording) == 25
        assert recording.segment.tolist() == [0] * 10 + [1] * 15


def test_a_reset_of_the_arena_begins_a_segment(tmp_path: Path, clock: SimulatedClock) -> None:
    """The jump to a new start is no motion."""
    recording, _ = recorded(tmp_path, clock, Window(clock, [""] * 30), Pad(episode_every=10))
    with recording:
        assert recording.segment.tolist() == recording.episode.tolist() == [0] * 10 + [1] * 10 + [2] * 10


def test_late_ticks_are_flagged_and_a_long_stall_is_a_gap(tmp_path: Path, clock: SimulatedClock) -> None:
    """A stall that leaves no trace would be learnt as a jump of the car."""
    slow = {10: 2.5 * PERIOD_NS / 1e9, 20: 1.2 * GAP_NS / 1e9}
    recording, done = recorded(tmp_path, clock, Window(clock, [""] * 30, slow=slow), Pad())
    with recording:
        late = np.flatnonzero(recording.flags & Flag.LATE).tolist()
        assert late == [11, 21]
        assert recording.segment.tolist() == [0] * 20 + [1] * 10
        assert done.late == 2
        assert done.missed == 1 + 59  # the deadlines that passed while the 11th and the 21st picture were taken


def test_seconds_counts_recorded_time_only(tmp_path: Path, clock: SimulatedClock) -> None:
    """`--seconds 60` must give a minute of play however long the window was covered."""
    script = ([""] * 5 + ["minimised"] * 20) * 10
    recording, done = recorded(tmp_path, clock, Window(clock, script), Pad(), seconds=0.5)
    with recording:
        assert len(recording) == 25
        assert done.ended_by == "--seconds reached"


def test_segments_of_the_real_game_end_at_hard_cuts(clock: SimulatedClock) -> None:
    """A goal replay cuts to another camera; joining the two pictures would invent motion."""
    rng = np.random.default_rng(0)
    counter = SegmentCounter(find_cuts=True)

    def shown(picture: Image) -> int:
        clock.sleep(1 / FPS)
        return counter.next(Frame(picture, clock()), Inputs(REST))

    scene = rng.integers(0, 60, (270, 480, 3), dtype=np.uint8)
    other = rng.integers(180, 255, (270, 480, 3), dtype=np.uint8)
    panned = [np.roll(scene, 3 * i, axis=1) for i in range(10)]
    assert [shown(p) for p in panned] == [0] * 10
    assert [shown(other) for _ in range(5)] == [1] * 5
    assert shown(scene) == 2


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
    **options: float,
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
