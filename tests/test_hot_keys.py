"""Hot keys on a real X server: they work whoever has the focus, and take nothing away from anybody."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from rl_utils.errors import UserError
from rl_utils.habits import Wish, parse_chord
from rl_utils.hot_keys import HotKeys, parse_hot_key
from tests.conftest import await_managed, start_xvfb
from tests.x11_window import activate, until, xdotool

KEYS = {Wish.MARK: "ctrl+F9", Wish.PAUSE: "Pause", Wish.DISCARD: "ctrl+shift+d"}


def opened(keys: Mapping[Wish, str] = KEYS, **options: str) -> HotKeys:
    return HotKeys({wish: parse_hot_key(text) for wish, text in keys.items()}, **options)


def taken(keys: HotKeys, count: int) -> list[Wish]:
    wishes: list[Wish] = []
    until(lambda: wishes.extend(keys.take()) or len(wishes) >= count)
    return wishes


def test_keys_are_heard_and_still_reach_the_window(x_display: str, tmp_path: Path) -> None:
    """A player's key must work while the game has the keyboard, and the game must still get it."""
    command, log = ["xev", "-name", "game", "-event", "keyboard"], tmp_path / "log"
    with log.open("w") as output, subprocess.Popen(command, stdout=output) as game:
        await_managed("game")
        activate(int(xdotool("search", "--name", "^game$")))
        with opened() as keys:
            xdotool("key", "F9")  # without ctrl: not ours
            xdotool("key", "alt+ctrl+F9")  # with more than ctrl: somebody else's
            xdotool("key", "ctrl+F9", "Pause", "ctrl+shift+d", "ctrl+F9")
            assert taken(keys, 4) == [Wish.MARK, Wish.PAUSE, Wish.DISCARD, Wish.MARK]
            assert keys.take() == []
        until(lambda: log.read_text().count("keysym 0xffc6, F9") >= 4)
        game.terminate()


def test_a_key_that_is_held_asks_once(x_display: str) -> None:
    """Keys repeat while they are held: a pause would be switched on and off thirty times per second."""
    with opened() as keys:
        xdotool("keydown", "Pause")
        xdotool("sleep", "0.9")
        xdotool("keyup", "Pause", "key", "ctrl+F9")
        assert taken(keys, 2) == [Wish.PAUSE, Wish.MARK]


def test_a_display_that_goes_away_ends_nothing() -> None:
    """The recorder says itself, in one place, that the X server is gone; its keys must not fail before."""
    display, stop = start_xvfb(window_manager=False)
    keys = opened(display=display)
    stop()
    assert keys.take() == []
    keys.close()


def test_a_display_without_keys_is_the_users_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where keys cannot be heard, the recorder goes on without them and says why."""
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(UserError, match="--mark-key none"):
        opened()


@pytest.mark.parametrize("text", ["", "ctrl+", "hyper+F9", "F99x", "ctrl F9"])
def test_what_is_no_key_is_refused(text: str) -> None:
    """A mistyped key would never do anything, and be noticed after the evening."""
    with pytest.raises(ValueError, match=r"key|none of"):
        parse_hot_key(text)


@pytest.mark.parametrize("text", ["", "select", "select+select", "select+left_x", "select+jump"])
def test_what_is_no_chord_is_refused(text: str) -> None:
    """A chord of one button would be pressed in play; one of sticks would come and go."""
    with pytest.raises(ValueError, match="button"):
        parse_chord(text)


def test_names_are_taken_as_people_write_them(x_display: str) -> None:
    """Nobody remembers how X spells a key."""
    spellings: Sequence[str] = ("ctrl+f9", "Ctrl+F9", "CTRL + F9")
    assert len({parse_hot_key(text) for text in spellings}) == 1
    assert parse_hot_key("insert") == parse_hot_key("Insert")
    assert parse_chord("SELECT + thumbr") == parse_chord("select+thumbr")
    assert os.environ["DISPLAY"] == x_display
