"""The two guests: which of them is prepared, and the command that starts it. `prepare.sh` makes them.

User Mode Linux is one ordinary process at nearly the machine's speed; Debian's own kernel in QEMU takes its place where
it does not run, at a twentieth of the speed unless KVM works. `RLAI_VM=uml` or `RLAI_VM=qemu` asks for one of them.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
QEMU_RECIPE = ("prepare-qemu.sh", "boot-qemu.sh", "initramfs-init.sh")


@dataclass(frozen=True)
class Guest:
    """A guest that is ready to be started.

    Attributes:
        kind: "uml" or "qemu".
        cache: What prepare.sh has filled.
        accelerator: QEMU's "kvm" or "tcg" (emulation); empty for User Mode Linux.
    """

    kind: str
    cache: Path
    accelerator: str = ""

    @property
    def name(self) -> str:
        """For messages."""
        return f"QEMU ({self.accelerator})" if self.kind == "qemu" else "User Mode Linux"

    @property
    def is_emulated(self) -> bool:
        """Whether every instruction is translated: what computes much takes twenty times as long there, or longer."""
        return self.accelerator == "tcg"

    def command(self, share: Path, *, memory: str, words: Sequence[str]) -> list[str]:
        """What starts it; it ends when the guest does.

        Args:
            share: The one folder that the guest can write to.
            memory: The guest's memory, such as "1536M".
            words: Further words on the kernel's command line.
        """
        if self.kind == "qemu":
            return ["sh", str(HERE / "boot-qemu.sh"), self.accelerator, str(self.cache), str(share), memory, *words]
        kernel = [str(self.cache / "linux"), f"mem={memory}", "rootfstype=hostfs", "rootflags=/", "ro"]
        kernel += [f"init={HERE / 'guest-init.sh'}", f"uml_dir={share}", "umid=guest", "con=null", "con0=null,fd:1"]
        return [*kernel, "quiet", "panic=-1", f"VM_CACHE={self.cache}", f"VM_SHARE={share}", *words]


def prepared_guest(cache: Path) -> Guest | None:
    """The guest that prepare.sh has made there by its present recipe; None without one.

    Raises:
        ValueError: RLAI_VM is neither "uml" nor "qemu" nor empty.
    """
    wanted = os.environ.get("RLAI_VM", "")
    if wanted not in ("", "uml", "qemu"):
        raise ValueError(f"RLAI_VM={wanted} is neither uml nor qemu")
    cache = cache.resolve()
    if wanted != "qemu" and (cache / "linux").exists() and _is_made_of(cache / "ok", "kernel.config"):
        return Guest("uml", cache)
    if wanted != "uml" and shutil.which("qemu-system-x86_64") and _is_made_of(cache / "qemu" / "ok", *QEMU_RECIPE):
        accelerator = (cache / "qemu" / "ok").read_text().splitlines()[1]
        return Guest("qemu", cache, accelerator if os.access("/dev/kvm", os.W_OK) else "tcg")
    return None


def _is_made_of(ok: Path, *files: str) -> bool:
    recipe = hashlib.sha256(b"".join((HERE / file).read_bytes() for file in files)).hexdigest()
    return ok.exists() and recipe in ok.read_text()
