"""The article's network driven exactly as the article drove it, faults and all: for the scoreboard and nothing else.

What the article changes between training and play (facts, article A to C): pictures come as 0..255 although training
divided them by 255; a button is pressed above a logit of 0.5, which is p > 0.62; the left stick's value is doubled and
the right one's halved, to hide what the first of these does. Everything else in this project goes through `preprocess`
and `decode`; what they are worth is the difference between the two rows of the scoreboard.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from rl_utils.checkpoint import load_checkpoint, restore_network
from rl_utils.controls import BUTTONS, N_CONTROLS, REST, Control
from rl_utils.errors import UserError
from rl_utils.interfaces import Image, InputVector, Policy
from rl_utils.network import Network
from rl_utils.preprocess import ARTICLE_SPEC, History, to_tensor

# Source of all five: the article's part on applying inputs.
LOGIT_THRESHOLD: Final = 0.5
DEAD_ZONE: Final = 0.025
CENTRE: Final = 128
LEFT_FACTOR: Final = 2.0
RIGHT_FACTOR: Final = 0.5

FULL: Final = 255
LEFT_STICK: Final = (Control.LEFT_X, Control.LEFT_Y)
RIGHT_STICK: Final = (Control.RIGHT_X, Control.RIGHT_Y)
TRIGGERS: Final = (Control.LEFT_TRIGGER, Control.RIGHT_TRIGGER)


class ArticlePolicy(Policy):
    """Drives as the article's play script did.

    Args:
        network: A trained RocketNet; put into evaluation mode here.
        fps: The rate of the recordings it learned from, in Hz.
        capture_size: (width, height) in px of those recordings.
    """

    def __init__(self, network: Network, *, fps: float, capture_size: tuple[int, int]) -> None:
        self.fps = fps
        self.capture_size = capture_size
        self._network = network.eval()
        self._spec = dataclasses.replace(ARTICLE_SPEC, scale=1.0)
        self._history = History(self._spec)

    def reset(self) -> None:
        """It sees one picture at a time: there is nothing to forget."""

    def act(self, image: Image) -> InputVector:
        """See `Policy.act`."""
        stack = self._history.push(image)[None]
        with torch.inference_mode():
            outputs = self._network(to_tensor(stack, self._spec))[0].float().numpy()
        return as_shipped(outputs)


def as_shipped(outputs: NDArray[np.float32]) -> InputVector:
    """What the article's play script presses for one answer of the network; the d-pad it never touches.

    Args:
        outputs: (19,) float32, 11 logits and 8 values in [0, 1].

    Returns:
        (19,) float32 in [0, 1], buttons exactly 0 or 1, axes in the 256 steps of its virtual pad.
    """
    assert outputs.shape == (N_CONTROLS,), outputs.shape
    inputs: InputVector = REST.copy()
    inputs[BUTTONS] = outputs[BUTTONS] > LOGIT_THRESHOLD
    for stick, factor in ((LEFT_STICK, LEFT_FACTOR), (RIGHT_STICK, RIGHT_FACTOR)):
        for axis in stick:
            value = float(outputs[axis])
            at_rest = abs(value - 0.5) < DEAD_ZONE
            steps = CENTRE if at_rest else int(np.clip(value * FULL * factor, 0, FULL))
            inputs[axis] = steps / FULL
    for trigger in TRIGGERS:
        inputs[trigger] = int(np.clip(outputs[trigger] * FULL, 0, FULL)) / FULL
    return inputs


def load_article_policy(path: Path) -> ArticlePolicy:
    """Open a RocketNet as the article's play script would.

    Raises:
        UserError: The file cannot be used, or holds another network.
    """
    checkpoint = load_checkpoint(path)
    if checkpoint.model_name != "rocketnet" or checkpoint.spec != ARTICLE_SPEC:
        raise UserError(
            f"{path} holds a {checkpoint.model_name}, which the article did not have", "Leave --as-shipped away"
        )
    torch.set_num_threads(1)  # as in `checkpoint.load_policy`
    network = restore_network(checkpoint, path)
    return ArticlePolicy(network, fps=checkpoint.fps, capture_size=checkpoint.capture_size)
