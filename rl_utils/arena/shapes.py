"""The car and the ball: convex parts in the body's own coordinates (forward, right, up; uu).

A convex part needs no sorting once its hidden faces are left out, and the parts are ordered exactly by the planes
between them, so that a car never flickers. Shapes and shades are symmetric in left and right.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from rl_utils.arena.field import BALL_RADIUS_UU
from rl_utils.arena.lens import Brush, Colour, Lens
from rl_utils.arena.looks import PLAIN, Paint
from rl_utils.arena.snapshot import Body, CarState, Vec

Point = tuple[float, float, float]
Rgb = tuple[float, float, float]

PAINT: Final[tuple[Rgb, Rgb]] = ((250, 120, 30), (20, 125, 255))
TRIM: Final[tuple[Rgb, Rgb]] = ((150, 60, 16), (10, 62, 160))
GLASS: Final[Rgb] = (82, 62, 50)
WINDSCREEN: Final[Rgb] = (235, 215, 170)
WHITE: Final[Rgb] = (245, 245, 245)
BELLY: Final[Rgb] = (70, 66, 64)
TYRE: Final[Rgb] = (38, 36, 36)
HUB: Final[Rgb] = (170, 170, 175)
TAIL_LIGHT: Final[Rgb] = (50, 40, 255)
HEAD_LIGHT: Final[Rgb] = (190, 250, 255)
FLAME: Final[Colour] = (20, 120, 255, 255)
FLAME_CORE: Final[Colour] = (150, 240, 255, 255)
TRAIL: Final[Colour] = (250, 245, 240, 255)

DECK_Z: Final = 21.0
WAIST_Y: Final = 33.0
REAR_X: Final = -48.0
_BODY, _CABIN, _SPOILER, _WHEEL = "body", "cabin", "spoiler", "wheel"


@dataclass(frozen=True)
class CarShape:
    """A car in one team's colours.

    Attributes:
        vertices: (V, 3) uu.
        faces: (F, 8) vertex numbers, the last one repeated.
        normals: (F, 3) outward.
        offsets: (F,): normal · any point of the face.
        colours: (F, 3) blue, green, red.
        parts: name → the faces of that part, in the order in which they are drawn.
    """

    vertices: Vec
    faces: np.ndarray
    normals: Vec
    offsets: Vec
    colours: Vec
    parts: dict[str, np.ndarray]


class _CarBuilder:
    def __init__(self) -> None:
        self.points: list[Point] = []
        self.faces: list[list[int]] = []
        self.normals: list[Vec] = []
        self.colours: list[Rgb] = []
        self.parts: dict[str, list[int]] = {}

    def face(self, part: str, corners: list[Point], inside: Point, colour: Rgb) -> None:
        """Add a convex polygon of a part that contains the point `inside`."""
        p = np.array(corners, float)
        normal = np.cross(p[1] - p[0], p[2] - p[0])
        normal /= np.linalg.norm(normal)
        if normal @ (p[0] - np.array(inside)) < 0:
            normal = -normal
        first = len(self.points)
        self.points += corners
        numbers = list(range(first, first + len(corners)))
        self.faces.append(numbers + [numbers[-1]] * (8 - len(numbers)))
        self.normals.append(normal)
        self.colours.append(colour)
        self.parts.setdefault(part, []).append(len(self.faces) - 1)

    def slab(self, part: str, outline: list[tuple[float, float]], half: float, colours: list[Rgb], side: Rgb) -> None:
        """An outline in the (forward, up) plane, drawn out to both sides, with one colour for each of its edges."""
        middle_x = sum(x for x, _ in outline) / len(outline)
        middle_z = sum(z for _, z in outline) / len(outline)
        inside = (middle_x, 0.0, middle_z)
        for (x0, z0), (x1, z1), colour in zip(outline, outline[1:] + outline[:1], colours, strict=True):
            self.face(part, [(x0, -half, z0), (x0, half, z0), (x1, half, z1), (x1, -half, z1)], inside, colour)
        for y in (-half, half):
            self.face(part, [(x, y, z) for x, z in outline], inside, side)

    def wheel(self, part: str, x: float, z: float, radius: float, *, inner: float, outer: float) -> None:
        inside = (x, (inner + outer) / 2, z)
        angles = [(k + 0.5) * math.pi / 4 for k in range(8)]
        rim = [(x + radius * math.cos(a), z + radius * math.sin(a)) for a in angles]
        for (x0, z0), (x1, z1) in zip(rim, rim[1:] + rim[:1], strict=True):
            self.face(part, [(x0, inner, z0), (x0, outer, z0), (x1, outer, z1), (x1, inner, z1)], inside, TYRE)
        for y in (inner, outer):
            self.face(part, [(px, y, pz) for px, pz in rim], inside, TYRE)
        hub = [(x + 0.55 * (px - x), outer, z + 0.55 * (pz - z)) for px, pz in rim]
        self.face(part, hub, inside, HUB)

    def shape(self) -> CarShape:
        vertices = np.array(self.points, float)
        faces = np.array(self.faces)
        normals = np.array(self.normals)
        return CarShape(
            vertices=vertices,
            faces=faces,
            normals=normals,
            offsets=(normals * vertices[faces[:, 0]]).sum(1),
            colours=np.array(self.colours, float),
            parts={name: np.array(numbers) for name, numbers in self.parts.items()},
        )


def car_shape(team: int) -> CarShape:
    """A car with bonnet, cabin, spoiler and wheels, the size of the Octane's hitbox, about its centre of mass."""
    paint, trim = PAINT[team], TRIM[team]
    build = _CarBuilder()
    tail, nose = REAR_X, 76.0
    outline = [(tail, -8.0), (tail, 21.0), (32.0, 21.0), (nose, 8.0), (nose, -8.0)]
    build.slab(_BODY, outline, WAIST_Y, [trim, paint, paint, trim, BELLY], trim)
    middle = (0.0, 0.0, 5.0)
    for y0, y1 in ((-30.0, -16.0), (16.0, 30.0)):
        build.face(_BODY, [(tail, y0, 8), (tail, y1, 8), (tail, y1, 17), (tail, y0, 17)], middle, TAIL_LIGHT)
        build.face(_BODY, [(nose, y0, 0), (nose, y1, 0), (nose, y1, 7), (nose, y0, 7)], middle, HEAD_LIGHT)
    build.face(_BODY, [(tail, -10, -2), (tail, 10, -2), (tail, 10, 12), (tail, -10, 12)], middle, TYRE)
    stripe = [(32.0, -8.0, 21.0), (32.0, 8.0, 21.0), (nose, 8.0, 8.0), (nose, -8.0, 8.0)]
    build.face(_BODY, stripe, middle, WHITE)

    base = [(-38.0, -30.0, DECK_Z), (34.0, -30.0, DECK_Z), (34.0, 30.0, DECK_Z), (-38.0, 30.0, DECK_Z)]
    roof = [(-28.0, -23.0, 41.0), (8.0, -23.0, 41.0), (8.0, 23.0, 41.0), (-28.0, 23.0, 41.0)]
    inside = (0.0, 0.0, 30.0)
    build.face(_CABIN, roof, inside, paint)
    for i, colour in enumerate((GLASS, WINDSCREEN, GLASS, GLASS)):
        j = (i + 1) % 4
        build.face(_CABIN, [base[i], base[j], roof[j], roof[i]], inside, colour)
    build.face(_CABIN, [(-28, -7, 41), (8, -7, 41), (8, 7, 41), (-28, 7, 41)], inside, WHITE)

    wing = [(-58.0, 36.0), (-58.0, 40.0), (-42.0, 40.0), (-42.0, 36.0)]
    build.slab(_SPOILER, wing, 36.0, [trim, paint, trim, trim], trim)

    for side in (-1, 1):
        for name, x, z, radius in (("front", 51.0, -4.0, 13.0), ("rear", -34.0, -2.0, 15.0)):
            build.wheel(f"{_WHEEL} {name} {side}", x, z, radius, inner=side * WAIST_Y, outer=side * 43.0)
    return build.shape()


def _part_order(eye: Vec) -> list[str]:
    """Names of a car's parts from far to near, for an eye in the body's coordinates."""
    x, y, z = eye.tolist()
    along = ("rear", "front") if x > 8 else ("front", "rear")
    wheels = {side: [f"{_WHEEL} {name} {side}" for name in along] for side in (-1, 1)}
    hidden = [side for side in (-1, 1) if side * y < WAIST_Y]
    shown = [side for side in (-1, 1) if side * y >= WAIST_Y]
    low = [w for side in hidden for w in wheels[side]] + [_BODY] + [w for side in shown for w in wheels[side]]
    high = [_CABIN, _SPOILER] if x < -40 else [_SPOILER, _CABIN]
    return low + high if z > DECK_Z else high + low


def _shade(normals: Vec) -> Vec:
    """Brightness of faces by their world normals, (N, 3) → (N, 1): light from above, the same from left and right."""
    light: Vec = 0.74 + 0.26 * normals[:, 2:] + 0.06 * np.abs(normals[:, :1])
    return light


def draw_car(brush: Brush, lens: Lens, shape: CarShape, car: CarState, tick: int) -> None:
    """Draw a car with its flame and, at top speed, the trails behind its wheels."""
    body = car.body
    eye = body.rotation @ (lens.eye - body.position)
    behind = eye[0] < REAR_X
    if not behind:
        _draw_exhaust(brush, lens, car, tick, eye)
    front = shape.normals @ eye > shape.offsets
    to_camera = body.rotation @ lens.rotation.T
    camera = shape.vertices @ to_camera + lens.to_camera(body.position)
    order = np.concatenate([shape.parts[name] for name in _part_order(eye)])
    order = order[front[order]]
    light = _shade(shape.normals[order] @ body.rotation)
    colours = np.minimum(255.0, shape.colours[order] * light).tolist()
    if camera[:, 2].min() > 2 * 8.0:
        fixed = lens.to_fixed(camera)[shape.faces[order]]
        for polygon, (b, g, r) in zip(fixed, colours, strict=True):
            brush.fill(polygon, (b, g, r, 255.0))
    else:
        for numbers, (b, g, r) in zip(shape.faces[order].tolist(), colours, strict=True):
            brush.fill_camera(lens, camera[numbers], (b, g, r, 255.0))
    if behind:
        _draw_exhaust(brush, lens, car, tick, eye)


_NOZZLE: Final = (REAR_X, 0.0, 5.0)


def _draw_exhaust(brush: Brush, lens: Lens, car: CarState, tick: int, eye: Vec) -> None:
    body = car.body
    if car.supersonic:
        speed = float(np.linalg.norm(body.velocity))
        back = -body.velocity * (150.0 / max(speed, 1.0))
        for y in (-38.0, 38.0):
            a = body.position + np.array([REAR_X, y - 4, -4.0]) @ body.rotation
            b = body.position + np.array([REAR_X, y + 4, -4.0]) @ body.rotation
            brush.fill_camera(lens, lens.to_camera(np.array([a, b, (a + b) / 2 + back])), TRAIL)
    if not car.boosting:
        return
    # The flame flickers with simulated time, so that the picture of a tick is always the same.
    length = (78.0, 96.0, 86.0, 104.0)[tick // 4 % 4]
    for radius, reach, colour in ((13.0, length, FLAME), (7.0, 0.6 * length, FLAME_CORE)):
        tip = np.array([REAR_X - reach, 0.0, _NOZZLE[2]])
        bulge = np.array(_NOZZLE) - (0.3 * reach, 0.0, 0.0)
        # The outline of a spindle around the exhaust axis, as wide as it looks from the eye.
        axis_to_eye = eye - bulge
        across = np.array([0.0, -axis_to_eye[2], axis_to_eye[1]])
        across *= radius / max(float(np.linalg.norm(across)), 1e-6)
        outline = np.array([np.array(_NOZZLE) + 0.7 * across, bulge + across, tip, bulge - across])
        outline = np.vstack([outline, np.array(_NOZZLE) - 0.7 * across])
        world = outline @ body.rotation + body.position
        brush.fill_camera(lens, lens.to_camera(world), colour)
        if axis_to_eye[1] ** 2 + axis_to_eye[2] ** 2 < (0.6 * reach) ** 2:
            # Seen along its axis a spindle's outline is a disc.
            angle = np.arange(10) * (math.pi / 5)
            disc = np.column_stack([np.zeros(10), radius * np.cos(angle), radius * np.sin(angle)]) + bulge
            brush.fill_camera(lens, lens.to_camera(disc @ body.rotation + body.position), colour)


@functools.cache
def ball_patches() -> Vec:
    """(12, 5, 3) unit vectors: pentagons about an icosahedron's corners, as on a football."""
    golden = (1 + math.sqrt(5)) / 2
    centres = []
    for a in (-1.0, 1.0):
        for b in (-golden, golden):
            centres += [(0.0, a, b), (a, b, 0.0), (b, 0.0, a)]
    corners = np.array(centres) / math.hypot(1, golden)
    patches = []
    for centre in corners:
        near = corners[np.argsort(-(corners @ centre), kind="stable")[1:6]]
        # Between the centre and its five neighbours, in order around it.
        u = near[0] - centre * (near[0] @ centre)
        u /= np.linalg.norm(u)
        v = np.cross(centre, u)
        angle = np.arctan2(near @ v, near @ u)
        points = centre + 0.36 * (near[np.argsort(angle, kind="stable")] - centre)
        patches.append(points / np.linalg.norm(points, axis=1, keepdims=True))
    return np.array(patches)


BALL_SHADE: Final[Colour] = (128, 126, 124, 255)
BALL_MIDDLE: Final[Colour] = (190, 190, 188, 255)
BALL_LIT: Final[Colour] = (238, 240, 240, 255)
PATCH: Final = (84.0, 58.0, 52.0)
_POINTS: Final = 28
_CIRCLE: Final = np.arange(_POINTS) * (2 * math.pi / _POINTS)
_COS: Final = np.cos(_CIRCLE)[:, None]
_SIN: Final = np.sin(_CIRCLE)[:, None]


def _perpendicular(axis: Vec) -> tuple[Vec, Vec]:
    """Two unit vectors that make a right-angled frame with the unit vector `axis`."""
    ax, ay, az = axis.tolist()
    if abs(ax) < 0.8:
        n = math.hypot(ay, az)
        u = np.array([0.0, az / n, -ay / n])
    else:
        n = math.hypot(ax, ay)
        u = np.array([ay / n, -ax / n, 0.0])
    ux, uy, uz = u.tolist()
    return u, np.array([ay * uz - az * uy, az * ux - ax * uz, ax * uy - ay * ux])


def draw_ball(brush: Brush, lens: Lens, ball: Body, paint: Paint = PLAIN) -> None:
    """Draw the ball: its exact outline, two steps of light from above, and the patches that show how it turns.

    An eye inside the ball sees through it.
    """
    centre = lens.to_camera(ball.position)
    distance = math.sqrt(float(centre @ centre))
    if distance <= BALL_RADIUS_UU * 1.01 or centre[2] < -BALL_RADIUS_UU:
        return
    towards = centre / -distance
    edge = BALL_RADIUS_UU / distance
    rim = math.sqrt(1 - edge * edge)
    up = lens.rotation[:, 2]
    u, v = _perpendicular(towards)
    rings = [towards * edge + rim * (_COS * u + _SIN * v)]
    colours = [BALL_SHADE]
    u, v = _perpendicular(up)
    around = _COS * u + _SIN * v
    for angle, colour in ((1.45, BALL_MIDDLE), (0.95, BALL_LIT)):
        cap = math.cos(angle) * up + math.sin(angle) * around
        if (cap @ towards).max() > edge:
            rings.append(cap)
            colours.append(colour)
    patches = ball_patches() @ (ball.rotation @ lens.rotation.T)
    patches = patches[(patches @ towards).max(1) > edge]
    for height in (patches.mean(1) @ up).tolist():
        b, g, r = (c * (0.95 + 0.35 * height) for c in PATCH)
        colours.append((b, g, r, 255.0))
    colours = [paint.colour(colour) for colour in colours]
    sizes = [_POINTS] * len(rings) + [patches.shape[1]] * len(patches)
    directions = np.concatenate([*rings, patches.reshape(-1, 3)])
    # What lies behind the ball's horizon is moved onto it.
    height = directions @ towards
    flat = directions - height[:, None] * towards
    flat *= rim / np.maximum(np.sqrt((flat * flat).sum(1, keepdims=True)), 1e-9)
    seen = np.where((height < edge)[:, None], towards * edge + flat, directions)
    brush.fill_runs(lens, centre + BALL_RADIUS_UU * seen, sizes, colours)
