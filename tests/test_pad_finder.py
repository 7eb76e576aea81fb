"""Choosing the gamepad: from a copy of the kernel's own descriptions, and from real kernel devices."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path

import pytest

from rl_utils import controls as c
from rl_utils.errors import UserError
from rl_utils.pad_finder import OWN_PHYS, SeenDevice, choose_pad, controls_of, list_pads, profile_of, reading_of_pad

STICKS = (c.ABS_X, c.ABS_Y, c.ABS_RX, c.ABS_RY)
XBOX_KEYS = tuple(c.XPAD.buttons)
XBOX_AXES = tuple(c.XPAD.axes)
SONY_KEYS = (*c.PLAYSTATION.buttons, c.BTN_TL2, c.BTN_TR2)
GENERIC_KEYS = tuple(c.PLAYSTATION_GENERIC.buttons)
PEDAL_AXES = tuple(c.HID.axes)


def words(bits: Iterable[int]) -> str:
    """A bitmap as sysfs prints it."""
    value = sum(1 << bit for bit in bits)
    parts = []
    while True:
        parts.append(f"{value & (1 << 64) - 1:x}")
        value >>= 64
        if not value:
            return " ".join(reversed(parts))


class Machine:
    """A folder laid out as /sys/class/input and /dev/input are."""

    def __init__(self, root: Path) -> None:
        self.sysfs, self.dev, self.drivers = root / "sys", root / "dev", root / "drivers"
        for folder in (self.sysfs, self.dev, self.drivers):
            folder.mkdir()

    def add(
        self,
        number: int,
        name: str,
        *,
        ids: tuple[int, int] = (0x1234, 0x5678),
        keys: Iterable[int] = (),
        axes: Iterable[int] = (),
        properties: Iterable[int] = (),
        driver: str = "",
        phys: str = "usb-1/input0",
        node: bool = True,
    ) -> None:
        about = self.sysfs / f"event{number}" / "device"
        for folder in ("id", "capabilities", "device"):
            (about / folder).mkdir(parents=True)
        texts = {
            "name": name,
            "phys": phys,
            "uniq": "",
            "properties": words(properties),
            "id/bustype": "0003",
            "id/vendor": f"{ids[0]:04x}",
            "id/product": f"{ids[1]:04x}",
            "id/version": "0111",
            "capabilities/key": words(keys),
            "capabilities/abs": words(axes),
        }
        for file, text in texts.items():
            (about / file).write_text(text + "\n")
        if driver:
            (self.drivers / driver).mkdir(exist_ok=True)
            (about / "device" / "driver").symlink_to(self.drivers / driver)
        if node:
            (self.dev / f"event{number}").touch()

    def add_xpad(self, number: int, name: str = "Xbox 360 Wired Controller", **options: object) -> None:
        about = {"ids": (0x45E, 0x28E), "keys": XBOX_KEYS, "axes": XBOX_AXES, "driver": "xpad", **options}
        self.add(number, name, **about)

    def add_dualsense(self, number: int) -> None:
        ids = (0x54C, 0xCE6)
        name = "Sony DualSense"
        self.add(number, name, ids=ids, keys=SONY_KEYS, axes=c.PLAYSTATION.axes, driver="playstation")
        sensors = (c.ABS_X, c.ABS_Y, c.ABS_Z, c.ABS_RX, c.ABS_RY, c.ABS_RZ)
        properties = (c.INPUT_PROP_ACCELEROMETER,)
        self.add(number + 1, f"{name} Motion Sensors", ids=ids, axes=sensors, properties=properties)
        keys = (c.BTN_LEFT, c.BTN_TOUCH)
        properties = (c.INPUT_PROP_POINTER,)
        self.add(number + 2, f"{name} Touchpad", ids=ids, keys=keys, axes=(c.ABS_X, c.ABS_Y), properties=properties)

    def seen(self) -> list[SeenDevice]:
        return list_pads(self.sysfs, self.dev)

    def refusals(self) -> dict[str, str]:
        return {device.name: device.refusal for device in self.seen()}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_only_the_gamepad_of_a_desktop_is_chosen(machine: Machine) -> None:
    """Taking the first device with keys would record (and elsewhere grab) the keyboard or the pad's own touchpad."""
    machine.add(0, "Power Button", keys=(116,))
    machine.add(1, "AT Keyboard", keys=range(1, 120))
    machine.add(2, "Mouse", keys=(c.BTN_LEFT, c.BTN_LEFT + 1))
    machine.add(9, "Wacom Pad", keys=(c.BTN_SOUTH, c.BTN_STYLUS), axes=(c.ABS_X, c.ABS_Y))
    machine.add_dualsense(3)
    assert choose_pad(None, machine.seen()).path.endswith("event3")
    assert machine.refusals() == {
        "Sony DualSense": "",
        "Power Button": "a device without gamepad buttons",
        "AT Keyboard": "a keyboard",
        "Mouse": "a mouse",
        "Wacom Pad": "a drawing tablet",
        "Sony DualSense Motion Sensors": "a motion sensor",
        "Sony DualSense Touchpad": "a touchpad",
    }


def test_without_a_gamepad_the_error_lists_what_was_seen(machine: Machine) -> None:
    """Hearing only "no gamepad" leaves people guessing whether their pad was overlooked."""
    machine.add(0, "AT Keyboard", keys=range(1, 120))
    machine.add(1, "Second Keyboard", keys=range(1, 120))
    machine.add(2, "Arcade Board", keys=XBOX_KEYS)
    with pytest.raises(UserError) as error:
        choose_pad(None, machine.seen())
    assert "AT Keyboard, Second Keyboard: a keyboard" in str(error.value)
    assert "Arcade Board: a device with gamepad buttons but no stick" in str(error.value)


def test_a_machine_without_input_devices_is_said_to_have_none(machine: Machine) -> None:
    """Containers and servers have no /sys/class/input at all; that must not end in a traceback."""
    with pytest.raises(UserError, match="no input devices at all"):
        choose_pad(None, list_pads(machine.sysfs / "missing", machine.dev))


def test_our_own_pad_is_never_read(machine: Machine) -> None:
    """Recording the bot's pad as if a person had played would poison the data, also when it is asked for by name."""
    machine.add_xpad(0, name="Microsoft X-Box 360 pad", phys=OWN_PHYS, driver="")
    assert machine.refusals() == {"Microsoft X-Box 360 pad": "the virtual pad of this tool"}
    with pytest.raises(UserError, match="the virtual pad of this tool"):
        choose_pad("X-Box", machine.seen())


def test_steams_copy_is_read_only_when_named(machine: Machine) -> None:
    """Steam doubles each pad; the copy follows Steam's own mapping and must not win over the real one."""
    machine.add_xpad(0, name="Microsoft X-Box 360 pad 0", ids=c.STEAM_VIRTUAL_PAD, driver="", phys="")
    with pytest.raises(UserError, match="Steam's copy"):
        choose_pad(None, machine.seen())
    assert choose_pad("28de:11ff", machine.seen()).name == "Microsoft X-Box 360 pad 0"
    machine.add_xpad(1)
    assert choose_pad(None, machine.seen()).name == "Xbox 360 Wired Controller"


def test_device_names_paths_and_ids_choose_among_several(machine: Machine) -> None:
    """With two pads plugged in, --device must decide, in whichever way the person names one."""
    machine.add_xpad(0)
    machine.add_dualsense(1)
    seen = machine.seen()
    assert choose_pad(None, seen).name == "Xbox 360 Wired Controller"
    assert choose_pad("dualsense", seen).name == "Sony DualSense"
    assert choose_pad("054C:0CE6", seen).name == "Sony DualSense"
    assert choose_pad(str(machine.dev / "event1"), seen).name == "Sony DualSense"
    link = machine.dev / "by-id"
    link.symlink_to(machine.dev / "event1")
    assert choose_pad(str(link), seen).name == "Sony DualSense"
    with pytest.raises(UserError, match="No input device matches --device Stadia") as error:
        choose_pad("Stadia", seen)
    assert "Xbox 360 Wired Controller" in error.value.remedy
    with pytest.raises(UserError, match="a motion sensor"):
        choose_pad(str(machine.dev / "event2"), seen)


def test_a_pad_with_more_controls_wins(machine: Machine) -> None:
    """A flight stick or half a pad plugged in earlier must not be recorded instead of the gamepad."""
    machine.add(0, "Joystick", keys=(c.BTN_SOUTH, c.BTN_EAST), axes=(c.ABS_X, c.ABS_Y))
    machine.add_xpad(1)
    assert choose_pad(None, machine.seen()).name == "Xbox 360 Wired Controller"


def test_a_pad_that_may_not_be_read_is_named_with_the_remedy(machine: Machine) -> None:
    """Hearing "no gamepad" for a pad that only lacks permission sends people to buy another one."""
    machine.add_xpad(0)
    seen = [dataclasses.replace(pad, readable=False) for pad in machine.seen()]  # a test run as root may read all
    with pytest.raises(UserError, match=r"Xbox 360 Wired Controller .* may not be read by you") as error:
        choose_pad(None, seen)
    assert "usermod -aG input" in error.value.remedy


def test_a_pad_without_a_node_is_explained(machine: Machine) -> None:
    """In a container sysfs shows the pad but /dev/input is empty."""
    machine.add_xpad(0, node=False)
    with pytest.raises(UserError, match="a container that was not given /dev/input"):
        choose_pad(None, machine.seen())


@pytest.mark.parametrize(
    ("driver", "vendor", "keys", "axes", "profile"),
    [
        ("xpad", 0x45E, XBOX_KEYS, XBOX_AXES, "xpad"),
        ("xpad", 0x2DC8, XBOX_KEYS, XBOX_AXES, "xpad"),
        ("playstation", 0x54C, SONY_KEYS, XBOX_AXES, "playstation"),
        ("sony", 0x54C, SONY_KEYS, XBOX_AXES, "playstation"),
        ("hid-generic", 0x54C, GENERIC_KEYS, XBOX_AXES, "playstation-generic"),
        ("", 0x54C, SONY_KEYS, XBOX_AXES, "playstation"),
        ("nintendo", 0x57E, SONY_KEYS, STICKS, "nintendo"),
        ("hid-generic", 0x1234, XBOX_KEYS, XBOX_AXES, "xpad"),
        ("hid-generic", 0x2DC8, GENERIC_KEYS, PEDAL_AXES, "8bitdo"),
        ("xpad", 0x2DC8, GENERIC_KEYS, PEDAL_AXES, "xpad"),
        ("microsoft", 0x45E, GENERIC_KEYS, PEDAL_AXES, "hid"),
        ("hid-generic", 0x1234, GENERIC_KEYS, PEDAL_AXES, "hid"),
        ("hid-generic", 0x0F0D, GENERIC_KEYS, XBOX_AXES, "playstation-generic"),  # a copy of a Sony pad
    ],
)
def test_the_driver_decides_how_a_pad_is_read(
    machine: Machine, driver: str, vendor: int, keys: tuple[int, ...], axes: tuple[int, ...], profile: str
) -> None:
    """The same code means another button under another driver: the wrong profile swaps buttons in the recording."""
    machine.add(0, "Pad", ids=(vendor, 1), keys=keys, axes=axes, driver=driver)
    assert profile_of(machine.seen()[0]).name == profile


def test_a_pad_with_digital_triggers_only_still_has_throttle(machine: Machine) -> None:
    """Reading triggers as absent would record every drive without throttle."""
    axes = (*STICKS, c.ABS_HAT0X, c.ABS_HAT0Y)
    machine.add(0, "Old Pad", keys=(*XBOX_KEYS, c.BTN_TL2, c.BTN_TR2), axes=axes, driver="xpad")
    pad = machine.seen()[0]
    assert controls_of(pad, profile_of(pad)) == frozenset(c.Control)


def test_8bitdos_pads_with_xbox_labels_are_read_by_those(machine: Machine) -> None:
    """The Ultimate pads send for A what the others send for B: read alike, jump and boost change places."""
    for number, product in enumerate((0x6006, 0x3011)):
        ids = (c.VENDOR_8BITDO, product)
        machine.add(number, "8BitDo", ids=ids, keys=GENERIC_KEYS, axes=PEDAL_AXES, driver="hid-generic")
    older, ultimate = (profile_of(pad).buttons[c.BTN_SOUTH] for pad in machine.seen())
    assert (older, ultimate) == (c.Control.EAST, c.Control.SOUTH)


def test_a_guessed_layout_is_called_a_guess(machine: Machine) -> None:
    """Nobody should find out after an hour of recording that an unknown pad's buttons were in other places."""
    machine.add(0, "No Name", keys=XBOX_KEYS, axes=XBOX_AXES, driver="hid-generic")
    machine.add_xpad(1)
    readings = {pad.name: reading_of_pad(pad) for pad in machine.seen()}
    assert readings["No Name"].is_guess
    assert not readings["Xbox 360 Wired Controller"].is_guess
    assert readings["Xbox 360 Wired Controller"].reason == "by its driver (xpad)"
    assert choose_pad(None, machine.seen()).name == "Xbox 360 Wired Controller", "a known pad comes first"


def test_a_steam_decks_triggers_are_found(machine: Machine) -> None:
    """They are on axes that no other pad uses; read as buttons, the throttle would be all or nothing."""
    axes = (*STICKS, c.ABS_HAT2X, c.ABS_HAT2Y, c.ABS_HAT0X, c.ABS_HAT0Y)
    machine.add(0, "Steam Deck", ids=(0x28DE, 0x1205), keys=(*XBOX_KEYS, c.BTN_TL2, c.BTN_TR2), axes=axes)
    profile = profile_of(machine.seen()[0])
    assert profile.axes[c.ABS_HAT2X] is c.Control.RIGHT_TRIGGER
    assert not profile.axis_keys


def test_a_d_pad_of_buttons_stands_in_for_the_axes(machine: Machine) -> None:
    """A DualShock 3 has no hat: its d-pad would never be recorded."""
    d_pad = (c.BTN_DPAD_UP, c.BTN_DPAD_DOWN, c.BTN_DPAD_LEFT, c.BTN_DPAD_RIGHT)
    axes = (*STICKS, c.ABS_Z, c.ABS_RZ)
    machine.add(0, "PS3", ids=(0x54C, 0x268), keys=(*SONY_KEYS, *d_pad), axes=axes, driver="sony")
    pad = machine.seen()[0]
    assert profile_of(pad).axis_keys[c.BTN_DPAD_UP] == (c.Control.HAT_Y, 0.0)
    assert controls_of(pad, profile_of(pad)) == frozenset(c.Control)


def test_a_device_that_vanishes_while_looked_at_is_left_out(machine: Machine) -> None:
    """Unplugging during the scan must not end in a traceback."""
    machine.add_xpad(0)
    (machine.sysfs / "event1").mkdir()
    assert [pad.name for pad in machine.seen()] == ["Xbox 360 Wired Controller"]


@pytest.mark.uinput
def test_real_devices_are_told_apart() -> None:
    """What the kernel really writes into sysfs must lead to the same choice as the copies above."""
    from tests import pads

    of_this_machine = {device.path for device in list_pads()}  # a keyboard, as a rule
    devices = [
        pads.make_keyboard(),
        pads.make_mouse(),
        pads.make_touchpad(),
        pads.make_motion_sensor(),
        pads.make_steam_copy(),
        pads.make_dualsense_generic(),
        pads.make_switch_pro(),
    ]
    try:
        seen = [device for device in list_pads() if device.path not in of_this_machine]
        assert {device.name.split()[-1]: device.refusal.partition(",")[0] for device in seen} == {
            "Keyboard": "a keyboard",
            "Mouse": "a mouse",
            "Touchpad": "a touchpad",
            "Sensors": "a motion sensor",
            "0": "Steam's copy of a gamepad",
            "Controller": "",
        }
        fitting = {pad.name: profile_of(pad).name for pad in seen if pad.is_pad}
        assert sorted(fitting.values()) == ["nintendo", "playstation-generic"]
    finally:
        for device in devices:
            device.close()
