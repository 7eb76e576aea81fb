"""Being a gamepad: the mapping as such, and the virtual pad in a real kernel (marked uinput)."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl_utils import controls as c
from rl_utils.apply_inputs import NAME, UDEV_RULE, InputApplier, axis_range, device_values
from rl_utils.controller_reader import ControllerReader
from rl_utils.controls import AXES, EV_ABS, EV_KEY, HATS, N_BUTTONS, N_CONTROLS, NAMES, REST, STICKS, XPAD, Control
from rl_utils.errors import UserError
from rl_utils.interfaces import PadEvent
from rl_utils.pad_device import PadDevice, Unplugged
from rl_utils.pad_finder import OWN_PHYS, SeenDevice, list_pads
from rl_utils.pad_state import AxisRange, PadState

uinput = pytest.mark.uinput

RANGES = {code: AxisRange(low, 0, high) for code, control in XPAD.axes.items() for low, high in (axis_range(control),)}
STEP = np.array([1.0] * N_BUTTONS + [1 / (high - low) for low, high in map(axis_range, list(Control)[AXES])])
"""One step of the virtual pad for each control."""

SHARES = st.floats(0, 1, width=32)
BUTTONS = st.lists(st.integers(0, 1), min_size=N_BUTTONS, max_size=N_BUTTONS)
INPUTS = st.builds(
    lambda buttons, axes: np.array([*buttons, *axes], np.float32),
    BUTTONS,
    st.lists(SHARES, min_size=N_CONTROLS - N_BUTTONS, max_size=N_CONTROLS - N_BUTTONS),
)


def read_back(values: dict[tuple[int, int], int]) -> np.ndarray:
    state = PadState(XPAD, RANGES)
    for (kind, code), value in values.items():
        state.apply(PadEvent(1, kind, code, value))
    return state.sample(1)


@given(INPUTS)
def test_reading_undoes_applying(inputs: np.ndarray) -> None:
    """A recording played back must press exactly what was recorded, within one step of the device."""
    error = np.abs(read_back(device_values(inputs)) - inputs)
    assert (error <= STEP / 2 + 1e-7).all(), dict(zip(NAMES, error, strict=True))


@given(INPUTS)
def test_applying_what_was_read_changes_nothing(inputs: np.ndarray) -> None:
    """Replaying a replay must not drift."""
    once = device_values(inputs)
    assert device_values(read_back(once)) == once


def test_rest_is_the_devices_own_rest() -> None:
    """A released pad that reports one step off centre steers."""
    values = device_values(REST)
    assert set(values.values()) == {0}


def test_the_top_button_is_sent_as_xpad_sends_it() -> None:
    """SDL reads BTN_NORTH of an Xbox pad as X: sent by its name, ball camera and powerslide would be swapped."""
    inputs = REST.copy()
    inputs[Control.NORTH] = 1.0
    pressed = [code for (kind, code), value in device_values(inputs).items() if kind == EV_KEY and value]
    assert pressed == [c.BTN_WEST]


def test_a_missing_uinput_module_is_explained(tmp_path: Path) -> None:
    """The commonest obstacle on a fresh system gets the command that removes it, not a traceback."""
    with pytest.raises(UserError, match="does not exist") as error:
        InputApplier(node=str(tmp_path / "uinput"))
    assert "sudo modprobe uinput" in error.value.remedy


def own_pads() -> list[SeenDevice]:
    return [device for device in list_pads() if device.phys == OWN_PHYS]


@pytest.fixture
def witness() -> Iterator[Callable[[], PadDevice]]:
    """Opens the virtual pad for reading, which ControllerReader refuses to do."""
    opened: list[PadDevice] = []

    def attach() -> PadDevice:
        opened.append(PadDevice(own_pads()[0]))
        return opened[-1]

    yield attach
    for device in opened:
        device.close()


def state_of(device: PadDevice) -> np.ndarray:
    state = PadState(device.profile, device.axes)
    for event in device.state(1):
        state.apply(event)
    return state.sample(1)


@uinput
def test_every_value_of_every_control_comes_through(witness: Callable[[], PadDevice]) -> None:
    """Any value lost or shifted between the policy and the game is steering that nobody learnt."""
    low, high = axis_range(Control.LEFT_X)
    i = np.arange(high - low + 1)
    wanted = np.empty((len(i), N_CONTROLS), np.float32)
    wanted[:, :N_BUTTONS] = i[:, None] >> np.arange(N_BUTTONS) & 1
    for k, stick in enumerate(STICKS):  # each goes through all 65536 values, none of them side by side with another
        wanted[:, stick] = (i * (2 * k + 1) + 9999 * k) % len(i) / (high - low)
    wanted[:, Control.LEFT_TRIGGER], wanted[:, Control.RIGHT_TRIGGER] = i % 256 / 255, (255 - i % 256) / 255
    wanted[:, Control.HAT_X], wanted[:, Control.HAT_Y] = i % 3 / 2, i // 3 % 3 / 2
    seen = np.empty_like(wanted)
    with InputApplier(allow_menu=True) as applier:
        device = witness()
        state = PadState(device.profile, device.axes)
        for row in range(len(i)):
            applier.apply(wanted[row])
            for event in device.read():
                state.apply(event)
            state.forget_taps()
            seen[row] = state.sample(0)
        assert device.dropped == 0
    wanted[:, Control.MODE] = 0.0
    assert all(len(np.unique(seen[:, stick])) == len(i) for stick in STICKS)
    np.testing.assert_allclose(seen, wanted, atol=1e-6)


@uinput
def test_the_pad_is_what_games_know(witness: Callable[[], PadDevice]) -> None:
    """With these ids, and without fuzz and force feedback, SDL, Steam and Proton use it without any mapping."""
    with InputApplier() as applier:
        seen = own_pads()[0]
        assert (seen.name, seen.path) == (NAME, applier.path)
        assert seen.ids == {"bus": 3, "vendor": 0x45E, "product": 0x28E, "version": 0x114}
        assert seen.keys == frozenset(XPAD.buttons)
        assert seen.axes == frozenset(XPAD.axes)
        described = Path("/proc/bus/input/devices").read_text()
        own = next(block for block in described.split("\n\n") if OWN_PHYS in block)
        handlers = next(line for line in own.splitlines() if line.startswith("H:"))
        assert "js" in handlers, "the kernel's joystick interface takes it for a gamepad"
        assert "kbd" not in handlers, "it cannot press keyboard keys"
        assert "B: FF=" not in own
        np.testing.assert_allclose(state_of(witness()), REST, atol=1e-5)
    assert own_pads() == []


@uinput
def test_a_frame_is_one_packet_of_changes(witness: Callable[[], PadDevice]) -> None:
    """A game that polls between two writes of a frame would see jump without its stick direction."""
    with InputApplier() as applier:
        device = witness()
        inputs = REST.copy()
        inputs[[Control.SOUTH, Control.RIGHT_TRIGGER, Control.LEFT_Y, Control.HAT_X]] = 1.0
        applier.apply(inputs)
        events = device.read()
        assert len({event.t_ns for event in events}) == 1
        assert sorted((e.type, e.code) for e in events) == [
            (EV_KEY, c.BTN_SOUTH),
            (EV_ABS, c.ABS_Y),
            (EV_ABS, c.ABS_RZ),
            (EV_ABS, c.ABS_HAT0X),
        ]
        applier.apply(inputs)
        assert device.read() == [], "what stays is not sent again"


@uinput
def test_menu_buttons_need_permission_and_mode_never_gets_it(witness: Callable[[], PadDevice]) -> None:
    """A policy that learnt to pause would quit matches; the guide button opens Steam's overlay."""
    everything = np.ones(N_CONTROLS, np.float32)
    for allowed in (False, True):
        with InputApplier(allow_menu=allowed) as applier:
            applier.apply(everything)
            values = state_of(witness())
            assert values[Control.START] == values[Control.SELECT] == float(allowed)
            assert values[Control.MODE] == 0.0
            assert values[Control.SOUTH] == 1.0


@uinput
def test_the_dead_zone_leaves_larger_movements_alone(witness: Callable[[], PadDevice]) -> None:
    """A jittering policy should drive straight without its real steering being weakened."""
    with InputApplier(dead_zone=0.1) as applier:
        device = witness()
        inputs = REST.copy()
        inputs[Control.LEFT_X], inputs[Control.LEFT_Y], inputs[Control.RIGHT_X] = 0.54, 0.56, 0.46
        inputs[Control.RIGHT_TRIGGER] = 0.02
        applier.apply(inputs)
        values = state_of(device)
        assert values[Control.LEFT_X] == values[Control.RIGHT_X] == pytest.approx(0.5, abs=1e-5)
        assert values[Control.LEFT_Y] == pytest.approx(0.56, abs=1e-5)
        assert values[Control.RIGHT_TRIGGER] == pytest.approx(0.02, abs=1 / 255), "triggers have none"


@uinput
def test_a_policy_that_answers_nonsense_changes_nothing(witness: Callable[[], PadDevice]) -> None:
    """NaN turned into an integer is full lock; values beyond 1 must not wrap around."""
    with InputApplier() as applier:
        device = witness()
        with pytest.raises(ValueError, match="not numbers"):
            applier.apply(np.full(N_CONTROLS, np.nan, np.float32))
        assert device.read() == []
        applier.apply(np.full(N_CONTROLS, 7.0, np.float32))
        values = state_of(device)
        assert (values[list(STICKS)] == 1.0).all()
        applier.apply(np.full(N_CONTROLS, -7.0, np.float32))
        assert (state_of(device)[list(HATS)] == 0.0).all()


@uinput
def test_release_and_close_let_go_of_everything(witness: Callable[[], PadDevice]) -> None:
    """A pad that disappears with the throttle held leaves some games driving on."""
    with InputApplier() as applier:
        device = witness()
        for _ in range(2):
            applier.apply(np.ones(N_CONTROLS, np.float32))
            applier.release()
            applier.release()
            np.testing.assert_allclose(state_of(device), REST, atol=1e-5)
        device.read()
        applier.apply(np.ones(N_CONTROLS, np.float32))
    applier.close()
    assert own_pads() == []


@uinput
def test_the_reader_looks_past_our_own_pad() -> None:
    """Recording while the bot drives must read the person's pad, also when ours was there first."""
    from tests import pads

    with InputApplier() as applier:
        with pytest.raises(UserError, match="the virtual pad of this tool"):
            ControllerReader()
        pad = pads.make_xpad()
        try:
            with ControllerReader() as reader:
                assert reader.info.path == pad.device.path
                everything = np.ones(N_CONTROLS, np.float32)
                applier.apply(everything)
                np.testing.assert_allclose(reader.at(time.monotonic_ns()).values, REST, atol=1e-4)
        finally:
            pad.close()


DRIVE = """
import sys, time
import numpy as np
from rl_utils.apply_inputs import InputApplier
from rl_utils.controls import N_CONTROLS
from rl_utils.safety import SafeSink
from rl_utils.signals import stop_on_signals

with SafeSink(InputApplier()) as sink, stop_on_signals() as stopped:
    for i in range(6000):
        if stopped():
            sink.release()
            print("stopped", flush=True)
            sys.stdin.readline()
            break
        sink.apply(np.ones(N_CONTROLS, np.float32))
        if i == 0:
            print("holding", flush=True)
        time.sleep(0.02)
"""


@pytest.fixture
def driving() -> Iterator[subprocess.Popen[str]]:
    """A process that drives with every control at its end."""
    command = [sys.executable, "-c", DRIVE]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "holding\n"
        yield process
        process.kill()


@uinput
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda n: n.name)
def test_signals_release_before_the_pad_goes(
    driving: subprocess.Popen[str], witness: Callable[[], PadDevice], number: signal.Signals
) -> None:
    """`kill`, Ctrl+C and closing the terminal are the usual ways to stop the bot."""
    device = witness()
    wait_until_held(device)
    driving.send_signal(number)
    assert driving.stdout is not None
    assert driving.stdout.readline() == "stopped\n"
    np.testing.assert_allclose(state_of(device), REST, atol=1e-5)
    assert driving.stdin is not None
    driving.stdin.write("go on\n")
    driving.stdin.flush()
    watch_until_gone(device)
    assert driving.wait(60) == 0


@uinput
def test_the_kernel_releases_for_a_process_that_was_killed(
    driving: subprocess.Popen[str], witness: Callable[[], PadDevice]
) -> None:
    """Kill -9 while throttle and boost are held: nothing of ours can run, and still nothing may stay pressed."""
    device = witness()
    wait_until_held(device)
    driving.kill()
    driving.wait()
    watch_until_gone(device)
    assert own_pads() == []


def wait_until_held(device: PadDevice) -> None:
    """A process that is put to sleep for a moment lets go by itself, and takes hold again."""
    from tests.pads import until

    until(lambda: state_of(device)[Control.RIGHT_TRIGGER] == state_of(device)[Control.EAST] == 1.0, "holding the pad")


def watch_until_gone(device: PadDevice) -> None:
    """Read until the device vanishes."""
    while True:
        assert select.select([device], [], [], 60)[0], "the pad is still there after 60 s"
        try:
            device.read()
        except Unplugged:
            return


@uinput
def test_evtest_sees_what_was_applied() -> None:
    """A witness that shares no code with us: the pad is right for others, not only for our own reader."""
    evtest = Path(os.environ.get("VM_CACHE", "/")) / "witness" / "usr" / "bin" / "evtest"
    if not evtest.exists():
        pytest.skip("evtest comes with the guest of tests/vm/prepare.sh; this machine runs uinput directly")
    with InputApplier() as applier:
        process = subprocess.Popen([str(evtest), applier.path], stdout=subprocess.PIPE, text=True, bufsize=1)
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("Testing"):
                break
        inputs = REST.copy()
        inputs[[Control.NORTH, Control.RIGHT_TRIGGER]] = 1.0
        inputs[Control.LEFT_X] = 0.25
        applier.apply(inputs)
        seen = [process.stdout.readline().split("type", 1)[1] for _ in range(3)]
        process.terminate()
        process.wait()
        process.stdout.close()
    text = "".join(seen)
    assert "BTN_WEST), value 1" in text  # what xpad sends for Y, the top button
    assert "(ABS_X), value -16384" in text
    assert "(ABS_RZ), value 255" in text


@uinput
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_uinput_that_may_not_be_written_gets_the_udev_rule() -> None:
    """The second most common obstacle: the exact rule spares a search through outdated forum posts."""
    code = (
        "import os\n"
        "from rl_utils.apply_inputs import InputApplier\n"
        "from rl_utils.errors import UserError\n"
        "os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)\n"
        "try:\n    InputApplier()\n"
        "except UserError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "/dev/uinput is not writable" in done.stdout
    assert UDEV_RULE in done.stdout
