"""From the arena's raw state to what a network can learn from: what lies where, as seen from the car.

Without this a small network learns next to nothing from the same numbers (measured: 0.5 against 10 touches per minute.
Source: this project's facts, learning). There is nothing to train in it.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import nn
from torch.nn import functional as F

from rl_utils.arena import field
from rl_utils.arena.obs_layout import BALL_CAR_PARTS, OBS_NAMES

POSITION_UU: Final = 6000.0
VELOCITY_UU_S: Final = 2300.0
SPIN_RAD_S: Final = 5.5
NEAR_UU: Final = (300.0, 1200.0)
"""What is near is told apart once finely and once coarsely."""
AHEAD_S: Final = (0.25, 0.5, 1.0)
"""The ball is also shown where it would be after so long, if both went straight on."""


class StateFeatures(nn.Module):
    """(B, moments * 24) raw numbers, as `StateHistory` gives them → (B, moments * `FEATURES`) of about [-1, 1]."""

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """See the class."""
        moments = rows.reshape(len(rows), -1, len(BALL_CAR_PARTS), len(OBS_NAMES) // len(BALL_CAR_PARTS))
        return _features(moments).flatten(1)


def _features(vectors: torch.Tensor) -> torch.Tensor:
    """(B, M, 8, 3) → (B, M, FEATURES)."""
    ball, ball_velocity, ball_spin, car, forward, up, velocity, spin = vectors.unbind(2)
    # The frame is left-handed: right = up × forward.
    axes = torch.stack([forward, torch.linalg.cross(up, forward), up], dim=-2)

    def seen(vector: torch.Tensor) -> torch.Tensor:
        return (axes @ vector.unsqueeze(-1)).squeeze(-1)

    goal = car.new_tensor([0.0, field.BACK_WALL_Y_UU, field.GOAL_HEIGHT_UU / 2])
    own_goal = car.new_tensor([0.0, -field.BACK_WALL_Y_UU, field.GOAL_HEIGHT_UU / 2])
    places = [seen(way) for way in (ball - car, goal - car, own_goal - car, goal - ball)]
    places += [seen(ball - car + seconds * (ball_velocity - velocity)) for seconds in AHEAD_S]
    return torch.cat(
        [
            *(vector / POSITION_UU for vector in (ball, car)),
            *(vector / VELOCITY_UU_S for vector in (ball_velocity, velocity)),
            *(vector / SPIN_RAD_S for vector in (ball_spin, seen(spin))),
            axes.flatten(2),
            *(seen(vector) / VELOCITY_UU_S for vector in (velocity, ball_velocity, ball_velocity - velocity)),
            *(place / POSITION_UU for place in places),
            *(torch.tanh(place / near) for place in places for near in NEAR_UU),
            *(F.normalize(place[..., :2], dim=-1) for place in places),
        ],
        dim=-1,
    )


FEATURES: Final = 6 * 3 + 9 + 3 * 3 + (4 + len(AHEAD_S)) * (3 + 3 * len(NEAR_UU) + 2)
"""Of one moment."""
