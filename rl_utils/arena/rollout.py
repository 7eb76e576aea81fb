"""Play starts to their end and count, in one process or many, with the same result bit for bit.

Every start is played in a world of its own by a player that has forgotten the last one, so it does not matter who
plays which start, in what order or beside how many others.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from rl_utils.arena.driver import ConstantDriver, Driver, make_driver
from rl_utils.arena.play_pool import play_pool
from rl_utils.arena.situations import next_seed
from rl_utils.arena.snapshot import TICK_HZ
from rl_utils.arena.world import DECISION_TICKS, Events, World
from rl_utils.config import ComputeDevice, LookName, TeamName
from rl_utils.controls import REST, Control
from rl_utils.interfaces import InputVector, Policy

if TYPE_CHECKING:
    from rl_utils.arena.direct import DirectArena

Progress = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Rollout:
    """One start, played to its end.

    Attributes:
        seed: Of the start.
        goals: 0 or 1.
        own_goals: 0 or 1.
        touches: Contacts after at least 0.2 s without one.
        seconds: Simulated time.
        stick_jerk: Mean absolute second difference of the left stick from decision to decision, in parts of its way
            from end to end: 0 when it moves evenly, 2 when it jumps from end to end each time.
    """

    seed: int
    goals: int
    own_goals: int
    touches: int
    seconds: float
    stick_jerk: float


@dataclass(frozen=True, slots=True)
class PlayerSpec:
    """Who plays, as plain data that every process can make a player of.

    Attributes:
        kind: "policy" and "article" need `checkpoint`, "constant" needs `held`. "article" drives the article's network
            as the article did, faults and all.
        checkpoint: File of a policy.
        held: 19 values in [0, 1].
        team: Whose car it is; see `Game`. Drivers that see the state play the same in both.
        look: Of the arena, one of `looks.LOOKS`.
        compute: Where a policy computes; see `checkpoint.playing_device`.
    """

    kind: Literal["policy", "article", "expert", "idle", "random", "constant"]
    checkpoint: Path | None = None
    held: tuple[float, ...] = ()
    team: TeamName = "blue"
    look: LookName = "default"
    compute: ComputeDevice = "auto"


class Player(ABC):
    """Plays starts one after another."""

    @abstractmethod
    def play(self, situation: str, seed: int) -> Rollout:
        """Play one start to its end."""


class DriverPlayer(Player):
    """A driver that reads the world's state: no pictures are drawn."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def play(self, situation: str, seed: int) -> Rollout:
        """See `Player.play`."""
        world = World(situation, seed)
        self._driver.reset()
        sticks: list[InputVector] = []
        inputs, events = REST, Events()
        while not events.new_episode:
            inputs = self._driver.decide(world, inputs)
            sticks.append(inputs)
            events = world.step(inputs, DECISION_TICKS)
        return _rollout(seed, world, sticks)


class PolicyPlayer(Player):
    """A policy that sees the arena's pictures.

    Args:
        policy: Of a rate that divides 120 Hz.
        size: (width, height) in px of the pictures it wants.
        team: Whose car it is.
        look: Of the arena.
    """

    def __init__(
        self, policy: Policy, size: tuple[int, int], *, team: TeamName = "blue", look: LookName = "default"
    ) -> None:
        self._policy, self._size, self._team, self._look = policy, size, team, look
        self._arenas: dict[str, DirectArena] = {}

    def play(self, situation: str, seed: int) -> Rollout:
        """See `Player.play`."""
        arena = self._arenas.get(situation)
        if arena is None:
            from rl_utils.arena.direct import DirectArena

            arena = DirectArena(
                situation, seed, fps=self._policy.fps, size=self._size, team=self._team, look=self._look
            )
            self._arenas[situation] = arena
        else:
            arena.restart(seed)
        self._policy.reset()
        sticks: list[InputVector] = []
        while True:
            frame = arena.read()
            assert frame is not None
            if arena.game.episode > 0:
                return _rollout(seed, arena.game.world, sticks)
            inputs = self._policy.act(frame.image)
            sticks.append(inputs)
            arena.sink.apply(inputs)


def make_player(spec: PlayerSpec) -> Player:
    """The player that a description stands for.

    Raises:
        UserError: Its checkpoint cannot be used.
    """
    if spec.kind == "policy":
        assert spec.checkpoint is not None
        from rl_utils.checkpoint import load_arena_policy  # torch is loaded only where a network plays

        policy = load_arena_policy(spec.checkpoint, device=spec.compute)
        if policy.sees == "pictures":
            return PolicyPlayer(policy, policy.capture_size, team=spec.team, look=spec.look)
        from rl_utils.arena.policy_driver import policy_driver

        return DriverPlayer(policy_driver(policy, spec.checkpoint))
    if spec.kind == "article":
        assert spec.checkpoint is not None
        from rl_utils.article_play import load_article_policy

        shipped = load_article_policy(spec.checkpoint)
        return PolicyPlayer(shipped, shipped.capture_size, team=spec.team, look=spec.look)
    if spec.kind == "constant":
        return DriverPlayer(ConstantDriver(np.array(spec.held, np.float32)))
    return DriverPlayer(make_driver(spec.kind))


def play_all(
    spec: PlayerSpec, situation: str, seeds: Sequence[int], *, workers: int, on_progress: Progress | None = None
) -> list[Rollout]:
    """Play all starts.

    Args:
        spec: Who plays.
        situation: One of `situations.NAMES`.
        seeds: Of the starts, each once.
        workers: Processes; 0 takes one per core. The result does not depend on it.
        on_progress: Told how many are done.

    Returns:
        In the order of the seeds.

    Raises:
        UserError: The checkpoint cannot be used, unknown situation, no RocketSim, or a process was ended from outside.
    """
    workers = min(workers or len(os.sched_getaffinity(0)), len(seeds))
    report = on_progress or (lambda _: None)
    if workers == 1:
        player = make_player(spec)
        rollouts = []
        for seed in seeds:
            rollouts.append(player.play(situation, seed))
            report(len(rollouts))
        return rollouts
    return _play_in_processes(spec, situation, seeds, workers, report)


def play_minutes(
    spec: PlayerSpec, situation: str, seed: int, minutes: float, *, workers: int, on_progress: Progress | None = None
) -> list[Rollout]:
    """Play consecutive starts until they come to so many simulated minutes.

    Args:
        spec: Who plays.
        situation: One of `situations.NAMES`.
        seed: Of the first start; the others follow by `situations.next_seed`.
        minutes: At least so many; the start in which they are reached is played to its end.
        workers: Processes; 0 takes one per core. The result does not depend on it.
        on_progress: Told how many minutes are done.

    Returns:
        In the order of the seeds.

    Raises:
        UserError: As `play_all`.
    """
    workers = workers or len(os.sched_getaffinity(0))
    rollouts: list[Rollout] = []
    done_s = 0.0

    def enough(rollout: Rollout) -> bool:
        nonlocal done_s
        rollouts.append(rollout)
        done_s += rollout.seconds
        if on_progress is not None:
            on_progress(done_s / 60)
        return done_s >= minutes * 60

    if workers == 1:
        player = make_player(spec)
        while not enough(player.play(situation, seed)):
            seed = next_seed(seed)
        return rollouts
    with play_pool(workers, _prepare_worker, spec) as pool:
        ahead: deque[Future[Rollout]] = deque()
        while True:
            while len(ahead) <= workers:  # starts beyond the last one that counts are played for nothing
                ahead.append(pool.submit(_play_in_worker, situation, seed))
                seed = next_seed(seed)
            if enough(ahead.popleft().result()):
                pool.shutdown(wait=False, cancel_futures=True)
                return rollouts


def _play_in_processes(
    spec: PlayerSpec, situation: str, seeds: Sequence[int], workers: int, report: Progress
) -> list[Rollout]:
    with play_pool(workers, _prepare_worker, spec) as pool:
        futures = [pool.submit(_play_in_worker, situation, seed) for seed in seeds]
        for done, future in enumerate(as_completed(futures), 1):
            future.result()
            report(done)
        return [future.result() for future in futures]


class _Worker:
    """What a worker process keeps."""

    spec: PlayerSpec
    player: Player | None = None


def _prepare_worker(spec: PlayerSpec) -> None:
    _Worker.spec = spec


def _play_in_worker(situation: str, seed: int) -> Rollout:
    if _Worker.player is None:
        _Worker.player = make_player(_Worker.spec)  # here, so that a UserError reaches the parent as such
    return _Worker.player.play(situation, seed)


def _rollout(seed: int, world: World, sticks: Sequence[InputVector]) -> Rollout:
    counts = world.counts
    left_stick = np.array(sticks)[:, [Control.LEFT_X, Control.LEFT_Y]].astype(np.float64)
    bends = np.abs(np.diff(left_stick, n=2, axis=0))
    return Rollout(
        seed=seed,
        goals=counts.goals,
        own_goals=counts.own_goals,
        touches=counts.touches,
        seconds=world.tick / TICK_HZ,
        stick_jerk=float(bends.mean()) if bends.size else 0.0,
    )
