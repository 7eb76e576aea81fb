"""Fixtures that several test modules share: a simulated clock, real X servers, small recordings."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, settings
from Xlib.X import AnyPropertyType

from rl_utils.controls import REST
from rl_utils.interfaces import ControllerSource, Inputs, PadInfo
from rl_utils.x11 import open_display

ROOT = Path(__file__).resolve().parent.parent

# An example that took long says that the machine was busy with something else, not that anything is wrong.
settings.register_profile("busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy machine")

# RLGym's own Rocket League package; `make test` puts it there. Appended: nothing of ours may come from it.
sys.path.append(str(ROOT / ".cache" / "rlgym"))


@contextmanager
def without_root() -> Iterator[None]:
    """Within the block permissions count, which root may ignore. Paths have to be relative: /tmp/pytest-* is root's."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)  # nobody
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def rocket_league(module: str) -> ModuleType:
    """A module of RLGym's own package, to compare with; without the package the test module is skipped."""
    why = "rlgym-rocket-league is not in .cache/rlgym: `make test` installs it there (make .cache/rlgym/2.0.1)"
    return pytest.importorskip(f"rlgym.rocket_league.{module}", reason=why, exc_type=ImportError)


class SimulatedClock:
    """A clock that only moves when something sleeps on it or a test pushes it."""

    def __init__(self) -> None:
        self.now = 1_000_000_000

    def __call__(self) -> int:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += round(seconds * 1e9)


class HandPad(ControllerSource):
    """A gamepad that a test moves by hand."""

    def __init__(self) -> None:
        self.values = REST.copy()
        self.plugged_in = True

    def at(self, t_ns: int) -> Inputs:
        return Inputs(self.values.copy(), t_ns)

    @property
    def info(self) -> PadInfo:
        return PadInfo("hand")

    @property
    def connected(self) -> bool:
        return self.plugged_in

    def close(self) -> None:
        self.plugged_in = False


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock()


def start_xvfb(
    size: str = "1920x1080",
    *,
    window_manager: bool = True,
    depth: int = 24,
    options: Sequence[str] = ("-nolisten", "tcp"),
    prefix: Sequence[str] = (),
) -> tuple[str, Callable[[], None]]:
    """Start Xvfb (and openbox) on a free display. Returns its name and a function that stops it.

    Args:
        size: Of the screen.
        window_manager: Whether openbox runs.
        depth: Colour depth of the screen in bits.
        options: More options of Xvfb.
        prefix: Command that runs Xvfb, such as unshare.
    """
    if shutil.which("Xvfb") is None:
        pytest.fail("Xvfb is not installed; `make test` installs it (apt-get install xvfb openbox xdotool)")
    read, write = os.pipe()
    command = [*prefix, "Xvfb", "-displayfd", str(write), "-screen", "0", f"{size}x{depth}", "-noreset", *options]
    server = subprocess.Popen(command, pass_fds=(write,), stderr=subprocess.DEVNULL)
    os.close(write)
    with os.fdopen(read) as pipe:
        number = pipe.readline().strip()
    if not number:
        server.kill()
        server.wait()
        pytest.fail("Xvfb did not start")
    display = f":{number}"
    processes = [server]
    if window_manager:
        environment = {**os.environ, "DISPLAY": display}
        processes.append(subprocess.Popen(["openbox"], env=environment, stderr=subprocess.DEVNULL))
        _wait_for_window_manager(display)

    def stop() -> None:
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            process.wait()

    return display, stop


def _wait_for_window_manager(name: str) -> None:
    """Wait until a window is really managed: openbox announces itself earlier, and loses what is mapped in between."""
    display = open_display(name)
    screen = display.screen()
    probe = screen.root.create_window(0, 0, 1, 1, 0, screen.root_depth)
    try:
        for _ in range(1000):
            if probe.get_full_property(display.get_atom("WM_STATE"), AnyPropertyType) is not None:
                return
            probe.unmap()
            probe.map()
            display.sync()
            time.sleep(0.02)
    finally:
        probe.destroy()
        display.sync()
        display.close()
    pytest.fail("openbox did not take over the screen within 20 s")


@pytest.fixture
def x_display(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A fresh X server with a window manager, also set as DISPLAY."""
    display, stop = start_xvfb()
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    yield display
    stop()


@pytest.fixture
def bare_display(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A fresh X server without a window manager, also set as DISPLAY."""
    display, stop = start_xvfb(window_manager=False)
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    yield display
    stop()


@pytest.fixture(autouse=True)
def own_config_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the person's real config folder out of every test."""
    folder = tmp_path_factory.mktemp("config")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder))
    return folder


VM_REQUIRED = os.environ.get("RLAI_REQUIRE_VM") == "1"
"""Set by CI: the tests marked uinput must run, in the guest if need be; then test_vm.py fails where it else skips."""


def has_uinput() -> bool:
    """Whether this machine's own kernel lets us make input devices."""
    return Path("/dev/uinput").is_char_device() and os.access("/dev/uinput", os.W_OK)


def has_drivers() -> bool:
    """Whether this machine's own kernel lets us play the hardware of gamepads, for its drivers to bind to."""
    ways = (Path("/dev/uhid"), Path("/sys/devices/platform/vhci_hcd.0/attach"))
    return has_uinput() and all(way.exists() and os.access(way, os.W_OK) for way in ways)


def guest_marks() -> list[str]:
    """The marks of those tests that this machine's own kernel cannot run."""
    return ["uinput"] * (not has_uinput()) + ["drivers"] * (not has_drivers())


def pytest_configure() -> None:
    """Let Ctrl+C arrive again: a script's shell starts what it puts into the background with SIGINT ignored.

    So would every program be that a test starts and then interrupts.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where the kernel lacks what some tests need, leave those to test_vm.py, or skip them saying how to run them."""
    needing = [item for item in items if any(mark in item.keywords for mark in guest_marks())]
    if not needing:
        return
    from tests.vm.run import is_prepared

    runs_in_guest = any(item.name == "test_gamepads_on_a_real_kernel" for item in items)
    if runs_in_guest and (VM_REQUIRED or is_prepared()):
        items[:] = [item for item in items if item not in needing]
        config.hook.pytest_deselected(items=needing)
        return
    why = "no usable /dev/{} here: python tests/vm/run.py python -m pytest -m {} (after tests/vm/prepare.sh)"
    for item in needing:
        mark = "drivers" if "drivers" in item.keywords else "uinput"
        item.add_marker(pytest.mark.skip(reason=why.format("uhid" if mark == "drivers" else "uinput", mark)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Where the gate runs, nothing may be skipped in silence: say what was."""
    if VM_REQUIRED and terminalreporter.stats.get("skipped"):
        terminalreporter.write_line("The gate fails because of skipped tests (listed above).", red=True)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """The gate (RLAI_REQUIRE_VM=1) installs all that tests need, so there a skipped test is a failed one."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if VM_REQUIRED and reporter is not None and reporter.stats.get("skipped") and session.exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
