"""The arena's end of its socket: tells pads what is pressed, lets one sink press, and never waits for anybody."""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rl_utils.arena.rates import rate
from rl_utils.arena.snapshot import TICK_HZ
from rl_utils.arena.wire import (
    MAX_PACKET,
    VERSION,
    BadMessageError,
    Kind,
    PadMessage,
    Taps,
    check_path,
    new_socket,
    pack_json,
    pack_pad,
    socket_path,
    unpack_apply,
    unpack_json,
)
from rl_utils.arena.world import Events
from rl_utils.controls import LAYOUT_VERSION
from rl_utils.errors import UserError
from rl_utils.interfaces import Device, InputVector, Source

log = logging.getLogger(__name__)

SILENCE_NS: Final = 250_000_000
"""A sink that says nothing for so long has died or hangs: everything is released."""
ROLES: Final = ("pad", "sink", "hand", "coach")
"""What clients are: they read the pad that plays, drive, read what a person does at the window, or what the scripted
driver would do who watches somebody drive."""
MAX_CLIENTS: Final = 16
MAX_PACKETS: Final = 64
"""Read from one client in one `poll`; the rest stays with the kernel, which makes a flooding client wait."""


@dataclass
class Achievements:
    """What happened while one client drove, episode by episode."""

    goals: list[int] = field(default_factory=lambda: [0])
    own_goals: list[int] = field(default_factory=lambda: [0])
    touches: list[int] = field(default_factory=lambda: [0])
    ticks: list[int] = field(default_factory=lambda: [0])

    def add(self, events: Events, ticks: int) -> None:
        """Count what happened in so many ticks."""
        self.goals[-1] += events.goals
        self.own_goals[-1] += events.own_goals
        self.touches[-1] += events.touches
        self.ticks[-1] += ticks
        if events.new_episode:
            for counts in (self.goals, self.own_goals, self.touches, self.ticks):
                counts.append(0)

    def counts(self) -> dict[str, float]:
        """Goals, own goals, touches, minutes and finished episodes."""
        return {
            "goals": sum(self.goals),
            "own_goals": sum(self.own_goals),
            "touches": sum(self.touches),
            "minutes": sum(self.ticks) / TICK_HZ / 60,
            "episodes": len(self.ticks) - 1,
        }

    def rates(self) -> dict[str, float]:
        """Goals, own goals and touches per minute with their 95 % limits; nothing before there was play."""
        played = [i for i, ticks in enumerate(self.ticks) if ticks]
        minutes = [self.ticks[i] / TICK_HZ / 60 for i in played]
        found: dict[str, float] = {}
        for name in ("goals", "own_goals", "touches") if played else ():
            per_min = rate([getattr(self, name)[i] for i in played], minutes)
            found |= {f"{name}_per_min": per_min.per_min}
            found |= {f"{name}_per_min_low": per_min.low, f"{name}_per_min_high": per_min.high}
        return found


@dataclass
class _Client:
    connection: socket.socket
    role: str = ""
    taps: Taps = field(default_factory=Taps)
    heard_ns: int | None = None
    achieved: Achievements = field(default_factory=Achievements)


class LinkServer(Device):
    """Listens on a Unix socket; the arena's loop calls `poll`, `driven` and `publish` once per picture.

    Args:
        path: The socket; None takes `socket_path()`.
        about: Driver, situation, seed and state_names, for the clients.
        refuse_sinks: Why nobody may drive from outside, as problem and remedy; None lets one client drive and others
            take part in that.

    Raises:
        UserError: Another arena listens there, or the socket cannot be made.
    """

    def __init__(
        self, path: Path | None, *, about: Mapping[str, Any], refuse_sinks: tuple[str, str] | None = None
    ) -> None:
        self.path = socket_path() if path is None else path
        self._about = {"version": VERSION, **about}
        self._refuse_sinks = refuse_sinks
        self._clients: list[_Client] = []
        self._listener: socket.socket | None = _listen(self.path)
        self._inode = self.path.stat().st_ino
        self._newest: dict[str, bytes] = {}
        self._all = Achievements()

    def poll(self, now_ns: int) -> None:
        """Welcome new clients and read what has arrived. Returns at once."""
        assert self._listener is not None, "closed"
        with contextlib.suppress(BlockingIOError, ConnectionAbortedError):
            while True:
                connection, _ = self._listener.accept()
                connection.setblocking(False)
                if len(self._clients) < MAX_CLIENTS:
                    self._clients.append(_Client(connection))
                else:
                    connection.close()
        for client in list(self._clients):
            self._read(client, now_ns)

    def driven(self, now_ns: int) -> InputVector | None:
        """The inputs of the client that drives, (19,) float32; None while nobody does."""
        driver = self._driver(now_ns)
        return None if driver is None else driver.taps.take()

    def count(self, events: Events, ticks: int, now_ns: int) -> None:
        """Note what happened, and credit it to the client that drives."""
        self._all.add(events, ticks)
        driver = self._driver(now_ns)
        if driver is not None:
            driver.achieved.add(events, ticks)

    def publish(self, message: PadMessage, *, role: str = "pad") -> None:
        """Tell all clients of this role; one whose packets pile up misses this one."""
        packet = self._newest[role] = pack_pad(message)
        for client in [c for c in self._clients if c.role == role]:
            self._send(client, packet)

    def has(self, role: str) -> bool:
        """Whether a client of this role is connected."""
        return any(client.role == role for client in self._clients)

    def close(self) -> None:
        """Hang up on everybody and remove the socket."""
        if self._listener is None:
            return
        self._listener.close()
        self._listener = None
        for client in list(self._clients):
            self._drop(client)
        with contextlib.suppress(FileNotFoundError):
            if self.path.stat().st_ino == self._inode:
                self.path.unlink()

    def _driver(self, now_ns: int) -> _Client | None:
        for client in self._clients:
            if client.role == "sink" and client.heard_ns is not None:
                if now_ns - client.heard_ns <= SILENCE_NS:
                    return client
                self._let_go(client)
        return None

    @staticmethod
    def _let_go(client: _Client) -> None:
        client.heard_ns = None
        client.taps.forget()

    def _read(self, client: _Client, now_ns: int) -> None:
        try:
            for _ in range(MAX_PACKETS):
                packet = client.connection.recv(MAX_PACKET)
                if not packet:
                    self._drop(client)
                    return
                if not self._take(client, packet, now_ns):
                    return
        except BlockingIOError:
            return
        except OSError:
            self._drop(client)
        except BadMessageError as error:
            log.warning("A client of %s sent nonsense (%s) and was dropped", self.path, error)
            self._drop(client)

    def _take(self, client: _Client, packet: bytes, now_ns: int) -> bool:
        """Act on one packet; False when the client is gone."""
        kind = packet[0]
        if kind == Kind.HELLO and not client.role:
            return self._greet(client, unpack_json(packet))
        if client.role != "sink":
            raise BadMessageError(f"kind {kind} from a {client.role or 'stranger'}")
        if kind == Kind.APPLY:
            client.taps.see(unpack_apply(packet))
            client.heard_ns = now_ns
        elif kind == Kind.RELEASE:
            self._let_go(client)
        elif kind == Kind.ASK:
            return self._send(client, pack_json(Kind.STATS, self._stats(client.achieved)))
        else:
            raise BadMessageError(f"kind {kind}")
        return True

    def _stats(self, achieved: Achievements) -> dict[str, float]:
        totals = {f"total_{name}": value for name, value in self._all.counts().items()}
        return achieved.counts() | achieved.rates() | totals

    def _greet(self, client: _Client, hello: Mapping[str, Any]) -> bool:
        role = hello.get("role")
        refusal: tuple[str, str] | None = None
        if (hello.get("version"), hello.get("layout")) != (VERSION, LAYOUT_VERSION) or role not in ROLES:
            refusal = ("The arena is of another version", "Start both from the same checkout")
        elif role != "pad":
            refusal = self._refuse_sinks
            if refusal is None and role == "sink" and self.has("sink"):
                refusal = ("Another program drives the arena", "Stop that one first")
        if refusal is not None:
            self._send(client, pack_json(Kind.REFUSED, {"problem": refusal[0], "remedy": refusal[1]}))
            self._drop(client)
            return False
        client.role = str(role)
        newest = self._newest.get(client.role)
        if not self._send(client, pack_json(Kind.WELCOME, {**self._about, "state_follows": newest is not None})):
            return False
        return newest is None or self._send(client, newest)

    def _send(self, client: _Client, packet: bytes) -> bool:
        """False when the client is gone."""
        try:
            client.connection.send(packet, socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return True
        except OSError as error:
            if error.errno == errno.ENOBUFS:
                return True
            self._drop(client)
            return False
        return True

    def _drop(self, client: _Client) -> None:
        if client in self._clients:
            self._clients.remove(client)
        client.connection.close()


def _listen(path: Path) -> socket.socket:
    check_path(path)
    _remove_stale(path)
    listener = new_socket()
    try:
        listener.bind(str(path))
        path.chmod(0o600)  # nobody can connect before listen()
        listener.listen(MAX_CLIENTS)
    except OSError as error:
        listener.close()
        raise UserError(
            f"The arena's socket {path} cannot be made ({error.strerror})", "Choose another place with --socket"
        ) from error
    listener.setblocking(False)
    return listener


def _remove_stale(path: Path) -> None:
    """Remove the socket of an arena that died.

    Raises:
        UserError: An arena is alive there, or the path is something else.
    """
    if not path.is_socket():
        if path.exists():
            raise UserError(f"{path} is no socket", "Choose another place with --socket")
        return
    with contextlib.closing(new_socket()) as probe:
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
        except OSError as error:
            raise UserError(
                f"The arena's socket {path} cannot be used ({error.strerror})", "Choose another place with --socket"
            ) from error
    raise UserError(
        f"An arena is already running (it listens on {path})", "Close it, or give this one its own place with --socket"
    )


def source_of(driver: str, *, driven: bool) -> Source:
    """Who holds the pad in an arena with this driver."""
    if driver in ("expert", "idle"):
        return Source.SCRIPTED
    return Source.POLICY if driven else Source.HUMAN
