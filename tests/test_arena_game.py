"""World, camera and driver advanced together, and the direct mode made of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rl_utils.arena.direct import START_NS, DirectArena
from rl_utils.arena.game import Game
from rl_utils.arena.obs_layout import OBS_NAMES, observe
from rl_utils.arena.renderer import Renderer
from rl_utils.controls import N_CONTROLS, REST, Control
from rl_utils.errors import UserError
from rl_utils.images import shrink_to_rgb
from rl_utils.interfaces import InputVector, Source


def pressed(control: Control) -> InputVector:
    inputs = REST.copy()
    inputs[control] = 1
    return inputs


def moment(game: Game) -> tuple[Any, ...]:
    snapshot, view = game.snapshot(), game.view()
    arrays = (snapshot.cars[0].body.position, snapshot.ball.rotation, view.eye, view.rotation, game.inputs)
    labels = None if game.labels is None else game.labels.tobytes()
    return (snapshot.tick, snapshot.episode, snapshot.score, labels, *(array.tobytes() for array in arrays))


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_the_rate_of_pictures_does_not_change_the_game(noise: float) -> None:
    """The window draws 60 pictures a second and direct mode 30; they have to show the same play."""
    games = [Game("training", 3, driver="expert", noise=noise) for _ in range(3)]
    for _ in range(900):
        games[0].advance(4)
        games[1].advance(2)
        games[1].advance(2)
        for ticks in (1, 1, 2):
            games[2].advance(ticks)
        assert moment(games[0]) == moment(games[1]) == moment(games[2])
    assert games[0].episode > 0


def test_the_top_face_button_toggles_the_camera_once_per_press() -> None:
    """Held, it must not flicker between the cameras; as a driver's button, it has to work in direct mode too."""
    game = Game("benchmark", 0)
    modes = []
    for held in (0, 1, 1, 0, 0, 1, 1, 1):
        game.advance(4, pressed(Control.NORTH) if held else REST)
        modes.append(game.camera.mode)
    assert modes == ["ball", "car", "car", "car", "car", "ball", "ball", "ball"]


def test_steering_right_turns_right_on_the_picture() -> None:
    """In a left-handed world a right-handed camera mirrors everything, and nothing learnt here fits the game."""
    game = Game("kickoff", 2, camera="car")
    throttle = pressed(Control.RIGHT_TRIGGER)
    game.advance(60, throttle)
    screen_right = game.view().rotation[0]
    throttle[Control.LEFT_X] = 1
    game.advance(40, throttle)
    assert game.snapshot().cars[0].body.rotation[0] @ screen_right > 0.3


def test_a_human_games_inputs_are_those_held() -> None:
    """Recording a person in the arena has to store what the person pressed."""
    game = Game("benchmark", 0)
    assert (game.inputs == REST).all()
    given = pressed(Control.SOUTH)
    game.advance(2, given)
    given[Control.SOUTH] = 0
    assert game.inputs[Control.SOUTH] == 1
    assert game.labels is None


def test_without_noise_there_is_one_truth() -> None:
    """Labels that equal the inputs would only double the file."""
    game = Game("benchmark", 0, driver="expert")
    game.advance(40)
    assert game.labels is None


def test_a_coach_says_what_it_would_do() -> None:
    """While somebody else drives, the scripted driver's wishes are the corrections to learn from."""
    game = Game("benchmark", 0, driver="expert")
    for _ in range(30):
        game.advance(4, pressed(Control.LEFT_TRIGGER))
    assert (game.inputs == pressed(Control.LEFT_TRIGGER)).all()
    assert game.labels is not None
    assert not np.array_equal(game.labels, game.inputs)


def test_a_new_start_is_seen_at_once() -> None:
    """The camera must not fly across the pitch for half a second after each goal."""
    game = Game("benchmark", 5)
    game.advance(30, pressed(Control.RIGHT_TRIGGER))
    game.restart()
    car = game.snapshot().cars[0].body.position
    assert np.linalg.norm(game.view().eye - car) < 500


def read(arena: DirectArena, count: int) -> tuple[list[bytes], list[Any]]:
    pictures, inputs = [], []
    for _ in range(count):
        frame = arena.read()
        assert frame is not None
        pictures.append(frame.image.tobytes())
        inputs.append(arena.pad.at(frame.t_ns))
    return pictures, inputs


def test_direct_mode_repeats_itself() -> None:
    """A recording made twice from one seed has to be the same recording."""
    first, second = (DirectArena("training", 2, driver="expert", noise=1.0) for _ in range(2))
    pictures, inputs = read(first, 120)
    again, inputs_again = read(second, 120)
    assert pictures == again
    for a, b in zip(inputs, inputs_again, strict=True):
        assert (a.values == b.values).all()
        assert a.labels is not None
        assert (a.labels == b.labels).all()
        assert (a.state == b.state).all()
        assert a.t_ns == b.t_ns


def test_a_restarted_arena_is_like_a_new_one() -> None:
    """Scores reuse one arena for many starts; each has to look as if it were the first."""
    used = DirectArena("benchmark", 1)
    read(used, 20)
    used.sink.apply(pressed(Control.EAST))
    read(used, 5)
    used.restart(2)
    assert read(used, 20)[0] == read(DirectArena("benchmark", 2), 20)[0]


def test_a_frame_belongs_to_the_world_as_it_is() -> None:
    """The picture, the state and the driver's inputs of one sample must be of one moment."""
    arena = DirectArena("benchmark", 3, driver="expert", size=(240, 135))
    for i in range(40):
        frame = arena.read()
        assert frame is not None
        inputs = arena.pad.at(frame.t_ns)
        snapshot = arena.game.snapshot()
        assert snapshot.tick == 4 * i
        assert frame.t_ns == inputs.t_ns == START_NS + snapshot.tick * 1_000_000_000 // 120
        assert inputs.state is not None
        assert (inputs.state == observe(snapshot)).all()
        assert frame.image.shape == (135, 240, 3)
        wish = arena.game.inputs
        assert (inputs.values == wish).all()
    picture = Renderer(960, 540).render(arena.game.snapshot(), arena.game.view())
    assert (frame.image == shrink_to_rgb(picture, 240, 135)).all()
    assert arena.pad.info.state_names == OBS_NAMES
    assert arena.info.is_arena
    assert arena.info.native_size == (960, 540)


def test_noise_is_played_and_clean_inputs_are_the_labels() -> None:
    """Exchanged, the network would learn the noise."""
    arena = DirectArena("benchmark", 4, driver="expert", noise=1.0)
    differ = 0
    for _ in range(150):
        frame = arena.read()
        assert frame is not None
        inputs = arena.pad.at(frame.t_ns)
        assert inputs.labels is not None
        assert inputs.source == Source.SCRIPTED
        differ += not np.array_equal(inputs.values, inputs.labels)
        held = inputs.values
        arena.read()
        assert (arena.game._applied == held).all()
    assert differ > 100


def test_the_sink_drives_from_the_frame_that_was_seen() -> None:
    """What is applied after a frame has to act before the next one, and hold until something else is applied."""
    arena = DirectArena("kickoff", 0)
    arena.read()
    arena.sink.apply(pressed(Control.RIGHT_TRIGGER))
    arena.read()
    speed = [np.linalg.norm(arena.game.snapshot().cars[0].body.velocity)]
    for _ in range(10):
        arena.read()
        speed.append(np.linalg.norm(arena.game.snapshot().cars[0].body.velocity))
    assert speed[0] > 10
    assert speed[-1] > 5 * speed[0]
    assert arena.pad.at(0).values[Control.RIGHT_TRIGGER] == 1
    arena.sink.release()
    for _ in range(30):
        arena.read()
    assert (arena.pad.at(0).values == REST).all()
    assert np.linalg.norm(arena.game.snapshot().cars[0].body.velocity) < speed[-1]
    assert arena.sink.stats["minutes"] == pytest.approx(41 / 1800)


def test_episodes_and_segments_grow_together() -> None:
    """Learning must not join frames across a new start."""
    arena = DirectArena("shot", 0, driver="expert", size=(64, 36), window_size=(128, 72))
    seen = []
    for _ in range(500):
        frame = arena.read()
        assert frame is not None
        inputs = arena.pad.at(frame.t_ns)
        assert inputs.episode == arena.segment
        seen.append(inputs.episode)
    assert seen == sorted(seen)
    assert seen[-1] >= 1
    assert arena.stats["episodes"] == seen[-1]


def test_closing_ends_the_frames() -> None:
    """A loop over a closed arena has to end instead of spinning."""
    with DirectArena("benchmark", 0, size=(64, 36), window_size=(128, 72)) as arena:
        assert not arena.exhausted
    assert arena.read() is None
    assert arena.exhausted
    assert arena.problem
    assert arena.pad.at(0).values.shape == (N_CONTROLS,)


@pytest.mark.parametrize("fps", [0, 7, 29, 240, -30])
def test_rates_that_do_not_fit_are_refused(fps: float) -> None:
    """120 Hz physics has no picture every 1/29 s."""
    with pytest.raises(UserError, match="120 Hz"):
        DirectArena("benchmark", 0, fps=fps)
