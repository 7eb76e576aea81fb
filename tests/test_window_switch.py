"""Two games open at once, and the focus goes straight from one to the other: nothing may mix them up."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from rl_utils.controls import REST
from rl_utils.data_batcher import BatchSaver
from rl_utils.devices import LogSink, NoPad
from rl_utils.game_window import ARENA_CLASS
from rl_utils.get_current_frame import ANOTHER_WINDOW, WindowFrames
from rl_utils.interfaces import Image, InputVector, Policy
from rl_utils.loops import drive
from rl_utils.record_loop import OTHER_DEVICE, record
from rl_utils.recordings import open_recordings
from tests.window_frames import SIZE, await_picture
from tests.x11_window import ShownWindow, activate

pytestmark = pytest.mark.x11

FPS = 30.0
DEADLINE_S = 120.0


def give_focus(window: ShownWindow) -> None:
    """Return when the window has it, so that the next look at the windows finds the switch done."""
    activate(window.id)


@pytest.fixture
def games(x_display: str) -> Iterator[tuple[ShownWindow, ShownWindow]]:
    """The arena, which has the focus, and the real game."""
    with (
        ShownWindow(seed=1, wm_class=ARENA_CLASS) as arena,
        ShownWindow(at="900,500", seed=2, wm_class="rocketleague.exe") as game,
    ):
        give_focus(arena)
        yield arena, game


def test_a_switch_between_two_looks_is_told_once(games: tuple[ShownWindow, ShownWindow]) -> None:
    """Whoever reads would take the other window's picture for the next one of the same play."""
    with WindowFrames(size=SIZE) as frames:
        for seed, game in ((1, games[0]), (2, games[1]), (1, games[0])):
            give_focus(game)
            if seed == 2:
                assert frames.read() is None
                assert frames.problem == ANOTHER_WINDOW
                assert not frames.info.is_arena
            await_picture(frames, seed)


def test_a_switch_to_the_other_game_ends_the_recording(games: tuple[ShownWindow, ShownWindow], tmp_path: Path) -> None:
    """One session, and one segment in it, would hold two games, and the log would name only the first one."""
    end, switched = time.monotonic() + DEADLINE_S, False

    def stop() -> bool:
        nonlocal switched
        if not switched and saver.samples >= 5:
            give_focus(games[1])
            switched = True
        return time.monotonic() > end

    with WindowFrames(size=SIZE) as frames, NoPad() as pad:
        await_picture(frames, seed=1)
        with BatchSaver(tmp_path, fps=FPS, size=SIZE, frames=frames.info, pad=pad.info) as saver:
            done = record(frames, pad, saver, fps=FPS, stop=stop, limit=1000)
    assert done.ended_by == OTHER_DEVICE
    [stored] = open_recordings([tmp_path])
    assert stored.meta["window"]["is_arena"]
    same = [np.array_equal(stored.frame(i)[20:], stored.frame(0)[20:]) for i in range(len(stored))]
    assert all(same), "a picture of the other window is among them"


def test_a_switch_to_the_other_game_lets_go_of_the_pad(games: tuple[ShownWindow, ShownWindow]) -> None:
    """What the policy held for one game would go into the other one, and its memory would mix the two."""
    told: list[str] = []

    class Throttle(Policy):
        fps = FPS

        def reset(self) -> None:
            told.append("reset")

        def act(self, image: Image) -> InputVector:
            told.append("arena" if frames.info.is_arena else "game")
            return REST + np.float32(0.25)

    class Pad(LogSink):
        def release(self) -> None:
            told.append("release")

    end, switched = time.monotonic() + DEADLINE_S, False

    def stop() -> str:
        nonlocal switched
        assert time.monotonic() < end, told
        if not switched and told.count("arena") >= 5:
            give_focus(games[1])
            switched = True
        return "enough" if told.count("game") >= 5 else ""

    with WindowFrames(size=SIZE) as frames:
        await_picture(frames, seed=1)
        drive(frames, Throttle(), Pad(), fps=FPS, stop=stop)
    first = told.index("game")
    last = first - 1 - told[:first][::-1].index("arena")
    assert told[last + 1 : first][:2] == ["release", "reset"]
