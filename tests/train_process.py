"""One process of a run that torchrun starts: `torchrun ... tests/train_process.py DATA OUT`, for test_workers.

It is train.py with nothing left to chance that differs between one process and two: no dropout.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


def main(argv: Sequence[str]) -> int:
    from rl_utils import trainer

    build = trainer.build_network

    def without_dropout(*arguments: object) -> nn.Module:
        network: nn.Module = build(*arguments)  # type: ignore[arg-type]
        for module in network.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        return network

    trainer.build_network = without_dropout  # type: ignore[assignment]
    import train

    return train.main(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
