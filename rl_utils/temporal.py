"""TemporalNet: a larger policy for those who have a GPU. It looks at a second of play and plans the next inputs.

Eight moments, the whole picture and its middle of each, go through one residual trunk for all moments; a transformer
reads the moments and says, for this tick and the seven after it, how likely each button is pressed and where each axis
stands, as a distribution over places instead of one value: where a player goes left or right around a ball, the mean of
both is wrong. In play only the first tick of a plan is used, and the next picture gives a new one; the later ticks are
there to be learnt from. Source of plans and distributions: published results (facts of this project, learning, 8).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Final

import torch
from torch import nn
from torch.nn import functional as F

from rl_utils.controls import N_AXES, N_BUTTONS, N_CONTROLS
from rl_utils.network import Network
from rl_utils.state_features import FEATURES

PLACES: Final = 21
"""An axis may stand at 0, 0.05 and so on to 1; rest and both ends are among them."""
WINDOW: Final = 1
"""So many places on both sides of the likeliest one make an axis' value."""
PLAN_TICKS: Final = 8
TRUNK: Final = (32, 64, 128, 192)
MAP: Final = 32
"""Channels of a picture's map, as it is handed on."""
HEADS: Final = 6


@dataclass(frozen=True)
class Plan:
    """What a network says about this tick and those after it.

    Attributes:
        ticks: (B, T, 19): for each tick 11 button logits and 8 axis values in [0, 1].
        places: (B, T, 8, PLACES): logits of where each axis stands.
    """

    ticks: torch.Tensor
    places: torch.Tensor


class TemporalNet(Network):
    """See the module.

    Args:
        moments: How many it looks at.
        width: Of each picture in px.
        height: Of each picture in px.
        size: Of what it remembers of a moment.
        layers: Of the transformer.
        dropout: In the transformer.
    """

    believes = True
    plans = PLAN_TICKS
    for_gpus = True
    _standing: torch.Tensor

    def __init__(
        self, *, moments: int, width: int, height: int, size: int = 384, layers: int = 4, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.looks = 2 * moments
        self._moments = moments
        self.conv_backbone, flat = _trunk(width, height)
        self.fovea_backbone, _ = _trunk(width, height)
        self.token = nn.Linear(2 * flat, size)
        self.when = nn.Parameter(0.02 * torch.randn(moments, size))
        self.transformer = nn.Sequential(*(_Layer(size, dropout) for _ in range(layers)), nn.LayerNorm(size))
        self.belief_head = nn.Linear(size, FEATURES)
        self.backbone = nn.Sequential(nn.Linear(size + FEATURES, size), nn.SiLU(), nn.Dropout(dropout))
        self.binary_head = nn.Linear(size, PLAN_TICKS * N_BUTTONS)
        self.analog_head = nn.Sequential(nn.Linear(size, PLAN_TICKS * N_AXES * PLACES))
        self.register_buffer("_standing", torch.linspace(0, 1, PLACES), persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, channels, H, W) → (B, 19 + `FEATURES` + the plan): as `FoveaNet.forward`, then what `plan` reads."""
        looks = images.reshape(len(images), 2, self._moments, 3, *images.shape[2:])
        maps = [
            trunk(looks[:, look].flatten(0, 1).contiguous(memory_format=torch.channels_last)).flatten(1)
            for look, trunk in enumerate((self.conv_backbone, self.fovea_backbone))
        ]
        tokens = self.token(torch.cat(maps, dim=1)).reshape(len(images), self._moments, -1) + self.when
        seen = self.transformer(tokens)[:, 0]  # the newest moment has read the others
        belief = self.belief_head(seen)
        features = self.backbone(torch.cat([seen, belief], dim=1))
        logits = self.binary_head(features).reshape(-1, PLAN_TICKS, N_BUTTONS)
        places = self.analog_head(features).reshape(-1, PLAN_TICKS, N_AXES, PLACES)
        ticks = torch.cat([logits, self._values(places)], dim=2)
        return torch.cat([ticks[:, 0], belief, ticks.flatten(1), places.flatten(1)], dim=1)

    def _values(self, places: torch.Tensor) -> torch.Tensor:
        """(..., PLACES) logits → (...) in [0, 1]: the mean around the likeliest place, not between two likely ones."""
        likely = places.softmax(dim=-1)
        index = torch.arange(PLACES, device=places.device)
        near = (index - likely.argmax(dim=-1, keepdim=True)).abs() <= WINDOW
        likely = likely * near
        return (likely * self._standing).sum(dim=-1) / likely.sum(dim=-1)


def plan(outputs: torch.Tensor) -> Plan:
    """What a TemporalNet's answer says beyond inputs and belief."""
    begin = N_CONTROLS + FEATURES
    middle = begin + PLAN_TICKS * N_CONTROLS
    ticks, places = outputs[:, begin:middle], outputs[:, middle:]
    return Plan(ticks.reshape(-1, PLAN_TICKS, N_CONTROLS), places.reshape(-1, PLAN_TICKS, N_AXES, PLACES))


def _trunk(width: int, height: int) -> tuple[nn.Sequential, int]:
    """Strided convolutions and residual blocks, and how many numbers their map has.

    Batch normalisation takes away what all pictures have in common; without it (group normalisation) the way of a
    moving dot was not learnt in twice the steps.
    """
    layers: list[nn.Module] = [nn.Conv2d(3, TRUNK[0], 5, 2, 2), nn.BatchNorm2d(TRUNK[0]), nn.SiLU()]
    for before, after in itertools.pairwise(TRUNK):
        layers += [nn.Conv2d(before, after, 3, 2, 1), _Residual(after)]
    layers += [nn.Conv2d(TRUNK[-1], MAP, 1), nn.BatchNorm2d(MAP), nn.SiLU()]
    for _ in TRUNK:
        width, height = -(-width // 2), -(-height // 2)
    return nn.Sequential(*layers), MAP * width * height


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.steps = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, 1, 1),
            nn.BatchNorm2d(channels),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, 1, 1),
        )

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = maps + self.steps(maps)
        return result


class _Layer(nn.Module):
    """Attention over moments, then two linear layers for each, both added to what came in."""

    def __init__(self, size: int, dropout: float) -> None:
        super().__init__()
        self.before, self.between = nn.LayerNorm(size), nn.LayerNorm(size)
        self.asked = nn.Linear(size, 3 * size)
        self.answer = nn.Sequential(nn.Linear(size, size), nn.Dropout(dropout))
        self.think = nn.Sequential(nn.Linear(size, 4 * size), nn.GELU(), nn.Linear(4 * size, size), nn.Dropout(dropout))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(B, T, size) → the same."""
        query, key, value = (
            part.reshape(*part.shape[:2], HEADS, -1).transpose(1, 2)
            for part in self.asked(self.before(tokens)).chunk(3, dim=2)
        )
        attended = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        tokens = tokens + self.answer(attended)
        result: torch.Tensor = tokens + self.think(self.between(tokens))
        return result


def place_loss(places: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of where axes stand; a value between two places counts for both.

    Args:
        places: (N, 8, PLACES) logits.
        values: (N, 8) in [0, 1].

    Returns:
        Scalar: summed over axes, mean over N.
    """
    exact = values * (PLACES - 1)
    lower = exact.floor().clamp(max=PLACES - 2).long()
    share = exact - lower
    logs = places.log_softmax(dim=-1)
    below, above = (logs.gather(-1, (lower + step)[..., None])[..., 0] for step in (0, 1))
    return -((1 - share) * below + share * above).sum(dim=1).mean()
