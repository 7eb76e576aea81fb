"""Keys, clicks and time of interactive playback."""

from __future__ import annotations

import pytest

from rl_utils.player import LONGEST_STEP_S, SPEEDS, Player
from rl_utils.playlist import SHOWN_SIZE, Playlist
from rl_utils.recordings import open_recordings
from rl_utils.viewer import ViewerEvent
from tests.recordings_kit import record_session


@pytest.fixture(scope="module")
def playlist(tmp_path_factory: pytest.TempPathFactory) -> Playlist:
    """Ten seconds at 30 frames per second."""
    folder = tmp_path_factory.mktemp("recordings")
    playlist = Playlist(open_recordings([record_session(folder, 300)]))
    assert playlist.timeline.duration_s == pytest.approx(10, abs=0.1)
    return playlist


def press(player: Player, *names: str) -> None:
    for name in names:
        player.handle(ViewerEvent(name))


def index(player: Player, playlist: Playlist) -> int:
    return playlist.timeline.index_at(player.time_s)


def test_time_passes_at_the_chosen_speed(playlist: Playlist) -> None:
    """Slow motion is for looking at a save, not for other timing."""
    player = Player(playlist)
    player.advance(0.2)
    assert player.time_s == pytest.approx(0.2)
    press(player, "+", "+")
    assert player.speed == 2.0
    player.advance(0.2)
    assert player.time_s == pytest.approx(0.6)
    press(player, "space")
    player.advance(0.2)
    assert player.time_s == pytest.approx(0.6)
    assert "paused" in player.note


def test_a_slow_disk_makes_it_wait_instead_of_jump(playlist: Playlist) -> None:
    """When decoding takes seconds, frames must not be skipped by the second."""
    player = Player(playlist)
    player.advance(30.0)
    assert player.time_s == LONGEST_STEP_S


def test_steps_are_single_frames_and_pause(playlist: Playlist) -> None:
    """Frame by frame is how one sees when a button went down."""
    player = Player(playlist)
    for expected in (1, 2, 3):
        press(player, "right")
        assert index(player, playlist) == expected
    press(player, "left")
    assert index(player, playlist) == 2
    assert not player.playing
    press(player, *["left"] * 10)
    assert index(player, playlist) == 0


def test_every_frame_can_be_stepped_to(playlist: Playlist) -> None:
    """A step that rounds to the same frame would trap a person there."""
    player = Player(playlist)
    press(player, *["right"] * 400)
    assert index(player, playlist) == 299
    press(player, *["left"] * 299)
    assert index(player, playlist) == 0


def test_seeking_stays_inside(playlist: Playlist) -> None:
    """Page up at the beginning is no error."""
    player = Player(playlist)
    press(player, "down", "down")
    assert player.time_s == pytest.approx(2.0)
    press(player, "up")
    assert player.time_s == pytest.approx(1.0)
    press(player, "page up")
    assert player.time_s == 0
    press(player, "page down", "page down")
    assert index(player, playlist) == 299
    press(player, "home")
    assert index(player, playlist) == 0
    press(player, "end")
    assert index(player, playlist) == 299


def test_it_stops_at_the_end_and_starts_over(playlist: Playlist) -> None:
    """Space at the end means: once more."""
    player = Player(playlist, start_s=1.0, end_s=2.0)
    for _ in range(10):
        player.advance(0.2)
    assert not player.playing
    assert player.time_s == pytest.approx(2.0)
    press(player, "space")
    assert player.playing
    assert player.time_s == pytest.approx(1.0)


def test_clicks_on_the_timeline_seek(playlist: Playlist) -> None:
    """The strip is the fastest way through an hour; a click into the picture does nothing."""
    player = Player(playlist)
    player.handle(ViewerEvent("click", SHOWN_SIZE[0] / 2, SHOWN_SIZE[1] - 5))
    assert player.time_s == pytest.approx(5, abs=0.1)
    player.handle(ViewerEvent("drag", SHOWN_SIZE[0] * 0.75, SHOWN_SIZE[1] - 5))
    assert player.time_s == pytest.approx(7.5, abs=0.1)
    player.handle(ViewerEvent("click", 10, 10))
    assert player.time_s == pytest.approx(7.5, abs=0.1)


def test_speed_has_ends(playlist: Playlist) -> None:
    """Holding + must not end in a speed of nothing or infinity, also from one given by --speed."""
    player = Player(playlist, speed=3.0)
    press(player, "+")
    assert player.speed == 4.0
    press(player, *["="] * 50)
    assert player.speed == SPEEDS[-1]
    press(player, *["-"] * 50)
    assert player.speed == SPEEDS[0]


@pytest.mark.parametrize("key", ["q", "escape", "quit"])
def test_leaving(playlist: Playlist, key: str) -> None:
    """Every usual way out works, and unknown keys are no way out."""
    player = Player(playlist)
    press(player, "f12", "z", "")
    assert not player.done
    press(player, key)
    assert player.done
