"""The delay from inputs to pictures: found where it is known, and admitted not to be known where it is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rl_utils.arena.direct import DirectArena
from rl_utils.controls import REST, Control
from rl_utils.data_batcher import BatchSaver
from rl_utils.delay import DelayEstimate, estimate_delay
from rl_utils.interfaces import Inputs, InputVector
from rl_utils.recordings import Recording, open_recordings

FPS = 30
FRAMES = 900
PERIOD_MS = 1000 / FPS


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A player who steers, jumps and boosts without looking; stored inputs are those that made the picture."""
    out = tmp_path_factory.mktemp("played")
    chance = np.random.default_rng(3)
    arena = DirectArena("benchmark", 3, fps=FPS, size=(240, 136), window_size=(240, 136))
    pad: InputVector = REST.copy()
    pad[Control.RIGHT_TRIGGER] = 1
    with BatchSaver(
        out, fps=FPS, size=(240, 136), frames=arena.info, pad=arena.pad.info, codec="jpeg", block=True
    ) as saver:
        for _ in range(FRAMES):
            frame = arena.read()
            assert frame is not None
            saver.add(frame, Inputs(pad.copy(), frame.t_ns), segment=arena.segment)
            if chance.random() < 0.08:
                pad[Control.LEFT_X] = chance.choice([0, 0.25, 0.5, 0.75, 1])
            pad[Control.SOUTH] = chance.random() < (0.06 if not pad[Control.SOUTH] else 0.7)
            if chance.random() < 0.03:
                pad[Control.EAST] = 1 - pad[Control.EAST]
            arena.sink.apply(pad.copy())
    return out


def delayed(played: Path, frames: int) -> Recording:
    """The recording as if inputs took so many frames longer to be seen."""
    (recording,) = open_recordings([played])
    recording.inputs = np.roll(recording.inputs, -frames, axis=0)
    return recording


@pytest.mark.parametrize("frames", [0, 3, 9])
def test_a_known_delay_is_found(played: Path, frames: int) -> None:
    """--action-shift-ms is chosen by this figure: one that is off by frames would teach to press too early or late."""
    with delayed(played, frames) as recording:
        estimate = estimate_delay(recording)
    assert estimate.ms is not None, estimate
    assert abs(estimate.ms - frames * PERIOD_MS) < 0.6 * PERIOD_MS
    assert str(estimate) == f"{estimate.ms:.0f} ms from an input to the picture"


@pytest.mark.parametrize("frames", [200, 350, 500, 650])
def test_inputs_of_another_time_have_no_delay(played: Path, frames: int) -> None:
    """A figure made of chance would be believed; "unknown" asks for more play instead."""
    with delayed(played, frames) as recording:
        estimate = estimate_delay(recording)
    assert estimate.ms is None
    assert "stands out" in str(estimate)


def test_without_activity_there_is_no_answer(played: Path) -> None:
    """Somebody who only watches presses nothing that could be seen."""
    with delayed(played, 0) as recording:
        recording.inputs = np.tile(REST, (len(recording), 1))
        assert estimate_delay(recording).reason == "not enough activity"


def test_a_short_recording_has_no_answer(played: Path) -> None:
    """Two seconds between two pauses are no evidence."""
    with delayed(played, 0) as recording:
        recording.segment = np.arange(len(recording), dtype=np.int32) // 60
        assert estimate_delay(recording).reason == "not enough activity"


def test_an_estimate_survives_session_json() -> None:
    """playback.py --info shows what collect.py found, also when a later version stores more."""
    for estimate in (DelayEstimate(83.2, 12.5, 2400), DelayEstimate(None, reason="not enough activity")):
        assert DelayEstimate.from_dict({**estimate.as_dict(), "something new": 1}) == estimate
