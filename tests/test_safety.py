"""Where the bot may play, and how a person stops it."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rl_utils.errors import UserError
from rl_utils.safety import (
    config_folder,
    require_no_anti_cheat,
    require_offline_promise,
    running_anti_cheat,
)


@pytest.fixture
def anti_cheat(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A real process named as the game's anti-cheat build."""
    program = tmp_path / "RocketLeague_EAC.exe"
    shutil.copy("/bin/sleep", program)
    process = subprocess.Popen([str(program), "600"])
    deadline = time.monotonic() + 60
    while not Path(f"/proc/{process.pid}/comm").read_text().startswith("RocketLeague"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    yield process
    process.kill()
    process.wait()


def test_driving_is_refused_while_the_anti_cheat_build_runs(anti_cheat: subprocess.Popen[bytes]) -> None:
    """A bot seen by Easy Anti-Cheat costs the account; the message has to say how to start the game without."""
    assert any(f"pid {anti_cheat.pid}" in name for name in running_anti_cheat())
    with pytest.raises(UserError, match=r"rocketleague_eac\.exe") as error:
        require_no_anti_cheat()
    assert "-noeac" in error.value.remedy


def test_wine_hides_the_name_only_in_one_place(tmp_path: Path) -> None:
    """Under Proton either the name or the command line may be a wrapper's: each alone must be enough."""
    for pid, comm, cmdline in (
        (10, "RocketLeague_EA", b"wine64-preloader\0game\0"),
        (11, "wine64-preloade", b"S:\\rocketleague\\Binaries\\Win64\\RocketLeague_EAC.exe\0-nomovie\0"),
        (12, "RocketLeague.ex", b"S:\\rocketleague\\Binaries\\Win64\\RocketLeague.exe\0-noeac\0"),
        (13, "kworker/0:1", b""),
    ):
        folder = tmp_path / str(pid)
        folder.mkdir()
        (folder / "comm").write_text(comm + "\n")
        (folder / "cmdline").write_bytes(cmdline)
    (tmp_path / "14").mkdir()  # ended while we looked
    (tmp_path / "self").mkdir()
    assert [name.split("pid ")[1] for name in running_anti_cheat(tmp_path)] == ["10)", "11)"]


def test_without_the_anti_cheat_driving_is_allowed(tmp_path: Path) -> None:
    """The game started with -noeac is what the tool is for."""
    require_no_anti_cheat(tmp_path)


def test_a_machine_that_hides_its_processes_is_no_proof(tmp_path: Path) -> None:
    """Where nothing can be seen, nothing may be assumed."""
    with pytest.raises(UserError, match="cannot be read"):
        require_no_anti_cheat(tmp_path / "proc")


ASK = "from rl_utils.safety import require_offline_promise as ask; ask(); print('asked and answered')"


def answer(text: bytes) -> str:
    """Run the question on a real terminal, type `text`, return what was shown."""
    main, side = pty.openpty()
    process = subprocess.Popen([sys.executable, "-c", ASK], stdin=side, stdout=side, stderr=side)
    os.close(side)
    os.write(main, text)
    shown = b""
    while True:
        try:
            part = os.read(main, 4096)
        except OSError:  # EIO: the other side is closed
            break
        if not part:
            break
        shown += part
    os.close(main)
    process.wait()
    return shown.decode()


def test_the_promise_is_asked_for_once(own_config_folder: Path) -> None:
    """Asked every time it would be typed blindly; never asked it would not be known."""
    shown = answer(b"offline\n")
    assert "offline modes only" in shown
    assert "asked and answered" in shown
    assert config_folder() == own_config_folder / "rlai"
    assert list(config_folder().iterdir())
    again = answer(b"")
    assert "asked and answered" in again
    assert "Type" not in again


def test_anything_but_the_word_is_a_no(own_config_folder: Path) -> None:
    """Enter pressed in a hurry is no promise."""
    shown = answer(b"\n")
    assert "does not drive" in shown
    assert "asked and answered" not in shown
    assert not config_folder().exists()


def test_without_a_terminal_the_option_is_named() -> None:
    """A script must not hang at a question that nobody sees."""
    done = subprocess.run(
        [sys.executable, "-c", ASK], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert "--yes-offline" in done.stderr
    assert "asked and answered" not in done.stdout


def test_the_option_is_enough_but_is_not_remembered() -> None:
    """A script's option must not answer for the person the next time."""
    require_offline_promise(given=True)
    assert not config_folder().exists()
