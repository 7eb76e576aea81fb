"""A PipeWire daemon of the test's own, with a moving picture in it, for the tests of native Wayland windows."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.x11_window import until

NAME = "rlai-test"


@dataclass(frozen=True)
class Source:
    """A node, and the way to it.

    Attributes:
        descriptor: Connected to the daemon.
        node: Its id.
        program: Draws the pictures.
        daemon: PipeWire; the streams end with it.
    """

    descriptor: int
    node: int
    program: subprocess.Popen[bytes]
    daemon: subprocess.Popen[bytes]


@contextmanager
def running_source(size: str = "640x480") -> Iterator[Source]:
    """Start daemon, session manager and a ball that moves 30 times a second."""
    for program in ("pipewire", "wireplumber", "dbus-run-session", "gst-launch-1.0"):
        if shutil.which(program) is None:
            pytest.fail(f"{program} is not installed; `make test` installs it")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        hidden = ("DBUS_SESSION_BUS_ADDRESS", "PIPEWIRE_REMOTE")
        environment = {**{k: v for k, v in os.environ.items() if k not in hidden}, "XDG_RUNTIME_DIR": str(folder)}
        environment["XDG_STATE_HOME"] = str(folder)

        def start(*command: str) -> subprocess.Popen[bytes]:
            program = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            stack.callback(program.wait, 60)
            return program

        # The session manager needs a bus of its own, and goes with the daemon; so does the bus with it.
        daemon = start("pipewire")
        until((folder / "pipewire-0").exists)
        start("dbus-run-session", "wireplumber")
        stack.callback(daemon.kill)
        width, height = size.split("x")
        picture = f"video/x-raw,format=BGRx,width={width},height={height},framerate=30/1"
        properties = f"stream-properties=props,media.class=Video/Source,node.name={NAME}"
        gst = ("gst-launch-1.0", "-q", "videotestsrc", "is-live=true", "pattern=ball", "!", picture, "!")
        program = start(*gst, "pipewiresink", "mode=provide", properties)
        stack.callback(program.kill)
        node = until(lambda: _find_node(environment))
        link = stack.enter_context(socket.socket(socket.AF_UNIX))
        link.connect(str(folder / "pipewire-0"))
        yield Source(link.fileno(), node, program, daemon)


def _find_node(environment: dict[str, str]) -> int:
    """The source's id, 0 while it is not there."""
    told = subprocess.run(
        ["timeout", "5", "pw-dump"], env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    try:
        objects = json.loads(told.stdout)
    except ValueError:
        return 0
    for thing in objects:
        if ((thing.get("info") or {}).get("props") or {}).get("node.name") == NAME:
            return int(thing["id"])
    return 0
