"""A disk that fills up: a script runs on a file system of 64 MB of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

ON_A_SMALL_DISK = """
mount -t tmpfs -o size=64m tmpfs "$1" || exit 99
head -c 28000000 /dev/zero > "$1/of somebody else"
shift
"$@"
code=$?
cp -r "$OUT" "$COPY"
df --output=avail -B1 "$OUT" | tail -n 1 > "$COPY/free"
exit $code
"""
"""Run a command with a file system of 64 MB at $1, which nobody else sees and which goes when it ends."""


def run_on_a_small_disk(folder: Path, *words: str, option: str) -> tuple[subprocess.CompletedProcess[str], Path]:
    """Run one of the scripts with `option` naming a folder on a disk that is too small.

    Args:
        folder: Empty, for the disk and the copy.
        words: The script and its other options.
        option: The one that takes the folder.

    Returns:
        How it ended, and a copy of that folder with a file `free` that says how many bytes were left.
    """
    disk, copy = folder / "disk", folder / "copy"
    disk.mkdir()
    alone = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]
    done = subprocess.run(
        [*alone, "sh", "-c", ON_A_SMALL_DISK, "sh", str(disk), sys.executable, *words, option, str(disk / "r")],
        cwd=ROOT,
        env={**os.environ, "OUT": str(disk / "r"), "COPY": str(copy)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done, copy
