"""Paths that cannot be read or written: refused in one line, before the work and before anything heavy is loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rl_utils.errors import UserError
from rl_utils.paths import is_there, require_checkpoint, require_data, require_folder, require_writable
from tests.conftest import ROOT, without_root

TOO_LONG = "x" * 300


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a file and a folder that only root may look into; paths in the tests are relative to it."""
    tmp_path.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("kept")
    (tmp_path / "locked").mkdir(mode=0o000)
    return tmp_path


def test_what_can_be_written_is_let_through_and_left_as_it_was(here: Path) -> None:
    """A check that leaves files behind, or empties one, would be worse than none."""
    require_folder(here / "new" / "deep", "--out")
    require_folder(here, "--out")
    require_writable(here / "report.json", "--report")
    require_writable(here / "file", "--report")
    require_checkpoint(here / "file")
    require_data(here)
    assert sorted(path.name for path in here.iterdir()) == ["file", "locked"]
    assert (here / "file").read_text() == "kept"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("file", "Not a directory"),
        ("file/deeper", "Not a directory"),
        ("locked", "Permission denied"),
        ("locked/deeper", "Permission denied"),
        (".", "Permission denied"),
        (TOO_LONG, "File name too long"),
    ],
)
def test_a_folder_to_write_to_is_refused_with_the_reason(here: Path, path: str, reason: str) -> None:
    """The person learns which option names it and why it will not do, not where the program was."""
    with pytest.raises(UserError, match=rf"\({reason}\).*with --record") as caught, without_root():
        require_folder(Path(path), "--record")
    assert caught.value.problem.startswith(path)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (".", "Is a directory"),
        ("missing/report.json", "No such file or directory"),
        ("file/report.json", "Not a directory"),
        ("locked/report.json", "Permission denied"),
        ("report.json", "Permission denied"),
        (TOO_LONG, "File name too long"),
    ],
)
def test_a_file_to_write_is_refused_with_the_reason(here: Path, path: str, reason: str) -> None:
    """Found out after ten minutes of driving, the summary of the drive is lost."""
    with pytest.raises(UserError, match=rf"\({reason}\).*with --report"), without_root():
        require_writable(Path(path), "--report")


def test_what_cannot_be_looked_at_is_not_taken_for_missing(here: Path) -> None:
    """Who reads that a file does not exist looks for it elsewhere."""
    assert is_there(Path("file"))
    assert not is_there(Path("file/deeper"))
    with without_root():
        for path in ("locked/a_batch.h5", TOO_LONG):
            with pytest.raises(UserError, match=r"cannot be read \((Permission denied|File name too long)\)"):
                require_data(Path(path))
        with pytest.raises(UserError, match=r"cannot be read \(Permission denied\).*best\.pt"):
            require_checkpoint(Path("locked/best.pt"))


@pytest.mark.parametrize(
    "words",
    [
        "train nope --out run",
        "train . --out run --init nope",
        "eval --checkpoint nope",
        "rl_utils.arena.score --checkpoint nope",
    ],
)
def test_a_missing_file_is_said_before_torch_is_loaded(words: str, tmp_path: Path) -> None:
    """A slip of the keyboard should be answered at once; loading torch takes seconds."""
    probe = (
        "import importlib, sys\n"
        "code = importlib.import_module(sys.argv[1]).main(sys.argv[2:])\n"
        "assert 'torch' not in sys.modules\n"
        "sys.exit(code)\n"
    )
    command = [sys.executable, "-c", probe, *words.split()]
    done = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert ": nope " in done.stderr
    assert not (tmp_path / "run").exists()
