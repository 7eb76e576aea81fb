"""Guided mapping: what counts as a deliberate movement, and a whole dialogue on a real kernel."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from rl_utils import controls as c
from rl_utils.controls import EV_ABS, EV_KEY, NAMES, REST, XPAD, Control, PadProfile
from rl_utils.errors import UserError
from rl_utils.interfaces import PadEvent
from rl_utils.map_pad import QUESTIONS, Answers, Moved, MoveDetector
from rl_utils.pad_mapping import MAPPED, load_mapping, mapping_file, save_mapping
from rl_utils.pad_state import AxisRange, PadState

AXES = {c.ABS_X: AxisRange(0, 128, 255), c.ABS_Z: AxisRange(0, 0, 255), c.ABS_HAT0X: AxisRange(-1, 0, 1)}
IDS = {"bus": 3, "vendor": 0x79, "product": 6, "version": 0x110}


def moved(detector: MoveDetector, *events: tuple[int, int, int]) -> Moved | None:
    answers = [detector.feed(PadEvent(0, *event)) for event in events]
    assert not any(answers[:-1]), "it was not over yet"
    return answers[-1]


def test_a_press_counts_once_it_is_let_go() -> None:
    """Answering on the press would take its release, or the second half of a double event, for the next answer."""
    detector = MoveDetector(AXES)
    assert moved(detector, (EV_KEY, c.BTN_SOUTH, 1), (EV_KEY, c.BTN_SOUTH, 0)) == Moved(c.BTN_SOUTH, None)


def test_the_axis_that_moved_furthest_is_meant() -> None:
    """Nobody pushes a stick straight, and worn ones tremble: the small movements are not the answer."""
    events = [(EV_ABS, c.ABS_Z, 20), (EV_ABS, c.ABS_X, 3), (EV_ABS, c.ABS_Z, 5), (EV_ABS, c.ABS_X, 120)]
    assert moved(MoveDetector(AXES), *events) == Moved(None, c.ABS_X, grew=False)
    assert moved(MoveDetector(AXES), (EV_ABS, c.ABS_X, 150), (EV_ABS, c.ABS_X, 128)) is None


def test_a_trigger_that_is_key_and_axis_is_the_axis() -> None:
    """Sony's pads report both; as a key, the throttle would be all or nothing."""
    detector = MoveDetector(AXES)
    events = [(EV_ABS, c.ABS_Z, 90), (EV_KEY, c.BTN_TL2, 1), (EV_ABS, c.ABS_Z, 255), (EV_KEY, c.BTN_TL2, 0)]
    answer = moved(detector, *events, (EV_ABS, c.ABS_Z, 0))
    assert answer is not None
    answers = Answers()
    assert answers.take(Control.LEFT_TRIGGER, 1.0, answer)
    assert answers.profile().axes == {c.ABS_Z: Control.LEFT_TRIGGER}


def test_what_was_an_answer_before_is_none_again() -> None:
    """A button that is still in motion must not be taken for two controls."""
    answers = Answers()
    answers.take(Control.SOUTH, 1.0, Moved(c.BTN_SOUTH, None))
    assert moved(answers.detector(AXES), (EV_KEY, c.BTN_SOUTH, 1), (EV_KEY, c.BTN_SOUTH, 0)) is None
    assert not answers.take(Control.EAST, 1.0, Moved(None, c.ABS_X)), "an axis is no button"
    assert not answers.take(Control.LEFT_X, 1.0, Moved(c.BTN_EAST, None)), "a stick is no button"


def test_every_control_is_asked_for() -> None:
    """A control that is forgotten could never be recorded from a mapped pad."""
    assert {control for control, _, _ in QUESTIONS} == set(Control)


ODD = PadProfile(
    MAPPED,
    {0x120: Control.SOUTH},
    {c.ABS_Y: Control.LEFT_Y, c.ABS_RZ: Control.RIGHT_TRIGGER},
    {0x121: (Control.LEFT_TRIGGER, 1.0), c.BTN_DPAD_LEFT: (Control.HAT_X, 0.0), c.BTN_DPAD_RIGHT: (Control.HAT_X, 1.0)},
    frozenset({c.ABS_Y, c.ABS_RZ}),
)


@pytest.mark.parametrize("profile", [ODD, XPAD], ids=["odd", "xpad"])
def test_a_stored_mapping_comes_back_as_it_was(profile: PadProfile) -> None:
    """What was mapped with patience must hold at the next start."""
    assert load_mapping(IDS) is None
    save_mapping(IDS, profile, "Twin USB Joystick")
    loaded = load_mapping(IDS)
    assert loaded is not None
    assert (loaded.buttons, loaded.axes) == (profile.buttons, profile.axes)
    assert (loaded.axis_keys, loaded.inverted) == (profile.axis_keys, profile.inverted)
    assert load_mapping({**IDS, "version": 1}) is None, "the same pad under another driver has other codes"


@pytest.mark.parametrize(
    "text", ["", "nonsense =", "[keys]\n0x130 = 'no such control'\n[axes]", "[keys]\n0x1 = 3\n[axes]"]
)
def test_a_damaged_mapping_is_named(text: str) -> None:
    """A broken file must lead to itself, not to a traceback in the middle of a recording."""
    file = mapping_file(IDS)
    file.parent.mkdir(parents=True)
    file.write_text(text)
    with pytest.raises(UserError, match=r"0003-0079-0006-0110\.toml cannot be read") as error:
        load_mapping(IDS)
    assert "--map" in error.value.remedy


def test_inverted_axes_and_keys_become_inputs() -> None:
    """A mapped pad with an upside-down stick and a d-pad of buttons must steer the right way."""
    ranges = {c.ABS_Y: AxisRange(0, 128, 255), c.ABS_RZ: AxisRange(0, 255, 255)}
    state = PadState(ODD, ranges)
    for event in ((EV_ABS, c.ABS_Y, 255), (EV_ABS, c.ABS_RZ, 0), (EV_KEY, 0x121, 1), (EV_KEY, c.BTN_DPAD_LEFT, 1)):
        state.apply(PadEvent(1, *event))
    values = state.sample(2)
    assert (values[Control.LEFT_Y], values[Control.RIGHT_TRIGGER], values[Control.LEFT_TRIGGER]) == (0.0, 1.0, 1.0)
    assert values[Control.HAT_X] == 0.0
    for code, value in ((c.BTN_DPAD_RIGHT, 1), (c.BTN_DPAD_LEFT, 0)):  # rolled over from left to right
        state.apply(PadEvent(3, EV_KEY, code, value))
    assert state.sample(4)[Control.HAT_X] == 1.0
    state.apply(PadEvent(5, EV_KEY, c.BTN_DPAD_RIGHT, 0))
    assert state.sample(6)[Control.HAT_X] == 0.5


def dialogue(pad: object, presses: Sequence[tuple[tuple[int, int, int], tuple[int, int, int]] | None]) -> str:
    """Run `doctor --map`, press what it asks for (None is the Enter key), and return its result."""
    from tests import pads

    command = [sys.executable, "-m", "rl_utils.doctor", "--map", "--device", "twin"]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command, text=True, bufsize=1, **pipes) as process:  # type: ignore[call-overload]
        assert process.stderr.readline().startswith("Mapping Twin USB Joystick")
        for press in presses:
            assert process.stderr.readline().startswith("  ")
            if press is None:
                process.stdin.write("\n")
            else:
                for event in press:
                    pads.send(pad, event)
        process.stdin.close()
        result = process.stdout.read()
        assert process.wait(60) == 0, process.stderr.read()
    return str(result)


@pytest.mark.uinput
def test_an_unknown_pad_is_mapped_and_then_read(own_config_folder: Path) -> None:
    """A pad that only knows numbered buttons is refused, explained, mapped in a minute, and recorded from then on."""
    from evdev import AbsInfo, UInput

    from rl_utils.controller_reader import ControllerReader
    from rl_utils.pad_finder import choose_pad
    from tests import pads

    keys = list(range(c.BTN_JOYSTICK, c.BTN_JOYSTICK + 12))
    eight = AbsInfo(128, 0, 255, 0, 15, 0)
    axes = [(code, eight) for code in (c.ABS_X, c.ABS_Y, c.ABS_Z, c.ABS_RZ)]
    about = {"name": "Twin USB Joystick", "vendor": IDS["vendor"], "product": IDS["product"], "version": IDS["version"]}
    pad = UInput({EV_KEY: keys, EV_ABS: axes}, bustype=IDS["bus"], max_effects=0, **about)
    try:
        with pytest.raises(UserError, match="map it with"):
            choose_pad()
        by_key = {control: keys[i] for i, control in enumerate(list(Control)[:8])}
        by_key |= {Control.LEFT_TRIGGER: keys[8], Control.RIGHT_TRIGGER: keys[9]}
        by_axis = {
            Control.LEFT_X: c.ABS_X,
            Control.LEFT_Y: c.ABS_Y,
            Control.RIGHT_X: c.ABS_Z,
            Control.RIGHT_Y: c.ABS_RZ,
        }
        upside_down = {Control.LEFT_Y}

        def press(control: Control) -> tuple[tuple[int, int, int], tuple[int, int, int]] | None:
            if control in by_key:
                return (EV_KEY, by_key[control], 1), (EV_KEY, by_key[control], 0)
            if control in by_axis:
                code = by_axis[control]
                return (EV_ABS, code, 0 if control in upside_down else 255), (EV_ABS, code, 128)
            return None

        command = [sys.executable, "-m", "rl_utils.doctor", "--map"]
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        with subprocess.Popen(command, text=True, **pipes) as process:  # type: ignore[call-overload]
            process.stderr.readline()
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=60)[0] == "Stopped. Nothing was stored.\n"
            assert process.returncode == 0
        assert load_mapping(IDS) is None
        result = dialogue(pad, [press(Control.SOUTH), *(press(control) for control, _, _ in QUESTIONS)])
        assert str(own_config_folder) in result
        assert "Without: mode, thumbl, thumbr, hat_x, hat_y." in result
        with ControllerReader() as reader:
            assert (reader.info.name, reader.info.profile) == ("Twin USB Joystick", MAPPED)
            assert reader.info.codes["axes"]["0x1"] == "left_y inverted"
            for control in [*by_key, *by_axis]:
                there, back = press(control) or ((), ())
                pads.send(pad, there)
                values = reader.at(time.monotonic_ns()).values
                assert values[control] == 1.0, control.name
                assert {NAMES[i] for i in range(len(NAMES)) if abs(values[i] - REST[i]) > 0.01} == {NAMES[control]}
                pads.send(pad, back)
            np.testing.assert_allclose(reader.at(time.monotonic_ns()).values, REST, atol=0.01)
    finally:
        pad.close()


def test_mapping_without_a_pad_says_so() -> None:
    """Without any device, --map has nothing to ask for; it must say what is missing."""
    done = subprocess.run(
        [sys.executable, "-m", "rl_utils.doctor", "--map", "--device", "no such pad"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ},
    )
    assert done.returncode == 2
    assert done.stderr.startswith("doctor: ")
    assert "no such pad" in done.stderr
