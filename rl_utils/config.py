"""Settings: one frozen dataclass per script is its defaults, its --help, its validation and its saved record.

Longer than other modules because every option of every script stands here, and nowhere else.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import inspect
import io
import itertools
import re
import subprocess
import sys
import tomllib
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

import tyro

from rl_utils import __version__
from rl_utils.errors import UserError

GAME_TITLE: Final = r"^Rocket League(\s*\(.*\))?$"
"""Matches the article's exact title, the arena's, and Proton's `Rocket League (64-bit, DX11, Cooked)`."""

WindowSize = tuple[int, int]
TeamName = Literal["blue", "orange"]
ComputeDevice = Literal["auto", "cpu", "cuda"]
LookName = Literal["default", "night", "desert", "ice"]

LONGEST_S: Final = 10_000_000.0
"""Four months: longer than anything that is recorded, driven or trained."""
LONGEST_MIN: Final = 100_000.0

_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")
_MASK = re.compile(",".join([r"(\d{1,3}(?:\.\d+)?)"] * 4))
_UNTIL = re.compile(r"(\d{1,9}(?:\.\d+)?)\s*(f|frames?|s|sec|seconds?|m|min|minutes?|h|hours?)", re.IGNORECASE)
_SECONDS: Final = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hour", "hours"), 3600),
}


def parse_size(text: str, *, option: str = "--size") -> WindowSize:
    """Read "480x270" as (width, height) in px.

    Raises:
        UserError: It is not two whole numbers between 16 and 16384.
    """
    match = _SIZE.fullmatch(text)
    if match is None or not all(16 <= int(n) <= 16384 for n in match.groups()):
        raise UserError(f"{option} {text} is not a size", f'Write width and height in pixels like "{option} 480x270"')
    return int(match[1]), int(match[2])


def parse_mask(text: str) -> tuple[float, float, float, float]:
    """Read "40,0,20,9" as (left, top, width, height) in percent of the picture.

    Raises:
        UserError: It is not four numbers, or reaches out of the picture.
    """
    match = _MASK.fullmatch(text)
    if match is not None:
        left, top, width, height = map(float, match.groups())
        if min(width, height) > 0 and max(left + width, top + height) <= 100:
            return left, top, width, height
    raise UserError(
        f"--mask {text} is no place in the picture",
        'Write left, top, width and height in percent like "--mask 40,0,20,9"',
    )


def parse_until(text: str, fps: float) -> int:
    """Read "5000frames" or "20min" as a number of frames.

    Raises:
        UserError: It is neither.
    """
    match = _UNTIL.fullmatch(text.strip())
    if match is None:
        raise UserError(f"--until {text} is no number of frames or minutes", "Write it like 5000frames, 20min or 90s")
    amount, unit = float(match[1]), match[2].lower()
    return round(amount) if unit.startswith("f") else round(amount * _SECONDS[unit] * fps)


def _require(condition: bool, problem: str, remedy: str) -> None:
    if not condition:
        raise UserError(problem, remedy)


def _require_data(data: Sequence[Path], example: str, **lists: Sequence[object]) -> None:
    """Refuse a command without recordings.

    Args:
        data: What was named.
        example: How it is done.
        lists: Options that take every word up to the next option, by name: words meant as recordings may be in there.
    """
    took = next((f": --{name.replace('_', '-')} took the words after it" for name, words in lists.items() if words), "")
    _require(len(data) > 0, f"No recording was named{took}", f'Name folders or files first: "{example}"')


def _require_duration(option: str, value: float | None, *, longest: float = LONGEST_S) -> None:
    """Refuse what is no time, and what cannot be counted in frames, such as inf. None is no limit."""
    if value is not None:
        remedy = f"Use more than 0 and at most {longest:.0f}"
        _require(0 < value <= longest, f"{option} {value:g} is not a duration", remedy)


def _require_rate(fps: float) -> None:
    """Slower than 5 Hz the pad would be released between two decisions (`safety.STALE_S`)."""
    _require(5 <= fps <= 240, f"--fps {fps:g} is out of range", "Choose 5 to 240")


def _require_wait(seconds: float) -> None:
    _require(0 <= seconds <= 86_400, f"--wait {seconds:g} is out of range", "Choose 0 to 86400 seconds")


@dataclass(frozen=True)
class CollectConfig:
    """Record the game's window and your gamepad while you play. Stop with Ctrl+C.

    Recording runs while the game's window is focused, pauses when it is not, and only reads. While it runs, Ctrl+F9
    marks a new episode, Ctrl+F10 pauses, Ctrl+F11 discards the last seconds, whichever window has the focus.
    """

    out: Path
    """Folder that receives the session folders."""
    fps: float = 30.0
    """Frames per second."""
    window: str = GAME_TITLE
    """Regular expression that the window's title must match."""
    pad: Literal["evdev", "arena", "none"] = "evdev"
    """Where inputs come from: a gamepad, the practice arena's pad, or nowhere."""
    device: str | None = None
    """Which gamepad: /dev/input/event path, part of its name, or vendor:product. Default: the one that fits best."""
    size: str = "480x270"
    """Stored picture, width x height in pixels."""
    codec: Literal["gzip", "jpeg"] = "gzip"
    """gzip is lossless and reads everywhere; jpeg (quality 90, 4:4:4) is 7-9 times smaller."""
    batch_size: int = 5000
    """Samples per batch file."""
    seconds: float | None = None
    """Stop after this much recorded time."""
    until: str | None = None
    """Stop after so many frames or so much recorded time: 5000frames, 20min, 90s, 2h."""
    countdown: float = 0.0
    """Begin when the game has had the focus for this many seconds."""
    resume: bool = False
    """Go on with the newest session in --out, if size, rate, codec, pad and game are the same; else begin a new one."""
    discard_seconds: float = 10.0
    """How much recorded time one press of the discard key takes back."""
    mark_key: str = "ctrl+F9"
    """Hot key: a new episode begins. Modifiers (ctrl, alt, shift, super) and a key as X names it, or none."""
    pause_key: str = "ctrl+F10"
    """Hot key: pause, and go on."""
    discard_key: str = "ctrl+F11"
    """Hot key: forget the last seconds."""
    mark_chord: str = "none"
    """The same by pad: buttons held together, like select+thumbr; samples in which they are held are left out."""
    pause_chord: str = "none"
    """The same by pad."""
    discard_chord: str = "none"
    """The same by pad."""
    sounds: bool = False
    """A short tone at start, pause, mark, discard and end."""
    frames: Literal["window", "arena", "portal"] = "window"
    """The window; the practice arena in direct mode (the same pixels without a window, faster than real time); or a
    native Wayland window that is chosen in the desktop's own dialog (extra wayland; only --pause-chord pauses it, as
    Wayland keeps keys from other programs)."""
    driver: Literal["expert", "idle"] = "expert"
    """Direct mode: who plays."""
    noise: float = 0.0
    """Direct mode: strength of the disturbances (0 to 1) that teach recovery; the clean inputs are stored as labels."""
    situation: str = "training"
    """Direct mode: how play starts."""
    seed: int = 0
    """Direct mode: seed of the starts."""
    team: TeamName = "blue"
    """Direct mode: colour of the car, and the end from which it plays."""
    look: LookName = "default"
    """Direct mode: colours and light of the arena."""
    wait: float = 60.0
    """Seconds to wait for the window to appear."""

    def __post_init__(self) -> None:
        parse_size(self.size)
        _check_window_regex(self.window)
        _require_rate(self.fps)
        _require(self.batch_size >= 1, f"--batch-size {self.batch_size} is too small", "Choose at least 1")
        _require_duration("--seconds", self.seconds)
        _require(0 <= self.noise <= 1, f"--noise {self.noise:g} is out of range", "Choose 0 to 1")
        _require(self.seconds is None or self.until is None, "--seconds and --until exclude each other", "Give one")
        _require(0 <= self.countdown <= 3600, f"--countdown {self.countdown:g} is out of range", "Choose 0 to 3600")
        _require_wait(self.wait)
        _require_duration("--discard-seconds", self.discard_seconds)
        _require(self.limit is None or self.limit > 0, "There is nothing to record", "Ask for at least one frame")
        if self.frames == "arena":
            _require(not self.resume, "Direct mode has no sittings to go on with", "Leave --resume away")
            _require(self.pad != "none", "--frames arena always has its driver's pad", "Leave --pad away")
            _require(120 % self.fps == 0, f"--fps {self.fps:g} does not divide the arena's 120 Hz", "Choose 30 or 60")

    @property
    def size_px(self) -> WindowSize:
        """(width, height) of the stored picture."""
        return parse_size(self.size)

    @property
    def limit(self) -> int | None:
        """Samples after which to stop."""
        if self.until is not None:
            return parse_until(self.until, self.fps)
        return None if self.seconds is None else max(1, round(self.seconds * self.fps))


ModelName = Literal["fovea", "motion", "temporal", "rocketnet", "state"]
LossName = Literal["balanced", "article"]


AUTO_BATCH: Final = 0
"""--batch-size auto."""
BatchSize = Annotated[
    int,
    tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="INT|auto",
        instance_from_str=lambda words: AUTO_BATCH if words[0] == "auto" else int(words[0]),
        is_instance=lambda value: isinstance(value, int),
        str_from_instance=lambda value: ["auto" if value == AUTO_BATCH else str(value)],
    ),
]


@dataclass(frozen=True)
class TrainConfig:
    """Train a network to map pictures to inputs. Ctrl+C saves and stops; --resume goes on."""

    data: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Session folders, folders of them, or batch files (ours or the article's)."""
    out: Path
    """Run folder: checkpoints, model card, metrics, TensorBoard logs."""
    model: ModelName = "fovea"
    """fovea, the default, sees three moments, and the middle of the picture a second time, larger; where recordings
    hold the state (the arena's), it also learns what pictures say about car and ball. motion has neither; temporal, for
    GPUs, looks at a second of play and plans the next inputs; rocketnet is the article's network, exactly; state learns
    from the practice arena's state instead of pictures, as an upper bound for them."""
    loss: LossName = "balanced"
    """balanced is corrected; article is the article's own."""
    epochs: int = 5
    """Passes over the training data; between two coach rounds half as many."""
    minutes: float | None = None
    """Time budget: the schedule is fitted to it, whatever --epochs says (fewer or more passes)."""
    batch_size: BatchSize = 64
    """Samples per optimiser step (per accumulation step), of all processes together under torchrun; auto doubles it
    until memory or speed ends (the learning rate stays as it is)."""
    accumulate: int = 1
    """Batches whose gradients are added up before a step."""
    optimiser: Literal["auto", "muon", "adamw"] = "auto"
    """What moves the weights: muon for the inner ones with adamw for the rest, or adamw; auto takes muon for fovea."""
    lr: float = 1e-3
    """Highest learning rate of the OneCycle schedule (the article: 3e-4)."""
    weight_decay: float = 1e-3
    """Weight decay (the article: 1e-5)."""
    clip: float = 1.0
    """Gradient norm limit."""
    patience: int = 5
    """Stop after this many epochs without a better validation loss; 0 never stops."""
    head_balance: bool = True
    """Scale the button head's gradient down when it outgrows the stick head's (heads as in the article)."""
    seed: int = 42
    """Seed of weights, order, dropout and augmentation."""
    deterministic: bool = True
    """Repeatable arithmetic (as the article chose); off is faster on some GPUs."""
    val_share: float = 0.1
    """Share of the play time that is held out, as whole stretches of time."""
    val_gap_s: float = 2.0
    """Seconds left out on both sides of a held-out stretch."""
    hold_out: tuple[Path, ...] = ()
    """Recordings (folders, sessions or files) to measure on instead of stretches: whole sessions, learnt from not at
    all."""
    action_shift_ms: float = 0.0
    """Pair each frame with the inputs this much later, to cancel the latency of driving."""
    init: Path | None = None
    """Begin with the weights of this checkpoint, to learn on from new recordings such as corrections. What is held out
    now may have been learnt then, so the last pass becomes best.pt, and such runs are compared by their play."""
    takeover_weight: float = 2.0
    """How often a moment counts in which somebody had taken the pad from a policy (your own play counts once)."""
    pre_takeover_weight: float = 0.0
    """Factor for the seconds before a takeover, where the policy was wrong; 0 leaves them out."""
    policy_weight: float = 0.0
    """How often a moment counts in which a policy drove, where no labels say what it should have done."""
    change_weight: float = 1.0
    """Factor for moments in which a button changes or an axis moves by more than a tenth of its way."""
    mirror: float = 0.5
    """Share of samples seen left-right mirrored, with steering mirrored too."""
    swap_shoulders: bool = False
    """Swap L1 and R1 in mirrored samples: for play with air roll left and right on them."""
    shift_px: int = 1
    """Random shift of the picture, in px of the model's input."""
    colour: float = 0.0
    """Random contrast (up to this share), brightness and tint (half as much) of training pictures; try 0.2."""
    blur: float = 0.0
    """Share of training pictures seen out of focus."""
    drop_past: float = 0.0
    """Share of training moments whose older pictures are replaced by the newest, so that it cannot lean on them."""
    mask: tuple[str, ...] = ()
    """Places that are black in training and in play, such as the HUD's clock: left,top,width,height of each in percent
    of the picture, like 40,0,20,9."""
    belief_weight: float = 1.0
    """What fovea's belief about car and ball counts beside the inputs, where recordings hold the state; 0: nothing."""
    ema: float = 0.995
    """Average of the weights over steps that is evaluated and saved; 0 turns it off."""
    pad_profile: str = "playstation"
    """Pad behind the article's files: playstation, playstation-generic, xpad, nintendo, 8bitdo or hid."""
    cache_gb: float = 6.0
    """Memory for frames held ready at training size; what does not fit goes to a file in --out while it trains."""
    cache_disk_gb: float = 100.0
    """Room for that file (at most half of what is free); what does not fit there either is decoded when needed."""
    device: ComputeDevice = "auto"
    """Where to compute."""
    threads: int = 0
    """CPU threads of torch; 0 leaves its choice."""
    amp: Literal["auto", "bf16", "off"] = "auto"
    """Compute training steps with bfloat16: auto does so for pictures, on GPUs and CPUs with matrix units for it."""
    compile: bool = False
    """Compile the network (torch.compile): a minute or more at the start, for faster steps on some GPUs."""
    coach: int = 0
    """Rounds after the training: the policy plays the arena, the scripted driver corrects it, it learns from that."""
    coach_minutes: float = 7.0
    """Minutes of play in each round (faster than real time, beside --minutes)."""
    select: Literal["loss", "score"] = "loss"
    """What decides which pass becomes best.pt: the held-out loss (after coach rounds the last pass, whatever its loss),
    or how the policy plays the practice arena after each pass, on starts of its own and beside --minutes."""
    select_episodes: int = 20
    """--select score: starts that are played after each pass."""
    resume: bool = False
    """Continue the run in --out from last.pt."""

    def __post_init__(self) -> None:
        _require_data(self.data, "train.py recordings --out runs/a", mask=self.mask, hold_out=self.hold_out)
        _require(self.epochs >= 1, f"--epochs {self.epochs} is too small", "Choose at least 1")
        _require_duration("--minutes", self.minutes, longest=LONGEST_MIN)
        _require(
            self.batch_size >= 2 or self.batch_size == AUTO_BATCH,
            f"--batch-size {self.batch_size} is too small",
            "Batch statistics need at least 2",
        )
        _require(self.accumulate >= 1, f"--accumulate {self.accumulate} is too small", "Choose at least 1")
        _require(self.lr > 0, f"--lr {self.lr:g} is not a learning rate", "Use more than 0")
        _require(self.clip > 0, f"--clip {self.clip:g} would let nothing be learnt", "Use more than 0; inf is no limit")
        _require(self.weight_decay >= 0, f"--weight-decay {self.weight_decay:g} is negative", "Use 0 or more")
        _require(0 < self.val_share <= 0.9, f"--val-share {self.val_share:g} is out of range", "Choose 0.01 to 0.9")
        _require(
            0 <= self.val_gap_s <= 86_400,
            f"--val-gap-s {self.val_gap_s:g} is out of range",
            "Choose 0 to 86400 seconds",
        )
        _require(
            abs(self.action_shift_ms) <= 60_000,
            f"--action-shift-ms {self.action_shift_ms:g} is out of range",
            "Choose -60000 to 60000",
        )
        _require(0 <= self.seed < 2**32, f"--seed {self.seed} is out of range", f"Choose 0 to {2**32 - 1}")
        _require(0 <= self.threads <= 1024, f"--threads {self.threads} is out of range", "Choose 0 to 1024")
        for name in ("colour", "blur", "drop_past"):
            option, value = "--" + name.replace("_", "-"), getattr(self, name)
            _require(0 <= value <= 1, f"{option} {value:g} is out of range", "Choose 0 to 1")
            _require(
                not value or self.model != "state",
                f"{option} varies pictures, and --model state sees none",
                "Leave it away",
            )
        for text in self.mask:
            parse_mask(text)
        _require(
            not self.mask or self.model != "state",
            "--mask hides parts of pictures, and --model state sees none",
            "Leave it away",
        )
        _require(
            0 < self.change_weight <= 100,
            f"--change-weight {self.change_weight:g} is out of range",
            "Choose 0.1 to 100",
        )
        for name in ("takeover_weight", "pre_takeover_weight", "policy_weight"):
            option, value = "--" + name.replace("_", "-"), getattr(self, name)
            _require(0 <= value <= 100, f"{option} {value:g} is out of range", "Choose 0 to 100")
        _require(0 <= self.mirror <= 1, f"--mirror {self.mirror:g} is out of range", "Choose 0 to 1")
        _require(
            0 <= self.belief_weight <= 100, f"--belief-weight {self.belief_weight:g} is out of range", "Choose 0 to 100"
        )
        _require(0 <= self.ema < 1, f"--ema {self.ema:g} is out of range", "Choose 0 to 0.9999")
        _require(0 <= self.shift_px <= 32, f"--shift-px {self.shift_px} is out of range", "Choose 0 to 32")
        _require(0 <= self.coach <= 18, f"--coach {self.coach} is out of range", "Choose 0 to 18 rounds")
        _require(
            0 < self.coach_minutes <= 200,
            f"--coach-minutes {self.coach_minutes:g} is out of range",
            "Choose up to 200",
        )
        _require(
            2 <= self.select_episodes <= 2000,
            f"--select-episodes {self.select_episodes} is out of range",
            "Choose 2 to 2000",
        )


@dataclass(frozen=True)
class EvalConfig:
    """Let a trained policy drive through a virtual gamepad. For offline modes only. Stop with Ctrl+C."""

    checkpoint: Path | None = None
    """best.pt of a run, or a bare article checkpoint."""
    inputs: Path | None = None
    """Replay the inputs of this recording instead of a policy."""
    pad_profile: str = "playstation"
    """Pad behind the article's files: playstation, playstation-generic, xpad, nintendo, 8bitdo or hid."""
    frames: str = "window"
    """window, arena (direct mode, no window), or replay:DIR (a recording)."""
    sink: Literal["uinput", "arena", "log"] = "uinput"
    """Where inputs go: a virtual gamepad, the practice arena's socket, or only the log."""
    log_inputs: Path | None = None
    """Write one row per frame: frame_index and the 19 values."""
    minutes: float = 10.0
    """Stop after this long."""
    window: str = GAME_TITLE
    """Regular expression that the window's title must match."""
    fps: float | None = None
    """Frames per second. Default: the rate of the recording that the policy learned from."""
    show: bool = False
    """Open a live view of what is pressed and how far."""
    record: Path | None = None
    """Also store what it saw and did, as a session in this folder."""
    report: Path | None = None
    """Also write the closing summary here (JSON)."""
    yes_offline: bool = False
    """Confirm that the real game runs in an offline mode (otherwise asked once)."""
    allow_menu: bool = False
    """Let START and SELECT through (MODE never)."""
    dead_zone: float = 0.0
    """Sticks closer to their rest than this share of their way stay at rest."""
    takeover: Literal["off", "pad", "expert"] = "off"
    """Who may take the pad from the bot while it drives. off: touching your gamepad stops the bot. pad: touching your
    gamepad (in the arena also the keyboard) hands over to you. expert: the arena's scripted driver corrects the bot."""
    give_back_s: float = 1.5
    """--takeover pad: the bot drives again when you let go of everything for so long. 0: only by SELECT + START, which
    always gives it back at once."""
    device: str | None = None
    """The physical gamepad that stops the bot or takes over. Default: the one that fits best, if any."""
    compute: ComputeDevice = "auto"
    """Where the network computes: auto takes a GPU only for networks that are too large for one core (temporal)."""
    situation: str = "benchmark"
    """Direct mode: how play starts."""
    seed: int = 900000
    """Direct mode: seed of the starts."""
    wait: float = 60.0
    """Seconds to wait for the window to appear."""

    def __post_init__(self) -> None:
        _check_window_regex(self.window)
        both = self.checkpoint is not None and self.inputs is not None
        none = self.checkpoint is None and self.inputs is None
        _require(not both, "--checkpoint and --inputs exclude each other", "Give one of them")
        _require(not none, "Nothing says how to drive", "Give --checkpoint FILE or --inputs DIR")
        known = self.frames in ("window", "arena") or self.frames.startswith("replay:")
        _require(known, f"--frames {self.frames} is unknown", 'Choose "window", "arena" or "replay:DIR"')
        direct = self.frames == "arena"
        _require(
            not direct or self.sink in ("arena", "log"), "--frames arena drives only its own car", "Add --sink arena"
        )
        _require_duration("--minutes", self.minutes, longest=LONGEST_MIN)
        _require_wait(self.wait)
        _require(0 <= self.dead_zone < 1, f"--dead-zone {self.dead_zone:g} is out of range", "Choose 0 to 0.99")
        if self.fps is not None:
            _require_rate(self.fps)
        if self.frames.startswith("replay:"):
            _require(self.sink == "log", "A recording cannot be driven", "Use --sink log with --frames replay:DIR")
        _require(
            self.takeover != "expert" or self.sink == "arena",
            "--takeover expert is the arena's scripted driver",
            "Add --sink arena",
        )
        _require(
            self.takeover != "pad" or (not direct and self.sink != "log"),
            "--takeover pad needs something that is driven in real time",
            "Use --frames window with --sink uinput or arena",
        )
        _require(
            0 <= self.give_back_s <= 60, f"--give-back-s {self.give_back_s:g} is out of range", "Choose 0 to 60 seconds"
        )

    @property
    def replay_path(self) -> Path | None:
        """The recording behind --frames replay:DIR."""
        return Path(self.frames.removeprefix("replay:")) if self.frames.startswith("replay:") else None


@dataclass(frozen=True)
class PlaybackConfig:
    """Look at a recording: the picture with the pad drawn over it.

    Keys: space pause, left and right step, up and down 1 s, page up and down 10 s, + and - speed, home, end, i info,
    q quit; click on the timeline to go there. To keep only the good parts: "playback.py trim --help".
    """

    data: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Session folders, folders of them, or batch files (ours or the article's)."""
    checkpoint: Path | None = None
    """Also draw what this policy would have pressed."""
    save: Path | None = None
    """Write an .mp4 instead of opening a window."""
    info: bool = False
    """Print rate, gaps, duration, idle share, use of each control, and the verdict."""
    json: bool = False
    """Print --info as JSON."""
    speed: float = 1.0
    """Playback speed."""
    start: float = 0.0
    """Begin at this second."""
    seconds: float | None = None
    """Show or save only this much."""
    pad_profile: str = "playstation"
    """Pad behind the article's files: playstation, playstation-generic, xpad, nintendo, 8bitdo or hid."""

    def __post_init__(self) -> None:
        _require_data(self.data, "playback.py recordings")
        _require(0.05 <= self.speed <= 20, f"--speed {self.speed:g} is out of range", "Choose 0.05 to 20")
        _require(
            0 <= self.start <= LONGEST_S,
            f"--start {self.start:g} is out of range",
            f"Choose 0 to {LONGEST_S:.0f} seconds",
        )
        _require_duration("--seconds", self.seconds)


@dataclass(frozen=True)
class TrimConfig:
    """Keep the good parts of recordings as new sessions; the originals stay as they were.

    Times are those that playback shows: play time over all the recordings, with long gaps shortened.
    """

    data: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Session folders, folders of them, or batch files (ours or the article's)."""
    out: Path
    """Folder that receives the new sessions."""
    start: float = 0.0
    """Leave out everything before this second."""
    end: float | None = None
    """Leave out everything after this second."""
    drop: tuple[str, ...] = ()
    """Stretches to leave out, in seconds, like 12.5-20 31-40."""
    drop_idle: float | None = None
    """Leave out what comes after this many seconds with every control at rest, until one is used again."""
    pad_profile: str = "playstation"
    """Pad behind the article's files: playstation, playstation-generic, xpad, nintendo, 8bitdo or hid."""

    def __post_init__(self) -> None:
        _require_data(self.data, "playback.py trim recordings --out kept --drop 12.5-20", drop=self.drop)
        _require(
            0 <= self.start <= LONGEST_S,
            f"--start {self.start:g} is out of range",
            f"Choose 0 to {LONGEST_S:.0f} seconds",
        )
        _require(
            self.end is None or self.end > self.start,
            f"--end {self.end} is not after --start {self.start:g}",
            "Choose a later one",
        )
        _require_duration("--end", self.end)
        _require_duration("--drop-idle", self.drop_idle)
        chosen = self.start > 0 or self.end is not None or self.drop or self.drop_idle is not None
        _require(bool(chosen), "Nothing is to be left out", "Use --start, --end, --drop or --drop-idle")


DriverName = Literal["human", "expert", "idle", "pad"]


@dataclass(frozen=True)
class ArenaConfig:
    """The practice arena: Rocket League's physics in a window titled "Rocket League".

    Keys: W/S throttle, A/D steer, shift boost, space jump, left Ctrl or X powerslide, Q/E roll, arrows pitch and yaw,
    C camera, R new start, Esc quit. How well somebody plays: "python -m rl_utils.arena score --help".
    """

    driver: DriverName = "human"
    """Who plays: you (keyboard or gamepad), the scripted driver, nobody, or a pad over the arena's socket."""
    camera: Literal["ball", "car"] = "ball"
    """Camera at the start; the top face button toggles it."""
    situation: str = "training"
    """How play starts."""
    seed: int = 0
    """Seed of the starts."""
    size: str = "960x540"
    """Window, width x height in pixels."""
    team: TeamName = "blue"
    """Colour of the car, and the end from which it plays."""
    look: LookName = "default"
    """Colours and light, to see whether a policy plays where it has never been."""
    fps: float = 60.0
    """Pictures per second; 120, 60, 40 or 30."""
    noise: float = 0.0
    """Disturb the scripted driver (0 to 1): its clean inputs are sent as labels."""
    seconds: float | None = None
    """Close after this long."""
    socket: Path | None = None
    """Socket for the arena's pad. Default: one per user."""
    stats: Path | None = None
    """Write goals, touches and minutes here when the arena closes (JSON)."""

    def __post_init__(self) -> None:
        parse_size(self.size)
        _require(
            self.fps in (30, 40, 60, 120),
            f"--fps {self.fps:g} does not fit the 120 Hz physics",
            "Choose 30, 40, 60 or 120",
        )
        _require(0 <= self.noise <= 1, f"--noise {self.noise:g} is out of range", "Choose 0 to 1")
        _require_duration("--seconds", self.seconds)

    @property
    def size_px(self) -> WindowSize:
        """(width, height) of the window."""
        return parse_size(self.size)


@dataclass(frozen=True)
class ScoreConfig:
    """Score a policy or a driver in the practice arena without a window, faster than real time and repeatably."""

    checkpoint: Path | None = None
    """Score this policy."""
    driver: Literal["expert", "idle", "constant", "random"] | None = None
    """Score a built-in driver."""
    constant: Path | None = None
    """For --driver constant: recording whose mean inputs are held."""
    as_shipped: bool = False
    """Drive a rocketnet as the article did: pictures as 0..255, left stick doubled, right one halved. For comparison
    only: this is what the difference between training and play costs."""
    episodes: int = 60
    """How many starts are played."""
    minutes: float | None = None
    """Play starts until they come to so many simulated minutes, however many that takes."""
    seed: int = 900000
    """First start; training uses other ones."""
    situation: str = "benchmark"
    """How play starts; scores are quoted for benchmark."""
    team: TeamName = "blue"
    """orange plays the same starts in an orange car from the other end; scores are quoted for blue."""
    look: LookName = "default"
    """Colours and light of the arena; scores are quoted for default."""
    workers: int = 0
    """Processes; 0 takes one per core. The result does not depend on it."""
    compute: ComputeDevice = "auto"
    """Where the network computes: auto takes a GPU only for networks that are too large for one core (temporal);
    with --as-shipped always on the CPU."""
    json: Path | None = None
    """Also write the result here."""
    against: Path | None = None
    """Also compare with this earlier --json, start by start."""

    def __post_init__(self) -> None:
        both = self.checkpoint is not None and self.driver is not None
        none = self.checkpoint is None and self.driver is None
        _require(not both, "--checkpoint and --driver exclude each other", "Give one of them")
        _require(not none, "Nothing to score", "Give --checkpoint FILE or --driver NAME")
        _require(self.episodes >= 1, f"--episodes {self.episodes} is too small", "Choose at least 1")
        _require_duration("--minutes", self.minutes, longest=LONGEST_MIN)
        _require(
            not self.as_shipped or self.checkpoint is not None,
            "--as-shipped is a way to drive a network",
            "Add --checkpoint FILE",
        )
        _require(self.workers >= 0, f"--workers {self.workers} is negative", "Choose 0 or more")
        needs = self.driver == "constant" and self.constant is None
        _require(not needs, "--driver constant needs inputs to hold", "Add --constant DIR, the recording it averages")


ScoreboardPart = Literal[
    "idle",
    "random",
    "constant",
    "article-shipped",
    "article-fixed",
    "plain",
    "noise",
    "coach",
    "coach-orange",
    "coach-night",
    "coach-ice",
    "without-belief",
    "without-belief-and-middle",
    "without-mirror",
    "without-shift",
    "without-muon",
    "without-average",
    "state",
    "expert",
    "curves",
]


@dataclass(frozen=True)
class ScoreboardConfig:
    """Measure what each way of learning is worth in the practice arena, beside baselines, on the same held-out starts.

    Every step is one of the project's own commands, printed as it runs, with its result kept in --out. In small, a
    quarter of an hour on 2 cores: --minutes-of-play 8 --seeds 1 --epochs 2 --article-epochs 1 --coach 1
    --coach-minutes 2 --score-minutes 4. As it is, by arithmetic 5 to 10 hours on two cores.
    """

    out: Path
    """Folder that receives recordings, runs, scores and the tables and pictures made from them."""
    minutes_of_play: float = 60.0
    """The scripted driver's play to learn from: so much without noise, and so much with it."""
    seeds: int = 3
    """Training seeds of our policies."""
    article_seeds: int = 1
    """Training seeds of the article's network, which costs several times as much."""
    epochs: int = 5
    """Passes over the play."""
    article_epochs: int = 5
    """The same for the article's network; the article itself ran 25."""
    coach: int = 4
    """Coach rounds (train.py --coach)."""
    coach_minutes: float = 7.5
    """Minutes of play in each of them."""
    train_options: tuple[str, ...] = ()
    """More options of train.py for plain, noise, coach and curves, without dashes: lr=5e-4 batch-size=128."""
    score_minutes: float = 30.0
    """Simulated minutes for which each row's driver plays, at least; its training seeds share them."""
    seed: int = 960000
    """First of the held-out starts; all play the same ones."""
    only: tuple[ScoreboardPart, ...] = ()
    """Rows to measure now, and what they need; all by default, but for those that show a policy an arena that it has
    never seen (coach-orange, coach-night, coach-ice), and those of the coached policy without one of its parts."""
    resume: bool = False
    """Go on in --out: what is done there stays, and counts."""

    def __post_init__(self) -> None:
        for name, low, high in (
            ("minutes_of_play", 1, 1000),
            ("seeds", 1, 100),
            ("article_seeds", 1, 100),
            ("epochs", 1, 1000),
            ("article_epochs", 1, 1000),
            ("coach", 1, 18),
            ("coach_minutes", 0.1, 200),
            ("score_minutes", 0.1, 10_000),
        ):
            option, value = "--" + name.replace("_", "-"), getattr(self, name)
            _require(low <= value <= high, f"{option} {value:g} is out of range", f"Choose {low:g} to {high:g}")
        _require(self.seed >= 900_000, f"--seed {self.seed} may be trained on", "Choose 900000 or more")
        _require(self.seed < 2_000_000_000, f"--seed {self.seed} is out of range", "Choose 900000 to 1999999999")

    @property
    def train_words(self) -> list[str]:
        """`train_options` as `train.py` takes them."""
        return [word for option in self.train_options for word in f"--{option}".split("=", 1)]


@dataclass(frozen=True)
class DoctorConfig:
    """Check what recording and driving need on this machine; each line says ok, or what to do."""

    json: bool = False
    """Print the findings as JSON."""
    window: str = GAME_TITLE
    """Regular expression that the window's title must match."""
    map: bool = False
    """Map a gamepad that is not known or read wrongly: press what is asked for. It is stored and used from then on."""
    device: str | None = None
    """With --map: the gamepad's path, part of its name, or vendor:product."""

    listen: float = 3.0
    """Seconds to wait for events of the gamepad: press something meanwhile. 0 does not wait."""

    def __post_init__(self) -> None:
        _require(0 <= self.listen <= 600, f"--listen {self.listen:g} is out of range", "Choose 0 to 600")
        _check_window_regex(self.window)
        _require(self.map or self.device is None, "--device chooses what --map maps", "Add --map, or leave it away")


@dataclass(frozen=True)
class BenchConfig:
    """Measure capture, recording, loading, training, driving, the pad and observations here, beside the alternative."""

    what: Annotated[
        tuple[Literal["capture", "record", "write", "load", "train", "drive", "pad", "obs"], ...], tyro.conf.Positional
    ] = ()
    """Which parts; all of them by default."""
    seconds: float = 5.0
    """Length of each measurement."""
    json: Path | None = None
    """Also write the figures here."""

    def __post_init__(self) -> None:
        _require_duration("--seconds", self.seconds)


@dataclass(frozen=True)
class DemoConfig:
    """Record, train, drive and score in the practice arena, from nothing to a report."""

    minutes: float = 10.0
    """Time to spend on a machine with two cores."""
    out: Path = Path("demo")
    """Folder that receives a folder per run."""

    def __post_init__(self) -> None:
        _require(self.minutes >= 1, f"--minutes {self.minutes:g} is too short", "Choose at least 1")
        _require_duration("--minutes", self.minutes, longest=LONGEST_MIN)


def _check_window_regex(pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise UserError(
            f"--window {pattern} is no regular expression ({error})", "Escape special signs with \\"
        ) from error


ConfigT = TypeVar("ConfigT")

_BOX = re.compile(r"[╭╮╰╯│─]+|-{9,}")  # the second where the terminal is not UTF-8
_CHOICES = re.compile(r"\((?:'[^']*'(?:, )?)+,?\)")


_CONFIG_HELP = "--config FILE.toml repeats the settings of an earlier run; options beside it win."


def parse_config(kind: type[ConfigT], argv: Sequence[str] | None, *, prog: str) -> ConfigT:
    """Read the command line into `kind`, on top of `--config FILE.toml` where given.

    Raises:
        UserError: An option or value that does not exist, or one that `kind` refuses.
        SystemExit: With 0, after --help.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    file, args = _take_config_option(args)
    _refuse_empty_lists(kind, args)
    given = load_config(kind, file) if file is not None else {}
    options = (tyro.conf.FlagCreatePairsOff,) if not _has_true_flags(kind) else ()
    about = f"{inspect.getdoc(kind)}\n\n{_CONFIG_HELP}"
    stderr = io.StringIO()
    try:
        with contextlib.redirect_stderr(stderr):
            if given:
                default = _defaults_with(kind, given)
                return tyro.cli(kind, args=args, prog=prog, description=about, default=default, config=options)
            return tyro.cli(kind, args=args, prog=prog, description=about, config=options)
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise UserError(_one_line(stderr.getvalue(), kind), f'Run "{prog} --help" for the options') from None


def _has_true_flags(kind: type[Any]) -> bool:
    return any(f.default is True for f in dataclasses.fields(kind))


def _refuse_empty_lists(kind: type[Any], args: Sequence[str]) -> None:
    """`--only` with nothing after it would mean the same as without it: everything."""
    for f in dataclasses.fields(kind):
        option = "--" + f.name.replace("_", "-")
        if str(f.type).startswith("tuple[") and option in args:
            following = args[args.index(option) + 1 :]
            empty = not following or following[0].startswith("--")
            _require(not empty, f"{option} names nothing", f"Name at least one after it, or leave {option} away")


def _take_config_option(args: list[str]) -> tuple[Path | None, list[str]]:
    for i, arg in enumerate(args):
        if arg == "--config":
            _require(i + 1 < len(args), "--config names no file", "Give the config.toml of an earlier run")
            return Path(args[i + 1]), args[:i] + args[i + 2 :]
        if arg.startswith("--config="):
            return Path(arg.partition("=")[2]), args[:i] + args[i + 1 :]
    return None, args


def _defaults_with(kind: type[ConfigT], given: dict[str, Any]) -> ConfigT:
    values = dict(given)
    for f in dataclasses.fields(kind):  # type: ignore[arg-type]  # ConfigT is always a dataclass
        if f.name not in values and f.default is dataclasses.MISSING:
            values[f.name] = tyro.MISSING
    instance: ConfigT = object.__new__(kind)  # tyro fills the holes; __post_init__ runs on its own result
    for f in dataclasses.fields(kind):  # type: ignore[arg-type]
        object.__setattr__(instance, f.name, values.get(f.name, f.default))
    return instance


def _one_line(text: str, kind: type[Any]) -> str:
    """The gist of tyro's boxed message, with a guess at what was meant."""
    unboxed = [" ".join(_BOX.sub(" ", line).split()) for line in text.splitlines()]
    lines = [line for line in unboxed if line]
    body = [line for line in lines[1:] if not line.startswith(("For full helptext", "Argument helptext"))]
    options = ["--" + f.name.replace("_", "-") for f in dataclasses.fields(kind)]
    unknown = re.search(r"Unrecognized options: ([^\s,]+)", " ".join(lines))
    if unknown is not None:
        near = difflib.get_close_matches(unknown[1], options, n=1)
        return f"Option {unknown[1]} does not exist" + (f", did you mean {near[0]}" if near else "")
    if body and body[0].startswith("Missing from"):
        words = (word for line in body for word in line.split() if word.startswith("--"))
        missing = [word for word in words if word in options]
        return "Missing " + " and ".join(dict.fromkeys(missing)) if missing else "A required argument is missing"
    # The first section, up to the rule below it; narrow terminals break it into several lines.
    section = (
        " ".join(itertools.takewhile(bool, itertools.dropwhile(lambda line: line != body[0], unboxed))) if body else ""
    )
    return _plain_choices(section).rstrip(".") or "The command line is not understood"


def _plain_choices(text: str) -> str:
    """The same without Python around the choices: a, b instead of ('a', 'b')."""
    return _CHOICES.sub(lambda found: ", ".join(re.findall(r"'([^']*)'", found[0])), text)


def load_config(kind: type[Any], file: Path) -> dict[str, Any]:
    """Read the settings of `kind` from a config.toml.

    Raises:
        UserError: The file is missing or no TOML, or holds a key that `kind` does not know.
    """
    try:
        table = tomllib.loads(file.read_text())
    except OSError as error:
        raise UserError(
            f"{file} cannot be read ({error.strerror})", "Name the config.toml of an earlier run"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{file} is not valid TOML ({error})", "Name the config.toml of an earlier run") from error
    settings = table.get("settings", table)
    hints = typing.get_type_hints(kind)
    for key in settings:
        if key not in hints:
            near = difflib.get_close_matches(key, hints, n=1)
            raise UserError(
                f"{file} sets {key}, which does not exist", f"Did you mean {near[0]}" if near else "Remove it"
            )
    return {key: _from_toml(value, hints[key]) for key, value in settings.items()}


def _from_toml(value: Any, hint: Any) -> Any:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        hint = next(h for h in typing.get_args(hint) if h is not type(None))
    if typing.get_origin(hint) is tuple:
        inner = typing.get_args(hint)[0]
        return tuple(_from_toml(v, inner) for v in value)
    if hint is Path:
        return Path(value)
    if hint is float and isinstance(value, int):
        return float(value)
    return value


def config_table(config: Any) -> dict[str, Any]:
    """The settings as plain data, as TOML, checkpoints and session.json can hold; those that are None are absent."""

    def plain(value: Any) -> Any:
        if isinstance(value, tuple):
            return [plain(v) for v in value]
        return str(value) if isinstance(value, Path) else value

    pairs = ((f.name, getattr(config, f.name)) for f in dataclasses.fields(config))
    return {name: plain(value) for name, value in pairs if value is not None}


def save_config(config: Any, file: Path) -> None:
    """Write the settings with version and git commit, so that `--config FILE` repeats the run.

    Raises:
        UserError: It cannot be written; what was there before is untouched.
    """
    import tomli_w

    table = {"version": __version__, "commit": git_commit(), "settings": config_table(config)}
    part = file.with_name(file.name + ".part")
    try:
        part.write_text(tomli_w.dumps(table))
        part.replace(file)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise UserError(
            f"{file} cannot be written ({error.strerror})", "Free some space, or choose another --out"
        ) from error


def git_commit() -> str:
    """The commit of this checkout, "" outside one."""
    here = Path(__file__).resolve().parent
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
