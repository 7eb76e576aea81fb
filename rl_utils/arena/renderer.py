"""One snapshot and one view make one picture: numpy and OpenCV only, bit-repeatable, in far-to-near order.

The field is convex once a goal is cut off at its mouth, so the order is known: from the field the goals come first,
then the walls around their mouths, then what is on the field; from behind a goal line the other way round.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import cv2
import numpy as np

import rl_utils.images  # noqa: F401  # sets OpenCV to one thread
from rl_utils.arena import hud, shapes, stadium
from rl_utils.arena.camera import View
from rl_utils.arena.field import BACK_WALL_Y_UU, BALL_RADIUS_UU, BOOST_PADS
from rl_utils.arena.lens import NEAR_UU, SHIFT, Brush, Colour, Lens, Pixels, lens_for
from rl_utils.arena.looks import Look
from rl_utils.arena.pitch import horizon_row, shared_pitch
from rl_utils.arena.snapshot import CarState, Snapshot, Vec

SKY_TOP: Final = (150, 92, 50)
SKY_HORIZON: Final = (236, 205, 170)
SHADOW: Final[Colour] = (30, 52, 34, 255)
LANDING_RING: Final[Colour] = (235, 240, 240, 255)
NET_VISIBLE_UU: Final = 5500.0
CORE_VISIBLE_UU: Final = 4000.0
ORB_RADIUS_UU: Final = 62.0
ORB_Z_UU: Final = 120.0
CAR_REACH_UU: Final = 120.0
ROUND: Final = 14
"""Corners of what should look round."""


class Renderer:
    """Draws pictures of one size.

    Args:
        width: Picture, px.
        height: Picture, px.
        antialias: Smooth edges.
        look: Colours and light.
    """

    def __init__(self, width: int, height: int, *, antialias: bool = True, look: Look | None = None) -> None:
        self.width, self.height = width, height
        self._image = np.zeros((height, width, 4), np.uint8)
        self._brush = Brush(self._image, antialias=antialias)
        self._look = look or Look()
        self._pitch = shared_pitch(self._look.ground)
        self._shadow = self._look.ground.colour(SHADOW)
        self._shade = self._look.shade(width, height)
        self._sky = self._look.sky.picture(self._make_sky())
        self._goals = (stadium.goal(0), stadium.goal(1))
        groups = (self._goals[0].faces, self._goals[1].faces, stadium.walls())
        faces = stadium.join(groups)
        self._faces = replace(faces, colours=[self._look.walls.colour(colour) for colour in faces.colours])
        self._net_colours = tuple(self._look.walls.colour(goal.net_colour) for goal in self._goals)
        self._group_ends = np.cumsum([len(g.colours) for g in groups])
        cars = (shapes.car_shape(0), shapes.car_shape(1))
        self._cars = tuple(replace(car, colours=self._look.cars.on(car.colours)) for car in cars)
        self._discs, self._cores = stadium.pad_discs(ROUND)
        self._big = np.array([pad.is_big for pad in BOOST_PADS])
        self._orbs = np.array([(pad.x, pad.y, ORB_Z_UU) for pad in BOOST_PADS])
        self._orb_ring = stadium.ring(1.0, ROUND)[:, :2]
        self._shadow_ring = stadium.ring(1.0, ROUND)
        self._hud = hud.Hud(width, height)

    def render(self, snapshot: Snapshot, view: View) -> Pixels:
        """Draw one picture.

        Args:
            snapshot: The moment.
            view: Where it is seen from: level, above the ground.

        Returns:
            (height, width, 4) uint8 BGRX, the same buffer each time; the fourth value means nothing.
        """
        lens = lens_for(view, self.width, self.height)
        self._draw_ground(lens)
        self._draw_decals(lens, snapshot)
        fronts = self._faces.fronts(lens.eye)
        polygons = lens.project(self._faces.corners[fronts])
        colours = [self._faces.colours[i] for i in fronts.tolist()]
        first, second, end = np.searchsorted(fronts, self._group_ends).tolist()
        goals = (slice(0, first), slice(first, second))
        mouth, eye_y = BACK_WALL_Y_UU, float(lens.eye[1])
        behind = None if abs(eye_y) <= mouth else int(eye_y > 0)
        for team in (0, 1):
            if team != behind:
                self._brush.fill_all(polygons[goals[team]], colours[goals[team]])
                self._draw_in_goal(lens, snapshot, team)
        self._brush.fill_all(polygons[second:end], colours[second:end])
        self._draw_objects(lens, snapshot, lambda y: abs(y) <= mouth)
        if behind is not None:
            self._brush.fill_all(polygons[goals[behind]], colours[goals[behind]])
            self._draw_in_goal(lens, snapshot, behind)
        if self._shade is not None:
            cv2.multiply(self._image, self._shade, dst=self._image, scale=1 / 255)
        self._hud.draw(self._brush, lens, snapshot)
        return self._image

    def _make_sky(self) -> Pixels:
        """Brightness falls with the height over the horizon: one strip, cut where the horizon is."""
        rows = np.arange(2 * self.height, 0, -1) / self.height  # heights above the horizon, in pictures
        share = np.minimum(1.0, rows)[:, None] ** 0.7
        sky = np.full((2 * self.height, 1, 4), 255, np.uint8)
        sky[:, 0, :3] = np.array(SKY_HORIZON) * (1 - share) + np.array(SKY_TOP) * share
        return np.ascontiguousarray(np.repeat(sky, self.width, axis=1))

    def _draw_ground(self, lens: Lens) -> None:
        horizon = horizon_row(lens)
        top = min(self.height, max(0, math.ceil(horizon) + 1))
        if top > 0:
            # Where the horizon lies far below the picture, the sky is all of one colour.
            first = max(0, len(self._sky) - max(top, math.ceil(min(horizon, 2.0 * self.height))))
            self._image[:top] = self._sky[first : first + top]
        self._pitch.draw(self._image, lens, top)

    def _draw_decals(self, lens: Lens, snapshot: Snapshot) -> None:
        """Shadows and boost pads, flat on the floor."""
        x, y, z = snapshot.ball.position.tolist()
        shadows = [self._shadow_ring * BALL_RADIUS_UU + (x, y, 1.0)]
        shadows += [_car_shadow(car) for car in snapshot.cars]
        active = snapshot.pads_active
        near = active & (np.abs(self._orbs - lens.eye).sum(1) < CORE_VISIBLE_UU)
        flat = np.concatenate([shadows, self._discs[active], self._cores[near]])
        polygons = lens.project(flat)
        cores = len(flat) - np.count_nonzero(near)
        self._brush.fill_all(polygons[: len(shadows)], self._shadow)
        if z > 2.2 * BALL_RADIUS_UU:
            around = self._shadow_ring * (1.25 * BALL_RADIUS_UU) + (x, y, 1.0)
            self._brush.lines(lens, np.stack([around, np.roll(around, -1, axis=0)], axis=1), LANDING_RING)
        self._brush.fill_all(polygons[len(shadows) : cores], stadium.PAD)
        self._brush.fill_all(polygons[cores:], stadium.PAD_GLOW)

    def _draw_in_goal(self, lens: Lens, snapshot: Snapshot, team: int) -> None:
        """The net, and what is behind the goal line."""
        goal, eye = self._goals[team], lens.eye
        if math.dist(goal.centre.tolist(), eye.tolist()) < NET_VISIBLE_UU:
            self._brush.lines(lens, goal.net[goal.net_normals @ eye > goal.net_offsets], self._net_colours[team])
        side = -1 if team == 0 else 1
        self._draw_objects(lens, snapshot, lambda y: side * y > BACK_WALL_Y_UU)

    def _draw_objects(self, lens: Lens, snapshot: Snapshot, belongs: Callable[[float], bool]) -> None:
        """Cars, ball and the orbs of big pads whose y `belongs` here, from far to near."""
        todo: list[tuple[float, int, Vec]] = []
        for number, body in enumerate((snapshot.ball, *(car.body for car in snapshot.cars))):
            if belongs(float(body.position[1])):
                camera = lens.to_camera(body.position)
                if camera[2] > -CAR_REACH_UU:
                    todo.append((float(np.sqrt(camera @ camera)), number, camera))
        if belongs(0.0):
            orbs = lens.to_camera(self._orbs[snapshot.pads_active & self._big])
            todo += [(float(np.sqrt(c @ c)), -1, c) for c in orbs[orbs[:, 2] > NEAR_UU + ORB_RADIUS_UU]]
        todo.sort(key=lambda item: -item[0])
        for _distance, number, camera in todo:
            if number < 0:
                self._draw_orb(lens, camera)
            elif number == 0:
                shapes.draw_ball(self._brush, lens, snapshot.ball, self._look.ball)
            else:
                car = snapshot.cars[number - 1]
                shapes.draw_car(self._brush, lens, self._cars[car.team], car, snapshot.tick)

    def _draw_orb(self, lens: Lens, camera: Vec) -> None:
        scale = lens.focal_px / float(camera[2])
        x, y = float(camera[0]) * scale, float(camera[1]) * scale
        radius = ORB_RADIUS_UU * scale
        if abs(x) > self.width / 2 + radius or abs(y) > self.height / 2 + radius:
            return
        centre = np.array([self.width / 2 - 0.5 + x, self.height / 2 - 0.5 + y])
        for share, colour in ((1.0, stadium.PAD), (0.6, stadium.PAD_GLOW)):
            corners = centre + self._orb_ring * (share * radius)
            self._brush.fill(np.rint(corners * (1 << SHIFT)).astype(np.int32), colour)


_BOX: Final = np.array([(x, y, z) for x in (-50.0, 74.0) for y in (-40.0, 40.0) for z in (-8.0, 34.0)])


def _car_shadow(car: CarState) -> Vec:
    """(ROUND, 3) uu: the outline of the car on the floor, the light straight above."""
    corners = _BOX @ car.body.rotation + car.body.position
    outline = cv2.convexHull(corners[:, :2].astype(np.float32))[:, 0]
    shadow = np.ones((ROUND, 3))
    shadow[:, :2] = outline[-1]
    shadow[: len(outline), :2] = outline
    return shadow
