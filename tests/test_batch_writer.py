"""Going back over what was written: what is taken back is in no file any more, and everything else is as it was."""

from __future__ import annotations

import os
import random
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rl_utils import schema
from rl_utils.batch_sample import BatchSpec, encode
from rl_utils.batch_writer import BatchWriter
from rl_utils.controls import REST
from rl_utils.interfaces import Frame, Inputs, PadEvent
from rl_utils.recordings import open_recordings
from rl_utils.recovery import recover_orphans
from rl_utils.session_folder import write_session
from tests.recordings_kit import SIZE, pictures, sample, vectors


def write(writer: BatchWriter, index: int) -> None:
    frame, inputs = sample(index, labels=index > 7, state=True)
    writer.write(frame, inputs, 0, 0, [PadEvent(frame.t_ns - 1, 1, index % 3, index)])


def assert_holds(folder: Path, kept: list[int], codec: str) -> None:
    (recording,) = open_recordings([folder])
    with recording:
        assert np.array_equal(recording.inputs, vectors(kept))
        assert recording.timestamps_ns.tolist() == [sample(i)[0].t_ns for i in kept]
        assert recording.state is not None
        assert recording.state.tolist() == [[i, -i] for i in kept]
        late = [place for place, i in enumerate(kept) if i > 7]
        assert np.array_equal(recording.labels[late], vectors([kept[place] + 1000 for place in late]))
        difference = np.abs(recording.read_frames(range(len(kept))).astype(int) - pictures(kept))
        assert difference.mean() < (3 if codec == "jpeg" else 1e-9)
        assert (np.diff(recording.events["t_ns"]) >= 0).all()


def test_a_picture_that_is_shown_again_is_stored_again(tmp_path: Path) -> None:
    """Half the pictures of a game at 30 fps are repeated: they must not become those of another moment."""
    write_session(tmp_path, {})
    writer = BatchWriter(tmp_path, BatchSpec(SIZE, 30), batch_size=4)
    shown = [0, 0, 1, 1, 1, 2, 3, 3]
    for i, index in enumerate(shown):
        frame, inputs = sample(index)
        # The one before may have been left out of the recording: the mark alone says nothing about what is stored.
        writer.write(replace(frame, t_ns=frame.t_ns + i, duplicate=i > 0), inputs, 0, 0, [])
    writer.finish()
    (recording,) = open_recordings([tmp_path])
    with recording:
        assert np.array_equal(recording.read_frames(range(len(shown))), pictures(shown))


@pytest.mark.parametrize("codec", ["gzip", "jpeg"])
@pytest.mark.parametrize("seed", range(4))
def test_any_order_of_writing_and_going_back(tmp_path: Path, codec: schema.Codec, seed: int) -> None:
    """Discarded play that turns up in the data, or takes its neighbours with it, would be worse than no such key."""
    chance = random.Random(seed)
    write_session(tmp_path, {})
    writer = BatchWriter(
        tmp_path, BatchSpec(SIZE, 30, codec, (0, 0), ("x", "y")), batch_size=chance.choice([3, 11, 60])
    )
    kept: list[int] = []
    newest: dict[int, int] = {}
    index = 0
    for _ in range(25):
        for _ in range(chance.randrange(12)):
            write(writer, index)
            newest[index % 3] = index
            kept.append(index)
            index += 1
        if chance.random() < 0.4:
            writer.flush()
        if chance.random() < 0.5:
            gone = min(len(kept), chance.choice([1, 5, 30]))
            writer.go_back(gone)
            kept = kept[: len(kept) - gone]
        assert writer.samples == len(kept)
    write(writer, index)
    newest[index % 3] = index
    writer.finish()
    assert writer.safe_samples == writer.samples
    assert not list(tmp_path.glob(schema.PART_GLOB))
    assert [path.name for path in writer.files] == sorted(path.name for path in tmp_path.glob(schema.BATCH_GLOB))
    assert_holds(tmp_path, [*kept, index], codec)
    # Whatever was left out, the events still tell the pad's state at the end.
    (recording,) = open_recordings([tmp_path])
    with recording:
        assert {int(event["code"]): int(event["value"]) for event in recording.events} == newest


@pytest.mark.parametrize("codec", ["gzip", "jpeg"])
def test_what_was_taken_back_stays_away_after_a_kill(tmp_path: Path, codec: schema.Codec) -> None:
    """Other people's chat that the player discarded must not come back with the recovery of a crashed recorder."""
    session = tmp_path / "session"
    session.mkdir()
    write_session(session, {})
    recorder = os.fork()
    if recorder == 0:
        writer = BatchWriter(session, BatchSpec(SIZE, 30, codec, (0, 0), ("x", "y")), batch_size=20)
        for index in range(50):
            write(writer, index)
        writer.flush()
        writer.go_back(35)
        # Written over the place of the removed ones, and lost: it was not flushed.
        for index in range(50, 54):
            write(writer, index)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(recorder, 0)
    (recovered,) = recover_orphans(tmp_path)
    assert recovered.samples == 15
    assert_holds(session, list(range(15)), codec)


@pytest.mark.parametrize("codec", ["gzip", "jpeg"])
def test_no_tool_finds_what_was_taken_back(tmp_path: Path, codec: schema.Codec) -> None:
    """A picture with somebody's chat in it is not gone as long as its bytes are still in the file."""
    write_session(tmp_path, {})
    writer = BatchWriter(tmp_path, BatchSpec((480, 270), 30, codec), batch_size=100)
    noise = np.random.default_rng(0).integers(0, 256, (9, 270, 480, 3), np.uint8)
    for index, picture in enumerate(noise):
        writer.write(Frame(picture, index + 1), Inputs(REST), 0, 0, ())
    writer.flush()
    part = next(tmp_path.glob(schema.PART_GLOB))
    # Of a JPEG the last kept chunk may hold a bit; all but that is gone.
    middles = [encode(picture, codec)[-70_000:-69_000] for picture in noise]
    assert all(middle in part.read_bytes() for middle in middles)
    writer.go_back(6)
    assert [middle in part.read_bytes() for middle in middles] == [True] * 3 + [False] * 6
    writer.finish()
    (recording,) = open_recordings([tmp_path])
    with recording:
        assert len(recording.read_frames(range(3))) == len(recording) == 3
