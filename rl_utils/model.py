"""The networks and `decode`, the only place where a prediction becomes inputs.

All answer with (B, 19): 11 button logits, then 8 axis values in [0, 1], through heads that carry the article's names;
a network that also says what it believes the state to be, says so in further columns.

- `RocketNet` is the article's network to the letter, so that its checkpoints work: one picture, pooled to 4x4.
- `MotionNet` sees three moments (`preprocess.motion_spec`), because one picture hides velocity, and keeps its 10x6 map
  instead of pooling it, because where the ball is on the screen is what steering needs.
- `FoveaNet` also sees the middle of the picture larger, because a distant ball is two pixels wide, and learns what the
  pictures say about car and ball where recordings hold the state (the arena's do): inputs alone hardly teach it.
- `TemporalNet` (in `temporal`), for GPUs, looks at a second of play and plans the next inputs.
- `StateNet` sees no pictures but the arena's state: the upper bound for what pictures can teach.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rl_utils.controls import AXES, BUTTONS, N_AXES, N_BUTTONS, N_CONTROLS
from rl_utils.errors import UserError
from rl_utils.interfaces import InputVector
from rl_utils.network import Network
from rl_utils.preprocess import ARTICLE_SPEC, InputSpec, PreprocessSpec, fovea_spec, motion_spec, temporal_spec
from rl_utils.state_features import FEATURES, StateFeatures
from rl_utils.state_input import StateSpec, state_spec
from rl_utils.temporal import TemporalNet

BUTTON_THRESHOLD: Final = 0.5
"""A button is pressed at this probability. Used by `decode` only; everybody else calls `decode`."""
DECODING: Final[Mapping[str, Any]] = {"button_threshold": BUTTON_THRESHOLD, "axes": "value"}
"""Stored in checkpoints, so that one made for another decoding is refused."""
PLAIN: Final = ((24, 7, 4), (48, 3, 2), (64, 3, 2))
"""Convolutions that look at a picture: maps, kernel and stride of each."""
DEEP: Final = ((32, 7, 4), (64, 3, 2), (64, 3, 1), (64, 3, 1), (128, 3, 2), (128, 3, 1), (32, 1, 1))
"""The same in seven layers. The last one keeps the layer behind it small."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a network says before thresholds, for one frame or many.

    Attributes:
        pressed: (..., 11) float32, the probability that each button is pressed.
        axes: (..., 8) float32 in [0, 1], sticks, triggers and d-pad.
    """

    pressed: NDArray[np.float32]
    axes: NDArray[np.float32]


def predict(outputs: torch.Tensor) -> Prediction:
    """Read a network's answer.

    Args:
        outputs: (B, 19) float32 from `RocketNet` or `MotionNet`.
    """
    outputs = outputs.detach().float()
    return Prediction(
        pressed=torch.sigmoid(outputs[:, BUTTONS]).cpu().numpy(), axes=outputs[:, AXES].contiguous().cpu().numpy()
    )


def decode(prediction: Prediction) -> InputVector:
    """Turn a prediction into inputs: buttons at p >= 0.5, axes as they are.

    The article shipped three thresholds (p > 0.62 in play, 0.5 in its metrics, 0.67 in its printout) and scaled the
    sticks in play (left x2, right /2); here there is one threshold, and a stick goes where the network says.

    Returns:
        (..., 19) float32 in [0, 1], buttons exactly 0 or 1.
    """
    inputs = np.empty((*prediction.axes.shape[:-1], N_CONTROLS), np.float32)
    inputs[..., BUTTONS] = prediction.pressed >= BUTTON_THRESHOLD
    inputs[..., AXES] = prediction.axes
    return inputs


class RocketNet(Network):
    """The article's network: 45 tensors, 1,355,475 parameters, for pictures of any size.

    Source: the article's part 2: layers, dropout 0.3, 0.2 and 0.1, LeakyReLU 0.1, Kaiming normal initialisation with
    fan_out, zero biases, batch normalisation at 1 and 0.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv_backbone = nn.Sequential(
            nn.Conv2d(3, 32, kernel_size=7, stride=4, padding=3),
            nn.ReLU(),
            nn.BatchNorm2d(32),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, kernel_size=5, stride=2, padding=2),
            nn.ReLU(),
            nn.BatchNorm2d(64),
            nn.MaxPool2d(2),
            nn.Conv2d(64, 128, kernel_size=3, stride=1, padding=1),
            nn.ReLU(),
            nn.BatchNorm2d(128),
            nn.AdaptiveAvgPool2d((4, 4)),
        )
        self.backbone = nn.Sequential(
            nn.Linear(128 * 4 * 4, 512),
            nn.ReLU(),
            nn.BatchNorm1d(512),
            nn.Dropout(0.3),
            nn.Linear(512, 256),
            nn.ReLU(),
            nn.BatchNorm1d(256),
            nn.Dropout(0.2),
            nn.Linear(256, 128),
            nn.ReLU(),
        )
        self.binary_head = nn.Linear(128, N_BUTTONS)
        self.analog_head = _analog_head(128)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                assert module.bias is not None
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)


class MotionNet(Network):
    """A small policy that sees motion: strided convolutions, a flattened map, two hidden layers.

    At 160x90 with five channels: 1.1 million parameters, about 0.8 ms of one core to train on a sample and 1 ms to
    answer a frame. Source: measured 2026 on two cores, facts of this project (learning); a trunk of twice the cost had
    no better held-out loss.

    Args:
        channels: Of the input.
        width: Of the input in px.
        height: Of the input in px.
        dropout: Before and after the hidden layers; 0.3 still improves in the fourth pass, 0.1 overfits after two.
    """

    def __init__(self, *, channels: int, width: int, height: int, dropout: float = 0.3) -> None:
        super().__init__()
        self.conv_backbone, flat = _trunk(channels, width, height, PLAIN)
        self.backbone = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(flat, 256),
            nn.ReLU(inplace=True),
            nn.Linear(256, 256),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
        )
        self.binary_head = nn.Linear(256, N_BUTTONS)
        self.analog_head = _analog_head(256)


class FoveaNet(Network):
    """Looks at the whole picture and at its enlarged middle, forms a belief about the state, and drives by both.

    Args:
        channels: Of the input: half of them of the whole picture, half of its middle.
        width: Of the input in px.
        height: Of the input in px.
        dropout: Before and after the hidden layers.
        leak: What hidden units pass on of what is below zero. With none, about half of the 256 that see the pictures
            (124 to 161) were found dead after training, always zero and beyond learning.
        deep: Look through seven layers (`DEEP`) instead of three. What it believes after three passes over 20 minutes
            of play is off by a loss of 10.3 instead of 14.1, for one and a half times the time of an answer.
    """

    looks = 2
    believes = True

    def __init__(
        self, *, channels: int, width: int, height: int, dropout: float = 0.3, leak: float = 0.0, deep: bool = False
    ) -> None:
        super().__init__()
        layers = DEEP if deep else PLAIN
        self.conv_backbone, flat = _trunk(channels // 2, width, height, layers)
        self.fovea_backbone, _ = _trunk(channels // 2, width, height, layers)
        self._deep = deep
        self.hidden = nn.Sequential(nn.Dropout(dropout), nn.Linear(2 * flat, 256), nn.LeakyReLU(leak))
        self.belief_head = nn.Linear(256, FEATURES)
        self.backbone = nn.Sequential(
            nn.Linear(256 + FEATURES, 256),
            nn.LeakyReLU(leak),
            nn.Linear(256, 256),
            nn.LeakyReLU(leak),
            nn.Dropout(dropout),
        )
        self.binary_head = nn.Linear(256, N_BUTTONS)
        self.analog_head = _analog_head(256)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, channels, H, W) → (B, 19 + `FEATURES`): as `Network.forward`, then what `StateFeatures` would say."""
        # Copied apart: convolutions take a tenth longer for channels that lie between others.
        whole, middle = (look.contiguous(memory_format=torch.channels_last) for look in images.chunk(2, dim=1))
        maps = torch.cat([self.conv_backbone(whole).flatten(1), self.fovea_backbone(middle).flatten(1)], dim=1)
        seen = self.hidden(maps)
        belief = self.belief_head(seen)
        return torch.cat([self._heads(self.backbone(torch.cat([seen, belief], dim=1))), belief], dim=1)

    def inner_weights(self) -> list[torch.Tensor]:
        """As `Network.inner_weights`; of the deep one also those of the layer behind the maps."""
        hidden: list[torch.Tensor] = [layer.weight for layer in self.hidden if isinstance(layer, nn.Linear)]
        return super().inner_weights() + (hidden if self._deep else [])


class StateNet(Network):
    """Drives by the arena's state: three hidden layers on `StateFeatures`.

    Args:
        moments: How many moments it sees.
        width: Of the hidden layers.
        dropout: After them.
    """

    def __init__(self, *, moments: int, width: int, dropout: float) -> None:
        super().__init__()
        self.conv_backbone = nn.Sequential(StateFeatures())
        self.backbone = nn.Sequential(
            nn.Linear(moments * FEATURES, width),
            nn.ReLU(inplace=True),
            nn.Linear(width, width),
            nn.ReLU(inplace=True),
            nn.Linear(width, width),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
        )
        self.binary_head = nn.Linear(width, N_BUTTONS)
        self.analog_head = _analog_head(width)


def _analog_head(features: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(features, 64),
        nn.LayerNorm(64),
        nn.LeakyReLU(0.1),
        nn.Dropout(0.1),
        nn.Linear(64, N_AXES),
        nn.Sigmoid(),
    )


def _trunk(channels: int, width: int, height: int, plan: Sequence[tuple[int, int, int]]) -> tuple[nn.Sequential, int]:
    """Convolutions with (maps, kernel, stride) each, and how many numbers their last map has."""
    layers: list[nn.Module] = []
    for maps, kernel, stride in plan:
        layers += _conv_block(channels, maps, kernel=kernel, stride=stride)
        channels, width, height = maps, -(-width // stride), -(-height // stride)
    return nn.Sequential(*layers), channels * width * height


def _conv_block(channels_in: int, channels_out: int, *, kernel: int, stride: int) -> tuple[nn.Module, ...]:
    conv = nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2, bias=False)
    return conv, nn.BatchNorm2d(channels_out), nn.ReLU(inplace=True)


def input_spec(name: str, fps: float) -> InputSpec:
    """What a new network of this name is shown, pictures or states, for recordings of `fps` Hz."""
    return state_spec(fps) if name == "state" else default_spec(name, fps)


def default_spec(name: str, fps: float) -> PreprocessSpec:
    """What a new network of pictures is shown, for recordings of `fps` Hz."""
    if name == "rocketnet":
        return ARTICLE_SPEC
    specs = {"fovea": fovea_spec, "temporal": temporal_spec}
    return specs.get(name, motion_spec)(fps)


def reach_s(name: str, fps: float) -> float:
    """How far such a network looks back and plans ahead, together, in s."""
    plans = TemporalNet.plans if name == "temporal" else 0
    return (input_spec(name, fps).offsets[-1] + plans) / fps


def default_arguments(name: str, spec: InputSpec) -> dict[str, Any]:
    """Arguments with which `build_network` makes a new network of this name for that input."""
    if isinstance(spec, StateSpec):
        return {"moments": len(spec.offsets), "width": 256, "dropout": 0.1}
    if name == "rocketnet":
        return {}
    if name == "temporal":
        return {"moments": len(spec.offsets), "width": spec.width, "height": spec.height}
    arguments = {"channels": spec.channels, "width": spec.width, "height": spec.height, "dropout": 0.3}
    return arguments | {"leak": 0.1, "deep": True} if name == "fovea" else arguments


def build_network(name: str, arguments: Mapping[str, Any]) -> Network:
    """Make a network by name, with fresh weights.

    Raises:
        UserError: There is no such network, or it does not take these arguments.
    """
    kinds: dict[str, type[Network]] = {
        "rocketnet": RocketNet,
        "motion": MotionNet,
        "fovea": FoveaNet,
        "temporal": TemporalNet,
        "state": StateNet,
    }
    if name not in kinds:
        raise UserError(f"There is no model called {name}", f"Known models are {', '.join(sorted(kinds))}")
    try:
        network = kinds[name](**arguments)
    except TypeError as error:
        raise UserError(
            f"The model {name} does not take the stored arguments ({error})", "Use the version of RLAI that trained it"
        ) from error
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]
