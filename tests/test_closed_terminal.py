"""A terminal that is closed while something runs in it: that ends in order, and everything is on disk."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rl_utils.recordings import open_recordings
from tests.conftest import ROOT
from tests.test_listeners import record_throttle

IN_A_TERMINAL = """
import fcntl, os, signal, sys, termios
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup it is ignored from the beginning
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
DEADLINE_S = 60.0


@contextmanager
def terminal(command: Sequence[str]) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run a script in a terminal of its own; the descriptor is the window of that, to be closed by the test."""
    window, inside = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-c", IN_A_TERMINAL, *command],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=inside,
        stdout=inside,
        stderr=inside,
    )
    os.close(inside)
    with child:
        try:
            yield child, window
        finally:
            child.kill()


def read_until(window: int, text: bytes) -> None:
    seen, end = b"", time.monotonic() + DEADLINE_S
    while text not in seen:
        assert time.monotonic() < end, seen
        seen += os.read(window, 4096)


def test_a_recording_is_finished(tmp_path: Path) -> None:
    """It would have no verdict and no settings, and the exit code of a bug of ours."""
    command = ["collect.py", "--out", str(tmp_path), "--frames", "arena", "--sounds", "--until", "1h"]
    with terminal(command) as (child, window):
        read_until(window, b"| 1")  # ... frames
        os.close(window)
        assert child.wait(DEADLINE_S) == 0
    (recording,) = open_recordings([tmp_path])
    with recording:
        assert recording.meta["complete"]
        assert recording.meta["verdict"]["samples"] == len(recording)
        assert "delay_estimate" in recording.meta
    assert list(tmp_path.glob("*/config.toml"))


def test_a_drive_is_reported(tmp_path: Path) -> None:
    """Its report would be missing, and whoever waits for it would not learn why."""
    record_throttle(tmp_path / "inputs", 30_000)
    report, record = tmp_path / "report.json", tmp_path / "r"
    options = ["--inputs", str(tmp_path / "inputs"), "--frames", "arena", "--sink", "arena", "--minutes", "1000"]
    with terminal(["eval.py", *options, "--report", str(report), "--record", str(record)]) as (child, window):
        read_until(window, b" frames")
        os.close(window)
        assert child.wait(DEADLINE_S) == 0
    assert json.loads(report.read_text())["ended_by"] == "stopped"
    (driven,) = open_recordings([record])
    with driven:
        assert driven.meta["complete"]


def test_an_error_is_still_one_of_the_persons(tmp_path: Path) -> None:
    """A script of the person's would take exit code 1 for a bug of ours."""
    program = tmp_path / "late.py"
    program.write_text(
        "import sys, time\n"
        "from rl_utils.console import StatusLine\n"
        "from rl_utils.errors import UserError, user_errors\n"
        "@user_errors\n"
        "def main(argv=None):\n"
        "    import signal\n"
        "    signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "    line = StatusLine()\n"
        "    line.show('ready')\n"
        "    while sys.stderr.isatty():\n"
        "        time.sleep(0.01)\n"
        "    raise UserError('the disk is full', 'free some')\n"
        "sys.exit(main())\n"
    )
    with terminal([str(program)]) as (child, window):
        read_until(window, b"ready")
        os.close(window)
        assert child.wait(DEADLINE_S) == 2
