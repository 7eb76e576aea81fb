"""A gamepad whose stored mapping cannot be read: it is still found, and can be mapped again as the message says."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from rl_utils import doctor, pad_finder
from rl_utils.controller_reader import ControllerReader
from rl_utils.errors import UserError
from rl_utils.pad_mapping import mapping_file
from tests.test_doctor import by_name
from tests.test_pad_finder import Machine


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Two pads, of which the one that would be read has a damaged mapping."""
    made = Machine(tmp_path)
    made.add_xpad(0)
    made.add_dualsense(1)
    file = mapping_file(made.seen()[0].ids)
    file.parent.mkdir(parents=True)
    file.write_text("keys = 3")
    monkeypatch.setattr(pad_finder, "list_pads", partial(pad_finder.list_pads, made.sysfs, made.dev))
    return made


def test_the_pad_is_listed_behind_one_that_is_known(machine: Machine) -> None:
    """Nothing could be said or done about any gamepad for the sake of one file."""
    pads = [pad.name for pad in machine.seen() if pad.is_pad]
    assert pads == ["Sony DualSense", "Xbox 360 Wired Controller"]


def test_it_can_be_mapped_again(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message would send people to a command that ends with the same message."""
    monkeypatch.setattr("rl_utils.map_pad.list_pads", pad_finder.list_pads)
    from rl_utils.map_pad import map_pad

    with pytest.raises(UserError, match=r"The gamepad Xbox 360 .* may not be read by you"):  # an empty file is no pad
        map_pad("xbox")


def test_the_doctor_goes_on(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is asked because something is wrong, and has to say what, and what else."""
    monkeypatch.delenv("DISPLAY", raising=False)
    (machine.dev / "event1").unlink()
    assert doctor.main(["--json", "--listen", "0"]) == 2
    found = by_name(capsys.readouterr().out)
    assert not found["gamepad"]["ok"]
    assert "The mapping of a gamepad in" in str(found["gamepad"]["detail"])
    assert "--map" in str(found["gamepad"]["remedy"])
    assert {"disk", "torch", "virtual pad"} <= set(found)


def test_it_is_not_read_as_something_else(machine: Machine) -> None:
    """Buttons would be stored in places that are not those its owner has given them."""
    with pytest.raises(UserError, match="The mapping of a gamepad in"):
        ControllerReader("xbox")
