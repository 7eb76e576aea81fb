"""The arena as a stock RLGym environment."""

from __future__ import annotations

import gc
import re
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rlgym.api import RLGym

from rl_utils.arena.engine import ArenaEngine
from rl_utils.arena.env import make_env
from rl_utils.arena.gamestate import Car, GameState
from rl_utils.arena.gym_parts import PadActionParser, PlayReward, SituationMutator, TimeOver
from rl_utils.arena.meshes import rocketsim
from rl_utils.arena.observations import INPUTS_KEY, BallCarObs, CompleteObs
from rl_utils.arena.situations import NAMES
from rl_utils.arena.world import AGENT, World
from rl_utils.controls import N_CONTROLS, REST, Control
from rl_utils.errors import UserError
from tests.conftest import ROOT, rocket_league

common_values = rocket_league("common_values")


def stock_engine() -> Any:
    """RLGym's own engine, on the walls that this project generates."""
    rocketsim()  # whoever initialises RocketSim first chooses the walls
    return rocket_league("sim").RocketSimEngine(rlbot_delay=False)


def play(env: Any, steps: int, choose: Any) -> dict[str, int]:
    """Step and reset; returns what happened, and fails where RLGym's contract is broken."""
    seen = dict.fromkeys(("goals", "timeouts", "demolitions", "touches", "episodes"), 0)
    obs = env.reset()
    dead: set[Any] = set()
    for _ in range(steps):
        agents = env.agents
        assert sorted(obs) == sorted(agents)
        for agent in agents:
            assert obs[agent].shape == (env.observation_space(agent)[1],)
            assert np.isfinite(obs[agent]).all()
        obs, rewards, terminated, truncated = env.step({agent: choose(agent, obs[agent]) for agent in agents})
        assert [*rewards] == [*terminated] == [*truncated] == agents
        assert np.isfinite([*rewards.values()]).all()
        cars = env.state.cars
        seen["touches"] += any(car.ball_touches for car in cars.values())
        gone = {agent for agent, car in cars.items() if car.is_demoed}
        seen["demolitions"] += len(gone - dead)
        dead = gone
        if any(terminated.values()) or any(truncated.values()):
            seen["goals"] += any(terminated.values())
            seen["timeouts"] += any(truncated.values())
            seen["episodes"] += 1
            obs = env.reset()
            dead = set()
    return seen


def test_ten_thousand_steps_with_goals_and_demolitions() -> None:
    """Training runs for days: resets, goals, demolitions and touches must all be survived, and all must happen."""
    chance = np.random.default_rng(0)

    def full_speed(agent: str, obs: np.ndarray) -> np.ndarray:
        """Boost straight at the nearest opponent: what it sees of that car says where to steer."""
        inputs = REST.copy()
        inputs[[Control.RIGHT_TRIGGER, Control.EAST]] = 1
        inputs[Control.LEFT_X] = np.clip(0.5 + 6 * obs[aim + 1], 0, 1) if obs[aim] > 0 else chance.random()
        return inputs

    # Where a destroyed car comes back is up to RocketSim's own chance: short episodes make all of it certain to happen.
    experts = {"orange-1": "expert", "blue-1": "expert"}
    env = make_env("training", seed=3, blue=2, orange=2, others=experts, limit_s=12)
    names = [name for part in env.obs_builder.parts for name in part.names]
    aim = names.index("seen_opponent_1_position_forward")
    assert isinstance(env, RLGym)
    assert env.reset().keys() == {"blue-0", "orange-0"}
    seen = play(env, 10_000, full_speed)
    assert min(seen.values()) >= 1, seen


@pytest.mark.parametrize(("blue", "orange"), [(1, 0), (1, 1), (2, 2), (3, 3)])
def test_default_obs_and_ours_are_exchangeable(blue: int, orange: int) -> None:
    """RLGym users want to swap builders, not environments."""
    default = rocket_league("obs_builders").DefaultObs()
    chance = np.random.default_rng(1)
    for builder in (default, CompleteObs(), BallCarObs()):
        env = make_env("kickoff", seed=1, blue=blue, orange=orange, obs=builder)
        env.reset()
        assert len(env.agents) == blue + orange
        assert len(env.observation_spaces) == len(env.action_spaces) == blue + orange
        play(env, 150, lambda *_: chance.random(N_CONTROLS))
        if builder is default:  # ours in the same environment, in the middle of play
            env.obs_builder = CompleteObs()
            play(env, 50, lambda *_: REST)


def test_stock_engine_takes_our_parts() -> None:
    """Our builders, actions and starts must serve those who keep RLGym's own engine, rewards and mutators."""
    engine = stock_engine()
    rewards, mutators = rocket_league("reward_functions"), rocket_league("state_mutators")
    conditions = rocket_league("done_conditions")
    env = RLGym(
        state_mutator=SituationMutator("training", 5, blue=2, orange=2),
        obs_builder=CompleteObs(previous_inputs=True),
        action_parser=PadActionParser(8),
        reward_fn=rewards.CombinedReward((rewards.GoalReward(), 10.0), (PlayReward(), 1.0)),
        transition_engine=engine,
        termination_cond=conditions.GoalCondition(),
        truncation_cond=TimeOver(),
    )
    chance = np.random.default_rng(2)
    play(env, 300, lambda *_: chance.random(N_CONTROLS))
    env.state_mutator = mutators.MutatorSequence(mutators.FixedTeamSizeMutator(2, 1), mutators.KickoffMutator())
    play(env, 50, lambda *_: chance.random(N_CONTROLS))
    # And our engine takes RLGym's parts.
    env.transition_engine = ArenaEngine()
    env.reward_fn = rewards.TouchReward()
    env.action_parser = rocket_league("action_parsers").RepeatAction(
        rocket_league("action_parsers").LookupTableAction(), repeats=4
    )
    play(env, 50, lambda *_: np.array([int(chance.integers(0, 90))]))


def test_both_engines_play_the_same_match() -> None:
    """States of our engine have to mean what RLGym's mean: from the same inputs the same match, number by number."""
    theirs, ours = stock_engine(), ArenaEngine()
    start = ours.create_base_state()
    SituationMutator("training", 12, blue=2, orange=2).apply(start, {})
    ours.set_state(start, {})
    start.config.boost_consumption = (100 / 3) / common_values.BOOST_CONSUMPTION_RATE  # RLGym rounds it to 33.3 per s
    theirs.set_state(start, {})
    chance = np.random.default_rng(3)
    for _ in range(120):
        held = {agent: np.tile(chance.uniform(-1, 1, 8).astype(np.float32), (4, 1)) for agent in start.cars}
        for action in held.values():
            action[:, 5:] = action[:, 5:] > 0
        states = [engine.step(held, {}) for engine in (ours, theirs)]
        mine, reference = states
        assert mine.tick_count == reference.tick_count
        assert mine.goal_scored == reference.goal_scored
        # Our ball also turns, which rounds differently in the last digit.
        np.testing.assert_allclose(mine.ball.position, reference.ball.position, atol=0.05)
        np.testing.assert_array_equal(mine.boost_pad_timers, reference.boost_pad_timers)
        for agent, car in mine.cars.items():
            other = reference.cars[agent]
            np.testing.assert_allclose(car.physics.rotation_mtx, other.physics.rotation_mtx, atol=1e-3)
            for name in Car.__slots__:
                if name not in ("physics", "flip_torque", "_inverted_physics"):
                    assert getattr(car, name) == getattr(other, name), name
            for name in (
                "on_ground",
                "can_flip",
                "is_flipping",
                "is_boosting",
                "is_supersonic",
                "is_demoed",
                "has_flip",
            ):
                assert getattr(car, name) == getattr(other, name), name
    assert any(car.has_flipped for car in states[0].cars.values())


@pytest.mark.parametrize("situation", NAMES)
def test_starts_are_the_arenas(situation: str) -> None:
    """What is learnt in the environment is scored in the arena: 1v0 starts must be the same ones."""
    env = make_env(situation, seed=20)
    for seed in (20, 21):
        built = env.reset()["blue-0"]
        world = World(situation, seed)
        expected = CompleteObs().build_obs([AGENT], world.game_state(), {})[AGENT]
        np.testing.assert_allclose(built, expected, atol=1e-6)
        assert env.shared_info["seed"] == seed


@pytest.mark.parametrize("situation", NAMES)
def test_cars_stand_apart_and_on_their_side_of_the_kickoff(situation: str) -> None:
    """Cars that begin inside one another are thrown across the pitch."""
    env = make_env(situation, seed=40, blue=3, orange=3)
    for _ in range(20):
        env.reset()
        state = env.state
        places = {agent: car.physics.position for agent, car in state.cars.items()}
        others = [*places.items(), ("ball", state.ball.position)]
        for agent, place in places.items():
            assert abs(place[0]) < 4096
            assert abs(place[1]) < 5120
            assert all(np.linalg.norm(place - there) > 200 for other, there in others if other != agent), agent
        if situation == "kickoff":
            assert all((place[1] < 0) == agent.startswith("blue") for agent, place in places.items())
            assert [car.boost_amount for car in state.cars.values()] == pytest.approx([100 / 3] * 6)
    first, again = (make_env(situation, seed=40, blue=3, orange=3).reset() for _ in range(2))
    for agent, seen in first.items():
        np.testing.assert_array_equal(seen, again[agent])


def test_the_scripted_driver_plays_either_team() -> None:
    """An opponent that drives the wrong way is no opponent: on each side it must score into the right goal."""
    for agent, other, team in (("blue-0", "orange-0", 0), ("orange-0", "blue-0", 1)):
        env = make_env("benchmark", seed=7, blue=1, orange=1, others={agent: "expert", other: "idle"}, limit_s=30)
        assert env.reset() == {}
        scored: list[int] = []
        for _ in range(4 * 900):
            env.step({})
            if env.state.goal_scored or env.state.tick_count >= 3600:
                scored += [env.state.scoring_team] if env.state.goal_scored else []
                env.reset()
        assert len(scored) >= 4
        assert np.mean(np.array(scored) == team) > 0.7, (agent, scored)


def test_random_drivers_of_a_match_press_different_things() -> None:
    """A team of cars that do the same at the same time shows a learner much less than it seems."""
    env = make_env("benchmark", seed=3, blue=3, orange=1, others="random")
    env.reset()
    pressed: dict[str, list[tuple[bool, float]]] = {"blue-1": [], "blue-2": [], "orange-0": []}
    for _ in range(60):
        env.step({"blue-0": REST})
        for agent, seen in pressed.items():
            car = env.state.cars[agent]
            seen.append((car.is_holding_jump, car.handbrake))
    assert len({tuple(seen) for seen in pressed.values()}) == 3


def test_the_expert_drives_in_the_environment_as_in_the_arena() -> None:
    """Its wishes are labels: the same driver in the same start has to do the same, as blue or as orange."""
    world, drivers = World("benchmark", 33), {}
    for agent in ("blue-0", "orange-0"):
        engine = ArenaEngine({agent: _expert()})
        state = world.game_state()
        own = state.cars[AGENT]
        if agent == "orange-0":
            own.team_num, own.physics = 1, own.physics.inverted()
            state.ball = state.ball.inverted()
        state.cars = {agent: own}
        state.tick_count = 0
        engine.set_state(state, {})
        drivers[agent] = engine
    expert, inputs = _expert(), REST
    for _ in range(45):
        inputs = expert.decide(world, inputs)
        world.step(inputs, 4)
        for agent, engine in drivers.items():
            body = engine.step({}, {}).cars[agent].physics
            body = body if agent == "blue-0" else body.inverted()
            np.testing.assert_allclose(body.position, world.snapshot().cars[0].body.position, atol=2.0)


def _expert() -> Any:
    from rl_utils.arena.driver import make_driver

    return make_driver("expert")


def test_rewards_are_the_teams_own() -> None:
    """A sign error here trains a bot to score own goals."""
    state = GameState(goal_scored=True)
    state.cars = {"blue-0": Car(), "blue-1": Car(ball_touches=2), "orange-0": Car(team_num=1)}
    state.ball.position = np.array([0, 5300, 100], np.float32)
    reward = PlayReward(ball_to_goal=0, to_ball=0)
    agents = [*state.cars]
    given = reward.get_rewards(agents, state, {}, {}, {})
    assert given == {"blue-0": 10, "blue-1": pytest.approx(10.1), "orange-0": -10}
    state.goal_scored, state.ball.position = False, np.zeros(3, np.float32)
    state.ball.linear_velocity = np.array([0, 6000, 0], np.float32)
    given = PlayReward(goal=0, touch=0, to_ball=0, ball_to_goal=1).get_rewards(agents, state, {}, {}, {})
    assert given == {"blue-0": pytest.approx(1), "blue-1": pytest.approx(1), "orange-0": pytest.approx(-1)}
    own = state.cars["orange-0"].physics
    own.position, own.linear_velocity = np.array([0, 1000, 0], np.float32), np.array([0, -2300, 0], np.float32)
    given = PlayReward(goal=0, touch=0, to_ball=1, ball_to_goal=0).get_rewards(agents, state, {}, {}, {})
    assert given["orange-0"] == pytest.approx(1)


def test_actions_are_the_pads_inputs() -> None:
    """Who trains here drives the real pad later: steering right is steering right, rest is rest."""
    parser, info = PadActionParser(3), {}
    right = REST.copy()
    right[[Control.LEFT_X, Control.RIGHT_TRIGGER, Control.SOUTH]] = 1
    parsed = parser.parse_actions({"a": right, "b": REST.tolist()}, None, info)
    assert parsed["a"].tolist() == [[1, 1, 0, 1, 0, 1, 0, 0]] * 3
    assert parsed["b"].tolist() == [[0] * 8] * 3
    np.testing.assert_array_equal(info[INPUTS_KEY]["a"], right)
    parser.reset(["a"], None, info)
    np.testing.assert_array_equal(info[INPUTS_KEY]["a"], REST)


def test_time_limits_are_the_starts_own() -> None:
    """Scores are quoted for 30 s; an episode that never ends would hold up training."""
    env = make_env("benchmark", seed=1)
    env.reset()
    steps = 1
    while not any(end["blue-0"] for end in env.step({"blue-0": REST})[2:]):
        steps += 1
    assert steps <= 900
    short = make_env("benchmark", seed=2, limit_s=0.5)
    short.reset()
    assert [short.step({"blue-0": REST})[3]["blue-0"] for _ in range(15)] == [False] * 14 + [True]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"situation": "moon"}, "no situation moon"),
        ({"blue": 4}, "4 against 0"),
        ({"blue": 0}, "0 against 0"),
        ({"others": {"orange-3": "idle"}}, "no car orange-3"),
        ({"orange": 1, "others": "pro"}, "no driver pro"),
        ({"orange": 1, "others": "missing.pt"}, "missing.pt cannot be read"),
        ({"ticks": 0}, "0 ticks"),
        ({"seed": -1}, "Seed -1"),
    ],
)
def test_mistakes_are_told(options: dict[str, Any], problem: str) -> None:
    """A typing mistake should not end in a stack of physics."""
    with pytest.raises(UserError, match=re.escape(problem)):
        make_env(**options)


def test_wrong_actions_are_told() -> None:
    """An agent that is forgotten, or an action of another game, must not be played as something else."""
    env = make_env(blue=1, orange=1)
    env.reset()
    for actions in ({"blue-0": REST}, {"blue-0": REST, "orange-0": REST, "x": REST}, {}):
        with pytest.raises(UserError, match="do not fit the agents"):
            env.step(actions)
    with pytest.raises(UserError, match="shape"):
        env.step({"blue-0": REST[:8], "orange-0": REST})


def test_environments_are_freed() -> None:
    """Physics that is never freed fills the memory of a training run that makes environments anew."""
    engine = make_env(blue=1, orange=1, others="expert").transition_engine
    gone = weakref.ref(engine)
    engine.set_state(_start(), {})
    del engine
    gc.collect()
    assert gone() is None


def _start() -> GameState:
    state = GameState()
    SituationMutator(blue=1, orange=1).apply(state, {})
    return state


def test_nothing_here_needs_torch_or_a_window(tmp_path: Path) -> None:
    """Simulation workers come by the hundred: each must stay small, and run where there is no screen."""
    probe = (
        "import sys\n"
        "from rl_utils.arena.env import make_env\n"
        "env = make_env(blue=2, orange=1, others={'orange-0': 'expert'})\n"
        "env.reset()\n"
        "from rl_utils.controls import REST\n"
        "env.step({agent: REST for agent in env.agents})\n"
        "loaded = [m for m in ('torch', 'cv2', 'pygame', 'Xlib', 'h5py', 'matplotlib') if m in sys.modules]\n"
        "assert not loaded, loaded\n"
    )
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", probe], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
