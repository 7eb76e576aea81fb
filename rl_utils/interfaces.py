"""What flows through the toolkit (Frame, Inputs) and the four kinds of device and policy that loops are written for.

A window, a recorded session and the practice arena are all FrameSources; a pad, a recording and the arena's socket are
ControllerSources; uinput, the arena and a log file are ControllerSinks. Loops never know which one they hold. A Person
may take the pad from a Policy while it drives.
All of them are context managers; leaving one frees its resources, and a sink releases every control first.
All times are CLOCK_MONOTONIC nanoseconds, except in simulated time (`FrameSource.real_time` is False).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from rl_utils.controls import N_CONTROLS

Image = NDArray[np.uint8]
"""(H, W, 3) uint8 RGB."""
InputVector = NDArray[np.float32]
"""(19,) float32 in [0, 1], in the order of `controls.Control`."""


class Source(IntEnum):
    """Who held the pad when a sample was taken."""

    HUMAN = 0
    POLICY = 1
    TAKEOVER = 2
    SCRIPTED = 3


class Flag(IntFlag):
    """What is special about a sample."""

    LATE = 1
    DUPLICATE = 2
    PRE_TAKEOVER = 4


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of the game.

    Attributes:
        image: (H, W, 3) uint8 RGB, owned by the receiver (never overwritten by the source).
        t_ns: When it was taken.
        duplicate: The picture is known to be the previous one again.
    """

    image: Image
    t_ns: int
    duplicate: bool = False

    def __post_init__(self) -> None:
        assert self.image.ndim == 3, self.image.shape
        assert self.image.shape[2] == 3, self.image.shape
        assert self.image.dtype == np.uint8, self.image.dtype


@dataclass(frozen=True, slots=True)
class Inputs:
    """The pad's state at one moment.

    Attributes:
        values: (19,) float32 in [0, 1]: what the pad did.
        t_ns: Time of the newest pad event in it, 0 before the first.
        labels: (19,) float32 or None: what should be learnt where it differs from `values`.
        state: (K,) float32 or None: the arena's observation.
        episode: Grows with every arena reset or mark of the person.
        source: Who held the pad.
    """

    values: InputVector
    t_ns: int = 0
    labels: InputVector | None = None
    state: NDArray[np.float32] | None = None
    episode: int = 0
    source: Source = Source.HUMAN

    def __post_init__(self) -> None:
        assert self.values.shape == (N_CONTROLS,), self.values.shape
        assert self.values.dtype == np.float32, self.values.dtype
        assert self.labels is None or self.labels.shape == (N_CONTROLS,)


class PadEvent(NamedTuple):
    """One raw event of the pad, as the kernel stamped it (type, code and value of linux/input.h)."""

    t_ns: int
    type: int
    code: int
    value: int


@dataclass(frozen=True)
class FrameInfo:
    """Where frames come from; written to session.json.

    Attributes:
        title: Window title, or a description of the source.
        wm_class: X11 WM_CLASS, empty where there is no window.
        native_size: (width, height) of the window or picture before shrinking.
        backend: How pixels are obtained ("xshm-window", "mss", "arena", "replay", ...).
        reason: Why that backend was chosen, when it is not the best one; else empty.
        is_arena: The practice arena rather than the real game.
    """

    title: str
    wm_class: str = ""
    native_size: tuple[int, int] = (0, 0)
    backend: str = ""
    reason: str = ""
    is_arena: bool = False


@dataclass(frozen=True)
class PadInfo:
    """Which pad inputs come from; written to session.json.

    Attributes:
        name: As the device calls itself.
        profile: Name of the `controls.PadProfile` that was applied, or "arena", "replay".
        ids: bus, vendor, product, version as in linux/input.h.
        path: Device node, empty where there is none.
        ranges: control name → (minimum, rest, maximum) in device units.
        state_names: Names of the elements of `Inputs.state`, empty without state.
        reason: Why this profile: "by its driver (xpad)".
        codes: "keys" and "axes": evdev code in hexadecimal → control, so that the raw events keep their meaning.
    """

    name: str
    profile: str = ""
    ids: Mapping[str, int] = field(default_factory=dict)
    path: str = ""
    ranges: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
    state_names: tuple[str, ...] = ()
    reason: str = ""
    codes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


class Device(ABC):
    """A context manager with an idempotent `close`."""

    @abstractmethod
    def close(self) -> None:
        """Free everything. May be called more than once."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class FrameSource(Device):
    """Pictures of the game."""

    real_time: bool = True
    """False for sources that advance only when read (recordings, direct mode): loops must not pace them."""

    @abstractmethod
    def read(self) -> Frame | None:
        """Return the picture as it is now, or None while there is nothing to take (see `problem`)."""

    @property
    @abstractmethod
    def problem(self) -> str:
        """Why the last `read` returned None, for the status line ("not focused", "minimised", ...); "" otherwise."""

    @property
    @abstractmethod
    def info(self) -> FrameInfo:
        """Describe the source as it is now."""

    @property
    def segment(self) -> int:
        """Grows whenever the picture does not continue the previous one (a new start, a cut), where that is known."""
        return 0

    @property
    def exhausted(self) -> bool:
        """True once no further frame can come (end of a recording, window closed for good)."""
        return False


class ControllerSource(Device):
    """A gamepad that is read."""

    @abstractmethod
    def at(self, t_ns: int) -> Inputs:
        """Return the pad's state at `t_ns`, with presses that came and went since the previous call kept as pressed.

        Args:
            t_ns: A time not earlier than that of the previous call; events after it are left for the next one.
        """

    @property
    @abstractmethod
    def info(self) -> PadInfo:
        """Describe the pad."""

    @property
    def connected(self) -> bool:
        """False while the pad is unplugged."""
        return True

    def take_events(self) -> Sequence[PadEvent]:
        """Return and forget the raw events that `at` has consumed so far."""
        return ()


class ControllerSink(Device):
    """A gamepad that is driven."""

    @abstractmethod
    def apply(self, inputs: InputVector) -> None:
        """Set every control. (19,) float32 in [0, 1]."""

    @abstractmethod
    def release(self) -> None:
        """Sticks and d-pad to rest, triggers to 0, all buttons up."""

    def pressed(self, inputs: InputVector) -> InputVector:
        """What the pad does when it is told to `apply` these inputs, as recordings hold it: a sink may mask some."""
        return inputs

    @property
    def stats(self) -> Mapping[str, Any]:
        """What the other side knows about the play so far (the arena's goals and touches); empty elsewhere."""
        return {}


class Policy(ABC):
    """Anything that looks at frames and answers with inputs."""

    fps: float
    """The rate it was made for, in Hz."""
    sees: Literal["pictures", "state"] = "pictures"
    """What `act` is shown. The practice arena alone can show its state: 24 numbers, as recordings from it hold them."""

    @abstractmethod
    def reset(self) -> None:
        """Forget the past: the next frame does not continue the last one."""

    @abstractmethod
    def act(self, image: Image) -> InputVector:
        """Answer one frame. (H, W, 3) uint8 RGB → (19,) float32 in [0, 1], buttons exactly 0 or 1."""


class Person(Device):
    """Somebody who watches a policy drive and may take the pad from it."""

    name: str = "YOU"
    """As the status line calls them while they drive."""

    @abstractmethod
    def take(self) -> InputVector | None:
        """What they press now, while they hold the pad; None while it is the policy's. Asked once per tick.

        Returns:
            (19,) float32 in [0, 1], a new array.
        """

    @property
    def info(self) -> PadInfo:
        """What they hold; written to session.json."""
        return PadInfo(name=self.name.lower(), profile="arena")

    @property
    def lost(self) -> str:
        """Why they can no longer take the pad, which ends the drive; "" while they can."""
        return ""
