"""What the terminal promises about stopping the bot, on machines whose gamepad can, cannot or need not be read."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

import eval as eval_script
from rl_utils import pad_finder
from rl_utils.pad_finder import choose_pad, unread_pads
from rl_utils.pad_mapping import mapping_file
from tests.arena_process import running_arena
from tests.test_eval import wait_for_socket
from tests.test_listeners import record_throttle
from tests.test_pad_finder import Machine


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    folder = tmp_path / "machine"
    folder.mkdir()
    return Machine(folder)


def bare(machine: Machine) -> str:
    machine.add(0, "AT keyboard", keys=range(1, 60))
    return "There is no gamepad: only Ctrl+C stops it."


def damaged_mapping(machine: Machine) -> str:
    machine.add_xpad(0)
    file = mapping_file(machine.seen()[0].ids)
    file.parent.mkdir(parents=True)
    file.write_text("keys = 3")
    return f"No gamepad can be read (The mapping of a gamepad in {file} cannot be read"


def without_a_node(machine: Machine) -> str:
    machine.add_xpad(0, node=False)
    return f"No gamepad can be read (Xbox 360 Wired Controller ({machine.dev}/event0): a gamepad without"


@pytest.mark.parametrize("prepare", [bare, damaged_mapping, without_a_node])
def test_a_missing_kill_switch_is_said(
    prepare: Callable[[Machine], str],
    machine: Machine,
    x_display: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A person would reach for a gamepad that stops nothing."""
    expected = prepare(machine)
    monkeypatch.setattr(pad_finder, "list_pads", partial(pad_finder.list_pads, machine.sysfs, machine.dev))
    socket = tmp_path / "arena.sock"
    monkeypatch.setenv("RLAI_ARENA_SOCKET", str(socket))
    record_throttle(tmp_path / "inputs", 30)
    with running_arena(socket, "--driver", "pad"):
        wait_for_socket(socket)
        options = ["--inputs", str(tmp_path / "inputs"), "--sink", "arena", "--minutes", "0.01"]
        assert eval_script.main(options) == 0
    [opening] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("BOT DRIVING at")]
    assert expected in opening
    assert opening.endswith("only Ctrl+C stops it.")
    assert "your gamepad" not in opening


def test_what_is_no_gamepad_is_no_reason(machine: Machine) -> None:
    """Every desktop has a keyboard that is refused, and nobody wants to read why."""
    machine.add(0, "AT keyboard", keys=range(1, 60))
    assert unread_pads("no gamepad was found", machine.seen()) == ""
    machine.add_xpad(1)
    assert choose_pad(None, machine.seen()).number == 1
    assert unread_pads("it may not be read", machine.seen()) == "it may not be read"
