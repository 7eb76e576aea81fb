"""The picture of one sample: game, caption, pad."""

from __future__ import annotations

import numpy as np
import pytest

from rl_utils.controls import REST
from rl_utils.interfaces import Flag, Image, Source
from rl_utils.scene import PICTURE_SIZE, SCENE_SIZE, Caption, clock_text, draw_scene, fit_picture


def halves(width: int = 480, height: int = 270) -> Image:
    """Left half red, right half blue."""
    image = np.zeros((height, width, 3), np.uint8)
    image[:, : width // 2, 0] = 255
    image[:, width // 2 :, 2] = 255
    return image


@pytest.mark.parametrize("size", [(480, 270), (320, 180), (1920, 1080), (100, 300), (1, 1)])
def test_colours_and_sides_are_right_whatever_the_size(size: tuple[int, int]) -> None:
    """The article's playback showed red as blue."""
    scene = draw_scene(halves(*size) if size[0] > 1 else np.full((1, 1, 3), (255, 0, 0), np.uint8), REST, Caption(0, 0))
    assert scene.shape == (SCENE_SIZE[1], SCENE_SIZE[0], 3)
    middle = PICTURE_SIZE[1] // 2, PICTURE_SIZE[0] // 2
    assert tuple(scene[middle[0], middle[1] - 10]) == (255, 0, 0)
    if size[0] > 1:
        assert tuple(scene[middle[0], middle[1] + 10]) == (0, 0, 255)


def test_enlarging_shows_the_stored_pixels() -> None:
    """Smoothing would hide what the model really gets to see."""
    image = np.random.default_rng(0).integers(0, 256, (270, 480, 3), np.uint8)
    assert np.array_equal(fit_picture(image, PICTURE_SIZE)[::2, ::2], image)
    assert np.array_equal(fit_picture(image, PICTURE_SIZE)[1::2, 1::2], image)


def test_the_given_picture_is_left_alone() -> None:
    """A frame that is drawn on while it is being recorded would be learnt with text on it."""
    image = halves(*PICTURE_SIZE)
    before = image.copy()
    draw_scene(image, REST, Caption(0, 0), lines=("over it",), banner="and more")
    assert np.array_equal(image, before)


def test_caption_says_what_is_known() -> None:
    """Who played and where we are is what a viewer looks for first."""
    caption = Caption(75.26, 12, 300, episode=4, segment=2, source=Source.TAKEOVER, flags=Flag.LATE | Flag.PRE_TAKEOVER)
    assert caption.text.split("   ") == ["1:15.3", "frame 12 of 300", "episode 4", "segment 2", "takeover"]
    assert caption.flag_text == "late, pre takeover"
    assert Caption(0, 0).flag_text == ""


def test_a_source_of_a_later_version_is_shown() -> None:
    """A recording of a newer version of this program must not end the playback."""
    assert Caption(0, 0, source=9).text.endswith("source 9")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00.0"), (59.96, "1:00.0"), (3599.99, "1:00:00.0"), (3725.5, "1:02:05.5"), (-3, "0:00.0")],
)
def test_times_are_written_as_people_read_them(seconds: float, text: str) -> None:
    """0:60.0 is not a time."""
    assert clock_text(seconds) == text


def test_captions_longer_than_the_picture_keep_their_end() -> None:
    """Of two long paths the ends differ; the text before it must stay readable."""
    scenes = [
        draw_scene(halves(), REST, Caption(0, 0, note="folder/" * 60 + name)) for name in ("session_a", "session_b")
    ]
    assert not np.array_equal(scenes[0], scenes[1])
    assert np.array_equal(scenes[0][: PICTURE_SIZE[1]], scenes[1][: PICTURE_SIZE[1]])
