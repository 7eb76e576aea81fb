"""The arena's cameras: the car stays on the picture, the ball in view, and nothing jumps."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from rl_utils.arena.camera import CAMERA_HZ, DISTANCE_UU, HEIGHT_UU, MOST_PULL_UU, PULL_TIME_S, STIFFNESS, Camera
from rl_utils.arena.game import Game
from rl_utils.arena.hud import GAUGE_TOP
from tests.arena_scenes import car, moment
from tests.test_arena_view import BALLS, NORTH, PLACES, H, W, camera_view, on_picture


@pytest.mark.parametrize("mode", ["ball", "car"])
@pytest.mark.parametrize("size", [(960, 540), (800, 800), (1280, 540)])
def test_the_car_stays_on_the_picture_above_the_gauge(mode: str, size: tuple[int, int]) -> None:
    """Where the car cannot be seen nobody can drive it: walls, corners, goals, the ceiling, balls high above."""
    for place in PLACES:
        above = [
            (place[0] + dx, place[1] + dy, min(place[2] + 900, 1950.0)) for dx, dy in ((0, 0), (30, -20), (200, 0))
        ]
        for ball in [*BALLS, *above, (place[0], place[1], 93.0)]:
            for turn in ((0.3, 0, 0), (2, 0, math.pi), (1, NORTH, 0), (-2, -NORTH, 1)):
                u, v, ahead = on_picture(camera_view(moment(car(place, turn), ball), mode), place, size)
                assert ahead > 60, (place, ball, turn)
                assert 0.3 * size[0] < u < 0.7 * size[0], (place, ball, turn)
                assert 0.3 * size[1] < v < 0.9 * GAUGE_TOP * size[1], (place, ball, turn, v)


@pytest.mark.parametrize("mode", ["ball", "car"])
def test_the_camera_keeps_the_car_in_real_play_and_moves_smoothly(mode: str) -> None:
    """A picture that jumps without a cut, or loses the car in a flip, teaches the wrong thing."""
    game = Game("training", 3, driver="expert", noise=1.0, camera="ball" if mode == "ball" else "car")
    before, episode = game.view(), game.episode
    for _ in range(60 * 40):
        game.advance(2)
        view = game.view()
        u, v, ahead = on_picture(view, game.snapshot().cars[0].body.position)
        assert ahead > 60
        assert 0.25 * W < u < 0.75 * W
        assert 0.2 * H < v < 0.9 * GAUGE_TOP * H
        if game.episode == episode:
            turned = math.degrees(math.acos(min(1.0, float(view.rotation[2] @ before.rotation[2]))))
            assert turned < 12, "the camera jumped"
        assert view.rotation[0, 2] == 0, "the camera rolled"
        before, episode = view, game.episode


def test_the_ball_camera_looks_at_the_ball() -> None:
    """It is the default camera: the ball must be in the picture unless it is nearly straight above."""
    for place in PLACES:
        for ball in BALLS:
            view = camera_view(moment(car(place), ball))
            u, v, ahead = on_picture(view, ball)
            flat = math.dist(place[:2], ball[:2])
            if flat > 600 and (ball[2] - place[2]) < 1.5 * flat:
                assert ahead > 0
                assert u == pytest.approx(W / 2, abs=1)
                assert 0 < v < H, (place, ball)


def test_a_new_start_takes_the_camera_there_at_once() -> None:
    """A swing from the old place would show seconds of nothing, different each time."""
    camera = Camera("ball")
    camera.reset(moment(car((0, 0, 17)), (1000, 0, 93)))
    for episode, place in ((1, (3000.0, -4000.0, 17.0)), (1, (-3000.0, 4000.0, 17.0))):  # a new episode; a teleport
        scene = moment(car(place, (2, 0, 0)), (-1000, 500, 93), episode=episode)
        camera.update(scene)
        expected = camera_view(scene)
        assert np.array_equal(camera.view().eye, expected.eye)
        assert np.array_equal(camera.view().rotation, expected.rotation)


def eye_distance(camera: Camera, place: tuple[float, float, float]) -> float:
    """From the point above the car, about which the camera circles, in uu."""
    return math.dist(camera.view().eye.tolist(), (place[0], place[1], place[2] + HEIGHT_UU))


@pytest.mark.parametrize("mode", ["ball", "car"])
def test_a_fast_car_leaves_the_camera_behind(mode: str) -> None:
    """As in the game: speed is seen in every single picture. Sideways and backwards are as fast as forwards."""
    most = (1 - STIFFNESS) * MOST_PULL_UU
    place = (0.0, -1000.0, 17.0)
    for velocity, pull in (
        ((0.0, 0.0, 0.0), 0.0),
        ((0.0, 1150.0, 0.0), most / 2),
        ((-690.0, 0.0, 920.0), most / 2),
        ((0.0, -2300.0, 0.0), most),
        ((0.0, 2400.0, 0.0), most),
    ):
        camera = Camera("ball" if mode == "ball" else "car")
        camera.reset(moment(car(place, (math.pi / 2, 0, 0), velocity=velocity), (0, 2000, 93)))
        assert eye_distance(camera, place) == pytest.approx(DISTANCE_UU + pull, abs=0.1), velocity


def test_the_camera_falls_back_smoothly() -> None:
    """A hit stops a car at once; a picture that jumps with it would look like a cut."""
    place = (0.0, -1000.0, 17.0)
    camera = Camera("car")
    camera.reset(moment(car(place, velocity=(2300.0, 0.0, 0.0))))
    standing = moment(car(place))
    ways = [eye_distance(camera, place)]
    for _ in range(round(8 * PULL_TIME_S * CAMERA_HZ)):
        camera.update(standing)
        ways.append(eye_distance(camera, place))
    steps = [a - b for a, b in itertools.pairwise(ways)]
    assert min(steps) > 0, "it comes nearer all the time"
    assert max(steps) < 0.15 * (ways[0] - DISTANCE_UU)
    assert ways[-1] == pytest.approx(DISTANCE_UU, abs=0.1)


def test_toggling_swings_smoothly_to_the_other_camera() -> None:
    """A jump would look like a cut; a camera that stays half way would be a third one."""
    scene = moment(car((0, 0, 17), (0, 0, 0)), (-500, 1500, 93))
    camera = Camera("ball")
    camera.reset(scene)
    camera.toggle()
    directions = [camera.view().rotation[2]]
    for _ in range(90):
        camera.update(scene)
        directions.append(camera.view().rotation[2])
    steps = [math.degrees(math.acos(min(1.0, float(a @ b)))) for a, b in itertools.pairwise(directions)]
    assert max(steps) < 10
    assert np.allclose(directions[-1], camera_view(scene, "car").rotation[2], atol=1e-3)
    assert camera.mode == "car"


def test_zero_distances_give_a_view() -> None:
    """A ball exactly on the car, or a car exactly upright, must not stop the arena."""
    for turn in ((0, 0, 0), (0, NORTH, 0), (0, -NORTH, 0), (0, NORTH, 1)):
        for mode in ("ball", "car"):
            scene = moment(car((100, 200, 93), turn), (100, 200, 93))
            camera = Camera("ball" if mode == "ball" else "car")
            camera.reset(scene)
            for _ in range(5):
                camera.update(scene)
            assert np.isfinite(camera.view().eye).all()
            assert np.isfinite(camera.view().rotation).all()
