"""The arena's observation as an RLGym `ObsBuilder`, so that what was recorded fits what RLGym's learners see."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from rlgym.api import ObsBuilder

from rl_utils.arena.observation import OBS_NAMES

BLUE_TEAM = 0
"""Source: rlgym.rocket_league.common_values.BLUE_TEAM."""


class ArenaObs(ObsBuilder[Any, NDArray[np.float32], Any, tuple[str, int]]):  # type: ignore[misc]  # it has no types
    """24 numbers per agent in the order of `OBS_NAMES`; works in a stock RLGym Rocket League environment.

    It reads RLGym's `GameState` by its attributes alone, so it needs no package but rlgym-api.
    """

    def get_obs_space(self, agent: Any) -> tuple[str, int]:
        """24 real numbers for every agent."""
        return "real", len(OBS_NAMES)

    def reset(self, agents: list[Any], initial_state: Any, shared_info: dict[str, Any]) -> None:
        """Nothing is remembered between episodes."""

    def build_obs(self, agents: list[Any], state: Any, shared_info: dict[str, Any]) -> dict[Any, NDArray[np.float32]]:
        """Observe for each agent.

        Args:
            agents: Keys of `state.cars`.
            state: An RLGym `GameState`.
            shared_info: Not used.

        Returns:
            agent → (24,) float32, from the blue team's perspective.
        """
        return {agent: _observe(state, agent) for agent in agents}


def _observe(state: Any, agent: Any) -> NDArray[np.float32]:
    car = state.cars[agent]
    blue = car.team_num == BLUE_TEAM
    ball, me = (state.ball, car.physics) if blue else (state.inverted_ball, car.inverted_physics)
    vectors = (
        ball.position,
        ball.linear_velocity,
        ball.angular_velocity,
        me.position,
        me.forward,
        me.up,
        me.linear_velocity,
        me.angular_velocity,
    )
    return np.concatenate(vectors).astype(np.float32)
