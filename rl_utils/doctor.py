"""python -m rl_utils.doctor: what recording, driving, training and practising need here, and what of it is missing.

Exit status: 0 when everything that recording needs is there right now (a display, the game's window and its pixels, a
gamepad, room on the disk), else 2. What only driving, training or the practice arena need is reported but not counted.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rl_utils.config import CollectConfig, DoctorConfig, parse_config
from rl_utils.errors import EXIT_USER, UserError, user_errors
from rl_utils.findings import Finding, missing, report

if TYPE_CHECKING:
    from rl_utils.get_current_frame import WindowFrames

ENOUGH_DISK_GB = 5.0
CAPTURES = 30
CAPTURE_LIMIT_S = 2.0
ENOUGH_MS = 25.0
"""Longer captures leave no time for the rest of a tick at 30 frames per second."""
GB_PER_HOUR = {"gzip": 25, "jpeg": 5}
"""At 480x270 and 30 frames per second. Source: measured, facts of this project (storage A5)."""


def check_display() -> Finding:
    """Whether windows can be seen at all."""
    from rl_utils.x11 import XServer

    try:
        server = XServer()
    except UserError as error:
        return missing("display", error)
    try:
        manager = "" if server.manager else ", no window manager"
        return Finding("display", ok=True, detail=f"{server.name}, {_session(server.is_xwayland())}{manager}")
    finally:
        server.close()


def _session(is_xwayland: bool) -> str:
    if is_xwayland or os.environ.get("XDG_SESSION_TYPE") == "wayland" or os.environ.get("WAYLAND_DISPLAY"):
        return "Wayland session; the game's window is read through XWayland"
    return "X11 session"


def check_window(pattern: str) -> list[Finding]:
    """Whether the game's window is there, and how fast its pixels can be read."""
    from rl_utils.get_current_frame import WindowFrames

    try:
        with WindowFrames(pattern, require_focus=False) as frames:
            return _look_at_window(frames, pattern)
    except UserError as error:
        return [missing("capture", error)]


def _look_at_window(frames: WindowFrames, pattern: str) -> list[Finding]:
    times_ms: list[float] = []
    deadline = time.monotonic() + CAPTURE_LIMIT_S
    while len(times_ms) < CAPTURES and time.monotonic() < deadline:
        began = time.perf_counter()
        if frames.read() is None:
            time.sleep(0.01)  # it may be changing just now
        else:
            times_ms.append((time.perf_counter() - began) * 1e3)
    window = frames.monitor.window
    if not window.title:
        seen = ", ".join(repr(title) for title in frames.monitor.titles()[:8]) or "none"
        detail = f"No window's title matches {pattern} (seen: {seen})"
        remedy = "Start the game, or python -m rl_utils.arena, or give --window another pattern"
        return [Finding("window", ok=False, detail=detail, remedy=remedy)]
    kind = " (the practice arena)" if window.is_arena else ""
    found = Finding("window", ok=True, detail=f"{window.title!r}{kind}, {window.width}x{window.height}")
    if not times_ms:
        remedy = "Bring the window to the front, whole on the screen"
        if frames.problem.startswith("black"):
            remedy = "Run the game in windowed or borderless mode; a loading screen passes by itself"
        return [found, Finding("capture", ok=False, detail=f"No pixels of the window: {frames.problem}", remedy=remedy)]
    info = frames.info
    took_ms = statistics.median(times_ms)
    detail = f"{took_ms:.1f} ms a frame by {info.backend}, at most {1000 / took_ms:.0f} frames per second"
    if took_ms > ENOUGH_MS:
        remedy = "Close other programs, or make the game's window smaller"
        return [found, Finding("capture", ok=False, detail=detail, remedy=remedy)]
    return [
        found,
        Finding("capture", ok=True, detail=detail, remedy=f"Not the fastest way: {info.reason}" * bool(info.reason)),
    ]


def check_hot_keys() -> Finding:
    """Whether collect.py's hot keys would be heard; recording works without, too."""
    from rl_utils.habits import Wish
    from rl_utils.hot_keys import HotKeys, parse_hot_key

    keys = {wish: getattr(CollectConfig, f"{wish.value}_key") for wish in Wish}
    try:
        HotKeys({wish: parse_hot_key(key) for wish, key in keys.items()}).close()
    except UserError as error:
        return Finding("hot keys", ok=True, detail=f"None: {error.problem}", remedy="Use chords of the pad instead")
    return Finding("hot keys", ok=True, detail=", ".join(f"{key} {wish.value}s" for wish, key in keys.items()))


def check_gamepad() -> list[Finding]:
    """Which pad would be recorded, why others would not, and whether it may be read."""
    from rl_utils.pad_finder import choose_pad, list_pads, reading_of_pad

    seen = list_pads()
    others = "; ".join(f"{device.name}: {device.refusal}" for device in seen if not device.is_pad)
    try:
        pad = choose_pad(seen=seen)
        reading = reading_of_pad(pad)
    except UserError as error:
        arena = UserError(error.problem, f"{error.remedy}. In the practice arena none is needed (--pad arena)")
        findings = [missing("gamepad", arena)]
    else:
        also = [str(device) for device in seen if device.is_pad and device.path != pad.path]
        detail = f"{pad}, read as {reading.profile.name}, {reading.reason}"
        detail += f"; also: {', '.join(also)}" if also else ""
        remedies = ["Choose another with --device"] * bool(also)
        remedies += ['Map it with "python -m rl_utils.doctor --map"'] * reading.is_guess
        findings = [Finding("gamepad", ok=True, detail=detail, remedy="; ".join(remedies))]
        if others:
            findings.append(Finding("not gamepads", ok=True, detail=others))
        ids = f"0x{pad.ids['vendor']:04x}/0x{pad.ids['product']:04x}"
        findings.append(
            Finding(
                "two pads",
                ok=True,
                detail="While the bot drives, the game sees your pad and the bot's: split screen, in some games",
                remedy=f"Start the game with SDL_GAMECONTROLLER_IGNORE_DEVICES={ids} to hide yours",
                needed_for="drive",
            )
        )
    return findings


def check_uinput() -> Finding:
    """Whether a virtual pad can be made; else the commands that allow it, for now and after every start."""
    from rl_utils.apply_inputs import MODPROBE_COMMAND, UDEV_COMMAND, UINPUT, uinput_problem

    problem = uinput_problem()
    if problem is None:
        return Finding("virtual pad", ok=True, detail=f"{UINPUT} is writable", needed_for="drive")
    load = f"{MODPROBE_COMMAND} && echo uinput | sudo tee /etc/modules-load.d/rlai.conf"
    remedy = f"Run: {UDEV_COMMAND}" if Path(UINPUT).exists() else f"Run: {load} && {UDEV_COMMAND}"
    return Finding("virtual pad", ok=False, detail=problem.problem, remedy=remedy, needed_for="drive")


def check_disk(folder: Path) -> Finding:
    """Whether there is room for recordings in `folder`."""
    free_gb = shutil.disk_usage(folder).free / 1e9
    remedy = "" if free_gb >= ENOUGH_DISK_GB else "Free some, or record to another disk with --out"
    room = ", ".join(f"{free_gb / rate:.1f} h with --codec {codec}" for codec, rate in GB_PER_HOUR.items())
    detail = f"{free_gb:.1f} GB free in {folder}: about {room}"
    return Finding("disk", ok=not remedy, detail=detail, remedy=remedy)


def check_anti_cheat() -> Finding:
    """Whether the game runs in a way in which a bot must not drive."""
    from rl_utils.safety import require_no_anti_cheat

    try:
        require_no_anti_cheat()
    except UserError as error:
        return missing("anti-cheat", error, "drive")
    return Finding("anti-cheat", ok=True, detail="Easy Anti-Cheat is not running", needed_for="drive")


def check_training() -> Finding:
    """What training would run on."""
    try:
        import torch
    except (ImportError, OSError) as error:
        return Finding(
            "torch", ok=False, detail=f"It does not load ({error})", remedy="Run make test", needed_for="train"
        )
    if torch.cuda.is_available():
        detail = f"{torch.__version__} on {torch.cuda.get_device_name()}"
        return Finding("torch", ok=True, detail=detail, needed_for="train")
    detail = f"{torch.__version__} on {os.cpu_count()} CPUs, no CUDA"
    return Finding("torch", ok=True, detail=detail, needed_for="train")


def check_arena() -> Finding:
    """Whether the practice arena can be played."""
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")  # it would greet on stdout, into our JSON
    for module in ("RocketSim", "pygame"):
        try:
            importlib.import_module(module)
        except (ImportError, OSError) as error:
            remedy = "Run pip install -e '.[arena]' in the clone of this project (x86-64 only)"
            detail = f"{module} does not load ({error})"
            return Finding("arena", ok=False, detail=detail, remedy=remedy, needed_for="practise")
    from rl_utils.arena.direct import DirectArena

    try:
        with DirectArena("benchmark") as arena:
            began = time.perf_counter()
            arena.read()
            arena.read()
    except UserError as error:
        return missing("arena", error, "practise")
    took_ms = (time.perf_counter() - began) / 2 * 1e3
    return Finding("arena", ok=True, detail=f"It plays: {took_ms:.0f} ms a picture", needed_for="practise")


def examine(window: str, *, listen_s: float) -> list[Finding]:
    """Run all checks, the ones that recording needs first.

    Args:
        window: Regular expression for the window's title.
        listen_s: How long to wait for events of the gamepad.
    """
    from rl_utils.doctor_pad import check_events, check_permission
    from rl_utils.pad_finder import list_pads

    single: tuple[Callable[[], Finding], ...] = (check_uinput, check_anti_cheat, check_training, check_arena)
    display = check_display()
    # One missing display is one finding, not four.
    seeing = [*check_window(window), check_hot_keys()] if display.ok else []
    pad = [*check_gamepad(), *check_permission(list_pads()), *check_events(listen_s)]
    findings = [display, *seeing, *pad, check_disk(Path.cwd())]
    return findings + [check() for check in single]


@user_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Check everything, print it, and say by the exit status whether recording could begin now."""
    config = parse_config(DoctorConfig, argv, prog="python -m rl_utils.doctor")
    if config.map:
        from rl_utils.map_pad import map_pad

        print(map_pad(config.device))
        return 0
    findings = examine(config.window, listen_s=config.listen)
    ready = all(finding.ok for finding in findings if finding.needed_for == "record")
    if config.json:
        print(json.dumps({"ready": ready, "findings": [dataclasses.asdict(f) for f in findings]}, indent=2))
    else:
        print(report(findings))
        print("\nReady to record." if ready else "\nNot ready to record: see the lines marked FIX.")
    return 0 if ready else EXIT_USER


if __name__ == "__main__":
    sys.exit(main())
