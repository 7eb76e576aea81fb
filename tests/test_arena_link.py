"""The arena's socket: what a pad hears, what a sink may do, and that nobody can stall or keep the arena."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl_utils.arena.connection import RETRY_S
from rl_utils.arena.link import ArenaCoach, ArenaHand, ArenaPad, ArenaSink
from rl_utils.arena.server import SILENCE_NS, Achievements, LinkServer
from rl_utils.arena.wire import (
    MAX_PACKET,
    BadMessageError,
    Kind,
    PadMessage,
    Taps,
    new_socket,
    pack_apply,
    pack_json,
    pack_pad,
    unpack_apply,
    unpack_json,
    unpack_pad,
)
from rl_utils.arena.world import Events
from rl_utils.controls import REST, Control
from rl_utils.interfaces import Inputs, InputVector, Source
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


arrays = st.lists(st.floats(0, 1, width=32), min_size=len(REST), max_size=len(REST)).map(
    lambda v: np.array(v, np.float32)
)


@given(
    arrays,
    st.none() | arrays,
    st.none() | st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=60),
    st.integers(0, 2**31 - 1),
    st.integers(0, 2**62),
    st.sampled_from(Source),
)
def test_pad_messages_come_back_as_they_were(
    values: InputVector,
    labels: InputVector | None,
    state: list[float] | None,
    episode: int,
    number: int,
    source: Source,
) -> None:
    """What the arena's driver did must be recorded exactly."""
    sent = PadMessage(
        Inputs(
            values,
            t_ns=number,
            labels=labels,
            state=None if state is None else np.array(state, np.float32),
            episode=episode,
            source=source,
        ),
        tick=number,
    )
    got = unpack_pad(pack_pad(sent))
    assert np.array_equal(got.inputs.values, values)
    assert (got.inputs.labels is None) == (labels is None)
    assert labels is None or np.array_equal(got.inputs.labels, labels)
    assert (got.inputs.state is None) == (state is None)
    assert state is None or np.array_equal(got.inputs.state, np.array(state, np.float32))
    assert (got.inputs.t_ns, got.inputs.episode, got.inputs.source, got.tick) == (number, episode, source, number)
    assert np.array_equal(unpack_apply(pack_apply(values)), values)


@given(st.binary(max_size=400))
def test_nonsense_is_called_nonsense(packet: bytes) -> None:
    """A stray program on the socket must not bring the arena down with another error."""
    for unpack in (unpack_pad, unpack_apply, unpack_json):
        try:
            unpack(bytes([Kind.PAD]) + packet)
        except BadMessageError:
            continue


def test_pad_messages_are_small() -> None:
    """60 of them per second must cost nothing beside the pictures."""
    whole = message(1, REST.copy(), labels=REST.copy(), state=np.zeros(26, np.float32))
    assert len(pack_pad(whole)) < 512 < MAX_PACKET


def test_a_pad_hands_out_the_state_of_the_moment(arena: Running, path: Path) -> None:
    """A frame must get the inputs of its own time, not those read later."""
    with ArenaPad(path) as reader:
        until(lambda: arena.server.has("pad"))
        state, scripted = np.array([3.0, 4.0], np.float32), Source.SCRIPTED
        arena.publish(
            message(
                100, pad(left_x=0.2), labels=pad(left_x=0.3), state=state, episode=4, source=Source.SCRIPTED, tick=7
            ),
            message(200, pad(left_x=0.9), episode=4),
        )
        first = reader.at(150)
        assert first.values[Control.LEFT_X] == np.float32(0.2)
        assert first.labels is not None
        assert first.labels[Control.LEFT_X] == np.float32(0.3)
        assert first.state is not None
        assert first.state.tolist() == [3.0, 4.0]
        assert (first.t_ns, first.episode, first.source, reader.tick) == (100, 4, scripted, 7)
        second = reader.at(250)
        assert second.values[Control.LEFT_X] == np.float32(0.9)
        assert second.labels is None
        assert reader.info.state_names == ("a", "b")
        assert reader.about["situation"] == "training"
        assert reader.at(300).t_ns == 200


def test_taps_between_two_frames_are_kept_once(arena: Running, path: Path) -> None:
    """A jump that is pressed and released between two frames happened, and only in one of them."""
    with ArenaPad(path) as reader:
        until(lambda: arena.server.has("pad"))
        jump = pad(south=1, hat_x=0)
        arena.publish(message(10, REST), message(20, jump, labels=pad(south=1)), message(30, REST, labels=REST))
        tapped = reader.at(40)
        assert tapped.values[Control.SOUTH] == 1
        assert tapped.values[Control.HAT_X] == 0
        assert tapped.labels is not None
        assert tapped.labels[Control.SOUTH] == 1
        assert reader.at(50).values[Control.SOUTH] == 0
        assert reader.at(50).values[Control.HAT_X] == 0.5


def test_a_held_button_is_not_prolonged(arena: Running, path: Path) -> None:
    """A press that an earlier frame has already shown must not appear again after its release."""
    with ArenaPad(path) as reader:
        until(lambda: arena.server.has("pad"))
        arena.publish(message(10, pad(east=1)), message(20, pad(east=1)), message(30, REST))
        assert reader.at(15).values[Control.EAST] == 1
        assert reader.at(35).values[Control.EAST] == 0


def test_presses_do_not_reach_over_a_new_start(arena: Running, path: Path) -> None:
    """What was tapped in the last episode is no answer to the first picture of this one."""
    with ArenaPad(path) as reader:
        until(lambda: arena.server.has("pad"))
        arena.publish(message(10, REST), message(20, pad(south=1)), message(30, REST, episode=1))
        assert reader.at(40).values[Control.SOUTH] == 0


def test_a_reader_that_joins_late_knows_the_state(arena: Running, path: Path) -> None:
    """A recording that starts while a button is held must begin with it held."""
    arena.publish(message(10, pad(east=1), tick=5, state=np.ones(2, np.float32)))
    with ArenaPad(path) as reader:
        first = reader.at(50)
        assert first.values[Control.EAST] == 1
        assert first.state is not None
        assert reader.tick == 5


def test_an_arena_that_is_just_opening_is_waited_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its socket lies there a moment before it listens: a script started together with it would give up."""
    monkeypatch.setattr("rl_utils.arena.connection.OPENING_S", 60.0)  # the thread below may be put to sleep
    monkeypatch.setattr("rl_utils.arena.connection.OPENING_TRIES", 3000)
    listener = new_socket()
    listener.bind(str(path))

    def open_late() -> None:
        time.sleep(0.1)
        listener.listen()
        connection, _ = listener.accept()
        connection.setblocking(True)
        connection.recv(MAX_PACKET)
        connection.send(pack_json(Kind.WELCOME, {"driver": "pad"}))
        connection.recv(MAX_PACKET)  # returns when it hangs up
        connection.close()

    arena = threading.Thread(target=open_late)
    arena.start()
    with ArenaPad(path) as late:
        assert late.about == {"driver": "pad"}
    arena.join()
    listener.close()


def test_the_arena_going_away_and_coming_back(path: Path) -> None:
    """collect.py shows "unplugged" and goes on when the arena is started again."""
    server = LinkServer(path, about=ABOUT)
    running = Running(server)
    reader = ArenaPad(path)
    assert reader.connected
    running.publish(message(10, pad(east=1)))
    until(lambda: reader.at(20).values[Control.EAST] == 1)
    running.stop()
    server.close()
    until(lambda: not reader.connected)
    assert np.array_equal(reader.at(30).values, REST)
    with LinkServer(path, about=ABOUT) as second:
        running = Running(second)
        until(lambda: (reader.at(40), reader.connected)[1])
        running.stop()
    reader.close()
    reader.close()


def test_an_arena_that_answers_late_is_found_again(path: Path) -> None:
    """It looks at its clients once per picture, and no tick of ours may wait for a slow one."""
    server = LinkServer(path, about=ABOUT)
    running = Running(server)
    reader = ArenaPad(path)
    running.stop()
    server.close()
    until(lambda: not reader.connected)
    with new_socket() as listener:
        listener.bind(str(path))
        listener.listen()
        listener.setblocking(False)

        found: list[socket.socket] = []

        def knocks() -> bool:
            reader.at(0)
            with suppress(BlockingIOError):
                found.append(listener.accept()[0])
            return bool(found)

        until(knocks)
        with found[0] as arena:
            assert unpack_json(arena.recv(MAX_PACKET))["role"] == "pad"
            end = time.monotonic() + 2 * RETRY_S
            while time.monotonic() < end:
                assert not reader.connected
            with pytest.raises(BlockingIOError):
                listener.accept()  # it keeps to the first connection
            arena.send(pack_json(Kind.WELCOME, {"driver": "pad"}))
            until(lambda: reader.connected)
    reader.close()


def test_a_sink_drives_and_releases(arena: Running, path: Path) -> None:
    """eval.py's presses must arrive, and its release at once."""
    assert arena.driven() is None
    with ArenaSink(path) as sink:
        sink.apply(pad(right_trigger=1, left_x=0.25))
        until(lambda: arena.driven() is not None)
        held = arena.driven()
        assert held is not None
        assert held[Control.RIGHT_TRIGGER] == 1
        sink.release()
        until(lambda: arena.driven() is None)
        sink.apply(pad(east=1))
        until(lambda: arena.driven() is not None)
    until(lambda: arena.driven() is None)


def test_a_silent_sink_is_released(path: Path) -> None:
    """A policy that hangs must not leave the throttle pressed: 250 ms, by the arena's own clock."""
    with LinkServer(path, about=ABOUT) as server:
        running = Running(server)
        with ArenaSink(path) as sink:
            running.stop()
            sink.apply(pad(right_trigger=1))
            server.poll(1_000_000_000)
            assert server.driven(1_000_000_000 + SILENCE_NS) is not None
            assert server.driven(1_000_000_001 + SILENCE_NS) is None
            assert server.driven(1_000_000_001 + SILENCE_NS) is None


def test_a_killed_sink_is_released(arena: Running, path: Path) -> None:
    """SIGKILL gives a program no chance to release anything itself."""
    code = (
        "import sys, time; from pathlib import Path; from rl_utils.arena.link import ArenaSink\n"
        "from rl_utils.controls import REST\n"
        f"sink = ArenaSink(Path({str(path)!r}))\n"
        "while True:\n    sink.apply(REST); time.sleep(0.01)"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    until(lambda: arena.driven() is not None)
    process.send_signal(signal.SIGKILL)
    process.wait()
    until(lambda: not arena.server.has("sink"))
    assert arena.driven() is None
    with ArenaSink(path) as sink:  # and the place is free for the next one
        sink.apply(pad(east=1))
        until(lambda: arena.driven() is not None)


def test_hands_and_coaches_hear_their_own_and_only_where_somebody_may_drive(arena: Running, path: Path) -> None:
    """A person's keys, the scripted driver's wishes and what is really pressed must never be taken for each other."""
    with ArenaPad(path) as reader, ArenaHand(path) as hand, ArenaCoach(path) as coach:
        until(lambda: all(arena.server.has(role) for role in ("pad", "hand", "coach")))
        with arena.lock:
            arena.server.publish(message(5, pad(east=1)))
            arena.server.publish(message(5, pad(north=1)), role="hand")
            arena.server.publish(message(5, pad(west=1), source=Source.SCRIPTED), role="coach")
        assert np.array_equal(reader.at(10).values, pad(east=1))
        assert np.array_equal(hand.at(10).values, pad(north=1))
        assert coach.take() is None, "it only watches"
        with arena.lock:
            arena.server.publish(message(6, pad(west=1), source=Source.TAKEOVER), role="coach")
        taken = coach.take()
        assert taken is not None
        assert np.array_equal(taken, pad(west=1))
        assert coach.lost == ""


def test_a_coach_whose_arena_is_gone_takes_nothing(path: Path) -> None:
    """The last wish of an arena that was closed must not be pressed for ever."""
    with LinkServer(path, about=ABOUT) as server:
        running = Running(server)
        coach = ArenaCoach(path)
        running.stop()
        server.publish(message(6, pad(west=1), source=Source.TAKEOVER), role="coach")
        assert coach.take() is not None
    assert coach.take() is None
    coach.close()


def test_achievements_of_a_long_drive_fit_a_packet() -> None:
    """An hour of 2 s episodes must still be answered."""
    achieved = Achievements()
    for number in range(1800):
        achieved.add(Events(goals=1, touches=number % 3), 240)
    table = achieved.counts() | achieved.rates()
    assert len(pack_json(Kind.STATS, table)) < MAX_PACKET
    assert table["goals_per_min"] == pytest.approx(30)
    assert Achievements().counts()["minutes"] == 0
    assert not Achievements().rates()


def test_taps_forget_on_request() -> None:
    """After a release nothing that was pressed before may come up again."""
    taps = Taps()
    taps.see(pad(south=1))
    taps.see(REST)
    taps.forget()
    assert np.array_equal(taps.take(), REST)
