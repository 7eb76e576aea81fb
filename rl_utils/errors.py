"""What a person can fix is a UserError; everything else is our bug and keeps its traceback."""

from __future__ import annotations

import errno
import functools
import io
import os
import select
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, TextIO

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
    """Make a script's `main` print a UserError as one line on stderr and return 2, and end quietly under `| head`."""

    @functools.wraps(main)
    def wrapped(argv: Sequence[str] | None = None) -> int:
        try:
            try:
                code = _one_line(main, argv)
            except SystemExit:  # --help
                sys.stdout.flush()
                raise
            sys.stdout.flush()  # here, and not when the interpreter ends, where it could only complain
        except BrokenPipeError:
            if not silence_unread():
                raise
            return 0
        return code

    return wrapped


def _one_line(main: Main, argv: Sequence[str] | None) -> int:
    try:
        return main(argv)
    except UserError as error:
        line = " ".join(str(error).split())
        write_out(f"{_program(main)}: {line}\n", sys.stderr)
        return EXIT_USER
    except KeyboardInterrupt:  # where no loop takes it as a normal way to stop: nothing is under way that could be lost
        write_out(f"{_program(main)}: stopped.\n", sys.stderr)
        return EXIT_INTERRUPTED


def write_out(text: str, stream: TextIO, *, flush: bool = True) -> None:
    """Write to `stream`; where that is a terminal which has been closed, to nowhere from now on.

    A closed terminal is a normal way to stop: what comes after it has to be done also where it can no longer be said.
    """
    try:
        stream.write(text)
        if flush:
            stream.flush()
    except OSError as error:
        if error.errno != errno.EIO or not silence_unread():
            raise


def silence_unread() -> bool:
    """Send output that nobody reads any more to nowhere; whether there is any."""
    found = False
    for stream in (sys.stdout, sys.stderr):
        try:
            descriptor = stream.fileno()
        except io.UnsupportedOperation:
            continue
        poll = select.poll()
        # A pipe without a reader, and a terminal that is closed, are reported in any case, as POLLERR.
        poll.register(descriptor, 0)
        if poll.poll(0):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, descriptor)
            os.close(nowhere)
            found = True
    return found


def _program(main: Main) -> str:
    # The function's module names the script also when main() is called from a test.
    file = Path(sys.modules[main.__module__].__file__ or sys.argv[0])
    if file.parent.name not in ("rl_utils", "arena"):
        return file.name
    return "arena" if file.parent.name == "arena" else file.stem
