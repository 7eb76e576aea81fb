"""The form that all networks share, whatever they look at."""

from __future__ import annotations

import torch
from torch import nn


class Network(nn.Module):
    """The form all networks share; the attributes' names are those of the article's checkpoints.

    Attributes:
        conv_backbone: Pictures → maps (states → features).
        backbone: Flattened maps → what both heads look at.
        binary_head: The last layer for buttons.
        analog_head: The last layers for axes; end in a sigmoid.
        looks: How many times as many channels as `conv_backbone` takes it sees.
        believes: Whether its answer goes on with what it believes the state to be.
        plans: Of how many ticks, from this one on, it says what is to be pressed, for learning; 0: of this one only.
        for_gpus: Too large for one core to drive by.
    """

    looks: int = 1
    believes: bool = False
    plans: int = 0
    for_gpus: bool = False
    conv_backbone: nn.Sequential
    backbone: nn.Sequential
    binary_head: nn.Linear
    analog_head: nn.Sequential

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, channels, H, W) float32 in [0, 1] → (B, 19): 11 button logits, 8 axis values in [0, 1]."""
        return self._heads(self.backbone(self.conv_backbone(images).flatten(1)))

    def inner_weights(self) -> list[torch.Tensor]:
        """Weights that Muon moves where it is asked for: those of all convolutions."""
        return [layer.weight for layer in self.modules() if isinstance(layer, nn.Conv2d)]

    def _heads(self, features: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.binary_head(features), self.analog_head(features)], dim=1)
