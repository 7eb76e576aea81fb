"""Long work as steps that are done once: commands of this project with what they cost, noted in a folder.

A step is one command that a person could type. When it has ended well, a small JSON file says so; what was
interrupted has none and is done again, or goes on where it can: then what it took before counts, too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from rl_utils.console import log
from rl_utils.errors import EXIT_INTERRUPTED, UserError

ROOT: Final = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Step:
    """One command.

    Attributes:
        name: Of the file that says it is done.
        words: The command after `python`; paths are absolute or relative to the checkout.
        goes_on: Whether the command goes on where it was interrupted.
    """

    name: str
    words: tuple[str | Path, ...]
    goes_on: bool = False

    def __str__(self) -> str:
        return " ".join(["python", *(shown(word) for word in self.words)])


@dataclass(frozen=True)
class Cost:
    """What a step took.

    Attributes:
        cpu_s: Seconds of all cores, with the processes that it started.
        wall_s: Seconds by the clock.
    """

    cpu_s: float
    wall_s: float

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.cpu_s + other.cpu_s, self.wall_s + other.wall_s)


class Steps:
    """Runs steps, prints them as it goes, and remembers those that are done.

    Args:
        folder: Receives a file per finished step; made where missing.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._began = time.monotonic()

    def done(self, name: str) -> bool:
        """Whether this step has been done."""
        return self._file(name).exists()

    def cost(self, name: str) -> Cost:
        """What a finished step took."""
        note = json.loads(self._file(name).read_text())
        return Cost(note["cpu_s"], note["wall_s"])

    def facts(self, name: str) -> Mapping[str, Any]:
        """What was noted about a finished step."""
        facts: Mapping[str, Any] = json.loads(self._file(name).read_text())["facts"]
        return facts

    def run(self, *steps: Step) -> list[Cost]:
        """Run steps side by side, and say what each took, interrupted attempts that it goes on from included.

        `note` makes them count as done.

        Raises:
            UserError: One of them did not end well; the others are stopped.
        """
        children: list[tuple[Step, float, subprocess.Popen[bytes]]] = []
        costs: list[Cost] = []
        try:
            for step in steps:
                minutes, seconds = divmod(int(time.monotonic() - self._began), 60)
                log(f"[{minutes}:{seconds:02d}] $ {step}")
                # Results of the steps go where their progress goes: stdout is for the scoreboard.
                words = [sys.executable, *map(str, step.words)]
                children.append((step, time.monotonic(), subprocess.Popen(words, cwd=ROOT, stdout=2)))
            for step, began, child in children:
                cost = self._before(step) + _waited(began, child)
                costs.append(cost)
                self._keep(self._so_far(step), step, cost)
                _check(step, child.returncode)
            return costs
        finally:
            for step, began, child in children[len(costs) :]:
                with suppress(ProcessLookupError):
                    child.terminate()
                self._keep(self._so_far(step), step, self._before(step) + _waited(began, child))

    def _before(self, step: Step) -> Cost:
        """What interrupted attempts took that this one goes on from."""
        file = self._so_far(step)
        if not step.goes_on or not file.exists():
            return Cost(0, 0)
        note = json.loads(file.read_text())
        return Cost(note["cpu_s"], note["wall_s"])

    def _so_far(self, step: Step) -> Path:
        return self._folder / f"{step.name}.so-far"

    def note(self, step: Step, cost: Cost, **facts: object) -> None:
        """Remember that a step is done."""
        self._keep(self._file(step.name), step, cost, **facts)
        self._so_far(step).unlink(missing_ok=True)

    def _keep(self, file: Path, step: Step, cost: Cost, **facts: object) -> None:
        note = {"command": str(step), **asdict(cost), "facts": facts}
        part = file.with_suffix(".part")
        part.write_text(json.dumps(note, indent=1) + "\n")
        part.replace(file)

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.json"


def shown(word: str | Path) -> str:
    """A word of a command as a person at the checkout's root would type it."""
    text = str(word)
    return os.path.relpath(text, ROOT) if text.startswith(f"{ROOT}{os.sep}") else text


def _waited(began: float, child: subprocess.Popen[bytes]) -> Cost:
    _, status, usage = os.wait4(child.pid, 0)  # unlike Popen's own wait it tells what the process used
    child.returncode = os.waitstatus_to_exitcode(status)
    return Cost(usage.ru_utime + usage.ru_stime, time.monotonic() - began)


def _check(step: Step, code: int) -> None:
    if code == EXIT_INTERRUPTED:
        raise KeyboardInterrupt
    if code != 0:
        raise UserError(
            f"{shown(step.words[0])} ended with {code} ({step.name})",
            "Its message is above; the same command with --resume goes on from there",
        )
