"""Learning from the arena's state: recorded, trained, scored and driving like any other policy, and never by window."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import collect
import playback
import train
from rl_utils.arena.direct import DirectArena
from rl_utils.arena.engine import ArenaEngine
from rl_utils.arena.env import make_env
from rl_utils.arena.game import Game
from rl_utils.arena.mapping import inputs_to_controls
from rl_utils.arena.obs_layout import OBS_NAMES, observe
from rl_utils.arena.observations import BallCarObs
from rl_utils.arena.policy_driver import open_policy_driver
from rl_utils.arena.rollout import PlayerSpec, make_player
from rl_utils.arena.score import score
from rl_utils.arena.world import AGENT, World
from rl_utils.batches import mirror_inputs
from rl_utils.checkpoint import Checkpoint, load_arena_policy, load_checkpoint, load_policy, save_checkpoint
from rl_utils.controls import N_CONTROLS, REST, Control
from rl_utils.data_batcher import BatchSaver
from rl_utils.errors import UserError
from rl_utils.interfaces import Frame, FrameInfo, Inputs, PadInfo, Source
from rl_utils.model import build_network, default_arguments, input_spec
from rl_utils.network import Network
from rl_utils.policy import StatePolicy
from rl_utils.recordings import open_recordings
from rl_utils.run_state import LAST
from rl_utils.state_features import FEATURES, StateFeatures
from rl_utils.state_input import StateHistory, StateSpec, StateStore, mirrored_states, state_spec
from rl_utils.trainer import Trainer
from tests.learning_data import record_marker_play

import eval as eval_script  # isort: skip  # the script of that name


def record_states(out: Path, seconds: float, seed: int) -> None:
    """The scripted driver's play as the arena records it in direct mode, without drawing: states need no pictures."""
    game = Game("training", seed, driver="expert", noise=1.0)
    pad = PadInfo(name="arena", profile="arena", state_names=OBS_NAMES)
    with BatchSaver(out, fps=30.0, size=(16, 9), frames=FrameInfo("arena", (16, 9)), pad=pad, block=True) as saver:
        for i in range(round(seconds * 30)):
            if i:
                game.advance(4)
            t_ns = 1_000_000_000 + game.world.tick * 1_000_000_000 // 120
            state, labels = observe(game.snapshot()), game.labels
            inputs = Inputs(game.inputs, t_ns, labels=labels, state=state, episode=game.episode, source=Source.SCRIPTED)
            saver.add(Frame(np.zeros((9, 16, 3), np.uint8), t_ns), inputs, segment=game.episode)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy trained on recordings by the scripts, as a person would."""
    folder = tmp_path_factory.mktemp("state")
    words = ["--out", str(folder / "play"), "--frames", "arena", "--seconds", "3", "--size", "64x36", "--codec", "jpeg"]
    assert collect.main(words) == 0
    record_states(folder / "play", 360, 100)
    settings = ["--model", "state", "--epochs", "10", "--batch-size", "128", "--threads", "1", "--lr", "2e-3"]
    assert train.main([str(folder / "play"), "--out", str(folder / "run"), *settings]) == 0
    return folder / "run"


@pytest.fixture
def untrained(tmp_path: Path) -> Path:
    """A picture policy that plays badly, but always the same."""
    torch.manual_seed(1)
    spec = input_spec("motion", 30.0)
    arguments = default_arguments("motion", spec)
    weights = build_network("motion", arguments).state_dict()
    weights["analog_head.4.weight"] *= 5  # so that what it sees makes a difference
    weights["analog_head.4.bias"][Control.RIGHT_TRIGGER - Control.LEFT_X] += 3
    path = tmp_path / "pictures.pt"
    save_checkpoint(Checkpoint("motion", arguments, weights, spec, fps=30.0, capture_size=(160, 90)), path)
    return path


def test_it_learns_to_play(run: Path) -> None:
    """The state is the upper bound for pictures: from six minutes of play it must already find the ball."""
    result = score(
        PlayerSpec("policy", checkpoint=run / "best.pt"),
        name="state",
        situation="benchmark",
        seed=900_000,
        episodes=12,
        workers=1,
        quiet=True,
    )
    assert result.touches.per_min > 8, result.touches  # doing nothing: 0.1
    assert "practice arena's state, 24 numbers" in (run / "README.md").read_text()
    assert "eval.py` refuses it" in (run / "README.md").read_text()


def test_windows_are_refused(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No window shows the state: driving the real game with it must end in a sentence, not in nonsense on the pad."""
    best = str(run / "best.pt")
    words = ["--frames", "window", "--sink", "log", "--log-inputs", str(tmp_path / "log.csv")]
    assert eval_script.main(["--checkpoint", best, *words]) == 2
    assert "drives by the practice arena's state, which no window shows" in capsys.readouterr().err
    assert eval_script.main(["--checkpoint", best, "--frames", "arena", "--sink", "arena", "--minutes", "0.05"]) == 0
    with pytest.raises(UserError, match="arena score"):
        load_policy(run / "best.pt")
    assert playback.main([str(run.parent / "play"), "--checkpoint", best, "--save", str(tmp_path / "x.mp4")]) == 2
    assert "no window shows" in capsys.readouterr().err


def test_recordings_without_state_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Recordings of the real game hold no state; who tries must learn what to do instead."""
    record_marker_play(tmp_path / "play", 300)
    assert train.main([str(tmp_path / "play"), "--out", str(tmp_path / "run"), "--model", "state"]) == 2
    assert "holds no state to learn from" in capsys.readouterr().err


def test_a_run_goes_on_and_learns_from_its_coach(run: Path, tmp_path: Path) -> None:
    """Interrupted runs and coach rounds are how long training is done; the state must not be left out of them."""
    data, out = str(run.parent / "play"), tmp_path / "run"
    settings = ["--model", "state", "--batch-size", "128", "--threads", "1", "--coach-minutes", "0.1"]
    assert train.main([data, "--out", str(out), *settings, "--epochs", "1"]) == 0
    assert train.main([data, "--out", str(out), *settings, "--epochs", "2", "--coach", "1", "--resume"]) == 0
    played = open_recordings([out / "coach"])
    assert sum(len(recording) for recording in played) == 180
    assert all(recording.has_labels and recording.state is not None for recording in played)
    assert load_checkpoint(out / "last.pt").data["samples"] == load_checkpoint(run / "last.pt").data["samples"] + 180


def test_a_run_that_broke_off_after_a_round_does_not_play_it_again(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By then best.pt may have learnt from that round: played anew by it, the run would be another one."""
    data = str(run.parent / "play")
    settings = ["--model", "state", "--batch-size", "128", "--threads", "1", "--epochs", "2", "--coach", "1"]
    settings += ["--coach-minutes", "0.1"]
    assert train.main([data, "--out", str(tmp_path / "whole"), *settings]) == 0
    broken = tmp_path / "broken"

    def full(trainer: Trainer, name: str, save: Callable[[Trainer, str], None] = Trainer._save) -> None:
        if name == LAST and trainer.state.epoch > trainer.state.round_epoch and trainer.state.round == 1:
            raise UserError("the disk is full", "Free some space")
        save(trainer, name)

    with monkeypatch.context() as changed:
        changed.setattr(Trainer, "_save", full)
        assert train.main([data, "--out", str(broken), *settings]) == 2
    assert load_checkpoint(broken / "best.pt").data["samples"] > load_checkpoint(run / "best.pt").data["samples"]
    (played,) = (broken / "coach").rglob("*.h5")
    monkeypatch.setattr("rl_utils.training_run.play_round", lambda *_, **__: pytest.fail("the round is played again"))
    assert train.main([data, "--out", str(broken), *settings, "--resume"]) == 0
    assert played.exists()
    whole, resumed = (load_checkpoint(tmp_path / name / "last.pt") for name in ("whole", "broken"))
    assert whole.data["sha256"] == resumed.data["sha256"]
    for name, weights in whole.weights.items():
        assert torch.equal(weights, resumed.weights[name]), name


def test_training_sees_what_driving_sees(run: Path) -> None:
    """A network that is fed otherwise than it was trained drives like one that was never trained."""
    recordings = open_recordings([run.parent / "play"])
    spec = state_spec(30.0)
    recording = max(recordings, key=len)
    assert recording.state is not None
    with StateStore([recording], spec) as store:
        history = StateHistory(spec)
        firsts = np.maximum.accumulate(np.where(np.diff(recording.segment, prepend=-1) != 0, np.arange(len(store)), 0))
        for index in range(600):
            if firsts[index] == index:
                history.reset()
            seen = history.push(recording.state[index])
            np.testing.assert_array_equal(seen, store.stacks(np.array([index]), firsts[[index]])[0])
    assert len(set(firsts[:600].tolist())) > 1  # an episode ended in between


def test_a_mirrored_state_is_that_of_mirrored_play() -> None:
    """Half of training is mirrored; one wrong sign would teach to steer away from the ball."""
    chance = np.random.default_rng(0)
    state = World("benchmark", 5).game_state()
    state.ball.angular_velocity = np.array([1, 2, 3], np.float32)
    other = World("benchmark", 5).game_state()
    other.ball.angular_velocity = np.array([1, -2, -3], np.float32)
    flip = np.array([-1, 1, 1], np.float32)
    for body in (other.ball, other.cars[AGENT].physics):
        body.position, body.linear_velocity = body.position * flip, body.linear_velocity * flip
        body.rotation_mtx = body.rotation_mtx * flip[:, None] * np.array([1, -1, 1], np.float32)
    engines = [ArenaEngine(), ArenaEngine()]
    states = [engine.set_state(start, {}) for engine, start in zip(engines, (state, other), strict=True)]
    for step in range(40):
        obs, mirrored = (BallCarObs().build_obs([AGENT], s, {})[AGENT] for s in states)
        np.testing.assert_allclose(mirrored_states(obs[None])[0], mirrored, rtol=2e-3, atol=0.5)
        inputs = chance.random(N_CONTROLS).astype(np.float32)
        inputs[Control.SOUTH] = step in (3, 4, 8, 9)  # a jump and a dodge
        for i, held in enumerate((inputs, mirror_inputs(inputs, swap_shoulders=True))):
            c = inputs_to_controls(held)
            row = [c.throttle, c.steer, c.pitch, c.yaw, c.roll, c.jump, c.boost, c.handbrake]
            states[i] = engines[i].step({AGENT: np.tile(row, (4, 1))}, {})
    assert abs(obs[OBS_NAMES.index("car_angular_velocity_z")]) > 0.1


def test_features_are_seen_from_the_car() -> None:
    """What the network is told must not depend on where on the pitch, but on what lies ahead."""
    world = World("benchmark", 8)
    raw = torch.from_numpy(np.tile(observe(world.snapshot()), (1, 3)))
    features = StateFeatures()(raw)
    assert features.shape == (1, 3 * FEATURES)
    assert torch.isfinite(features).all()
    assert features.abs().max() < 3
    body, ball = world.snapshot().cars[0].body, world.snapshot().ball
    ahead = body.rotation @ (ball.position - body.position) / 6000
    assert any(np.allclose(features[0, i : i + 3].numpy(), ahead, atol=1e-5) for i in range(FEATURES - 3))


@pytest.mark.parametrize("kind", ["state", "pictures"])
def test_checkpoints_drive_cars_in_environments(kind: str, run: Path, untrained: Path) -> None:
    """A sparring partner must play in the environment, on either side, as it plays when it is scored."""
    checkpoint = run / "best.pt" if kind == "state" else untrained
    seed, steps = 900_003, 60
    env = make_env("benchmark", seed=seed, others={"blue-0": checkpoint})
    env.reset()
    engine = ArenaEngine({"orange-0": open_policy_driver(checkpoint)})
    engine.set_state(_turned_start(seed), {"limit_s": 30.0})
    policy, arena = load_arena_policy(checkpoint), DirectArena("benchmark", seed, size=(160, 90))
    assert isinstance(policy, StatePolicy) == (kind == "state")
    for _ in range(steps):
        frame = arena.read()
        assert frame is not None
        seen: Any = arena.pad.at(frame.t_ns).state if kind == "state" else frame.image
        mine = arena.game.snapshot().cars[0].body.position
        assert env.state.cars["blue-0"].physics.position == pytest.approx(mine, abs=2)
        assert engine.state.cars["orange-0"].inverted_physics.position == pytest.approx(mine, abs=5)
        arena.sink.apply(policy.act(seen))
        env.step({})
        engine.step({}, {})
    assert np.linalg.norm(mine - World("benchmark", seed).snapshot().cars[0].body.position) > 100


def _turned_start(seed: int) -> Any:
    state = World("benchmark", seed).game_state()
    own = state.cars.pop(AGENT)
    own.team_num, own.physics = 1, own.physics.inverted()
    state.cars = {"orange-0": own}
    state.ball = state.ball.inverted()
    state.tick_count = 0
    return state


def test_it_computes_where_it_is_told(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who scores on a GPU means all that plays, also what is opened as a driver."""
    asked: list[str] = []

    def place(name: str, network: Network) -> torch.device:
        asked.append(name)
        return torch.device("cpu")

    monkeypatch.setattr("rl_utils.checkpoint.playing_device", place)
    make_player(PlayerSpec("policy", checkpoint=run / "best.pt", compute="cuda"))
    assert asked == ["cuda"]


def test_rates_that_do_not_fit_are_told(run: Path, tmp_path: Path) -> None:
    """A policy of 25 fps would have to decide between two decisions of the arena."""
    saved = load_checkpoint(run / "best.pt")
    fields = {name: getattr(saved, name) for name in Checkpoint.__dataclass_fields__}
    save_checkpoint(Checkpoint(**fields | {"fps": 25.0}), tmp_path / "odd.pt")
    with pytest.raises(UserError, match="25 fps"):
        make_env(orange=1, others={"orange-0": tmp_path / "odd.pt"})


def test_states_of_another_version_are_refused() -> None:
    """Numbers that mean something else must not be driven by."""
    table = StateSpec().as_table()
    assert StateSpec.from_table(table) == StateSpec()
    for change in ({"version": 2}, {"names": ["x"]}, {"names": []}):
        with pytest.raises(UserError, match="train again"):
            StateSpec.from_table(table | change)
    assert REST.shape == (N_CONTROLS,)
