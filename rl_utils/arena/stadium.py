"""Walls, ramps, goals and boost pads as flat polygons that are seen from one side only.

A wall faces the field: from behind it is not drawn, so that the camera can look in from outside. Symmetric in x.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from rl_utils.arena.field import (
    BACK_WALL_Y_UU,
    BOOST_PADS,
    CEILING_Z_UU,
    CORNER_SUM_UU,
    GOAL_DEPTH_UU,
    GOAL_HALF_WIDTH_UU,
    GOAL_HEIGHT_UU,
    RAMP_UU,
    SIDE_WALL_X_UU,
)
from rl_utils.arena.lens import Colour
from rl_utils.arena.snapshot import Vec

Point = tuple[float, float, float]
Rgb = tuple[float, float, float]

PANEL_UU: Final = 1024.0
FRAME_UU: Final = 70.0
"""Width of the goals' frames."""
RIM_UU: Final = 60.0

_RAMP_MIDDLE: Final = RAMP_UU * (1 - math.sqrt(0.5))
# (distance from the wall, height) of the horizontal edges between rows, and each row's brightness.
_EDGES: Final = (
    (RAMP_UU, 0.0),
    (_RAMP_MIDDLE, _RAMP_MIDDLE),
    (0.0, RAMP_UU),
    (0.0, GOAL_HEIGHT_UU + FRAME_UU),
    (0.0, CEILING_Z_UU - RIM_UU),
    (0.0, CEILING_Z_UU),
)
_ROWS: Final = (0.92, 0.76, 0.66, 0.54, 1.5)

WALL_BLUE: Final[Rgb] = (178, 116, 84)
WALL_MIDDLE: Final[Rgb] = (136, 124, 116)
WALL_ORANGE: Final[Rgb] = (86, 114, 172)
BACK_WALL: Final[tuple[Rgb, Rgb]] = ((196, 106, 52), (48, 104, 196))
FRAME: Final[tuple[Rgb, Rgb]] = ((255, 170, 80), (70, 165, 255))
GOAL_BACK: Final[tuple[Rgb, Rgb]] = ((205, 84, 12), (10, 104, 222))
GOAL_SIDE: Final[tuple[Rgb, Rgb]] = ((168, 66, 14), (12, 84, 184))
GOAL_TOP: Final[tuple[Rgb, Rgb]] = ((120, 48, 14), (14, 62, 136))
NET: Final[tuple[Colour, Colour]] = ((240, 160, 100, 255), (110, 180, 250, 255))
PAD: Final[Colour] = (60, 200, 255, 255)
PAD_GLOW: Final[Colour] = (120, 236, 255, 255)


@dataclass(frozen=True)
class Faces:
    """Polygons with a front.

    Attributes:
        corners: (N, 4, 3) uu.
        normals: (N, 3), towards where they are seen from.
        offsets: (N,): normal · any corner.
        colours: One for each.
    """

    corners: Vec
    normals: Vec
    offsets: Vec
    colours: list[Colour]

    def fronts(self, eye: Vec) -> NDArray[np.intp]:
        """Numbers of those that show their front to `eye`."""
        return np.flatnonzero(self.normals @ eye > self.offsets)


class _Builder:
    def __init__(self) -> None:
        self.corners: list[list[Point]] = []
        self.normals: list[Point] = []
        self.colours: list[Colour] = []

    def add(self, corners: Iterable[Point], towards: Point, colour: Rgb, light: float = 1.0) -> None:
        """Add a quadrilateral that is seen from the side on which `towards` lies."""
        points = list(corners)
        p = np.array(points)
        normal = np.cross(p[2] - p[0], p[3] - p[1])
        normal /= np.linalg.norm(normal)
        if normal @ (np.array(towards) - p.mean(0)) < 0:
            normal = -normal
        self.corners.append(points)
        self.normals.append(tuple(normal.tolist()))
        b, g, r = (min(255.0, c * light) for c in colour)
        self.colours.append((b, g, r, 255.0))

    def faces(self) -> Faces:
        corners, normals = np.array(self.corners), np.array(self.normals)
        return Faces(corners, normals, (normals * corners[:, 0]).sum(1), self.colours)


_CENTRE: Final[Point] = (0.0, 0.0, 1000.0)


def _wall_colour(x: float, y: float) -> Rgb:
    """Bluish at blue's end, brownish at orange's, with panels of two shades."""
    ends = (WALL_BLUE, WALL_ORANGE)[y > 0]
    share = min(1.0, abs(y) / BACK_WALL_Y_UU)
    shade = 1.0 if math.floor(abs(y) / PANEL_UU) % 2 or abs(x) < 2000 else 1.13
    return (
        shade * (WALL_MIDDLE[0] + share * (ends[0] - WALL_MIDDLE[0])),
        shade * (WALL_MIDDLE[1] + share * (ends[1] - WALL_MIDDLE[1])),
        shade * (WALL_MIDDLE[2] + share * (ends[2] - WALL_MIDDLE[2])),
    )


def _wall(
    build: _Builder, start: Point, end: Point, colour: Callable[[float, float], Rgb], *, panels: int, post: bool = False
) -> None:
    """A straight wall from `start` to `end`, in panels and rows; at a goal post the ramp narrows to nothing.

    The third number of `start` and `end` says how far, per uu of distance from the wall, the row's end moves along it:
    the walls meet at 135°.
    """
    (x0, y0, k0), (x1, y1, k1) = start, end
    length = math.hypot(x1 - x0, y1 - y0)
    along = ((x1 - x0) / length, (y1 - y0) / length)
    inward = (-along[1], along[0])
    if inward[0] * x0 + inward[1] * y0 > 0:
        inward = (-inward[0], -inward[1])

    def place(share: float, edge: tuple[float, float]) -> Point:
        distance, z = edge
        if post and share == 1.0:
            distance = 0.0
        s = share * length + distance * (k0 * (1 - share) - k1 * share)
        return x0 + along[0] * s + inward[0] * distance, y0 + along[1] * s + inward[1] * distance, z

    for i in range(panels):
        a, b = i / panels, (i + 1) / panels
        base = colour(x0 + (x1 - x0) * (a + b) / 2, y0 + (y1 - y0) * (a + b) / 2)
        for low, high, light in zip(_EDGES[:-1], _EDGES[1:], _ROWS, strict=True):
            build.add((place(a, low), place(b, low), place(b, high), place(a, high)), _CENTRE, base, light)


def walls() -> Faces:
    """All walls with their ramps, and the goals' frames as seen from the field."""
    build = _Builder()
    corner_y = CORNER_SUM_UU - SIDE_WALL_X_UU
    corner_x = CORNER_SUM_UU - BACK_WALL_Y_UU
    mitre = math.tan(math.pi / 8)
    for sx in (-1, 1):
        x = sx * SIDE_WALL_X_UU
        _wall(build, (x, -corner_y, mitre), (x, corner_y, mitre), _wall_colour, panels=8)
        for team, sy in enumerate((-1, 1)):
            y = sy * BACK_WALL_Y_UU

            def back(x: float, _y: float, team: int = team) -> Rgb:
                b, g, r = BACK_WALL[team]
                shade = 1.0 if math.floor(abs(x) / PANEL_UU) % 2 else 1.1
                return b * shade, g * shade, r * shade

            start, end = (x, sy * corner_y, mitre), (sx * corner_x, y, mitre)
            _wall(build, start, end, _wall_colour, panels=2)
            post = sx * (GOAL_HALF_WIDTH_UU + RAMP_UU)
            _wall(build, (sx * corner_x, y, mitre), (post, y, 0.0), back, panels=2)
            _wall(build, (post, y, 0.0), (sx * GOAL_HALF_WIDTH_UU, y, 0.0), back, panels=1, post=True)
    for team, sy in enumerate((-1, 1)):
        y, w = sy * BACK_WALL_Y_UU, GOAL_HALF_WIDTH_UU
        for low, high, light in zip(_EDGES[3:-1], _EDGES[4:], _ROWS[3:], strict=True):
            corners = ((-w, y, low[1]), (w, y, low[1]), (w, y, high[1]), (-w, y, high[1]))
            build.add(corners, _CENTRE, BACK_WALL[team], light)
        _frame(build, team, towards=_CENTRE)
    return build.faces()


def _frame(build: _Builder, team: int, towards: Point) -> None:
    y, w, h, f = (BACK_WALL_Y_UU, -BACK_WALL_Y_UU)[team == 0], GOAL_HALF_WIDTH_UU, GOAL_HEIGHT_UU, FRAME_UU
    for x0, x1, z0, z1 in ((-w - f, -w, 0.0, h + f), (w, w + f, 0.0, h + f), (-w, w, h, h + f)):
        build.add(((x0, y, z0), (x1, y, z0), (x1, y, z1), (x0, y, z1)), towards, FRAME[team])


@dataclass(frozen=True)
class Goal:
    """One goal.

    Attributes:
        faces: Its frame as seen from behind, then its walls and roof as seen from inside.
        net: (N, 2, 3) uu line segments on them.
        net_normals: (N, 3): a line is seen from this side only.
        net_offsets: (N,).
        net_colour: Their colour.
        centre: (3,) uu of the mouth.
    """

    faces: Faces
    net: Vec
    net_normals: Vec
    net_offsets: Vec
    net_colour: Colour
    centre: Vec


def goal(team: int) -> Goal:
    """The goal that `team` defends."""
    side = -1 if team == 0 else 1
    mouth, back = side * BACK_WALL_Y_UU, side * (BACK_WALL_Y_UU + GOAL_DEPTH_UU)
    w, h = GOAL_HALF_WIDTH_UU, GOAL_HEIGHT_UU
    middle: Point = (0.0, (mouth + back) / 2, h / 2)
    build = _Builder()
    _frame(build, team, towards=(0.0, side * 9000.0, 300.0))
    build.add(((-w, back, 0), (w, back, 0), (w, back, h), (-w, back, h)), middle, GOAL_BACK[team])
    build.add(((-w, mouth, h), (w, mouth, h), (w, back, h), (-w, back, h)), middle, GOAL_TOP[team])
    for x in (-w, w):
        build.add(((x, mouth, 0), (x, back, 0), (x, back, h), (x, mouth, h)), middle, GOAL_SIDE[team])
    net: list[tuple[Point, Point]] = []
    normals: list[Point] = []

    def line(a: Point, b: Point, normal: Point) -> None:
        net.append((a, b))
        normals.append(normal)

    heights = [h * k / 4 for k in range(1, 4)]
    depths = [mouth + (back - mouth) * k / 5 for k in range(1, 6)]
    columns = [w * k / 6 for k in range(-5, 6)]
    for z in heights:
        line((-w, back, z), (w, back, z), (0, -side, 0))
        for x in (-w, w):
            line((x, mouth, z), (x, back, z), (-math.copysign(1, x), 0, 0))
    for x in columns:
        line((x, back, 0), (x, back, h), (0, -side, 0))
        line((x, mouth, h), (x, back, h), (0, 0, -1))
    for y in depths:
        line((-w, y, h), (w, y, h), (0, 0, -1))
        for x in (-w, w):
            line((x, y, 0), (x, y, h), (-math.copysign(1, x), 0, 0))
    segments, towards = np.array(net, float), np.array(normals, float)
    return Goal(
        faces=build.faces(),
        net=segments,
        net_normals=towards,
        net_offsets=(segments[:, 0] * towards).sum(1),
        net_colour=NET[team],
        centre=np.array([0.0, mouth, h / 2]),
    )


def ring(radius: float, points: int, *, turned: float = 0.0) -> Vec:
    """(points, 3) uu: a horizontal regular polygon about the origin."""
    angle = (np.arange(points) + turned) * (2 * math.pi / points)
    return np.column_stack([radius * np.cos(angle), radius * np.sin(angle), np.zeros(points)])


def join(groups: Iterable[Faces]) -> Faces:
    """All faces in one, in order."""
    listed = list(groups)
    return Faces(
        np.concatenate([g.corners for g in listed]),
        np.concatenate([g.normals for g in listed]),
        np.concatenate([g.offsets for g in listed]),
        [colour for g in listed for colour in g.colours],
    )


def pad_discs(points: int) -> tuple[Vec, Vec]:
    """What lies on the floor where a pad is ready: (34, points, 3) uu glowing discs, and their smaller bright cores."""
    discs, cores = [], []
    for pad in BOOST_PADS:
        radius = 140.0 if pad.is_big else 72.0
        place = np.array([pad.x, pad.y, 4.0])
        discs.append(ring(radius, points, turned=0.5) + place)
        cores.append(ring(0.55 * radius, points, turned=0.5) + place)
    return np.array(discs), np.array(cores)
