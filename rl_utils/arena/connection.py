"""The practice arena's socket from the other side: connect, and connect again when the arena was restarted."""

from __future__ import annotations

import os
import select
import socket
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from rl_utils.arena.wire import (
    MAX_PACKET,
    VERSION,
    BadMessageError,
    Kind,
    check_path,
    new_socket,
    pack_json,
    socket_path,
    unpack_json,
)
from rl_utils.controls import LAYOUT_VERSION
from rl_utils.errors import UserError

ANSWER_S: Final = 10.0
"""How long the arena may take to answer a new client: it looks once per picture, and on a busy machine opens slowly."""
OPENING_S: Final = 2.0
OPENING_TRIES: Final = 100
RETRY_S: Final = 0.5
CONNECT_S: Final = 0.1
"""The kernel connects at once, but where many wait to be let in."""


class _RefusedError(UserError):
    """The arena is there and does not want us."""


class Connection:
    """A connection to the arena that comes back.

    Args:
        path: The arena's socket; None takes the usual place.
        role: What we are to it: "pad", "hand", "coach" or "sink".

    Raises:
        UserError: No arena runs, it does not answer, or it refuses us.
    """

    def __init__(self, path: Path | None, role: str) -> None:
        self.path = socket_path() if path is None else path
        self._role = role
        self._socket: socket.socket | None = None
        self._retry_at = 0.0
        self._knocking: socket.socket | None = None
        self._answer_by = 0.0
        self._closed = False
        self.about: Mapping[str, Any] = {}
        check_path(self.path)
        self._connect_patiently()

    @property
    def connected(self) -> bool:
        """False since the arena was found to be gone."""
        return self._socket is not None

    def send(self, packet: bytes) -> bool:
        """Send without waiting; False when it did not go out."""
        if self._socket is None:
            return False
        try:
            self._socket.send(packet, socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return False
        except OSError:
            self._hang_up()
            return False
        return True

    def receive(self, timeout_s: float = 0.0) -> bytes | None:
        """The next packet; None when there is none in time or the arena is gone."""
        if self._socket is None:
            return None
        try:
            if timeout_s > 0:
                select.select([self._socket], [], [], timeout_s)
            packet = self._socket.recv(MAX_PACKET)
        except BlockingIOError:
            return None
        except OSError:
            packet = b""
        if not packet:
            self._hang_up()
            return None
        return packet

    def try_again(self) -> bool:
        """While the arena is gone, look for a new one now and then; True when one has answered just now.

        An arena looks at its clients once per picture, which may take it long: its answer is not waited for, but looked
        for with every call.

        Raises:
            UserError: The new one refuses us.
        """
        now = time.monotonic()
        if self._socket is not None or self._closed or (self._knocking is None and now < self._retry_at):
            return False
        try:
            if self._knocking is None:
                self._retry_at, self._answer_by = now + RETRY_S, now + ANSWER_S
                self._knocking = self._knock(CONNECT_S)
                self._knocking.setblocking(False)
            self._enter(self._knocking)
        except BlockingIOError:
            if now > self._answer_by:
                self._stop_knocking()
            return False
        except _RefusedError:
            self._stop_knocking()
            raise
        except UserError:
            self._stop_knocking()
            return False
        self._knocking = None
        return True

    def close(self) -> None:
        """Hang up."""
        self._closed = True
        self._hang_up()
        self._stop_knocking()

    def _connect_patiently(self) -> None:
        """An arena that is just opening has its place in the file system a moment before it listens there."""
        for _ in range(OPENING_TRIES):
            try:
                self._connect(ANSWER_S)
            except UserError as error:
                if not isinstance(error.__cause__, ConnectionRefusedError):
                    raise
                time.sleep(OPENING_S / OPENING_TRIES)
            else:
                return
        self._connect(ANSWER_S)

    def _stop_knocking(self) -> None:
        if self._knocking is not None:
            self._knocking.close()
            self._knocking = None

    def _hang_up(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connect(self, answer_s: float) -> None:
        link = self._knock(answer_s)
        try:
            self._enter(link)
        except UserError:
            link.close()
            raise

    def _knock(self, timeout_s: float) -> socket.socket:
        """Connect and say who we are."""
        link = new_socket()
        try:
            link.settimeout(timeout_s)
            link.connect(str(self.path))
            _check_owner(link)
            link.send(pack_json(Kind.HELLO, {"version": VERSION, "role": self._role, "layout": LAYOUT_VERSION}))
        except OSError as error:
            link.close()
            raise self._no_arena(error) from error
        return link

    def _enter(self, link: socket.socket) -> None:
        """Take the arena's answer; from then on `link` is the connection.

        Raises:
            BlockingIOError: There is no answer yet, and `link` is not one that waits.
            UserError: No arena, or it refuses.
        """
        try:
            packet = link.recv(MAX_PACKET)
            answer = unpack_json(packet)
        except BlockingIOError:
            raise
        except (OSError, BadMessageError) as error:
            raise self._no_arena(error) from error
        if packet[0] != Kind.WELCOME:
            problem = str(answer.get("problem", "The arena refuses"))
            raise _RefusedError(problem, str(answer.get("remedy", "Start it again")))
        link.setblocking(False)
        self._socket, self.about = link, answer

    def _no_arena(self, error: OSError | BadMessageError) -> UserError:
        if isinstance(error, TimeoutError):
            return UserError(f"The arena on {self.path} does not answer", "Close it and start it again")
        return UserError(
            f"No practice arena is running (nobody listens on {self.path})",
            f'Start it first: "python -m rl_utils.arena --driver {"human" if self._role == "pad" else "pad"}"',
        )


def _check_owner(link: socket.socket) -> None:
    """In a folder that everybody can write to, somebody else may listen under our name."""
    _, uid, _ = struct.unpack("iII", link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    if uid not in (os.getuid(), 0):
        raise PermissionError(f"the socket belongs to user {uid}")
