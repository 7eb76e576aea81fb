"""Let a trained policy drive: capture → the shared preprocess → policy → virtual gamepad. For offline modes only."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from rl_utils.config import EvalConfig, parse_config
from rl_utils.console import StatusLine, counted, log, say
from rl_utils.errors import UserError, user_errors
from rl_utils.paths import require_folder, require_writable

if TYPE_CHECKING:
    from rl_utils.devices import Drive
    from rl_utils.interfaces import FrameSource, Policy
    from rl_utils.loops import DriveProgress


@user_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Drive until the time is over, Ctrl+C, or a hand on the physical gamepad (which may also just take over)."""
    config = parse_config(EvalConfig, argv, prog="eval.py")
    logging.basicConfig(format="%(levelname)s: %(message)s")
    if config.record is not None:
        require_folder(config.record, "--record")
    if config.report is not None:
        require_writable(config.report, "--report")
    from rl_utils.devices import StateDriver, open_drive, open_driver
    from rl_utils.recovery import recover_and_say

    if config.record is not None:
        recover_and_say(config.record)
    policy = open_driver(config)
    fps = config.fps or policy.fps
    if fps != policy.fps and config.inputs is None:
        log(f"The policy was made for {policy.fps:g} fps: at {fps:g} everything seems to move at another speed to it.")
    with open_drive(config, fps=fps, size=policy.capture_size) as devices:
        seeing = StateDriver(policy, devices.arena_pad) if policy.sees == "state" and devices.arena_pad else policy
        return _drive(config, devices, seeing, fps)


def _drive(config: EvalConfig, devices: Drive, policy: Policy, fps: float) -> int:
    from rl_utils.devices import RecordedInputs
    from rl_utils.listeners import open_listeners
    from rl_utils.loops import DriveProgress, drive, drive_status
    from rl_utils.signals import stop_on_signals

    line = StatusLine()
    frames, switch = devices.frames, devices.kill_switch
    in_arena = frames.info.is_arena
    hint = _hint(config, devices)
    replayed = policy if isinstance(policy, RecordedInputs) else None
    minutes = config.minutes if replayed is None else min(config.minutes, replayed.minutes_at(fps))

    def on_status(done: DriveProgress) -> None:
        if line.due():
            line.show(drive_status(done, minutes, real_time=frames.real_time, hint=hint))

    done, error = DriveProgress(), None
    play: dict[str, Any] = {}
    try:
        with ExitStack() as stack:
            subscribers = open_listeners(config, devices, stack, fps=fps)
            # Innermost, so that a signal that comes while subscribers close still meets a released pad.
            stopped = stack.enter_context(stop_on_signals())

            def stop() -> str:
                if stopped():
                    return "stopped"
                if switch is not None and switch.touched():
                    return f"a hand on the gamepad ({switch.reason})"
                if in_arena and not frames.info.is_arena:
                    return "another window than the arena's has come up"
                if replayed is not None and replayed.exhausted:  # also where ticks were missed, which take no inputs
                    return "no further inputs"
                return ""

            if frames.real_time and config.sink != "log":
                log(f"BOT DRIVING at {fps:g} fps for at most {round(minutes, 2):g} min. {_hands_on(config, devices)}")
            limit = None if config.replay_path is not None else config.minutes
            try:
                drive(
                    frames,
                    policy,
                    devices.sink,
                    fps=fps,
                    stop=stop,
                    minutes=limit,
                    person=devices.person,
                    subscribers=subscribers,
                    on_status=on_status,
                    done=done,
                )
            finally:
                line.end()
                play = dict(devices.sink.stats)
    except UserError as problem:
        if not done.ticks:
            raise
        error = problem  # of a device that was lost, or a listener that closes: what was driven is told all the same
    _print_summary(config, frames, done, play)
    if error is not None:
        raise error
    return 0


def _hint(config: EvalConfig, devices: Drive) -> str:
    if config.takeover == "pad":
        return "touch your gamepad to drive"
    return "Ctrl+C or touch your gamepad to stop" if devices.kill_switch is not None else "Ctrl+C to stop"


def _hands_on(config: EvalConfig, devices: Drive) -> str:
    """How the pad changes hands and what stops the bot, for the terminal."""
    if config.takeover == "pad":
        by = f"{config.give_back_s:g} s of letting go or SELECT + START" if config.give_back_s else "SELECT + START"
        return f"Touch your gamepad to take over, {by} gives it back, Ctrl+C stops it."
    expert = "The scripted driver takes over where it gets nowhere. " if config.takeover == "expert" else ""
    if devices.kill_switch is not None:
        return f"{expert}Touch your gamepad, or press Ctrl+C, to stop it."
    if devices.unread:
        return f"{expert}No gamepad can be read ({devices.unread}): only Ctrl+C stops it."
    return f"{expert}There is no gamepad: only Ctrl+C stops it."


def _print_summary(config: EvalConfig, frames: FrameSource, done: DriveProgress, play: dict[str, Any]) -> None:
    say(f"Drove {done.driven_s:.1f} s ({done.ticks} frames), {done.pauses} pauses; ended: {done.ended_by}.")
    if config.takeover != "off":
        say(f"Taken over {counted(done.takeovers, 'time')}, {done.taken_share:.0%} of the time.")
    p50, p99 = done.latency_ms(50), done.latency_ms(99)
    if frames.real_time:
        say(f"Frame to pad p50 {p50:.1f} ms, p99 {p99:.1f} ms; {done.late} late ticks, {done.missed} missed.")
    if play and not play["minutes"]:
        say("How it played is not known: the arena did not say, or was closed meanwhile.")
    elif play:
        rates = f"{counted(play['touches'], 'touch', 'touches')} and {counted(play['goals'], 'goal')}"
        say(f"Played: {rates} in {play['minutes']:.1f} min, {counted(play['own_goals'], 'own goal')}.")
    if config.report is not None:
        report = {
            "seconds": done.driven_s,
            "ticks": done.ticks,
            "late": done.late,
            "missed": done.missed,
            "duplicates": done.duplicates,
            "pauses": done.pauses,
            "takeovers": done.takeovers,
            "taken_share": done.taken_share,
            "ended_by": done.ended_by,
            "latency_ms_p50": p50,
            "latency_ms_p99": p99,
            "play": play,
        }
        try:
            config.report.write_text(json.dumps(report, indent=2) + "\n")
        except OSError as error:
            raise UserError(f"{config.report} cannot be written ({error.strerror})", "Free some space") from error


if __name__ == "__main__":
    sys.exit(main())
