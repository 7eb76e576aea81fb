"""One training run: passes over the recordings, measured on held-out play, saved so that it can go on bit for bit."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final, NoReturn

import torch

from rl_utils.bad_batch import give_up, loss_is
from rl_utils.batches import Augmentation, Batch, Batches, grouped
from rl_utils.checkpoint import Checkpoint, save_checkpoint
from rl_utils.config import TrainConfig, config_table
from rl_utils.console import Progress
from rl_utils.dataset import Samples
from rl_utils.frame_store import FrameStore, FrameStores
from rl_utils.held_out import LOSSES, HeldOut
from rl_utils.looks import Looks
from rl_utils.losses import belief_loss, make_loss, plan_loss
from rl_utils.metrics import accuracy
from rl_utils.model import build_network, decode, default_arguments, predict
from rl_utils.model_card import write_model_card
from rl_utils.muon import Optimisers
from rl_utils.optimisation import WeightAverage, balance_heads, gradient_norm, on_cpu, rng_state, set_rng_state
from rl_utils.preprocess import to_tensor
from rl_utils.run_state import BEST, LAST, Ending, Outcome, RunState
from rl_utils.schedule import Pace, StepSchedule, TimeSchedule, steps_per_pass
from rl_utils.selection import play_trial, standing
from rl_utils.speed import FastForward
from rl_utils.training_log import TRAIN_COLUMNS, NoLog, TrainingLog
from rl_utils.workers import Workers, use_global_statistics

RANK_SEED: Final = 7919
LOG_EVERY: Final = 20
"""Steps between points of TensorBoard's curves and between readings of the training accuracy, at most."""
SAVE_EVERY_S: Final = 300.0
"""A pass may take hours; so much of it may be lost in a power cut."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Turn:
    """What all processes do next, as the first one decided.

    Attributes:
        share: Of the run that is done, in [0, 1].
        pace: Of the next step.
        save: Whether it is time to save.
        stop: Whether any process was asked to stop.
    """

    share: float
    pace: Pace
    save: bool
    stop: bool


class Trainer:
    """Trains one network, alone or with other processes.

    Args:
        config: The settings.
        samples: What is learnt.
        store: The pictures, loaded.
        resume: last.pt of the run that goes on, None for a new one.
        start: Whose weights a new run begins with, checked by `checkpoint.load_start`.
        training: Settings, version and commit for checkpoints.
        schedule: How fast to learn when; with a TimeSchedule, `config.epochs` does not count.
        log: Where to write what there is to see.
        workers: The processes that train together.
        now: The clock, in seconds.

    Raises:
        UserError: There is less than one step's worth of samples.
    """

    def __init__(
        self,
        config: TrainConfig,
        samples: Samples,
        store: FrameStore | FrameStores,
        *,
        resume: Checkpoint | None,
        start: Checkpoint | None = None,
        training: dict[str, Any],
        schedule: StepSchedule | TimeSchedule,
        log: TrainingLog | NoLog,
        workers: Workers,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._training = training
        self._schedule = schedule
        self._log = log
        self._workers = workers
        self._device = workers.device
        self._now = now
        self.spec = store.spec
        torch.manual_seed(config.seed)
        begun = resume or start
        self._arguments = dict(begun.model_arguments) if begun else default_arguments(config.model, self.spec)
        self._network = build_network(config.model, self._arguments)
        if start is not None:
            self._network.load_state_dict(dict(start.weights))
        use_global_statistics(self._network, workers)
        self._network.to(self._device)
        self._average = WeightAverage(self._network, config.ema)
        self._learn_from(samples, store)
        self._rate = 0.0
        self.state = RunState()
        self._turn = Turn(0.0, Pace(0.0, 0.0), save=False, stop=False)
        if workers.rank:
            torch.manual_seed(config.seed + RANK_SEED * workers.rank)  # each drops out other units
        if resume is not None:
            self._restore(resume)
        self._parallel = workers.wrap(self._network)
        self._half = config.amp == "bf16"
        self._forward = FastForward(self._parallel, amp=config.amp, compiled=config.compile, device=self._device)

    def _learn_from(self, samples: Samples, store: FrameStore | FrameStores) -> None:
        config = self._config
        self._samples = samples
        how = Augmentation(config.mirror, config.shift_px, swap_shoulders=config.swap_shoulders)
        looks = Looks(config.colour, config.blur, config.drop_past)
        plans = self._network.plans
        self._batches = Batches(store, samples, augmentation=how, looks=looks, seed=config.seed, plans=plans)
        self._per_pass = steps_per_pass(config, samples, self._workers.count)
        self._log_every = min(LOG_EVERY, self._per_pass)
        learnt, often = samples.targets[samples.train], samples.weights
        self._loss = make_loss(config.loss, learnt, self._workers, often=often)
        self._optimisers = Optimisers(config.optimiser, self._network, weight_decay=config.weight_decay)
        alone = make_loss(config.loss, learnt, often=often)  # processes measure different numbers of batches
        size, workers, folder = 2 * config.batch_size, self._workers, config.out
        self._held_out = HeldOut(samples, self._batches, alone, size=size, workers=workers, folder=folder)

    def learn_from(
        self, samples: Samples, store: FrameStore | FrameStores, schedule: StepSchedule | TimeSchedule
    ) -> None:
        """Go on from the averaged weights with more to learn from; from now on, a resumed run begins here.

        Args:
            samples: Old and new.
            store: Their pictures, loaded.
            schedule: How fast to learn when; steps are counted on.
        """
        self._schedule = schedule
        self._network.load_state_dict(self._average.network.state_dict())
        self._learn_from(samples, store)
        # Before best.pt is another: a run that resumed in front of the round would play it with what learnt from it.
        self._save(LAST)

    def run(self, stop: Callable[[], bool], progress: Progress) -> Outcome:
        """Train until the schedule ends, nothing improves any more, or `stop()` is true.

        Raises:
            UserError: The loss is no longer a number, or the disk is full.
        """
        if isinstance(self._schedule, TimeSchedule):
            self.state.reading_s = self._schedule.begin()
            self._schedule.validation_s = self.state.measuring_s * len(self._held_out)
        self._turn = self._next_turn(stop=False)
        progress.begin(self._turn.share)
        while not self._finished():
            if not self._train_pass(stop, progress) or not self._finish_pass(stop, progress):
                self._save(LAST)
                return self._outcome(Ending.INTERRUPTED)
        early = self._out_of_patience() and self._turn.share < 1
        return self._outcome(Ending.EARLY if early else Ending.COMPLETE)

    def _finished(self) -> bool:
        if self.state.batch:  # in the middle of a pass, or before its measurement
            return False
        done = self.state.epoch > self.state.round_epoch and self._turn.share >= 1
        return done or self._out_of_patience()

    def _out_of_patience(self) -> bool:
        return self._config.patience > 0 and self.state.stale >= self._config.patience

    def _next_turn(self, *, stop: bool, save: bool = False) -> Turn:
        """Agree on it with the other processes: clocks differ, and a signal may reach only one of them."""
        step = self.state.step
        pace = self._schedule.pace(step)
        given = self._workers.exchange([self._schedule.progress(step), pace.lr, pace.beta1, save, stop])
        share, lr, beta1, save_now, _ = given[0].tolist()
        return Turn(share, Pace(lr, beta1), bool(save_now), bool(given[:, 4].any()))

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
            if not state.batch:
                self._log.batch(group[0].stacks, self.spec, state.step)
            state.add(**self._step(group))
            state.batch += len(group)
            state.step += 1
            seen += len(group) * config.batch_size
            now = self._now()
            state.seconds += now - last
            last = now
            rate = seen / max(now - began, 1e-9)
            if isinstance(self._schedule, TimeSchedule) and not state.measuring_s:
                # Not measured yet: looking costs about a third of learning.
                self._schedule.validation_s = len(self._held_out) / rate / 3
            turn = self._turn = self._next_turn(stop=stop(), save=now - saved > SAVE_EVERY_S)
            progress.update(turn.share, self._note(rate))
            if state.step % self._log_every == 0:
                self._log.scalars({"training/lr": turn.pace.lr, "training/samples_per_s": rate}, state.step)
                self._log.memory(self._device, state.step)
            if turn.share >= 1:
                break
            if turn.stop:
                return False
            if turn.save:
                self._save(LAST)
                saved = now
        self._rate = seen / max(last - began, 1e-9)
        return True

    def _shuffled(self) -> Iterator[Batch]:
        whole = self._per_pass * self._config.accumulate
        return self._batches.shuffled(
            self.state.epoch, self._config.batch_size, start=self.state.batch, stop=whole, part=self._workers.part
        )

    def _note(self, rate: float) -> str:
        best = f", held out {self.state.best['loss']:.4f}" if self.state.best else ""
        return f"pass {self.state.epoch + 1}, loss {self.state.mean('loss'):.4f}{best}, {rate:.0f} samples/s"

    def _step(self, group: list[Batch]) -> dict[str, float]:
        """One optimiser step over some batches; returns what is averaged over the pass."""
        network, state = self._network, self.state
        self._network.zero_grad(set_to_none=True)
        measured: dict[str, float] = {}
        for number, batch in enumerate(group, start=1):
            with self._workers.gradients_later(self._parallel, later=number < len(group)):
                outputs = self._forward(to_tensor(batch.stacks, self.spec, self._device, half=self._half))
                loss = self._loss(outputs, torch.from_numpy(batch.targets).to(self._device))
                value = float(loss.total.detach())
                total, parts = loss.total, {"inputs": value}
                if network.believes and self._config.belief_weight > 0:
                    belief = belief_loss(outputs, torch.from_numpy(batch.states).to(self._device))
                    total = total + self._config.belief_weight * belief
                    parts["belief"] = float(belief.detach())
                if network.plans:
                    following = torch.from_numpy(batch.following).to(self._device)
                    planned = plan_loss(outputs, following, self._loss, self._workers)
                    total = total + planned
                    parts["plan"] = float(planned.detach())
                if not math.isfinite(whole := float(total.detach())):
                    self._give_up(loss_is(whole, parts), [batch])
                (total / len(group)).backward()  # type: ignore[no-untyped-call]
            for part, amount in parts.items():
                name = "loss" if part == "inputs" else f"{part}_loss"
                measured[name] = measured.get(name, 0.0) + amount / len(group)
        if self._config.head_balance:
            balance_heads(network)
        norm = float(torch.nn.utils.clip_grad_norm_(network.parameters(), self._config.clip))
        if not math.isfinite(norm):
            self._give_up(f"The gradient is {norm}", group)
        self._optimisers.step(self._turn.pace.lr, self._turn.pace.beta1)
        self._average.update(state.step + 1)
        if (state.step + 1) % self._log_every == 0:
            right = accuracy(decode(predict(outputs)), group[-1].targets)
            measured |= {"button_accuracy": right.buttons, "axis_accuracy": right.axes}
            parts = {"button_loss": float(loss.buttons.detach()), "axis_loss": float(loss.axes.detach())}
            norms = {"gradient_norm": norm, "button_head_gradient": float(gradient_norm(network.binary_head))}
            curves = measured | parts | norms
            self._log.scalars({f"training/{name}": v for name, v in curves.items()}, state.step + 1)
        return measured

    def _give_up(self, problem: str, batches: list[Batch]) -> NoReturn:
        give_up(self._config.out, self._workers.rank, f"{problem} at step {self.state.step + 1}", batches)

    def _finish_pass(self, stop: Callable[[], bool], progress: Progress) -> bool:
        """Measure, log and save; False when stopped meanwhile (it is then repeated on resume)."""
        state = self.state
        began = self._now()
        held_out = self._held_out.measure(self._average.network, stop, self._log, state.step)
        if held_out is None:
            return False
        state.seconds += self._now() - began
        if isinstance(self._schedule, TimeSchedule):
            self._schedule.validation_s = self._now() - began
            state.measuring_s = self._schedule.validation_s / len(self._held_out)
        played = self._play(stop, progress)
        if played is None:
            return False
        state.epoch += 1
        state.batch = 0
        self._turn = self._next_turn(stop=False)
        self._log.gradients(self._network, state.step)
        learnt = self._workers.exchange([state.mean(name.removeprefix("train_")) for name in TRAIN_COLUMNS])
        row: dict[str, float] = {
            "epoch": float(state.epoch),
            "step": float(state.step),
            "seconds": state.seconds,
            "lr": self._turn.pace.lr,
            "samples_per_s": self._rate,
            **dict(zip(TRAIN_COLUMNS, learnt.mean(axis=0).tolist(), strict=True)),
            **{name: held_out[name] for name in LOSSES if name in held_out},
            **{name: held_out["policy"][name] for name in ("button_accuracy", "axis_accuracy")},
            **{name: held_out["policy"][name] for name in ("axis_accuracy_strict", "all_right")},
        }
        state.sums, state.counts = {}, {}
        self._log.scalars({f"held-out/{k}": v for k, v in row.items() if k not in ("epoch", "step")}, state.step)
        self._log.scalars({k.replace("_", "/", 1): v for k, v in played.items()}, state.step)
        state.history.append(row | played)
        self._log.history(state.history)
        loss = held_out.pop("loss")
        found = {"loss": loss, "epoch": state.epoch, "seconds": state.seconds, "held_out": held_out, "arena": played}
        # Then held-out play may have been learnt, or its loss says nothing about play (facts, learning 2.3).
        newest = (self._config.init is not None or state.round > 0) and not played
        if newest or not state.best or standing(found) > standing(state.best):
            state.stale = 0
            state.best = found
            self._save(BEST)
        else:
            state.stale += 1
        self._save(LAST)
        return True

    def _play(self, stop: Callable[[], bool], progress: Progress) -> dict[str, float] | None:
        """How the averaged weights play the arena, {} where that does not decide; None when stopped."""
        if self._config.select != "score":
            return {}
        self._save(LAST)
        began, starts = self._now(), self._config.select_episodes
        note = f"pass {self.state.epoch + 1} plays the arena, {{}} of {starts} starts"
        played: dict[str, float] | None = None
        with self._workers.lead_first():
            if self._workers.leads:
                show = lambda done: progress.update(self._turn.share, note.format(done))  # noqa: E731
                played = play_trial(self._config.out / LAST, starts, stop=stop, on_progress=show)
        if isinstance(self._schedule, TimeSchedule):
            self._schedule.pause(self._now() - began)
        given: dict[str, float] | None = self._workers.from_lead(played)
        return given

    def _save(self, name: str) -> None:
        """Write a checkpoint of the averaged weights; last.pt also holds everything that a resumed run needs.

        All processes call it at the same step; the first one writes.
        """
        resume: dict[str, Any] = {}
        if name == LAST:
            resume = {
                "state": asdict(self.state),
                "network": on_cpu(self._network.state_dict()),
                "rng": self._workers.gather(rng_state(self._device)),
                **self._optimisers.state(),
            }
        if not self._workers.leads:
            return
        checkpoint = Checkpoint(
            model_name=self._config.model,
            model_arguments=self._arguments,
            weights=on_cpu(self._average.network.state_dict()),
            spec=self.spec,
            fps=self._samples.fps,
            capture_size=self._samples.capture_size,
            training=self._training | {"settings": config_table(self._config)},
            metrics=self.state.best,
            data=self._samples.fingerprint,
            resume=resume,
        )
        save_checkpoint(checkpoint, self._config.out / name)
        if name == BEST:
            write_model_card(checkpoint, self._config.out / name)

    def _restore(self, checkpoint: Checkpoint) -> None:
        resume = checkpoint.resume
        self.state = RunState(**resume["state"])
        self._network.load_state_dict(resume["network"])
        self._average.network.load_state_dict(dict(checkpoint.weights))
        self._optimisers.restore(resume)
        states = resume["rng"]
        if len(states) != self._workers.count:
            logger.warning(
                "The run was begun with %d processes and goes on with %d, so not bit for bit as it would have",
                len(states),
                self._workers.count,
            )
        elif states[self._workers.rank]["device"] == self._device.type:
            set_rng_state(states[self._workers.rank], self._device)
