"""The screen of the demo: ready for windows when it is handed over, and gone without a trace afterwards."""

from __future__ import annotations

import os
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from rl_utils.errors import UserError
from rl_utils.virtual_screen import screen
from rl_utils.x11 import XServer
from tests.x11_window import until


def test_windows_are_managed_at_once_and_nothing_stays_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A window that is mapped before the manager is ready never gets the focus, and nothing would be recorded."""
    monkeypatch.setenv("DISPLAY", "")
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-of-nobody")
    with screen(tmp_path) as display:
        assert os.environ["DISPLAY"] == display
        assert "WAYLAND_DISPLAY" not in os.environ
        with subprocess.Popen(["xev", "-name", "first"], stdout=subprocess.DEVNULL) as first:
            with closing(XServer()) as server:
                until(lambda: [server.title(window) for window in server.clients()] == ["first"])
            first.terminate()
    assert os.environ["DISPLAY"] == ""
    assert os.environ["WAYLAND_DISPLAY"] == "wayland-of-nobody"
    with pytest.raises(UserError, match="cannot be opened"):
        XServer(display)
