"""Every gamepad behind the kernel's own driver for it: read as it is held, and as SDL reads it."""

from __future__ import annotations

import json
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from rl_utils.controller_reader import ControllerReader
from rl_utils.controls import HATS, N_BUTTONS, NAMES, REST, STICKS, Control
from rl_utils.pad_finder import list_pads
from tests import hid_pads, usb_pads
from tests.hid_pads import Hand, HidPad
from tests.pads import until
from tests.usb_pads import UsbPad

drivers = pytest.mark.drivers

GENERIC_ONLY = Path("/sys/module/hid/parameters/ignore_special_drivers")
STEP = 1 / 128
"""What a stick of eight bits can be told apart by, and a little."""


@contextmanager
def plugged(kind: str) -> Iterator[HidPad | UsbPad]:
    """A pad, ready to be read: "DualSense", "XboxOne", or "DualSense generic" without its own driver."""
    name, _, generic = kind.partition(" ")
    if generic:
        GENERIC_ONLY.write_text("1")
    try:
        pad = getattr(hid_pads, name, None) or getattr(usb_pads, name)
        before = {device.path for device in list_pads() if device.is_pad}
        opened = pad()
        until(lambda: {d.path for d in list_pads() if d.is_pad} > before, f"finding {kind}")
    finally:
        if generic:
            GENERIC_ONLY.write_text("0")
    try:
        yield opened
    finally:
        opened.close()
        until(lambda: {d.path for d in list_pads() if d.is_pad} == before, f"unplugging {kind}")


def hands() -> list[Hand]:
    """Every control to each of its ends, one at a time; and much at once, as when playing."""
    single: list[Hand] = [{c: 1.0} for c in Control if c not in (*STICKS, *HATS)]
    single += [{c: end} for c in (*STICKS, *HATS) for end in (0.0, 1.0)]
    play = {Control.LEFT_X: 0.25, Control.LEFT_Y: 0.75, Control.RIGHT_TRIGGER: 1.0, Control.SOUTH: 1.0, Control.TL: 1.0}
    return [*single, play, {**play, Control.HAT_X: 0.0, Control.HAT_Y: 1.0, Control.NORTH: 1.0}]


def held(hand: Hand) -> np.ndarray:
    """As our 19 inputs."""
    values = REST.copy()
    for control, value in hand.items():
        values[control] = value
    return values


def told(values: np.ndarray) -> dict[str, float]:
    """What is not at rest, for messages."""
    return {NAMES[i]: round(float(v), 3) for i, v in enumerate(values) if abs(v - REST[i]) > STEP}


KINDS = {
    "DualSense": "playstation",
    "DualShock4": "playstation",
    "DualSense generic": "playstation-generic",
    "DualShock4 generic": "playstation-generic",
    "SwitchPro": "nintendo",
    "EightBitDo": "8bitdo",
    "Xbox360": "xpad",
    "XboxOne": "xpad",
}
"""Pad → the profile that must be found for it."""


@drivers
@pytest.mark.parametrize("kind", KINDS)
def test_every_pad_is_read_as_it_is_held(kind: str) -> None:
    """The same thumb on the same place gives the same inputs, whichever pad it lies on and whichever driver it has."""
    with plugged(kind) as pad, ControllerReader() as reader:
        assert reader.info.profile == KINDS[kind]
        assert reader.info.reason.startswith("by its")
        pad.hold()
        for hand in [*hands(), {}]:
            pad.hold(hand)
            wanted = held(hand)
            seen = REST

            def arrived(wanted: np.ndarray = wanted) -> bool:
                nonlocal seen
                seen = reader.at(time.monotonic_ns()).values
                return bool(np.allclose(seen, wanted, atol=STEP))

            try:
                until(arrived, "the pad's report")
            except AssertionError:
                pytest.fail(f"{kind} is held {told(wanted)}, read {told(seen)}")
        assert reader.dropped == 0


@drivers
def test_two_makes_pressed_alike_are_recorded_alike() -> None:
    """A policy learnt from a DualSense must mean the same on an Xbox pad, not swap ball camera and powerslide."""
    with (
        plugged("DualSense") as sony,
        plugged("Xbox360") as xbox,
        ControllerReader("054c:0ce6") as first,
        ControllerReader("045e:028e") as second,
    ):
        for hand in [*hands(), {}]:
            sony.hold(hand)
            xbox.hold(hand)
            wanted = held(hand)
            recorded = [REST, REST]

            def both_arrived(wanted: np.ndarray = wanted, recorded: list[np.ndarray] = recorded) -> bool:
                recorded[:] = [reader.at(time.monotonic_ns()).values for reader in (first, second)]
                return all(np.allclose(values, wanted, atol=STEP) for values in recorded)

            until(both_arrived, f"both pads being held {told(wanted)}")
            assert np.array_equal(recorded[0][:N_BUTTONS], recorded[1][:N_BUTTONS])
            assert np.abs(recorded[0] - recorded[1]).max() <= STEP


@drivers
def test_a_cable_that_is_pulled_and_another_pad_after_it(caplog: pytest.LogCaptureFixture) -> None:
    """Unplugged with throttle and boost held: released at once, and the next pad goes on by its own driver's codes."""
    hold = {Control.RIGHT_TRIGGER: 1.0, Control.EAST: 1.0, Control.NORTH: 1.0}
    with plugged("DualSense") as sony, ControllerReader() as reader:

        def reads(hand: Hand) -> bool:
            return bool(np.allclose(reader.at(time.monotonic_ns()).values, held(hand), atol=STEP))

        for plug in (lambda: sony, hid_pads.DualSense, usb_pads.Xbox360, hid_pads.SwitchPro):
            pad = plug()
            until(lambda: reader.connected, "opening the pad")
            pad.hold(hold)
            until(lambda: reads(hold), "the pad's report")
            pad.close()
            until(lambda: not reader.connected and reads({}), "noticing the pulled cable")
        assert reader.replugs == 3
        assert reader.info.profile == "nintendo"
    assert caplog.text.count("was unplugged") == 4


class Witness:
    """SDL in a process of its own."""

    def __init__(self) -> None:
        command = [sys.executable, str(Path(__file__).with_name("sdl_witness.py"))]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0)
        assert self._process.stdout is not None
        self._stream = self._process.stdout
        self._read = b""
        assert json.loads(self._stream.readline()) == "ready"
        self._seen: list[list[float]] = []

    def pads(self) -> list[np.ndarray]:
        """The 19 inputs of every pad that SDL has a mapping for."""
        while select.select([self._stream], [], [], 0)[0]:
            more = self._stream.read(65536)
            assert more, "the witness has ended"
            *whole, self._read = (self._read + more).split(b"\n")
            self._seen = json.loads(whole[-1]) if whole else self._seen
        return [np.array(values) for values in self._seen]

    def end(self) -> None:
        """Stop it."""
        self._process.kill()
        self._process.wait()
        self._stream.close()


@pytest.fixture(scope="module")
def sdl() -> Iterator[Witness]:
    """What games see."""
    witness = Witness()
    yield witness
    witness.end()


@drivers
@pytest.mark.parametrize("kind", KINDS)
def test_sdl_reads_every_pad_as_we_do(kind: str, sdl: Witness) -> None:
    """Games read pads through SDL: where it and we disagree, a recording shows other buttons than the game obeyed."""
    with plugged(kind) as pad:
        for hand in [{}, *hands(), {}]:
            pad.hold(hand)
            wanted = held(hand)

            def arrived(wanted: np.ndarray = wanted) -> bool:
                seen = sdl.pads()
                return len(seen) == 1 and np.allclose(seen[0], wanted, atol=2 * STEP)

            try:
                until(arrived, "the pad's report")
            except AssertionError:
                pytest.fail(f"{kind} is held {told(wanted)}, SDL reads {[told(values) for values in sdl.pads()]}")
    until(lambda: not sdl.pads(), "SDL letting go of the pad")


@drivers
def test_sdl_reads_from_our_virtual_pad_what_was_applied(sdl: Witness) -> None:
    """The game must obey what the policy answered, control by control, without any mapping of its own."""
    from rl_utils.apply_inputs import InputApplier

    with InputApplier(allow_menu=True) as applier:
        for hand in hands():
            wanted = held(hand)
            applier.apply(wanted)
            wanted[Control.MODE] = 0.0

            def arrived(wanted: np.ndarray = wanted) -> bool:
                seen = sdl.pads()
                return len(seen) == 1 and np.allclose(seen[0], wanted, atol=STEP)

            until(arrived, f"SDL seeing {told(wanted)}")
    until(lambda: not sdl.pads(), "SDL letting go of the pad")
