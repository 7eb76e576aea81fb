"""A trained network as something that drives: pictures (or states) in, inputs out, with its own memory of the last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from rl_utils.interfaces import Image, InputVector, Policy
from rl_utils.model import Network, Prediction, decode, predict
from rl_utils.preprocess import History, PreprocessSpec, Stack, to_tensor
from rl_utils.state_input import StateHistory, StateSpec


class NetworkPolicy(Policy):
    """Drives by a network. Made by `checkpoint.load_policy`.

    One frame at a time for play; `predict_batch` answers many independent streams at once (batched arithmetic may
    differ from single frames in the last bits, so scores that must repeat use one way or the other throughout).

    Args:
        network: Trained weights; put into evaluation mode here.
        spec: What it wants to see.
        fps: The rate it was trained for, in Hz.
        capture_size: (width, height) in px of the recordings it learned from; capturing at this size shows it the very
            pixels that a recording would have stored.
        device: Where to compute.
    """

    def __init__(
        self,
        network: Network,
        spec: PreprocessSpec,
        *,
        fps: float,
        capture_size: tuple[int, int],
        device: torch.device | str = "cpu",
    ) -> None:
        self.fps = fps
        self.spec = spec
        self.capture_size = capture_size
        self._device = torch.device(device)
        self._network = network.to(self._device).eval()
        self._history = History(spec)

    def reset(self) -> None:
        """Forget the past: the next frame does not continue the last one."""
        self._history.reset()

    def act(self, image: Image) -> InputVector:
        """Answer one frame. (H, W, 3) uint8 RGB → (19,) float32 in [0, 1], buttons exactly 0 or 1."""
        return decode(self.predict(image))

    def predict(self, image: Image) -> Prediction:
        """Answer one frame before thresholds: pressed (11,), axes (8,); remembers it like `act`."""
        batch = self.predict_stacks(self._history.push(image)[None])
        return Prediction(pressed=batch.pressed[0], axes=batch.axes[0])

    def new_history(self) -> History:
        """A memory for one more independent stream, for `predict_batch`; the caller resets it."""
        return History(self.spec)

    def predict_batch(self, images: Sequence[Image], histories: Sequence[History]) -> Prediction:
        """Answer the newest frame of several independent streams.

        Args:
            images: B pictures, (H, W, 3) uint8 RGB.
            histories: B memories from `new_history`, one per stream.

        Returns:
            pressed (B, 11), axes (B, 8).
        """
        stacks = [history.push(image) for image, history in zip(images, histories, strict=True)]
        return self.predict_stacks(np.stack(stacks))

    def predict_stacks(self, stacks: NDArray[np.uint8] | Stack) -> Prediction:
        """Answer (B, channels, height, width) uint8 as `History.push` makes them: pressed (B, 11), axes (B, 8)."""
        with torch.inference_mode():
            return predict(self._network(to_tensor(stacks, self.spec, self._device)))


class StatePolicy(Policy):
    """Drives by a network that sees the arena's state. Made by `checkpoint.load_arena_policy`.

    Args:
        network: Trained weights; put into evaluation mode here.
        spec: What it wants to see.
        fps: The rate it was trained for, in Hz.
        capture_size: (width, height) in px of the recordings it learned from; it does not look at them.
        device: Where to compute.
    """

    sees: Literal["pictures", "state"] = "state"

    def __init__(
        self,
        network: Network,
        spec: StateSpec,
        *,
        fps: float,
        capture_size: tuple[int, int],
        device: torch.device | str = "cpu",
    ) -> None:
        self.fps = fps
        self.spec = spec
        self.capture_size = capture_size
        self._device = torch.device(device)
        self._network = network.to(self._device).eval()
        self._history = StateHistory(spec)

    def reset(self) -> None:
        """Forget the past: the next state does not continue the last one."""
        self._history.reset()

    def act(self, image: NDArray[Any]) -> InputVector:
        """Answer one state instead of a picture. (24,) float32, raw → (19,) float32 in [0, 1]."""
        with torch.inference_mode():
            outputs = self._network(to_tensor(self._history.push(image)[None], self.spec, self._device))
        inputs: InputVector = decode(predict(outputs))[0]
        return inputs
