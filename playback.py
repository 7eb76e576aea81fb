"""Look at recordings: a window with the pad drawn below the picture, a video of it, or the figures."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rl_utils.config import PlaybackConfig, TrimConfig, parse_config
from rl_utils.console import log, progress
from rl_utils.errors import UserError, user_errors
from rl_utils.paths import require_checkpoint

if TYPE_CHECKING:
    from pathlib import Path

    from rl_utils.playlist import Playlist
    from rl_utils.recordings import Recording

INSTEAD = "write a video with --save FILE.mp4, or print the figures with --info"


@user_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Show, save, describe or trim recordings."""
    given = sys.argv[1:] if argv is None else argv
    if given and given[0] == "trim":
        return _trim(parse_config(TrimConfig, given[1:], prog="playback.py trim"))
    config = parse_config(PlaybackConfig, argv, prog="playback.py")
    logging.basicConfig(format="%(levelname)s: %(message)s")
    describe = config.info or config.json
    if config.save is not None:
        from rl_utils.export import check_video_path

        check_video_path(config.save)
    elif not describe:
        from rl_utils.viewer import check_viewer

        check_viewer(INSTEAD)
    from rl_utils.recordings import open_recordings

    recordings = open_recordings(config.data, pad_profile=config.pad_profile)
    if describe:
        _describe(recordings, as_json=config.json)
        if config.save is None:
            return 0
    playlist = _open_playlist(recordings, config.checkpoint)
    duration_s = playlist.timeline.duration_s
    if config.start >= duration_s:
        raise UserError(f"--start {config.start:g} is after the end at {duration_s:.1f} s", "Start earlier")
    if config.save is not None:
        _save(playlist, config, config.save)
    else:
        _play(playlist, config)
    return 0


def _trim(config: TrimConfig) -> int:
    import numpy as np

    from rl_utils.playlist import timeline_of
    from rl_utils.recordings import open_recordings
    from rl_utils.trim import choose, parse_span, trim

    logging.basicConfig(format="%(levelname)s: %(message)s")
    spans = [parse_span(text) for text in config.drop]
    recordings = open_recordings(config.data, pad_profile=config.pad_profile)
    timeline = timeline_of(recordings)
    inputs = np.concatenate([recording.inputs for recording in recordings])
    keep = choose(timeline, inputs, start_s=config.start, end_s=config.end, drop=spans, idle_s=config.drop_idle)
    _require_elsewhere(config, recordings)
    if not keep.any():
        raise UserError(f"Nothing of the {timeline.duration_s:.1f} s would stay", "Leave out less")
    with progress("trimming", int(keep.sum())) as bar:
        done = 0
        for recording, mask in zip(recordings, np.split(keep, timeline.starts[1:]), strict=True):
            trimmed = trim(recording, mask, config.out)
            done += trimmed.kept
            bar.update(done)
            where = f"are now {trimmed.folder}" if trimmed.folder else "stay: all of it is left out"
            print(f"{recording.name}: {trimmed.kept} of {len(recording)} samples {where}.")
    return 0


def _require_elsewhere(config: TrimConfig, recordings: Sequence[Recording]) -> None:
    """Beside its original, a copy would be learnt from, too, and what is held out of one would be in the other."""
    out = config.out.resolve()
    for path in (*config.data, *(recording.path for recording in recordings)):
        source = path.resolve()
        if out.is_relative_to(source) or out == source.parent:
            raise UserError(
                f"--out {config.out} is where {path} lies: whoever learns from that folder would see both",
                "Choose a folder of its own",
            )


def _describe(recordings: Sequence[Recording], *, as_json: bool) -> None:
    from rl_utils.inspect_recording import info_table, info_text, inspect_recording

    summaries = []
    with progress("inspecting", len(recordings)) as bar:
        for done, recording in enumerate(recordings, start=1):
            summaries.append(inspect_recording(recording))
            recording.close()
            bar.update(done)
    print(json.dumps(info_table(summaries), indent=2) if as_json else info_text(summaries))


def _open_playlist(recordings: Sequence[Recording], checkpoint: Path | None) -> Playlist:
    from rl_utils.playlist import Playlist

    if checkpoint is None:
        return Playlist(recordings)
    require_checkpoint(checkpoint)
    from rl_utils.checkpoint import load_policy

    policy = load_policy(checkpoint)
    for recording in recordings:
        if abs(policy.fps - recording.fps) > 0.01 * policy.fps:
            log(f"{recording.name} has {recording.fps:g} frames per second, the policy learned from {policy.fps:g}.")
    return Playlist(recordings, policy=policy, memory=policy.spec.memory)


def _save(playlist: Playlist, config: PlaybackConfig, path: Path) -> None:
    from rl_utils.export import save_video
    from rl_utils.signals import stop_on_signals

    end_s = _end_s(playlist, config)
    with stop_on_signals() as stop, progress("saving", end_s - config.start) as bar:
        saved = save_video(
            playlist, path, start_s=config.start, end_s=end_s, speed=config.speed, stop=stop, on_progress=bar.update
        )
    if saved.frames:
        print(f"Saved {saved.seconds:.1f} s ({saved.frames} frames) as {path}.")
    else:
        print("Stopped before the first frame: nothing was saved.")


def _play(playlist: Playlist, config: PlaybackConfig) -> None:
    from rl_utils.player import Player
    from rl_utils.playlist import SHOWN_SIZE
    from rl_utils.signals import stop_on_signals
    from rl_utils.viewer import Viewer

    player = Player(playlist, start_s=config.start, end_s=_end_s(playlist, config), speed=config.speed)
    title = f"RLAI playback: {', '.join(str(path) for path in config.data)}"
    with stop_on_signals() as stop, Viewer(title, SHOWN_SIZE, instead=INSTEAD) as viewer:
        player.run(viewer, stop)


def _end_s(playlist: Playlist, config: PlaybackConfig) -> float:
    duration_s = playlist.timeline.duration_s
    return duration_s if config.seconds is None else min(config.start + config.seconds, duration_s)


if __name__ == "__main__":
    sys.exit(main())
