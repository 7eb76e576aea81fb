"""Where the arena is seen from: ball camera and car camera, level, smooth, and the same for the same play.

The camera hangs behind the car as in the game (270 uu back, 100 uu up, 110° wide), and further back the faster the car
is: what a player feels as speed. It may leave the arena through a wall, which is then not drawn, so that the car's
heading stays visible where play is hardest; only the ground stops it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from rl_utils.arena.field import CAR_MAX_SPEED_UU_S
from rl_utils.arena.snapshot import CAMERA_HZ, Snapshot, Vec

CameraMode = Literal["ball", "car"]

FOV_DEG: Final = 110.0
DISTANCE_UU: Final = 270.0
HEIGHT_UU: Final = 100.0
STIFFNESS: Final = 0.45
"""Source: the ranges that professional players publish (FOV 110, distance 260-280, height 90-110, stiffness
0.4-0.5)."""
MOST_PULL_UU: Final = 200.0
"""How far the fastest car leaves a camera of no stiffness behind, beyond its distance. An estimate: the game shows that
the camera falls back with speed, and by how much has not been published."""
PULL_TIME_S: Final = 0.12
LOWEST_UU: Final = 40.0
"""The ground is the only thing that stops the camera."""

TAN_CAR_BELOW_CENTRE: Final = 0.48
"""Tangent of the steepest angle at which the car may appear below the picture's centre: 0.8 of the way down a 16:9
picture, above the boost gauge."""
MAX_ORBIT: Final = math.radians(72)
MAX_DIVE: Final = math.radians(-55)
NEAR_BALL_UU: Final = 260.0
"""Closer than this (horizontally) the ball's direction says little, and less the closer it is."""
TELEPORT_UU: Final = 400.0
"""No car moves this far between two camera steps."""

YAW_TIME_S: Final = 0.05
PITCH_TIME_S: Final = 0.09
OVERHEAD_TIME_S: Final = 0.6
SWITCH_S: Final = 0.4
MAX_YAW_RATE: Final = 9.0


@dataclass(frozen=True, slots=True)
class View:
    """A camera without lens errors.

    Attributes:
        eye: (3,) uu.
        rotation: (3, 3), rows are the picture's right, its down, and the direction of sight, in world coordinates.
        fov_deg: Horizontal field of view of a 16:9 picture.
    """

    eye: Vec
    rotation: Vec
    fov_deg: float = FOV_DEG


def level_view(eye: tuple[float, float, float], yaw: float, pitch: float, fov_deg: float = FOV_DEG) -> View:
    """A view without roll. The world is left-handed: looking along +x, screen right is +y.

    Args:
        eye: Position in uu.
        yaw: Radians, 0 looks along +x and π/2 along +y.
        pitch: Radians, upwards.
        fov_deg: Horizontal field of view of a 16:9 picture.
    """
    cy, sy, cp, sp = math.cos(yaw), math.sin(yaw), math.cos(pitch), math.sin(pitch)
    rotation = np.array([[-sy, cy, 0.0], [cy * sp, sy * sp, -cp], [cy * cp, sy * cp, sp]])
    return View(np.array(eye), rotation, fov_deg)


class Camera:
    """Follows the player's car (the snapshot's first). Call `update` once per 1/60 s of simulated time.

    Args:
        mode: "ball" keeps the ball in view, "car" looks where the car goes.
    """

    def __init__(self, mode: CameraMode = "ball") -> None:
        self.mode: CameraMode = mode
        self._mix = 0.0 if mode == "ball" else 1.0
        self._yaw = 0.0
        self._pitch = 0.0
        self._heading = 0.0
        self._pull = 0.0
        self._car: tuple[float, float, float] | None = None
        self._episode: int | None = None

    def toggle(self) -> None:
        """Change between ball camera and car camera, in one smooth move."""
        self.mode = "car" if self.mode == "ball" else "ball"

    def reset(self, snapshot: Snapshot) -> None:
        """Go to the right place at once, as after a new start."""
        self._mix = 0.0 if self.mode == "ball" else 1.0
        self._heading = _initial_heading(snapshot)
        self._yaw = self._heading
        self._car = _position(snapshot)
        self._episode = snapshot.episode
        self._pull = _pull(snapshot)
        self._yaw, self._pitch, _ = self._wanted(snapshot)

    def update(self, snapshot: Snapshot) -> None:
        """Move one step (1/60 s) on. A new episode or a car that jumped elsewhere resets the camera."""
        car = _position(snapshot)
        if self._car is None or snapshot.episode != self._episode or math.dist(car, self._car) > TELEPORT_UU:
            self.reset(snapshot)
            return
        self._car = car
        step = 1.0 / (CAMERA_HZ * SWITCH_S)
        self._mix = max(0.0, self._mix - step) if self.mode == "ball" else min(1.0, self._mix + step)
        yaw, pitch, time_s = self._wanted(snapshot)
        turn = _wrap(yaw - self._yaw) * -math.expm1(-1.0 / (CAMERA_HZ * time_s))
        limit = MAX_YAW_RATE / CAMERA_HZ
        self._yaw = _wrap(self._yaw + min(limit, max(-limit, turn)))
        self._pitch += (pitch - self._pitch) * -math.expm1(-1.0 / (CAMERA_HZ * PITCH_TIME_S))
        self._pull += (_pull(snapshot) - self._pull) * -math.expm1(-1.0 / (CAMERA_HZ * PULL_TIME_S))

    def view(self) -> View:
        """The view at the last `update` or `reset`.

        The eye circles the point above the car, so that the car stays where it is on the picture; where the ground
        stops the eye, the sight is turned no further up than the car allows.
        """
        assert self._car is not None, "reset or update comes first"
        x, y, z = self._car
        pivot, distance = z + HEIGHT_UU, DISTANCE_UU + self._pull
        orbit = min(self._pitch, math.asin(min(1.0, max(0.0, (pivot - LOWEST_UU) / distance))))
        back = distance * math.cos(orbit)
        eye_z = max(LOWEST_UU, pivot - distance * math.sin(orbit))
        eye = (x - back * math.cos(self._yaw), y - back * math.sin(self._yaw), eye_z)
        highest = math.atan2(z - eye_z, back) + math.atan(TAN_CAR_BELOW_CENTRE)
        return level_view(eye, self._yaw, min(self._pitch, highest))

    def _wanted(self, snapshot: Snapshot) -> tuple[float, float, float]:
        """Yaw, pitch and the time constant of turning, for the present mix of the two cameras."""
        ball_yaw, ball_pitch, ball_time = self._towards_ball(snapshot)
        self._heading = _heading(snapshot, self._heading)
        if self._mix == 0.0:
            return ball_yaw, ball_pitch, ball_time
        mix = self._mix * self._mix * (3.0 - 2.0 * self._mix)
        yaw = ball_yaw + mix * _wrap(self._heading - ball_yaw)
        pitch = ball_pitch + mix * (_car_pitch(snapshot) - ball_pitch)
        return yaw, pitch, ball_time + mix * (YAW_TIME_S - ball_time)

    def _towards_ball(self, snapshot: Snapshot) -> tuple[float, float, float]:
        x, y, z = _position(snapshot)
        ball_x, ball_y, ball_z = snapshot.ball.position.tolist()
        dx, dy, dz = ball_x - x, ball_y - y, ball_z - (z + HEIGHT_UU)
        flat = math.hypot(dx, dy)
        yaw = math.atan2(dy, dx) if flat > 1.0 else self._yaw
        # Straight above or below, the direction turns wildly with every inch: follow it slowly there.
        overhead = max(0.0, 1.0 - flat / NEAR_BALL_UU) * min(1.0, abs(ball_z - z) / 300.0)
        pitch = math.atan2(dz, max(flat, 1.0))
        return yaw, min(MAX_ORBIT, max(MAX_DIVE, pitch)), YAW_TIME_S + OVERHEAD_TIME_S * overhead


def _position(snapshot: Snapshot) -> tuple[float, float, float]:
    x, y, z = snapshot.cars[0].body.position.tolist()
    return x, y, z


def _pull(snapshot: Snapshot) -> float:
    """How far behind its place a car of this speed leaves the camera, uu."""
    speed = math.hypot(*snapshot.cars[0].body.velocity.tolist())
    return (1.0 - STIFFNESS) * MOST_PULL_UU * min(1.0, speed / CAR_MAX_SPEED_UU_S)


def _initial_heading(snapshot: Snapshot) -> float:
    """The car's own direction; up or down a wall it is the way the car came, else blue's way of attack."""
    attack = math.pi / 2 if snapshot.cars[0].team == 0 else -math.pi / 2
    rotation = snapshot.cars[0].body.rotation
    for x, y in (rotation[0, :2].tolist(), (-rotation[2, :2] * math.copysign(1.0, rotation[0, 2])).tolist()):
        if math.hypot(x, y) > 0.3:
            return math.atan2(y, x)
    return attack


def _heading(snapshot: Snapshot, previous: float) -> float:
    """Where the car camera looks: along the car on the ground, along its path in the air; unchanged where unclear."""
    car = snapshot.cars[0]
    vx, vy = car.body.velocity[:2].tolist()
    if not car.on_ground and math.hypot(vx, vy) > 300.0:
        return math.atan2(vy, vx)
    fx, fy = car.body.rotation[0, :2].tolist()
    return math.atan2(fy, fx) if math.hypot(fx, fy) > 0.35 else previous


def _car_pitch(snapshot: Snapshot) -> float:
    """The car camera looks a little down, and up a wall that the car climbs."""
    car = snapshot.cars[0]
    climb = math.asin(min(1.0, max(-1.0, float(car.body.rotation[0, 2])))) if car.on_ground else 0.0
    return math.radians(-4.0) + 0.6 * climb


def _wrap(angle: float) -> float:
    """The same angle in [-π, π)."""
    return (angle + math.pi) % (2 * math.pi) - math.pi
