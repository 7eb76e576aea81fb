"""The scripted driver: it meets the predicted ball on the line to the goal and flips into it.

Where the ball will be is predicted by the physics; the driver takes the first moment at which it can be there, aims at
a point behind the ball on the line to the goal (or around the ball when it is on the wrong side), chooses its speed by
distance and time, and dodges into the ball when close and aligned. In the air it rights itself; when it gets nowhere
it backs out. It keeps to a plan while that works, and blends from one way of approach into the next, because what it
does must be learnable: deciding afresh each time, it played as well, but its sticks jumped twice as much.
The constants come from searches over goals per minute (8 to 40 simulated minutes for each setting).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from rl_utils.arena import field
from rl_utils.arena.driver import Driver, Playground
from rl_utils.arena.mapping import CarControls, controls_to_inputs
from rl_utils.arena.snapshot import TICK_HZ, Body, CarState
from rl_utils.arena.world import DECISION_TICKS
from rl_utils.controls import REST, Control
from rl_utils.interfaces import InputVector

STEP_S: Final = DECISION_TICKS / TICK_HZ

PREDICTION_TICKS: Final = 6
PREDICTION_COUNT: Final = 120
PREDICTION_AGE: Final = 3
"""A prediction of 6 s in steps of 1/20 s is used for this many decisions."""
IN_A_SECOND: Final = 20
"""Steps of the prediction."""
HIGHEST_BALL_UU: Final = 150.0
"""Higher ones are waited for: it does not jump for the ball."""
MARGIN_S: Final = 0.05
"""It may be late by this much."""
KEEP_TICKS: Final = 18
"""A planned meeting is given up for one that is earlier by more than this,"""
KEEP_SHARE: Final = 1.1
"""or when it would take longer than the time left by more than this factor."""

SOFT_THROTTLE_UU_S: Final = 400.0
"""Full throttle from this much below the wanted speed."""
BOOST_FROM_UU_S: Final = 250.0
BOOST_UNTIL_UU_S: Final = 20.0
"""Boost starts when so much speed is missing and stops when so little is."""

STEER_GAIN: Final = 3.5
STEER_DAMPING: Final = 0.2
TURN_COST_S: Final = 0.476
"""Time lost per radian of turning, when estimating whether a place can be reached."""
BALL_SPEED_SHARE: Final = 1.2
"""How much of the ball's own velocity the hit has to cancel, against a hit of 2000 uu/s."""

ALIGNED: Final = 0.944
"""From this cosine on between the way to the ball and the line to the goal, it drives through the ball; below it aims
behind the ball, further and further aside as the cosine falls from BESIDE to WRONG_SIDE, where it goes around."""
BESIDE: Final = 0.3
WRONG_SIDE: Final = -0.3
AIM_THROUGH_UU: Final = 80.0
AIM_BEHIND_UU: Final = 110.0
AIM_BEHIND_MAX_UU: Final = 600.0
AIM_BEHIND_SHARE: Final = 0.3
AROUND_BACK_UU: Final = 784.0
AROUND_SIDE_UU: Final = 800.0

FLIP_TIME_S: Final = 0.219
FLIP_ANGLE: Final = 0.2
FLIP_ALIGNED: Final = 0.5
FULL_SPEED_UU: Final = 215.0
STUCK_SPEED_UU_S: Final = 120.0
STUCK_S: Final = 0.8
BACK_OUT_S: Final = 0.8

TURNING_CURVE: Final = (
    (0.0, 0.0069),
    (500.0, 0.00398),
    (1000.0, 0.00235),
    (1500.0, 0.001375),
    (1750.0, 0.0011),
    (2300.0, 0.00088),
)
"""Speed in uu/s → tightest curvature in 1/uu. Source: the RLBot wiki's "Useful game values"."""

Point = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class _Target:
    """Where to drive.

    Attributes:
        x: uu.
        y: uu.
        time_s: When to be there; None for as soon as possible.
        shot: Direction in which the ball should leave, (x, y) of length 1.
    """

    x: float
    y: float
    time_s: float | None
    shot: tuple[float, float]


class _Sight:
    """The car as plain numbers, and other things as it sees them."""

    def __init__(self, car: CarState) -> None:
        body: Body = car.body
        self.x, self.y, self.z = body.position.tolist()
        self.velocity: Point = tuple(body.velocity.tolist())
        self.forward, self.right, self.up = (tuple(row) for row in body.rotation.tolist())
        spin: Point = tuple(body.angular_velocity.tolist())
        self.roll_rate, self.pitch_rate, self.yaw_rate = (_dot(spin, a) for a in (self.forward, self.right, self.up))
        self.speed = math.sqrt(_dot(self.velocity, self.velocity))
        self.forward_speed = _dot(self.velocity, self.forward)
        self.boost = car.boost
        self.boosting = car.boosting
        self.on_ground = car.on_ground

    def local(self, x: float, y: float, z: float) -> Point:
        """How far ahead, to the right and above a place is."""
        way = (x - self.x, y - self.y, z - self.z)
        return _dot(way, self.forward), _dot(way, self.right), _dot(way, self.up)


class _Dodge:
    """Jump, let go, jump again with the stick held: a flip of about 0.7 s."""

    def __init__(self, pitch: float, yaw: float) -> None:
        self._pitch = pitch
        self._yaw = yaw
        self._time = 0.0

    def controls(self, on_ground: bool) -> CarControls | None:
        """What to do now, None when it is over."""
        time = self._time
        self._time += STEP_S
        if time < 0.06:
            return CarControls(throttle=1.0, jump=True)
        if time < 0.09:
            return CarControls(throttle=1.0)
        if time < 0.16:
            return CarControls(throttle=1.0, jump=True, pitch=self._pitch, yaw=self._yaw)
        if time > 1.2 or (time > 0.25 and on_ground):
            return None
        return CarControls(throttle=1.0, pitch=self._pitch if time < 0.5 else 0.0)


class ExpertDriver(Driver):
    """Plays blue, alone. See the module's description."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget prediction, dodge and being stuck."""
        self._dodge: _Dodge | None = None
        self._stuck_s = 0.0
        self._back_out_s = 0.0
        self._prediction: list[list[float]] = []
        self._age = PREDICTION_AGE
        self._predicted_at = 0
        self._meeting: int | None = None
        self._answer = REST

    def decide(self, world: Playground, applied: InputVector) -> InputVector:
        """See `Driver.decide`."""
        snapshot = world.snapshot()
        car = _Sight(snapshot.cars[0])
        ball: list[float] = [*snapshot.ball.position.tolist(), *snapshot.ball.velocity.tolist()]
        if (applied[Control.SOUTH] > 0.5) != (self._answer[Control.SOUTH] > 0.5):
            self._dodge = None  # somebody else jumped, or kept it from jumping: what was begun did not happen
        controls = self._controls(world, car, ball)
        self._answer = controls_to_inputs(controls, on_ground=car.on_ground)
        return self._answer.copy()

    def _controls(self, world: Playground, car: _Sight, ball: list[float]) -> CarControls:
        if self._dodge is not None:
            going_on = self._dodge.controls(car.on_ground)
            if going_on is not None:
                return going_on
            self._dodge = None
        if not car.on_ground:
            return _recover(car)
        if self._is_stuck(car):
            _, right, _ = car.local(*ball[:3])
            return CarControls(throttle=-1.0, steer=-1.0 if right > 0 else 1.0)
        target = self._target(world, car)
        dodge = _dodge_now(car, ball, target)
        if dodge is not None:
            self._dodge = dodge
            started = dodge.controls(car.on_ground)
            assert started is not None
            return started
        return _drive(car, ball, target)

    def _is_stuck(self, car: _Sight) -> bool:
        self._stuck_s = self._stuck_s + STEP_S if car.speed < STUCK_SPEED_UU_S else max(0.0, self._stuck_s - 2 * STEP_S)
        if self._stuck_s > STUCK_S:
            self._back_out_s, self._stuck_s = BACK_OUT_S, 0.0
        self._back_out_s -= STEP_S
        return self._back_out_s > 0

    def _target(self, world: Playground, car: _Sight) -> _Target:
        """Where and when to meet the ball, or where it will be in a second when it cannot be met."""
        self._age += 1
        if self._age >= PREDICTION_AGE:
            self._predict(world)
        target = self._meet(world.tick, car)
        if target is None and self._index(world.tick) + IN_A_SECOND >= PREDICTION_COUNT:
            # Decisions in a dodge, in the air or stuck do not count as its age: it may be seconds old.
            self._predict(world)
            target = self._meet(world.tick, car)
        if target is not None:
            return target
        in_a_second = self._prediction[self._index(world.tick) + IN_A_SECOND]
        return _aim(car, [*in_a_second[:2], field.BALL_REST_Z_UU, 0.0, 0.0, 0.0], None)

    def _predict(self, world: Playground) -> None:
        self._prediction = world.predict_ball(PREDICTION_COUNT, PREDICTION_TICKS).tolist()
        self._predicted_at = world.tick
        self._age = 0

    def _meet(self, now: int, car: _Sight) -> _Target | None:
        """Where and when to meet the ball: as planned, while that works; None if it cannot be met."""
        soonest = self._soonest(now, car)
        planned = self._meeting
        if planned is not None and (soonest is None or soonest > planned - KEEP_TICKS):
            kept = self._reachable(now, car, planned, patience=KEEP_SHARE)
            if kept is not None:
                return kept
        self._meeting = soonest
        if soonest is None:
            return None
        target = self._reachable(now, car, soonest)
        assert target is not None
        return target

    def _soonest(self, now: int, car: _Sight) -> int | None:
        """The first tick at which it can meet the ball, as far as the prediction goes."""
        first = self._index(now)
        for index in range(first, PREDICTION_COUNT, 2):
            if abs(self._prediction[index][1]) > field.BACK_WALL_Y_UU + 80:
                return None  # it will be in a goal
            tick = self._predicted_at + index * PREDICTION_TICKS
            if self._reachable(now, car, tick) is not None:
                before = tick - PREDICTION_TICKS
                return before if index > first and self._reachable(now, car, before) is not None else tick
        return None

    def _reachable(self, now: int, car: _Sight, tick: int, *, patience: float = 1.0) -> _Target | None:
        """Where to drive to meet the ball at this tick, None if the ball is too high then or time too short."""
        index = self._index(tick)
        if not self._index(now) <= index < PREDICTION_COUNT or self._prediction[index][2] > HIGHEST_BALL_UU:
            return None
        time_s = (tick - now) / TICK_HZ + MARGIN_S
        target = _aim(car, self._prediction[index], time_s)
        return target if _time_needed(car, target) <= time_s * patience else None

    def _index(self, tick: int) -> int:
        return (tick - self._predicted_at) // PREDICTION_TICKS


def _aim(car: _Sight, ball: list[float], time_s: float | None) -> _Target:
    """Where to be so that the ball goes towards orange's goal."""
    x, y = ball[0], ball[1]
    close_to_goal = abs(y - field.BACK_WALL_Y_UU) < 1500
    goal_x = 0.6 * _clip(x, 700) if close_to_goal else 0.0
    wx, wy = _unit(goal_x - x, field.BACK_WALL_Y_UU - y)
    # The hit adds to the velocity that the ball has.
    sx, sy = _unit(2000 * wx - BALL_SPEED_SHARE * ball[3], 2000 * wy - BALL_SPEED_SHARE * ball[4])
    dx, dy = x - car.x, y - car.y
    distance = math.hypot(dx, dy)
    ux, uy = _unit(dx, dy)
    alignment = sx * ux + sy * uy
    if alignment > ALIGNED:
        back, aside = AIM_THROUGH_UU, 0.0
    else:
        share = min(1.0, max(0.0, (alignment - WRONG_SIDE) / (BESIDE - WRONG_SIDE)))
        behind = min(AIM_BEHIND_MAX_UU, AIM_BEHIND_UU + AIM_BEHIND_SHARE * (1 - alignment) * distance)
        back = share * behind + (1 - share) * AROUND_BACK_UU
        aside = math.copysign((1 - share) * AROUND_SIDE_UU, dy * sx - dx * sy)
    tx, ty = x - back * sx + aside * sy, y - back * sy - aside * sx
    return _Target(_clip(tx, 4000), _clip(ty, 5050), time_s, (sx, sy))


def _time_needed(car: _Sight, target: _Target) -> float:
    """A rough estimate in seconds: distance at the mean of present and top speed, and something for turning."""
    ahead, right, _ = car.local(target.x, target.y, 20.0)
    top = 2200.0 if car.boost > 15 else 1400.0
    mean = max(600.0, (max(car.forward_speed, 300.0) + top) / 2)
    return max(0.0, math.hypot(ahead, right) - 60) / mean + abs(math.atan2(right, ahead)) * TURN_COST_S


def _dodge_now(car: _Sight, ball: list[float], target: _Target) -> _Dodge | None:
    """A flip into the ball, or for speed on a long straight."""
    ahead, right, above = car.local(*ball[:3])
    distance = max(1.0, math.hypot(ahead, right))
    bearing = math.atan2(right, ahead)
    apart_x, apart_y = ball[0] - car.x, ball[1] - car.y
    closing = ((car.velocity[0] - ball[3]) * apart_x + (car.velocity[1] - ball[4]) * apart_y) / distance
    aligned = car.forward[0] * target.shot[0] + car.forward[1] * target.shot[1] > FLIP_ALIGNED
    soon = closing > 300 and (distance - 160) / closing < FLIP_TIME_S
    if soon and aligned and abs(bearing) < FLIP_ANGLE and above < 140 and ball[2] < 220:
        return _Dodge(-math.cos(bearing), math.sin(bearing))

    ahead, right, _ = car.local(target.x, target.y, 20.0)
    has_time = target.time_s is None or target.time_s > 1.8
    straight = math.hypot(ahead, right) > 2600 and abs(math.atan2(right, ahead)) < 0.12
    if straight and has_time and 900 < car.forward_speed < 1700 and car.boost < 10:
        return _Dodge(-1.0, 0.0)
    return None


def _drive(car: _Sight, ball: list[float], target: _Target) -> CarControls:
    """Steer towards the target, at the speed that brings the car there in time."""
    ahead, right, _ = car.local(target.x, target.y, 20.0)
    distance, angle = math.hypot(ahead, right), math.atan2(right, ahead)
    steer = _clip(STEER_GAIN * angle - STEER_DAMPING * car.yaw_rate, 1.0)
    if abs(angle) > 2.4 and distance < 700 and car.forward_speed < 600:
        return CarControls(throttle=-1.0, steer=-steer)  # close behind: back up to it

    ball_ahead, ball_right, _ = car.local(*ball[:3])
    wanted = field.CAR_MAX_SPEED_UU_S
    at_ball = distance < FULL_SPEED_UU and math.hypot(ball_ahead, ball_right) < 500
    if target.time_s is not None and not at_ball:
        wanted = min(wanted, distance / max(target.time_s, 0.05))
    wanted = min(wanted, _speed_for_curvature(2 * abs(math.sin(angle)) / max(distance, 1.0)))

    missing = wanted - car.forward_speed
    coast = max(0.02, min(1.0, 0.02 + missing / SOFT_THROTTLE_UU_S))  # 0.02: roll; letting go would brake
    throttle = coast if missing > -100 else max(-1.0, missing / 200)
    boost = (
        missing > (BOOST_UNTIL_UU_S if car.boosting else BOOST_FROM_UU_S)
        and wanted > 1400
        and abs(angle) < 0.35
        and car.forward_speed < 2280
    )
    handbrake = abs(angle) > 1.7 and car.forward_speed > 700 and distance > 300
    return CarControls(throttle=throttle, steer=steer, boost=boost, handbrake=handbrake)


def _recover(car: _Sight) -> CarControls:
    """In the air: level out, nose along the flight."""
    pitch = _clip(0.5 * car.pitch_rate - 3 * car.forward[2], 1.0)
    roll = _clip(3 * car.right[2] + 0.35 * car.roll_rate, 1.0)
    across, flight = 0.0, math.hypot(car.velocity[0], car.velocity[1])
    if flight > 300:
        across = (car.velocity[0] * car.right[0] + car.velocity[1] * car.right[1]) / flight
    return CarControls(throttle=1.0, pitch=pitch, roll=roll, yaw=_clip(2 * across - 0.6 * car.yaw_rate, 1.0))


def _speed_for_curvature(needed: float) -> float:
    """The highest speed, but at least 500 uu/s, at which the car turns nearly this tightly (1/uu)."""
    needed *= 0.95
    for (slow, tight), (fast, wide) in pairwise(TURNING_CURVE):
        if needed > wide:
            return max(500.0, slow + (fast - slow) * (tight - needed) / (tight - wide))
    return field.CAR_MAX_SPEED_UU_S


def _dot(a: Point, b: Point) -> float:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _clip(value: float, limit: float) -> float:
    return max(-limit, min(limit, value))


def _unit(x: float, y: float) -> tuple[float, float]:
    length = math.hypot(x, y)
    return (x / length, y / length) if length > 1e-6 else (0.0, 1.0)
