"""A recording's raw pad events as inputs at any times: at other rates than the recorded one, or with other delays."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rl_utils.controls import NAMES
from rl_utils.errors import UserError
from rl_utils.interfaces import PadEvent
from rl_utils.pad_mapping import parse_mapping
from rl_utils.pad_state import AxisRange, PadState
from rl_utils.recordings import Recording

_REMEDY: Final = "Use its `inputs`, which are there in any case"


def inputs_at(recording: Recording, times_ns: ArrayLike) -> NDArray[np.float32]:
    """The pad's state at given times, from the events alone; at the recorded times it is what was recorded.

    Args:
        recording: Of a real gamepad. Whatever was played in its gaps is known only by its outcome.
        times_ns: (K,) int64, growing; on the clock of `recording.timestamps_ns`.

    Returns:
        (K, 19) float32 in [0, 1]; buttons that were only tapped since the time before are pressed, as in recording.

    Raises:
        UserError: The recording does not say what its events mean (the arena's pad, or an older recording).
    """
    times = np.asarray(times_ns, np.int64)
    state = _state(recording)
    out = np.empty((len(times), len(NAMES)), np.float32)
    upto = np.searchsorted(recording.events["t_ns"], times, side="right")
    done = 0
    for row, (t_ns, end) in enumerate(zip(times.tolist(), upto.tolist(), strict=True)):
        for event in recording.events[done:end].tolist():
            state.apply(PadEvent(*event))
        done = max(done, end)
        out[row] = state.sample(t_ns)
    return out


def _state(recording: Recording) -> PadState:
    pad = recording.meta.get("pad", {})
    try:
        profile = parse_mapping(pad["codes"])
        ranges = {str(name): AxisRange(*ends) for name, ends in pad["ranges"].items()}
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{recording.name} does not say what its raw events mean ({error})", _REMEDY) from error
    axes = {code: ranges[NAMES[control]] for code, control in profile.axes.items() if NAMES[control] in ranges}
    return PadState(profile, axes)
