"""What networks of the arena's state see: the 24 numbers that recordings hold, of the present and some past moments.

The counterpart of `preprocess` and `frame_store` for the state: a spec that checkpoints store, a memory for play, and
a store for training that shows exactly what the memory would have shown.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from rl_utils.arena.obs_layout import OBS_NAMES
from rl_utils.errors import UserError
from rl_utils.recordings import Recording

STATE_VERSION: Final = 1
"""Grows when the meaning of what is below changes; a checkpoint of another version is refused."""

StateRows = NDArray[np.float32]
"""(B, moments * 24) float32: the newest moment first, raw (uu, uu/s, rad/s)."""


@dataclass(frozen=True)
class StateSpec:
    """What a network of the state sees.

    Attributes:
        offsets: How many frames ago each moment was, at the recorded rate, the newest (0) first.
        names: Of the numbers of one moment.
        version: `STATE_VERSION` of the code it was trained with.
    """

    offsets: tuple[int, ...] = (0,)
    names: tuple[str, ...] = OBS_NAMES
    version: int = STATE_VERSION

    def as_table(self) -> dict[str, Any]:
        """Plain data for a checkpoint."""
        table = dataclasses.asdict(self)
        return table | {"kind": "state", "offsets": list(self.offsets), "names": list(self.names)}

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> StateSpec:
        """Read what `as_table` wrote.

        Raises:
            UserError: It was written by a version whose states mean something else.
        """
        names = tuple(table.get("names", ()))
        if table.get("version") != STATE_VERSION or names != OBS_NAMES:
            raise UserError(
                f"The checkpoint's state (version {table.get('version', 'unknown')}) is not the one of this program "
                f"(version {STATE_VERSION})",
                "Use the version of RLAI that trained it, or train again",
            )
        return cls(offsets=tuple(table["offsets"]), names=names)


def state_spec(fps: float) -> StateSpec:
    """What StateNet sees: now, and 67 and 167 ms ago, which tell how far a jump or dodge has come.

    Args:
        fps: Rate of the recordings in Hz; at 30 Hz the older moments are 2 and 5 frames old.
    """
    near = max(1, round(fps / 15))
    return StateSpec(offsets=(0, near, max(near + 1, round(fps / 6))))


def mirrored_states(rows: StateRows) -> StateRows:
    """The same play in a mirror, left and right exchanged: along x, and about y and z.

    Args:
        rows: (B, moments * 24) float32.

    Returns:
        A new array.
    """
    return rows * np.tile(_MIRROR, rows.shape[-1] // len(_MIRROR))


_MIRROR: Final = np.array([-1 if name.endswith("_x") != ("angular" in name) else 1 for name in OBS_NAMES], np.float32)
"""Places, velocities and directions turn over in x; rotations, as in every mirror, in the other two."""


class StateHistory:
    """The last states of one stream.

    Args:
        spec: What the network sees.
    """

    def __init__(self, spec: StateSpec) -> None:
        self._offsets = spec.offsets
        self._states: deque[NDArray[np.float32]] = deque(maxlen=spec.offsets[-1] + 1)

    def reset(self) -> None:
        """Forget the past: the next state does not continue the last one."""
        self._states.clear()

    def push(self, state: NDArray[np.float32]) -> StateRows:
        """Add the newest state, (24,) float32, and return what the network sees now, (moments * 24,) float32."""
        self._states.append(np.array(state, np.float32))
        newest = len(self._states) - 1
        return np.concatenate([self._states[max(newest - offset, 0)] for offset in self._offsets])


class StateStore:
    """The states of several recordings, by one running index over all of them; answers like `FrameStore`.

    Args:
        recordings: In the order of the running index.
        spec: What the network sees.

    Raises:
        UserError: A recording holds no state.
    """

    ready_share = 1.0

    def __init__(self, recordings: Sequence[Recording], spec: StateSpec) -> None:
        self.spec = spec
        self._states = np.concatenate([_states(recording, spec) for recording in recordings])

    def __len__(self) -> int:
        return len(self._states)

    @property
    def ready_bytes(self) -> int:
        """Memory that it holds."""
        return self._states.nbytes

    @property
    def file_bytes(self) -> int:
        """It needs no file."""
        return 0

    def load(self, on_progress: Callable[[int], None], stop: Callable[[], bool]) -> bool:
        """States come with the recordings: nothing is left to read."""
        on_progress(len(self))
        return not stop()

    def stacks(self, indices: NDArray[np.int64], firsts: NDArray[np.int64]) -> StateRows:
        """What a network sees at some moments, exactly as `StateHistory` would have shown it.

        Args:
            indices: (B,) running indices of the newest states.
            firsts: (B,) for each, the first state that may be looked at: the beginning of its segment.

        Returns:
            (B, moments * 24) float32.
        """
        moments = np.maximum(indices[:, None] - np.array(self.spec.offsets), firsts[:, None])
        rows: StateRows = self._states[moments].reshape(len(indices), -1)
        return rows

    def close(self) -> None:
        """Free the memory."""
        self._states = self._states[:0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()


def _states(recording: Recording, spec: StateSpec) -> NDArray[np.float32]:
    if recording.state is None or not set(spec.names) <= set(recording.state_names):
        raise UserError(
            f"{recording.name} holds no state to learn from",
            "Record in the practice arena (collect.py --frames arena), or leave --model away to learn from pictures",
        )
    columns = [recording.state_names.index(name) for name in spec.names]
    states = recording.state[:, columns]
    unknown = int(np.isnan(states).any(axis=1).sum())
    if unknown:
        raise UserError(
            f"{recording.name} lacks the state of {unknown} of its {len(recording)} samples",
            "Leave this recording away",
        )
    return states
