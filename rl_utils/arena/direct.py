"""Direct mode: the arena without a window, as frames, pad and sink; it advances only when a frame is read.

A frame is drawn as the window draws it and shrunk as a captured window is shrunk, so both give the same pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rl_utils.arena.camera import CameraMode
from rl_utils.arena.game import Game
from rl_utils.arena.looks import look_named
from rl_utils.arena.obs_layout import OBS_NAMES, observe
from rl_utils.arena.renderer import Renderer
from rl_utils.arena.snapshot import TICK_HZ
from rl_utils.config import LookName, TeamName
from rl_utils.controls import REST
from rl_utils.errors import UserError
from rl_utils.images import shrink_to_rgb
from rl_utils.interfaces import (
    ControllerSink,
    ControllerSource,
    Frame,
    FrameInfo,
    FrameSource,
    Inputs,
    InputVector,
    PadInfo,
    Person,
    Source,
)

TITLE = "Rocket League"
WINDOW_SIZE = (960, 540)
"""The arena's window as it opens: (width, height) in px."""
CAPTURE_SIZE = (480, 270)
START_NS = 1_000_000_000
"""Simulated time of the first frame; 0 would mean "no pad event yet"."""


class DirectArena(FrameSource):
    """The practice arena in simulated time.

    Every `read` after the first one plays 1/fps s with the inputs that hold, then draws. `pad` is the driver's pad and
    `sink` takes the pad over: what was applied last holds until the next `apply`, as on a real pad. With a driver and
    a sink in use, the driver's wishes are the labels. With a coach, `person` is the scripted driver, who takes the pad
    from the sink's user when they do badly (`coach`).

    Args:
        situation: One of `situations.NAMES`.
        seed: Of the first start, and of the noise.
        fps: Frames per simulated second; divides 120.
        size: (width, height) of the frames in px.
        driver: "expert", "idle", or None: the sink drives.
        noise: Strength of the disturbance of the driver, 0 to 1.
        coach: Without a driver: let the scripted one watch.
        camera: "ball" or "car" at the start.
        window_size: (width, height) of the picture before shrinking, in px.
        team: Whose car it is; see `Game`.
        look: One of `looks.LOOKS`.

    Raises:
        UserError: Unknown situation, driver or look, a seed or rate that does not fit, or no RocketSim.
    """

    real_time = False

    def __init__(
        self,
        situation: str = "training",
        seed: int = 0,
        *,
        fps: float = 30.0,
        size: tuple[int, int] = CAPTURE_SIZE,
        driver: str | None = None,
        noise: float = 0.0,
        coach: bool = False,
        camera: CameraMode = "ball",
        window_size: tuple[int, int] = WINDOW_SIZE,
        team: TeamName = "blue",
        look: LookName = "default",
    ) -> None:
        if fps <= 0 or TICK_HZ % fps:
            raise UserError(f"{fps:g} frames per second do not divide the arena's {TICK_HZ} Hz", "Use 30 or 60")
        self._ticks = round(TICK_HZ / fps)
        self._situation = situation
        self._size = size
        self._renderer = Renderer(*window_size, look=look_named(look))
        self._team: TeamName = team
        self._look = look
        self._driver = driver
        self._noise = noise
        self._coach = coach
        self._camera: CameraMode = camera
        self._closed = False
        self.restart(seed)
        self.pad: ControllerSource = DirectPad(self)
        self.sink: ControllerSink = DirectSink(self)
        self.person: Person = DirectCoach(self)

    def restart(self, seed: int) -> None:
        """Begin anew with this seed, as if just opened: faster, since what draws the pictures is kept."""
        self.game = Game(
            self._situation, seed, driver=self._driver, noise=self._noise, camera=self._camera, team=self._team
        )
        self.game.set_coach(on=self._coach)
        self._applied: InputVector | None = None if self._driver is not None else REST
        self._begun = False

    @property
    def t_ns(self) -> int:
        """Simulated time in ns."""
        return START_NS + self.game.world.tick * 1_000_000_000 // TICK_HZ

    @property
    def problem(self) -> str:
        """Nothing but having been closed."""
        return "closed" if self._closed else ""

    @property
    def exhausted(self) -> bool:
        """True after `close`."""
        return self._closed

    @property
    def segment(self) -> int:
        """The episode: a new start does not continue the last picture."""
        return self.game.episode

    @property
    def info(self) -> FrameInfo:
        """The arena, without a window."""
        size = (self._renderer.width, self._renderer.height)
        variant = [self._team] * (self._team != "blue") + [self._look] * (self._look != "default")
        backend = ", ".join(["arena", "direct", self._situation, *variant])
        return FrameInfo(title=TITLE, native_size=size, backend=backend, is_arena=True)

    @property
    def stats(self) -> Mapping[str, float]:
        """Goals, own goals, touches, minutes and finished episodes so far."""
        return self.game.stats

    def read(self) -> Frame | None:
        """Play 1/fps s (not before the first frame) and draw."""
        if self._closed:
            return None
        if self._begun:
            self.game.advance(self._ticks, self._applied)
        self._begun = True
        picture = self._renderer.render(self.game.snapshot(), self.game.view())
        return Frame(shrink_to_rgb(picture, *self._size), self.t_ns)

    def close(self) -> None:
        """Stop giving frames."""
        self._closed = True

    def apply(self, inputs: InputVector) -> None:
        """Hold these inputs from now on. (19,) float32 in [0, 1]."""
        self._applied = np.array(inputs, np.float32)

    def inputs(self) -> Inputs:
        """The pad at the moment of the last frame."""
        game = self.game
        return Inputs(
            values=game.inputs,
            t_ns=self.t_ns,
            labels=game.labels,
            state=observe(game.snapshot()),
            episode=game.episode,
            source=Source.SCRIPTED if self._applied is None else Source.POLICY,
        )


class DirectPad(ControllerSource):
    """The pad that plays in direct mode."""

    def __init__(self, arena: DirectArena) -> None:
        self._arena = arena

    def at(self, t_ns: int) -> Inputs:
        """The pad at the moment of the last frame; simulated time stands still in between."""
        return self._arena.inputs()

    @property
    def info(self) -> PadInfo:
        """The arena's own pad."""
        return PadInfo(name="RLAI arena pad", profile="arena", state_names=OBS_NAMES)

    def close(self) -> None:
        """Nothing of its own."""


class DirectSink(ControllerSink):
    """Drives in direct mode."""

    def __init__(self, arena: DirectArena) -> None:
        self._arena = arena

    def apply(self, inputs: InputVector) -> None:
        """Hold these inputs from the last frame on. (19,) float32 in [0, 1]."""
        self._arena.apply(inputs)

    def release(self) -> None:
        """Everything at rest from the last frame on."""
        self._arena.apply(REST)

    @property
    def stats(self) -> Mapping[str, Any]:
        """Goals, own goals, touches, minutes and finished episodes so far."""
        return self._arena.stats

    def close(self) -> None:
        """Release."""
        self.release()


class DirectCoach(Person):
    """The scripted driver as the person who watches, in direct mode."""

    name = "EXPERT"

    def __init__(self, arena: DirectArena) -> None:
        self._arena = arena

    def take(self) -> InputVector | None:
        """See `Person.take`; decided at the moment of the last frame."""
        game = self._arena.game
        if game.coach is None or not game.coach.holds:
            return None
        return game.wish.copy()

    def close(self) -> None:
        """Nothing of its own."""
