"""Processes that play side by side end with the one that started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.x11_window import until


def alive(pid: int) -> bool:
    """Whether it runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def players(parent: int) -> list[int]:
    """The processes that play for `parent`."""
    found = []
    for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text():
                found.append(int(child))
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_score_ends_at_once_and_leaves_nothing_running(number: signal.Signals) -> None:
    """Whoever stops a score of half an hour does not want to look for its processes afterwards."""
    words = [sys.executable, "-m", "rl_utils.arena", "score", "--driver", "expert", "--episodes", "5000"]
    with subprocess.Popen([*words, "--workers", "2"], cwd=ROOT, stderr=subprocess.PIPE, text=True) as score:
        until(lambda: len(players(score.pid)) == 2, deadline_s=60)
        playing = players(score.pid)
        time.sleep(1)  # let them play
        os.kill(score.pid, number)
        _, errors = score.communicate(timeout=60)
    assert score.returncode == (130 if number is signal.SIGINT else -number)
    if number is signal.SIGINT:
        assert errors.strip().splitlines()[-1] == "arena: stopped."
        assert "Traceback" not in errors
    until(lambda: not any(map(alive, playing)), deadline_s=60)
