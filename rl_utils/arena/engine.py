"""The arena as an RLGym transition engine: RocketSim on walls of our own, any number of cars, some of them driven."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rlgym.api import TransitionEngine

from rl_utils.arena.driver import Driver
from rl_utils.arena.gamestate import GameState
from rl_utils.arena.mapping import CarControls, inputs_to_controls
from rl_utils.arena.meshes import rocketsim
from rl_utils.arena.seat import Seat
from rl_utils.arena.sim_state import read_state, write_state
from rl_utils.arena.snapshot import CAMERA_HZ, TICK_HZ
from rl_utils.arena.world import DECISION_TICKS
from rl_utils.controls import REST
from rl_utils.errors import UserError
from rl_utils.interfaces import InputVector

SEED_KEY: Final = "seed"
LIMIT_KEY: Final = "limit_s"
"""Where in RLGym's `shared_info` the start's seed and time limit stand."""
CAMERA_TICKS: Final = TICK_HZ // CAMERA_HZ

Actions = NDArray[np.floating[Any]]


@dataclass
class _Driven:
    """A car that no agent drives."""

    driver: Driver
    seat: Seat
    inputs: InputVector


class ArenaEngine(TransitionEngine[Any, GameState, Actions]):  # type: ignore[misc]  # rlgym-api has no types
    """RocketSim for RLGym.

    Its states are ours (`gamestate`); it takes RLGym's own as well. An action takes effect at once, not a tick later.
    The same actions give the same match until a car is demolished: where it comes back is up to RocketSim's chance.

    Args:
        drivers: Agent → who drives its car instead. These are no agents of the environment, but cars in its states.

    Raises:
        UserError: No RocketSim.
    """

    def __init__(self, drivers: Mapping[Any, Driver] | None = None) -> None:
        rs = rocketsim()
        self._controls = rs.CarControls
        self._arena = rs.Arena(rs.GameMode.SOCCAR, config=rs.ArenaConfig(no_ball_rot=False))
        self._touches = touches = dict[int, int]()

        # It must not hold the engine, which holds the arena, which holds it.
        def on_touch(car: Any, **_: Any) -> None:
            touches[car.id] = touches.get(car.id, 0) + 1

        self._arena.set_ball_touch_callback(on_touch)
        self._drivers = dict(drivers or {})
        self._driven: dict[Any, _Driven] = {}
        self._cars: dict[Any, Any] = {}
        self._hitboxes: dict[Any, int] = {}
        self._state = GameState()
        self._tick = 0

    @property
    def agents(self) -> list[Any]:
        """Who acts."""
        return [agent for agent in self._cars if agent not in self._driven]

    @property
    def max_num_agents(self) -> int:
        """The stadium has room for two teams of eight."""
        return 16

    @property
    def state(self) -> GameState:
        """The match after the last step."""
        return self._state

    @property
    def config(self) -> dict[str, Any]:
        """It has no settings."""
        return {}

    @config.setter
    def config(self, value: dict[str, Any]) -> None:
        if value:
            raise UserError(f"The arena's engine has no setting {', '.join(value)}", "Leave it away")

    def create_base_state(self) -> GameState:
        """A state without cars, for mutators."""
        return GameState()

    def set_state(self, desired_state: Any, shared_info: dict[str, Any]) -> GameState:
        """Go on from this state.

        Args:
            desired_state: Ours or RLGym's own.
            shared_info: May hold the start's seed and time limit under `SEED_KEY` and `LIMIT_KEY`, for drivers.

        Raises:
            UserError: A driver's car is not in it.
        """
        missing = [agent for agent in self._drivers if agent not in desired_state.cars]
        if missing:
            there = ", ".join(str(agent) for agent in desired_state.cars) or "none"
            raise UserError(f"There is no car {missing[0]} to be driven", f"The cars are: {there}")
        self._tick = desired_state.tick_count
        self._config = desired_state.config
        self._cars = write_state(self._arena, desired_state)
        self._hitboxes = {agent: car.hitbox_type for agent, car in desired_state.cars.items()}
        self._touches.clear()
        self._state = self._read()
        seed, limit_s = shared_info.get(SEED_KEY, 0), shared_info.get(LIMIT_KEY, 0.0)
        self._driven = {}
        for agent, driver in self._drivers.items():
            driver.reset()
            self._driven[agent] = _Driven(driver, Seat(self._arena, agent, self._state, seed, limit_s), REST)
        self._began = self._tick
        return self._state

    def step(self, actions: Mapping[Any, Actions], shared_info: dict[str, Any]) -> GameState:
        """Play as many ticks as the actions have rows.

        Args:
            actions: For each of `agents` (ticks, 8): throttle, steer, pitch, yaw, roll in [-1, 1], jump, boost,
                handbrake. Without any agent, 4 ticks are played.
            shared_info: Not used.

        Raises:
            UserError: An agent has no action, or one of another shape.
        """
        ticks = self._check(actions)
        rows = {agent: np.asarray(action).tolist() for agent, action in actions.items()}
        for tick in range(ticks):
            if self._driven and (self._tick - self._began) % CAMERA_TICKS == 0:
                self._let_drive()
            for agent, acts in rows.items():
                if tick == 0 or acts[tick] != acts[tick - 1]:
                    throttle, steer, pitch, yaw, roll, jump, boost, handbrake = acts[tick]
                    self._apply(
                        agent,
                        CarControls(throttle, steer, pitch, yaw, roll, bool(jump), bool(boost), bool(handbrake)),
                    )
            self._arena.step(1)
            self._tick += 1
        self._state = self._read()
        return self._state

    def close(self) -> None:
        """Nothing to close."""

    def _check(self, actions: Mapping[Any, Actions]) -> int:
        agents = self.agents
        if set(actions) != set(agents):
            raise UserError(
                f"Actions for {', '.join(map(str, actions)) or 'nobody'} do not fit the agents "
                f"{', '.join(map(str, agents)) or 'nobody'}",
                "Give one action for each agent",
            )
        shapes = {np.shape(action) for action in actions.values()} or {(DECISION_TICKS, 8)}
        shape = shapes.pop()
        if shapes or len(shape) != 2 or shape[0] < 1 or shape[1] != 8:
            raise UserError(f"Actions of shape {shape} cannot be played", "All must have the same shape (ticks, 8)")
        return int(shape[0])

    def _let_drive(self) -> None:
        """Let the cars that no agent drives look, and decide where it is time to."""
        ticks = self._tick - self._began
        state = self._state if ticks == 0 else self._read(peek=True)
        for agent, driven in self._driven.items():
            driven.seat.update(state)
            driven.driver.watch(driven.seat)
            if ticks % DECISION_TICKS == 0:
                driven.inputs = driven.driver.decide(driven.seat, driven.inputs)
                self._apply(agent, inputs_to_controls(driven.inputs))

    def _apply(self, agent: Any, controls: CarControls) -> None:
        self._cars[agent].set_controls(
            self._controls(
                throttle=controls.throttle,
                steer=controls.steer,
                pitch=controls.pitch,
                yaw=controls.yaw,
                roll=controls.roll,
                jump=controls.jump,
                boost=controls.boost,
                handbrake=controls.handbrake,
            )
        )

    def _read(self, *, peek: bool = False) -> GameState:
        """The state now; a mere look leaves the counts of touches to the next step's."""
        return read_state(
            self._arena,
            self._cars,
            touches=dict(self._touches) if peek else self._touches,
            tick=self._tick,
            config=self._config,
            hitboxes=self._hitboxes,
        )
