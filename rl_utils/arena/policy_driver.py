"""Trained policies as drivers of any car in the arena: from its pictures, or from its state."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from numpy.typing import NDArray

from rl_utils.arena.camera import Camera
from rl_utils.arena.direct import WINDOW_SIZE
from rl_utils.arena.driver import Driver, Playground
from rl_utils.arena.obs_layout import observe
from rl_utils.arena.renderer import Renderer
from rl_utils.arena.snapshot import TICK_HZ
from rl_utils.arena.world import DECISION_TICKS
from rl_utils.controls import REST, Control
from rl_utils.errors import UserError
from rl_utils.images import shrink_to_rgb
from rl_utils.interfaces import InputVector, Policy

if TYPE_CHECKING:
    from rl_utils.policy import NetworkPolicy, StatePolicy

DECISION_HZ: Final = TICK_HZ // DECISION_TICKS


def open_policy_driver(checkpoint: Path) -> Driver:
    """A driver from a checkpoint of either kind.

    Raises:
        UserError: The checkpoint cannot be used, or was trained at a rate that does not divide 30 Hz.
    """
    from rl_utils.checkpoint import load_arena_policy  # torch is loaded only where a network plays

    return policy_driver(load_arena_policy(checkpoint), checkpoint)


def policy_driver(policy: NetworkPolicy | StatePolicy, checkpoint: Path) -> Driver:
    """A driver from a policy that is open already.

    Args:
        policy: Sees pictures, or the state.
        checkpoint: Where it comes from, for messages.

    Raises:
        UserError: It was trained at a rate that does not divide 30 Hz.
    """
    if policy.fps <= 0 or DECISION_HZ % policy.fps:
        raise UserError(
            f"{checkpoint} was trained at {policy.fps:g} fps, which does not divide the {DECISION_HZ} Hz of drivers",
            "Name a checkpoint for 30 fps",
        )
    return PolicyDriver(policy, policy.capture_size)


class PolicyDriver(Driver):
    """Lets a policy drive, as it would through the window or on a recording's state.

    Args:
        policy: Shown pictures or states, as it wants; of a rate that divides 30 Hz.
        capture_size: (width, height) in px of the pictures.
    """

    def __init__(self, policy: Policy, capture_size: tuple[int, int]) -> None:
        self._policy = policy
        self._size = capture_size
        self._every = round(DECISION_HZ / policy.fps)
        # Drawing is set up only for those that look at pictures.
        self._renderer = Renderer(*WINDOW_SIZE) if policy.sees == "pictures" else None
        self.reset()

    def reset(self) -> None:
        """See `Driver.reset`."""
        self._policy.reset()
        self._camera: Camera | None = None
        self._decisions = 0
        self._inputs = REST
        self._applied = REST

    def watch(self, world: Playground) -> None:
        """Let the camera follow."""
        if self._renderer is None:
            return
        if self._camera is None:
            self._camera = Camera("ball")
            self._camera.reset(world.snapshot())
        else:
            self._camera.update(world.snapshot())

    def decide(self, world: Playground, applied: InputVector) -> InputVector:
        """See `Driver.decide`."""
        if self._decisions % self._every == 0:
            self._inputs = self._policy.act(self._look(world, applied))
        self._decisions += 1
        return self._inputs.copy()

    def _look(self, world: Playground, applied: InputVector) -> NDArray[Any]:
        if self._renderer is None:
            return observe(world.snapshot())
        assert self._camera is not None, "watch comes before decide"
        if applied[Control.NORTH] > 0.5 >= self._applied[Control.NORTH]:
            self._camera.toggle()
        self._applied = applied
        picture = self._renderer.render(world.snapshot(), self._camera.view())
        return shrink_to_rgb(picture, *self._size)
