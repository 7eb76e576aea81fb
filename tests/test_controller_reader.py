"""Reading gamepads that are real devices of a real kernel."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from rl_utils import controls as c
from rl_utils import pad_state
from rl_utils.controller_reader import ControllerReader
from rl_utils.controls import EV_ABS, EV_KEY, N_BUTTONS, NAMES, REST, Control
from rl_utils.pad_device import PadDevice, queue_events
from rl_utils.pad_finder import choose_pad
from rl_utils.pad_state import PadState

uinput = pytest.mark.uinput


def pressed(values: np.ndarray) -> set[str]:
    return {NAMES[i] for i in range(N_BUTTONS) if values[i]}


@pytest.fixture
def plug() -> Iterator[Callable[..., object]]:
    """Makes pads (a function of tests/pads.py and its options) and unplugs what the test has left."""
    plugged: list[object] = []

    def make(kind: str, **options: object) -> object:
        from tests import pads

        plugged.append(getattr(pads, f"make_{kind}")(**options))
        return plugged[-1]

    yield make
    for pad in plugged:
        pad.close()


@pytest.fixture
def xpad(plug: Callable[..., object]) -> object:
    return plug("xpad")


@pytest.fixture
def reader(xpad: object) -> Iterator[ControllerReader]:
    with ControllerReader() as reader:
        yield reader


def now(reader: ControllerReader) -> np.ndarray:
    return reader.at(time.monotonic_ns()).values


@uinput
@pytest.mark.parametrize(
    ("kind", "driver"), [("xpad", "xpad"), ("dualsense", "playstation"), ("dualsense_generic", "generic")]
)
def test_pads_moved_alike_are_recorded_alike(plug: Callable[..., object], kind: str, driver: str) -> None:
    """The same thumb on the same place must give the same recording, whatever the pad's driver calls it."""
    from tests import pads

    pad = plug(kind)
    with ControllerReader() as reader:
        if driver == "generic":
            pads.send(pad, *pads.GENERIC_REST)
        for move in pads.MOVES:
            event = getattr(move, driver)
            pads.send(pad, event)
            values = now(reader)
            changed = {NAMES[i] for i in range(len(NAMES)) if abs(values[i] - REST[i]) > 0.01}
            assert changed == {move.control}, move.name
            assert values[NAMES.index(move.control)] == pytest.approx(move.value, abs=1 / 255), move.name
            rest = {**pads.REST_BY_DRIVER[driver]}.get(event[:2], 0)
            pads.send(pad, (*event[:2], rest))


@uinput
def test_a_switch_pads_triggers_are_full_or_nothing(plug: Callable[..., object]) -> None:
    """Its triggers are buttons to the kernel; ignored, the car would never accelerate in the recording."""
    from tests import pads

    pad = plug("switch_pro")
    with ControllerReader("pro controller") as reader:
        pads.send(pad, (EV_KEY, c.BTN_TR2, 1))
        assert now(reader)[Control.RIGHT_TRIGGER] == 1.0
        pads.send(pad, (EV_KEY, c.BTN_TR2, 0), (EV_KEY, c.BTN_TL2, 1))
        assert now(reader)[Control.LEFT_TRIGGER] == 1.0
        assert now(reader)[Control.RIGHT_TRIGGER] == 0.0


@uinput
def test_what_is_held_when_recording_starts_is_known(xpad: object) -> None:
    """Starting to record with the throttle held must not show a coasting car until the finger moves."""
    from tests.pads import send

    send(xpad, (EV_ABS, c.ABS_RZ, 255), (EV_KEY, c.BTN_EAST, 1), (EV_ABS, c.ABS_X, -32768))
    with ControllerReader() as reader:
        inputs = reader.at(time.monotonic_ns())
        assert inputs.values[Control.RIGHT_TRIGGER] == 1.0
        assert inputs.values[Control.LEFT_X] == 0.0
        assert pressed(inputs.values) == {"east"}
        assert inputs.t_ns == 0, "no event has come yet"
        send(xpad, (EV_KEY, c.BTN_EAST, 0))
        assert pressed(now(reader)) == set(), "a button held at the start is not a tap"


@uinput
def test_a_pad_that_has_not_reported_yet_is_at_rest(plug: Callable[..., object]) -> None:
    """Under hid-generic all axes read 0 until the first report: both sticks would be recorded in the corner."""
    from tests import pads

    pad = plug("dualsense_generic")
    with ControllerReader() as reader:
        np.testing.assert_array_equal(now(reader), REST)
        held_left = [event for event in pads.GENERIC_REST if event[1] != c.ABS_X]  # X is 0 already: no event for it
        pads.send(pad, *held_left)
        values = now(reader)
        assert values[Control.LEFT_X] == 0.0, "the first report shows that it really is 0"
        assert values[Control.RIGHT_X] == pytest.approx(0.5, abs=0.01)


@uinput
def test_events_belong_to_their_own_time(reader: ControllerReader, xpad: object) -> None:
    """A press after the frame was taken must not be recorded with that frame, however late inputs are asked for."""
    from tests.pads import send

    send(xpad, (EV_ABS, c.ABS_RZ, 100))
    before = time.monotonic_ns()
    time.sleep(0.01)
    send(xpad, (EV_ABS, c.ABS_RZ, 200), (EV_KEY, c.BTN_SOUTH, 1))
    time.sleep(0.01)
    after = time.monotonic_ns()
    early = reader.at(before)
    assert early.values[Control.RIGHT_TRIGGER] == pytest.approx(100 / 255)
    assert pressed(early.values) == set()
    assert early.t_ns <= before
    late = reader.at(after)
    assert late.values[Control.RIGHT_TRIGGER] == pytest.approx(200 / 255)
    assert pressed(late.values) == {"south"}
    assert before < late.t_ns < after, "events must be stamped with the monotonic clock"


@uinput
def test_a_tap_shorter_than_a_frame_is_recorded(
    reader: ControllerReader, xpad: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sampling only the present state loses quick jumps."""
    from tests.pads import send

    monkeypatch.setattr(pad_state, "TAP_MEMORY_NS", 10**12)  # however long the machine takes to the next line
    send(xpad, (EV_KEY, c.BTN_SOUTH, 1))
    send(xpad, (EV_KEY, c.BTN_SOUTH, 0))
    assert pressed(now(reader)) == {"south"}
    assert pressed(now(reader)) == set()


@uinput
def test_raw_events_are_handed_over_once(reader: ControllerReader, xpad: object) -> None:
    """The recording keeps them, so that finer timing than one frame can be learnt later."""
    from tests.pads import send

    state = reader.take_events()
    assert {(event.type, event.code) for event in state} >= {(EV_KEY, c.BTN_SOUTH), (EV_ABS, c.ABS_Z)}
    send(xpad, (EV_KEY, c.BTN_WEST, 1), (EV_ABS, c.ABS_RX, 1000))
    assert reader.take_events() == (), "not consumed yet"
    now(reader)
    events = reader.take_events()
    assert [(e.type, e.code, e.value) for e in events] == [(EV_KEY, c.BTN_WEST, 1), (EV_ABS, c.ABS_RX, 1000)]
    assert events[0].t_ns == events[1].t_ns
    assert reader.take_events() == ()


@uinput
def test_dropped_events_are_counted_and_the_state_restored(xpad: object) -> None:
    """When the kernel's queue overflows, a release may be among what is lost: the button would be stuck."""
    from tests.pads import send

    device = PadDevice(choose_pad())  # without the reader's thread nobody empties the queue
    try:
        state = PadState(device.profile, device.axes)
        send(xpad, (EV_KEY, c.BTN_SOUTH, 1), (EV_ABS, c.ABS_RZ, 255))
        for event in device.read():
            state.apply(event)
        send(xpad, (EV_KEY, c.BTN_SOUTH, 0), (EV_ABS, c.ABS_RZ, 10), (EV_KEY, c.BTN_TL, 1))
        for i in range(500):
            send(xpad, (EV_ABS, c.ABS_X, i * 60), (EV_ABS, c.ABS_Y, -i * 60))
        for event in device.read():
            state.apply(event)
        assert device.dropped == 1
        state.sample(0)
        values = state.sample(0)
        assert pressed(values) == {"tl"}
        assert values[Control.RIGHT_TRIGGER] == pytest.approx(10 / 255)
        assert values[Control.LEFT_X] == pytest.approx((499 * 60 + 32768) / 65535, abs=20 / 65535)  # the driver's fuzz
        assert device.read() == []
    finally:
        device.close()


@uinput
def test_the_kernel_keeps_as_many_events_as_is_reckoned(xpad: object) -> None:
    """The bench judges lost events by the size of the kernel's queue: wrong, it would excuse a slow reader."""
    from tests.pads import send

    device = PadDevice(choose_pad())
    try:
        fitting = queue_events(len(choose_pad().axes)) // 2 - 1  # a press or release, and the end of its packet
        held = 0
        for packets, dropped in ((fitting, 0), (fitting + 1, 1)):
            for _ in range(packets):
                held = 1 - held
                send(xpad, (EV_KEY, c.BTN_SOUTH, held))
            device.read()
            assert device.dropped == dropped
    finally:
        device.close()


@uinput
def test_no_press_of_a_storm_is_lost_without_being_counted(reader: ControllerReader, xpad: object) -> None:
    """Fast pads send a thousand packets a second; what the kernel drops has to show in the count."""
    from tests.pads import send

    presses = 2000
    shown = 0
    for i in range(presses):
        send(xpad, (EV_KEY, c.BTN_SOUTH, 1), (EV_ABS, c.ABS_X, i), (EV_ABS, c.ABS_RX, -i), (EV_ABS, c.ABS_RZ, i % 256))
        send(xpad, (EV_KEY, c.BTN_SOUTH, 0), (EV_ABS, c.ABS_Y, i), (EV_ABS, c.ABS_RY, -i), (EV_ABS, c.ABS_Z, i % 256))
        if i % 30 == 0:
            now(reader)
    send(xpad, (EV_KEY, c.BTN_NORTH, 1))
    values = now(reader)
    assert pressed(values) - {"south"} == {"west"}  # "south" may show as the last tap
    assert pressed(now(reader)) == {"west"}
    shown = sum(e.value == 1 and e.code == c.BTN_SOUTH for e in reader.take_events())
    assert shown == presses or reader.dropped > 0
    assert shown <= presses


@uinput
def test_the_thread_empties_the_queue_by_itself(reader: ControllerReader, xpad: object) -> None:
    """Reading once per frame loses events of fast pads even at 60 Hz; a thread takes them as they come."""
    from tests.pads import send, until

    def is_taken(value: int) -> bool:
        return bool(reader._waiting) and reader._waiting[-1].value == value

    for i in range(600):  # ten times the kernel's queue
        send(xpad, (EV_KEY, c.BTN_SOUTH, i % 2), (EV_ABS, c.ABS_X, i * 40))
        if i % 20 == 19:
            until(lambda value=i * 40: is_taken(value), "the thread taking a third of the queue")
    now(reader)
    assert reader.dropped == 0
    assert sum(e.type == EV_KEY for e in reader.take_events()) >= 599


@uinput
def test_unplugging_releases_and_replugging_goes_on(
    plug: Callable[..., object], caplog: pytest.LogCaptureFixture
) -> None:
    """A cable pulled in play must neither end the recording nor leave the throttle held in it."""
    from tests import pads

    pad = plug("xpad")
    with ControllerReader() as reader:
        pads.send(pad, (EV_ABS, c.ABS_RZ, 255), (EV_KEY, c.BTN_EAST, 1))
        assert now(reader)[Control.RIGHT_TRIGGER] == 1.0
        pad.close()
        np.testing.assert_array_equal(now(reader), REST)
        assert not reader.connected
        pad = plug("xpad")
        pads.send(pad, (EV_ABS, c.ABS_Z, 255))
        pads.until(lambda: reader.connected, "opening the pad again")
        assert now(reader)[Control.LEFT_TRIGGER] == 1.0, "the state at replugging is known"
        assert pressed(now(reader)) == set()
        pads.send(pad, (EV_KEY, c.BTN_SOUTH, 1))
        assert pressed(now(reader)) == {"south"}
        pads.until(lambda: reader.replugs == 1, "counting it")
    assert "was unplugged" in caplog.text


@uinput
def test_another_pad_takes_over_when_the_first_is_gone(plug: Callable[..., object]) -> None:
    """Changing pads in the middle of a session goes on with the new one's own profile."""
    from tests import pads

    first = plug("xpad")
    with ControllerReader() as reader:
        assert reader.info.profile == "xpad"
        first.close()
        second = plug("dualsense")
        pads.until(lambda: reader.info.profile == "playstation", "opening the other pad")
        pads.send(second, (EV_KEY, c.BTN_NORTH, 1))
        assert pressed(now(reader)) == {"north"}


@uinput
def test_a_pad_named_by_path_is_not_replaced_by_another(plug: Callable[..., object]) -> None:
    """Who names a device wants that one: another person's pad must not enter the recording."""
    from tests import pads

    first = plug("xpad")
    with ControllerReader(first.device.path) as reader:
        first.close()
        plug("dualsense")
        pads.until(lambda: not reader.connected, "noticing the unplugged pad")
        time.sleep(1.2)  # two looks at the devices
        assert not reader.connected


@uinput
def test_reading_never_grabs(reader: ControllerReader, xpad: object) -> None:
    """A grabbed pad is dead in the game that is being played."""
    from evdev import InputDevice

    from tests.pads import send

    other = InputDevice(xpad.device.path)
    send(xpad, (EV_KEY, c.BTN_SOUTH, 1))
    assert select.select([other], [], [], 60)[0], "another reader gets the events too"
    other.grab()  # raises OSError (EBUSY) if we had grabbed it
    other.ungrab()
    other.close()


@uinput
def test_the_session_gets_ids_ranges_and_profile(plug: Callable[..., object]) -> None:
    """session.json must tell later readers which pad it was and what its numbers meant."""
    pad = plug("dualsense")
    with ControllerReader() as reader:
        info = reader.info
    assert info.name.endswith("DualSense Wireless Controller")
    assert info.profile == "playstation"
    assert info.ids == {"bus": 3, "vendor": 0x54C, "product": 0xCE6, "version": 0x8111}
    assert info.path == pad.device.path
    assert info.ranges["left_x"] == (0, 128, 255)
    assert info.ranges["right_trigger"] == (0, 0, 255)
    assert info.ranges["hat_x"] == (-1, 0, 1)
    assert info.reason == "by its vendor (054c)"  # a pad made by uinput has no driver
    assert (info.codes["keys"]["0x133"], info.codes["axes"]["0x5"]) == ("north", "right_trigger")


@uinput
def test_closing_twice_and_reading_much_later_are_fine(xpad: object) -> None:
    """Every way out of a script closes; and a loop may pause for long while the pad sends on."""
    from tests.pads import send

    reader = ControllerReader()
    threads = threading.active_count()
    for i in range(50):
        send(xpad, (EV_KEY, c.BTN_SOUTH, i % 2))
    reader.close()
    reader.close()
    assert threading.active_count() == threads - 1


@uinput
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_somebody_without_permission_is_told_what_to_do(xpad: object) -> None:
    """A traceback with EACCES helps nobody; the message names the group."""
    Path(xpad.device.path).chmod(0o600)
    code = (
        "import os\n"
        "from rl_utils.controller_reader import ControllerReader\n"
        "from rl_utils.errors import UserError\n"
        "os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)\n"
        "try:\n    ControllerReader()\n"
        "except UserError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "may not be read by you" in done.stdout
    assert "usermod -aG input" in done.stdout
