"""From points in the world to points on the picture: projection, clipping at the near plane, filling of polygons."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from rl_utils.arena.camera import View
from rl_utils.arena.snapshot import Vec

NEAR_UU: Final = 8.0
"""What is closer to the eye's plane is cut off."""
SHIFT: Final = 4
"""OpenCV takes coordinates in 1/16 px."""
FAR_PX: Final = 1e6
"""Coordinates beyond are pulled in, so that they fit OpenCV's integers."""

Colour = tuple[float, float, float, float]
"""Blue, green, red (0 to 255) and an unused fourth value."""
Pixels = NDArray[np.uint8]
"""(H, W, 4) uint8 BGRX."""
Polygon = NDArray[np.int32]
"""(K, 2) corners in 1/16 px."""


@dataclass(frozen=True, slots=True)
class Lens:
    """A view on a picture of a certain size.

    Attributes:
        eye: (3,) uu.
        rotation: (3, 3) rows right, down, forward.
        offset: (3,): a point p is at `rotation @ p + offset` in camera coordinates.
        focal_px: Distance of the picture plane.
        width: Picture, px.
        height: Picture, px.
    """

    eye: Vec
    rotation: Vec
    offset: Vec
    focal_px: float
    width: int
    height: int

    def to_camera(self, points: Vec) -> Vec:
        """(..., 3) world uu → (..., 3) uu to the right, down and ahead of the eye."""
        return points @ self.rotation.T + self.offset

    def to_picture(self, camera: Vec) -> Vec:
        """(..., 3) camera uu, ahead of the near plane → (..., 2) px."""
        scale = self.focal_px / camera[..., 2:]
        flat: Vec = camera[..., :2] * scale
        flat[..., 0] += self.width / 2
        flat[..., 1] += self.height / 2
        return flat

    def to_fixed(self, camera: Vec) -> Polygon:
        """As `to_picture`, in OpenCV's 1/16 px."""
        flat = self.to_picture(camera)
        # OpenCV's pixel centres are at whole numbers, ours half a pixel further.
        flat -= 0.5
        np.minimum(np.maximum(flat, -FAR_PX, out=flat), FAR_PX, out=flat)
        flat *= 1 << SHIFT
        return np.rint(flat).astype(np.int32)

    def project(self, polygons: Vec) -> list[Polygon | None]:
        """Bring convex polygons onto the picture, cut at the near plane where they cross it.

        Args:
            polygons: (N, K, 3) world uu.

        Returns:
            N polygons in 1/16 px, None for those outside the picture.
        """
        n, k = polygons.shape[:2]
        # Corners first, polygons last: numpy then works on long rows, which halves the time.
        points = polygons.transpose(2, 1, 0).reshape(3, k * n)
        camera = (self.rotation @ points + self.offset[:, None]).reshape(3, k, n)
        depth = camera[2]
        nearest, farthest = depth.min(0), depth.max(0)
        scale = self.focal_px / np.maximum(depth, NEAR_UU)
        flat = camera[:2] * scale
        lowest, highest = flat.min(1), flat.max(1)
        half_w, half_h = self.width / 2 + 1, self.height / 2 + 1
        inside = (lowest[0] < half_w) & (highest[0] > -half_w) & (lowest[1] < half_h) & (highest[1] > -half_h)
        flat[0] += self.width / 2 - 0.5
        flat[1] += self.height / 2 - 0.5
        np.clip(flat, -FAR_PX, FAR_PX, out=flat)
        flat *= 1 << SHIFT
        np.rint(flat, out=flat)
        fixed = np.ascontiguousarray(flat.transpose(2, 1, 0), np.int32)
        found: list[Polygon | None] = [None] * n
        for i in np.flatnonzero(inside & (nearest > NEAR_UU)).tolist():
            found[i] = fixed[i]
        for i in np.flatnonzero((nearest <= NEAR_UU) & (farthest > NEAR_UU)).tolist():
            found[i] = self.to_fixed(clip_near(camera[:, :, i].T))
        return found


def lens_for(view: View, width: int, height: int) -> Lens:
    """The view on a picture; pictures wider than 16:9 see more at the sides, narrower ones more above and below."""
    focal = min(width, height * 16 / 9) / 2 / math.tan(math.radians(view.fov_deg) / 2)
    return Lens(view.eye, view.rotation, -(view.rotation @ view.eye), focal, width, height)


def clip_near(corners: Vec) -> Vec:
    """Cut a convex polygon at the near plane. (K, 3) camera uu → (M, 3), M = 0 when nothing is left."""
    kept: list[list[float]] = []
    points = corners.tolist()
    last = points[-1]
    for point in points:
        if (last[2] > NEAR_UU) != (point[2] > NEAR_UU):
            t = (NEAR_UU - last[2]) / (point[2] - last[2])
            kept.append([last[0] + (point[0] - last[0]) * t, last[1] + (point[1] - last[1]) * t, NEAR_UU])
        if point[2] > NEAR_UU:
            kept.append(point)
        last = point
    return np.array(kept).reshape(-1, 3)


class Brush:
    """Fills polygons on one picture.

    Args:
        image: (H, W, 4) uint8 BGRX, written in place.
        antialias: Smooth edges.
    """

    def __init__(self, image: Pixels, *, antialias: bool) -> None:
        self.image = image
        self.line_type = cv2.LINE_AA if antialias else cv2.LINE_8

    def fill(self, polygon: Polygon, colour: Colour) -> None:
        """Fill one convex polygon."""
        cv2.fillConvexPoly(self.image, polygon, colour, self.line_type, SHIFT)

    def fill_camera(self, lens: Lens, corners: Vec, colour: Colour) -> None:
        """Fill one convex polygon given in camera coordinates, (K, 3), cut at the near plane where it crosses it."""
        if corners[:, 2].min() <= NEAR_UU:
            corners = clip_near(corners)
            if len(corners) < 3:
                return
        self.fill(lens.to_fixed(corners), colour)

    def fill_runs(self, lens: Lens, corners: Vec, sizes: list[int], colours: list[Colour]) -> None:
        """Fill convex polygons whose corners follow one another in camera coordinates, (sum of sizes, 3)."""
        whole = corners[:, 2].min() > NEAR_UU
        fixed = lens.to_fixed(corners) if whole else None
        first = 0
        for size, colour in zip(sizes, colours, strict=True):
            if fixed is not None:
                self.fill(fixed[first : first + size], colour)
            else:
                self.fill_camera(lens, corners[first : first + size], colour)
            first += size

    def fill_all(self, polygons: list[Polygon | None], colours: list[Colour] | Colour) -> None:
        """Fill what `Lens.project` returned, in order; one colour for each or one for all."""
        for i, polygon in enumerate(polygons):
            if polygon is not None:
                self.fill(polygon, colours[i] if isinstance(colours, list) else colours)

    def lines(self, lens: Lens, segments: Vec, colour: Colour, thickness: int = 1) -> None:
        """Draw line segments. (N, 2, 3) world uu."""
        camera = lens.to_camera(segments)
        z = camera[..., 2]
        camera = camera[(z > NEAR_UU).any(1)]
        if not len(camera):
            return
        z0, z1 = camera[:, 0, 2], camera[:, 1, 2]
        span = np.where(z0 == z1, 1.0, z1 - z0)
        cut = camera[:, 0] + (camera[:, 1] - camera[:, 0]) * ((NEAR_UU - z0) / span)[:, None]
        cut[:, 2] = NEAR_UU
        for end in (0, 1):
            behind = np.flatnonzero(camera[:, end, 2] <= NEAR_UU)
            camera[behind, end] = cut[behind]
        fixed = lens.to_fixed(camera)
        cv2.polylines(self.image, list(fixed), False, colour, thickness, self.line_type, SHIFT)
