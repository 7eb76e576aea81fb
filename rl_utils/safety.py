"""Where and how long a bot may hold the pad: not beside the anti-cheat, not without a promise, never unattended.

`SafeSink` stands between the loop and whatever is driven; it releases everything on every way out.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from rl_utils.controls import MENU_BUTTONS, STICKS, Control
from rl_utils.errors import UserError
from rl_utils.interfaces import ControllerSink, InputVector

log = logging.getLogger(__name__)

EAC_PROGRAM: Final = "rocketleague_eac.exe"
"""The game's program with Easy Anti-Cheat, which runs under Proton too. Source: RLBot/core #156 and #172 (2026)."""

STALE_S: Final = 0.25
"""Everything is released when no inputs came for this long."""

PROMISE: Final = (
    "The bot may drive in offline modes only (free play, training, matches against bots). "
    "Bots in online play break the game's terms and get accounts banned."
)

_COMM_LENGTH: Final = 15  # Linux cuts a process's name here. Source: proc(5), TASK_COMM_LEN


def config_folder() -> Path:
    """The person's own settings for this tool: $XDG_CONFIG_HOME/rlai, by default ~/.config/rlai."""
    base = os.environ.get("XDG_CONFIG_HOME") or ""
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".config") / "rlai"


def mask_menu(inputs: InputVector, *, allow_menu: bool = False) -> InputVector:
    """Return a copy without MODE, and without START and SELECT unless `allow_menu`.

    Args:
        inputs: (..., 19) float32.
        allow_menu: Let START and SELECT through.
    """
    values = inputs.copy()
    for control in MENU_BUTTONS:
        if control is Control.MODE or not allow_menu:
            values[..., control] = 0.0
    return values


def rest_sticks(inputs: InputVector, dead_zone: float) -> InputVector:
    """Return a copy in which stick axes close to their rest are at rest.

    Args:
        inputs: (19,) float32.
        dead_zone: Share of a stick's way, from 0 to below 1.
    """
    values = inputs.copy()
    sticks = values[list(STICKS)]
    values[list(STICKS)] = np.where(np.abs(sticks - 0.5) < dead_zone * 0.5, np.float32(0.5), sticks)
    return values


def running_anti_cheat(proc: Path = Path("/proc")) -> list[str]:
    """Return the processes of the game's anti-cheat build, as "name (pid N)".

    Args:
        proc: Where the kernel shows processes.

    Raises:
        UserError: Processes cannot be listed, so nothing can be said.
    """
    try:
        folders = [folder for folder in proc.iterdir() if folder.name.isdigit()]
    except OSError as error:
        raise UserError(
            f"{proc} cannot be read, so it is unknown whether the anti-cheat runs", "Mount /proc and try again"
        ) from error
    return [
        f"{_shown(folder)} (pid {folder.name})"
        for folder in sorted(folders, key=lambda f: int(f.name))
        if int(folder.name) != os.getpid() and _is_anti_cheat(folder)
    ]


def require_no_anti_cheat(proc: Path = Path("/proc")) -> None:
    """Refuse to go on while the anti-cheat build of the game runs. No option bypasses this.

    Raises:
        UserError: It runs.
    """
    running = running_anti_cheat(proc)
    if running:
        raise UserError(
            f"The game runs with Easy Anti-Cheat ({', '.join(running)}), where a bot must not drive",
            "Close it and start the game without: Steam's launch menu offers it, Epic and Heroic take -noeac",
        )


def _is_anti_cheat(folder: Path) -> bool:
    short = EAC_PROGRAM[:_COMM_LENGTH]
    return _read(folder / "comm").strip().startswith(short) or EAC_PROGRAM in _read(folder / "cmdline")


def _shown(folder: Path) -> str:
    return EAC_PROGRAM if EAC_PROGRAM in _read(folder / "cmdline") else _read(folder / "comm").strip()


def _read(file: Path) -> str:
    try:
        return file.read_bytes().decode(errors="replace").lower()
    except OSError:  # the process has ended, or is somebody else's
        return ""


def require_offline_promise(*, given: bool = False) -> None:
    """Make sure that the person has promised to let the bot drive in offline modes only; asked once per person.

    Args:
        given: The promise comes with the command line (--yes-offline); it is not stored.

    Raises:
        UserError: It was refused, or there is no terminal to ask at.
    """
    file = config_folder() / "offline-only.txt"
    if given or file.exists():
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UserError(f"Nobody has promised yet. {PROMISE.rstrip('.')}", "Add --yes-offline if the game is offline")
    sys.stderr.write(f'{PROMISE}\nType "offline" to promise: ')
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() != "offline":
        raise UserError("Without that promise the bot does not drive", 'Type "offline" when asked')
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{PROMISE}\nPromised {datetime.now(UTC):%Y-%m-%d %H:%M} UTC.\n")
    except OSError as error:
        log.warning("The promise could not be stored in %s (%s): it will be asked for again", file, error.strerror)


class MaskedSink(ControllerSink):
    """Passes on what may be pressed: no menu buttons, and no sticks that hardly move. For time that does not pass.

    Args:
        sink: What is driven. Closed with this one.
        allow_menu: Let START and SELECT through (MODE never).
        dead_zone: Sticks closer to their rest than this share of their way stay at rest.
    """

    def __init__(self, sink: ControllerSink, *, allow_menu: bool = False, dead_zone: float = 0.0) -> None:
        self._sink = sink
        self._allow_menu = allow_menu
        self._dead_zone = dead_zone

    def apply(self, inputs: InputVector) -> None:
        """Set every control. (19,) float32 in [0, 1]."""
        self._sink.apply(self._masked(inputs))

    def pressed(self, inputs: InputVector) -> InputVector:
        """What is left of the inputs without menu buttons and within the dead zone, here and in the sink."""
        return self._sink.pressed(self._masked(inputs))

    def release(self) -> None:
        """Sticks and d-pad to rest, triggers to 0, all buttons up."""
        self._sink.release()

    def close(self) -> None:
        """Close the sink, which releases."""
        self._sink.close()

    @property
    def stats(self) -> Mapping[str, Any]:
        """What the sink knows about the play."""
        return self._sink.stats

    def _masked(self, inputs: InputVector) -> InputVector:
        return rest_sticks(mask_menu(inputs, allow_menu=self._allow_menu), self._dead_zone)


class SafeSink(MaskedSink):
    """Passes inputs on to a sink and makes sure that it never holds anything longer than it should.

    Releases on `close`, on leaving a `with` block (also by an exception), at interpreter exit, and when no inputs came
    for `stale_s`. Menu buttons are masked. All of it may happen more than once.

    Args:
        sink: What is driven. Closed with this one.
        allow_menu: Let START and SELECT through (MODE never).
        dead_zone: Sticks closer to their rest than this share of their way stay at rest.
        stale_s: Release when no inputs came for so long.
        guard: Called every few seconds in a thread; what it raises releases everything and is raised by `apply`.
        guard_interval_s: How often.
    """

    def __init__(
        self,
        sink: ControllerSink,
        *,
        allow_menu: bool = False,
        dead_zone: float = 0.0,
        stale_s: float = STALE_S,
        guard: Callable[[], None] | None = None,
        guard_interval_s: float = 5.0,
    ) -> None:
        super().__init__(sink, allow_menu=allow_menu, dead_zone=dead_zone)
        self._stale_s = stale_s
        self._guard = guard
        self._guard_interval_s = guard_interval_s
        self._lock = threading.RLock()  # a signal handler may release while apply() holds it
        self._fresh = time.monotonic()
        self._holds = False
        self._closed = False
        self._error: BaseException | None = None
        self._end = threading.Event()
        self.times_stale = 0
        """How often inputs stayed away and everything was released."""
        atexit.register(self.close)
        self._watchdog = threading.Thread(target=self._watch, name="pad watchdog", daemon=True)
        self._watchdog.start()

    def apply(self, inputs: InputVector) -> None:
        """Set every control. (19,) float32 in [0, 1].

        Raises:
            UserError: What the guard found.
            RuntimeError: It is closed.
        """
        with self._lock:
            if self._error is not None:
                raise self._error
            if self._closed:
                raise RuntimeError("the sink is closed")
            self._holds = True  # also if apply() fails half way
            self._fresh = time.monotonic()
            self._sink.apply(self._masked(inputs))

    def release(self) -> None:
        """Sticks and d-pad to rest, triggers to 0, all buttons up."""
        with self._lock:
            if not self._closed:
                self._sink.release()
                self._holds = False

    def close(self) -> None:
        """Release, then close the sink."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            try:
                self._sink.release()
            finally:
                self._sink.close()
        atexit.unregister(self.close)
        self._end.set()
        if threading.current_thread() is not self._watchdog:
            self._watchdog.join()

    def _watch(self) -> None:
        """The thread: release what is held for too long."""
        guard_at = time.monotonic() + self._guard_interval_s
        try:
            while not self._end.wait(self._remaining()):
                with self._lock:
                    if self._holds and not self._closed and self._remaining() <= 0:
                        self.times_stale += 1
                        self.release()
                if self._guard is not None and time.monotonic() >= guard_at:
                    try:
                        self._guard()
                    except BaseException as error:
                        self._error = error  # first: what apply() pressed after the release would stay pressed
                        self.release()
                        raise
                    guard_at = time.monotonic() + self._guard_interval_s
        except BaseException as error:  # noqa: BLE001  # raised again by apply()
            self._error = error

    def _remaining(self) -> float:
        """Seconds until what is held is stale; a whole interval while nothing is held."""
        if not self._holds:
            return self._stale_s
        return max(0.0, self._fresh + self._stale_s - time.monotonic())
