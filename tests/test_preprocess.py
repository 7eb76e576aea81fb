"""From pixels to model input: one path, bit for bit, for training, play and playback."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rl_utils.errors import UserError
from rl_utils.preprocess import ARTICLE_SPEC, History, PreprocessSpec, fovea_spec, motion_spec, shrink, to_tensor

SMALL = PreprocessSpec(width=16, height=9, offsets=(0, 2, 5))


def pictures(count: int, *, size: tuple[int, int] = (48, 27), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, size[1], size[0], 3), np.uint8)


def test_article_input_is_rgb_over_255() -> None:
    """An article checkpoint fed anything but RGB / 255 drives like noise: the article's own main fault."""
    image = pictures(1, size=(480, 270))[0]
    tensor = to_tensor(History(ARTICLE_SPEC).push(image)[None], ARTICLE_SPEC)
    expected = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    torch.testing.assert_close(tensor, expected, atol=1e-7, rtol=0)
    assert tensor.shape == (1, 3, 270, 480)
    assert float(tensor.max()) <= 1


def test_motion_input_is_colour_now_and_green_before() -> None:
    """Channels in another order than in training would scramble what the network sees."""
    images = pictures(8, size=(16, 9))
    history = History(SMALL)
    for image in images:
        stack = history.push(image)
    assert stack.shape == (5, 9, 16)
    np.testing.assert_array_equal(stack[:3], images[7].transpose(2, 0, 1))
    np.testing.assert_array_equal(stack[3], images[5][..., 1])
    np.testing.assert_array_equal(stack[4], images[2][..., 1])


def test_history_begins_with_the_first_frame_and_forgets_on_reset() -> None:
    """Pictures from before a goal replay would look like impossible motion."""
    images = pictures(9, size=(16, 9))
    history = History(SMALL)
    first = history.push(images[0])
    np.testing.assert_array_equal(first[3], images[0][..., 1])
    np.testing.assert_array_equal(first[4], images[0][..., 1])
    for image in images[1:8]:
        history.push(image)
    history.reset()
    again = history.push(images[8])
    np.testing.assert_array_equal(again[4], images[8][..., 1])


def test_older_pictures_can_keep_their_colours() -> None:
    """The plan of channels is data: a checkpoint with another plan must be served as it was trained."""
    spec = PreprocessSpec(width=16, height=9, offsets=(0, 1), older="rgb")
    images = pictures(2, size=(16, 9))
    history = History(spec)
    history.push(images[0])
    np.testing.assert_array_equal(history.push(images[1])[3:], images[0].transpose(2, 0, 1))


def test_a_fovea_is_the_middle_of_the_same_picture() -> None:
    """Cut elsewhere in play than in training, the enlarged middle would show a car that is not where it was learnt."""
    spec = fovea_spec(30)
    images = pictures(3, size=(480, 270))
    history = History(spec)
    for image in images:
        stack = history.push(image)
    assert stack.shape == (spec.channels, 90, 160) == (10, 90, 160)
    np.testing.assert_array_equal(stack[:5], _pushed(images, motion_spec(30)))
    middle = cv2.resize(images[2][98:210, 140:340], (160, 90), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(stack[5:8], middle.transpose(2, 0, 1))
    assert PreprocessSpec.from_table(spec.as_table()) == spec
    masked = dataclasses.replace(spec, masks=((40.0, 30.0, 20.0, 20.0), (0.0, 0.0, 10.0, 10.0)))
    assert PreprocessSpec.from_table(masked.as_table()) == masked
    stack = History(masked).push(np.full_like(images[0], 255))
    assert not stack[0, 27:45, 64:96].any()
    hidden = slice(round((192 - 140) * 0.8), round((288 - 140) * 0.8))
    assert not stack[5, : int((135 - 98) * 0.8), hidden].any()
    assert int((stack[5] == 0).sum()) < 32 * 100


def _pushed(images: np.ndarray, spec: PreprocessSpec) -> np.ndarray:
    history = History(spec)
    return [history.push(image) for image in images][-1]


def test_shrinking_averages_areas() -> None:
    """Skipping pixels instead of averaging would make the ball flicker or vanish at a distance."""
    image = pictures(1, size=(480, 270))[0]
    small = shrink(image, motion_spec(30))
    expected = image.reshape(90, 3, 160, 3, 3).mean((1, 3)).transpose(2, 0, 1)
    assert np.abs(small - expected).max() <= 0.5 + 1e-6


@pytest.mark.parametrize("size", [(320, 180), (480, 270), (1920, 1080), (37, 23), (600, 100)])
def test_pictures_of_any_size_fit(size: tuple[int, int]) -> None:
    """The article's 180x320 files and captures of odd windows must train and play."""
    assert shrink(pictures(1, size=size)[0], ARTICLE_SPEC).shape == (3, 270, 480)


def test_the_same_size_is_not_touched() -> None:
    """A recording at model size must reach the network as it was stored."""
    image = pictures(1, size=(480, 270))[0]
    np.testing.assert_array_equal(shrink(image, ARTICLE_SPEC), image.transpose(2, 0, 1))


def test_batches_and_single_frames_scale_alike() -> None:
    """Training sees batches and play single frames; other bits would be another input."""
    stacks = np.random.default_rng(0).integers(0, 256, (7, 5, 9, 16), np.uint8)
    together = to_tensor(stacks, SMALL)
    for i, stack in enumerate(stacks):
        assert torch.equal(to_tensor(stack[None], SMALL)[0], together[i])
    assert together.is_contiguous(memory_format=torch.channels_last)
    assert float(to_tensor(np.full((1, 5, 9, 16), 255, np.uint8), SMALL).max()) == 1.0
    assert torch.equal(to_tensor(stacks, SMALL, half=True), together.bfloat16())


@pytest.mark.parametrize(("fps", "offsets"), [(30, (0, 2, 5)), (60, (0, 4, 10)), (20, (0, 1, 3)), (5, (0, 1, 2))])
def test_the_moments_follow_the_rate(fps: float, offsets: tuple[int, ...]) -> None:
    """Two frames back at 60 Hz is half the time it is at 30: speeds would be read wrong."""
    assert motion_spec(fps).offsets == offsets


@settings(max_examples=30, deadline=None)
@given(
    width=st.integers(16, 600),
    height=st.integers(16, 400),
    older=st.sampled_from(["green", "rgb"]),
    offsets=st.sets(st.integers(1, 30), max_size=4),
)
def test_specs_survive_a_checkpoint(width: int, height: int, older: str, offsets: set[int]) -> None:
    """A spec that changes on the way through a file would serve another input than was trained on."""
    spec = PreprocessSpec(width, height, (0, *sorted(offsets)), older)  # type: ignore[arg-type]
    assert PreprocessSpec.from_table(spec.as_table()) == spec


@pytest.mark.parametrize("change", [{"version": 2}, {"older": "depth"}, {"mean": 0.5}])
def test_an_unknown_preprocessing_is_refused(change: dict[str, object]) -> None:
    """A checkpoint of a later version would otherwise be fed something it was not trained on."""
    with pytest.raises(UserError, match="preprocessing"):
        PreprocessSpec.from_table(SMALL.as_table() | change)


def test_specs_cannot_be_changed() -> None:
    """A spec that is edited after loading would no longer be the checkpoint's."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        SMALL.width = 3  # type: ignore[misc]


def test_opencv_keeps_to_one_thread() -> None:
    """OpenCV's thread pool would take cores from the game while driving."""
    assert cv2.getNumThreads() == 1
