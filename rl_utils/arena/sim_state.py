"""RocketSim ↔ game states: read one from a running arena, or set an arena up as a state says."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any, Final

import numpy as np

from rl_utils.arena.gamestate import GOAL_THRESHOLD_UU, Car, GameConfig, GameState, PhysicsObject
from rl_utils.arena.meshes import rocketsim

GRAVITY_UU_S2: Final = 650.0
BOOST_PER_S: Final = 100 / 3
"""What 1 stands for in `GameConfig`. Source: RocketSim's RLConst.h."""


def read_state(
    arena: Any,
    cars: Mapping[Any, Any],
    *,
    touches: MutableMapping[int, int],
    tick: int,
    config: GameConfig | None = None,
    hitboxes: Mapping[Any, int] | None = None,
) -> GameState:
    """The arena as it is now.

    Args:
        arena: RocketSim's.
        cars: Agent → RocketSim's car.
        touches: RocketSim's number of a car → ticks of contact with the ball; emptied.
        tick: Becomes `tick_count`.
        config: Rules that hold; None for the usual ones.
        hitboxes: Agent → hitbox, which RocketSim does not tell; None for the Octane everywhere.
    """
    ball = _body(arena.ball.get_state())
    agents = {car.id: agent for agent, car in cars.items()}
    state = GameState(
        tick_count=tick,
        goal_scored=bool(abs(ball.position[1]) > GOAL_THRESHOLD_UU),
        config=GameConfig() if config is None else config,
        cars={agent: _car(car, touches.get(car.id, 0), agents) for agent, car in cars.items()},
        ball=ball,
        boost_pad_timers=np.array([pad.get_state().cooldown for pad in arena.get_boost_pads()], np.float32),
    )
    for agent, hitbox in (hitboxes or {}).items():
        state.cars[agent].hitbox_type = hitbox
    touches.clear()
    return state


def write_state(arena: Any, state: Any) -> dict[Any, Any]:
    """Set ball, boost pads and rules, and put new cars on the pitch.

    Cars are made anew, since RocketSim's keep their wheels' past when they are moved.

    Args:
        arena: RocketSim's.
        state: An RLGym `GameState`, or one of ours.

    Returns:
        Agent → RocketSim's car.
    """
    rs = rocketsim()
    rules = arena.get_mutator_config()
    rules.gravity = rs.Vec(0, 0, -GRAVITY_UU_S2 * state.config.gravity)
    rules.boost_used_per_second = BOOST_PER_S * state.config.boost_consumption
    arena.set_mutator_config(rules)
    body = state.ball
    arena.ball.set_state(
        rs.BallState(
            pos=_vec(body.position),
            vel=_vec(body.linear_velocity),
            ang_vel=_vec(body.angular_velocity),
            rot_mat=_rotation(body),
        )
    )
    for car in arena.get_cars():
        arena.remove_car(car)
    cars = {agent: _add_car(arena, car, state.config.dodge_deadzone) for agent, car in state.cars.items()}
    numbers = {agent: car.id for agent, car in cars.items()}
    for agent, car in state.cars.items():
        cars[agent].set_state(_car_state(car, numbers))
    for pad, timer in zip(arena.get_boost_pads(), state.boost_pad_timers, strict=True):
        pad.set_state(rs.BoostPadState(is_active=bool(timer <= 0), cooldown=float(timer)))
    return cars


def _body(state: Any) -> PhysicsObject:
    return PhysicsObject(
        state.pos.as_numpy(),
        state.vel.as_numpy(),
        state.ang_vel.as_numpy(),
        state.rot_mat.as_numpy().T,
    )


def _car(car: Any, touches: int, agents: Mapping[int, Any]) -> Car:
    state = car.get_state()
    return Car(
        team_num=int(car.team),
        ball_touches=touches,
        bump_victim_id=agents.get(state.car_contact_id) if state.car_contact_cooldown_timer > 0 else None,
        demo_respawn_timer=state.demo_respawn_timer,
        wheels_with_contact=state.wheels_with_contact,
        supersonic_time=state.supersonic_time,
        boost_amount=state.boost,
        boost_active_time=state.boosting_time,
        handbrake=state.handbrake_val,
        is_jumping=state.is_jumping,
        has_jumped=state.has_jumped,
        is_holding_jump=state.last_controls.jump,
        jump_time=state.jump_time,
        has_flipped=state.has_flipped,
        has_double_jumped=state.has_double_jumped,
        air_time_since_jump=state.air_time_since_jump,
        flip_time=state.flip_time,
        flip_torque=state.flip_rel_torque.as_numpy(),
        is_autoflipping=state.is_auto_flipping,
        autoflip_timer=state.auto_flip_timer,
        autoflip_direction=state.auto_flip_torque_scale,
        physics=_body(state),
    )


def _add_car(arena: Any, car: Any, dodge_deadzone: float) -> Any:
    config = rocketsim().CarConfig(car.hitbox_type)
    config.dodge_deadzone = dodge_deadzone
    return arena.add_car(car.team_num, config)


def _car_state(car: Any, numbers: Mapping[Any, int]) -> Any:
    body = car.physics
    state = rocketsim().CarState(
        pos=_vec(body.position),
        vel=_vec(body.linear_velocity),
        ang_vel=_vec(body.angular_velocity),
        rot_mat=_rotation(body),
        is_demoed=bool(car.is_demoed),
        demo_respawn_timer=float(car.demo_respawn_timer),
        wheels_with_contact=tuple(bool(wheel) for wheel in car.wheels_with_contact),
        is_on_ground=bool(car.on_ground),
        is_supersonic=bool(car.is_supersonic),
        supersonic_time=float(car.supersonic_time),
        boost=float(car.boost_amount),
        boosting_time=float(car.boost_active_time),
        handbrake_val=float(car.handbrake),
        is_jumping=bool(car.is_jumping),
        has_jumped=bool(car.has_jumped),
        jump_time=float(car.jump_time),
        has_flipped=bool(car.has_flipped),
        is_flipping=bool(car.is_flipping),
        has_double_jumped=bool(car.has_double_jumped),
        air_time_since_jump=float(car.air_time_since_jump),
        flip_time=float(car.flip_time),
        flip_rel_torque=_vec(car.flip_torque),
        is_auto_flipping=bool(car.is_autoflipping),
        auto_flip_timer=float(car.autoflip_timer),
        auto_flip_torque_scale=float(car.autoflip_direction),
        last_controls=rocketsim().CarControls(jump=bool(car.is_holding_jump)),
    )
    if car.bump_victim_id is not None:
        state.car_contact_id = numbers[car.bump_victim_id]
    return state


def _vec(values: Any) -> Any:
    return rocketsim().Vec(*(float(value) for value in values))


def _rotation(body: Any) -> Any:
    try:
        matrix = np.asarray(body.rotation_mtx)
    except ValueError:  # RLGym's own class, when nobody set one
        matrix = np.eye(3)
    return rocketsim().RotMat(*(float(value) for value in matrix.T.ravel()))
