"""A trained network as something that drives: pictures (or states) in, inputs out, with its own memory of the last."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Generic, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from rl_utils.interfaces import Image, InputVector, Policy
from rl_utils.model import Prediction, decode, predict
from rl_utils.network import Network
from rl_utils.preprocess import History, PreprocessSpec, Stack, to_tensor
from rl_utils.state_input import StateHistory, StateSpec

Spec = TypeVar("Spec", bound=PreprocessSpec | StateSpec)
Past = TypeVar("Past", bound=History | StateHistory)


class _TrainedPolicy(Policy, Generic[Spec, Past]):
    """A network with what it wants to see and a memory of what it saw.

    Args:
        network: Trained weights; put into evaluation mode here.
        spec: What it wants to see.
        fps: The rate it was trained for, in Hz.
        capture_size: (width, height) in px of the recordings it learned from.
        device: Where to compute.
    """

    def __init__(
        self,
        network: Network,
        spec: Spec,
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
        self._history = self.new_history()

    @abstractmethod
    def new_history(self) -> Past:
        """A memory for one more independent stream; the caller resets it."""

    def reset(self) -> None:
        """Forget the past: what comes next does not continue the last."""
        self._history.reset()


class NetworkPolicy(_TrainedPolicy[PreprocessSpec, History]):
    """Drives by a network. Made by `checkpoint.load_policy`.

    One frame at a time for play; `predict_batch` answers many independent streams at once (batched arithmetic may
    differ from single frames in the last bits, so scores that must repeat use one way or the other throughout).

    What it is shown should be captured at `capture_size`: the very pixels that a recording would have stored.
    """

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


class StatePolicy(_TrainedPolicy[StateSpec, StateHistory]):
    """Drives by a network that sees the arena's state. Made by `checkpoint.load_arena_policy`."""

    sees: Literal["pictures", "state"] = "state"

    def new_history(self) -> StateHistory:
        """A memory for one more independent stream; the caller resets it."""
        return StateHistory(self.spec)

    def act(self, image: NDArray[Any]) -> InputVector:
        """Answer one state instead of a picture. (24,) float32, raw → (19,) float32 in [0, 1]."""
        with torch.inference_mode():
            outputs = self._network(to_tensor(self._history.push(image)[None], self.spec, self._device))
        inputs: InputVector = decode(predict(outputs))[0]
        return inputs
