"""Pictures that look otherwise: only as asked, all of a moment alike, and masks the same in training and play."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import train
from rl_utils.batches import Augmentation, Batches
from rl_utils.checkpoint import load_checkpoint, load_policy
from rl_utils.dataset import Weights
from rl_utils.frame_store import FrameStore
from rl_utils.looks import DrawnLooks, Looks, change_looks
from rl_utils.preprocess import History, PreprocessSpec, shrink
from rl_utils.recordings import open_recordings
from tests.learning_data import marker_play, record_marker_play
from tests.test_dataset import samples_of

SPEC = PreprocessSpec(width=32, height=18, offsets=(0, 2, 5))


def stacks(count: int = 40) -> np.ndarray:
    return np.random.default_rng(2).integers(60, 200, (count, SPEC.channels, 18, 32), np.uint8)


def changed(how: Looks) -> tuple[np.ndarray, np.ndarray]:
    original = stacks()
    kept = original.copy()
    seen = change_looks(original, DrawnLooks.draw(how, len(original), np.random.default_rng(3)), SPEC)
    np.testing.assert_array_equal(original, kept, err_msg="what the store holds is not changed")
    return original, seen


def test_colours_change_for_a_whole_moment() -> None:
    """A flicker between the pictures of one moment would look like motion."""
    original, seen = changed(Looks(colour=0.2))
    assert (seen != original).reshape(40, -1).any(axis=1).all()
    assert np.abs(seen.astype(int) - original).max() < 80
    for before, after in zip(original, seen, strict=True):
        for channels in ((0,), (1, 3, 4), (2,)):  # red, the green of all three pictures, blue
            values, places = np.unique(before[list(channels)], return_index=True)
            table = np.zeros(256, np.uint8)
            table[values] = after[list(channels)].reshape(-1)[places]
            np.testing.assert_array_equal(table[before[list(channels)]], after[list(channels)])
    assert len(np.unique(seen.mean(axis=(1, 2, 3)).round(1))) > 20, "each moment by its own lots"


def test_as_many_as_asked_lose_focus_or_their_past() -> None:
    """All of them blurred would teach a blurred game; a past of another moment would be motion that never was."""
    original, seen = changed(Looks(blur=0.5))
    blurred = (seen != original).reshape(40, -1).any(axis=1)
    assert 10 <= blurred.sum() <= 30
    assert seen[blurred].std() < 0.7 * original[blurred].std()
    original, seen = changed(Looks(drop_past=0.5))
    without = (seen != original).reshape(40, -1).any(axis=1)
    assert 10 <= without.sum() <= 30
    np.testing.assert_array_equal(seen[:, :3], original[:, :3])
    for older in (3, 4):
        np.testing.assert_array_equal(seen[without, older], original[without, 1])


def test_batches_repeat_and_keep_masks_black(tmp_path: Path) -> None:
    """A mask that a mirror or a shift moves away would show in training what play never shows."""
    recordings = open_recordings([record_marker_play(tmp_path, 300)])
    spec = replace(SPEC, masks=((0.0, 0.0, 20.0, 30.0),))
    samples = samples_of(recordings)
    with FrameStore(recordings, spec, cache_bytes=10**9, spill=tmp_path) as store:
        assert store.load(lambda _: None, lambda: False)
        vary = {"augmentation": Augmentation(mirror=0.5, shift_px=2), "looks": Looks(0.2, 0.3, 0.3), "seed": 1}
        first, second = (list(Batches(store, samples, **vary).shuffled(2, 32)) for _ in range(2))  # type: ignore[arg-type]
        later = next(iter(Batches(store, samples, **vary).shuffled(2, 32, start=3)))  # type: ignore[arg-type]
        part = next(iter(Batches(store, samples, **vary).shuffled(2, 32, part=slice(1, None, 2))))  # type: ignore[arg-type]
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.stacks, other.stacks)
        assert not one.stacks[:, :, :6, :7].any(), "5.4 px of 18, 6.4 of 32, outwards"
        assert one.stacks[:, :, 6:].any()
    np.testing.assert_array_equal(later.stacks, first[3].stacks)
    np.testing.assert_array_equal(part.stacks, first[0].stacks[1::2])


def test_changes_weigh_more(tmp_path: Path) -> None:
    """Asked for, the moments at which something is pressed are seen more often, and only those."""
    recordings = open_recordings([record_marker_play(tmp_path, 600)])
    plain, weighted = samples_of(recordings), samples_of(recordings, weights=Weights(change=3.0))
    np.testing.assert_array_equal(plain.train, weighted.train)
    moved = (np.abs(plain.targets - plain.previous) > 0.1).any(axis=1)[plain.train]
    assert 0 < moved.sum() < len(moved) / 2
    np.testing.assert_array_equal(weighted.weights, np.where(moved, 3.0, 1.0))


def test_a_mask_stands_in_the_checkpoint(tmp_path: Path) -> None:
    """A policy that was trained without the clock must not see it when it drives."""
    play, run = record_marker_play(tmp_path / "play", 200), tmp_path / "run"
    words = [
        str(play),
        "--out",
        str(run),
        "--epochs",
        "1",
        "--batch-size",
        "16",
        "--val-gap-s",
        "0.5",
        "--threads",
        "1",
    ]
    looks = ["--colour", "0.2", "--blur", "0.1", "--drop-past", "0.2", "--change-weight", "2"]
    assert train.main([*words, "--mask", "40,0,20,9", "0,90,10,10", *looks]) == 0
    spec = load_checkpoint(run / "best.pt").spec
    assert isinstance(spec, PreprocessSpec)
    assert spec.masks == ((40.0, 0.0, 20.0, 9.0), (0.0, 90.0, 10.0, 10.0))
    policy = load_policy(run / "best.pt")
    frame = marker_play(1)[0][0]
    whole = slice(5)  # the fovea, behind it, shows neither corner
    assert not History(policy.spec).push(frame)[whole, :8, 64:96].any()
    assert not shrink(frame, spec)[:3, 81:, :16].any()
    assert shrink(frame, spec).any()


@pytest.mark.parametrize("words", [["--mask", "90,0,20,9"], ["--mask", "clock"], ["--model", "state", "--blur", "0.1"]])
def test_impossible_looks_are_one_line(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A mask beside the picture would hide nothing without a word."""
    assert train.main([str(tmp_path), "--out", str(tmp_path / "run"), *words]) == 2
    assert words[-2] in capsys.readouterr().err.splitlines()[-1]
