"""Training: it learns something real, repeats itself, goes on after an interruption, and stops when it must."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from rl_utils.checkpoint import load_checkpoint, load_policy
from rl_utils.config import TrainConfig
from rl_utils.controls import Control
from rl_utils.errors import UserError
from rl_utils.model import build_network, default_arguments, default_spec
from rl_utils.model_card import model_card
from rl_utils.optimisation import WeightAverage, balance_heads, gradient_norm
from rl_utils.preprocess import fovea_spec
from rl_utils.recordings import open_recordings
from rl_utils.run_state import Ending, Outcome
from rl_utils.schedule import FINISH_S
from rl_utils.training_log import COLUMNS
from rl_utils.training_run import run_training
from tests.learning_data import marker_play, record, record_marker_play, write_article_file

TIMES = ("seconds", "samples_per_s")


@pytest.fixture(scope="module")
def play(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve seconds of play: enough to train, not to learn."""
    return record_marker_play(tmp_path_factory.mktemp("play"), 360)


def train(
    data: Path,
    out: Path,
    *,
    stop: Callable[[], bool] = lambda: False,
    now: Callable[[], float] | None = None,
    **changes: Any,
) -> Outcome:
    settings: dict[str, Any] = {"model": "motion", "epochs": 2, "batch_size": 16, "val_gap_s": 0.5, "threads": 1}
    config = TrainConfig(data=(data,), out=out, **(settings | changes))
    return run_training(config, stop=stop, **({} if now is None else {"now": now}))


def history(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def stop_after(calls: int) -> Callable[[], bool]:
    left = iter(range(calls))
    return lambda: next(left, None) is None


def test_it_learns_to_steer(tmp_path: Path) -> None:
    """The point of it all: from pictures alone, the stick follows the ball and the button its height."""
    recording = record_marker_play(tmp_path / "play", 1500)
    outcome = train(recording, tmp_path / "run", epochs=3, batch_size=32)
    held_out = outcome.metrics["held_out"]
    policy, constant = held_out["policy"]["controls"], held_out["constant"]["controls"]
    assert policy["left_x"]["all"] < 0.3 * constant["left_x"]["all"]
    assert policy["south"]["all"] > 0.9
    assert policy["right_trigger"]["all"] < 0.05

    frames, inputs = marker_play(300, seed=99)
    driver = load_policy(tmp_path / "run" / "best.pt")
    answers = np.stack([driver.act(frame) for frame in frames])
    assert np.corrcoef(answers[:, Control.LEFT_X], inputs[:, Control.LEFT_X])[0, 1] > 0.9
    assert (answers[:, Control.SOUTH] == inputs[:, Control.SOUTH]).mean() > 0.9


def equal(a: Any, b: Any) -> bool:
    """Bit for bit, through nested dicts and lists; nan equals nan."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a if k not in TIMES)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(equal, a, b))
    return bool(a == b) or (a != a and b != b)


def same_run(first: Path, second: Path) -> bool:
    a, b = (load_checkpoint(run / "last.pt") for run in (first, second))
    return equal(dict(a.weights), dict(b.weights)) and equal(dict(a.resume), dict(b.resume))


def test_the_same_settings_give_the_same_run(play: Path, tmp_path: Path) -> None:
    """A result that cannot be repeated cannot be improved upon."""
    train(play, tmp_path / "a")
    train(play, tmp_path / "b")
    train(play, tmp_path / "c", seed=1)
    assert same_run(tmp_path / "a", tmp_path / "b")
    assert not same_run(tmp_path / "a", tmp_path / "c")


@pytest.mark.parametrize(("accumulate", "optimiser"), [(1, "muon"), (2, "adamw")])
def test_a_resumed_run_equals_an_uninterrupted_one(accumulate: int, optimiser: str, play: Path, tmp_path: Path) -> None:
    """Whoever needs the computer for an hour must not get another policy for it."""
    how = {"accumulate": accumulate, "optimiser": optimiser}
    train(play, tmp_path / "whole", **how)
    parts = 0
    outcome = train(play, tmp_path / "parts", **how, stop=stop_after(14))
    while outcome.ending is Ending.INTERRUPTED:
        parts += 1
        how["optimiser"] = "auto"  # a run goes on with what it was begun with
        outcome = train(play, tmp_path / "parts", **how, resume=True, stop=stop_after(17))
    assert parts >= 2, "interrupted in the middle of passes and while measuring"
    assert same_run(tmp_path / "whole", tmp_path / "parts")
    for a, b in zip(history(tmp_path / "whole"), history(tmp_path / "parts"), strict=True):
        assert {k: v for k, v in a.items() if k not in TIMES} == {k: v for k, v in b.items() if k not in TIMES}


def test_a_finished_run_has_nothing_to_go_on_with(play: Path, tmp_path: Path) -> None:
    """--resume on a finished run must not spoil it."""
    first = train(play, tmp_path / "run")
    before = (tmp_path / "run" / "last.pt").read_bytes()
    again = train(play, tmp_path / "run", resume=True)
    assert (again.ending, again.steps, again.metrics) == (Ending.COMPLETE, first.steps, first.metrics)
    assert (tmp_path / "run" / "last.pt").read_bytes() == before
    longer = train(play, tmp_path / "run", resume=True, epochs=3)
    assert longer.epochs == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lr": 3e-4}, "--lr 0.001, not 0.0003"),
        ({"model": "rocketnet"}, "--model motion, not rocketnet"),
        ({"batch_size": 8}, "--batch-size 16, not 8"),
        ({"optimiser": "muon"}, "--optimiser adamw, not muon"),
    ],
)
def test_a_run_goes_on_with_its_own_settings(changes: dict[str, Any], message: str, play: Path, tmp_path: Path) -> None:
    """Settings that change half-way make a run that nobody can explain."""
    train(play, tmp_path / "run", stop=stop_after(12))
    with pytest.raises(UserError, match=message):
        train(play, tmp_path / "run", resume=True, **changes)


def test_a_run_goes_on_with_its_own_data(play: Path, tmp_path: Path) -> None:
    """Held-out frames of the first half must not be trained on in the second."""
    train(play, tmp_path / "run", stop=stop_after(12))
    other = record_marker_play(tmp_path / "other", 360, seed=5)
    with pytest.raises(UserError, match="begun on other recordings"):
        train(other, tmp_path / "run", resume=True)


def test_nothing_is_overwritten(play: Path, tmp_path: Path) -> None:
    """A forgotten --out must not destroy last night's policy."""
    train(play, tmp_path / "run", epochs=1)
    with pytest.raises(UserError, match="already holds a run"):
        train(play, tmp_path / "run", epochs=1)
    with pytest.raises(UserError, match=r"no last\.pt"):
        train(play, tmp_path / "elsewhere", resume=True)
    (tmp_path / "run" / "last.pt").write_bytes((tmp_path / "run" / "best.pt").read_bytes())
    with pytest.raises(UserError, match="no state to go on from"):
        train(play, tmp_path / "run", resume=True)


@pytest.mark.parametrize("tick_s", [0.07, 0.7])
def test_the_time_budget_holds(tick_s: float, play: Path, tmp_path: Path) -> None:
    """The demo promises minutes, whatever the machine: fewer steps on a slow one, the same course of the rate."""
    t = 0.0

    def now() -> float:
        nonlocal t
        t += tick_s
        return t

    outcome = train(play, tmp_path / "run", minutes=0.2, now=now, epochs=1, patience=0)
    assert outcome.ending is Ending.COMPLETE
    assert t <= 12 + 8 * tick_s, "a step and the measurement read the clock so often"
    assert t >= 12 - FINISH_S - 12 * tick_s
    assert outcome.epochs >= (2 if tick_s < 0.1 else 1)
    assert float(history(tmp_path / "run")[-1]["lr"]) == pytest.approx(4e-8)


def test_it_stops_when_nothing_improves(tmp_path: Path) -> None:
    """Inputs that have nothing to do with the picture: further passes would only learn the noise by heart."""
    frames, inputs = marker_play(360)
    chance = np.random.default_rng(0)
    inputs[:, Control.LEFT_X] = chance.random(360)
    inputs[:, Control.SOUTH] = chance.random(360) < 0.5
    recording = record(tmp_path / "noise", frames, inputs)
    outcome = train(recording, tmp_path / "run", epochs=12, lr=3e-3, patience=1, mirror=0.0, shift_px=0, ema=0.0)
    assert outcome.ending is Ending.EARLY
    assert outcome.epochs == outcome.metrics["epoch"] + 1
    losses = [float(row["loss"]) for row in history(tmp_path / "run")]
    assert outcome.metrics["loss"] == pytest.approx(min(losses), rel=1e-4)


def test_a_run_folder_explains_itself(play: Path, tmp_path: Path) -> None:
    """Whoever finds the folder next year wants to know what it is, how good, and how to repeat it."""
    run = tmp_path / "run"
    outcome = train(play, run)
    assert {p.name for p in run.iterdir()} == {
        "best.pt",
        "last.pt",
        "README.md",
        "controls.csv",
        "config.toml",
        "metrics.csv",
        "training.png",
        "tensorboard",
    }
    rows = history(run)
    assert list(rows[0]) == list(COLUMNS)
    assert len(rows) == 2
    assert all(float(value) == float(value) for row in rows for value in row.values()), "no column stays empty"
    picture = matplotlib.image.imread(run / "training.png")
    assert picture.shape[0] > 300
    assert picture[..., :3].std() > 0.05
    card = (run / "README.md").read_text()
    for expected in ("offline only", "Fingerprint", "| left_x | error |", "| button | presses |", "360", "160x90"):
        assert expected in card
    assert "never came within 0.5 s of" in card, "however small --val-gap-s is"
    spec = replace(fovea_spec(30), masks=((40, 0, 20, 9),))
    other = " ".join(model_card(replace(load_checkpoint(run / "best.pt"), spec=spec), "best.pt").split())
    assert "and of each a part a second time, 2.4 times as large: 29% to 71% of the width and 36% to 78% of" in other
    assert "Black in training and in play, in percent (left, top, width, height): 40,0,20,9." in other
    with (run / "controls.csv").open() as file:
        controls = {row["control"]: row for row in csv.DictReader(file)}
    assert set(controls) == {control.name.lower() for control in Control}
    held_out = outcome.metrics["held_out"]
    assert float(controls["south"]["average_precision"]) == pytest.approx(
        held_out["presses"]["south"]["average_precision"], rel=1e-4
    )
    assert controls["left_x"]["presses"] == ""
    best = load_checkpoint(run / "best.pt")
    assert best.metrics == outcome.metrics
    assert best.training["settings"]["batch_size"] == 16
    assert best.data["samples"] == 360
    assert best.fps == 30
    assert best.capture_size == (64, 36)
    assert not best.resume


def test_tensorboard_shows_the_run(play: Path, tmp_path: Path) -> None:
    """Losses, accuracies, rate, memory, gradients, and pictures with what was pressed and what would have been."""
    train(play, tmp_path / "run")
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    scalars = set(events.Tags()["scalars"])
    assert scalars >= {
        "training/loss",
        "training/button_accuracy",
        "training/axis_accuracy",
        "training/lr",
        "training/gradient_norm",
        "system/memory_gb",
        "held-out/loss",
        "held-out/button_accuracy",
        "held-out/axis_accuracy",
        "held-out/axis_accuracy_strict",
        "held-out/all_right",
        "controls/south/average_precision",
        "controls/left_x/error",
    }
    assert "presses/south" in events.Tags()["tensors"]
    batch = events.Images("training/batch")[0]
    assert (batch.width, batch.height) == (3 * 160, 8 * 90)
    assert len(events.Scalars("held-out/loss")) == 2
    assert all(0 <= event.value <= 1 for event in events.Scalars("training/button_accuracy"))
    assert "gradients/binary_head.weight" in events.Tags()["histograms"]
    picture = events.Images("held-out/samples")[0]
    assert picture.width >= 900
    assert picture.height >= 900


def test_rocketnet_trains_on_the_articles_files(tmp_path: Path) -> None:
    """Whoever has the article's recordings, also the old 180x320 ones, trains its network with its loss."""
    frames, inputs = marker_play(120, size=(320, 180))
    write_article_file(tmp_path / "recordings", frames[..., 0], inputs)
    run = tmp_path / "run"
    outcome = train(
        tmp_path / "recordings", run, model="rocketnet", loss="article", epochs=1, batch_size=8, val_gap_s=0.0
    )
    assert outcome.steps > 5
    checkpoint = load_checkpoint(run / "best.pt")
    assert len(checkpoint.weights) == 45
    assert (checkpoint.spec.width, checkpoint.spec.height) == (480, 270)
    bare = tmp_path / "bare.pth"
    torch.save(dict(checkpoint.weights), bare)
    frame = open_recordings([tmp_path / "recordings"])[0].frame(60)
    np.testing.assert_array_equal(load_policy(bare).act(frame), load_policy(run / "best.pt").act(frame))


def test_training_does_not_change_how_torch_behaves_afterwards(play: Path, tmp_path: Path) -> None:
    """Threads and repeatability are set for the run only."""
    before = (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled())
    train(play, tmp_path / "run", epochs=1)
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before


def test_sessions_that_are_held_out_are_not_learnt(play: Path, tmp_path: Path) -> None:
    """Numbers about whole sessions mean nothing if any of them was learnt from."""
    apart = record_marker_play(tmp_path / "apart", 90, seed=1)
    train(play, tmp_path / "run", epochs=1, hold_out=(apart,))
    best = load_checkpoint(tmp_path / "run" / "best.pt")
    assert best.data["samples"] == 360 + 90
    assert best.metrics["held_out"]["samples"] == 90
    assert "90 frames from recordings of which training never saw any" in (tmp_path / "run" / "README.md").read_text()
    with pytest.raises(UserError, match="to be learnt from and held out"):
        train(play, tmp_path / "both", hold_out=(play,))


def test_cuda_that_is_not_there_is_one_line(play: Path, tmp_path: Path) -> None:
    """--device cuda on a laptop must say so instead of failing inside torch."""
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU; run it on one without to test the refusal")
    with pytest.raises(UserError, match="finds no GPU"):
        train(play, tmp_path / "run", device="cuda")


def test_too_little_for_a_step_is_one_line(play: Path, tmp_path: Path) -> None:
    """A batch that never fills would train for ever on nothing."""
    with pytest.raises(UserError, match="do not fill one step of 2048"):
        train(play, tmp_path / "run", batch_size=512, accumulate=4)


def test_heads_are_balanced_as_in_the_article() -> None:
    """Buttons are learnt faster; the article's sticks only learnt once the button head was held back."""
    torch.manual_seed(0)
    network = build_network("rocketnet", {})

    def set_gradients(buttons: float, axes: float) -> None:
        for head, norm in ((network.binary_head, buttons), (network.analog_head, axes)):
            for parameter in head.parameters():
                parameter.grad = torch.randn_like(parameter)
            scale = norm / float(gradient_norm(head))
            for parameter in head.parameters():
                assert parameter.grad is not None
                parameter.grad *= scale

    for buttons, axes, expected in ((10.0, 1.0, 1.0), (1.9, 1.0, 1.9), (0.5, 1.0, 0.5)):
        set_gradients(buttons, axes)
        balance_heads(network)
        assert float(gradient_norm(network.binary_head)) == pytest.approx(expected, rel=1e-4)
        assert float(gradient_norm(network.analog_head)) == pytest.approx(axes, rel=1e-4)


def test_the_average_includes_the_statistics_of_normalisation() -> None:
    """Averaged weights with another moment's statistics play nonsense."""
    torch.manual_seed(0)
    spec = default_spec("motion", 30)
    network = build_network("motion", default_arguments("motion", spec))
    average = WeightAverage(network, 0.5)
    start = {k: v.clone() for k, v in network.state_dict().items()}
    with torch.no_grad():
        for tensor in network.state_dict().values():
            tensor.add_(1)
    average.update(1000)
    norms = [m for m in average.network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms[0].running_mean is not None
    for name, tensor in average.network.state_dict().items():
        expected = start[name] + (0.5 if tensor.is_floating_point() else 1)
        torch.testing.assert_close(tensor, expected)
    assert not average.network.training


def test_the_average_soon_forgets_the_first_weights() -> None:
    """Random first weights in an average over a short run would be noise in the policy."""
    torch.manual_seed(0)
    spec = default_spec("motion", 30)
    network = build_network("motion", default_arguments("motion", spec))
    average = WeightAverage(network, 0.999)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(3)
    for step in range(1, 60):
        average.update(step)
    assert all(float((p - 3).abs().max()) < 0.02 for p in average.network.parameters())
