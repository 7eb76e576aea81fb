"""The only way from pixels to model input, shared by training, play and playback.

A network that is fed differently from how it was trained drives like one that was never trained (measured: 0.2 against
5.2 touches per minute, the same weights), so there is one path: `shrink` a picture, remember the last ones in a
`History`, stack planes as `PreprocessSpec.planes` says, and let `to_tensor` scale them. All steps but the last are on
uint8, so the same stored pixels give the same bits wherever they are used. The spec is stored in every checkpoint.
Networks of the arena's state have a spec, memory and store of their own (`state_input`), and `to_tensor` in common.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor
from typing import Any, Final, Literal, cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from rl_utils.errors import UserError
from rl_utils.interfaces import Image
from rl_utils.state_input import StateSpec

cv2.setNumThreads(1)  # one small picture at a time: OpenCV's thread pool only takes cores from the game

PREPROCESS_VERSION: Final = 1
"""Grows when the arithmetic below changes; a checkpoint of another version is refused."""

Planes = NDArray[np.uint8]
"""(3, height, width) uint8: red, green and blue of one picture at model size; with a fovea 6, its own behind them."""
Mask = tuple[float, float, float, float]
Stack = NDArray[np.uint8]
"""(channels, height, width) uint8: what a network sees at one moment, before scaling."""


@dataclass(frozen=True)
class PreprocessSpec:
    """What a network wants to see.

    Attributes:
        width: In px; pictures of other sizes are resized.
        height: In px.
        offsets: How many frames ago each picture of the stack was taken, at the recorded rate, the newest (0) first.
        older: Which planes of the older pictures are kept; the newest one always gives all three.
        scale: Factor from uint8 to the network's float.
        version: `PREPROCESS_VERSION` of the code it was trained with.
        masks: Places that are black in training and in play, such as a score or a clock: left, top, width and height of
            each in percent of the picture.
        fovea: A part of the picture that is shown a second time, and larger: left, top, width and height as shares of
            the picture's. None: no second look.
    """

    width: int
    height: int
    offsets: tuple[int, ...] = (0,)
    older: Literal["green", "rgb"] = "green"
    scale: float = 1 / 255
    version: int = PREPROCESS_VERSION
    masks: tuple[Mask, ...] = ()
    fovea: tuple[float, float, float, float] | None = None

    def __post_init__(self) -> None:
        assert self.offsets[0] == 0, self.offsets
        assert list(self.offsets) == sorted(set(self.offsets)), self.offsets

    @property
    def planes(self) -> tuple[tuple[int, int], ...]:
        """The channel plan: for each channel, how many frames ago and which of `Planes`; all of the fovea's last."""
        kept = (1,) if self.older == "green" else (0, 1, 2)
        newest = tuple((0, plane) for plane in range(3))
        whole = newest + tuple((offset, plane) for offset in self.offsets[1:] for plane in kept)
        return whole if self.fovea is None else whole + tuple((offset, 3 + plane) for offset, plane in whole)

    @property
    def planes_per_picture(self) -> int:
        """How many planes are remembered of each picture."""
        return 3 if self.fovea is None else 6

    @property
    def channels(self) -> int:
        """Channels of the network's input."""
        return len(self.planes)

    @property
    def fovea_masks(self) -> tuple[Mask, ...]:
        """The masks as they lie in the fovea, in percent of it; they may reach beyond it."""
        if self.fovea is None:
            return ()
        left, top, width, height = self.fovea
        return tuple(
            ((x - 100 * left) / width, (y - 100 * top) / height, w / width, h / height) for x, y, w, h in self.masks
        )

    @property
    def memory(self) -> int:
        """How many frames before the newest one are looked at."""
        return self.offsets[-1]

    def as_table(self) -> dict[str, Any]:
        """Plain data for a checkpoint; what is not used is left out, for versions that knew nothing of it."""
        table = dataclasses.asdict(self) | {"offsets": list(self.offsets), "masks": [list(m) for m in self.masks]}
        table["fovea"] = self.fovea and list(self.fovea)
        return {name: value for name, value in table.items() if value or name not in ("masks", "fovea")}

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> PreprocessSpec:
        """Read what `as_table` wrote.

        Raises:
            UserError: It was written by a version whose preprocessing this one cannot repeat.
        """
        known = {f.name for f in dataclasses.fields(cls)}
        if (
            set(table) | {"masks", "fovea"} != known
            or table["version"] != PREPROCESS_VERSION
            or table["older"] not in ("green", "rgb")
        ):
            raise UserError(
                f"The checkpoint's preprocessing (version {table.get('version', 'unknown')}) is not the one of this "
                f"program (version {PREPROCESS_VERSION})",
                "Use the version of RLAI that trained it, or train again",
            )
        tuples = {
            "offsets": tuple(table["offsets"]),
            "masks": tuple(tuple(map(float, mask)) for mask in table.get("masks", ())),
            "fovea": tuple(map(float, table["fovea"])) if table.get("fovea") else None,
        }
        return cls(**{**table, **tuples})


InputSpec = PreprocessSpec | StateSpec


def read_spec(table: Mapping[str, Any]) -> InputSpec:
    """The spec that a checkpoint holds.

    Raises:
        UserError: It was written by a version that this one cannot repeat.
    """
    return StateSpec.from_table(table) if table.get("kind") == "state" else PreprocessSpec.from_table(table)


# Source: the article trains on 480x270 RGB divided by 255, without mean or standard deviation.
ARTICLE_SPEC: Final = PreprocessSpec(width=480, height=270)


FOVEA: Final = (140 / 480, 98 / 270, 200 / 480, 112.5 / 270)
"""Where the game's cameras show the car, and with the ball camera the ball: 5/12 of the picture's width and height."""


def motion_spec(fps: float) -> PreprocessSpec:
    """What MotionNet sees: 160x90, the newest picture in colour and the green of those 67 and 167 ms ago.

    Args:
        fps: Rate of the recordings in Hz; at 30 Hz the older pictures are 2 and 5 frames old.
    """
    near = max(1, round(fps / 15))
    return PreprocessSpec(width=160, height=90, offsets=(0, near, max(near + 1, round(fps / 6))))


def fovea_spec(fps: float) -> PreprocessSpec:
    """What FoveaNet sees: as MotionNet, and the middle of it 2.4 times as large beside it.

    Args:
        fps: Rate of the recordings in Hz.
    """
    return dataclasses.replace(motion_spec(fps), fovea=FOVEA)


TEMPORAL_S: Final = (0, 1 / 15, 2 / 15, 1 / 5, 1 / 3, 1 / 2, 3 / 4, 1)
"""How long ago TemporalNet's moments were: densely what just moved, sparsely where it came from."""


def temporal_spec(fps: float) -> PreprocessSpec:
    """What TemporalNet sees: eight moments of the last second in colour, each with its middle 2.4 times as large.

    Args:
        fps: Rate of the recordings in Hz.
    """
    offsets: list[int] = []
    for ago in TEMPORAL_S:
        offsets.append(max(round(ago * fps), offsets[-1] + 1 if offsets else 0))
    return PreprocessSpec(width=160, height=90, offsets=tuple(offsets), older="rgb", fovea=FOVEA)


def shrink(image: Image, spec: PreprocessSpec) -> Planes:
    """Bring a picture to model size.

    Args:
        image: (H, W, 3) uint8 RGB of any size.
        spec: What the network wants to see.

    Returns:
        (3 or 6, height, width) uint8, a new array: see `Planes`.
    """
    planes = np.ascontiguousarray(_fitted(image, spec).transpose(2, 0, 1))
    hide(planes, spec.masks)
    if spec.fovea is None:
        return planes
    height, width = image.shape[:2]
    left, top, wide, high = spec.fovea
    rows = slice(round(top * height), max(round((top + high) * height), round(top * height) + 1))
    columns = slice(round(left * width), max(round((left + wide) * width), round(left * width) + 1))
    middle = np.ascontiguousarray(_fitted(image[rows, columns], spec).transpose(2, 0, 1))
    hide(middle, spec.fovea_masks)
    return np.concatenate([planes, middle])


def _fitted(image: Image, spec: PreprocessSpec) -> Image:
    h, w = image.shape[:2]
    if (w, h) == (spec.width, spec.height):
        return image
    smaller = w >= spec.width and h >= spec.height
    # Area averaging keeps the ball of a far-away picture; it is not defined for enlarging (180x320 recordings).
    how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return cast(Image, cv2.resize(image, (spec.width, spec.height), interpolation=how))


def hide_again(stacks: NDArray[np.uint8], spec: PreprocessSpec) -> None:
    """Blacken the masked places of (B, channels, height, width) uint8 that were shifted; changed in place."""
    whole = stacks.shape[1] if spec.fovea is None else stacks.shape[1] // 2
    hide(stacks[:, :whole], spec.masks)
    hide(stacks[:, whole:], spec.fovea_masks)


def hide(pictures: NDArray[np.uint8], masks: Sequence[Mask]) -> None:
    """Blacken the masked places, whole pixels outwards.

    Args:
        pictures: (..., height, width) uint8, changed in place.
        masks: Left, top, width and height of each in percent of the picture.
    """
    high, wide = pictures.shape[-2:]
    for left, top, width, height in masks:
        columns = slice(max(0, floor(left * wide / 100)), max(0, ceil((left + width) * wide / 100)))
        rows = slice(max(0, floor(top * high / 100)), max(0, ceil((top + height) * high / 100)))
        pictures[..., rows, columns] = 0


class History:
    """The last pictures of one stream of frames, at model size.

    Args:
        spec: What the network wants to see.
    """

    def __init__(self, spec: PreprocessSpec) -> None:
        self.spec = spec
        self._frames: deque[Planes] = deque(maxlen=spec.memory + 1)

    def reset(self) -> None:
        """Forget the past: the next frame does not continue the last one."""
        self._frames.clear()

    def push(self, image: Image) -> Stack:
        """Add the newest picture and return what the network sees now.

        Frames from before the last reset are replaced by the first one after it, as in training.

        Args:
            image: (H, W, 3) uint8 RGB.

        Returns:
            (channels, height, width) uint8.
        """
        self._frames.append(shrink(image, self.spec))
        newest = len(self._frames) - 1
        stack = np.empty((self.spec.channels, self.spec.height, self.spec.width), np.uint8)
        for channel, (offset, plane) in enumerate(self.spec.planes):
            stack[channel] = self._frames[max(newest - offset, 0)][plane]
        return stack


def to_tensor(
    stacks: NDArray[Any], spec: InputSpec, device: torch.device | str = "cpu", *, half: bool = False
) -> torch.Tensor:
    """Scale a batch of stacks to the network's input; states go as they are.

    The factor is multiplied, not divided by, because CUDA divides by multiplying with a reciprocal: this way both
    give the same bits.

    Args:
        stacks: (B, channels, height, width) uint8, or (B, moments * 24) float32.
        spec: What the network wants to see.
        device: Where the result is wanted; bytes travel there before they become floats.
        half: Make pictures bfloat16 at once. Autocast would make the same values of float32, through twice the memory.

    Returns:
        (B, channels, height, width) float32 (or bfloat16) in [0, 1], channels_last in memory (with a fovea as it comes:
        such networks copy their two looks apart, to channels_last themselves); or the float32 states.
    """
    if isinstance(spec, StateSpec):
        return torch.from_numpy(stacks).to(device)
    batch = torch.from_numpy(stacks).to(device, non_blocking=True)
    if spec.fovea is None:
        # Bytes are reordered before they become floats: a quarter of the memory moves.
        batch = batch.contiguous(memory_format=torch.channels_last)
    dtype = torch.bfloat16 if half else torch.float32
    # By a tensor: the same bits as by a number, but a third of the time where the result is bfloat16 on a CPU.
    return batch.to(dtype).mul_(torch.tensor(spec.scale))
