"""What a person can fix is a UserError; everything else is our bug and keeps its traceback."""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

EXIT_USER = 2
EXIT_INTERRUPTED = 130


class UserError(Exception):
    """Something the person at the keyboard can put right.

    Args:
        problem: What is wrong, in one sentence without the full stop.
        remedy: What to do about it, in one sentence without the full stop.
    """

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}. {remedy}.")
        self.problem = problem
        self.remedy = remedy

    def __reduce__(self) -> tuple[type[UserError], tuple[str, str]]:
        # Travels between processes; the default would call the constructor with the finished sentence alone.
        return type(self), (self.problem, self.remedy)


class Main(Protocol):
    """A script's `main`: the command line in (by default that of the process), the exit code out."""

    def __call__(self, argv: Sequence[str] | None = None) -> int:
        """Run the script."""


def user_errors(main: Main) -> Main:
    """Make a script's `main` print a UserError as one line on stderr and return 2."""

    @functools.wraps(main)
    def wrapped(argv: Sequence[str] | None = None) -> int:
        try:
            return main(argv)
        except UserError as error:
            line = " ".join(str(error).split())
            sys.stderr.write(f"{_program(main)}: {line}\n")
            return EXIT_USER

    return wrapped


def _program(main: Main) -> str:
    # The function's module names the script also when main() is called from a test.
    file = Path(sys.modules[main.__module__].__file__ or sys.argv[0])
    if file.parent.name not in ("rl_utils", "arena"):
        return file.name
    return "arena" if file.parent.name == "arena" else file.stem
