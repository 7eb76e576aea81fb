"""The README is what a stranger goes by: every file is in it, and its commands are understood."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest

from rl_utils.config import (
    ArenaConfig,
    CollectConfig,
    DoctorConfig,
    EvalConfig,
    PlaybackConfig,
    ScoreboardConfig,
    ScoreConfig,
    TrainConfig,
    parse_config,
)
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()
COMMANDS = [line.split("#")[0].strip(" &\n") for line in README.splitlines() if line.startswith("python ")]
KINDS = {
    "collect.py": CollectConfig,
    "train.py": TrainConfig,
    "eval.py": EvalConfig,
    "playback.py": PlaybackConfig,
    "-m rl_utils.doctor": DoctorConfig,
    "-m rl_utils.scoreboard": ScoreboardConfig,
    "-m rl_utils.arena score": ScoreConfig,
    "-m rl_utils.arena": ArenaConfig,
}


def test_every_module_is_listed() -> None:
    """A file that the list forgets cannot be found by reading."""
    listed = set(re.findall(r"`((?:rl_utils/|)[\w/]+\.py)`", README))
    there = {str(p.relative_to(ROOT)) for p in (ROOT / "rl_utils").rglob("*.py") if p.name != "__init__.py"}
    there |= {"collect.py", "train.py", "eval.py", "playback.py"}
    assert listed == there


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_understood(command: str) -> None:
    """A command that is copied from the README must not answer with an error about its options."""
    words = shlex.split(command)[1:]
    for start, kind in KINDS.items():
        head = start.split()
        if words[: len(head)] == head:
            parse_config(kind, words[len(head) :], prog="readme")
            return
    pytest.fail(f"{command} is none of our scripts")


def test_where_a_bot_may_drive_stands_near_the_top() -> None:
    """Somebody who reads only the beginning must know that online play is out of bounds, and costs the account."""
    top = " ".join(README.split("## ")[0].split())
    for words in ("For offline modes only", "zero tolerance", "-noeac", "There is no evasion here"):
        assert words in top


def test_there_are_commands() -> None:
    """The check above would prove nothing if it found no command."""
    assert len(COMMANDS) >= 10


def test_troubleshooting_quotes_what_is_said() -> None:
    """Somebody who searches for the line on the screen must find it in the table."""
    table = README.split("## Troubleshooting")[1].split("## ")[0]
    quoted = [
        q for row in table.splitlines() for q in re.findall(r"`([^`]+)`", row.split("|")[1] if "|" in row else "")
    ]
    assert len(quoted) >= 7
    files = [*(ROOT / "rl_utils").rglob("*.py"), *ROOT.glob("*.py")]
    source = re.sub(r'\{[^{}]*\}|"\s*\n\s*f?"', "", "".join(file.read_text() for file in files))
    for words in quoted:
        # The device and the verdict are filled in.
        fixed = words.removeprefix("/dev/uinput ").replace("Verdict: bad", "Verdict: ")
        assert fixed in source, words


def test_pictures_exist() -> None:
    """A broken picture is the first thing a visitor would see."""
    for path in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README):
        assert (ROOT / path).stat().st_size > 5_000, path


def test_the_code_for_rlgym_runs() -> None:
    """Who copies the example of an own observation builder must get an environment that runs, and see the ball."""
    section = README.split("## The arena in RLGym")[1].split("\n## ")[0]
    (code,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), names)  # it is what people paste
    assert names["obs"]["blue-0"].shape == (3,)
    assert len(names["rewards"]) == 900
    assert max(names["rewards"]) > 0.05, "it never touched the ball"
    for file in re.findall(r"\]\((docs/[^)]+)\)", README):
        assert (ROOT / file).exists(), file
