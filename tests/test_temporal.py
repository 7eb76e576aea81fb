"""The larger policy: it looks back a second, plans ahead, and says where an axis stands instead of a mean."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from rl_utils.batches import Augmentation, Batches, mirror_inputs
from rl_utils.checkpoint import load_policy, playing_device
from rl_utils.config import TrainConfig
from rl_utils.controls import AXES, BUTTONS, N_AXES, N_CONTROLS
from rl_utils.dataset import Samples, make_samples
from rl_utils.errors import UserError
from rl_utils.frame_store import FrameStore
from rl_utils.losses import BalancedLoss, plan_loss
from rl_utils.model import MotionNet
from rl_utils.preprocess import motion_spec, temporal_spec
from rl_utils.recordings import open_recordings
from rl_utils.state_features import FEATURES
from rl_utils.temporal import PLACES, PLAN_TICKS, TemporalNet, place_loss, plan
from rl_utils.training_run import run_training
from tests.learning_data import marker_play, record_marker_play

WIDTH, HEIGHT, MOMENTS = 32, 18, 3


def small(seed: int = 0) -> TemporalNet:
    torch.manual_seed(seed)
    return TemporalNet(moments=MOMENTS, width=WIDTH, height=HEIGHT, size=48, layers=1, dropout=0.0)


def test_it_looks_back_a_second_at_any_rate() -> None:
    """Offsets that coincide at a low rate would show one moment twice and another never."""
    assert temporal_spec(30).offsets == (0, 2, 4, 6, 10, 15, 22, 30)
    assert temporal_spec(60).offsets == (0, 4, 8, 12, 20, 30, 45, 60)
    assert len(set(temporal_spec(5).offsets)) == 8
    assert temporal_spec(30).channels == 8 * 3 * 2


def test_the_first_tick_of_a_plan_is_the_answer() -> None:
    """What is played must be what was learnt as the plan's beginning."""
    outputs = small().eval()(torch.rand(2, MOMENTS * 6, HEIGHT, WIDTH))
    assert outputs.shape == (2, N_CONTROLS + FEATURES + PLAN_TICKS * (N_CONTROLS + N_AXES * PLACES))
    said = plan(outputs)
    assert torch.equal(said.ticks[:, 0], outputs[:, :N_CONTROLS])
    assert said.places.shape == (2, PLAN_TICKS, N_AXES, PLACES)
    assert bool((said.ticks[..., AXES] >= 0).all() and (said.ticks[..., AXES] <= 1).all())


def test_each_moment_and_each_look_counts() -> None:
    """Channels in another order than the pictures are stacked in would blur moments into one another."""
    network = small().eval()
    images = torch.rand(1, MOMENTS * 6, HEIGHT, WIDTH)
    before = network(images)
    for channel in range(MOMENTS * 6):
        changed = images.clone()
        changed[:, channel] += 0.5
        assert not torch.equal(network(changed), before), channel
    # A moment's planes lie together: exchanging two older moments is exchanging their threes, in both looks.
    swapped = images.reshape(1, 2, MOMENTS, 3, HEIGHT, WIDTH)[:, :, [0, 2, 1]].reshape(images.shape)
    network.when.data[:] = 0  # then only the newest is told apart from the others
    torch.testing.assert_close(network(swapped), network(images))


def test_two_likely_places_are_not_averaged() -> None:
    """Left and right around a ball are both right; their mean drives past it."""
    places = torch.full((1, PLACES), -10.0)
    places[0, 2], places[0, 18] = 3.0, 3.5
    assert float(small()._values(places)) == pytest.approx(0.9, abs=0.01)
    places[0, 18], places[0, 17] = 3.5, 3.5  # between two neighbours
    assert float(small()._values(places)) == pytest.approx(0.875, abs=0.01)


def test_place_loss_is_least_where_the_axis_stands() -> None:
    """Cross-entropy against the wrong place would steer away from it."""
    values = torch.tensor([[0.0, 0.05, 0.5, 0.52, 0.9, 0.95, 0.975, 1.0]])
    places = torch.zeros(1, N_AXES, PLACES, requires_grad=True)
    optimiser = torch.optim.Adam([places], lr=0.3)
    first = float(place_loss(places.detach(), values))
    assert first == pytest.approx(N_AXES * np.log(PLACES), rel=1e-4)
    for _ in range(200):
        optimiser.zero_grad()
        loss = place_loss(places, values)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    torch.testing.assert_close(small()._values(places.detach()), values, atol=0.01, rtol=0)


def test_what_comes_after_a_segment_is_not_learnt() -> None:
    """A goal ends a plan: what is pressed after the kickoff has nothing to do with it."""
    outputs = small()(torch.rand(3, MOMENTS * 6, HEIGHT, WIDTH)).detach()
    following = torch.rand(3, PLAN_TICKS, N_CONTROLS)
    following[..., BUTTONS] = following[..., BUTTONS].round()
    following[1, 2:] = torch.nan
    loss = BalancedLoss(following[:, 0].numpy())
    before = float(plan_loss(outputs, following, loss))
    said = plan(outputs)
    said.ticks[1, 2:] += 3  # views of the outputs
    said.places[1, 2:, :, 4] += 3
    assert float(plan_loss(outputs, following, loss)) == before
    said.places[1, 1, :, 4] += 3
    assert float(plan_loss(outputs, following, loss)) != before
    following[:, 1:] = torch.nan
    assert np.isfinite(float(plan_loss(outputs, following, loss))), "segments of one moment"


@pytest.fixture(scope="module")
def samples_and_store(tmp_path_factory: pytest.TempPathFactory) -> tuple[Samples, FrameStore]:
    folders = [record_marker_play(tmp_path_factory.mktemp(f"play{i}"), 60, seed=i) for i in (1, 2)]
    recordings = open_recordings(folders)
    samples = make_samples(recordings, val_share=0.1, val_gap_s=0.1, action_shift_ms=0, seed=0)
    store = FrameStore(recordings, motion_spec(30), cache_bytes=10**9, spill=folders[0])
    store.load(lambda _: None, lambda: False)
    return samples, store


def test_batches_hold_what_follows(samples_and_store: tuple[Samples, FrameStore]) -> None:
    """Shifted by one, or across two recordings, a plan would teach the wrong moment."""
    samples, store = samples_and_store
    batches = Batches(store, samples, augmentation=Augmentation(), seed=0, plans=4)
    batch = batches.plain(np.array([0, 10, 58, 59, 60, 118]))
    np.testing.assert_array_equal(batch.following[:, 0], batch.targets)
    np.testing.assert_array_equal(batch.following[1], samples.targets[10:14])
    np.testing.assert_array_equal(batch.following[4], samples.targets[60:64])
    assert [int(np.isfinite(row).all(axis=1).sum()) for row in batch.following] == [4, 4, 2, 1, 4, 2]
    teaches = samples.teaches.copy()
    teaches[12:30] = False  # such as a policy's own driving between two takeovers
    batch = Batches(store, replace(samples, teaches=teaches), augmentation=Augmentation(), seed=0, plans=4).plain(
        np.array([10])
    )
    np.testing.assert_array_equal(batch.following[0, :2], samples.targets[10:12])
    assert np.isnan(batch.following[0, 2:]).all()
    none = Batches(store, samples, augmentation=Augmentation(), seed=0).plain(np.array([3]))
    assert none.following.shape == (1, 0, N_CONTROLS)


def test_plans_are_mirrored_with_their_pictures(samples_and_store: tuple[Samples, FrameStore]) -> None:
    """Half of all plans would steer the wrong way."""
    samples, store = samples_and_store
    batches = Batches(store, samples, augmentation=Augmentation(mirror=1.0), seed=0, plans=3)
    batch = next(batches.shuffled(0, 8))
    plain = batches.plain(batch.indices)
    np.testing.assert_array_equal(batch.following, mirror_inputs(plain.following))


def test_it_learns_what_comes_next() -> None:
    """A dot moves to the right or to the left, which only the past shows; the stick follows it, also in the plan."""
    network = small(1).train()
    chance = np.random.default_rng(0)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3)

    def example(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        images = torch.zeros(count, 2, MOMENTS, 3, HEIGHT, WIDTH)
        following = torch.full((count, PLAN_TICKS, N_CONTROLS), 0.5)
        following[..., BUTTONS] = 0
        for row in range(count):
            way = 1 if chance.random() < 0.5 else -1
            middle = int(chance.integers(13, 17))
            for moment in range(MOMENTS):
                place = middle - 3 * way * moment
                images[row, :, moment, :, 6:12, place : place + 4] = 1
            following[row, :, AXES.start] = 0.5 + way * (0.2 + 0.03 * torch.arange(PLAN_TICKS))
        return images.reshape(count, -1, HEIGHT, WIDTH), following

    def error(outputs: torch.Tensor, following: torch.Tensor) -> torch.Tensor:
        return (plan(outputs.detach()).ticks[:, :, AXES.start] - following[:, :, AXES.start]).abs()

    loss = BalancedLoss(np.zeros((2, N_CONTROLS), np.float32))
    right = 0
    for _ in range(400):  # it dawns upon it all at once, by luck and processor about the hundredth step
        images, following = example(16)
        optimiser.zero_grad()
        outputs = network(images)
        total = loss(outputs, following[:, 0]).total + plan_loss(outputs, following, loss)
        total.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        right = right + 1 if float(error(outputs, following).mean()) < 0.05 else 0
        if right == 20:  # so that the statistics of normalisation have followed
            break
    images, following = example(32)
    with torch.inference_mode():
        wrong = error(network.eval()(images), following)
    assert float(wrong[:, 0].mean()) < 0.05, "the constant answer is 0.2 off"
    assert float(wrong.mean()) < 0.1, "the constant answer is 0.3 off"


def test_from_recording_to_driving(tmp_path: Path) -> None:
    """`--model temporal` trains, is saved, resumed and driven by like any other."""
    play, apart = (record_marker_play(tmp_path / name, 40, seed=seed) for seed, name in enumerate(("play", "apart")))
    config = TrainConfig(
        data=(play,), hold_out=(apart,), out=tmp_path / "run", model="temporal", epochs=1, batch_size=8, threads=1
    )
    outcome = run_training(config, stop=lambda: False)
    assert np.isfinite(outcome.metrics["loss"])
    driver = load_policy(tmp_path / "run" / "best.pt")
    frames, _ = marker_play(3, seed=9)
    for frame in frames:
        inputs = driver.act(frame)
        assert inputs.shape == (N_CONTROLS,)
        assert bool(((inputs >= 0) & (inputs <= 1)).all())


def test_only_what_is_too_large_for_a_core_drives_on_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second of play for each frame is too much for a core; the others are quick, and the game wants the GPU."""
    large, usual = small(), MotionNet(channels=5, width=160, height=90, dropout=0.0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    found = [playing_device(name, network).type for name in ("auto", "cpu", "cuda") for network in (large, usual)]
    assert found == ["cuda", "cpu", "cpu", "cpu", "cuda", "cuda"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert playing_device("auto", large).type == "cpu"
    with pytest.raises(UserError, match="finds no GPU"):
        playing_device("cuda", large)
