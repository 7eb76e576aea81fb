"""The drivers, and the noise that pushes them off their line."""

from __future__ import annotations

import numpy as np
import pytest

from rl_utils.arena.driver import ConstantDriver, Driver, IdleDriver, RandomDriver, make_driver
from rl_utils.arena.noise import Disturbance
from rl_utils.arena.rollout import PlayerSpec
from rl_utils.arena.score import Score, score
from rl_utils.arena.situations import SCORING_SEEDS
from rl_utils.arena.world import DECISION_TICKS, World
from rl_utils.controls import BUTTONS, N_CONTROLS, REST, Control
from rl_utils.errors import UserError
from rl_utils.interfaces import InputVector


@pytest.fixture(scope="module")
def expert() -> Score:
    spec = PlayerSpec("expert")
    return score(spec, name="expert", situation="benchmark", seed=SCORING_SEEDS, episodes=60, workers=1, quiet=True)


def test_the_scripted_driver_scores(expert: Score) -> None:
    """It is the teacher of every demo: what it cannot do, no clone of it will learn."""
    assert expert.minutes > 8
    assert expert.goals.per_min > 4
    assert expert.goals.low > 3
    assert expert.touches.per_min > 18
    assert expert.own_goals.per_min < 0.5


def test_the_scripted_driver_is_quicker_at_kickoffs() -> None:
    """A driver that needs half a minute from a kickoff has lost its aim."""
    spec = PlayerSpec("expert")
    kickoffs = score(spec, name="expert", situation="kickoff", seed=0, episodes=30, workers=1, quiet=True)
    assert kickoffs.goals.per_min > 6


@pytest.mark.parametrize("situation", ["walls", "corners", "nose", "roof"])
def test_the_scripted_driver_finds_its_way_out(situation: str) -> None:
    """These starts are there to show the way out; a teacher who stays stuck shows the opposite."""
    spec = PlayerSpec("expert")
    result = score(spec, name="expert", situation=situation, seed=0, episodes=25, workers=1, quiet=True)
    assert result.goals.per_min > 2
    stuck = [r.seed for r in result.rollouts if r.touches == r.goals == r.own_goals == 0]
    assert not stuck


def test_its_inputs_are_a_pads_inputs(expert: Score) -> None:
    """Recordings of it have to look like recordings of a person's 8-bit pad."""
    world, driver, inputs = World("benchmark", 0), make_driver("expert"), REST
    for _ in range(600):
        inputs = driver.decide(world, inputs)
        assert inputs.dtype == np.float32
        assert inputs.shape == (N_CONTROLS,)
        assert set(np.unique(inputs[BUTTONS])) <= {0.0, 1.0}
        for control in (Control.LEFT_X, Control.RIGHT_TRIGGER):
            assert (inputs[control] * 255) == pytest.approx(np.round(inputs[control] * 255), abs=1e-3)
        world.step(inputs, DECISION_TICKS)
    assert 0 < expert.stick_jerk < 0.2


def play_until_it_jumps(driver_inputs: list[InputVector]) -> tuple[World, Driver]:
    for seed in range(100):
        world, driver, inputs = World("shot", seed), make_driver("expert"), REST
        while world.episode == 0 and world.episode_tick < 600:
            inputs = driver.decide(world, inputs)
            if inputs[Control.SOUTH] == 1:
                driver_inputs.append(inputs)
                return world, driver
            world.step(inputs, DECISION_TICKS)
    pytest.fail("it never dodged")


def test_a_dodge_that_was_prevented_is_dropped() -> None:
    """Labels must not hold the second half of a jump that noise or another driver prevented."""
    wished: list[InputVector] = []
    world, driver = play_until_it_jumps(wished)
    brake = REST.copy()
    brake[Control.LEFT_TRIGGER] = 1  # soon there is no reason to jump any more
    for _ in range(12):
        world.step(brake, DECISION_TICKS)
        wish = driver.decide(world, brake)
    assert world.snapshot().cars[0].on_ground
    assert wish[Control.SOUTH] == 0
    assert wish[Control.LEFT_Y] == 0.5


def test_a_dodge_that_happened_goes_on() -> None:
    """The other way round: dropping every dodge would cost the driver its shots."""
    wished: list[InputVector] = []
    world, driver = play_until_it_jumps(wished)
    inputs, jumps = wished[0], [1]
    for _ in range(5):
        world.step(inputs, DECISION_TICKS)
        inputs = driver.decide(world, inputs)
        jumps.append(int(inputs[Control.SOUTH]))
    assert jumps == [1, 1, 0, 1, 1, 0]  # jump, let go, dodge
    assert not world.snapshot().cars[0].on_ground


@pytest.mark.parametrize("seed", [102, 107, 114])
def test_the_scripted_driver_watches_while_somebody_else_moves_the_car(seed: int) -> None:
    """A car that somebody throws about may be off its wheels until the prediction of the ball has run out."""
    world, mover, watcher = World("benchmark", seed), RandomDriver(), make_driver("expert")
    inputs = REST
    while world.episode == 0:
        assert watcher.decide(world, inputs).shape == (N_CONTROLS,)
        inputs = mover.decide(world, inputs)
        world.step(inputs, DECISION_TICKS)


def test_simple_drivers() -> None:
    """The baselines of every score."""
    world = World("benchmark", 0)
    assert (IdleDriver().decide(world, REST) == REST).all()
    held = np.linspace(0, 1, N_CONTROLS, dtype=np.float32)
    assert (ConstantDriver(held).decide(world, REST) == held).all()
    first, again = ([RandomDriver().decide(world, REST) for _ in range(1)] for _ in range(2))
    assert (first[0] == again[0]).all()
    other = RandomDriver(index=1).decide(world, REST)
    assert (other != first[0]).any(), "two random drivers of a match would press the same"
    assert (other == make_driver("random", 1).decide(world, REST)).all()
    with pytest.raises(UserError, match="Choose expert, idle or random"):
        make_driver("nobody")


def disturb(strength: float, count: int = 3000, seed: int = 0) -> np.ndarray:
    disturbance = Disturbance(strength, np.random.default_rng(seed))
    clean = REST.copy()
    clean[Control.RIGHT_TRIGGER] = 1
    return np.array([disturbance(clean, begun=i % 300 == 0) for i in range(count)])


def test_noise_is_strong_and_stays_within_the_pad() -> None:
    """Mild noise lost most of the gain; values outside [0, 1] are no pad's."""
    played = disturb(1.0)
    assert played.dtype == np.float32
    assert played.min() >= 0
    assert played.max() <= 1
    assert played[:, Control.LEFT_X].std() > 0.12
    forced = np.abs(np.diff(played[:, Control.LEFT_X])) == 0
    assert 0.05 < forced.mean() < 0.5
    assert 0.002 < played[:, Control.SOUTH].mean() < 0.1
    assert (played[:, Control.RIGHT_TRIGGER] < 1).mean() > 0.03
    assert (played[:, Control.WEST] == 0).all()


def test_weak_noise_is_weaker_and_none_is_none() -> None:
    """--noise 0.3 has to do what it says, and --noise 0 nothing."""
    off = [np.abs(disturb(strength)[:, Control.LEFT_X] - 0.5).mean() for strength in (1.0, 0.3, 0.0)]
    assert off[0] > 2 * off[1] > 0
    assert off[2] == 0


def test_noise_repeats_with_its_seed() -> None:
    """A recording in direct mode is reproducible, noise included."""
    assert (disturb(1.0, 300, 5) == disturb(1.0, 300, 5)).all()
    assert (disturb(1.0, 300, 5) != disturb(1.0, 300, 6)).any()


def test_noise_leaves_the_drivers_answer_alone() -> None:
    """The clean answer is the label; overwritten, the noise itself would be learnt."""
    clean = REST.copy()
    disturbance = Disturbance(1.0, np.random.default_rng(0))
    for _ in range(300):
        disturbance(clean)
    assert (clean == REST).all()
