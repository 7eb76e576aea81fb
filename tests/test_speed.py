"""Faster training steps on request: what was decided is written down, kept on resume, and refused where impossible."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

import train
from rl_utils.checkpoint import Checkpoint, load_checkpoint
from rl_utils.config import AUTO_BATCH, TrainConfig, parse_config
from rl_utils.errors import UserError
from rl_utils.model import build_network, default_arguments, default_spec
from rl_utils.run_state import Ending
from rl_utils.speed import FastForward, choose_amp, settle
from rl_utils.state_input import state_spec
from rl_utils.training_run import run_training
from tests.learning_data import record_marker_play
from tests.test_state_policy import record_states
from tests.test_trainer import same_run, stop_after

CPU = torch.device("cpu")


def learn(data: Path, out: Path, stops: int = 10**9, **changes: Any) -> Ending:
    settings: dict[str, Any] = {"model": "motion", "epochs": 1, "batch_size": 16, "val_gap_s": 0.5, "threads": 1}
    config = TrainConfig(data=(data,), out=out, **(settings | changes))
    return run_training(config, stop=stop_after(stops)).ending


def test_half_precision_is_kept_and_goes_on_bit_for_bit(tmp_path: Path) -> None:
    """A run that changes its arithmetic on the way is a run that nobody can repeat."""
    play = record_marker_play(tmp_path / "play", 200)
    assert learn(play, tmp_path / "whole", amp="bf16") is Ending.COMPLETE
    assert learn(play, tmp_path / "part", 12, amp="bf16") is Ending.INTERRUPTED
    assert learn(play, tmp_path / "part", amp="auto", resume=True) is Ending.COMPLETE
    assert same_run(tmp_path / "whole", tmp_path / "part")
    best = load_checkpoint(tmp_path / "part" / "best.pt")
    assert best.training["settings"]["amp"] == "bf16"
    assert {w.dtype for w in best.weights.values() if w.is_floating_point()} == {torch.float32}
    assert learn(play, tmp_path / "full", amp="off") is Ending.COMPLETE
    assert not same_run(tmp_path / "whole", tmp_path / "full"), "it was not in half precision"
    full = load_checkpoint(tmp_path / "full" / "best.pt")
    assert best.metrics["loss"] == pytest.approx(full.metrics["loss"], rel=0.1)


def test_a_batch_is_found_and_kept(tmp_path: Path) -> None:
    """Found anew after an interruption it would be another one, and the run another run."""
    record_states(tmp_path / "play", 60, 3)
    run = tmp_path / "run"
    assert learn(tmp_path / "play", run, 4, model="state", batch_size=AUTO_BATCH) is Ending.INTERRUPTED
    found = load_checkpoint(run / "last.pt").training["settings"]["batch_size"]
    assert found in (16, 32, 64)
    assert learn(tmp_path / "play", run, model="state", batch_size=AUTO_BATCH, resume=True) is Ending.COMPLETE
    assert load_checkpoint(run / "best.pt").training["settings"]["batch_size"] == found
    assert f"batch_size = {found}" in (run / "config.toml").read_text()


def test_a_batch_never_outgrows_the_recordings() -> None:
    """A pass of three steps learns little, however fast they are."""
    config = TrainConfig(data=(Path("a"),), out=Path("b"), model="state", batch_size=AUTO_BATCH)
    chosen = settle(config, None, state_spec(30.0), CPU, per_pass=700, count=2)
    assert chosen.batch_size in (32, 2 * 17), "two processes of 16 each, of 17 at most"


def test_the_default_network_is_muons_and_older_runs_are_adamws() -> None:
    """last.pt of a run from before there was a choice has no momentum that Muon could go on with."""
    config = TrainConfig(data=(Path("a"),), out=Path("b"))
    spec = default_spec("fovea", 30.0)
    assert settle(config, None, spec, CPU, per_pass=700, count=1).optimiser == "muon"
    network = build_network("fovea", default_arguments("fovea", spec))
    known = {"model_name": "fovea", "model_arguments": default_arguments("fovea", spec), "spec": spec, "fps": 30.0}
    last = Checkpoint(
        **known,  # type: ignore[arg-type]
        weights=network.state_dict(),
        capture_size=(480, 270),
        training={"settings": {"amp": "off"}},
        metrics={},
        data={},
        resume={},
    )
    assert settle(config, last, spec, CPU, per_pass=700, count=1).optimiser == "adamw"
    for model in ("motion", "temporal", "rocketnet"):
        other = dataclasses.replace(config, model=model)
        assert settle(other, None, default_spec(model, 30.0), CPU, per_pass=700, count=1).optimiser == "adamw"


def test_words_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The settings as a person writes them, and one line for a slip."""
    words = [str(tmp_path), "--out", str(tmp_path / "run"), "--batch-size"]
    assert parse_config(TrainConfig, [*words, "auto"], prog="train.py").batch_size == AUTO_BATCH
    assert parse_config(TrainConfig, [*words, "96"], prog="train.py").batch_size == 96
    for wrong in ("many", "1"):
        assert train.main([*words, wrong]) == 2
        assert "batch-size" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("able", [True, False])
def test_auto_is_half_precision_on_a_cpu_with_matrix_units(able: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without them bfloat16 takes several times as long; states are no pictures, and gain nothing."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True} if able else {"avx2": True})
    pictures = default_spec("fovea", 30.0)
    assert choose_amp("auto", CPU, pictures) == ("bf16" if able else "off")
    assert choose_amp("off", CPU, pictures) == "off"
    assert choose_amp("bf16", CPU, pictures) == "bf16"
    assert choose_amp("auto", CPU, state_spec(30.0)) == "off"


@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning")  # raised inside torch itself
def test_a_network_that_cannot_be_compiled_is_one_line() -> None:
    """Without a compiler torch ends in pages of traceback."""

    class Strange(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise ValueError("no compiler\nand forty lines more")

    with pytest.raises(UserError, match=r"cannot be compiled here \(no compiler\)"):
        FastForward(Strange(), amp="off", compiled=True, device=CPU)(torch.ones(1))
