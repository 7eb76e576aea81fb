"""What a measurement ran on, in words for a table: processor, cores and GPU, and no name of the machine."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

GPU_PROBE: Final = "import torch; print(torch.cuda.get_device_name() if torch.cuda.is_available() else '')"


@dataclass(frozen=True)
class Hardware:
    """What computes here.

    Attributes:
        cpu: Model of the processor.
        cores: That this process may use.
        gpu: Model of the GPU that torch would use, "" without one.
    """

    cpu: str
    cores: int
    gpu: str

    def __str__(self) -> str:
        cores = f"{self.cores} core{'s' if self.cores != 1 else ''} of {self.cpu}"
        return f"{cores}, {self.gpu}" if self.gpu else f"{cores}, no GPU"


def hardware() -> Hardware:
    """Look at this machine. Torch is asked in a process of its own, where it takes and leaves its share of the GPU."""
    asked = subprocess.run([sys.executable, "-c", GPU_PROBE], capture_output=True, text=True, check=False)
    gpu = asked.stdout.strip() if asked.returncode == 0 else ""
    return Hardware(_cpu_model(Path("/proc/cpuinfo")), len(os.sched_getaffinity(0)), gpu)


def _cpu_model(file: Path) -> str:
    for line in file.read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("model name", "Model", "Hardware"):
            return " ".join(value.replace("(R)", "").replace("(TM)", "").split())
    return "an unnamed processor"
