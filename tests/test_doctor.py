"""The doctor: what it says on machines that lack something, and that it believes what is there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rl_utils import doctor
from rl_utils.apply_inputs import UDEV_RULE
from tests.conftest import await_managed, has_uinput

NEEDS = {"record", "drive", "train", "practise"}


def by_name(text: str) -> dict[str, dict[str, object]]:
    return {finding["name"]: finding for finding in json.loads(text)["findings"]}


@pytest.fixture
def no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)


def test_a_bare_machine_gets_remedies_and_exit_2(no_display: None, capsys: pytest.CaptureFixture[str]) -> None:
    """Over ssh, in a container, without pad or game: every line must say what to do, and none may be a traceback."""
    assert doctor.main([]) == 2
    shown = capsys.readouterr().out
    assert "FIX          display" in shown
    assert "DISPLAY is not set" in shown
    assert "Not ready to record" in shown
    for line, following in zip(shown.splitlines(), shown.splitlines()[1:], strict=False):
        if line.startswith(("FIX", "for ")):
            assert following.strip().startswith("→ "), f"no remedy under: {line}"


def test_json_has_the_same_findings_for_programs(no_display: None, capsys: pytest.CaptureFixture[str]) -> None:
    """Set-up scripts and bug reports rely on these keys; a library's greeting in between would break them."""
    assert doctor.main(["--json"]) == 2
    text = capsys.readouterr().out
    answer = json.loads(text)
    assert set(answer) == {"ready", "findings"}
    assert answer["ready"] is False
    for finding in answer["findings"]:
        assert set(finding) == {"name", "ok", "detail", "remedy", "needed_for"}
        assert finding["needed_for"] in NEEDS
        assert finding["ok"] or finding["remedy"]
    assert {"display", "gamepad", "disk", "virtual pad", "anti-cheat", "torch", "arena"} <= set(by_name(text))


@pytest.mark.skipif(has_uinput(), reason="this machine has a usable /dev/uinput, so nothing is missing")
def test_without_uinput_the_exact_rule_is_printed(no_display: None, capsys: pytest.CaptureFixture[str]) -> None:
    """eval.py sends people here for the rule; it has to be complete enough to copy."""
    doctor.main(["--json"])
    finding = by_name(capsys.readouterr().out)["virtual pad"]
    assert finding["ok"] is False
    assert finding["needed_for"] == "drive"
    assert "sudo modprobe uinput" in finding["remedy"]
    assert UDEV_RULE in finding["remedy"]


@pytest.mark.x11
def test_a_display_without_the_game_lists_what_is_open(x_display: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The usual mistake is a window title that differs from the pattern: the titles have to be seen."""
    with subprocess.Popen(["xev", "-name", "Some Other Game"], stdout=subprocess.DEVNULL) as other:
        await_managed("Some Other Game")
        doctor.main(["--json"])
        other.terminate()
    found = by_name(capsys.readouterr().out)
    assert found["display"]["ok"]
    assert x_display in found["display"]["detail"]
    assert "'Some Other Game'" in found["window"]["detail"]
    assert "python -m rl_utils.arena" in found["window"]["remedy"]
    assert "capture" not in found


@pytest.mark.x11
def test_a_window_is_measured(x_display: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Whether capture is fast enough for 30 fps is the question people come with."""
    with subprocess.Popen(["xev", "-name", "Rocket League", "-geometry", "640x360"], stdout=subprocess.DEVNULL) as game:
        await_managed("Rocket League")
        doctor.main(["--json"])
        game.terminate()
    found = by_name(capsys.readouterr().out)
    assert "640x360" in found["window"]["detail"]
    assert found["capture"]["ok"], found["capture"]
    assert "ms a frame by" in found["capture"]["detail"]


def test_a_missing_arena_names_the_command_of_a_clone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The project is not on PyPI: by its name pip would fetch a stranger's package, or none."""
    monkeypatch.setitem(sys.modules, "RocketSim", None)
    assert "pip install -e '.[arena]' in the clone" in doctor.check_arena().remedy


def test_a_full_disk_is_noticed(tmp_path: Path) -> None:
    """Recording until the disk is full loses the end of a session."""
    finding = doctor.check_disk(tmp_path)
    free_gb = os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize / 1e9
    assert f"{free_gb:.0f}" in finding.detail or abs(free_gb - float(finding.detail.split()[0])) < 1
    assert finding.ok is (free_gb >= doctor.ENOUGH_DISK_GB)


def test_it_runs_as_a_module() -> None:
    """The command that every error message names must exist as written."""
    command = [sys.executable, "-m", "rl_utils.doctor", "--window", "("]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no regular expression" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.uinput
def test_real_pads_are_found(no_display: None, capsys: pytest.CaptureFixture[str]) -> None:
    """With a pad plugged in, the doctor says which one is taken, how it is read, and how to avoid split screen."""
    from tests import pads

    plugged = [pads.make_dualsense(), pads.make_touchpad(), pads.make_xpad()]
    try:
        assert doctor.main(["--json"]) == 2, "the display is still missing"
        found = by_name(capsys.readouterr().out)
    finally:
        for pad in plugged:
            pad.close()
    assert found["gamepad"]["ok"]
    assert "DualSense" in found["gamepad"]["detail"]
    assert "read as playstation" in found["gamepad"]["detail"]
    assert "Xbox 360 Wired Controller" in found["gamepad"]["detail"]
    assert "a touchpad" in found["not gamepads"]["detail"]
    assert "SDL_GAMECONTROLLER_IGNORE_DEVICES=0x054c/0x0ce6" in found["two pads"]["remedy"]
    assert found["virtual pad"]["ok"]
