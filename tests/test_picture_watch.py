"""Black and frozen pictures, on a simulated clock and on real windows through both loops."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from rl_utils import quality
from rl_utils.controls import REST
from rl_utils.data_batcher import BatchSaver
from rl_utils.devices import LogSink, NoPad
from rl_utils.get_current_frame import FrameGrabber, WindowFrames
from rl_utils.get_current_window import WindowMonitor
from rl_utils.interfaces import Flag, Image, InputVector, Policy
from rl_utils.loops import drive
from rl_utils.picture_watch import BLACK_S, FROZEN_DRIVE_S, FROZEN_S, PictureWatch
from rl_utils.record_loop import record
from rl_utils.recordings import open_recordings
from rl_utils.xshm_damage import CHECK_NS, TRUSTED_AFTER
from tests.x11_window import ShownWindow, until

SIZE = (320, 240)
FPS = 30.0
LIGHT, DARK = np.full((27, 48, 3), 90, np.uint8), np.full((27, 48, 3), 3, np.uint8)


class Film:
    """Pictures shown to a watch at 20 Hz."""

    def __init__(self, watch: PictureWatch) -> None:
        self._watch = watch
        self._number = 0

    def show(self, image: Image, seconds: float, *, duplicate: bool = False) -> list[str]:
        """What the watch says of each."""
        said = []
        for _ in range(round(seconds * 20)):
            self._number += 1
            said.append(self._watch.problem(image, self._number * 50_000_000, duplicate=duplicate))
        return said


@pytest.fixture
def film() -> Film:
    return Film(PictureWatch())


def test_a_fade_or_a_standing_moment_is_play(film: Film) -> None:
    """Every goal and every respawn would tear the recording into pieces."""
    for _ in range(3):
        said = film.show(LIGHT, 4) + film.show(DARK, BLACK_S) + film.show(LIGHT, 0.1)
        said += film.show(LIGHT, FROZEN_S - 0.1, duplicate=True)
        assert not any(said)


def test_black_for_long_is_a_problem_until_it_is_not(film: Film, caplog: pytest.LogCaptureFixture) -> None:
    """Hours of black pictures would be recorded, or the bot would drive blind."""
    film.show(LIGHT, 1)
    assert film.show(DARK, 3)[-1] == "black picture"
    assert film.show(DARK, 3, duplicate=True) == ["black picture"] * 60
    assert film.show(LIGHT, 0.1)[0] == ""
    assert film.show(DARK, 3)[-1] == "black picture"
    assert len(caplog.records) == 1, "the same warning again and again"


def test_black_from_the_start_is_none_at_all(film: Film) -> None:
    """Where capture sees nothing, the first seconds would be recorded all the same."""
    assert set(film.show(DARK, 1)) == {"black picture"}
    assert not any(film.show(LIGHT, 1))


def test_a_picture_that_stays_the_same_is_a_problem(film: Film) -> None:
    """A hanging game or driver would be learnt as play in which nothing helps."""
    film.show(LIGHT, 1)
    assert film.show(LIGHT, FROZEN_S + 0.2, duplicate=True)[-1] == "frozen picture"
    assert film.show(LIGHT, 0.05) == [""]


def test_time_elsewhere_does_not_count() -> None:
    """Coming back to a paused game would at once be called frozen, before it can be resumed."""
    watch = PictureWatch()
    watch.problem(LIGHT, 0, duplicate=False)
    watch.restart()
    assert watch.problem(LIGHT, 60_000_000_000, duplicate=True) == ""


def test_what_is_recorded_is_not_called_bad_afterwards() -> None:
    """The verdict would blame the player for what the recorder let through."""
    assert BLACK_S < quality.BLACK_S
    assert FROZEN_DRIVE_S < FROZEN_S <= quality.FROZEN_S


class Throttle(Policy):
    """Presses something whatever it sees."""

    fps = FPS

    def reset(self) -> None:
        """It has no memory."""

    def act(self, image: Image) -> InputVector:
        return REST + np.float32(0.25)


@pytest.fixture
def shown(x_display: str) -> Iterator[ShownWindow]:
    with ShownWindow() as window:
        yield window


@pytest.mark.x11
def test_recording_pauses_and_goes_on_by_itself(shown: ShownWindow, tmp_path: Path) -> None:
    """A night of black pictures, or of one and the same, would be found out in the morning."""
    seen: list[str] = []

    def stop() -> bool:
        """Black, light, frozen, running: each lasts until the loop has noticed, and a second of samples."""
        problem, stage = frames.problem, len(seen)
        assert time.monotonic() < end, (seen, problem)
        if stage in (0, 2) and saver.samples - marks[-1] >= FPS:
            shown.signal((signal.SIGUSR1, signal.SIGSTOP)[stage // 2])
            seen.append("light")
            ends.append(saver.samples)
        elif stage % 2 and problem.endswith("picture"):
            shown.signal((signal.SIGUSR1, signal.SIGCONT)[stage // 2])
            seen.append(problem)
            marks.append(saver.samples)
        return len(seen) == 4 and saver.samples - marks[-1] >= FPS

    marks, end = [0], time.monotonic() + 120
    ends: list[int] = []
    # Not a shorter time than FROZEN_S: on a loaded machine the program that draws may stand still by itself.
    with WindowFrames(size=SIZE) as frames, NoPad() as pad:
        frames.wait_for_window(60)
        with BatchSaver(tmp_path, fps=FPS, size=SIZE, frames=frames.info, pad=pad.info) as saver:
            done = record(frames, pad, saver, fps=FPS, stop=stop)
    assert seen == ["light", "black picture", "light", "frozen picture"]
    assert done.gaps == 2
    [recording] = open_recordings([tmp_path])
    # Play, its hard cut to black, what came after the black, and after the standstill.
    assert sorted(set(recording.segment.tolist())) == [0, 1, 2, 3]
    black = [i for i in range(len(recording)) if recording.frame(i).max() == 0]
    assert len(black) <= (BLACK_S + 0.2) * FPS
    stays = recording.flags[ends[1] : marks[-1]] & Flag.DUPLICATE
    assert len(stays) > 0.5 * FPS
    assert np.count_nonzero(stays == 0) <= 3, "a picture that stays is not marked"  # some were drawn before it stopped
    assert recording.segment[-round(FPS / 2)] == 3


class Pad(LogSink):
    """Remembers how often it was released."""

    releases = 0

    def release(self) -> None:
        self.releases += 1


@pytest.mark.x11
def test_driving_lets_go_of_the_pad(shown: ShownWindow) -> None:
    """A bot would hold the throttle for as long as the game hangs."""
    sink = Pad()
    ticks: list[int] = []
    before: list[int] = []

    end = time.monotonic() + 120

    def stop() -> str:
        assert time.monotonic() < end, frames.problem
        if not ticks and answered() >= FPS:
            shown.signal(signal.SIGSTOP)
            before.append(sink.releases)  # a window that has not drawn yet is black
            ticks.append(answered())
        elif len(ticks) == 1 and sink.releases > before[0]:
            assert frames.problem == "frozen picture"
            shown.signal(signal.SIGCONT)
            ticks.append(answered())
        return "enough" if len(ticks) == 2 and answered() > ticks[1] + FPS / 2 else ""

    def answered() -> int:
        return policy.answers

    class Counting(Throttle):
        answers = 0

        def act(self, image: Image) -> InputVector:
            self.answers += 1
            return super().act(image)

    policy = Counting()
    with WindowFrames(size=SIZE, frozen_s=0.5) as frames:
        frames.wait_for_window(60)
        done = drive(frames, policy, sink, fps=FPS, stop=stop)
    assert done.pauses >= 1
    assert done.ended_by == "enough"


@pytest.mark.x11
def test_silence_is_believed_only_of_servers_that_tell_everything(shown: ShownWindow) -> None:
    """Pictures that no drawing announced would be taken for the ones before them."""
    with WindowMonitor() as monitor, FrameGrabber(monitor.server) as grabber:
        window = until(lambda: (w := monitor.update()).title and not w.state and w)
        last = grabber.grab(window).copy()
        grabber.confirm(changed=True)

        def look() -> bool:
            nonlocal last
            picture = grabber.grab(window).copy()
            changed = not np.array_equal(picture, last)
            last = picture
            grabber.confirm(changed=changed)
            return changed

        changes = 0
        while changes < TRUSTED_AFTER:
            assert not grabber.is_silent(window), "trusted before it has shown that it can be"
            changes += look()
        shown.signal(signal.SIGSTOP)
        until(lambda: not look() and grabber.is_silent(window))
        time.sleep(CHECK_NS / 1e9)
        assert not grabber.is_silent(window), "silence has to be checked now and then"
        assert not look()
        until(lambda: not look() and grabber.is_silent(window))  # again and again: that, too, holds only for a moment
        shown.signal(signal.SIGCONT)
        until(lambda: not grabber.is_silent(window))
        shown.signal(signal.SIGSTOP)
        until(lambda: not look() and grabber.is_silent(window))
        grabber.grab(window)
        grabber.confirm(changed=True)  # as if the picture had changed without a drawing
        for _ in range(3):
            assert not look()
            assert not grabber.is_silent(window), "it has deceived us once"
