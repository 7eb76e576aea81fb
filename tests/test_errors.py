"""User errors end in one line and exit code 2; our own bugs keep their traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

import pytest

from rl_utils.errors import UserError, user_errors
from tests.conftest import ROOT


def test_user_error_is_one_line_with_the_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    """A traceback would hide what the person can do."""

    @user_errors
    def main(argv: Sequence[str] | None = None) -> int:
        raise UserError("The pad is\ngone", "Plug it in")

    assert main([]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "test_errors.py: The pad is gone. Plug it in.\n"


def test_bugs_are_not_hidden() -> None:
    """Swallowing our own mistakes would make them impossible to report."""

    @user_errors
    def main(argv: Sequence[str] | None = None) -> int:
        raise KeyError("x")

    with pytest.raises(KeyError):
        main([])


def test_result_is_passed_through() -> None:
    """Exit codes of a script must reach the shell."""

    @user_errors
    def main(argv: Sequence[str] | None = None) -> int:
        return 130

    assert main(None) == 130


TALKATIVE = """
import sys
from rl_utils.errors import UserError, user_errors

@user_errors
def main(argv=None):
    for _ in range({lines}):
        print("a line of a long list")
    {ending}

sys.exit(main())
"""


@pytest.mark.parametrize("lines", [10, 100_000])
@pytest.mark.parametrize("ending", ["return 0", "sys.exit(0)"])
def test_a_reader_that_has_seen_enough_ends_the_script_quietly(lines: int, ending: str) -> None:
    """`playback.py DIR --info | head` must not end in a traceback, however little or much was left to print."""
    script = TALKATIVE.format(lines=lines, ending=ending)
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as unread:
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=ROOT, stdout=unread, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_broken_pipe_of_our_own_is_a_bug() -> None:
    """A lost connection to another process of ours must not pass for a reader who has seen enough."""

    @user_errors
    def main(argv: Sequence[str] | None = None) -> int:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        main([])
