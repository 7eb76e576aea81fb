"""Small recordings for tests: ours through BatchSaver, the article's exactly as its recorder writes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from rl_utils.controls import N_CONTROLS
from rl_utils.data_batcher import BatchSaver
from rl_utils.interfaces import Frame, FrameInfo, Image, Inputs, PadEvent, PadInfo
from rl_utils.schema import Codec

SIZE = (48, 28)
PERIOD_NS = 33_333_333
WINDOW = FrameInfo("Rocket League", "rocketleague.exe", (960, 540), "xshm-window")
PAD = PadInfo("Test pad", "xpad", {"vendor": 0x045E}, "/dev/input/event7", {"left_x": (-32768, 0, 32767)}, ("x", "y"))


def picture(index: int, size: tuple[int, int] = SIZE) -> Image:
    """A smooth picture that is different for every index. (H, W, 3) uint8 RGB."""
    width, height = size
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    wave = 127 + 60 * np.sin((x + 3 * index) / 9.0) + 60 * np.cos((y - 2 * index) / 7.0)
    return np.stack([wave, 255 - wave, (wave + 7 * index) % 256], axis=2).astype(np.uint8)


def vector(index: int) -> NDArray[np.float32]:
    """Inputs that are different for every index. (19,) float32."""
    return np.random.default_rng(index).random(N_CONTROLS, np.float32)


def sample(
    index: int, *, labels: bool = False, state: bool = False, size: tuple[int, int] = SIZE
) -> tuple[Frame, Inputs]:
    """Sample `index` of a recording at 30 fps."""
    t_ns = 5_000_000_000 + index * PERIOD_NS
    inputs = Inputs(
        vector(index),
        t_ns=t_ns - 1000,
        labels=vector(index + 1000) if labels else None,
        state=np.array([index, -index], np.float32) if state else None,
        episode=index // 10,
    )
    return Frame(picture(index, size), t_ns), inputs


def record_session(
    out: Path,
    count: int,
    *,
    codec: Codec = "gzip",
    batch_size: int = 5000,
    size: tuple[int, int] = SIZE,
    fps: float = 30,
    labels_from: int | None = None,
    state: bool = False,
) -> Path:
    """Record samples 0..count-1, a new segment every 20, one pad event each. Returns the session folder."""
    with BatchSaver(
        out, fps=fps, size=size, frames=WINDOW, pad=PAD, codec=codec, batch_size=batch_size, block=True
    ) as saver:
        for index in range(count):
            labels = labels_from is not None and index >= labels_from
            frame, inputs = sample(index, labels=labels, state=state, size=size)
            event = PadEvent(frame.t_ns - 1000, 3, 0, -index)
            saver.add(frame, inputs, segment=index // 20, flags=index % 2, events=[event])
    return saver.folder


def write_article_file(path: Path, frames: NDArray[np.uint8], inputs: NDArray[np.float32]) -> None:
    """Write a batch file with the article's own calls: auto-chunked, gzip 1, its four attributes."""
    with h5py.File(path, "w") as file:
        file.create_dataset("frames", data=frames, compression="gzip", compression_opts=1)
        file.create_dataset("inputs", data=inputs, compression="gzip", compression_opts=1)
        file.attrs["timestamp"] = int(path.name.partition("_")[0])
        file.attrs["original_shape"] = frames.shape[1:]
        file.attrs["grayscale"] = frames.ndim == 3
        file.attrs["target_size"] = (frames.shape[2], frames.shape[1])


def pictures(indices: Sequence[int], size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    """(K, H, W, 3) uint8 RGB."""
    return np.stack([picture(index, size) for index in indices])


def vectors(indices: Sequence[int]) -> NDArray[np.float32]:
    """(K, 19) float32."""
    return np.stack([vector(index) for index in indices])
