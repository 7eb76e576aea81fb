"""How well a network answers held-out play: losses and accuracies, shared out among the processes of a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from rl_utils.bad_batch import give_up
from rl_utils.batches import Batch, Batches
from rl_utils.controls import N_BUTTONS, N_CONTROLS
from rl_utils.dataset import Samples
from rl_utils.losses import LossFunction, belief_loss
from rl_utils.metrics import constant_inputs, report
from rl_utils.model import decode, predict
from rl_utils.network import Network
from rl_utils.preprocess import to_tensor
from rl_utils.press_metrics import press_table
from rl_utils.state_input import StateSpec
from rl_utils.training_log import BELIEF_COLUMN, NoLog, TrainingLog
from rl_utils.workers import Workers

LIMIT: Final = 8192
"""Held-out moments that are measured, evenly spaced; more would cost more than they tell."""
SHOWN_SAMPLES: Final = 6
LOSSES: Final = ("loss", "button_loss", "axis_loss", BELIEF_COLUMN)


class HeldOut:
    """The held-out moments of a run, with the answer that costs nothing beside them.

    Args:
        samples: All moments.
        batches: Makes batches of them.
        loss: What training minimises.
        size: Of a batch.
        workers: The processes that share the work.
        folder: Receives a batch whose loss is no number.
    """

    def __init__(
        self, samples: Samples, batches: Batches, loss: LossFunction, *, size: int, workers: Workers, folder: Path
    ) -> None:
        self._samples = samples
        self._batches = batches
        self._loss = loss
        self._size = size
        self._workers = workers
        self._folder = folder
        self._constant = constant_inputs(samples.targets[samples.train])
        self._indices = samples.held_out
        if len(self._indices) > LIMIT:
            self._indices = self._indices[np.linspace(0, len(self._indices) - 1, LIMIT).round().astype(np.int64)]

    def __len__(self) -> int:
        return len(self._indices)

    def measure(
        self, network: Network, stop: Callable[[], bool], log: TrainingLog | NoLog, step: int
    ) -> dict[str, Any] | None:
        """Losses, `metrics.report` and, as `presses`, `press_table`, the same in every process; None when stopped.

        Of a network that says what it believes the state to be, `belief_loss` is the mean where the state is known.

        Args:
            network: In evaluation mode.
            stop: Asked at every batch, when this process is alone: others would wait for its answers.
            log: Gets what was found, and some pictures with what should have been pressed and what would have been.
            step: Of training, for the log.

        Raises:
            UserError: A loss is no number: no other pass could be better or worse than this one.
        """
        workers, indices = self._workers, self._indices
        inputs, sums = [np.empty((0, N_CONTROLS), np.float32)], np.zeros(len(LOSSES))
        pressed = [np.empty((0, N_BUTTONS), np.float32)]
        bad: list[Batch] = []
        for batch in self._batches.in_order(indices[workers.part], self._size):
            if workers.count == 1 and stop():
                return None
            with torch.inference_mode():
                outputs = network(to_tensor(batch.stacks, self._batches.spec, workers.device))
                loss = self._loss(outputs, torch.from_numpy(batch.targets).to(workers.device))
                belief = 0.0
                if network.believes:
                    belief = float(belief_loss(outputs, torch.from_numpy(batch.states).to(workers.device)))
            prediction = predict(outputs)
            inputs.append(decode(prediction))
            pressed.append(prediction.pressed)
            found_here = [len(batch.indices) * float(part) for part in (loss.total, loss.buttons, loss.axes, belief)]
            if not bad and not np.isfinite(found_here).all():
                bad.append(batch)
            sums += found_here
        means = workers.exchange(sums.tolist()).sum(axis=0) / len(indices)
        if not np.isfinite(means).all():
            said = ", ".join(f"{name} {mean:.4g}" for name, mean in zip(LOSSES, means, strict=True))
            give_up(self._folder, workers.rank, f"The held-out loss after step {step} is no number ({said})", bad)
        answers = np.empty((len(indices), N_CONTROLS), np.float32)
        probability = np.empty((len(indices), N_BUTTONS), np.float32)
        mine = (np.concatenate(inputs), np.concatenate(pressed))
        for rank, (answer, chance) in enumerate(workers.gather(mine)):
            answers[rank :: workers.count], probability[rank :: workers.count] = answer, chance
        self._show(answers, log, step)
        losses = dict(zip(LOSSES, means.tolist(), strict=True))
        belief = losses.pop(BELIEF_COLUMN)
        known = float(np.isfinite(self._samples.states[indices]).all(axis=1).mean())
        if network.believes and known > 0:
            losses[BELIEF_COLUMN] = belief / known
        targets, previous = self._samples.targets[indices], self._samples.previous[indices]
        found = report(answers, targets, previous, self._constant)
        found["presses"] = press_table(answers, probability, targets, previous)
        log.controls(found, probability, targets, step)
        return losses | found

    def _show(self, answers: NDArray[np.float32], log: TrainingLog | NoLog, step: int) -> None:
        if not self._workers.leads or isinstance(self._batches.spec, StateSpec):
            return
        places = np.linspace(0, len(self) - 1, min(SHOWN_SAMPLES, len(self))).astype(np.int64)
        batch = self._batches.plain(self._indices[places])
        seen = [np.ascontiguousarray(stack[:3].transpose(1, 2, 0)) for stack in batch.stacks]
        log.samples(seen, batch.targets, answers[places], step)
