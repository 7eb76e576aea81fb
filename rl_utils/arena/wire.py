"""What travels over the arena's socket: one message per packet, a kind byte and then numbers or JSON.

| kind | direction | content |
| --- | --- | --- |
| HELLO | client → arena | JSON: version, role ("pad", "sink", "hand" or "coach"), layout |
| WELCOME | arena → client | JSON: version, driver, situation, seed, state_names; state_follows: a PAD comes at once |
| REFUSED | arena → client | JSON: problem, remedy; then the arena hangs up |
| PAD | arena → pad, hand, coach | 24 bytes (`_PAD`), then float32: 19 inputs, 19 labels if any, state |
| APPLY | sink → arena | float32: 19 inputs |
| RELEASE | sink → arena | nothing |
| ASK | sink → arena | nothing: what have I achieved? |
| STATS | arena → sink | JSON: numbers by name |

Numbers are in the machine's own byte order: both ends are on the same one. The socket is a Unix socket of type
SEQPACKET, which keeps packets whole; it belongs to one user (mode 0600).
"""

from __future__ import annotations

import json
import os
import socket
import struct
import tempfile
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, Final

import numpy as np

from rl_utils.controls import HATS, N_BUTTONS, N_CONTROLS, REST
from rl_utils.errors import UserError
from rl_utils.interfaces import Inputs, InputVector, Source

VERSION: Final = 1
MAX_PACKET: Final = 4096
MAX_PATH_BYTES: Final = 107
"""Source: sockaddr_un, unix(7): 108 bytes with the closing zero."""

_PAD: Final = struct.Struct("=BBBBiqq")
"""Kind, source, whether labels follow, length of the state, episode, time in ns, tick."""
_FLOAT: Final = 4


class Kind(IntEnum):
    """First byte of each packet."""

    HELLO = 1
    WELCOME = 2
    REFUSED = 3
    PAD = 4
    APPLY = 5
    RELEASE = 6
    ASK = 7
    STATS = 8


class BadMessageError(ValueError):
    """A packet that is none of ours."""


@dataclass(frozen=True, slots=True)
class PadMessage:
    """The pad at one moment.

    Attributes:
        inputs: What `ControllerSource.at` hands out.
        tick: Physics tick of the picture that is shown at `inputs.t_ns`.
    """

    inputs: Inputs
    tick: int


def socket_path() -> Path:
    """Where the arena listens by default: $RLAI_ARENA_SOCKET, else one place per user."""
    named = os.environ.get("RLAI_ARENA_SOCKET")
    if named:
        return Path(named)
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and Path(runtime).is_dir():
        return Path(runtime) / "rlai-arena.sock"
    return Path(tempfile.gettempdir()) / f"rlai-arena-{os.getuid()}.sock"


def new_socket() -> socket.socket:
    """A socket of the right kind."""
    return socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def check_path(path: Path) -> None:
    """Refuse a path that no socket can have.

    Raises:
        UserError: It is too long.
    """
    if len(os.fsencode(path)) > MAX_PATH_BYTES:
        raise UserError(
            f"The socket's path {path} is longer than {MAX_PATH_BYTES} bytes", "Choose a shorter one with --socket"
        )


def pack_json(kind: Kind, content: dict[str, Any]) -> bytes:
    """A packet of words and numbers."""
    return bytes([kind]) + json.dumps(content).encode()


def unpack_json(packet: bytes) -> dict[str, Any]:
    """The content of a packet made by `pack_json`.

    Raises:
        BadMessageError: It holds something else.
    """
    try:
        content = json.loads(packet[1:])
    except ValueError as error:
        raise BadMessageError(str(error)) from error
    if not isinstance(content, dict):
        raise BadMessageError("no JSON object")
    return content


def pack_pad(message: PadMessage) -> bytes:
    """A PAD packet."""
    inputs = message.inputs
    state = np.zeros(0, np.float32) if inputs.state is None else inputs.state
    head = (Kind.PAD, inputs.source, inputs.labels is not None, len(state), inputs.episode, inputs.t_ns, message.tick)
    labels = b"" if inputs.labels is None else inputs.labels.tobytes()
    return _PAD.pack(*head) + inputs.values.tobytes() + labels + state.astype(np.float32).tobytes()


def unpack_pad(packet: bytes) -> PadMessage:
    """The content of a PAD packet.

    Raises:
        BadMessageError: It is cut short or holds something else.
    """
    try:
        _, source, has_labels, n_state, episode, t_ns, tick = _PAD.unpack_from(packet)
        numbers = np.frombuffer(packet, np.float32, offset=_PAD.size)
        held_by = Source(source)
    except (struct.error, ValueError) as error:
        raise BadMessageError(str(error)) from error
    if len(numbers) != N_CONTROLS * (2 if has_labels else 1) + n_state:
        raise BadMessageError(f"{len(numbers)} numbers")
    values, rest = numbers[:N_CONTROLS].copy(), numbers[N_CONTROLS:]
    labels = rest[:N_CONTROLS].copy() if has_labels else None
    state = rest[len(rest) - n_state :].copy() if n_state else None
    inputs = Inputs(values, t_ns=t_ns, labels=labels, state=state, episode=episode, source=held_by)
    return PadMessage(inputs, tick)


def pack_apply(inputs: InputVector) -> bytes:
    """An APPLY packet."""
    return bytes([Kind.APPLY]) + np.ascontiguousarray(inputs, np.float32).tobytes()


def unpack_apply(packet: bytes) -> InputVector:
    """(19,) float32 in [0, 1]: values outside are taken as the nearest limit.

    Raises:
        BadMessageError: Not 19 numbers, or one of them is none.
    """
    if len(packet) != 1 + N_CONTROLS * _FLOAT:
        raise BadMessageError(f"{len(packet)} bytes")
    inputs = np.frombuffer(packet, np.float32, offset=1)
    if np.isnan(inputs).any():
        raise BadMessageError("not a number")
    return np.clip(inputs, 0, 1)


class Taps:
    """Remembers presses of buttons and d-pad that came and went between two looks."""

    def __init__(self) -> None:
        self._held = REST.copy()
        self._tapped = REST.copy()
        self._any = False

    def see(self, values: InputVector) -> None:
        """Take the next state into account. (19,) float32."""
        # Nearly always nothing but a stick has moved.
        if values[_PRESSABLE].tobytes() != self._held[_PRESSABLE].tobytes():
            begun = (values != self._held) & (values != REST) & _PRESSABLE
            self._tapped[begun] = values[begun]
            self._any = True
        self._held = values

    def take(self) -> InputVector:
        """The newest state with what was tapped since the last call. (19,) float32, a new array."""
        values = self._held.copy()
        if not self._any:
            return values
        gone = (values == REST) & (self._tapped != REST)
        values[gone] = self._tapped[gone]
        self._tapped[:] = REST
        self._any = False
        return values

    def forget(self) -> None:
        """Everything at rest."""
        self._held = REST.copy()
        self._tapped[:] = REST
        self._any = False


_PRESSABLE: Final = np.array([control < N_BUTTONS or control in HATS for control in range(N_CONTROLS)])
