"""The practice arena as a process of its own, for tests that record or drive it for real."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import ROOT


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
