"""World, camera and whoever plays, advanced together: the window and the direct mode are this, seen in two ways."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rl_utils.arena.camera import Camera, CameraMode, View
from rl_utils.arena.coach import Coach
from rl_utils.arena.driver import Driver, make_driver
from rl_utils.arena.noise import Disturbance
from rl_utils.arena.snapshot import CAMERA_HZ, TICK_HZ, Snapshot, half_turned
from rl_utils.arena.world import DECISION_TICKS, Events, World
from rl_utils.config import TeamName
from rl_utils.controls import REST, Control
from rl_utils.interfaces import InputVector

CAMERA_TICKS = TICK_HZ // CAMERA_HZ


class Game:
    """The practice game in simulated time: nothing here knows of clocks, windows or sockets.

    With a driver, `inputs` is what the pad does from now on, decided every 4 ticks (30 Hz) from the world as it is at
    that moment; so a picture taken now belongs to these inputs. With noise they are disturbed, and `labels` are what
    the driver wanted. `advance` follows the driver, or the inputs it is given; then the driver is a coach whose wishes
    are the labels.

    Args:
        situation: One of `situations.NAMES`.
        seed: Of the first start, and of the noise.
        driver: "expert", "idle", or None for somebody outside.
        noise: Strength of the disturbance of the driver's inputs, 0 to 1.
        camera: "ball" or "car" at the start; the top face button toggles it.
        team: Whose car it is. The pitch maps onto itself by half a turn, so orange plays what blue plays, seen from the
            other end: an orange car, the other goal, the other side of the score.

    Raises:
        UserError: Unknown situation, bad seed, or no RocketSim.
    """

    def __init__(
        self,
        situation: str = "training",
        seed: int = 0,
        *,
        driver: str | None = None,
        noise: float = 0.0,
        camera: CameraMode = "ball",
        team: TeamName = "blue",
    ) -> None:
        self.world = World(situation, seed)
        self._turned = team == "orange"
        self.camera = Camera(camera)
        self.driver: Driver | None = make_driver(driver) if driver is not None else None
        self.coach: Coach | None = None
        """Says when the pad is to be the driver's instead of whoever drives from outside; see `set_coach`."""
        self._disturbance = Disturbance(noise, np.random.default_rng(seed)) if noise > 0 else None
        self._wish = REST.copy()
        self._inputs = REST.copy()
        self._applied = REST.copy()
        self._episode = -1
        self._arrive()

    @property
    def inputs(self) -> InputVector:
        """(19,) float32: what the pad does now: the driver's inputs, or without a driver those given last."""
        return self._inputs

    @property
    def labels(self) -> InputVector | None:
        """(19,) float32: what the driver wants to do now, where that can differ from what the pad does; else None."""
        if self.driver is None or (self._disturbance is None and self._inputs is self._wish):
            return None
        return self._wish

    @property
    def wish(self) -> InputVector:
        """(19,) float32: what the driver, or the one who watches, wants to do now; at rest without one."""
        return self._wish

    @property
    def episode(self) -> int:
        """Grows with every new start."""
        return self.world.episode

    @property
    def stats(self) -> Mapping[str, float]:
        """Goals, own goals, touches, minutes and finished episodes so far."""
        return self.world.stats

    def snapshot(self) -> Snapshot:
        """The world as it is now, and as it is seen."""
        snapshot = self.world.snapshot()
        return half_turned(snapshot) if self._turned else snapshot

    def view(self) -> View:
        """Where the camera is now."""
        return self.camera.view()

    def advance(self, ticks: int, inputs: InputVector | None = None) -> Events:
        """Play so many ticks (1/120 s each).

        Args:
            ticks: At least 1; any cutting of the same time into calls gives the same game.
            inputs: (19,) float32 held all the while, instead of the driver's.
        """
        events = Events()
        while ticks:
            piece = min(ticks, CAMERA_TICKS - self.world.tick % CAMERA_TICKS)
            applied = self._inputs if inputs is None else inputs
            if applied[Control.NORTH] > 0.5 >= self._applied[Control.NORTH]:
                self.camera.toggle()
            self._applied = applied
            events += self.world.step(applied, piece)
            ticks -= piece
            self._arrive()
        if inputs is not None:
            self._inputs = inputs.copy()
        return events

    def set_coach(self, *, on: bool) -> None:
        """Let the scripted driver watch whoever drives from outside: `labels` is what it would press, `coach` when."""
        if on == (self.coach is not None):
            return
        assert not on or self.driver is None, "the car is driven by a driver already"
        self.coach = Coach() if on else None
        self.driver = make_driver("expert") if on else None
        if self.driver is not None:
            self._wish = self.driver.decide(self.world, self._applied)

    def restart(self) -> None:
        """Leave this episode and begin the next one."""
        self.world.restart()
        self._arrive()

    def toggle_camera(self) -> None:
        """Switch between ball camera and car camera."""
        self.camera.toggle()

    def _arrive(self) -> None:
        """The world has moved: let camera and driver catch up with it."""
        world = self.world
        begun = world.episode != self._episode
        self._episode = world.episode
        if begun:
            self.camera.reset(self.snapshot())
        elif world.tick % CAMERA_TICKS == 0:
            self.camera.update(self.snapshot())
        if self.driver is not None and (begun or world.tick % DECISION_TICKS == 0):
            if begun:
                self.driver.reset()
            self._wish = self.driver.decide(world, self._applied)
            if self.coach is not None:
                self.coach.see(world.snapshot(), world.counts.touches)
            self._inputs = self._wish if self._disturbance is None else self._disturbance(self._wish, begun=begun)
