"""User errors end in one line and exit code 2; our own bugs keep their traceback."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from rl_utils.errors import UserError, user_errors


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
