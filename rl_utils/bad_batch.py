"""The end of a run whose numbers are none any more: the moments behind it go into a file, and one line says so.

The article skipped such batches or put a constant in their place, and trained on for hours.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch

from rl_utils.batches import Batch
from rl_utils.checkpoint import write_whole
from rl_utils.errors import UserError


def give_up(folder: Path, rank: int, problem: str, batches: Sequence[Batch]) -> NoReturn:
    """Keep all that the network was shown and asked for, and say what is wrong.

    `bad_batch.pt` (`bad_batch-RANK.pt` of other processes than the first) holds every array of `Batch` under its name,
    those of several batches one after the other.

    Args:
        folder: The run.
        rank: Of this process.
        problem: What is wrong, and when.
        batches: What it came from, as far as this process knows.

    Raises:
        UserError: Always.
    """
    remedy = "Lower --lr, or look at the batch's targets; checkpoints written so far are sound"
    if not batches:
        raise UserError(f"{problem}; another process has the batch", remedy)
    file = folder / ("bad_batch.pt" if rank == 0 else f"bad_batch-{rank}.pt")
    names = [field.name for field in dataclasses.fields(Batch)]
    arrays = {name: np.concatenate([getattr(batch, name) for batch in batches]) for name in names}
    buffer = io.BytesIO()
    torch.save({name: torch.from_numpy(array) for name, array in arrays.items()}, buffer)
    write_whole(file, buffer.getbuffer())
    which = "the batch is" if len(batches) == 1 else f"the {len(batches)} batches of that step are"
    raise UserError(f"{problem}; {which} in {file}", remedy)


def loss_is(total: float, parts: Mapping[str, float]) -> str:
    """Say a loss that is no number, and where it has several parts, which of them it comes from.

    Args:
        total: What is minimised.
        parts: Its parts, by name.
    """
    if len(parts) == 1:
        return f"The loss is {total:g}"
    return f"The loss is {total:g} ({', '.join(f'{name} {value:.4g}' for name, value in parts.items())})"
