"""The arena's end of its socket without the arena: a server that tests poll and feed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from rl_utils.arena.server import LinkServer
from rl_utils.arena.wire import (
    PadMessage,
)
from rl_utils.controls import REST, Control
from rl_utils.interfaces import Inputs, InputVector

ABOUT = {"driver": "pad", "situation": "training", "seed": 1, "state_names": ["a", "b"]}


def pad(**controls: float) -> InputVector:
    """REST with some controls changed, by lower-case name."""
    values = REST.copy()
    for name, value in controls.items():
        values[Control[name.upper()]] = value
    return values


def message(t_ns: int, values: InputVector, **more: object) -> PadMessage:
    tick = int(more.pop("tick", 0))  # type: ignore[call-overload]
    return PadMessage(Inputs(values, t_ns=t_ns, **more), tick)  # type: ignore[arg-type]


class Running:
    """A server that is polled as the arena's loop does it, in a thread; its clock stands still, so nobody is silent."""

    NOW_NS = 1_000_000_000

    def __init__(self, server: LinkServer) -> None:
        self.server = server
        self.lock = threading.Lock()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._end.wait(0.002):
            with self.lock:
                self.server.poll(self.NOW_NS)

    def stop(self) -> None:
        self._end.set()
        self._thread.join()

    def publish(self, *messages: PadMessage) -> None:
        with self.lock:
            for each in messages:
                self.server.publish(each)

    def driven(self) -> InputVector | None:
        with self.lock:
            return self.server.driven(self.NOW_NS)


def until(what: Callable[[], object], deadline_s: float = 60.0) -> None:
    end = time.monotonic() + deadline_s
    while not what():
        assert time.monotonic() < end, "this did not become true in time"
        time.sleep(0.002)
