"""Drivers that play the arena through the pad's 19 inputs, as a person does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rl_utils.arena.snapshot import Snapshot
from rl_utils.controls import BUTTONS, N_CONTROLS, REST
from rl_utils.errors import UserError
from rl_utils.interfaces import InputVector


class Playground(Protocol):
    """What a driver can ask of the world: its own car first, and always as the blue team sees it."""

    @property
    def tick(self) -> int:
        """Ticks so far, 1/120 s each."""

    @property
    def episode_seed(self) -> int:
        """Of this episode's start."""

    def snapshot(self) -> Snapshot:
        """The world as it is now."""

    def predict_ball(self, count: int, interval_ticks: int) -> NDArray[np.float64]:
        """Where the ball will be if nobody touches it; see `World.predict_ball`."""


class Driver(ABC):
    """Decides 30 times per second of simulated time what the pad does."""

    @abstractmethod
    def reset(self) -> None:
        """A new episode has begun: forget the past."""

    def watch(self, world: Playground) -> None:  # noqa: B027  # most drivers need no camera
        """See the world 60 times per second, before decisions: for drivers with a camera."""

    @abstractmethod
    def decide(self, world: Playground, applied: InputVector) -> InputVector:
        """Look at the world and answer with inputs for the next 4 ticks.

        Args:
            world: As it is now.
            applied: (19,) float32: what the car was really told since the last decision. Where it differs from the
                last answer, the driver drops what it had begun.

        Returns:
            (19,) float32 in [0, 1], a new array.
        """


class IdleDriver(Driver):
    """Touches nothing."""

    def reset(self) -> None:
        """Nothing to forget."""

    def decide(self, world: Playground, applied: InputVector) -> InputVector:
        """Rest."""
        return REST.copy()


class ConstantDriver(Driver):
    """Holds the same inputs for ever, as a baseline: whatever scores no better has learnt nothing.

    Args:
        inputs: (19,) float32 in [0, 1].
    """

    def __init__(self, inputs: InputVector) -> None:
        self._inputs = inputs

    def reset(self) -> None:
        """Nothing to forget."""

    def decide(self, world: Playground, applied: InputVector) -> InputVector:
        """The same as always."""
        return self._inputs.copy()


class RandomDriver(Driver):
    """Presses anything for 2 to 20 decisions, then anything else; the same in the same episode.

    Args:
        index: Which of several random drivers of a match this is: each presses something else.
    """

    def __init__(self, index: int = 0) -> None:
        self._index = index
        self.reset()

    def reset(self) -> None:
        """A new episode has its own randomness."""
        self._rng: np.random.Generator | None = None
        self._left = 0
        self._held = REST

    def decide(self, world: Playground, applied: InputVector) -> InputVector:
        """See `Driver.decide`."""
        if self._rng is None:
            # The first one draws as it would alone: its scores are a baseline, which must not change.
            seed = world.episode_seed
            self._rng = np.random.default_rng((seed, self._index) if self._index else seed)
        if self._left == 0:
            self._left = int(self._rng.integers(2, 21))
            held = self._rng.random(N_CONTROLS, dtype=np.float32)
            held[BUTTONS] = held[BUTTONS] > 0.5
            self._held = held
        self._left -= 1
        return self._held.copy()


def make_driver(name: str, index: int = 0) -> Driver:
    """The driver of this name.

    Args:
        name: expert, idle or random.
        index: Of its car among those that are driven, so that two random drivers of a match differ.

    Raises:
        UserError: There is none.
    """
    if name == "idle":
        return IdleDriver()
    if name == "expert":
        from rl_utils.arena.expert import ExpertDriver

        return ExpertDriver()
    if name == "random":
        return RandomDriver(index)
    raise UserError(f"There is no driver {name}", "Choose expert, idle or random")
