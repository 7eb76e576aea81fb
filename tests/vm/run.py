"""Run a command in a User Mode Linux guest that sees this machine's files (copy on write) and has /dev/uinput.

    python tests/vm/run.py pytest -m uinput

The guest is one ordinary process: no root, no KVM. It has one CPU at nearly full speed. `prepare.sh` comes first.
"""

from __future__ import annotations

import argparse
import hashlib
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

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parent.parent
CACHE = CHECKOUT / ".cache" / "vm"
NOT_BOOTED = 125
TIMED_OUT = 124


def is_prepared(cache: Path = CACHE) -> bool:
    """Whether prepare.sh has finished there, with the present kernel.config."""
    made_of = hashlib.sha256((HERE / "kernel.config").read_bytes()).hexdigest()
    return (cache / "linux").exists() and (cache / "ok").exists() and made_of in (cache / "ok").read_text()


def run(
    command: Sequence[str],
    *,
    cache: Path = CACHE,
    cwd: Path = CHECKOUT,
    memory: str = "1536M",
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
        memory: The guest's memory.
        timeout_s: After this long the guest is ended.
        boot_words: Further words on the kernel's command line.
        environment: Variables to set for the command.
        show: Gets the output while it appears.

    Returns:
        The command's exit status; 125 when the guest did not get so far (its console is shown), 124 after `timeout_s`.
    """
    share = Path(tempfile.mkdtemp(prefix="rlai-vm-"))
    try:
        exports = "".join(f"export {key}={shlex.quote(value)}\n" for key, value in (environment or {}).items())
        tools = f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH\n"
        (share / "command.sh").write_text(f"{tools}{exports}cd {shlex.quote(str(cwd))} && {shlex.join(command)}\n")
        timed_out = _boot(cache.resolve(), share, memory=memory, words=boot_words, timeout_s=timeout_s, show=show)
        if timed_out:
            show(f"[the guest was ended after {timeout_s:g} s]\n")
            return TIMED_OUT
        if not (share / "exit").exists():
            show((share / "console.txt").read_text(errors="replace"))
            return NOT_BOOTED
        return int((share / "exit").read_text())
    finally:
        shutil.rmtree(share, ignore_errors=True)


def _boot(
    cache: Path, share: Path, *, memory: str, words: Sequence[str], timeout_s: float, show: Callable[[str], object]
) -> bool:
    """Run the guest to its end; whether it had to be ended."""
    kernel = [str(cache / "linux"), f"mem={memory}", "rootfstype=hostfs", "rootflags=/", "ro"]
    kernel += [f"init={HERE / 'guest-init.sh'}", f"uml_dir={share}", "umid=guest", "con=null", "con0=null,fd:1"]
    kernel += ["quiet", "panic=-1", f"VM_CACHE={cache}", f"VM_SHARE={share}", *words]
    # The guest's memory is a file in TMPDIR, so it must be where there is room and execution is allowed.
    ended = threading.Event()
    with (share / "console.txt").open("wb") as console:
        guest = subprocess.Popen(
            kernel, stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT, start_new_session=True
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
    guest.terminate()  # on SIGTERM User Mode Linux ends all its processes itself
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
    parser.add_argument("--memory", default="1536M")
    parser.add_argument("--boot-words", default="", help="further words on the kernel's command line")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    if not is_prepared(options.cache):
        sys.stderr.write(f"run.py: {options.cache} holds no guest. Run {HERE / 'prepare.sh'} first.\n")
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
    sys.stderr.write(f"[guest: exit {status} after {time.monotonic() - began:.1f} s]\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
