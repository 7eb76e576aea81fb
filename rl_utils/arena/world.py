"""The practice game's world: physics, episodes, goals and touches. No pictures.

An episode ends with a goal or after its time limit and the next start follows at once, with the next seed. Ends are
looked for every 4 ticks only, so that a 30 Hz and a 60 Hz player see the same world tick for tick.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from rl_utils.arena.gamestate import GameState
from rl_utils.arena.mapping import inputs_to_controls
from rl_utils.arena.meshes import rocketsim
from rl_utils.arena.sim_state import read_state
from rl_utils.arena.situations import check_situation, make_start, next_seed
from rl_utils.arena.snapshot import TICK_HZ, Body, CarState, Snapshot, Vec
from rl_utils.interfaces import InputVector

DECISION_TICKS: Final = 4
"""Episodes begin, and drivers decide, on multiples of this many ticks (30 Hz)."""
AGENT: Final = "blue-0"
"""What RLGym calls the player."""
TOUCH_GAP_TICKS: Final = 24
"""A contact counts as a touch after at least so many ticks (0.2 s) without one."""


@dataclass(frozen=True, slots=True)
class Events:
    """What happened during one `step`.

    Attributes:
        goals: Scored by the player.
        own_goals: Into the player's own goal.
        timeouts: Episodes given up.
        touches: Contacts of car and ball after at least 0.2 s without one.
    """

    goals: int = 0
    own_goals: int = 0
    timeouts: int = 0
    touches: int = 0

    @property
    def new_episode(self) -> bool:
        """Whether a new start was made."""
        return bool(self.goals or self.own_goals or self.timeouts)

    def __add__(self, other: Events) -> Events:
        return Events(
            self.goals + other.goals,
            self.own_goals + other.own_goals,
            self.timeouts + other.timeouts,
            self.touches + other.touches,
        )


class World:
    """One blue car and a ball on the pitch.

    Args:
        situation: One of `situations.NAMES`.
        seed: Of the first start; episode by episode it grows by one (`situations.next_seed`).

    Raises:
        UserError: Unknown situation, bad seed, or no RocketSim.
    """

    def __init__(self, situation: str = "benchmark", seed: int = 0) -> None:
        check_situation(situation, seed)
        self._rs = rocketsim()
        # Without no_ball_rot=False the ball never turns on the picture.
        self._arena = self._rs.Arena(self._rs.GameMode.SOCCAR, config=self._rs.ArenaConfig(no_ball_rot=False))
        self._pads = self._arena.get_boost_pads()
        self._contacts = contacts = list[int]()

        # Called on every tick of contact. It must not hold the world, which holds the arena, which holds it.
        def on_touch(arena: Any, **_: Any) -> None:
            contacts.append(arena.tick_count)

        self._arena.set_ball_touch_callback(on_touch)
        self._situation = situation
        self._car: Any = None
        self.tick = 0
        self.episode = -1
        self.episode_seed = seed
        self.counts = Events()
        self._touching = 0
        self._snapshot: Snapshot | None = None
        self._begin(seed)

    @property
    def episode_tick(self) -> int:
        """Ticks since this episode's start."""
        return self.tick - self._began

    @property
    def stats(self) -> Mapping[str, float]:
        """Goals, own goals, touches, minutes of play and finished episodes since the world was made."""
        counts = self.counts
        return {
            "goals": counts.goals,
            "own_goals": counts.own_goals,
            "touches": counts.touches,
            "minutes": self.tick / TICK_HZ / 60,
            "episodes": self.episode,
        }

    def restart(self) -> None:
        """Leave this episode and begin the next one."""
        self._begin(next_seed(self.episode_seed))

    def step(self, inputs: InputVector, ticks: int) -> Events:
        """Hold the inputs for so many ticks (1/120 s each).

        Args:
            inputs: (19,) float32 in [0, 1].
            ticks: At least 1.
        """
        assert ticks >= 1, ticks
        controls = inputs_to_controls(inputs)
        held = self._rs.CarControls(
            throttle=controls.throttle,
            steer=controls.steer,
            pitch=controls.pitch,
            yaw=controls.yaw,
            roll=controls.roll,
            jump=controls.jump,
            boost=controls.boost,
            handbrake=controls.handbrake,
        )
        events = Events()
        self._touching = 0
        while ticks:
            piece = min(ticks, DECISION_TICKS - self.tick % DECISION_TICKS)
            self._car.set_controls(held)
            self._arena.step(piece)
            self.tick += piece
            ticks -= piece
            self._snapshot = None
            if self._contacts:
                events += self._count_touches()
            if self.tick % DECISION_TICKS == 0:
                ended = self._ended()
                if ended.new_episode:
                    events += ended
                    self._begin(next_seed(self.episode_seed))
        self.counts += events
        return events

    def snapshot(self) -> Snapshot:
        """The world as it is now."""
        if self._snapshot is None:
            counts = self.counts
            self._snapshot = Snapshot(
                tick=self.tick,
                episode=self.episode,
                episode_tick=self.episode_tick,
                cars=(self._car_state(),),
                ball=_body(self._arena.ball.get_state()),
                pads_active=np.array([pad.get_state().is_active for pad in self._pads]),
                score=(counts.goals, counts.own_goals),
                time_left_s=max(0, self._limit - self.episode_tick) / TICK_HZ,
            )
        return self._snapshot

    def game_state(self) -> GameState:
        """The world as it is now, with the attributes of RLGym's states; the player is the agent `AGENT`.

        `ball_touches` counts the ticks of contact during the last `step`.
        """
        touches = {self._car.id: self._touching}
        return read_state(self._arena, {AGENT: self._car}, touches=touches, tick=self.tick)

    def predict_ball(self, count: int, interval_ticks: int) -> NDArray[np.float64]:
        """Where the ball will be if nobody touches it.

        Returns:
            (count, 6): x, y, z in uu and vx, vy, vz in uu/s; row k is k × interval_ticks from now.
        """
        states = self._arena.get_ball_prediction(count, interval_ticks)
        return np.array([(*state.pos.as_tuple(), *state.vel.as_tuple()) for state in states])

    def _begin(self, seed: int) -> None:
        rs, begin = self._rs, make_start(self._situation, seed)
        # A car that has driven keeps its wheels' steering and contacts through set_state; a new one has no past. With
        # it an episode is the same bit for bit whatever was played before (measured over 60 episodes).
        if self._car is not None:
            self._arena.remove_car(self._car)
        self._car = self._arena.add_car(rs.Team.BLUE, rs.CarConfig(rs.CarConfig.OCTANE))
        self._arena.reset_kickoff(0)  # for the boost pads; ball and car are placed below
        ball, car = begin.ball, begin.car
        self._arena.ball.set_state(
            rs.BallState(pos=rs.Vec(*ball.position), vel=rs.Vec(*ball.velocity), ang_vel=rs.Vec(*ball.spin))
        )
        state = rs.CarState(
            pos=rs.Vec(*car.position),
            rot_mat=rs.RotMat(*car.rotation.ravel()),
            vel=rs.Vec(*car.velocity),
            ang_vel=rs.Vec(*car.spin),
            is_on_ground=car.on_ground,
            wheels_with_contact=(car.on_ground,) * 4,
            boost=begin.boost,
        )
        self._car.set_state(state)
        self._score = (self._arena.blue_score, self._arena.orange_score)
        self._contacts.clear()
        self._last_contact = -TICK_HZ
        self._limit = round(begin.limit_s * TICK_HZ)
        self.episode_seed = seed
        self.episode += 1
        self._began = self.tick
        self._snapshot = None

    def _count_touches(self) -> Events:
        touches = 0
        self._touching += len(self._contacts)
        for tick in self._contacts:
            touches += tick - self._last_contact > TOUCH_GAP_TICKS
            self._last_contact = tick
        self._contacts.clear()
        return Events(touches=touches)

    def _ended(self) -> Events:
        blue, orange = self._arena.blue_score, self._arena.orange_score
        if blue > self._score[0]:
            return Events(goals=1)
        if orange > self._score[1]:
            return Events(own_goals=1)
        return Events(timeouts=int(self.episode_tick >= self._limit))

    def _car_state(self) -> CarState:
        state = self._car.get_state()
        return CarState(
            body=_body(state),
            team=0,
            boost=state.boost,
            boosting=state.boosting_time > 0,
            on_ground=state.is_on_ground,
            supersonic=state.is_supersonic,
        )


def _body(state: Any) -> Body:
    return Body(
        position=_vector(state.pos),
        velocity=_vector(state.vel),
        angular_velocity=_vector(state.ang_vel),
        rotation=state.rot_mat.as_numpy().astype(np.float64),
    )


def _vector(vec: Any) -> Vec:
    return np.array(vec.as_tuple(), np.float64)
