"""One training run: passes over the recordings, measured on held-out play, saved so that it can go on bit for bit."""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any, Final

import numpy as np
import torch

from rl_utils.batches import Augmentation, Batch, Batches
from rl_utils.checkpoint import Checkpoint, save_checkpoint, write_whole
from rl_utils.config import TrainConfig, config_table
from rl_utils.console import Progress
from rl_utils.dataset import Samples
from rl_utils.errors import UserError
from rl_utils.frame_store import FrameStore
from rl_utils.losses import make_loss
from rl_utils.metrics import accuracy, constant_inputs, report
from rl_utils.model import build_network, decode, default_arguments, predict
from rl_utils.model_card import write_model_card
from rl_utils.optimisation import WeightAverage, balance_heads, gradient_norm
from rl_utils.preprocess import to_tensor
from rl_utils.run_state import BEST, LAST, Ending, Outcome, RunState
from rl_utils.schedule import StepSchedule, TimeSchedule
from rl_utils.state_input import StateSpec, StateStore
from rl_utils.training_log import TrainingLog

BETA2: Final = 0.999
LOG_EVERY: Final = 20
"""Steps between points of TensorBoard's curves and between readings of the training accuracy, at most."""
SAVE_EVERY_S: Final = 300.0
"""A pass may take hours; so much of it may be lost in a power cut."""
HELD_OUT_LIMIT: Final = 8192
"""Held-out moments that are measured, evenly spaced; more would cost more than they tell."""
SHOWN_SAMPLES: Final = 6


class Trainer:
    """Trains one network.

    Args:
        config: The settings.
        samples: What is learnt.
        store: The pictures, loaded.
        resume: last.pt of the run that goes on, None for a new one.
        training: Settings, version and commit for checkpoints.
        schedule: How fast to learn when; with a TimeSchedule, `config.epochs` does not count.
        log: Where to write what there is to see.
        device: Where to compute.
        now: The clock, in seconds.

    Raises:
        UserError: There is less than one step's worth of samples.
    """

    def __init__(
        self,
        config: TrainConfig,
        samples: Samples,
        store: FrameStore | StateStore,
        *,
        resume: Checkpoint | None,
        training: dict[str, Any],
        schedule: StepSchedule | TimeSchedule,
        log: TrainingLog,
        device: torch.device,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._samples = samples
        self._training = training
        self._schedule = schedule
        self._log = log
        self._device = device
        self._now = now
        self.spec = store.spec
        how = Augmentation(mirror=config.mirror, shift_px=config.shift_px)
        self._batches = Batches(store, samples, augmentation=how, seed=config.seed)
        self._per_pass = steps_per_pass(config, samples)
        self._log_every = min(LOG_EVERY, self._per_pass)
        torch.manual_seed(config.seed)
        self._arguments = default_arguments(config.model, self.spec)
        self._network = build_network(config.model, self._arguments).to(device)
        self._average = WeightAverage(self._network, config.ema)
        self._loss = make_loss(config.loss, samples.targets[samples.train])
        self._optimiser = torch.optim.AdamW(
            self._network.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True
        )
        self._constant = constant_inputs(samples.targets[samples.train])
        self._rate = 0.0
        self.state = RunState()
        if resume is not None:
            self._restore(resume)

    def run(self, stop: Callable[[], bool], progress: Progress) -> Outcome:
        """Train until the schedule ends, nothing improves any more, or `stop()` is true.

        Raises:
            UserError: The loss is no longer a number, or the disk is full.
        """
        if isinstance(self._schedule, TimeSchedule):
            self._schedule.begin()
        while not self._finished():
            if not self._train_pass(stop, progress) or not self._finish_pass(stop):
                self._save(LAST)
                return self._outcome(Ending.INTERRUPTED)
        early = self._out_of_patience() and self._schedule.progress(self.state.step) < 1
        return self._outcome(Ending.EARLY if early else Ending.COMPLETE)

    def _finished(self) -> bool:
        if self.state.batch:  # in the middle of a pass, or before its measurement
            return False
        done = self.state.epoch > 0 and self._schedule.progress(self.state.step) >= 1
        return done or self._out_of_patience()

    def _out_of_patience(self) -> bool:
        return self._config.patience > 0 and self.state.stale >= self._config.patience

    def _outcome(self, ending: Ending) -> Outcome:
        state = self.state
        self._log.plot(state.history)  # half a second: not after every pass
        return Outcome(ending, state.epoch, state.step, state.seconds, state.best)

    def _train_pass(self, stop: Callable[[], bool], progress: Progress) -> bool:
        """Go through the rest of the present pass, or as much of it as the time allows; False when stopped."""
        state, config = self.state, self._config
        self._network.train()
        last = saved = self._now()
        began, seen = last, 0
        for group in grouped(self._shuffled(), config.accumulate):
            state.add(**self._step(group))
            state.batch += len(group)
            state.step += 1
            seen += len(group) * config.batch_size
            now = self._now()
            state.seconds += now - last
            last = now
            rate = seen / max(now - began, 1e-9)
            if isinstance(self._schedule, TimeSchedule) and not state.history:
                # Not measured yet: looking costs about a third of learning.
                self._schedule.validation_s = min(len(self._samples.held_out), HELD_OUT_LIMIT) / rate / 3
            share = self._schedule.progress(state.step)
            progress.update(share, self._note(rate))
            if state.step % self._log_every == 0:
                pace = self._schedule.pace(state.step)
                self._log.scalars({"training/lr": pace.lr, "training/samples_per_s": rate}, state.step)
                self._log.memory(self._device, state.step)
            if share >= 1:
                break
            if stop():
                return False
            if now - saved > SAVE_EVERY_S:
                self._save(LAST)
                saved = now
        self._rate = seen / max(last - began, 1e-9)
        return True

    def _shuffled(self) -> Iterator[Batch]:
        whole = self._per_pass * self._config.accumulate
        return self._batches.shuffled(self.state.epoch, self._config.batch_size, start=self.state.batch, stop=whole)

    def _note(self, rate: float) -> str:
        best = f", held out {self.state.best['loss']:.4f}" if self.state.best else ""
        return f"pass {self.state.epoch + 1}, loss {self.state.mean('loss'):.4f}{best}, {rate:.0f} samples/s"

    def _step(self, group: list[Batch]) -> dict[str, float]:
        """One optimiser step over some batches; returns what is averaged over the pass."""
        network, state = self._network, self.state
        self._optimiser.zero_grad(set_to_none=True)
        measured: dict[str, float] = {}
        for batch in group:
            outputs = network(to_tensor(batch.stacks, self.spec, self._device))
            loss = self._loss(outputs, torch.from_numpy(batch.targets).to(self._device))
            value = float(loss.total.detach())
            if not math.isfinite(value):
                self._give_up(batch, f"The loss is {value}")
            (loss.total / len(group)).backward()  # type: ignore[no-untyped-call]
            measured["loss"] = measured.get("loss", 0.0) + value / len(group)
        if self._config.head_balance:
            balance_heads(network)
        norm = float(torch.nn.utils.clip_grad_norm_(network.parameters(), self._config.clip))
        if not math.isfinite(norm):
            self._give_up(group[-1], f"The gradient is {norm}")
        pace = self._schedule.pace(state.step)
        for settings in self._optimiser.param_groups:
            settings["lr"], settings["betas"] = pace.lr, (pace.beta1, BETA2)
        self._optimiser.step()
        self._average.update(state.step + 1)
        if (state.step + 1) % self._log_every == 0:
            right = accuracy(decode(predict(outputs)), group[-1].targets)
            measured |= {"button_accuracy": right.buttons, "axis_accuracy": right.axes}
            parts = {"button_loss": float(loss.buttons.detach()), "axis_loss": float(loss.axes.detach())}
            curves = {**measured, **parts, "gradient_norm": norm, "button_head_gradient": self._head_norm()}
            self._log.scalars({f"training/{name}": v for name, v in curves.items()}, state.step + 1)
        return measured

    def _head_norm(self) -> float:
        return float(gradient_norm(self._network.binary_head))

    def _give_up(self, batch: Batch, problem: str) -> None:
        """Keep the batch that went wrong, and say so."""
        file = self._config.out / "bad_batch.pt"
        buffer = io.BytesIO()
        arrays = {"stacks": batch.stacks, "targets": batch.targets, "indices": batch.indices}
        torch.save({name: torch.from_numpy(array) for name, array in arrays.items()}, buffer)
        write_whole(file, buffer.getbuffer())
        raise UserError(
            f"{problem} at step {self.state.step + 1}; the batch is in {file}",
            "Lower --lr, or look at the batch's targets; checkpoints written so far are sound",
        )

    def _finish_pass(self, stop: Callable[[], bool]) -> bool:
        """Measure on held-out play, log and save; False when stopped meanwhile (it is then repeated on resume)."""
        state = self.state
        began = self._now()
        held_out = self._measure(stop)
        if held_out is None:
            return False
        state.seconds += self._now() - began
        if isinstance(self._schedule, TimeSchedule):
            self._schedule.validation_s = self._now() - began
        state.epoch += 1
        state.batch = 0
        self._log.gradients(self._network, state.step)
        row = {
            "epoch": float(state.epoch),
            "step": float(state.step),
            "seconds": state.seconds,
            "lr": self._schedule.pace(state.step).lr,
            "samples_per_s": self._rate,
            **{f"train_{name}": state.mean(name) for name in ("loss", "button_accuracy", "axis_accuracy")},
            **{name: held_out[name] for name in ("loss", "button_loss", "axis_loss")},
            **{name: held_out["policy"][name] for name in ("button_accuracy", "axis_accuracy")},
            **{name: held_out["policy"][name] for name in ("axis_accuracy_strict", "all_right")},
        }
        state.history.append(row)
        state.sums, state.counts = {}, {}
        self._log.scalars({f"held-out/{k}": v for k, v in row.items() if k not in ("epoch", "step")}, state.step)
        self._log.history(state.history)
        loss = held_out.pop("loss")
        if not state.best or loss < state.best["loss"]:
            state.stale = 0
            state.best = {"loss": loss, "epoch": state.epoch, "seconds": state.seconds, "held_out": held_out}
            write_model_card(self._save(BEST), self._config.out / BEST)
        else:
            state.stale += 1
        self._save(LAST)
        return True

    def _measure(self, stop: Callable[[], bool]) -> dict[str, Any] | None:
        """Losses and `metrics.report` of the averaged weights on held-out play; None when stopped."""
        indices = self._samples.held_out
        if len(indices) > HELD_OUT_LIMIT:
            indices = indices[np.linspace(0, len(indices) - 1, HELD_OUT_LIMIT).round().astype(np.int64)]
        inputs, sums = [], np.zeros(3)
        first: Batch | None = None
        for batch in self._batches.in_order(indices, 2 * self._config.batch_size):
            if stop():
                return None
            with torch.inference_mode():
                outputs = self._average.network(to_tensor(batch.stacks, self.spec, self._device))
                loss = self._loss(outputs, torch.from_numpy(batch.targets).to(self._device))
            inputs.append(decode(predict(outputs)))
            sums += [len(batch.indices) * float(part) for part in (loss.total, loss.buttons, loss.axes)]
            first = first or batch
        answers = np.concatenate(inputs)
        if not isinstance(self.spec, StateSpec):
            self._show_samples(indices, answers)
        losses = dict(zip(("loss", "button_loss", "axis_loss"), (sums / len(indices)).tolist(), strict=True))
        samples = self._samples
        return {**losses, **report(answers, samples.targets[indices], samples.previous[indices], self._constant)}

    def _show_samples(self, indices: np.ndarray, answers: np.ndarray) -> None:
        places = np.linspace(0, len(indices) - 1, min(SHOWN_SAMPLES, len(indices))).astype(np.int64)
        batch = self._batches.plain(indices[places])
        seen = [np.ascontiguousarray(stack[:3].transpose(1, 2, 0)) for stack in batch.stacks]
        self._log.samples(seen, batch.targets, answers[places], self.state.step)

    def _save(self, name: str) -> Checkpoint:
        """Write a checkpoint of the averaged weights; last.pt also holds everything that a resumed run needs."""
        resume: dict[str, Any] = {}
        if name == LAST:
            resume = {
                "state": asdict(self.state),
                "network": _on_cpu(self._network.state_dict()),
                "optimiser": self._optimiser.state_dict(),
                "torch_rng": torch.get_rng_state(),
            }
            if self._device.type == "cuda":
                resume["cuda_rng"] = torch.cuda.get_rng_state(self._device)
        checkpoint = Checkpoint(
            model_name=self._config.model,
            model_arguments=self._arguments,
            weights=_on_cpu(self._average.network.state_dict()),
            spec=self.spec,
            fps=self._samples.fps,
            capture_size=self._samples.capture_size,
            training=self._training | {"settings": config_table(self._config)},
            metrics=self.state.best,
            data=self._samples.fingerprint,
            resume=resume,
        )
        save_checkpoint(checkpoint, self._config.out / name)
        return checkpoint

    def _restore(self, checkpoint: Checkpoint) -> None:
        resume = checkpoint.resume
        self.state = RunState(**resume["state"])
        self._network.load_state_dict(resume["network"])
        self._average.network.load_state_dict(dict(checkpoint.weights))
        self._optimiser.load_state_dict(resume["optimiser"])
        torch.set_rng_state(resume["torch_rng"])
        if self._device.type == "cuda" and "cuda_rng" in resume:
            torch.cuda.set_rng_state(resume["cuda_rng"], self._device)


def steps_per_pass(config: TrainConfig, samples: Samples) -> int:
    """Optimiser steps in one pass; what does not fill the last one is left to the next pass's order.

    Raises:
        UserError: There is less than one.
    """
    need = config.batch_size * config.accumulate
    steps = len(samples.train) // need
    if steps == 0:
        raise UserError(
            f"{len(samples.train)} frames to learn from do not fill one step of {need}",
            "Record more, or lower --batch-size or --accumulate",
        )
    return steps


def grouped(batches: Iterator[Batch], size: int) -> Iterator[list[Batch]]:
    """`size` batches at a time; the thread behind `batches` ends with this iterator."""
    group: list[Batch] = []
    try:
        for batch in batches:
            group.append(batch)
            if len(group) == size:
                yield group
                group = []
    finally:
        close = getattr(batches, "close", None)
        if close is not None:
            close()


def _on_cpu(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().cpu() for name, tensor in tensors.items()}
