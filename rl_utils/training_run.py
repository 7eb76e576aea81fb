"""From settings to a finished run: open recordings, read pictures, train, and leave a folder that explains itself."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import torch

from rl_utils import __version__
from rl_utils.checkpoint import Checkpoint, load_checkpoint
from rl_utils.config import TrainConfig, config_table, git_commit, save_config
from rl_utils.console import progress
from rl_utils.dataset import Samples, make_samples
from rl_utils.errors import UserError
from rl_utils.frame_store import FrameStore
from rl_utils.model import input_spec
from rl_utils.optimisation import repeatable
from rl_utils.preprocess import InputSpec
from rl_utils.recordings import Recording, open_recordings
from rl_utils.run_state import BEST, LAST, Ending, Outcome
from rl_utils.schedule import StepSchedule, TimeSchedule
from rl_utils.state_input import StateSpec, StateStore
from rl_utils.trainer import Trainer, steps_per_pass
from rl_utils.training_log import TrainingLog

MAY_CHANGE: Final = frozenset(
    {"data", "out", "epochs", "minutes", "patience", "cache_gb", "device", "threads", "resume"}
)
"""Settings that a resumed run may change: they do not decide what is learnt from which batch. (Where the data lies
may change, what it is may not.) With more --epochs or --minutes the schedule is stretched."""

logger = logging.getLogger(__name__)


def run_training(
    config: TrainConfig, *, stop: Callable[[], bool], now: Callable[[], float] = time.monotonic
) -> Outcome:
    """Train as the settings say.

    Args:
        config: The settings.
        stop: Asked at every step; when true, the run is saved and ends.
        now: The clock, in seconds.

    Raises:
        UserError: Something the person can put right; nothing that was saved is lost.
    """
    last = _open_folder(config)
    device = choose_device(config.device)
    began = now()
    recordings = open_recordings(config.data, pad_profile=config.pad_profile)
    samples = make_samples(
        recordings,
        val_share=config.val_share,
        val_gap_s=config.val_gap_s,
        action_shift_ms=config.action_shift_ms,
        seed=config.seed,
    )
    steps = steps_per_pass(config, samples)
    if last is not None:
        _check_resume(config, samples, last)
    spent = last.resume["state"]["seconds"] if last is not None else 0.0
    schedule: StepSchedule | TimeSchedule
    if config.minutes is None:
        schedule = StepSchedule(config.epochs * steps, config.lr)
    else:
        schedule = TimeSchedule(60 * config.minutes, config.lr, spent_s=spent, made=began, now=now)
    save_config(config, config.out / "config.toml")
    spec = last.spec if last is not None else input_spec(config.model, samples.fps)
    with _store(config, recordings, spec) as store:
        if not _read_pictures(store, stop):
            return Outcome(Ending.INTERRUPTED, 0, 0, 0.0, {})
        step = last.resume["state"]["step"] if last is not None else 0
        with (
            repeatable(deterministic=config.deterministic, threads=config.threads),
            TrainingLog(config.out, step=step) as log,
            progress("training", 1.0) as shown,
        ):
            trainer = Trainer(
                config,
                samples,
                store,
                resume=last,
                training={"version": __version__, "commit": git_commit(), "settings": config_table(config)},
                schedule=schedule,
                log=log,
                device=device,
                now=now,
            )
            return trainer.run(stop, shown)


def _open_folder(config: TrainConfig) -> Checkpoint | None:
    """Make the run's folder; returns last.pt when the run goes on."""
    last = config.out / LAST
    if config.resume:
        if not last.exists():
            raise UserError(
                f"{config.out} holds no {LAST} to go on from", "Leave --resume away, or name the run's folder"
            )
        checkpoint = load_checkpoint(last)
        if not checkpoint.resume:
            raise UserError(f"{last} holds no state to go on from", f"It may be a copy of {BEST}; start a new run")
        return checkpoint
    if last.exists() or (config.out / BEST).exists():
        raise UserError(f"{config.out} already holds a run", "Add --resume to go on with it, or choose another --out")
    try:
        config.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{config.out} cannot be made ({error.strerror})", "Choose another --out") from error
    if not os.access(config.out, os.W_OK):
        raise UserError(f"{config.out} is not writable", "Choose another --out")
    return None


def _check_resume(config: TrainConfig, samples: Samples, last: Checkpoint) -> None:
    before: dict[str, Any] = last.training["settings"]
    for name, value in config_table(config).items():
        if name not in MAY_CHANGE and before.get(name) != value:
            option = "--" + name.replace("_", "-")
            raise UserError(
                f"The run was begun with {option} {before.get(name)}, not {value}",
                f"Give {option} {before.get(name)} again, or start a new run in another --out",
            )
    if samples.fingerprint["sha256"] != last.data["sha256"]:
        counts = f"{last.data['samples']} frames, now {samples.fingerprint['samples']}"
        raise UserError(
            f"The run was begun on other recordings ({counts})",
            "Name the same recordings, or start a new run in another --out",
        )


def _store(config: TrainConfig, recordings: Sequence[Recording], spec: InputSpec) -> FrameStore | StateStore:
    """What the network sees of the recordings, pictures or states."""
    if isinstance(spec, StateSpec):
        return StateStore(recordings, spec)
    return FrameStore(recordings, spec, cache_bytes=round(config.cache_gb * 1e9), spill=config.out)


def _read_pictures(store: FrameStore | StateStore, stop: Callable[[], bool]) -> bool:
    with progress("reading pictures", len(store)) as shown:
        if not store.load(shown.update, stop):
            return False
    if store.ready_share < 1:
        logger.warning(
            "%.0f %% of the pictures fit into memory (--cache-gb); the others are decoded whenever they are needed",
            100 * store.ready_share,
        )
    return True


def choose_device(name: str) -> torch.device:
    """The device behind --device.

    Raises:
        UserError: CUDA was asked for and is not there.
    """
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise UserError("--device cuda finds no GPU that torch can use", "Leave --device away to train on the CPU")
    if name == "cpu" or not available:
        return torch.device("cpu")
    # Repeatable matrix products on CUDA need this before the first one. Source: torch's notes on reproducibility.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    return torch.device("cuda")
