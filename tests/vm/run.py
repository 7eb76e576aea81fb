"""Run a command in a guest kernel that sees this machine's files (copy on write) and has /dev/uinput.

    python tests/vm/run.py pytest -m uinput

The guest is one ordinary process: no root, no KVM. It has one CPU (`guests.py`). `prepare.sh` comes first.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(CHECKOUT))  # as a script it is run from its own folder

from tests.vm.guests import prepared_guest  # noqa: E402  # found by the line above

PREPARE = CHECKOUT / "tests" / "vm" / "prepare.sh"
CACHE = CHECKOUT / ".cache" / "vm"
NOT_BOOTED = 125
TIMED_OUT = 124


def is_prepared(cache: Path = CACHE) -> bool:
    """Whether prepare.sh has made a guest there, by its present recipe."""
    return prepared_guest(cache) is not None


def run(
    command: Sequence[str],
    *,
    cache: Path = CACHE,
    cwd: Path = CHECKOUT,
    memory: str = "",
    timeout_s: float = 600,
    boot_words: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    show: Callable[[str], object] = sys.stdout.write,
) -> int:
    """Boot, run `command` in `cwd`, power off.

    Args:
        command: Program and arguments; a bare name is looked for in this Python's folder first.
        cache: What prepare.sh has filled.
        cwd: Working folder of the command.
        memory: The guest's memory; by default 1.5 GB, and 3 GB in QEMU.
        timeout_s: After this long the guest is ended.
        boot_words: Further words on the kernel's command line.
        environment: Variables to set for the command.
        show: Gets the output while it appears.

    Returns:
        The command's exit status; 125 when the guest did not get so far 124 after `timeout_s`; its
        console is shown then.
    """
    guest = prepared_guest(cache)
    assert guest is not None, f"{PREPARE} comes first"
    share = Path(tempfile.mkdtemp(prefix="rlai-vm-"))
    try:
        exports = "".join(f"export {key}={shlex.quote(value)}\n" for key, value in (environment or {}).items())
        tools = f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH\n"
        (share / "command.sh").write_text(f"{tools}{exports}cd {shlex.quote(str(cwd))} && {shlex.join(command)}\n")
        memory = memory or ("3072M" if guest.kind == "qemu" else "1536M")
        starting = guest.command(share, memory=memory, words=boot_words)
        timed_out = _boot(starting, share, timeout_s=timeout_s, show=show)
        if timed_out:
            show((share / "console.txt").read_text(errors="replace"))  # a kernel that has crashed says so there
            show(f"[the guest was ended after {timeout_s:g} s]\n")
            return TIMED_OUT
        if not (share / "exit").exists():
            show((share / "console.txt").read_text(errors="replace"))
            return NOT_BOOTED
        return int((share / "exit").read_text())
    finally:
        shutil.rmtree(share, ignore_errors=True)


def _boot(command: Sequence[str], share: Path, *, timeout_s: float, show: Callable[[str], object]) -> bool:
    """Run the guest to its end; whether it had to be ended."""
    # User Mode Linux's memory is a file in TMPDIR, so it must be where there is room and execution is allowed.
    ended = threading.Event()
    with (share / "console.txt").open("wb") as console:
        guest = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT, start_new_session=True
        )
    follower = threading.Thread(target=_follow, args=(share / "output.txt", ended, show))
    follower.start()
    try:
        guest.wait(timeout_s)
    except subprocess.TimeoutExpired:
        return True
    finally:
        _end(guest)
        ended.set()
        follower.join()
    return False


def _end(guest: subprocess.Popen[bytes]) -> None:
    if guest.poll() is not None:
        return
    guest.terminate()  # on SIGTERM both kinds of guest end all that belongs to them
    try:
        guest.wait(5)
    except subprocess.TimeoutExpired:
        os.killpg(guest.pid, signal.SIGKILL)
        guest.wait()


def _follow(file: Path, ended: threading.Event, show: Callable[[str], object]) -> None:
    """Show what is appended to `file` until `ended`, then the rest."""
    position = 0
    while True:
        last = ended.wait(0.1)
        if file.exists():
            with file.open(errors="replace") as stream:
                stream.seek(position)
                show(stream.read())
                position = stream.tell()
        if last:
            return


def main() -> int:
    """Parse options and run."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cache", type=Path, default=CACHE, help="what prepare.sh has filled")
    parser.add_argument("--timeout", type=float, default=600, help="seconds")
    parser.add_argument("--memory", default="", help="by default 1536M, in QEMU 3072M")
    parser.add_argument("--boot-words", default="", help="further words on the kernel's command line")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    try:
        guest = prepared_guest(options.cache)
    except ValueError as error:
        sys.stderr.write(f"run.py: {error}\n")
        return 2
    if guest is None:
        sys.stderr.write(f"run.py: {options.cache} holds no guest. Run {PREPARE} first.\n")
        return 2
    began = time.monotonic()
    status = run(
        options.command,
        cache=options.cache,
        cwd=Path.cwd(),
        memory=options.memory,
        timeout_s=options.timeout,
        boot_words=options.boot_words.split(),
    )
    sys.stderr.write(f"[{guest.name}: exit {status} after {time.monotonic() - began:.1f} s]\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
