"""A killed recorder loses at most a second, and recovery never harms what it does not understand."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
import types
from pathlib import Path

import h5py
import numpy as np
import pytest

from rl_utils import data_batcher, schema
from rl_utils.data_batcher import BatchSaver
from rl_utils.recordings import open_recordings
from rl_utils.recovery import recover_orphans
from tests.recordings_kit import PAD, SIZE, WINDOW, pictures, record_session, sample, vectors

ROOT = Path(__file__).resolve().parent.parent

KILLS = 20
AT_ONCE = 4

RECORDERS = f"""
import mmap, os, random, signal, sys, time
from pathlib import Path
from rl_utils.data_batcher import BatchSaver
from rl_utils.interfaces import Frame, Inputs
from tests.recordings_kit import PAD, SIZE, WINDOW, picture, vector

def record(out, codec, begun, told):
    saver = BatchSaver(out, fps=60, size=SIZE, frames=WINDOW, pad=PAD, codec=codec, batch_size=40)
    start = time.monotonic()
    index = 0
    while True:
        time.sleep(max(0, start + index / 60 - time.monotonic()))
        told[:4] = saver.safe_samples.to_bytes(4, "little")
        saver.add(Frame(picture(index), time.monotonic_ns()), Inputs(vector(index), t_ns=index), segment=0)
        index += 1
        told[4:] = index.to_bytes(4, "little")
        if index == 1:
            os.write(begun, b".")

for wave in range(0, {KILLS}, {AT_ONCE}):
    children = {{}}
    for number in range(wave, wave + {AT_ONCE}):
        read, write = os.pipe()
        told = mmap.mmap(-1, 8)  # the child's: samples that are safe, samples
        child = os.fork()
        if child == 0:
            record(Path(sys.argv[1]) / f"{{number:02d}}", ("gzip", "jpeg")[number % 2], write, told)
        os.read(read, 1)
        children[child] = (time.monotonic() + random.uniform(0.0, 2.0), number, told)
    for child, (at, number, told) in sorted(children.items(), key=lambda item: item[1][0]):
        time.sleep(max(0, at - time.monotonic()))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        print(number, int.from_bytes(told[:4], "little"), int.from_bytes(told[4:], "little"))
"""


def orphan(out: Path, count: int, *, codec: str = "gzip", batch_size: int = 5000) -> Path:
    """Leave a session folder as SIGKILL does. Returns the `.part` file."""
    script = (
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "from rl_utils.data_batcher import BatchSaver\n"
        "from rl_utils.interfaces import PadEvent\n"
        "from tests.recordings_kit import PAD, SIZE, WINDOW, sample\n"
        f"saver = BatchSaver(Path(sys.argv[1]), fps=30, size=SIZE, frames=WINDOW, pad=PAD, codec={codec!r},"
        f" batch_size={batch_size}, block=True)\n"
        f"for i in range({count}):\n"
        "    frame, inputs = sample(i, labels=i > 5, state=True)\n"
        "    saver.add(frame, inputs, segment=i // 20, flags=i % 2, events=[PadEvent(frame.t_ns, 1, 2, i)])\n"
        "    while i == 9 and saver.safe_samples < 10:\n"
        "        time.sleep(0.01)\n"
        f"while saver.safe_samples < {count}:\n"
        "    time.sleep(0.01)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(out)], cwd=ROOT, check=False)
    (part,) = out.rglob("*_batch.h5.part")
    return part


def test_a_kill_at_any_of_twenty_moments_costs_nothing_that_was_said_to_be_safe(tmp_path: Path) -> None:
    """A game that takes the machine down must not take an evening of play with it."""
    done = subprocess.run(
        [sys.executable, "-c", RECORDERS, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    )
    killed = [[int(word) for word in line.split()] for line in done.stdout.splitlines()]
    assert len(killed) == KILLS
    assert sum(safe > 0 for _, safe, _ in killed) >= AT_ONCE, "kills must come late enough to show anything"
    recover_orphans(tmp_path)
    assert not list(tmp_path.rglob("*.part"))
    for number, safe, samples in killed:
        sessions = list((tmp_path / f"{number:02d}").iterdir())
        if not sessions:
            assert safe == 0, f"recorder {number} lost everything"
            continue
        (recording,) = open_recordings(sessions)
        with recording:
            count = len(recording)
            assert safe <= count <= samples + 1, f"recorder {number} lost what it had called safe"
            assert recording.inputs_ns.tolist() == list(range(count)), f"recorder {number} has a hole"
            assert np.array_equal(recording.inputs, vectors(range(count)))
            difference = np.abs(recording.read_frames(range(count)).astype(int) - pictures(range(count)))
            assert difference.mean() < (3 if number % 2 else 1e-9)


@pytest.mark.parametrize("codec", ["gzip", "jpeg"])
def test_all_but_the_last_second_is_always_safe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: schema.Codec
) -> None:
    """A kill costs what was recorded since the last flush: half a second, on a clock that waits for the disk."""
    now_s = 100.0
    clock = types.SimpleNamespace(monotonic=lambda: now_s, sleep=time.sleep)
    monkeypatch.setattr(data_batcher, "time", clock)
    with BatchSaver(tmp_path, fps=60, size=SIZE, frames=WINDOW, pad=PAD, codec=codec, block=True) as saver:
        for index in range(150):
            before = saver.bytes_written
            assert saver.add(*sample(index), segment=0)
            deadline = time.monotonic() + 60
            while saver.bytes_written == before or saver.safe_samples < saver.samples - 60:
                assert time.monotonic() < deadline, f"{saver.samples - saver.safe_samples} samples are not safe"
                time.sleep(0.001)
            now_s += 1 / 60


def test_a_file_that_had_only_begun_is_cleared_away(tmp_path: Path) -> None:
    """A kill in the moment that a file is made would leave something behind that no start can ever recover."""
    folder = tmp_path / "session"
    folder.mkdir()
    (folder / "session.json").write_text("{}")
    (folder / "1_batch.h5.part.new").write_bytes(b"\x89HDF")
    assert recover_orphans(tmp_path) == []
    assert not folder.exists()


def test_a_session_that_had_only_begun_is_cleared_away(tmp_path: Path) -> None:
    """A kill before the first picture would leave a folder that nothing can open."""
    for name, content in {"killed": '{"complete": false}', "emptied": '{"complete": true}', "damaged": "{"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "session.json").write_text(content)
    with BatchSaver(tmp_path, fps=30, size=SIZE, frames=WINDOW, pad=PAD) as running:
        assert recover_orphans(tmp_path) == []
        left = {path.name for path in tmp_path.iterdir()}
        assert left == {"emptied", "damaged", running.folder.name}, "what is recorded now, and what a person did, stays"


@pytest.mark.parametrize("codec", ["gzip", "jpeg"])
def test_an_orphan_becomes_the_file_it_would_have_been(tmp_path: Path, codec: str) -> None:
    """Recovered play is as good as any: labels, state, events and segments included."""
    part = orphan(tmp_path, 45, codec=codec, batch_size=30)
    (recovered,) = recover_orphans(tmp_path)
    assert recovered.file == part.with_suffix("")
    assert (recovered.samples, recovered.lost) == (15, 0)
    assert sorted(path.suffix for path in part.parent.iterdir()) == [".h5", ".h5", ".json"]
    (recording,) = open_recordings([tmp_path])
    assert np.array_equal(recording.inputs, vectors(range(45)))
    assert np.array_equal(recording.labels[6:], vectors(range(1006, 1045)))
    assert recording.state is not None
    assert recording.state.tolist() == [[i, -i] for i in range(45)]
    assert recording.state_names == ("x", "y")
    assert recording.segment.tolist() == [i // 20 for i in range(45)]
    assert recording.episode.tolist() == [i // 10 for i in range(45)]
    assert recording.flags.tolist() == [i % 2 for i in range(45)]
    assert recording.events["value"].tolist() == list(range(45))
    assert recording.timestamps_ns.tolist() == [sample(i)[0].t_ns for i in range(45)]
    difference = np.abs(recording.read_frames(range(45)).astype(int) - pictures(range(45)))
    assert difference.mean() < (3 if codec == "jpeg" else 1e-9)
    session = json.loads((part.parent / "session.json").read_text())
    assert (session["complete"], session["recovered"], session["samples"]) == (True, True, 45)
    assert recover_orphans(tmp_path) == []


def test_a_recorder_that_runs_is_left_alone(tmp_path: Path) -> None:
    """Starting a second recorder beside the first must not take away the file it is writing."""
    with BatchSaver(tmp_path, fps=30, size=SIZE, frames=WINDOW, pad=PAD) as saver:
        for i in range(5):
            saver.add(*sample(i), segment=0)
        while saver.safe_samples < 5:
            time.sleep(0.01)
        parts = list(tmp_path.rglob("*.part"))
        assert len(parts) == 1
        assert recover_orphans(tmp_path) == []
        assert list(tmp_path.rglob("*.part")) == parts
        for i in range(5, 10):
            saver.add(*sample(i), segment=0)
    assert np.array_equal(open_recordings([tmp_path])[0].inputs, vectors(range(10)))


def test_a_file_cut_short_is_recovered_as_far_as_it_goes(tmp_path: Path) -> None:
    """After a power cut the disk may lack the file's end; the rest is still play."""
    part = orphan(tmp_path, 30)
    with h5py.File(part, locking=False) as file:
        chunk = file["frames"].id.get_chunk_info(25)
    os.truncate(part, chunk.byte_offset + 10)
    (recovered,) = recover_orphans(tmp_path)
    assert (recovered.samples, recovered.lost) == (25, 5)
    (recording,) = open_recordings([tmp_path])
    assert np.array_equal(recording.inputs, vectors(range(25)))
    assert np.array_equal(recording.read_frames(range(25)), pictures(range(25)))


def test_a_hole_in_the_middle_separates_segments(tmp_path: Path) -> None:
    """Learning across samples that a bad sector took would teach jumps."""
    part = orphan(tmp_path, 15)
    with h5py.File(part, locking=False) as file:
        chunk = file["frames"].id.get_chunk_info(7)
    with part.open("r+b") as raw:
        raw.seek(chunk.byte_offset)
        raw.write(bytes(chunk.size))
    (recovered,) = recover_orphans(tmp_path)
    assert (recovered.samples, recovered.lost) == (14, 1)
    (recording,) = open_recordings([tmp_path])
    kept = [i for i in range(15) if i != 7]
    assert np.array_equal(recording.inputs, vectors(kept))
    assert np.array_equal(recording.read_frames(range(14)), pictures(kept))
    assert recording.segment.tolist() == [0] * 7 + [1] * 7


def test_what_cannot_be_recovered_is_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file that we cannot read may still be read by a better tool: it is not ours to delete."""
    folder = record_session(tmp_path, 5)
    part = folder / "123_batch.h5.part"
    part.write_bytes(b"not HDF5" * 1000)
    with caplog.at_level(logging.WARNING):
        assert recover_orphans(tmp_path) == []
    assert part.read_bytes() == b"not HDF5" * 1000
    assert "Remove it when you do not need it" in caplog.text
    assert len(open_recordings([tmp_path])[0]) == 5


def test_a_recovery_that_was_killed_is_done_again(tmp_path: Path) -> None:
    """The machine may go down a second time, in the middle of recovering."""
    part = orphan(tmp_path, 10)
    half = part.with_name(part.name.replace(".part", ".recovering"))
    half.write_bytes(part.read_bytes()[:3000])
    assert recover_orphans(tmp_path)[0].samples == 10
    assert sorted(path.suffix for path in part.parent.iterdir()) == [".h5", ".json"]
    (file,) = part.parent.glob("*.h5")
    part.write_bytes(file.read_bytes())  # killed just before the orphan's removal
    assert recover_orphans(tmp_path) == []
    assert not part.exists()
    assert len(open_recordings([tmp_path])[0]) == 10


def test_a_session_killed_before_its_first_flush_leaves_nothing(tmp_path: Path) -> None:
    """An empty file that every later start complains about helps nobody."""
    part = orphan(tmp_path, 3)
    with h5py.File(part, "r+", locking=False) as file:
        for name in list(file):
            file[name].resize(0, axis=0)
    assert recover_orphans(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_has_no_orphans(tmp_path: Path) -> None:
    """The first recording of all goes to a folder that does not exist yet."""
    assert recover_orphans(tmp_path / "recordings") == []
