"""Batches of moments: varied in the right way, in the right order, made ahead, and left in order."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from rl_utils.arena.obs_layout import OBS_NAMES
from rl_utils.batches import Augmentation, Batch, Batches, Variation, ahead, augment, mirror_inputs
from rl_utils.controls import REST, Control
from rl_utils.errors import UserError
from rl_utils.recordings import open_recordings
from tests.learning_data import record_marker_play
from tests.test_dataset import samples_of
from tests.test_frame_store import loaded


def test_a_mirror_changes_sides_and_nothing_else() -> None:
    """A mirrored picture with unmirrored steering teaches to drive away from the ball."""
    inputs = np.random.default_rng(0).random((5, len(Control))).astype(np.float32)
    mirrored = mirror_inputs(inputs)
    for axis in (Control.LEFT_X, Control.RIGHT_X, Control.HAT_X):
        np.testing.assert_allclose(mirrored[:, axis], 1 - inputs[:, axis])
    sides = {Control.LEFT_X, Control.RIGHT_X, Control.HAT_X}
    for control in set(Control) - sides:
        np.testing.assert_array_equal(mirrored[:, control], inputs[:, control])
    np.testing.assert_array_equal(mirror_inputs(REST[None])[0], REST)
    np.testing.assert_allclose(mirror_inputs(mirrored), inputs, atol=1e-7)


def test_shoulder_buttons_change_places_only_on_request() -> None:
    """Air roll has sides; powerslide on one and boost on the other would be learnt the wrong way round."""
    inputs = np.random.default_rng(0).random((5, len(Control))).astype(np.float32)
    usual, swapped = mirror_inputs(inputs), mirror_inputs(inputs, swap_shoulders=True)
    np.testing.assert_array_equal(usual[:, Control.TL], inputs[:, Control.TL])
    np.testing.assert_array_equal(swapped[:, Control.TL], inputs[:, Control.TR])
    np.testing.assert_array_equal(swapped[:, Control.TR], inputs[:, Control.TL])
    np.testing.assert_array_equal(
        np.delete(swapped, [Control.TL, Control.TR], 1), np.delete(usual, [Control.TL, Control.TR], 1)
    )


def random_batch(count: int = 64, channels: int = 5) -> Batch:
    chance = np.random.default_rng(1)
    stacks = chance.integers(0, 256, (count, channels, 12, 20), np.uint8)
    inputs, states = (chance.random((count, n)).astype(np.float32) for n in (len(Control), len(OBS_NAMES)))
    following = chance.random((count, 3, len(Control))).astype(np.float32)
    return Batch(stacks, inputs, states, following, np.arange(count))


def test_pictures_and_inputs_are_mirrored_together() -> None:
    """Each sample must be seen either as it was or wholly mirrored."""
    batch = random_batch()
    original = batch.stacks.copy()
    seen = augment(batch, Variation.draw(Augmentation(mirror=0.5), 64, np.random.default_rng(0)))
    mirrored = 0
    for i in range(64):
        if np.array_equal(seen.stacks[i], original[i]):
            np.testing.assert_array_equal(seen.targets[i], batch.targets[i])
        else:
            np.testing.assert_array_equal(seen.stacks[i], original[i][:, :, ::-1])
            np.testing.assert_array_equal(seen.targets[i], mirror_inputs(batch.targets[i]))
            mirrored += 1
    assert 20 <= mirrored <= 44
    np.testing.assert_array_equal(batch.stacks, original)


def test_shifts_move_all_pictures_of_a_stack_and_repeat_edges() -> None:
    """Pictures of one stack that move apart would be motion; black edges would tell that it is training."""
    batch = random_batch()
    seen = augment(batch, Variation.draw(Augmentation(shift_px=2), 64, np.random.default_rng(0)))
    padded = np.pad(batch.stacks, ((0, 0), (0, 0), (2, 2), (2, 2)), mode="edge")
    found = set()
    for i in range(64):
        matches = [
            (dy, dx)
            for dy in range(5)
            for dx in range(5)
            if np.array_equal(seen.stacks[i], padded[i, :, dy : dy + 12, dx : dx + 20])
        ]
        assert len(matches) == 1, i
        found.add(matches[0])
    assert len(found) > 15, "every direction occurs"
    np.testing.assert_array_equal(seen.targets, batch.targets)


@pytest.fixture
def batches(tmp_path: Path) -> Iterator[Batches]:
    recordings = open_recordings([record_marker_play(tmp_path, 600)])
    samples = samples_of(recordings)
    with loaded(recordings, tmp_path) as store:
        yield Batches(store, samples, augmentation=Augmentation(mirror=0.5, shift_px=2), seed=7)


def test_a_pass_sees_each_sample_once_in_another_order(batches: Batches) -> None:
    """Samples seen twice or never would skew what is learnt."""
    first = [b.indices for b in batches.shuffled(0, 16)]
    second = [b.indices for b in batches.shuffled(1, 16)]
    for indices in (np.concatenate(first), np.concatenate(second)):
        assert len(np.unique(indices)) == len(indices)
        assert set(indices) <= set(batches._samples.train)
        assert len(batches._samples.train) - len(indices) < 16
    assert not np.array_equal(first[0], second[0])


def test_a_pass_can_be_taken_up_in_the_middle(batches: Batches) -> None:
    """A resumed run must see, bit for bit, the batches that the interrupted one would have seen."""
    whole = list(batches.shuffled(3, 16))
    rest = list(batches.shuffled(3, 16, start=10, stop=14))
    assert len(rest) == 4
    for a, b in zip(whole[10:14], rest, strict=True):
        np.testing.assert_array_equal(a.stacks, b.stacks)
        np.testing.assert_array_equal(a.targets, b.targets)


def test_measuring_sees_everything_as_it_was(batches: Batches) -> None:
    """Held-out numbers of mirrored or shifted pictures would be those of another game."""
    index = batches._samples.held_out
    seen = list(batches.in_order(index, 16))
    np.testing.assert_array_equal(np.concatenate([b.indices for b in seen]), index)
    np.testing.assert_array_equal(
        np.concatenate([b.stacks for b in seen]), batches._store.stacks(index, batches._samples.firsts[index])
    )


def test_what_goes_wrong_ahead_is_raised_in_the_loop() -> None:
    """A damaged file met by the background thread must stop the run instead of hanging it."""

    def damaged() -> Batch:
        raise UserError("picture 3 is damaged", "Copy it again")

    stream = ahead([random_batch, damaged, random_batch])
    assert len(next(stream).indices) == 64
    with pytest.raises(UserError, match="picture 3"):
        next(stream)


def test_leaving_early_ends_the_thread() -> None:
    """Each interrupted pass would otherwise leave a thread and its batches behind."""
    stream = ahead([random_batch] * 50)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert not [t for t in threading.enumerate() if t.name == "batches"]
