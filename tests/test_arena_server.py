"""The arena at its socket: whom it lets in, what it puts up with, and what it counts."""

from __future__ import annotations

import os
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from rl_utils.arena.link import ArenaPad, ArenaSink
from rl_utils.arena.server import MAX_CLIENTS, LinkServer
from rl_utils.arena.wire import (
    MAX_PACKET,
    Kind,
    new_socket,
    pack_apply,
    pack_json,
    socket_path,
    unpack_apply,
)
from rl_utils.arena.world import Events
from rl_utils.controls import LAYOUT_VERSION, REST, Control
from rl_utils.errors import UserError
from tests.arena_socket import ABOUT, Running, message, pad, until


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "arena.sock"


@pytest.fixture
def arena(path: Path) -> Iterator[Running]:
    with LinkServer(path, about=ABOUT) as server:
        running = Running(server)
        yield running
        running.stop()


def test_only_one_program_drives(arena: Running, path: Path) -> None:
    """Two policies at one pad would be neither."""
    with ArenaSink(path), pytest.raises(UserError, match="Another program drives the arena"):
        ArenaSink(path)
    assert not arena.server.has("pad")


def test_an_arena_that_plays_itself_says_so(path: Path) -> None:
    """Driving an arena that was started with another driver is a mistake worth a remedy."""
    refusal = ("In this arena a person drives", 'Start it with "--driver pad"')
    with LinkServer(path, about=ABOUT, refuse_sinks=refusal) as server:
        running = Running(server)
        with pytest.raises(UserError, match="a person drives"):
            ArenaSink(path)
        with ArenaPad(path) as reader:
            assert reader.connected
        running.stop()


def test_no_arena_is_a_plain_message(path: Path) -> None:
    """The most frequent mistake: the arena was not started."""
    for kind in (ArenaPad, ArenaSink):
        with pytest.raises(UserError, match=r"No practice arena is running.*rl_utils\.arena --driver"):
            kind(path)
    with pytest.raises(UserError, match="longer than 107 bytes"):
        ArenaPad(path.parent / ("x" * 200))


def test_an_arena_that_hangs_is_a_plain_message(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stopped arena must not hang the program that looks for it."""
    monkeypatch.setattr("rl_utils.arena.connection.ANSWER_S", 0.1)
    with LinkServer(path, about=ABOUT), pytest.raises(UserError, match="does not answer"):
        ArenaPad(path)


def test_the_socket_belongs_to_one_user_and_one_arena(path: Path) -> None:
    """Nobody else may drive, and two arenas must not steal each other's socket."""
    with LinkServer(path, about=ABOUT) as server:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with pytest.raises(UserError, match="already running"):
            LinkServer(path, about=ABOUT)
        server.poll(0)
        assert path.is_socket()
    assert not path.exists()
    server.close()


def test_the_socket_of_a_dead_arena_is_replaced(path: Path) -> None:
    """After a crash the arena must start again without help."""
    with new_socket() as dead:
        dead.bind(str(path))
    assert path.is_socket()
    with LinkServer(path, about=ABOUT):
        assert path.is_socket()
    path.write_text("precious")
    with pytest.raises(UserError, match="is no socket"):
        LinkServer(path, about=ABOUT)
    assert path.read_text() == "precious"
    with pytest.raises(UserError, match="cannot be made"):
        LinkServer(path.parent / "no" / "folder.sock", about=ABOUT)


def test_closing_leaves_a_successor_alone(path: Path) -> None:
    """An old arena that closes late must not remove the socket of the new one."""
    first = LinkServer(path, about=ABOUT)
    path.unlink()
    with LinkServer(path, about=ABOUT):
        first.close()
        assert path.is_socket()


def test_the_default_place_is_per_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Arena and scripts must find each other without options."""
    monkeypatch.delenv("RLAI_ARENA_SOCKET", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert socket_path() == tmp_path / "rlai-arena.sock"
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert str(os.getuid()) in socket_path().name
    monkeypatch.setenv("RLAI_ARENA_SOCKET", str(tmp_path / "other"))
    assert socket_path() == tmp_path / "other"


def test_a_reader_that_sleeps_costs_the_arena_nothing(path: Path) -> None:
    """collect.py stopped in a debugger must neither stall the arena nor fill its memory."""
    with LinkServer(path, about=ABOUT) as server:
        running = Running(server)
        with ArenaPad(path) as reader:
            until(lambda: server.has("pad"))
            running.stop()
            big = np.zeros(200, np.float32)
            for number in range(20_000):
                server.publish(message(number, pad(left_x=number % 2), state=big))
            assert server.has("pad")
            reader.at(10**9)  # it wakes up, and the next state arrives
            server.publish(message(30_000, pad(left_x=0.75)))
            assert reader.at(10**9).values[Control.LEFT_X] == 0.75


def test_a_flood_does_not_stall_the_arena(path: Path) -> None:
    """A client that sends as fast as it can is read in portions."""
    with LinkServer(path, about=ABOUT) as server:
        running = Running(server)
        with ArenaSink(path) as sink:
            until(lambda: server.has("sink"))
            running.stop()
            for _ in range(50_000):
                sink.apply(pad(east=1))
            server.poll(5)
            assert server.driven(5) is not None
            sink.release()
            for now in range(6, 500):
                server.poll(now)
            assert server.driven(600) is None


def test_strangers_are_shown_out(arena: Running, path: Path) -> None:
    """Nonsense, another version, or too many clients must not disturb those who play."""
    with ArenaPad(path) as reader:
        for packet in (
            b"\xff" * 100,
            bytes([Kind.APPLY]),
            bytes([Kind.HELLO]) + b"{",
            bytes([Kind.HELLO]) + b"[1]",
            pack_json(Kind.HELLO, {"version": 999, "role": "pad", "layout": LAYOUT_VERSION}),
            pack_json(Kind.HELLO, {"version": 1, "role": "king", "layout": LAYOUT_VERSION}),
        ):
            with new_socket() as stranger:
                stranger.settimeout(60)
                stranger.connect(str(path))
                stranger.send(packet)
                answer = stranger.recv(MAX_PACKET)
                assert answer == b"" or answer[0] == Kind.REFUSED
        crowd: list[socket.socket] = []
        for _ in range(MAX_CLIENTS + 5):
            guest = new_socket()
            guest.connect(str(path))
            crowd.append(guest)
            time.sleep(0.003)
        arena.publish(message(10, pad(east=1)))
        until(lambda: reader.at(20).values[Control.EAST] == 1)
        for guest in crowd:
            guest.close()


def test_a_sink_with_nonsense_numbers_is_dropped(arena: Running, path: Path) -> None:
    """NaN from a broken policy must not reach the physics."""
    with ArenaSink(path) as sink:
        sink.apply(pad(left_x=float("nan")))
        until(lambda: not arena.server.has("sink"))
        assert arena.driven() is None
    assert unpack_apply(pack_apply(pad(left_x=7.0, south=-3.0)))[[Control.LEFT_X, Control.SOUTH]].tolist() == [1.0, 0.0]


def test_a_sink_gets_credit_for_its_own_play_only(arena: Running, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo's real-time score must not count what happened before the policy drove, or while it was released."""
    monkeypatch.setattr("rl_utils.arena.link.STATS_S", 60.0)

    def count(events: Events, ticks: int) -> None:
        with arena.lock:
            arena.server.count(events, ticks, arena.NOW_NS)

    count(Events(goals=9, touches=9), 7200)
    with ArenaSink(path) as sink:
        count(Events(goals=9, touches=9), 7200)
        assert sink.stats["goals"] == 0
        sink.apply(REST)
        until(lambda: arena.driven() is not None)
        sink.apply(REST)
        count(Events(goals=1, touches=5), 7200)
        count(Events(own_goals=1, touches=1), 3600)
        sink.apply(REST)
        stats = sink.stats
        assert (stats["goals"], stats["own_goals"], stats["touches"]) == (1, 1, 6)
        assert stats["minutes"] == pytest.approx(1.5)
        assert stats["episodes"] == 2
        assert stats["touches_per_min"] == pytest.approx(4.0)
        assert stats["touches_per_min_low"] < 4 < stats["touches_per_min_high"]
        sink.release()
        until(lambda: arena.driven() is None)
        count(Events(goals=9, touches=9), 7200)
        assert sink.stats["goals"] == 1
        assert sink.stats["total_goals"] == 28
        assert sink.stats["total_minutes"] == pytest.approx(4.5)


def test_the_last_known_stats_survive_the_arena(path: Path) -> None:
    """The report is written after the arena may have been closed."""
    server = LinkServer(path, about=ABOUT)
    running = Running(server)
    sink = ArenaSink(path)
    before = sink.stats
    running.stop()
    server.close()
    assert sink.stats == before
    sink.apply(REST)
    sink.release()
    assert not sink.connected
    sink.close()
    sink.close()
