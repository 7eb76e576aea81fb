"""The walls of the pitch as triangles, made from its published dimensions: no file of the game is needed.

RocketSim itself has the floor, the ceiling and the side walls as infinite planes; the triangles supply what is curved
or has a hole: ramps to floor and ceiling, corners, back walls with goal mouths, and the goals. They are split into ten
regions, because RocketSim's first step takes 0.3 s with one big mesh and 8 ms with ten small ones (measured 2026).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rl_utils.arena import field

FILLET_UU = 512.0
"""Radius of the rounded vertical edges between walls. The bounce agrees best with the game's walls from 512 to 768."""
FILLET_STEPS = 6
RAMP_STEPS = 8
SEGMENT_UU = 512.0
"""Longest edge of a triangle along a straight wall."""
POST_TAPER_UU = 256.0
"""Beside each goal post the floor ramp shrinks to nothing over this length, so that the goal mouth is level."""
NET_FILLET_UU = 160.0
"""Radius of the goal's inner edges: with sharp ones, a car that drives into the net stays there on its nose."""
NET_STEPS = 6
NET_SLICES = 6

UU_PER_MESH_UNIT = 50.0
"""Source: RocketSim's CollisionMeshFile.cpp."""

Points = NDArray[np.float64]


def build_meshes() -> dict[str, bytes]:
    """Make the collision meshes.

    Returns:
        Region name → contents of its .cmf file: int32 triangle count, int32 vertex count, (triangles, 3) int32 vertex
        indices, (vertices, 3) float32 positions in mesh units; all little endian. Always the same bytes.
    """
    triangles = np.concatenate([_wall_triangles(), _goal_triangles()])
    regions = [_region(*centre) for centre in triangles.mean(axis=1)]
    names = np.array(regions)
    return {name: _encode(triangles[names == name]) for name in sorted(set(regions))}


def wall_outline() -> tuple[Points, Points, NDArray[np.int64]]:
    """The pitch from above: a rounded octagon, once around.

    Returns:
        (N, 2) corners of the polygon in uu, (N, 2) outward unit normals there, and (N,) the wall that a corner lies on:
        0 and 4 side walls, 2 and 6 back walls, odd numbers diagonals, -1 within the rounded edges.
    """
    positions: list[Points] = []
    normals: list[Points] = []
    walls: list[int] = []
    cut = FILLET_UU * math.tan(math.pi / 8)
    for wall in range(8):
        out = _direction(wall)
        along = np.array([-out[1], out[0]])
        begin, end = _vertex(wall - 1) + cut * along, _vertex(wall) - cut * along
        for offset in _wall_stops(wall, float(begin @ along), float(end @ along)):
            positions.append(begin + (offset - begin @ along) * along)
            normals.append(out)
            walls.append(wall)
        centre = end - FILLET_UU * out
        for step in range(1, FILLET_STEPS):
            out = _direction(wall + step / FILLET_STEPS)
            positions.append(centre + FILLET_UU * out)
            normals.append(out)
            walls.append(-1)
    return np.array(positions), np.array(normals), np.array(walls)


def _direction(eighths: float) -> Points:
    return np.array([math.cos(eighths * math.pi / 4), math.sin(eighths * math.pi / 4)])


def _vertex(wall: int) -> Points:
    """Where the planes of `wall` and the next one meet."""
    distances = (field.SIDE_WALL_X_UU, field.CORNER_SUM_UU / math.sqrt(2), field.BACK_WALL_Y_UU)
    distance = [distances[min(w % 4, 4 - w % 4)] for w in (wall, wall + 1)]
    return np.linalg.solve(np.array([_direction(wall), _direction(wall + 1)]), np.array(distance))


def _wall_stops(wall: int, begin: float, end: float) -> list[float]:
    """Positions along a wall's straight part where the outline has a corner."""
    if wall not in (2, 6):
        return _divide(begin, end, SEGMENT_UU)
    post, taper = field.GOAL_HALF_WIDTH_UU, field.GOAL_HALF_WIDTH_UU + POST_TAPER_UU
    stops = [begin]
    for a, b, longest in (
        (begin, -taper, SEGMENT_UU),
        (-taper, -post, POST_TAPER_UU / 2.9),  # 2.9: three pieces
        (-post, post, SEGMENT_UU),
        (post, taper, POST_TAPER_UU / 2.9),
        (taper, end, SEGMENT_UU),
    ):
        stops += _divide(a, b, longest)[1:]
    return stops


def _divide(begin: float, end: float, longest: float) -> list[float]:
    return [float(x) for x in np.linspace(begin, end, math.ceil((end - begin) / longest) + 1)]


def _wall_profile() -> tuple[Points, Points]:
    """Heights of the wall's rows from floor to ceiling, and how far each stands inside the vertical plane."""
    angles = np.linspace(0, math.pi / 2, RAMP_STEPS + 1)
    ramp_z, ramp_inset = field.RAMP_UU * (1 - np.cos(angles)), field.RAMP_UU * (1 - np.sin(angles))
    top = field.CEILING_Z_UU - field.RAMP_UU
    middle = np.array(_divide(field.GOAL_HEIGHT_UU, top, SEGMENT_UU)[:-1])
    heights = np.concatenate([ramp_z, middle, field.CEILING_Z_UU - ramp_z[::-1]])
    return heights, np.concatenate([ramp_inset, np.zeros(len(middle)), ramp_inset[::-1]])


def _wall_triangles() -> Points:
    """(T, 3, 3) uu: ramps, corners and back walls, facing inwards."""
    outline, normals, walls = wall_outline()
    heights, insets = _wall_profile()
    nodes, rows = len(outline), len(heights)

    # Rows up to the ramp's end sink to the floor at the goal posts.
    on_back_wall = np.isin(walls, (2, 6))
    beside_post = np.clip((np.abs(outline[:, 0]) - field.GOAL_HALF_WIDTH_UU) / POST_TAPER_UU, 0, 1)
    scale = np.ones((nodes, rows))
    scale[:, : RAMP_STEPS + 1] = np.where(on_back_wall, np.sin(math.pi / 2 * beside_post), 1.0)[:, None]

    grid = np.empty((nodes, rows, 3))
    grid[:, :, :2] = outline[:, None] - normals[:, None] * (insets * scale)[:, :, None]
    grid[:, :, 2] = heights * scale

    quads, inwards = [], []
    for node in range(nodes):
        after = (node + 1) % nodes
        same_wall = walls[node] == walls[after]
        side = same_wall and walls[node] in (0, 4)
        middle_x = (outline[node, 0] + outline[after, 0]) / 2
        mouth = same_wall and on_back_wall[node] and abs(middle_x) < field.GOAL_HALF_WIDTH_UU
        for row in range(rows - 1):
            if mouth and heights[row + 1] <= field.GOAL_HEIGHT_UU:
                continue
            if side and insets[row] == insets[row + 1] == 0:
                continue  # RocketSim's own plane is there
            quads.append((grid[node, row], grid[after, row], grid[after, row + 1], grid[node, row + 1]))
            # Inwards also means up on the floor's ramp and down on the ceiling's.
            inwards.append((*-(normals[node] + normals[after]), np.sign(insets[row] - insets[row + 1])))
    return _triangles(quads, inwards)


def _goal_triangles() -> Points:
    """(T, 3, 3) uu: both goals, facing inwards; the floor is RocketSim's plane."""
    angles = np.linspace(0, math.pi / 2, NET_STEPS + 1)
    reach, height, r = field.GOAL_DEPTH_UU - NET_FILLET_UU, field.GOAL_HEIGHT_UU, NET_FILLET_UU
    depth = np.concatenate([[0.0], reach + r * np.sin(angles), reach + r * np.cos(angles), [0.0]])
    z = np.concatenate([[0.0], r * (1 - np.cos(angles)), height - r + r * np.sin(angles), [height]])
    across = np.linspace(-field.GOAL_HALF_WIDTH_UU, field.GOAL_HALF_WIDTH_UU, NET_SLICES + 1)

    quads, inwards = [], []
    for end in (-1.0, 1.0):
        y = end * (field.BACK_WALL_Y_UU + depth)
        for i in range(1, len(depth) - 1):
            (y0, z0), (y1, z1) = (y[i], z[i]), (y[i + 1], z[i + 1])
            for left, right in pairwise(across):
                quads.append(((left, y0, z0), (right, y0, z0), (right, y1, z1), (left, y1, z1)))
                inwards.append((0.0, -end * (z1 - z0), depth[i + 1] - depth[i]))
        for x in (across[0], across[-1]):
            centre = (x, end * (field.BACK_WALL_Y_UU + field.GOAL_DEPTH_UU / 2), height / 2)
            rim = [(x, a, b) for a, b in zip(y, z, strict=True)]
            for a, b in pairwise([*rim, rim[0]]):
                quads.append((centre, a, b, centre))
                inwards.append((-x, 0.0, 0.0))
    return _triangles(quads, inwards)


def _triangles(quads: Sequence[Any], inwards: Sequence[Any]) -> Points:
    """Cut quads into triangles whose normals point inwards, leaving out those whose corners coincide.

    Args:
        quads: (Q, 4, 3) uu.
        inwards: (Q, 3) a direction that points into the pitch.

    Returns:
        (T, 3, 3) uu.
    """
    corners = np.array(quads, np.float64)
    triangles: Points = corners[:, ((0, 1, 2), (0, 2, 3))].reshape(-1, 3, 3)
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    faces_out = (normals * np.repeat(np.array(inwards), 2, axis=0)).sum(axis=1) < 0
    triangles[faces_out] = triangles[faces_out][:, (0, 2, 1)]
    whole: NDArray[np.bool_] = np.linalg.norm(normals, axis=1) > 1e-3
    return triangles[whole]


def _region(x: float, y: float, z: float) -> str:
    del z
    end, side = ("orange" if y > 0 else "blue"), ("left" if x > 0 else "right")
    if abs(y) > field.BACK_WALL_Y_UU + 1:
        return f"goal_{end}"
    if abs(x) < 2732 and abs(y) > 4800:
        return f"back_{end}"
    if abs(y) < 3756 and abs(x) > 3800:
        return f"side_{side}"
    return f"corner_{end}_{side}"


def _encode(triangles: Points) -> bytes:
    """(T, 3, 3) uu → a .cmf file, in which triangles share their corners."""
    corners = np.round(triangles.reshape(-1, 3), 3) + 0.0  # + 0.0 turns -0.0 into 0.0
    vertices, indices = np.unique(corners, axis=0, return_inverse=True)
    faces = indices.reshape(-1, 3)
    header = np.array([len(faces), len(vertices)], "<i4").tobytes()
    return header + faces.astype("<i4").tobytes() + (vertices / UU_PER_MESH_UNIT).astype("<f4").tobytes()
