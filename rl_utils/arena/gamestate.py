"""States with the attributes of RLGym's `GameState`, without its package; and to and from the real class where it is.

Whatever reads RLGym's states by their attributes (observation builders, rewards, conditions, mutators) reads these.
The world's frame is the game's, as `snapshot` describes it. Source: rlgym-rocket-league 2.0.1, rlgym.rocket_league.api
(names, meanings and units of the attributes); that package pins an old NumPy, so it is not a dependency.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from rl_utils.errors import UserError

BLUE_TEAM: Final = 0
ORANGE_TEAM: Final = 1
GOAL_THRESHOLD_UU: Final = 5215.5
"""A goal counts once the ball's centre is further from the middle than this. Source: RLGym's common_values."""
DOUBLE_JUMP_MAX_DELAY_S: Final = 1.25
FLIP_TORQUE_TIME_S: Final = 0.65
"""Source: RocketSim's RLConst.h."""
N_BOOST_PADS: Final = 34

Array = NDArray[np.float32]

HALF_TURN: Final[Array] = np.array([-1, -1, 1], np.float32)
"""What turning the world about z does to a vector: orange's view becomes blue's."""


def _zeros() -> Array:
    return np.zeros(3, np.float32)


@dataclass(slots=True, eq=False)
class PhysicsObject:
    """A rigid body.

    Attributes:
        position: (3,) uu.
        linear_velocity: (3,) uu/s.
        angular_velocity: (3,) rad/s.
        rotation_mtx: (3, 3), columns are forward, right and up in world coordinates. From the arena each column lies in
            one piece, which is the quickest to observe; any other order in memory is right, too.
    """

    position: Array = field(default_factory=_zeros)
    linear_velocity: Array = field(default_factory=_zeros)
    angular_velocity: Array = field(default_factory=_zeros)
    rotation_mtx: Array = field(default_factory=lambda: np.eye(3, dtype=np.float32))

    def inverted(self) -> PhysicsObject:
        """The same body as orange sees it: the world turned by half a turn about z."""
        return PhysicsObject(
            self.position * HALF_TURN,
            self.linear_velocity * HALF_TURN,
            self.angular_velocity * HALF_TURN,
            self.rotation_mtx * HALF_TURN[:, None],
        )

    @property
    def forward(self) -> Array:
        """(3,) of length 1: where the nose points."""
        return self.rotation_mtx[:, 0]

    @property
    def right(self) -> Array:
        """(3,) of length 1."""
        return self.rotation_mtx[:, 1]

    @property
    def left(self) -> Array:
        """(3,) of length 1."""
        return -self.rotation_mtx[:, 1]

    @property
    def up(self) -> Array:
        """(3,) of length 1: where the roof points."""
        return self.rotation_mtx[:, 2]

    @property
    def euler_angles(self) -> NDArray[np.float64]:
        """(3,) pitch, yaw and roll in rad."""
        m = self.rotation_mtx.astype(np.float64)
        pitch = math.asin(min(1.0, max(-1.0, m[2, 0])))
        return np.array([pitch, math.atan2(m[1, 0], m[0, 0]), math.atan2(-m[2, 1], m[2, 2])])

    @euler_angles.setter
    def euler_angles(self, angles: NDArray[Any]) -> None:
        self.rotation_mtx = rotation_from_euler(*(float(angle) for angle in angles))

    @property
    def pitch(self) -> float:
        """Rad, positive with the nose up."""
        return float(self.euler_angles[0])

    @property
    def yaw(self) -> float:
        """Rad from +x towards +y."""
        return float(self.euler_angles[1])

    @property
    def roll(self) -> float:
        """Rad."""
        return float(self.euler_angles[2])

    @property
    def quaternion(self) -> NDArray[np.float64]:
        """(4,) w, x, y, z of length 1, with the sign that RLGym gives it."""
        m = self.rotation_mtx.astype(np.float64)
        # Four times the product of every pair of components; the row of the largest one is the most precise.
        pairs = np.array(
            [
                [1 + m[0, 0] + m[1, 1] + m[2, 2], m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1]],
                [m[2, 1] - m[1, 2], 1 + m[0, 0] - m[1, 1] - m[2, 2], m[1, 0] + m[0, 1], m[0, 2] + m[2, 0]],
                [m[0, 2] - m[2, 0], m[1, 0] + m[0, 1], 1 - m[0, 0] + m[1, 1] - m[2, 2], m[2, 1] + m[1, 2]],
                [m[1, 0] - m[0, 1], m[0, 2] + m[2, 0], m[2, 1] + m[1, 2], 1 - m[0, 0] - m[1, 1] + m[2, 2]],
            ]
        )
        largest = 0 if np.trace(m) > 0 else 1 + int(np.argmax(np.diag(m)))
        row = pairs[largest]
        return np.asarray(-row / np.linalg.norm(row))

    @quaternion.setter
    def quaternion(self, quaternion: NDArray[Any]) -> None:
        self.rotation_mtx = rotation_from_quaternion(*(float(part) for part in quaternion))


@dataclass(slots=True, eq=False)
class Car:
    """A car. Attributes are RLGym's.

    Attributes:
        team_num: 0 blue (attacks +y), 1 orange.
        hitbox_type: As RocketSim counts them; 0 is the Octane.
        ball_touches: Ticks of contact with the ball since the last state.
        bump_victim_id: Agent of the car that it ran into, if any.
        demo_respawn_timer: Seconds until it is back, 0 while it lives.
        wheels_with_contact: Front left, front right, back left, back right.
        supersonic_time: Seconds at top speed.
        boost_amount: 0 to 100.
        boost_active_time: Seconds since boost began, 0 without.
        handbrake: 0 to 1.
        is_jumping: In the first 0.2 s of a jump, while the button is held.
        has_jumped: Since it was last on the ground.
        is_holding_jump: The button was down at the last tick.
        jump_time: Seconds since the jump began, at most 0.2.
        has_flipped: Since it was last on the ground.
        has_double_jumped: Since it was last on the ground.
        air_time_since_jump: Seconds since the jump ended.
        flip_time: Seconds since the flip began.
        flip_torque: (3,) in [-1, 1], about forward, right and up.
        is_autoflipping: Rights itself from the roof.
        autoflip_timer: Seconds that this still takes.
        autoflip_direction: 1 or -1.
        physics: Its motion.
    """

    team_num: int = BLUE_TEAM
    hitbox_type: int = 0
    ball_touches: int = 0
    bump_victim_id: Any = None
    demo_respawn_timer: float = 0.0
    wheels_with_contact: tuple[bool, bool, bool, bool] = (True, True, True, True)
    supersonic_time: float = 0.0
    boost_amount: float = 0.0
    boost_active_time: float = 0.0
    handbrake: float = 0.0
    is_jumping: bool = False
    has_jumped: bool = False
    is_holding_jump: bool = False
    jump_time: float = 0.0
    has_flipped: bool = False
    has_double_jumped: bool = False
    air_time_since_jump: float = 0.0
    flip_time: float = 0.0
    flip_torque: Array = field(default_factory=_zeros)
    is_autoflipping: bool = False
    autoflip_timer: float = 0.0
    autoflip_direction: float = 0.0
    physics: PhysicsObject = field(default_factory=PhysicsObject)
    _inverted_physics: PhysicsObject | None = None

    @property
    def inverted_physics(self) -> PhysicsObject:
        """Its motion as orange sees it; computed once."""
        if self._inverted_physics is None:
            self._inverted_physics = self.physics.inverted()
        return self._inverted_physics

    @property
    def is_blue(self) -> bool:
        """Whether it attacks +y."""
        return self.team_num == BLUE_TEAM

    @property
    def is_orange(self) -> bool:
        """Whether it attacks -y."""
        return self.team_num == ORANGE_TEAM

    @property
    def is_demoed(self) -> bool:
        """Whether it is destroyed."""
        return self.demo_respawn_timer > 0

    @property
    def is_boosting(self) -> bool:
        """Whether the flame burns."""
        return self.boost_active_time > 0

    @property
    def is_supersonic(self) -> bool:
        """Whether it is at top speed."""
        return self.supersonic_time > 0

    @property
    def on_ground(self) -> bool:
        """Whether at least three wheels touch something."""
        return sum(self.wheels_with_contact) >= 3

    @on_ground.setter
    def on_ground(self, value: bool) -> None:
        self.wheels_with_contact = (value, value, value, value)

    @property
    def has_flip(self) -> bool:
        """Whether a dodge or double jump is left."""
        unused = not (self.has_double_jumped or self.has_flipped)
        return unused and self.air_time_since_jump < DOUBLE_JUMP_MAX_DELAY_S

    @property
    def can_flip(self) -> bool:
        """Whether pressing jump now would dodge or double jump."""
        return not self.on_ground and not self.is_holding_jump and self.has_flip

    @property
    def is_flipping(self) -> bool:
        """Whether a flip turns it now."""
        return self.has_flipped and self.flip_time < FLIP_TORQUE_TIME_S

    @is_flipping.setter
    def is_flipping(self, value: bool) -> None:
        if not value:
            self.flip_time = FLIP_TORQUE_TIME_S
            return
        self.has_flipped = True
        if self.flip_time >= FLIP_TORQUE_TIME_S:
            self.flip_time = 0.0

    @property
    def had_car_contact(self) -> bool:
        """Whether it ran into another car a moment ago."""
        return self.bump_victim_id is not None


@dataclass(slots=True, eq=False)
class GameConfig:
    """Rules, as factors of the usual ones.

    Attributes:
        gravity: 1 is the usual one.
        boost_consumption: 1 is the usual one.
        dodge_deadzone: How far the stick must be pushed for a dodge, 0 to 1.
    """

    gravity: float = 1.0
    boost_consumption: float = 1.0
    dodge_deadzone: float = 0.5


@dataclass(slots=True, eq=False)
class GameState:
    """Everything at one physics tick. Attributes are RLGym's.

    Attributes:
        tick_count: Ticks so far, 1/120 s each.
        goal_scored: The ball is in a goal.
        config: Rules.
        cars: Agent → car.
        ball: The ball.
        boost_pad_timers: (34,) seconds until each pad is back, 0 while it is there, in the order of `field.BOOST_PADS`.
    """

    tick_count: int = 0
    goal_scored: bool = False
    config: GameConfig = field(default_factory=GameConfig)
    cars: dict[Any, Car] = field(default_factory=dict)
    ball: PhysicsObject = field(default_factory=PhysicsObject)
    boost_pad_timers: Array = field(default_factory=lambda: np.zeros(N_BOOST_PADS, np.float32))
    _inverted_ball: PhysicsObject | None = None
    _inverted_boost_pad_timers: Array | None = None

    @property
    def scoring_team(self) -> int | None:
        """Whose goal it was; None without one."""
        if not self.goal_scored:
            return None
        return BLUE_TEAM if self.ball.position[1] > 0 else ORANGE_TEAM

    @property
    def inverted_ball(self) -> PhysicsObject:
        """The ball as orange sees it; computed once."""
        if self._inverted_ball is None:
            self._inverted_ball = self.ball.inverted()
        return self._inverted_ball

    @property
    def inverted_boost_pad_timers(self) -> Array:
        """(34,) the pads as orange counts them; computed once."""
        if self._inverted_boost_pad_timers is None:
            self._inverted_boost_pad_timers = np.ascontiguousarray(self.boost_pad_timers[::-1])
        return self._inverted_boost_pad_timers


_OF_CAR: Final = tuple(f.name for f in fields(Car) if not f.name.startswith("_") and f.name != "physics")
_OF_PHYSICS: Final = tuple(f.name for f in fields(PhysicsObject))


def from_rlgym(state: Any) -> GameState:
    """Read a state by its attributes: RLGym's own, or one of ours.

    Returns:
        A copy that shares nothing with it.
    """
    return _copied(state, GameState, GameConfig, Car, PhysicsObject, order="F")  # type: ignore[no-any-return]


def to_rlgym(state: GameState) -> Any:
    """Make an `rlgym.rocket_league.api.GameState` of it, sharing nothing.

    Raises:
        UserError: The package rlgym-rocket-league is not installed.
    """
    try:
        from rlgym.rocket_league import api
    except ImportError as error:
        raise UserError(
            "RLGym's own states need the package rlgym-rocket-league, which is not installed",
            "Run: pip install --no-deps rlgym-rocket-league (its pin of an old NumPy is not needed)",
        ) from error
    return _copied(state, api.GameState, api.GameConfig, api.Car, api.PhysicsObject, order="C")


def _copied(
    state: Any, state_type: Any, config_type: Any, car_type: Any, physics_type: Any, *, order: Literal["C", "F"]
) -> Any:
    """A copy of these types; each engine's rotations lie in memory in an order of its own."""

    def physics(source: Any) -> Any:
        copy = physics_type()
        for name in _OF_PHYSICS:
            setattr(copy, name, np.array(getattr(source, name), np.float32, order=order))
        return copy

    def car(source: Any) -> Any:
        copy = car_type()
        for name in _OF_CAR:
            value = getattr(source, name)
            setattr(copy, name, value.copy() if isinstance(value, np.ndarray) else value)
        copy.physics = physics(source.physics)
        return copy

    copy = state_type()
    copy.tick_count = state.tick_count
    copy.goal_scored = state.goal_scored
    copy.config = config_type()
    for name in (f.name for f in fields(GameConfig)):
        setattr(copy.config, name, getattr(state.config, name))
    copy.cars = {agent: car(source) for agent, source in state.cars.items()}
    copy.ball = physics(state.ball)
    copy.boost_pad_timers = np.array(state.boost_pad_timers, np.float32)
    return copy


def rotation_from_euler(pitch: float, yaw: float, roll: float) -> Array:
    """(3, 3) float32, columns forward, right and up, of angles in rad."""
    cp, sp, cy, sy, cr, sr = (f(a) for a in (pitch, yaw, roll) for f in (math.cos, math.sin))
    forward = (cp * cy, cp * sy, sp)
    level_right, level_up = (-sy, cy, 0.0), (-sp * cy, -sp * sy, cp)  # before rolling
    right = tuple(cr * r - sr * u for r, u in zip(level_right, level_up, strict=True))
    up = tuple(sr * r + cr * u for r, u in zip(level_right, level_up, strict=True))
    return np.array([forward, right, up], np.float32).T


def rotation_from_quaternion(w: float, x: float, y: float, z: float) -> Array:
    """(3, 3) float32, columns forward, right and up, of a quaternion of any length but 0."""
    square = w * w + x * x + y * y + z * z
    v = np.array([x, y, z])
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    turned = (w * w - v @ v) * np.eye(3) + 2 * np.outer(v, v) + 2 * w * cross
    return np.asarray(turned / square, np.float32)
