"""How fast samples are loaded, learnt from and answered here, beside the article's way of doing the same.

The article's ways are written anew from its text: a whole file to memory, split copies as float32, a per-sample
DataLoader; RocketNet in NCHW; `torch.Tensor([frame])` for a single frame. Times are CPU time of the process, which a
busy machine changes least.
"""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, TensorDataset

from rl_utils.batches import Augmentation, Batches
from rl_utils.bench_larger import larger_than_memory
from rl_utils.controls import N_CONTROLS, REST
from rl_utils.data_batcher import BatchSaver
from rl_utils.dataset import make_samples
from rl_utils.frame_store import FrameStore
from rl_utils.interfaces import Frame, FrameInfo, Inputs, PadInfo
from rl_utils.kept_memory import kept_memory
from rl_utils.losses import BalancedLoss, LossFunction, article_loss
from rl_utils.model import RocketNet, build_network, default_arguments, default_spec
from rl_utils.muon import Optimisers
from rl_utils.optimisation import repeatable
from rl_utils.policy import NetworkPolicy
from rl_utils.preprocess import ARTICLE_SPEC, PreprocessSpec, motion_spec, to_tensor
from rl_utils.recordings import open_recordings
from rl_utils.speed import Amp, FastForward, usual_optimiser

COUNT: Final = 200
"""Samples of the test recording: seven seconds of play."""
ARTICLE_BATCH: Final = 128
BATCH: Final = 64


def bench_load(seconds: float) -> list[dict[str, object]]:
    """Measure what a training sample costs before the network sees it.

    Args:
        seconds: Length of each measurement.

    Returns:
        Rows: loader, cpu_ms per sample and samples_per_s; ours for each picture size, held ready or decoded when
        needed, with mirroring and shifts, and the article's; then those of `bench_larger`, with the training step.
    """
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        frames = _pictures()
        ours = {codec: _record(folder / codec, frames, codec) for codec in ("gzip", "jpeg")}
        article = _article_file(folder / "article", frames)
        rows.append({"loader": "article: file to float32, DataLoader"} | _rate(_article_samples(article), seconds))
        for label, spec in (("480x270", ARTICLE_SPEC), ("160x90 motion", motion_spec(30))):
            for codec, session in ours.items():
                cost = {"loader": f"ours {label}, {codec} decoded when needed"}
                rows.append(cost | _rate(_our_samples(session, spec, 0), seconds))
            rows.append({"loader": f"ours {label}, held ready"} | _rate(_our_samples(session, spec, 10**9), seconds))
        return rows + larger_than_memory(ours["jpeg"], seconds)


def bench_train(seconds: float) -> list[dict[str, object]]:
    """Measure learning from a sample and answering a frame, on one CPU thread.

    Args:
        seconds: Length of each measurement.

    Returns:
        Rows: what, and either cpu_ms per sample and samples_per_s of training, or latency_ms p50 and p99 of one frame
        from uint8 RGB to the network's answer.
    """
    rows: list[dict[str, object]] = []
    with repeatable(deterministic=True, threads=1):
        plain = _training("rocketnet", ARTICLE_BATCH, plain=True)
        rows.append({"what": "train RocketNet 480x270 as the article, batch 128"} | _rate(plain, seconds))
        fovea = "train FoveaNet 2 x 160x90, batch 64"
        for label, name, batch in (
            ("train RocketNet 480x270, batch 128", "rocketnet", ARTICLE_BATCH),
            ("train RocketNet 480x270, batch 16", "rocketnet", 16),
            ("train MotionNet 160x90, batch 64", "motion", BATCH),
            (fovea, "fovea", BATCH),
        ):
            with kept_memory():
                rows.append({"what": label} | _rate(_training(name, batch), seconds))
                rows.append({"what": f"{label}, bfloat16"} | _rate(_training(name, batch, amp="bf16"), seconds))
        with kept_memory():
            alone = _training("fovea", BATCH, amp="bf16", optimiser="adamw")
            rows.append({"what": f"{fovea}, bfloat16, AdamW alone"} | _rate(alone, seconds))
        rows.append({"what": f"{fovea}, freed memory not kept"} | _rate(_training("fovea", BATCH), seconds))
        frame = _pictures()[0]
        for label, answer in _answers().items():
            rows.append({"what": label} | _latency(answer, frame, seconds))
    return rows


def _pictures() -> NDArray[np.uint8]:
    """(COUNT, 270, 480, 3) uint8: smooth shapes that move, with a little noise, which compress like a game."""
    chance = np.random.default_rng(0)
    y, x = np.mgrid[0:270, 0:480].astype(np.float32)
    base = 120 + 60 * np.sin(x / 37) + 50 * np.cos(y / 23)
    noise = chance.integers(0, 12, (270, 480, 3), np.uint8)
    frames = np.empty((COUNT, 270, 480, 3), np.uint8)
    for i in range(COUNT):
        frames[i] = np.roll(base, 3 * i, axis=1).astype(np.uint8)[..., None] + np.roll(noise, i, axis=0)
    return frames


def _record(folder: Path, frames: NDArray[np.uint8], codec: str) -> Path:
    with BatchSaver(
        folder,
        fps=30,
        size=(480, 270),
        frames=FrameInfo("bench", native_size=(480, 270)),
        pad=PadInfo("bench"),
        codec="jpeg" if codec == "jpeg" else "gzip",
        block=True,
    ) as saver:
        for i, image in enumerate(frames):
            t_ns = round(i * 1e9 / 30)
            saver.add(Frame(image, t_ns), Inputs(REST.copy(), t_ns), segment=0)
        return saver.folder


def _article_file(folder: Path, frames: NDArray[np.uint8]) -> Path:
    folder.mkdir()
    path = folder / "1700000000000_batch.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("frames", data=frames, compression="gzip", compression_opts=1)
        file.create_dataset("inputs", data=np.tile(REST, (COUNT, 1)), compression="gzip", compression_opts=1)
    return path


def _article_samples(path: Path) -> Iterator[int]:
    """The article's loading, pass after pass: whole file, shuffled copies, float32, DataLoader, / 255."""
    while True:
        with h5py.File(path, "r") as file:
            frames, inputs = file["frames"][:], file["inputs"][:]
        order = np.random.default_rng(0).permutation(COUNT)
        part = order[: int(0.8 * COUNT)]
        data = TensorDataset(torch.from_numpy(frames[part]).float(), torch.from_numpy(inputs[part]).float())
        for pictures, _ in DataLoader(data, batch_size=ARTICLE_BATCH, shuffle=True):
            pictures.permute(0, 3, 1, 2).div_(255)
            yield len(pictures)


def _our_samples(session: Path, spec: PreprocessSpec, cache_bytes: int) -> Iterator[int]:
    recordings = open_recordings([session])
    samples = make_samples(recordings, val_share=0.1, val_gap_s=0.5, action_shift_ms=0, seed=0)
    with FrameStore(recordings, spec, cache_bytes=cache_bytes, spill=session) as store:
        store.load(lambda _: None, lambda: False)
        batches = Batches(store, samples, augmentation=Augmentation(mirror=0.5, shift_px=2), seed=0)
        epoch = 0
        while True:
            epoch += 1
            for batch in batches.shuffled(epoch, BATCH):
                to_tensor(batch.stacks, spec)
                yield len(batch.indices)


def _training(
    name: str, batch: int, *, plain: bool = False, amp: Amp = "off", optimiser: str | None = None
) -> Iterator[int]:
    """Whole training steps on random pictures; `plain` is the article's memory layout, loss and optimiser."""
    spec = default_spec(name, 30)
    chance = np.random.default_rng(0)
    stacks = chance.integers(0, 256, (batch, spec.channels, spec.height, spec.width), np.uint8)
    targets = torch.from_numpy(chance.random((batch, N_CONTROLS), np.float32).round())
    network = RocketNet() if plain else build_network(name, default_arguments(name, spec))
    loss: LossFunction = article_loss if plain else BalancedLoss(targets.numpy())
    ours = Optimisers(optimiser or usual_optimiser(name), network, weight_decay=0.0)
    articles = torch.optim.AdamW(network.parameters(), lr=1e-4)
    forward = FastForward(network, amp=amp, compiled=False, device=torch.device("cpu"))
    while True:
        images = torch.from_numpy(stacks).float() / 255 if plain else to_tensor(stacks, spec, half=amp == "bf16")
        network.zero_grad(set_to_none=True)
        loss(forward(images), targets).total.backward()  # type: ignore[no-untyped-call]
        if plain:
            articles.step()
        else:
            ours.step(1e-4, 0.9)
        yield batch


def _answers() -> dict[str, Callable[[NDArray[np.uint8]], object]]:
    rocket = RocketNet().eval()
    policies = {}
    for name in ("rocketnet", "motion", "fovea", "temporal"):
        spec = default_spec(name, 30)
        network = build_network(name, default_arguments(name, spec))
        policies[name] = NetworkPolicy(network, spec, fps=30, capture_size=(480, 270))

    def article(frame: NDArray[np.uint8]) -> object:
        with torch.no_grad(), warnings.catch_warnings(action="ignore"):  # torch warns that a list of arrays is slow
            return rocket(torch.Tensor([frame]).permute(0, 3, 1, 2) / 255)

    return {
        "answer RocketNet 480x270, torch.Tensor([frame])": article,
        "answer RocketNet 480x270, ours": policies["rocketnet"].act,
        "answer MotionNet from 480x270, ours": policies["motion"].act,
        "answer FoveaNet from 480x270, ours": policies["fovea"].act,
        "answer TemporalNet from 480x270, ours": policies["temporal"].act,
    }


def _rate(samples: Iterator[int], seconds: float) -> dict[str, object]:
    next(samples)  # warm: files are opened, memory is touched
    cpu, wall, count = time.process_time(), time.perf_counter(), 0
    while time.perf_counter() - wall < seconds:
        count += next(samples)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    close = getattr(samples, "close", None)
    if close is not None:
        close()
    return {"cpu_ms": 1e3 * cpu / count, "samples_per_s": count / wall}


def _latency(
    answer: Callable[[NDArray[np.uint8]], object], frame: NDArray[np.uint8], seconds: float
) -> dict[str, object]:
    answer(frame)
    times: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 3:
        began = time.perf_counter()
        answer(frame)
        times.append(1e3 * (time.perf_counter() - began))
    p50, p99 = np.percentile(times, [50, 99])
    return {"latency_ms_p50": float(p50), "latency_ms_p99": float(p99)}
