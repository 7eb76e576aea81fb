"""Arenas that come, go and stand side by side: picture, pad and driver stay those of one."""

from __future__ import annotations

from pathlib import Path

import pytest

from rl_utils.arena.link import ArenaSink
from rl_utils.arena.window import WM_CLASS
from rl_utils.config import CollectConfig
from rl_utils.controls import REST
from rl_utils.devices import open_play
from rl_utils.errors import UserError
from tests.test_arena_window import running
from tests.x11_window import activate, try_xdotool, until, xdotool


def test_picture_and_pad_are_of_one_arena(x_display: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With two arenas open, one's car would be recorded with the other's pad, and nobody would notice."""
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    drivers = ("--driver", "expert"), ("--driver", "pad")
    with running(tmp_path / "one", *drivers[0]) as (first, _), running(tmp_path / "two", *drivers[1]) as (second, _):
        visible = ("search", "--onlyvisible", "--class", WM_CLASS)
        windows = until(lambda: len(found := try_xdotool(*visible).split()) == 2 and found)
        shown = int(windows[-1])
        activate(shown)
        owner = int(xdotool("getwindowpid", shown))
        seen, other = (first, second) if owner == first.process.pid else (second, first)
        config = CollectConfig(out=tmp_path / "out", pad="arena")
        monkeypatch.setenv("RLAI_ARENA_SOCKET", str(other.socket))
        with pytest.raises(UserError, match="Two arenas are open"), open_play(config):
            pass
        monkeypatch.setenv("RLAI_ARENA_SOCKET", str(seen.socket))
        with open_play(config) as (frames, pad):
            assert frames.info.is_arena
            assert pad.connected


def test_an_arena_that_comes_back_and_plays_by_itself_ends_the_drive(x_display: str, tmp_path: Path) -> None:
    """The bot would seem to drive while nothing of it arrives."""
    with running(tmp_path, "--driver", "pad") as (arena, _):
        sink = ArenaSink(arena.socket)
        sink.apply(REST)
        arena.process.kill()
        arena.wait()

    with running(tmp_path, "--driver", "expert"), sink, pytest.raises(UserError, match="the scripted driver drives"):
        until(lambda: sink.apply(REST), deadline_s=90)
