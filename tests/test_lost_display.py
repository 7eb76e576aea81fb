"""The X server goes away while the bot drives: what it did until then is told, and the reason is one line."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from rl_utils.arena.link import ArenaPad
from rl_utils.controls import REST
from tests.arena_process import running
from tests.conftest import start_xvfb
from tests.test_listeners import record_throttle
from tests.x11_window import until

pytestmark = pytest.mark.x11

DEADLINE_S = 60.0


def test_what_was_driven_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half an hour of driving would have neither summary nor report."""
    record_throttle(tmp_path / "throttle", 9000, size=(32, 18))
    socket, report = tmp_path / "arena.sock", tmp_path / "report.json"
    display, stop = start_xvfb()
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("RLAI_ARENA_SOCKET", str(socket))
    options = ["--inputs", str(tmp_path / "throttle"), "--sink", "arena", "--report", str(report)]
    with running([sys.executable, "-m", "rl_utils.arena", "--socket", str(socket), "--driver", "pad"]) as arena:
        until(socket.exists, deadline_s=DEADLINE_S)
        with running(["eval.py", *options]) as child, ArenaPad(socket) as pad:
            try:
                until(
                    lambda: not np.array_equal(pad.at(time.monotonic_ns()).values, REST),
                    deadline_s=DEADLINE_S,
                )
            finally:
                stop()
            out, err = finished(child)
        finished(arena)
    assert child.returncode == 2
    assert err.splitlines()[-1].startswith(f"eval.py: The X server of display {display} is gone. ")
    assert "Traceback" not in err
    assert "Drove " in out
    told = json.loads(report.read_text())
    assert told["ticks"] > 0
    assert told["ended_by"] == f"The X server of display {display} is gone"


def finished(process: subprocess.Popen[str]) -> tuple[str, str]:
    return process.communicate(timeout=DEADLINE_S)
