"""The arena's pictures: the right way round, in the right order, nothing missing where play is hard, repeatable."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rl_utils.arena import hud, stadium
from rl_utils.arena.camera import Camera, View, level_view
from rl_utils.arena.field import BACK_WALL_Y_UU, BOOST_PADS, GOAL_DEPTH_UU, GOAL_HALF_WIDTH_UU, GOAL_HEIGHT_UU
from rl_utils.arena.game import Game
from rl_utils.arena.hud import GAUGE_TOP
from rl_utils.arena.lens import NEAR_UU, clip_near, lens_for
from rl_utils.arena.renderer import Renderer
from rl_utils.arena.snapshot import Snapshot
from rl_utils.controls import REST, Control
from tests.arena_scenes import ALL_PADS, NO_PADS, car, mirrored, moment, rotation

W, H = 480, 270
NORTH = math.pi / 2
EDGE_PX = 2
PLACES = [
    (0.0, 0.0, 17.0),
    (4079.0, 500.0, 17.0),
    (-4079.0, -2500.0, 900.0),
    (4000.0, -3000.0, 1900.0),
    (3400.0, 4560.0, 17.0),
    (-3400.0, -4560.0, 300.0),
    (1500.0, 5100.0, 17.0),
    (-1500.0, -5100.0, 1200.0),
    (0.0, 5900.0, 17.0),
    (700.0, -5800.0, 400.0),
    (300.0, -200.0, 2030.0),
]
BALLS = [
    (0.0, 0.0, 93.0),
    (4000.0, 5000.0, 93.0),
    (-4000.0, 3000.0, 1900.0),
    (0.0, -5900.0, 93.0),
    (200.0, 200.0, 1950.0),
]


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer(W, H)


def picture(renderer: Renderer, snapshot: Snapshot, view: View) -> np.ndarray:
    """(H, W, 3) int BGR."""
    return renderer.render(snapshot, view)[..., :3].astype(int)


def camera_view(snapshot: Snapshot, mode: str = "ball") -> View:
    camera = Camera("ball" if mode == "ball" else "car")
    camera.reset(snapshot)
    return camera.view()


def on_picture(view: View, point: object, size: tuple[int, int] = (W, H)) -> tuple[float, float, float]:
    """Column, row (px) and distance ahead (uu) of a world point."""
    lens = lens_for(view, *size)
    x, y, z = lens.to_camera(np.array(point, float)).tolist()
    return size[0] / 2 + lens.focal_px * x / z, size[1] / 2 + lens.focal_px * y / z, z


def test_projection_agrees_with_a_calculation_by_hand() -> None:
    """A wrong focal length or axis would draw everything at the wrong place."""
    view = level_view((0.0, 0.0, 100.0), yaw=0.0, pitch=0.0)  # looks along +x; 110° wide: 480 px / tan 55° = 336.1
    u, v, ahead = on_picture(view, (1000.0, 500.0, 0.0), (960, 540))
    assert u == pytest.approx(480 + 336.0996 * 0.5, abs=0.01)  # +y is to the right
    assert v == pytest.approx(270 + 336.0996 * 0.1, abs=0.01)  # the ground is below
    assert ahead == 1000


def test_wide_and_narrow_windows_keep_the_height_of_view() -> None:
    """In an ultra-wide window the car would otherwise fall out at the bottom."""
    view = level_view((0.0, 0.0, 100.0), yaw=0.0, pitch=0.0)
    assert lens_for(view, 2520, 1080).focal_px == lens_for(view, 1920, 1080).focal_px
    assert lens_for(view, 1440, 1080).focal_px == pytest.approx(lens_for(view, 1920, 1440).focal_px * 0.75)


@pytest.mark.parametrize("steer", [0.0, 1.0])
def test_steering_right_turns_the_car_right_on_the_picture(renderer: Renderer, steer: float) -> None:
    """The world is left-handed: a renderer that assumes otherwise shows, records and teaches everything mirrored."""
    game = Game("benchmark", 5, camera="car")
    pad = REST.copy()
    pad[Control.RIGHT_TRIGGER], pad[Control.LEFT_X] = 0.6, steer
    view = game.view()
    before = game.snapshot()
    game.advance(60, pad)
    after = game.snapshot()
    gone = dataclasses.replace(after, cars=(dataclasses.replace(after.cars[0], body=car((0, 0, -5000)).body),))
    with_car, without = picture(renderer, after, view), picture(renderer, gone, view)
    rows, columns = np.nonzero(np.abs(with_car - without).sum(2)[: int(GAUGE_TOP * H)] > 30)
    assert len(rows) > 50, "the car is not on the picture"
    assert (columns.mean() > W / 2 + 10) == (steer > 0.5), (columns.mean(), before.cars[0].body.position)
    assert (columns.mean() < W / 2 - 10) == (steer < 0.5)


def test_what_is_drawn_lies_where_the_projection_says(renderer: Renderer) -> None:
    """Ball and ground would drift apart if polygons and the warped ground used different pixel centres."""
    view = level_view((-700.0, -900.0, 400.0), yaw=0.9, pitch=-0.3)
    scene = moment(car((3000, -4000, 17)), (-100.0, -50.0, 300.0))
    away = moment(car((3000, -4000, 17)), (3000.0, -4500.0, 93.0))
    rows, columns = np.nonzero(np.abs(picture(renderer, scene, view) - picture(renderer, away, view)).sum(2) > 60)
    ball = rows < on_picture(view, (-100, -50, 150))[1]  # not its shadow
    u, v, _ = on_picture(view, (-100, -50, 300))
    assert columns[ball].mean() + 0.5 == pytest.approx(u, abs=2.5)
    assert rows[ball].mean() + 0.5 == pytest.approx(v, abs=2.5)


@pytest.mark.parametrize("size", [(960, 540), (480, 270), (641, 479), (1280, 540)])
def test_the_ground_lies_under_what_stands_on_it(size: tuple[int, int]) -> None:
    """If the ground slid against the walls, distances on the picture would mean nothing."""
    renderer = Renderer(*size)
    far = moment(car((3000, -4900, 17)), (3500.0, -4900.0, 93.0), pads=NO_PADS)
    for eye, yaw, pitch in (((0.0, -900.0, 150.0), NORTH, -0.1), ((700.0, 500.0, 900.0), -2.4, -0.8)):
        view = level_view(eye, yaw, pitch)
        image = picture(renderer, far, view)
        checked = 0
        for angle in np.linspace(0, 2 * math.pi, 48, endpoint=False):
            for radius, white in ((1000.0, True), (900.0, False), (1100.0, False)):
                point = (radius * math.cos(angle), radius * math.sin(angle), 0.0)
                if abs(point[1]) < 60 or any(math.dist(point[:2], (p.x, p.y)) < 160 for p in BOOST_PADS):
                    continue  # the halfway line, the places of pads
                u, v, ahead = on_picture(view, point, size)
                inside = NEAR_UU < ahead < 1500 and 3 < u < size[0] - 3 and 0.1 * size[1] < v < GAUGE_TOP * size[1] - 5
                if inside:
                    checked += 1
                    assert (image[int(v), int(u)].min() > 95) == white, (point, image[int(v), int(u)])
        assert checked > 20


def reference_colours(view: View, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ray casting: which wall, goal or ground each pixel shows.

    Returns:
        (N, 3) BGR of the nearest face, and (N,) whether it is one (else ground or sky).
    """
    faces = stadium.join([stadium.goal(0).faces, stadium.goal(1).faces, stadium.walls()])
    lens = lens_for(view, W, H)
    x = (pixels[:, 0] + 0.5 - W / 2) / lens.focal_px
    y = (pixels[:, 1] + 0.5 - H / 2) / lens.focal_px
    rays = np.column_stack([x, y, np.ones(len(x))]) @ lens.rotation
    nearest, colours = np.full(len(rays), np.inf), np.zeros((len(rays), 3))
    found = np.zeros(len(rays), bool)
    with np.errstate(divide="ignore", invalid="ignore"):
        ground = np.where(rays[:, 2] < 0, -lens.eye[2] / rays[:, 2], np.inf)
        # The floor ends at the goals' backs; outside it is at the same height.
        nearest[:] = ground
        for corners, normal, offset, colour in zip(
            faces.corners, faces.normals, faces.offsets, faces.colours, strict=True
        ):
            if normal @ lens.eye <= offset:
                continue
            t = (offset - normal @ lens.eye) / (rays @ normal)
            points = lens.eye + t[:, None] * rays
            inside = np.ones(len(rays), bool)
            for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True):
                side = np.cross(b - a, normal)
                side *= math.copysign(1.0, side @ (a - corners.mean(0)))
                inside &= (points - a) @ side <= 1e-6
            hit = inside & (t > 0) & (t <= nearest)
            nearest[hit], colours[hit], found[hit] = t[hit], colour[:3], True
    return colours, found


EYES = [
    ((0.0, -3000.0, 150.0), NORTH, 0.0),
    ((500.0, 4600.0, 200.0), NORTH + 0.3, 0.2),  # close to the orange goal
    ((300.0, 5600.0, 150.0), -NORTH, 0.0),  # inside it, looking out
    ((-300.0, -5500.0, 300.0), 0.2, 0.1),  # inside the blue one, looking at its side
    ((0.0, 6300.0, 150.0), -NORTH, 0.0),  # behind the orange goal
    ((2000.0, 5400.0, 150.0), -2.5, 0.0),  # behind the end wall, beside the goal
    ((4300.0, 1000.0, 120.0), 2.8, 0.1),  # outside a side wall
    ((3900.0, 4700.0, 120.0), -2.3, 0.0),  # outside a corner
    ((4050.0, 0.0, 1000.0), NORTH, -0.4),  # high at a wall
    ((100.0, 200.0, 2300.0), 1.0, -1.1),  # above the ceiling
    ((-3990.0, -2000.0, 60.0), -NORTH, 0.3),  # in the ramp
]


@pytest.mark.parametrize(("eye", "yaw", "pitch"), EYES)
def test_walls_and_goals_hide_each_other_as_ray_casting_says(
    eye: tuple[float, float, float], yaw: float, pitch: float
) -> None:
    """A wrong drawing order shows goals through walls, or hides the field from a camera in a goal."""
    view = level_view(eye, yaw, pitch)
    # Car and ball are out of the way, on the far side behind the camera.
    behind = np.array(eye) - 3000 * view.rotation[2]
    scene = moment(car((behind[0], behind[1], -900)), (behind[0], behind[1], -900.0), pads=NO_PADS)
    image = picture(Renderer(W, H, antialias=False), scene, view)
    rng = np.random.default_rng(1)
    pixels = np.column_stack([rng.integers(0, W, 3000), rng.integers(int(0.1 * H), int(0.92 * H), 3000)])
    expected, is_face = reference_colours(view, pixels)
    for shift in ((-1, -1), (-1, 1), (1, -1), (1, 1)):  # off the edges, where either side is right
        same_there = (reference_colours(view, pixels + shift)[0] == expected).all(1)
        pixels, expected, is_face = pixels[same_there], expected[same_there], is_face[same_there]
    drawn = image[pixels[:, 1], pixels[:, 0]]
    net = [np.abs(drawn - np.array(colour[:3])).max(1) <= 2 for colour in stadium.NET]
    arrow = (np.abs(drawn - np.array(hud.ARROW[:3])).max(1) <= 2) | (np.abs(drawn - np.array(hud.DARK[:3])).max(1) <= 2)
    same = (np.abs(drawn - expected).max(1) <= 2) | net[0] | net[1] | arrow
    assert same[is_face].mean() > 0.99, same[is_face].mean()
    face_colours = np.unique(np.array([c[:3] for c in stadium.walls().colours]).round(), axis=0)
    looks_like_wall = (np.abs(drawn[:, None] - face_colours[None]).max(2) <= 2).any(1)
    assert looks_like_wall[~is_face].sum() < 0.005 * len(pixels)


@pytest.mark.parametrize("mode", ["ball", "car"])
def test_mirrored_play_gives_the_mirrored_picture(renderer: Renderer, mode: str) -> None:
    """Training mirrors pictures and steering; a lopsided arena would make those samples wrong."""
    game = Game("training", 11, driver="expert")
    for _ in range(12):
        game.advance(50)
        snapshot = game.snapshot()
        plain = picture(renderer, snapshot, camera_view(snapshot, mode))
        twin = mirrored(snapshot)
        flipped = picture(renderer, twin, camera_view(twin, mode))[:, ::-1]
        below_board = slice(int(0.09 * H), None)
        differs = np.abs(plain - flipped).max(2)[below_board] > 40
        assert differs.mean() < 0.006, differs.mean()


def test_pads_vanish_when_taken(renderer: Renderer) -> None:
    """A driver that cannot see which pads are ready cannot learn to fetch boost."""
    place = BOOST_PADS.index(next(p for p in BOOST_PADS if p.is_big and p.y == 0 and p.x > 0))
    player = car((2800, 0, 17))
    taken = ALL_PADS.copy()
    taken[place] = False
    view = camera_view(moment(player, (3500, 0, 93)))
    here, gone = (picture(renderer, moment(player, (0, 3000, 93), pads=p), view) for p in (ALL_PADS, taken))
    u, v, _ = on_picture(view, (3584, 0, 120))
    assert here[int(v), int(u), 2] > 200
    changed = np.abs(here - gone).sum(2) > 60
    assert changed.sum() > 300
    assert changed[int(v), int(u)]


def test_the_flame_shows_boosting(renderer: Renderer) -> None:
    """Whether boost burns is an input that must be visible to be learnt."""
    view = camera_view(moment(car((0, 0, 17), (NORTH, 0, 0)), (0, 2000, 93)))
    off, on = (
        picture(renderer, moment(car((0, 0, 17), (NORTH, 0, 0), boosting=b), (0, 2000, 93)), view)
        for b in (False, True)
    )
    changed = np.abs(off - on).sum(2) > 60
    assert changed.sum() > 60
    assert on[changed][:, 2].mean() > 200


def test_the_ball_is_seen_to_turn(renderer: Renderer) -> None:
    """Spin decides where a ball goes next."""
    player = car((0, 0, 17))
    view = camera_view(moment(player, (600, 0, 93)))
    pictures = [picture(renderer, moment(player, (600, 0, 93), spin=(s, s / 2, 0)), view) for s in (0.0, 0.3, 0.6)]
    for a, b in itertools.pairwise(pictures):
        assert (np.abs(a - b).sum(2) > 60).sum() > 40


def test_the_car_shows_which_way_it_points(renderer: Renderer) -> None:
    """A car that looks the same from both ends cannot be steered."""
    view = camera_view(moment(car((0, 0, 17)), (600, 0, 93)))
    ahead, around = (
        picture(renderer, moment(car((0, 0, 17), (yaw, 0, 0)), (600, 0, 93)), view) for yaw in (0, math.pi)
    )
    assert (np.abs(ahead - around).sum(2) > 90).sum() > 300


def digest(renderer: Renderer) -> str:
    """All of a short play, as one number."""
    game = Game("training", 21, driver="expert", noise=0.5)
    total = hashlib.sha256()
    for step in range(40):
        game.advance(12)
        if step == 20:
            game.toggle_camera()
        total.update(renderer.render(game.snapshot(), game.view()).tobytes())
    return total.hexdigest()


def test_pictures_are_the_same_in_every_process() -> None:
    """Scores, direct-mode data and bug reports are only repeatable if pixels are."""
    code = "from tests.test_arena_view import digest, Renderer; print(digest(Renderer(320, 180)))"
    runs = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    }
    assert runs == {digest(Renderer(320, 180)) + "\n"}


def test_a_picture_does_not_depend_on_the_one_before(renderer: Renderer) -> None:
    """The buffer is used again: what was left in it must never shine through."""
    scenes = [moment(car(place), ball) for place, ball in zip(PLACES, BALLS * 3, strict=False)]
    first = [picture(renderer, s, camera_view(s)) for s in scenes]
    for scene, expected in reversed(list(zip(scenes, first, strict=True))):
        assert np.array_equal(picture(renderer, scene, camera_view(scene)), expected)


@pytest.mark.parametrize("size", [(64, 36), (160, 90), (90, 160), (333, 77)])
def test_odd_sizes_are_drawn(size: tuple[int, int]) -> None:
    """Windows can be dragged to any shape."""
    small = Renderer(*size)
    for place in PLACES:
        scene = moment(car(place), (0, 0, 93))
        assert small.render(scene, camera_view(scene)).shape == (size[1], size[0], 4)


def test_clipping_keeps_the_part_ahead() -> None:
    """Polygons that reach behind the eye must be cut, not dropped and not turned inside out."""
    square = np.array([[-10.0, 0, -50], [10, 0, -50], [10, 0, 100], [-10, 0, 100]])
    cut = clip_near(square)
    assert len(cut) == 4
    assert cut[:, 2].min() == NEAR_UU
    assert cut[:, 2].max() == 100
    assert len(clip_near(square - [0, 0, 200])) == 0


number = st.floats(-1, 1)


@st.composite
def wild_moments(draw: st.DrawFn) -> tuple[Snapshot, View | None]:
    """Anything that physics or a person could bring about, and views from anywhere above the ground."""

    def place() -> tuple[float, float, float]:
        kind = draw(st.integers(0, 3))
        if kind == 0:  # in a goal
            y = math.copysign(BACK_WALL_Y_UU + GOAL_DEPTH_UU * abs(draw(number)), draw(number))
            return GOAL_HALF_WIDTH_UU * draw(number), y, GOAL_HEIGHT_UU * abs(draw(number))
        return 4300 * draw(number), 5300 * draw(number), 2100 * abs(draw(number))

    def one(team: int) -> object:
        turn = (math.pi * draw(number), NORTH * draw(number), math.pi * draw(number))
        speed = (2300 * draw(number), 2300 * draw(number), 0.0)
        flags = draw(st.integers(0, 7))
        return car(
            place(),
            turn,
            team=team,
            boosting=bool(flags & 1),
            on_ground=bool(flags & 2),
            supersonic=bool(flags & 4),
            velocity=speed,
            boost=100 * abs(draw(number)),
        )

    cars = [one(team) for team in range(draw(st.integers(1, 2)))]
    near_car = draw(st.booleans())
    ball = tuple((cars[0].body.position + 300 * np.array([draw(number) for _ in "xyz"])).tolist())  # type: ignore[attr-defined]
    pads = np.array(draw(st.lists(st.booleans(), min_size=len(BOOST_PADS), max_size=len(BOOST_PADS))))
    score = (draw(st.integers(0, 120)), draw(st.integers(0, 120)))
    left = draw(st.sampled_from([0.0, 0.01, 59.99, 60.0, 4000.0]))
    scene = moment(cars, ball if near_car else place(), pads=pads, score=score, time_left_s=left)  # type: ignore[arg-type]
    if draw(st.booleans()):
        return scene, None
    x, y, z = place()
    return scene, level_view((1.3 * x, 1.2 * y, z + 5), math.pi * draw(number), 1.4 * draw(number))


SMALL = Renderer(96, 54)


@settings(max_examples=800, deadline=None)
@given(wild_moments(), st.sampled_from(["ball", "car"]))
def test_nothing_breaks_the_picture(scene: tuple[Snapshot, View | None], mode: str) -> None:
    """The arena must survive everything play brings about."""
    snapshot, view = scene
    with np.errstate(all="raise", under="ignore"):
        image = SMALL.render(snapshot, camera_view(snapshot, mode) if view is None else view)
    assert image[..., :3].std() > 1


def test_rotation_helper_has_the_sense_of_the_physics() -> None:
    """The scenes above are only worth something if they turn as RocketSim does."""
    assert np.allclose(rotation(0.0), np.eye(3))
    forward, right, up = rotation(0.4, 0.5, 0.6)
    assert forward[2] > 0, "pitch lifts the nose"
    assert right[2] < 0, "roll lowers the right side"
    assert np.allclose(np.cross(forward, right), up), "as RocketSim's own rows"
