"""`make_env`: the practice arena as a stock RLGym environment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlgym.api import ObsBuilder, RewardFunction, RLGym

from rl_utils.arena.driver import Driver, make_driver
from rl_utils.arena.engine import ArenaEngine
from rl_utils.arena.gym_parts import GoalScored, PadActionParser, PlayReward, SituationMutator, TimeOver
from rl_utils.arena.observations import CompleteObs
from rl_utils.arena.world import DECISION_TICKS
from rl_utils.errors import UserError

FIRST = "blue-0"
"""The agent that is always there."""


def make_env(
    situation: str = "training",
    *,
    seed: int = 0,
    blue: int = 1,
    orange: int = 0,
    others: str | Path | Mapping[str, str | Path] | None = None,
    obs: ObsBuilder[Any, Any, Any, Any] | None = None,
    reward: RewardFunction[Any, Any, float] | None = None,
    ticks: int = DECISION_TICKS,
    limit_s: float | None = None,
) -> RLGym[Any, Any, Any, Any, float, Any, Any, Any]:
    """Make an environment of the arena.

    Agents are "blue-0", "blue-1", ... and "orange-0", ...; an action is the pad's 19 inputs. An episode ends with a
    goal (terminated) or after its time limit (truncated), and `reset` goes on to the next seed. Every part can be
    exchanged for one of yours or of RLGym's: they are attributes of what is returned.

    Args:
        situation: How play starts; one of `situations.NAMES`.
        seed: Of the first start. Scores are made from 900000 on: train below that.
        blue: Cars that attack +y, 1 to 3.
        orange: Cars that attack -y, 0 to 3.
        others: Who drives cars that are then no agents: for every car but "blue-0", or agent by agent. "expert" is the
            scripted driver, "idle" and "random" speak for themselves, and a path names a checkpoint of `train.py`.
        obs: Observation builder; `CompleteObs` by default.
        reward: Reward function; `PlayReward` by default.
        ticks: How long an action is held, 1/120 s each.
        limit_s: Instead of the start's own time limit.

    Raises:
        UserError: Unknown situation or driver, a checkpoint that cannot be used, bad numbers, or no RocketSim.
    """
    if not (1 <= blue <= 3 and 0 <= orange <= 3):
        raise UserError(f"{blue} against {orange} is no match", "Choose 1 to 3 blue cars and 0 to 3 orange ones")
    agents = [f"blue-{i}" for i in range(blue)] + [f"orange-{i}" for i in range(orange)]
    chosen: Mapping[str, str | Path] = {}
    if isinstance(others, Mapping):
        chosen = others
    elif others is not None:
        chosen = {agent: others for agent in agents if agent != FIRST}
    strangers = [agent for agent in chosen if agent not in agents]
    if strangers:
        raise UserError(f"There is no car {strangers[0]} to be driven", f"The cars are: {', '.join(agents)}")
    return RLGym(
        state_mutator=SituationMutator(situation, seed, blue=blue, orange=orange),
        obs_builder=CompleteObs() if obs is None else obs,
        action_parser=PadActionParser(ticks),
        reward_fn=PlayReward() if reward is None else reward,
        transition_engine=ArenaEngine({agent: _driver(who, i) for i, (agent, who) in enumerate(chosen.items())}),
        termination_cond=GoalScored(),
        truncation_cond=TimeOver(limit_s),
    )


def _driver(who: str | Path, index: int) -> Driver:
    if who in ("expert", "idle", "random"):
        return make_driver(str(who), index)
    path = Path(who)
    if not path.suffix:
        return make_driver(str(who))  # says which there are
    from rl_utils.arena.policy_driver import open_policy_driver  # torch is loaded only where a checkpoint drives

    return open_policy_driver(path)
