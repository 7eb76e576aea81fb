"""From settings to a finished run: open recordings, read pictures, train, and leave a folder that explains itself."""

from __future__ import annotations

import logging
import math
import os
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from rl_utils import __version__
from rl_utils.checkpoint import Checkpoint, load_checkpoint, load_start, not_written, write_whole
from rl_utils.coach_rounds import play_round
from rl_utils.config import TrainConfig, config_table, git_commit, parse_mask, save_config
from rl_utils.console import progress
from rl_utils.dataset import Samples, Weights, hold_out, join_samples, make_samples
from rl_utils.errors import UserError
from rl_utils.frame_store import FrameStore, FrameStores
from rl_utils.kept_memory import kept_memory
from rl_utils.model import input_spec, reach_s
from rl_utils.optimisation import repeatable
from rl_utils.paths import is_there
from rl_utils.preprocess import InputSpec, PreprocessSpec
from rl_utils.recordings import Recording, open_recordings
from rl_utils.run_state import BEST, LAST, Ending, Outcome, RunState
from rl_utils.schedule import StepSchedule, TimeSchedule, steps_per_pass
from rl_utils.scoring_starts import warn_before_learning
from rl_utils.selection import check_playable
from rl_utils.speed import settle
from rl_utils.split import STRETCH_S, least_gap_s, least_play_s
from rl_utils.state_input import StateSpec, StateStore
from rl_utils.trainer import Trainer
from rl_utils.training_log import NoLog, TrainingLog
from rl_utils.workers import Workers, join_workers

FULL_WEIGHT: Final = 2
"""The first training and the last are this many times as long as each one between two coach rounds."""
ROUND_LR: Final = 0.6
"""Highest learning rate after coach rounds, as a share of --lr. Source: facts of this project, learning 2.1."""
MAY_CHANGE: Final = frozenset(
    {
        "data",
        "out",
        "epochs",
        "minutes",
        "patience",
        "cache_gb",
        "cache_disk_gb",
        "device",
        "threads",
        "resume",
        "coach",
        "coach_minutes",
    }
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
    with join_workers(config.device) as workers:
        with workers.lead_first():
            last = _open_folder(config) if workers.leads else None
        try:
            return _run(config, workers.from_lead(last), workers, stop, now)
        except UserError:
            with suppress(OSError):
                config.out.rmdir()  # where nothing came of it
            raise


def _run(
    config: TrainConfig,
    last: Checkpoint | None,
    workers: Workers,
    stop: Callable[[], bool],
    now: Callable[[], float],
) -> Outcome:
    began = now()
    state = RunState(**last.resume["state"]) if last is not None else RunState()
    with workers.lead_first():
        recordings, samples = _open_all(config, state.round, warn=workers.leads)
        spec = _spec(config, samples, last)
        if isinstance(spec, StateSpec):
            StateStore(recordings, spec)  # refuses play without a state, before anything is in the run's folder
    with workers.lead_first():
        if workers.leads:
            config = _settle(config, last, spec, samples, workers)
    config = workers.from_lead(config)
    with workers.lead_first():
        check_playable(config, samples.fps)
        if workers.leads and (config.coach or config.select == "score") and np.isnan(samples.states).all():
            logger.warning("None of the recordings is of the practice arena, in which --coach and --select score play")
        steps = steps_per_pass(config, samples, workers.count)
        if config.coach > state.round:
            _check_coach(config, samples.fps)
        if last is not None:
            _check_resume(config, samples, last)
    start = load_start(config.init, config.model, spec) if config.init is not None and last is None else None
    if workers.leads:
        save_config(config, config.out / "config.toml")
        logger.info("Settings are in %s", config.out / "config.toml")
    read_s = state.reading_s if last is not None else None
    schedule = _schedule(config, state, steps, made=began, read_s=read_s, now=now)
    with FrameStores(spec) as stores:
        if not _read_pictures(stores, recordings, config, workers, stop):
            return Outcome(Ending.INTERRUPTED, state.epoch, state.step, state.seconds, state.best)
        with (
            repeatable(deterministic=config.deterministic, threads=config.threads),
            kept_memory(),
            TrainingLog(config.out, step=state.step) if workers.leads else nullcontext(NoLog()) as log,
        ):
            trainer = Trainer(
                config,
                samples,
                stores,
                resume=last,
                start=start,
                training={"version": __version__, "commit": git_commit(), "settings": config_table(config)},
                schedule=schedule,
                log=log,
                workers=workers,
                now=now,
            )
            while True:
                with progress("training", 1.0, shown=workers.leads) as shown:
                    outcome = trainer.run(stop, shown)
                number = trainer.state.round + 1
                if outcome.interrupted or number > config.coach:
                    return outcome
                fresh = _play_round(config, number, workers, stop)
                if fresh is None or not _read_pictures(stores, fresh, config, workers, stop):
                    return replace(outcome, ending=Ending.INTERRUPTED)
                recordings += fresh
                samples = join_samples(samples, _samples_of(config, fresh), recordings)
                trainer.state.next_round(keep_best=config.select == "score")
                steps = steps_per_pass(config, samples, workers.count)
                schedule = _schedule(config, trainer.state, steps, made=now(), now=now)
                trainer.learn_from(samples, stores, schedule)


def _spec(config: TrainConfig, samples: Samples, last: Checkpoint | None) -> InputSpec:
    """What the network sees."""
    if last is not None:
        return last.spec
    spec = input_spec(config.model, samples.fps)
    return replace(spec, masks=tuple(map(parse_mask, config.mask))) if isinstance(spec, PreprocessSpec) else spec


def _settle(
    config: TrainConfig, last: Checkpoint | None, spec: InputSpec, samples: Samples, workers: Workers
) -> TrainConfig:
    """The settings with everything decided that was left to the machine."""
    with repeatable(deterministic=config.deterministic, threads=config.threads):
        return settle(config, last, spec, workers.device, per_pass=samples.per_pass, count=workers.count)


def _open_all(config: TrainConfig, rounds: int, *, warn: bool) -> tuple[list[Recording], Samples]:
    """What the person named, and the play of the coach rounds so far."""
    recordings = open_recordings(config.data, pad_profile=config.pad_profile, leave_out=config.out)
    if warn:
        warn_before_learning(recordings)
    samples = _samples_of(config, recordings)
    if config.hold_out:
        apart = open_recordings(config.hold_out, pad_profile=config.pad_profile, leave_out=config.out)
        _refuse_both(recordings, apart)
        recordings += apart
        samples = join_samples(samples, hold_out(_samples_of(config, apart)), recordings)
    for number in range(1, rounds + 1):
        fresh = open_recordings([_round_folder(config, number)])
        recordings += fresh
        samples = join_samples(samples, _samples_of(config, fresh), recordings)
    return recordings, samples


def _refuse_both(learnt: Sequence[Recording], apart: Sequence[Recording]) -> None:
    files = {file.resolve() for recording in learnt for file in recording.files}
    for recording in apart:
        if not files.isdisjoint(file.resolve() for file in recording.files):
            raise UserError(
                f"{recording.name} is to be learnt from and held out", "Move it to a folder of its own, and name that"
            )


def _samples_of(config: TrainConfig, recordings: list[Recording]) -> Samples:
    return make_samples(
        recordings,
        val_share=0 if config.hold_out else config.val_share,
        val_gap_s=config.val_gap_s,
        action_shift_ms=config.action_shift_ms,
        seed=config.seed,
        weights=Weights(config.policy_weight, config.takeover_weight, config.pre_takeover_weight, config.change_weight),
        reach_s=reach_s(config.model, min(recording.fps for recording in recordings)),
    )


def _schedule(
    config: TrainConfig,
    state: RunState,
    steps: int,
    *,
    made: float,
    read_s: float | None = None,
    now: Callable[[], float],
) -> StepSchedule | TimeSchedule:
    """Of the training that the state is in.

    Between two coach rounds it is shorter: the play of the next one is still to come, and the last one learns from all.
    """
    highest = config.lr if state.round == 0 else ROUND_LR * config.lr
    weights = [FULL_WEIGHT if number in (0, config.coach) else 1 for number in range(config.coach + 1)]
    weight = weights[min(state.round, config.coach)]
    if config.minutes is None:
        epochs = max(1, config.epochs * weight // FULL_WEIGHT)
        return StepSchedule(epochs * steps, highest, first=state.round_step)
    share = weight / sum(weights)
    spent = state.seconds - state.round_seconds
    return TimeSchedule(60 * config.minutes * share, highest, spent_s=spent, made=made, read_s=read_s, now=now)


def _round_folder(config: TrainConfig, number: int) -> Path:
    return config.out / "coach" / f"round{number}"


def _play_round(config: TrainConfig, number: int, workers: Workers, stop: Callable[[], bool]) -> list[Recording] | None:
    """Let the policy play and be corrected; None when stopped."""
    folder = _round_folder(config, number)
    with workers.lead_first():
        if workers.leads:
            shutil.rmtree(folder, ignore_errors=True)  # of an attempt that was stopped
            played = folder.with_suffix(".pt")  # who played: one more point of a learning curve
            try:
                folder.parent.mkdir(exist_ok=True)
            except OSError as error:
                raise not_written(folder.parent, error) from error
            write_whole(played, (config.out / BEST).read_bytes())
            with progress(f"coach round {number}", config.coach_minutes) as shown:
                tally = play_round(
                    config.out / BEST,
                    folder,
                    number,
                    minutes=config.coach_minutes,
                    on_progress=shown.update,
                    stop=stop,
                )
            if tally is not None:
                logger.info("Coach round %d: the policy played %s", number, tally)
    if any(workers.gather(stop())):
        return None
    return open_recordings([folder])


def _open_folder(config: TrainConfig) -> Checkpoint | None:
    """Make the run's folder; returns last.pt when the run goes on."""
    last = config.out / LAST
    if config.resume:
        if not is_there(last, "Choose another --out"):
            raise UserError(
                f"{config.out} holds no {LAST} to go on from",
                "Name the folder of a run that does",
            )
        checkpoint = load_checkpoint(last)
        if not checkpoint.resume:
            raise UserError(f"{last} holds no state to go on from", f"It may be a copy of {BEST}; start a new run")
        return checkpoint
    if is_there(last, "Choose another --out"):
        raise UserError(f"{config.out} already holds a run", "Add --resume to go on with it, or choose another --out")
    if (config.out / BEST).exists():
        raise UserError(
            f"{config.out} holds the {BEST} of a run without its {LAST}", "Choose another --out, or move that file away"
        )
    try:
        config.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{config.out} cannot be made ({error.strerror})", "Choose another --out") from error
    if not os.access(config.out, os.W_OK):
        raise UserError(f"{config.out} is not writable", "Choose another --out")
    return None


def _check_resume(config: TrainConfig, samples: Samples, last: Checkpoint) -> None:
    before: dict[str, Any] = {"optimiser": "adamw"} | last.training["settings"]  # once it was the only one
    now = config_table(config)  # without what is None, such as --init that was not given
    unset = {field.name for field in fields(config) if field.default is None}
    for name in (now.keys() | before.keys() & unset) - MAY_CHANGE:
        was, value = before.get(name, None if name in unset else now.get(name)), now.get(name)
        if was != value:
            option = "--" + name.replace("_", "-")
            begun = f"without {option}" if was is None else f"with {option} {was}"
            instead = "with it" if was is None else f"without {option}" if value is None else value
            remedy = f"Leave {option} away" if was is None else f"Give {option} {was} again"
            raise UserError(
                f"The run was begun {begun}, not {instead}", f"{remedy}, or start a new run in another --out"
            )
    if samples.fingerprint["sha256"] != last.data["sha256"]:
        counts = f"{last.data['samples']} frames, now {samples.fingerprint['samples']}"
        raise UserError(
            f"The run was begun on other recordings ({counts})",
            "Name the same recordings, or start a new run in another --out",
        )


def _check_coach(config: TrainConfig, fps: float) -> None:
    """Refuse at the start what else would end the run after its first round: play too short to hold some of it out."""
    share, played = config.val_share, 60 * config.coach_minutes
    if config.hold_out or played * share >= STRETCH_S:
        return
    reach = reach_s(config.model, fps)
    gap = least_gap_s(config.val_gap_s, action_shift_ms=config.action_shift_ms, reach_s=reach)
    least = math.ceil(least_play_s(share=share, gap_s=gap, fps=fps) / 0.6) / 100
    if config.coach_minutes < least:
        raise UserError(
            f"--coach-minutes {config.coach_minutes:g} is too short to hold {share:.0%} out with {gap:g} s between",
            f"Use at least {least:g}" + (", or lower --val-gap-s" if gap == config.val_gap_s else ""),
        )


def _read_pictures(
    stores: FrameStores,
    recordings: list[Recording],
    config: TrainConfig,
    workers: Workers,
    stop: Callable[[], bool],
) -> bool:
    """Add the pictures of some recordings; False when any process was stopped."""
    room = max(0, round(config.cache_gb * 1e9) - stores.ready_bytes * workers.local_count)
    store: FrameStore | StateStore
    if isinstance(stores.spec, StateSpec):
        store = StateStore(recordings, stores.spec)
    else:
        store = FrameStore(
            recordings,
            stores.spec,
            cache_bytes=room,
            spill=config.out,
            disk_bytes=max(0, round(config.cache_disk_gb * 1e9) - stores.file_bytes * workers.local_count),
            sharers=workers.local_count,
        )
    stores.add(store)
    with progress("reading pictures", len(store), shown=workers.leads) as shown:
        if not all(workers.gather(store.load(shown.update, stop))):
            return False
    if store.ready_share < 1 and workers.leads:
        logger.warning(
            "%.0f %% of the pictures fit into memory (--cache-gb) and on the disk (--cache-disk-gb); the others are "
            "decoded whenever they are needed",
            100 * store.ready_share,
        )
    return True
