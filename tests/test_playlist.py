"""What playback shows at a time, and what a policy would have pressed there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rl_utils.controls import REST, Control
from rl_utils.interfaces import Image, InputVector, Policy
from rl_utils.overlay import PREDICTED, RECORDED
from rl_utils.playlist import SHOWN_SIZE, Answers, Playlist
from rl_utils.recordings import Recording, open_recordings
from rl_utils.scene import PICTURE_SIZE
from rl_utils.timeline import STRIP_HEIGHT
from tests.learning_data import record
from tests.recordings_kit import record_session


class Remembering(Policy):
    """Steers by how far the picture brightened over the last `memory` frames; counts what it was asked."""

    fps = 30.0

    def __init__(self, memory: int) -> None:
        self.memory = memory
        self.seen: list[float] = []
        self.asked = 0

    def reset(self) -> None:
        self.seen = []

    def act(self, image: Image) -> InputVector:
        self.asked += 1
        self.seen = [*self.seen, float(image[0, 0, 0])][-(self.memory + 1) :]
        answer = REST.copy()
        answer[Control.LEFT_X] = (self.seen[-1] - self.seen[0]) / 255
        answer[Control.EAST] = 1
        return answer


def brightening(tmp_path: Path, count: int = 60, *, name: str = "a", segments: np.ndarray | None = None) -> Recording:
    """Each picture one level brighter than the one before."""
    frames = np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None, None], (count, 27, 48, 3))
    folder = record(tmp_path / name, frames, np.tile(REST, (count, 1)), segments=segments)
    return open_recordings([folder])[0]


def coloured(scene: np.ndarray, colour: tuple[int, int, int]) -> int:
    return int((scene[PICTURE_SIZE[1] : -STRIP_HEIGHT] == colour).all(axis=2).sum())


def test_answers_do_not_depend_on_the_way_to_a_frame(tmp_path: Path) -> None:
    """Jumping to a frame must show what the policy would have done there after playing up to it."""
    recordings = [brightening(tmp_path, segments=np.repeat([0, 1], 30)), brightening(tmp_path, name="b")]
    playlist = Playlist(recordings)
    order = np.random.default_rng(1).permutation(120).tolist()
    straight = Answers(Remembering(8), recordings, playlist.timeline, memory=8)
    jumping = Answers(Remembering(8), recordings, playlist.timeline, memory=8)
    expected = [straight.at(i)[Control.LEFT_X] for i in range(120)]
    since_cut = [min(i % 30, 8) if i < 60 else min(i - 60, 8) for i in range(120)]
    assert expected == pytest.approx([n / 255 for n in since_cut])
    found = {i: jumping.at(i)[Control.LEFT_X] for i in order}
    assert [found[i] for i in range(120)] == pytest.approx(expected)


def test_playing_on_asks_once_per_frame(tmp_path: Path) -> None:
    """Warming up a network anew for every frame would make playback a slide show."""
    recordings = [brightening(tmp_path)]
    policy = Remembering(8)
    answers = Answers(policy, recordings, Playlist(recordings).timeline, memory=8)
    for _ in range(2):
        for i in range(60):
            answers.at(i)
    assert policy.asked == 60


def test_the_policy_is_shown_beside_the_recorded_inputs(tmp_path: Path) -> None:
    """--checkpoint is there to compare the two."""
    recordings = [brightening(tmp_path)]
    alone = Playlist(recordings).render(1.0)
    beside = Playlist(recordings, policy=Remembering(0)).render(1.0)
    assert coloured(alone, PREDICTED) == 0
    assert coloured(beside, PREDICTED) > 100


def test_labels_are_shown_beside_the_inputs(tmp_path: Path) -> None:
    """Disturbed demonstrations are learnt by their labels, so that is what has to be looked at."""
    plain = open_recordings([record_session(tmp_path / "plain", 5)])
    labelled = open_recordings([record_session(tmp_path / "labelled", 5, labels_from=0)])
    for playlist, expected in ((Playlist(plain), False), (Playlist(labelled), True)):
        scene = playlist.render(0.0)
        assert coloured(scene, RECORDED) > 100
        assert (coloured(scene, PREDICTED) > 100) == expected


def test_every_sample_is_drawn(tmp_path: Path) -> None:
    """Each frame is shown with its own picture and inputs, across batch files and recordings."""
    folders = [record_session(tmp_path / name, 25, batch_size=10) for name in ("a", "b")]
    playlist = Playlist(open_recordings(folders))
    scenes = [playlist.render(float(t)) for t in playlist.timeline.times_s]
    assert {s.shape for s in scenes} == {(SHOWN_SIZE[1], SHOWN_SIZE[0], 3)}
    panels = {s[PICTURE_SIZE[1] : -STRIP_HEIGHT].tobytes() for s in scenes}
    assert len(panels) == 50


def test_a_jpeg_recording_looks_like_the_lossless_one(tmp_path: Path) -> None:
    """The codec must not change colours."""
    pair = [open_recordings([record_session(tmp_path / c, 3, codec=c)])[0] for c in ("gzip", "jpeg")]
    first, second = (Playlist([r]).render(0.0)[: PICTURE_SIZE[1]].astype(int) for r in pair)
    assert np.abs(first - second).mean() < 4


def test_gaps_and_the_next_recording_are_announced(tmp_path: Path) -> None:
    """A picture that stands still needs a reason."""
    recordings = [brightening(tmp_path), brightening(tmp_path, name="b")]
    recordings[0].timestamps_ns = recordings[0].timestamps_ns + np.where(np.arange(60) >= 30, 75_000_000_000, 0)
    playlist = Playlist(recordings)
    times = playlist.timeline.times_s
    assert playlist.gap_at(float(times[29]) + 0.3) == "gap: 1:15.0 left out"
    assert playlist.gap_at(float(times[59]) + 0.3) == f"next recording: {recordings[1].name}"
    assert playlist.gap_at(float(times[29])) == playlist.gap_at(float(times[30])) == playlist.gap_at(9999) == ""
