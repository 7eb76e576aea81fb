"""Record the game's window and your gamepad while you play: frames + inputs → session folders of .h5 batch files."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from rl_utils.config import CollectConfig, parse_config
from rl_utils.console import StatusLine, log, say
from rl_utils.errors import user_errors
from rl_utils.paths import require_folder

if TYPE_CHECKING:
    from rl_utils.sitting import Devices


@user_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Record frames and inputs until Ctrl+C."""
    config = parse_config(CollectConfig, argv, prog="collect.py")
    logging.basicConfig(format="%(levelname)s: %(message)s")
    require_folder(config.out, "--out")
    from rl_utils.devices import open_play
    from rl_utils.habits import open_habits
    from rl_utils.recovery import recover_and_say
    from rl_utils.signals import stop_on_signals
    from rl_utils.sitting import Devices
    from rl_utils.sounds import Sounds

    recover_and_say(config.out)
    with ExitStack() as stack:
        try:
            habits = stack.enter_context(open_habits(config))
            frames, pad = stack.enter_context(open_play(config))
        except KeyboardInterrupt:
            log("Stopped before anything was recorded.")
            return 0
        sounds = stack.enter_context(Sounds(on=config.sounds))
        stop = stack.enter_context(stop_on_signals())
        _say_how(config, hot_keys=habits.keys is not None)
        _record(config, Devices(frames, pad, stop, habits, sounds))
    return 0


def _say_how(config: CollectConfig, *, hot_keys: bool) -> None:
    """Name the keys and chords that work now."""
    names = {"mark": "marks an episode", "pause": "pauses", "discard": f"discards {config.discard_seconds:g} s"}
    ways = []
    for name, does in names.items():
        by = [getattr(config, f"{name}_key") if hot_keys else "none", getattr(config, f"{name}_chord")]
        by = [way for way in by if way.lower() != "none"]
        if by:
            ways.append(f"{' or '.join(by)} {does}")
    log(", ".join(["Ctrl+C ends", *ways]) + ".")


def _record(config: CollectConfig, devices: Devices) -> None:
    """Sit down once, and again as long as the pad or the game is exchanged."""
    from rl_utils.record_loop import count_down
    from rl_utils.sitting import run_sitting

    if config.countdown > 0 and devices.frames.real_time:
        line = StatusLine()
        count_down(
            devices.frames, devices.stop, config.countdown, say=lambda text: line.show(text) if line.due() else None
        )
        line.end()
    left = config.limit
    while True:
        sitting = run_sitting(config, devices, limit=left)
        (say if sitting.saver.samples else log)(sitting.summary())
        if sitting.error is not None:
            raise sitting.error
        if not sitting.goes_on:
            return
        left = None if left is None else left - sitting.done.samples


if __name__ == "__main__":
    sys.exit(main())
