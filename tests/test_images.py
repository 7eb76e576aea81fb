"""Pixels of the server → the small picture that is stored."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from rl_utils.images import same_picture, shrink_to_rgb


@pytest.mark.parametrize("size", [(480, 270), (17, 31), (1, 1), (64, 30)])
def test_a_quarter_is_the_mean_of_its_pixels(size: tuple[int, int]) -> None:
    """Seams between strips, or a picture that is shifted by a pixel, would be learnt."""
    width, height = size
    pixels = np.random.default_rng(0).integers(0, 256, (4 * height, 4 * width, 4), np.uint8)
    small = shrink_to_rgb(pixels, width, height)
    assert small.shape == (height, width, 3)
    mean = pixels.reshape(height, 4, width, 4, 4).mean((1, 3))[..., 2::-1]
    assert np.abs(small - mean).max() <= 1.0
    half = cv2.resize(pixels, (2 * width, 2 * height), interpolation=cv2.INTER_AREA)
    whole = cv2.resize(half, (width, height), interpolation=cv2.INTER_AREA)
    assert np.array_equal(small, whole[..., 2::-1]), "neither strips nor compiled code must change a bit"


def test_compiled_code_reads_and_writes_nothing_but_its_pictures() -> None:
    """A byte too far would damage memory, and crash a recording at some later time."""
    around = np.full((4 * 6 + 8, 4 * 16 + 8, 4), 255, np.uint8)
    inside = around[4:-4, 4:-4]
    inside[:] = np.random.default_rng(0).integers(0, 200, inside.shape, np.uint8)
    assert np.array_equal(shrink_to_rgb(inside, 16, 6), shrink_to_rgb(inside.copy(), 16, 6))
    assert (around[[0, -1]] == 255).all()


def test_one_level_of_one_pixel_is_another_picture() -> None:
    """A small thing that moves would be marked as a repeated picture."""
    one = np.random.default_rng(0).integers(0, 255, (270, 480, 3), np.uint8)
    other = one.copy()
    assert same_picture(one, other)
    other[3, 5, 1] ^= 1
    assert not same_picture(one, other)
