"""Small recordings with something real to learn, written by BatchSaver as collect.py would."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from rl_utils.arena.obs_layout import OBS_NAMES
from rl_utils.controls import REST, Control
from rl_utils.data_batcher import BatchSaver
from rl_utils.interfaces import Frame, FrameInfo, Inputs, PadInfo, Source


def marker_play(
    count: int, *, seed: int = 0, size: tuple[int, int] = (64, 36), fps: float = 30.0
) -> tuple[np.ndarray, np.ndarray]:
    """A bright ball on a dark, noisy field; the driver steers to where it is and jumps while it is high.

    Returns:
        frames (count, H, W, 3) uint8, inputs (count, 19) float32.
    """
    chance = np.random.default_rng(seed)
    width, height = size
    # Sums of slow sines: smooth like play, and never the same twice.
    t = np.arange(count)[:, None] / fps
    frequency, phase = chance.uniform(0.1, 0.6, (2, 1, 4)), chance.uniform(0, 6.28, (2, 1, 4))
    x, y = (0.5 + 0.45 * np.sin(6.28 * f * t + p).mean(1) / 0.6 for f, p in zip(frequency, phase, strict=True))
    x, y = np.clip(x, 0.05, 0.95), np.clip(y, 0.05, 0.95)
    columns, rows = np.arange(width)[None, None, :], np.arange(height)[None, :, None]
    distance = (columns - x[:, None, None] * width) ** 2 + (rows - y[:, None, None] * height) ** 2
    frames = chance.integers(0, 40, (count, height, width, 3), np.uint8)
    frames[distance < (height / 8) ** 2] = (250, 240, 230)
    inputs = np.tile(REST, (count, 1))
    inputs[:, Control.LEFT_X] = x
    inputs[:, Control.RIGHT_TRIGGER] = 1
    inputs[:, Control.SOUTH] = y < 0.4
    return frames, inputs.astype(np.float32)


def record(
    out: Path,
    frames: np.ndarray,
    inputs: np.ndarray,
    *,
    fps: float = 30.0,
    labels: np.ndarray | None = None,
    segments: np.ndarray | None = None,
    episodes: np.ndarray | None = None,
    source: Source = Source.HUMAN,
    sources: np.ndarray | None = None,
    flags: np.ndarray | None = None,
    states: np.ndarray | None = None,
) -> Path:
    """Write one session; returns its folder."""
    count, height, width = frames.shape[:3]
    with BatchSaver(
        out,
        fps=fps,
        size=(width, height),
        frames=FrameInfo(title="test", native_size=(width, height)),
        pad=PadInfo(name="test", state_names=() if states is None else OBS_NAMES),
        batch_size=1000,
        block=True,
    ) as saver:
        for i in range(count):
            t_ns = 1_000_000_000 + round(i * 1e9 / fps)
            pad = Inputs(
                inputs[i],
                t_ns,
                labels=None if labels is None else labels[i],
                state=None if states is None else states[i],
                episode=0 if episodes is None else int(episodes[i]),
                source=source if sources is None else Source(int(sources[i])),
            )
            saver.add(
                Frame(np.ascontiguousarray(frames[i]), t_ns),
                pad,
                segment=0 if segments is None else int(segments[i]),
                flags=0 if flags is None else int(flags[i]),
            )
        return saver.folder


def record_marker_play(out: Path, count: int = 900, *, seed: int = 0, fps: float = 30.0) -> Path:
    """A session of `marker_play`."""
    return record(out, *marker_play(count, seed=seed, fps=fps), fps=fps)


def write_article_file(folder: Path, frames: np.ndarray, inputs: np.ndarray, *, stamp: int = 1_700_000_000_000) -> Path:
    """A file with the layout of the article's recorder."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stamp}_batch.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("frames", data=frames, compression="gzip", compression_opts=1)
        file.create_dataset("inputs", data=inputs, compression="gzip", compression_opts=1)
        file.attrs["timestamp"] = stamp
        file.attrs["original_shape"] = frames.shape
        file.attrs["grayscale"] = frames.ndim == 3
        file.attrs["target_size"] = (frames.shape[2], frames.shape[1])
    return path
