"""Several processes train one network: as torchrun starts them, on the CPU, against one process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from rl_utils.checkpoint import load_checkpoint
from tests.conftest import ROOT
from tests.learning_data import record_marker_play

WITHOUT_DROPOUT = Path("tests") / "train_process.py"
INTERRUPTED = Path("tests") / "interrupted_process.py"


@pytest.fixture(scope="module")
def play(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve seconds of play."""
    return record_marker_play(tmp_path_factory.mktemp("play"), 360)


def command(data: Path, out: Path, *options: str, processes: int, script: Path = Path("train.py")) -> list[str]:
    """What a person types, with torchrun for more than one process."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    start = torchrun if processes > 1 else [sys.executable]
    settings = [
        "--model",
        "motion",
        "--val-gap-s",
        "0.5",
        "--batch-size",
        "16",
        "--device",
        "cpu",
        "--threads",
        "1",
        "--shift-px",
        "2",
        "--amp",  # in half precision one process and two differ by more than how they share the work
        "off",
    ]
    return [*start, str(script), str(data), "--out", str(out), *settings, *options]


def train(data: Path, out: Path, *options: str, processes: int, script: Path = Path("train.py")) -> str:
    """Run to the end; returns what was printed."""
    arguments = command(data, out, *options, processes=processes, script=script)
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def weights(run: Path) -> dict[str, torch.Tensor]:
    return dict(load_checkpoint(run / "last.pt").resume["network"])


def test_two_processes_take_the_step_of_one(play: Path, tmp_path: Path) -> None:
    """With other steps on more GPUs, every setting would have to be found anew for each number of them.

    Gradients are compared, by the optimisers' first moment, at weights that hardly move: AdamW and Muon would blow up
    rounding errors to the size of the learning rate wherever a gradient is nearly zero.
    """
    settings = ("--epochs", "1", "--accumulate", "18", "--lr", "1e-9", "--optimiser", "muon")
    runs = [tmp_path / "one", tmp_path / "two"]
    for processes, run in enumerate(runs, start=1):
        train(play, run, *settings, processes=processes, script=WITHOUT_DROPOUT)
    one, two = (load_checkpoint(run / "last.pt").resume for run in runs)
    assert one["state"]["step"] == two["state"]["step"]
    for number, moments in one["optimiser"]["state"].items():
        gradient, other = moments["exp_avg"], two["optimiser"]["state"][number]["exp_avg"]
        assert (gradient - other).norm() < 5e-3 * gradient.norm(), number
    assert one["muon"]["state"], "kernels have their mean of gradients there"
    for number, moments in one["muon"]["state"].items():
        gradient, other = moments["momentum"], two["muon"]["state"][number]["momentum"]
        assert (gradient - other).norm() < 5e-3 * gradient.norm(), number
    for name in (name for name in one["network"] if "running" in name):
        torch.testing.assert_close(two["network"][name], one["network"][name], rtol=1e-4, atol=1e-6)
    for column in ("train_loss", "loss", "axis_loss", "axis_accuracy"):
        assert two["state"]["history"][0][column] == pytest.approx(one["state"]["history"][0][column], rel=1e-3)


def two(what: str) -> subprocess.CompletedProcess[str]:
    """Run workers_process.py twice at once."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    script = str(Path("tests") / "workers_process.py")
    return subprocess.run([*torchrun, script, what], cwd=ROOT, capture_output=True, text=True, check=False, timeout=100)


def test_losses_of_parts_are_those_of_the_whole() -> None:
    """Means over unequal numbers of ticks, and a spread within each part, made another step of it on two GPUs."""
    done = two("learn")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("agrees") == 2


def test_the_others_wait_as_long_as_the_first_process_is_at_it() -> None:
    """A coach round of more than half an hour ended the run it was for."""
    done = two("wait")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("went on") == 2


def test_nobody_waits_for_a_first_process_that_is_gone() -> None:
    """Killed in the middle of a coach round, it must not leave a run that looks alive."""
    done = two("die")
    assert done.returncode != 0
    assert "went on" not in done.stdout


def test_a_stopped_run_of_two_goes_on_bit_for_bit(play: Path, tmp_path: Path) -> None:
    """A cluster that takes its machines back must not cost the run, nor change it."""
    whole = train(play, tmp_path / "whole", "--epochs", "2", processes=2)
    assert whole.count("Settings are in ") == 1, "only one process talks"
    assert whole.count("Training complete") == 1

    part = tmp_path / "part"
    arguments = command(play, part, "--epochs", "2", processes=2, script=INTERRUPTED)
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=False, timeout=200)
    printed = done.stdout + done.stderr
    stopped = load_checkpoint(part / "last.pt").resume
    finished = load_checkpoint(tmp_path / "whole" / "last.pt").resume
    assert 0 < stopped["state"]["step"] < finished["state"]["step"], printed
    assert "Training interrupted" in printed
    assert len(stopped["rng"]) == 2

    train(play, part, "--epochs", "2", "--resume", processes=2)
    first, second = weights(tmp_path / "whole"), weights(part)
    assert all(torch.equal(first[name], second[name]) for name in first)

    train(play, tmp_path / "alone", "--epochs", "2", processes=1)
    alone = load_checkpoint(tmp_path / "alone" / "last.pt").resume["state"]["best"]["loss"]
    # How far it has come in so few steps is also luck; it begins near 10.
    assert 0.5 < finished["state"]["best"]["loss"] / alone < 2, "other units dropped out, same learning"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--batch-size", "15"), "the batch of all 2 processes, does not divide among them"),
        (("--config", "nowhere.toml"), "nowhere.toml"),
    ],
)
def test_a_mistake_is_said_and_ends_them_all(play: Path, tmp_path: Path, options: tuple[str, ...], said: str) -> None:
    """Processes that wait for one that has given up would hang until somebody looks."""
    arguments = command(play, tmp_path / "run", *options, processes=2)
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode != 0
    assert said in done.stderr
    assert "train.py: " in done.stderr


def test_a_process_that_dies_ends_the_others(play: Path, tmp_path: Path) -> None:
    """A GPU that falls off the bus at night must not leave a run that looks alive."""
    run = tmp_path / "run"
    arguments = command(play, run, "--epochs", "400", "--patience", "0", processes=2)
    with subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 120
        while not (run / "last.pt").exists() and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.05)
        children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True)
        os.kill(int(children.stdout.split()[-1]), signal.SIGKILL)
        _, errors = process.communicate(timeout=90)
    assert process.returncode != 0
    assert load_checkpoint(run / "last.pt").resume["state"]["step"] > 0, errors
