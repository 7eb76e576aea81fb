"""Other teams, colours and light: the same play, so that a difference in score is one of seeing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import collect
from rl_utils.arena.camera import Camera
from rl_utils.arena.direct import DirectArena
from rl_utils.arena.field import BOOST_PADS
from rl_utils.arena.looks import LOOKS, Look, Paint, look_named
from rl_utils.arena.renderer import Renderer
from rl_utils.arena.score import main
from rl_utils.arena.situations import SCORING_SEEDS
from rl_utils.arena.snapshot import half_turned
from rl_utils.arena.world import World
from rl_utils.config import LookName, TeamName
from rl_utils.errors import UserError
from rl_utils.model import RocketNet

BLUE, RED = 2, 0


def seen(team: TeamName, look: LookName = "default") -> tuple[DirectArena, np.ndarray]:
    """Ten frames of the scripted driver, and the last of them."""
    arena = DirectArena("shot", 3, driver="expert", team=team, look=look)
    for _ in range(10):
        frame = arena.read()
        assert frame is not None
    return arena, frame.image.astype(int)


def test_orange_plays_what_blue_plays() -> None:
    """Orange's score is compared with blue's start by start: only what is seen may differ, and it must be orange."""
    (blue, blue_picture), (orange, orange_picture) = seen("blue"), seen("orange")
    first, second = (arena.pad.at(0) for arena in (blue, orange))
    np.testing.assert_array_equal(first.values, second.values)
    np.testing.assert_array_equal(first.state, second.state)
    car = slice(150, 210), slice(205, 275)  # behind the ball and before the goal, the car is in the middle
    goal = slice(100, 150), slice(180, 300)
    for where, sign in ((car, 1), (goal, -1)):
        lean = [p[where][..., BLUE].mean() - p[where][..., RED].mean() for p in (blue_picture, orange_picture)]
        assert sign * lean[0] > 5 > -5 > sign * lean[1]


def test_half_a_turn_maps_the_pitch_onto_itself() -> None:
    """Boost pads, score and team have to turn with the car, or orange is shown another game than it plays."""
    places = np.array([(pad.x, pad.y) for pad in BOOST_PADS])
    np.testing.assert_allclose(places[::-1], -places, atol=3)
    snapshot = World("training", 5).snapshot()
    there = half_turned(snapshot)
    assert (there.cars[0].team, snapshot.cars[0].team) == (1, 0)
    np.testing.assert_array_equal(there.ball.position, snapshot.ball.position * (-1, -1, 1))
    back = half_turned(there)
    np.testing.assert_array_equal(back.cars[0].body.rotation, snapshot.cars[0].body.rotation)
    assert np.linalg.det(there.cars[0].body.rotation) == pytest.approx(np.linalg.det(snapshot.cars[0].body.rotation))
    camera = Camera()
    camera.reset(there)
    assert camera.view().rotation[2] @ (there.ball.position - there.cars[0].body.position) > 0, "it looks at the ball"


@pytest.mark.parametrize("look", [name for name in LOOKS if name != "default"])
def test_looks_change_colours_and_nothing_else(look: LookName) -> None:
    """A policy that is tested in another light must still find everything where it was, the boost gauge included."""
    usual, other = seen("blue")[1], seen("blue", look)[1]
    difference = np.abs(usual - other).max(axis=2)
    ground = difference[230:245]
    assert np.median(ground) > 20, "the ground looks as usual"
    assert difference[253:261, 150:330].max() == 0, "the gauge is repainted"
    edges = [np.abs(np.diff(p.sum(axis=2), axis=1))[150:200].ravel() for p in (usual, other)]
    assert np.corrcoef(*edges)[0, 1] > 0.5, "outlines have moved"


def test_the_usual_look_is_untouched() -> None:
    """Old recordings and policies belong to pictures that must stay the same bit for bit."""
    world = World("training", 1)
    camera = Camera()
    camera.reset(world.snapshot())
    one, two = (Renderer(320, 180, **words).render(world.snapshot(), camera.view()).copy() for words in _usual())
    np.testing.assert_array_equal(one, two)
    assert Look().shade(320, 180) is None
    pixels = np.arange(64, dtype=np.uint8).reshape(4, 4, 4)
    assert Paint().picture(pixels) is pixels
    with pytest.raises(UserError, match="no look purple"):
        look_named("purple")


def _usual() -> list[dict[str, Look]]:
    return [{}, {"look": LOOKS["default"]}]


def test_a_policy_is_scored_where_it_has_never_been(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The options have to reach the processes that play, and stand beside the result."""
    torch.manual_seed(1)
    network = tmp_path / "net.pth"
    torch.save(RocketNet().state_dict(), network)
    words = ["--situation", "shot", "--episodes", "1", "--seed", str(SCORING_SEEDS), "--workers", "1"]
    jerks = []
    for variant in ([], ["--look", "ice"], ["--team", "orange"]):
        file = tmp_path / "score.json"
        assert main(["--checkpoint", str(network), *variant, *words, "--json", str(file)]) == 0
        jerks.append(json.loads(file.read_text())["stick_jerk"])
    assert len(set(jerks)) == 3, "it saw the same"
    assert "net.pth (orange) in shot" in capsys.readouterr().out
    assert main(["--driver", "idle", "--look", "purple", *words]) == 2


def test_play_is_recorded_in_any_look(tmp_path: Path) -> None:
    """Mixed looks teach what stays the same; session.json has to say which one it was."""
    words = ["--frames", "arena", "--seconds", "0.5", "--team", "orange", "--look", "desert", "--codec", "jpeg"]
    assert collect.main(["--out", str(tmp_path), *words]) == 0
    (session,) = tmp_path.glob("*/session.json")
    assert "arena, direct, training, orange, desert" in session.read_text()
