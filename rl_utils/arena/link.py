"""The practice arena's pad from another process: read it (`ArenaPad`), or drive with it (`ArenaSink`).

Both connect to the arena's Unix socket (`wire` has the messages), and connect again by themselves when the arena was
restarted. Neither waits for the arena, except when connecting (again: only for the
kernel, at most 0.1 s, and for the state that comes with the arena's answer) and when asking for `stats`.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from rl_utils.arena.connection import ANSWER_S, Connection
from rl_utils.arena.wire import (
    BadMessageError,
    Kind,
    PadMessage,
    Taps,
    pack_apply,
    unpack_json,
    unpack_pad,
)
from rl_utils.controls import REST
from rl_utils.interfaces import ControllerSink, ControllerSource, Inputs, InputVector, PadInfo, Person, Source

STATS_S: Final = 5.0
"""A busy machine may draw a picture a second; nobody drives any more when this is asked for."""
MAX_WAITING: Final = 1200
"""States kept for `at` (20 s); older ones count only as the state."""


class ArenaPad(ControllerSource):
    """Reads the pad that plays in the arena, whoever holds it.

    Args:
        path: The arena's socket; None takes the usual place.

    Raises:
        UserError: No arena runs, or it does not answer.
    """

    ROLE = "pad"

    def __init__(self, path: Path | None = None) -> None:
        self._link = Connection(path, self.ROLE)
        self._waiting: deque[PadMessage] = deque()
        self._taps, self._label_taps = Taps(), Taps()
        self._newest = PadMessage(Inputs(REST), 0)
        self._begin()

    def at(self, t_ns: int) -> Inputs:
        """The pad at `t_ns`, with presses that came and went since the previous call kept as pressed.

        Values, labels, state, episode and source are those of the newest state not after `t_ns`. A press in a former
        episode says nothing about this one.
        """
        self._receive()
        while self._waiting and self._waiting[0].inputs.t_ns <= t_ns:
            self._step(self._waiting.popleft())
        newest = self._newest.inputs
        return Inputs(
            values=self._taps.take(),
            t_ns=newest.t_ns,
            labels=None if newest.labels is None else self._label_taps.take(),
            state=newest.state,
            episode=newest.episode,
            source=newest.source,
        )

    @property
    def tick(self) -> int:
        """Physics tick of the picture that belongs to the last `at`."""
        return self._newest.tick

    @property
    def info(self) -> PadInfo:
        """The arena's own pad."""
        names = self._link.about.get("state_names", ())
        return PadInfo(name="RLAI arena pad", profile="arena", state_names=tuple(map(str, names)))

    @property
    def about(self) -> Mapping[str, Any]:
        """Driver, situation, seed and process of the arena."""
        return self._link.about

    @property
    def connected(self) -> bool:
        """False while no arena is there."""
        self._receive()
        return self._link.connected

    def close(self) -> None:
        """Hang up."""
        self._link.close()

    def _begin(self) -> None:
        """Take the state that the arena sends at once, so that the first frame has the pad's, as with any pad."""
        if self._link.about.get("state_follows"):
            packet = self._link.receive(ANSWER_S)
            if packet is not None and packet[0] == Kind.PAD:
                with contextlib.suppress(BadMessageError):
                    self._step(unpack_pad(packet))

    def _receive(self) -> None:
        if self._link.try_again():
            self._waiting.clear()
            self._begin()
        was_connected = self._link.connected
        with contextlib.suppress(BadMessageError):
            while (packet := self._link.receive()) is not None:
                if packet[0] == Kind.PAD:
                    self._waiting.append(unpack_pad(packet))
                if len(self._waiting) > MAX_WAITING:
                    self._step(self._waiting.popleft())
        if was_connected and not self._link.connected:
            # An arena that is gone presses nothing.
            self._waiting.clear()
            self._taps.forget()
            self._label_taps.forget()

    def _step(self, message: PadMessage) -> None:
        inputs = message.inputs
        if inputs.episode != self._newest.inputs.episode:
            self._taps.forget()
            self._label_taps.forget()
        self._newest = message
        self._taps.see(inputs.values)
        if inputs.labels is not None:
            self._label_taps.see(inputs.labels)


class ArenaHand(ArenaPad):
    """Reads what a person does at the window of an arena with `--driver pad`, by keyboard or gamepad.

    That drives the car only while no sink does, so that a sink's user can decide whose inputs count.
    """

    ROLE = "hand"

    @property
    def info(self) -> PadInfo:
        """Keyboard and gamepads of the arena's window."""
        return PadInfo(name="keyboard or gamepad of the arena's window", profile="arena")


class ArenaCoach(Person):
    """The scripted driver of an arena with `--driver pad`, who takes the pad from its sink's user (see `coach`).

    Args:
        path: The arena's socket; None takes the usual place.

    Raises:
        UserError: No arena runs, it does not answer, or it plays by itself.
    """

    name = "EXPERT"

    def __init__(self, path: Path | None = None) -> None:
        self._pad = _CoachPad(path)

    def take(self) -> InputVector | None:
        """See `Person.take`."""
        inputs = self._pad.at(time.monotonic_ns())
        return inputs.values if inputs.source is Source.TAKEOVER and self._pad.connected else None

    def close(self) -> None:
        """Hang up."""
        self._pad.close()


class _CoachPad(ArenaPad):
    """What the scripted driver would press; its source says whether it wants to."""

    ROLE = "coach"


class ArenaSink(ControllerSink):
    """Drives in an arena that was started with `--driver pad`. The arena releases everything after 250 ms of silence.

    While the arena is gone, inputs go nowhere.

    Args:
        path: The arena's socket; None takes the usual place.

    Raises:
        UserError: No arena runs, it does not answer, plays by itself, or somebody else drives it.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._link = Connection(path, "sink")
        self._stats: dict[str, Any] = {"goals": 0, "own_goals": 0, "touches": 0, "minutes": 0.0, "episodes": 0}

    def apply(self, inputs: InputVector) -> None:
        """Set every control. (19,) float32 in [0, 1]."""
        self._link.try_again()
        self._link.send(pack_apply(inputs))

    def release(self) -> None:
        """Everything at rest."""
        self._link.send(bytes([Kind.RELEASE]))

    @property
    def connected(self) -> bool:
        """False since the arena was found to be gone."""
        return self._link.connected

    @property
    def about(self) -> Mapping[str, Any]:
        """Driver, situation and seed of the arena."""
        return self._link.about

    @property
    def stats(self) -> Mapping[str, Any]:
        """What happened while this sink drove: goals, own_goals, touches, minutes and (finished) episodes.

        Also goals_per_min, own_goals_per_min and touches_per_min, each with `_low` and `_high` (95 %), once it drove;
        and total_goals and so on since the arena was opened. The last known numbers when the arena is gone.
        """
        if self._link.send(bytes([Kind.ASK])):
            deadline = time.monotonic() + STATS_S
            while (left := deadline - time.monotonic()) > 0:
                packet = self._link.receive(left)
                if packet is None:
                    break
                if packet[0] == Kind.STATS:
                    with contextlib.suppress(BadMessageError):
                        self._stats = unpack_json(packet)
                    break
        return dict(self._stats)

    def close(self) -> None:
        """Release and hang up."""
        self.release()
        self._link.close()
