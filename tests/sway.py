"""A Wayland session without a screen: sway with its XWayland, for tests that record in one."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.x11_window import until

CONFIG = """\
xwayland force
default_border none
for_window [class=".*"] floating enable
exec sh -c 'echo $DISPLAY > {folder}/display.part && mv {folder}/display.part {folder}/display'
"""


@contextmanager
def running_sway(**environment: str) -> Iterator[dict[str, str]]:
    """Start it and yield the variables that lead a program into the session.

    Args:
        environment: Further variables for sway itself.
    """
    if not (shutil.which("sway") and shutil.which("Xwayland")):
        pytest.fail("sway is not installed; `make test` installs it (apt-get install sway xwayland)")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "config").write_text(CONFIG.format(folder=folder))
        settings = {
            **{k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY", "SWAYSOCK")},
            "XDG_RUNTIME_DIR": name,
            "WLR_BACKENDS": "headless",
            "WLR_RENDERER": "pixman",
            "WLR_LIBINPUT_NO_DEVICES": "1",
            **environment,
        }
        # It refuses to be root; in a namespace in which we have another number it is not.
        other = ("unshare", "--user", "--map-user=1000", "--map-group=1000") if os.geteuid() == 0 else ()
        with (folder / "log").open("w") as log:
            command = [*other, "sway", "-c", str(folder / "config")]
            server = subprocess.Popen(command, env=settings, stdout=log, stderr=log)
            try:
                until(lambda: (folder / "display").exists() or server.poll() is not None)
                if server.poll() is not None:
                    pytest.fail(f"sway did not start: {(folder / 'log').read_text()[-2000:]}")
                session = {
                    "DISPLAY": (folder / "display").read_text().strip(),
                    "WAYLAND_DISPLAY": next(path.name for path in folder.glob("wayland-?")),
                    "SWAYSOCK": str(next(folder.glob("sway-ipc.*"))),
                    "XDG_RUNTIME_DIR": name,
                    "XDG_SESSION_TYPE": "wayland",
                }
                yield session
            finally:
                server.terminate()
                server.wait()


def sway_command(*words: str) -> None:
    """Tell the sway of $SWAYSOCK something."""
    subprocess.run(["swaymsg", "--quiet", *words], check=True)
