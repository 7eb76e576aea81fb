"""Checkpoints: written whole or not at all, read without running any code, and refused when they do not fit.

A checkpoint is plain data and tensors (`torch.load(weights_only=True)`): weights, how to build the network, how its
input is made, how its output is read, and where it comes from. The article's files, a bare `state_dict` or a dict with
`model_state_dict`, load as `rocketnet`.
"""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch

from rl_utils import __version__
from rl_utils.config import ComputeDevice
from rl_utils.controls import LAYOUT_VERSION
from rl_utils.errors import UserError
from rl_utils.model import DECODING, build_network
from rl_utils.network import Network
from rl_utils.paths import A_CHECKPOINT
from rl_utils.policy import NetworkPolicy, StatePolicy
from rl_utils.preprocess import ARTICLE_SPEC, InputSpec, read_spec
from rl_utils.state_input import StateSpec

FORMAT: Final = "rlai-checkpoint"
FORMAT_VERSION: Final = 1
ARTICLE_FPS: Final = 30.0
"""The article's files hold no rate; its loop aimed at "30+" frames per second."""


@dataclass(frozen=True)
class Checkpoint:
    """Everything a checkpoint file holds.

    Attributes:
        model_name: As `model.build_network` knows it.
        model_arguments: With which the network is built.
        weights: Its state_dict, on the CPU.
        spec: How its input is made.
        fps: Rate of the recordings it learned from, in Hz.
        capture_size: (width, height) in px of those recordings.
        training: The settings of the run, with version and commit.
        metrics: What was measured on held-out play.
        data: Fingerprint of the recordings.
        resume: What `--resume` needs (`last.pt`), else empty.
    """

    model_name: str
    model_arguments: Mapping[str, Any]
    weights: Mapping[str, torch.Tensor]
    spec: InputSpec
    fps: float
    capture_size: tuple[int, int]
    training: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    resume: Mapping[str, Any] = field(default_factory=dict)


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint under its final name only when it is whole; an older one stays until then.

    Raises:
        UserError: The disk is full or the folder cannot be written.
    """
    table = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "version": __version__,
        "layout_version": LAYOUT_VERSION,
        "decoding": dict(DECODING),
        "model": {"name": checkpoint.model_name, "arguments": dict(checkpoint.model_arguments)},
        "preprocess": checkpoint.spec.as_table(),
        "weights": dict(checkpoint.weights),
        "fps": checkpoint.fps,
        "capture_size": list(checkpoint.capture_size),
        "training": dict(checkpoint.training),
        "metrics": dict(checkpoint.metrics),
        "data": dict(checkpoint.data),
        "resume": dict(checkpoint.resume),
    }
    buffer = io.BytesIO()
    torch.save(table, buffer)
    write_whole(path, buffer.getbuffer())


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Replace a file in one step, so that a full disk or a crash leaves the old one.

    Raises:
        UserError: It cannot be written.
    """
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise not_written(path, error) from error


def not_written(path: Path, error: OSError) -> UserError:
    """What to say where a file of a run cannot be written."""
    return UserError(
        f"{path} cannot be written ({error.strerror}); what was saved before is untouched",
        "Free some space or choose another --out, then go on with --resume",
    )


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint of ours or of the article.

    Raises:
        UserError: There is no such file, it is no checkpoint, or it was made for another layout, decoding or
            preprocessing.
    """
    table = _read_plain_data(path)
    if table.get("format") == FORMAT:
        return _read_ours(path, table)
    weights = table.get("model_state_dict", table)
    if isinstance(weights, Mapping) and weights and all(isinstance(v, torch.Tensor) for v in weights.values()):
        return Checkpoint(
            model_name="rocketnet",
            model_arguments={},
            weights=weights,
            spec=ARTICLE_SPEC,
            fps=ARTICLE_FPS,
            capture_size=(ARTICLE_SPEC.width, ARTICLE_SPEC.height),
        )
    raise UserError(f"{path} holds no network", A_CHECKPOINT)


def _read_plain_data(path: Path) -> dict[Any, Any]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})", A_CHECKPOINT) from error
    try:
        with warnings.catch_warnings(action="ignore"):
            # On the CPU first, so that a checkpoint from a GPU opens anywhere; weights_only runs no code of the file.
            table = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # on damaged files torch's reader raises nearly anything, also asserts
        raise UserError(f"{path} is damaged or no checkpoint", A_CHECKPOINT) from error
    if not isinstance(table, dict):
        raise UserError(f"{path} holds no network", A_CHECKPOINT)
    return table


def _read_ours(path: Path, table: Mapping[str, Any]) -> Checkpoint:
    def require(same: bool, what: str) -> None:
        if not same:
            raise UserError(f"{path} was made for another {what}", "Use the version of RLAI that trained it")

    require(table.get("format_version") == FORMAT_VERSION, "checkpoint format")
    require(table.get("layout_version") == LAYOUT_VERSION, "layout of the controls")
    require(table.get("decoding") == dict(DECODING), "way of reading its answers")
    try:
        width, height = table["capture_size"]
        return Checkpoint(
            model_name=table["model"]["name"],
            model_arguments=table["model"]["arguments"],
            weights=table["weights"],
            spec=read_spec(table["preprocess"]),
            fps=float(table["fps"]),
            capture_size=(int(width), int(height)),
            training=table["training"],
            metrics=table["metrics"],
            data=table["data"],
            resume=table["resume"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} lacks a part of a checkpoint ({error})", A_CHECKPOINT) from error


def restore_network(checkpoint: Checkpoint, path: Path) -> Network:
    """Build the network of a checkpoint and fill in its weights.

    Args:
        checkpoint: What `load_checkpoint` read.
        path: Where from, for messages.

    Raises:
        UserError: The weights are those of another network, or its input is not what the preprocessing makes.
    """
    network = build_network(checkpoint.model_name, checkpoint.model_arguments)
    convolutions = [module for module in network.conv_backbone if isinstance(module, torch.nn.Conv2d)]
    takes = network.looks * convolutions[0].in_channels if convolutions else checkpoint.model_arguments["moments"]
    makes = len(checkpoint.spec.offsets) if isinstance(checkpoint.spec, StateSpec) else checkpoint.spec.channels
    if takes != makes or bool(convolutions) == isinstance(checkpoint.spec, StateSpec):
        raise UserError(f"{path} takes {takes} channels, but its preprocessing makes {makes}", "Train again")
    expected = {name: tensor.shape for name, tensor in network.state_dict().items()}
    found = {name: tensor.shape for name, tensor in checkpoint.weights.items()}
    if expected != found:
        wrong = next(n for n in sorted(expected.keys() | found.keys()) if expected.get(n) != found.get(n))
        shapes = [str(tuple(s[wrong])) if wrong in s else "nothing" for s in (expected, found)]
        raise UserError(
            f"{path} is not a {checkpoint.model_name}: {wrong} should be {shapes[0]} and is {shapes[1]}", A_CHECKPOINT
        )
    network.load_state_dict(dict(checkpoint.weights))
    return network


def load_start(path: Path, model_name: str, spec: InputSpec) -> Checkpoint:
    """Read a checkpoint whose weights another run is to begin with.

    Args:
        path: best.pt or last.pt of a run, or a checkpoint of the article.
        model_name: Network of the new run.
        spec: What the new run's network sees.

    Raises:
        UserError: The file cannot be used, or is for another network or other pictures.
    """
    checkpoint = load_checkpoint(path)
    restore_network(checkpoint, path)
    if checkpoint.model_name != model_name:
        raise UserError(
            f"{path} holds a {checkpoint.model_name}, not a {model_name}", f"Add --model {checkpoint.model_name}"
        )
    if checkpoint.spec != spec:
        raise UserError(
            f"{path} was trained to see other pictures than these recordings give",
            "Train on recordings of the same rate, or leave --init away",
        )
    return checkpoint


def load_policy(path: Path, *, device: ComputeDevice = "auto", threads: int = 1) -> NetworkPolicy:
    """Open a checkpoint as something that drives by pictures.

    Args:
        path: best.pt or last.pt of a run, or a checkpoint of the article.
        device: Where to compute; see `playing_device`.
        threads: CPU threads of torch in this process; beside a game one is fastest, as more of them wait for each
            other (one: 4 to 8 ms, two: up to 430 ms under load. Source: measured 2026, facts of this project, storage).

    Raises:
        UserError: The file cannot be used; says why.
    """
    policy = load_arena_policy(path, device=device, threads=threads)
    if isinstance(policy, StatePolicy):
        raise UserError(
            f"{path} drives by the practice arena's state, which no window shows",
            f'Score it with "python -m rl_utils.arena score --checkpoint {path}", or train one without --model state',
        )
    return policy


def load_arena_policy(path: Path, *, device: ComputeDevice = "auto", threads: int = 1) -> NetworkPolicy | StatePolicy:
    """Open a checkpoint as something that drives in the arena, where its state can be seen, too. See `load_policy`."""
    checkpoint = load_checkpoint(path)
    network = restore_network(checkpoint, path)
    torch.set_num_threads(threads)
    spec, fps, size = checkpoint.spec, checkpoint.fps, checkpoint.capture_size
    where = playing_device(device, network)
    if isinstance(spec, StateSpec):
        return StatePolicy(network, spec, fps=fps, capture_size=size, device=where)
    return NetworkPolicy(network, spec, fps=fps, capture_size=size, device=where)


def playing_device(name: ComputeDevice, network: Network) -> torch.device:
    """Where a network computes while it drives.

    Args:
        name: auto takes the GPU, where there is one, for networks too large for a core; the others answer in
            milliseconds there, and beside a game the GPU is busy.
        network: The one that drives.

    Raises:
        UserError: CUDA was asked for and is not there.
    """
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise UserError("--compute cuda finds no GPU that torch can use", "Leave --compute away to drive on the CPU")
    return torch.device("cuda" if available and (name == "cuda" or (name == "auto" and network.for_gpus)) else "cpu")
