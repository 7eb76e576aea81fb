"""Drivers that play the arena through the pad's 19 inputs, as a person does."""

from __future__ import annotations

from abc import ABC, abstractmethod

from rl_utils.arena.world import World
from rl_utils.controls import REST
from rl_utils.errors import UserError
from rl_utils.interfaces import InputVector


class Driver(ABC):
    """Decides 30 times per second of simulated time what the pad does."""

    @abstractmethod
    def reset(self) -> None:
        """A new episode has begun: forget the past."""

    @abstractmethod
    def decide(self, world: World, applied: InputVector) -> InputVector:
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

    def decide(self, world: World, applied: InputVector) -> InputVector:
        """Rest."""
        return REST.copy()


def make_driver(name: str) -> Driver:
    """The driver of this name.

    Raises:
        UserError: There is none.
    """
    if name == "idle":
        return IdleDriver()
    if name == "expert":
        from rl_utils.arena.expert import ExpertDriver

        return ExpertDriver()
    raise UserError(f"There is no driver {name}", "Choose expert or idle")
