"""The practice arena as a process of its own, for tests that record or drive it for real."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import h5py

from rl_utils.arena.link import ArenaPad
from rl_utils.errors import UserError
from tests.conftest import ROOT
from tests.x11_window import until


@contextmanager
def running_arena(socket: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """Open the arena's window on $DISPLAY with its pad on `socket`, and close it at the end."""
    command = [sys.executable, "-m", "rl_utils.arena", "--socket", str(socket), *options]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        assert process.wait(60) in (0, -9)


@contextmanager
def running(command: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    """A script of ours, or a window that stands for something, which is gone at the end however the test ends."""
    words = [sys.executable, *command] if command[0].endswith(".py") else list(command)
    process = subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process:
        try:
            yield process
        finally:
            process.kill()


def connected(socket: Path) -> ArenaPad:
    """The arena's pad, once the arena is open."""

    def connect() -> ArenaPad | None:
        try:
            return ArenaPad(socket)
        except UserError:  # it does not listen yet
            return None

    pad: ArenaPad = until(connect, deadline_s=90)
    return pad


def stopped_with(child: subprocess.Popen[str], out: Path, is_enough: Callable[[h5py.File], object]) -> bool:
    """Stop a recorder where it stands (SIGSTOP) if what a kill now would leave is enough; else it goes on."""
    child.send_signal(signal.SIGSTOP)
    try:
        with h5py.File(next(out.rglob("*.part"), out), locking=False) as file:
            stored = bool(is_enough(file))
    except (OSError, KeyError):  # not there yet, or in the middle of writing
        stored = False
    if not stored:
        child.send_signal(signal.SIGCONT)
    return stored


def focus(kind: str, value: str) -> None:
    """Give the focus to the window whose title (name) or WM_CLASS (class) fits, and wait until it has it."""
    found = ["xdotool", "search", "--sync", "--onlyvisible", f"--{kind}", value]
    subprocess.run([*found, "windowactivate", "--sync"], check=True, timeout=60, stdout=subprocess.DEVNULL)
