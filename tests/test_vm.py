"""The tests marked `uinput` and `drivers`, run in a guest kernel that has what they need, where this one has not."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.conftest import VM_REQUIRED, guest_marks
from tests.vm.guests import Guest, prepared_guest
from tests.vm.run import CACHE, CHECKOUT, NOT_BOOTED, run

TOO_FAST = "real_time"
"""Marks what an emulated processor is too slow for; RLAI_VM_ALL=1 tries it all the same."""

LIMIT_S = 3600
"""All tests took 13.5 minutes in an emulated guest beside other work (load 3 to 4, measured); in the other 2 to 4."""

FAILURES = 5
"""After as many the guest ends and says why: one device left behind fails everything after it, at a minute each."""

NOT_PREPARED = f"no guest kernel in {CACHE}: run tests/vm/prepare.sh (needs Debian)"


@pytest.fixture
def guest() -> Guest:
    """Skips where there is no guest, or fails where CI asks for it."""
    if not guest_marks():
        pytest.skip("this machine's own kernel has uinput, uhid and vhci_hcd: the tests run directly")
    guest = prepared_guest(CACHE)
    if guest is None:
        if VM_REQUIRED:
            pytest.fail(f"RLAI_REQUIRE_VM=1, but there is {NOT_PREPARED}")
        pytest.skip(NOT_PREPARED)
    return guest


def in_guest(guest: Guest, *command: str) -> tuple[int, str]:
    """Exit status and output of a command in the guest."""
    output: list[str] = []
    status = run(command, timeout_s=LIMIT_S, show=output.append)
    text = "".join(output)
    if status == NOT_BOOTED:
        why = f"{guest.name} does not boot here (tests/vm/README.md):\n{text[-2000:]}"
        if VM_REQUIRED:
            pytest.fail(why)
        pytest.skip(why)
    return status, text


def test_the_guest_hands_back_exit_status_and_output(guest: Guest) -> None:
    """A failure inside that looked like success outside would hide every broken pad test."""
    status, text = in_guest(guest, "sh", "-c", "echo to be seen; test -c /dev/uinput && exit 7")
    assert status == 7
    assert "to be seen" in text


def test_the_guest_leaves_this_machines_files_alone(guest: Guest) -> None:
    """The guest sees the checkout; what tests write there must not reach it."""
    witness = CHECKOUT / "written-by-the-guest"
    status, _ = in_guest(guest, "touch", str(witness))
    assert status == 0
    assert not witness.exists()


@pytest.mark.timeout(LIMIT_S + 100)
def test_gamepads_on_a_real_kernel(guest: Guest, capsys: pytest.CaptureFixture[str]) -> None:
    """Reader and virtual pad are only worth something if they work against the kernel that games talk to."""
    # Only those files: collecting all tests loads torch, which takes a minute in the guest.
    marks = guest_marks()
    tests = {file: file.read_text() for file in sorted(Path(__file__).parent.glob("test_*.py"))}
    files = [file for file, text in tests.items() if any(f"pytest.mark.{mark}" in text for mark in marks)]
    options = ["-m", " or ".join(marks), "-p", "no:cacheprovider", "-q", "--color=no", f"--maxfail={FAILURES}"]
    left_out: list[Path] = []
    if guest.is_emulated:
        options += ["-o", f"timeout={LIMIT_S}"]
        if not os.environ.get("RLAI_VM_ALL"):
            left_out = [file for file in files if f"pytest.mark.{TOO_FAST}" in tests[file]]
    run_files = [str(file) for file in files if file not in left_out]
    status, text = in_guest(guest, "python", "-m", "pytest", *run_files, *options)
    closing = re.findall(r"^\d+ (?:passed|failed|error).*$", text, re.MULTILINE)
    with capsys.disabled():
        print(f"\n  in {guest.name}: {closing[-1] if closing else 'no result'}")
        if left_out:
            names = ", ".join(file.name for file in left_out)
            print(f"  left out, too fast for an emulated processor: {names} (RLAI_VM_ALL=1 tries them)")
    assert status == 0, text
    assert "skipped" not in closing[-1], text
