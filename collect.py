"""Record the game's window and your gamepad while you play: frames + inputs → session folders of .h5 batch files."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rl_utils.config import CollectConfig, config_table, parse_config
from rl_utils.console import StatusLine, log
from rl_utils.errors import user_errors

if TYPE_CHECKING:
    from rl_utils.data_batcher import BatchSaver
    from rl_utils.interfaces import ControllerSource, Frame, FrameSource, Inputs
    from rl_utils.loops import RecordProgress
    from rl_utils.quality import QualityMonitor


@user_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Record frames and inputs until Ctrl+C."""
    config = parse_config(CollectConfig, argv, prog="collect.py")
    logging.basicConfig(format="%(levelname)s: %(message)s")
    from rl_utils.devices import open_play
    from rl_utils.recovery import recover_orphans

    if config.out.is_dir():
        for recovered in recover_orphans(config.out):
            log(f"Recovered {recovered.file} ({recovered.samples} frames), left by a recording that was killed.")
    with open_play(config) as (frames, pad):
        return _record_session(config, frames, pad)


def _record_session(config: CollectConfig, frames: FrameSource, pad: ControllerSource) -> int:
    from rl_utils.config import save_config
    from rl_utils.data_batcher import BatchSaver
    from rl_utils.loops import record
    from rl_utils.quality import QualityMonitor
    from rl_utils.signals import stop_on_signals

    info = frames.info
    log(
        f'Recording "{info.title}" {info.native_size[0]}x{info.native_size[1]} by {info.backend}, pad: {pad.info.name}.'
    )
    if info.reason:
        log(f"Not the fastest way to capture: {info.reason}.")
    quality = QualityMonitor(config.fps, has_pad=config.pad != "none")
    saver = BatchSaver(
        config.out,
        fps=config.fps,
        size=config.size_px,
        frames=info,
        pad=pad.info,
        codec=config.codec,
        batch_size=config.batch_size,
        block=not frames.real_time,
        session={"settings": config_table(config)},
    )
    line = StatusLine()

    def on_tick(done: RecordProgress, frame: Frame | None, inputs: Inputs | None, flags: int) -> None:
        if frame is not None and inputs is not None:
            quality.update(frame.image, inputs.values, frame.t_ns, flags)
        if line.due():
            line.show(_status(done, quality, saver, config))

    log("Stop with Ctrl+C.")
    try:
        with stop_on_signals() as stop:
            done = record(frames, pad, saver, fps=config.fps, stop=stop, seconds=config.seconds, on_tick=on_tick)
    finally:
        line.end()
        verdict = quality.verdict(dropped=saver.dropped)
        saver.close({"verdict": verdict.as_dict()})
    if not saver.samples:
        log("Nothing was recorded: the window was never focused." if config.frames == "window" else "Nothing recorded.")
        return 0
    save_config(config, saver.folder / "config.toml")
    size = f"{saver.bytes_written / 1e6:.0f} MB, {saver.gb_per_hour:.1f} GB per hour"
    print(f"{saver.folder}: {saver.samples} frames, {done.recorded_s / 60:.1f} min, {done.gaps} gaps, {size}.")
    print(f"{done.late} late ticks, {done.missed} missed, {saver.dropped} dropped; ended: {done.ended_by}.")
    print(f"Verdict: {verdict}.")
    return 0


def _status(done: RecordProgress, quality: QualityMonitor, saver: BatchSaver, config: CollectConfig) -> str:
    head = f"paused: {done.problem}" if done.problem else f"recording {quality.rate_hz:.1f} fps, focused"
    disk = f"{saver.bytes_written / 1e6:.0f} MB, {saver.gb_per_hour:.1f} GB/h, {saver.free_bytes / 1e9:.0f} GB free"
    share = done.pad_activity / done.samples if done.samples else 0.0
    pad = "no pad" if config.pad == "none" else f"pad moves in {share:.0%} of frames"
    return f"{head} | {done.samples} frames, {done.late} late, {saver.dropped} dropped | {disk} | {pad}"


if __name__ == "__main__":
    sys.exit(main())
