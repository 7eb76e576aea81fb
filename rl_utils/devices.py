"""Names on the command line → devices. Imports happen here, when one is really wanted, so that --help stays instant."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from rl_utils.config import CollectConfig, EvalConfig, LookName, TeamName, WindowSize
from rl_utils.console import log
from rl_utils.controls import REST, XBOX_360_PAD
from rl_utils.errors import UserError
from rl_utils.interfaces import (
    ControllerSink,
    ControllerSource,
    FrameSource,
    Image,
    Inputs,
    InputVector,
    PadInfo,
    Person,
    Policy,
)
from rl_utils.paths import require_checkpoint
from rl_utils.scoring_starts import warn_before_recording

if TYPE_CHECKING:
    from rl_utils.arena.direct import DirectArena
    from rl_utils.get_current_frame import WindowFrames
    from rl_utils.policy import NetworkPolicy, StatePolicy
    from rl_utils.recordings import Recording
    from rl_utils.takeover import TouchMonitor

logger = logging.getLogger(__name__)

NEW_PAD_S = 1.0
"""Time for the game to open a new gamepad: SDL tells nothing of what is held while it does (measured in the arena)."""


class NoPad(ControllerSource):
    """`--pad none`: a recording of pictures alone."""

    def at(self, t_ns: int) -> Inputs:
        """Everything at rest, always."""
        return Inputs(REST)

    @property
    def info(self) -> PadInfo:
        """No pad."""
        return PadInfo(name="none", profile="none")

    def close(self) -> None:
        """Nothing to free."""


class LogSink(ControllerSink):
    """`--sink log`: nobody is driven; what would have been pressed goes to --log-inputs."""

    def apply(self, inputs: InputVector) -> None:
        """Press nothing."""

    def release(self) -> None:
        """Nothing is pressed."""

    def close(self) -> None:
        """Nothing to free."""


class RecordedInputs(Policy):
    """`eval.py --inputs DIR`: answers every frame with the next inputs of a recording, whatever it shows."""

    def __init__(self, recordings: list[Recording]) -> None:
        self.fps = recordings[0].fps
        self.capture_size = recordings[0].size
        self._inputs = np.concatenate([recording.inputs for recording in recordings])
        self._next = 0

    def minutes_at(self, fps: float) -> float:
        """How long they last at this rate."""
        return len(self._inputs) / fps / 60

    @property
    def exhausted(self) -> bool:
        """Whether none is left."""
        return self._next >= len(self._inputs)

    def reset(self) -> None:
        """Losing the window pauses the replay; it goes on where it was."""

    def act(self, image: Image) -> InputVector:
        """The next inputs; at rest after the last ones."""
        if self.exhausted:
            return REST
        self._next += 1
        return cast(InputVector, self._inputs[self._next - 1])


def arena_socket() -> Path | None:
    """Where the arena listens, if the environment says so (several arenas on one machine, as in the demo)."""
    named = os.environ.get("RLAI_ARENA_SOCKET")
    return Path(named) if named else None


@contextmanager
def open_play(config: CollectConfig) -> Iterator[tuple[FrameSource, ControllerSource]]:
    """Open what `collect.py` records: frames and pad.

    Raises:
        UserError: No display, no window in time, no pad, no arena.
    """
    if config.frames == "arena":
        warn_before_recording(config.seed)
        with _direct_arena(
            config.situation,
            config.seed,
            fps=config.fps,
            size=config.size_px,
            driver=config.driver,
            noise=config.noise,
            team=config.team,
            look=config.look,
        ) as arena:
            yield arena, arena.pad
        return
    if config.frames == "portal":
        from rl_utils.portal_frames import open_portal

        with open_portal(config.size_px) as chosen:
            chosen.wait_for_picture(config.wait)
            with _open_pad(config, None) as pad:
                yield chosen, pad
        return
    from rl_utils.get_current_frame import WindowFrames

    with WindowFrames(config.window, config.size_px) as frames:
        try:
            frames.wait_for_window(0)
        except UserError:
            log(f"Waiting for the game's window, at most {config.wait:g} s.")
            frames.wait_for_window(config.wait)
        with _open_pad(config, frames) as pad:
            yield frames, pad


def _open_pad(config: CollectConfig, frames: WindowFrames | None) -> ControllerSource:
    if config.pad == "none":
        return NoPad()
    if config.pad == "arena":
        from rl_utils.arena.link import ArenaPad

        pad = ArenaPad(arena_socket())
        try:
            _require_one_arena(frames, pad.about)
        except UserError:
            pad.close()
            raise
        warn_before_recording(pad.about.get("seed"))
        return pad
    from rl_utils.controller_reader import ControllerReader

    return ControllerReader(config.device)


def _require_one_arena(frames: WindowFrames | None, about: Mapping[str, Any]) -> None:
    """With two arenas open, the picture could be of one and the pad of the other."""
    owner = frames.monitor.process if frames is not None and frames.info.is_arena else None
    if owner is not None and owner != about.get("pid", owner):
        raise UserError(
            f"Two arenas are open: the window is of process {owner}, the pad of process {about['pid']}",
            "Close one of them, or click on the window of the other one first",
        )


def _direct_arena(
    situation: str,
    seed: int,
    *,
    fps: float,
    size: WindowSize,
    driver: str | None = None,
    noise: float = 0.0,
    coach: bool = False,
    team: TeamName = "blue",
    look: LookName = "default",
) -> DirectArena:
    from rl_utils.arena.direct import DirectArena

    if 120 % fps:
        raise UserError(f"{fps:g} fps do not divide the arena's 120 Hz", "Use --fps 30 or 60")
    return DirectArena(
        situation, seed, fps=fps, size=size, driver=driver, noise=noise, coach=coach, team=team, look=look
    )


@dataclass(frozen=True)
class Drive:
    """What a drive runs on.

    Attributes:
        frames: What is seen.
        sink: What is pressed, wrapped in the safety rules.
        person: Who may take the pad from the policy, None for nobody.
        kill_switch: Notices a hand on the physical gamepad; None where there is none, or where it is the person's.
        unread: Why no gamepad can be the kill switch though one may be there, else empty.
        arena_pad: In direct mode, where the arena's state can be had.
    """

    frames: FrameSource
    sink: ControllerSink
    person: Person | None = None
    kill_switch: TouchMonitor | None = None
    unread: str = ""
    arena_pad: ControllerSource | None = None


class StateDriver(Policy):
    """A policy that sees the arena's state instead of pictures, for loops that have pictures.

    Args:
        policy: What decides; its `act` takes a state.
        pad: Where the state is to be had, at the moment of the last picture.
    """

    def __init__(self, policy: Policy, pad: ControllerSource) -> None:
        self.fps = policy.fps
        self._policy = policy
        self._pad = pad

    def reset(self) -> None:
        """Forget the past."""
        self._policy.reset()

    def act(self, image: Image) -> InputVector:
        """Answer the state that belongs to this picture."""
        state = self._pad.at(0).state
        assert state is not None
        return self._policy.act(cast(Any, state))


@contextmanager
def open_drive(config: EvalConfig, *, fps: float, size: WindowSize) -> Iterator[Drive]:
    """Open what `eval.py` drives, and those who watch over it.

    Args:
        config: Which devices.
        fps: Decisions per second.
        size: (width, height) in px of the pictures the policy learned from.

    Raises:
        UserError: No display, no window in time, /dev/uinput not writable, no arena, no gamepad to take over with, or
            another bot is driving.
    """
    if config.frames == "arena":
        from rl_utils.safety import MaskedSink

        coach = config.takeover == "expert"
        if config.record is not None:
            warn_before_recording(config.seed)
        with _direct_arena(config.situation, config.seed, fps=fps, size=size, coach=coach) as arena:
            masked = MaskedSink(arena.sink, allow_menu=config.allow_menu, dead_zone=config.dead_zone)
            sink = masked if config.sink == "arena" else LogSink()
            yield Drive(arena, sink, arena.person if coach else None, arena_pad=arena.pad)
        return
    if config.replay_path is not None:
        from rl_utils.recordings import open_recordings
        from rl_utils.replay import ReplayFrames

        with ReplayFrames(_one_recording(open_recordings([config.replay_path]), config.replay_path)) as replay:
            yield Drive(replay, LogSink())
        return
    from rl_utils.get_current_frame import WindowFrames
    from rl_utils.picture_watch import FROZEN_DRIVE_S

    with ExitStack() as stack:
        frames = stack.enter_context(WindowFrames(config.window, size, frozen_s=FROZEN_DRIVE_S))
        frames.wait_for_window(config.wait)
        # Before the virtual pad, which then is the first thing to go, released.
        person = _open_person(config)
        if person is not None:
            stack.enter_context(person)
        watched = config.sink != "log" and config.takeover != "pad"
        switch, unread = _open_kill_switch(config) if watched else (None, "")
        if switch is not None:
            stack.enter_context(switch)
        yield Drive(frames, stack.enter_context(_open_sink(config, frames)), person, switch, unread=unread)


def _one_recording(recordings: list[Recording], path: Path) -> Recording:
    if len(recordings) > 1:
        names = ", ".join(recording.name for recording in recordings[:3])
        raise UserError(f"{path} holds {len(recordings)} sessions ({names}, ...)", "Name one of them")
    return recordings[0]


def _open_sink(config: EvalConfig, frames: WindowFrames) -> ControllerSink:
    if config.sink == "log":
        return LogSink()
    from rl_utils.safety import SafeSink, require_no_anti_cheat, require_offline_promise

    if config.sink == "arena":
        from rl_utils.arena.link import ArenaSink

        sink = ArenaSink(arena_socket())
        try:
            _require_one_arena(frames, sink.about)
        except UserError:
            sink.close()
            raise
        if config.record is not None:
            warn_before_recording(sink.about.get("seed"))
        return SafeSink(sink, allow_menu=config.allow_menu, dead_zone=config.dead_zone)

    def guard() -> None:
        if not frames.info.is_arena:
            require_no_anti_cheat()

    guard()
    if not frames.info.is_arena:
        require_offline_promise(given=config.yes_offline)
    from rl_utils.apply_inputs import InputApplier
    from rl_utils.pad_finder import list_pads
    from rl_utils.split_screen import pads_beside_ours, require_no_other_bot

    pads = list_pads()
    require_no_other_bot(pads)
    for sentence in pads_beside_ours(pads, own_ids=XBOX_360_PAD[:2]):
        logger.warning("%s", sentence)
    applier = InputApplier(allow_menu=config.allow_menu, dead_zone=config.dead_zone)
    time.sleep(NEW_PAD_S)
    return SafeSink(applier, allow_menu=config.allow_menu, guard=guard)


def _open_person(config: EvalConfig) -> Person | None:
    """Who may take the pad from the policy.

    Raises:
        UserError: There is no gamepad to do it with, or no arena.
    """
    if config.takeover == "off":
        return None
    if config.takeover == "expert":
        from rl_utils.arena.link import ArenaCoach

        return ArenaCoach(arena_socket())
    from rl_utils.takeover import PadTakeover

    pad: ControllerSource
    if config.sink == "arena" and config.device is None:
        from rl_utils.arena.link import ArenaHand

        pad = ArenaHand(arena_socket())  # its window hears every gamepad, and the keyboard
    else:
        from rl_utils.controller_reader import ControllerReader

        pad = ControllerReader(config.device)
    return PadTakeover(pad, give_back_s=config.give_back_s, allow_menu=config.allow_menu)


def _open_kill_switch(config: EvalConfig) -> tuple[TouchMonitor | None, str]:
    """Watch the physical gamepad, whose touch ends the drive; None, and why one that may be there cannot be read.

    Raises:
        UserError: The gamepad named with --device is not there.
    """
    from rl_utils.controller_reader import ControllerReader
    from rl_utils.pad_finder import unread_pads
    from rl_utils.takeover import TouchMonitor

    try:
        return TouchMonitor(ControllerReader(config.device)), ""
    except UserError as error:
        if config.device is not None:
            raise
        return None, unread_pads(error.problem)


def open_driver(config: EvalConfig) -> NetworkPolicy | StatePolicy | RecordedInputs:
    """Load the policy, or the recorded inputs that stand in for it.

    Raises:
        UserError: The file is missing, no checkpoint, made for another layout, or sees what only direct mode can show.
    """
    if config.inputs is not None:
        from rl_utils.recordings import open_recordings

        return RecordedInputs(open_recordings([config.inputs], pad_profile=config.pad_profile))
    assert config.checkpoint is not None
    require_checkpoint(config.checkpoint)
    from rl_utils.checkpoint import load_arena_policy, load_policy

    load = load_arena_policy if config.frames == "arena" else load_policy
    return load(config.checkpoint, device=config.compute)
