"""The arena as a program on a real X server: its window, its pixels, its keys, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from Xlib import X
from Xlib.protocol.event import ClientMessage

from rl_utils.arena.game import Game
from rl_utils.arena.link import ArenaPad, ArenaSink
from rl_utils.arena.obs_layout import OBS_NAMES
from rl_utils.arena.renderer import Renderer
from rl_utils.arena.window import TITLE, WM_CLASS
from rl_utils.controls import REST, Control
from rl_utils.errors import UserError
from rl_utils.get_current_frame import WindowFrames
from rl_utils.images import shrink_to_rgb
from rl_utils.interfaces import Frame, Inputs, Source
from tests.x11_window import ShownWindow, activate, until, xdotool

ROOT = Path(__file__).resolve().parent.parent
MAX_STEP_TICKS = 30


class Arena:
    """The arena in a process of its own."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.socket = folder / "arena.sock"
        self.stats = folder / "stats.json"
        words = [sys.executable, "-m", "rl_utils.arena", "--socket", str(self.socket), "--stats", str(self.stats)]
        self.process = subprocess.Popen([*words, *options], cwd=ROOT, stderr=subprocess.PIPE, text=True)

    def pad(self) -> ArenaPad:
        """Its pad, once it is open."""

        def connect() -> ArenaPad | None:
            assert self.process.poll() is None, self.errors()
            try:
                return ArenaPad(self.socket)
            except UserError:
                return None

        return until(connect)

    def wait(self) -> int:
        """Its exit status."""
        return self.process.wait(60)

    def errors(self) -> str:
        """What it wrote to stderr, after its end."""
        assert self.process.stderr is not None
        return self.process.stderr.read()

    def end(self) -> None:
        """Make sure that it is gone."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()


@contextmanager
def running(folder: Path, *options: str) -> Iterator[tuple[Arena, ArenaPad]]:
    """An open arena and its pad."""
    arena = Arena(folder, *options)
    try:
        with arena.pad() as pad:
            until(lambda: (pad.at(time.monotonic_ns()), pad.tick)[1] > 0)
            yield arena, pad
    finally:
        arena.end()


def now(pad: ArenaPad) -> Inputs:
    return pad.at(time.monotonic_ns())


class Replayed:
    """The same play in this process, tick by tick."""

    def __init__(
        self, seed: int, size: tuple[int, int] = (960, 540), *, camera: str = "ball", noise: float = 0
    ) -> None:
        self.game = Game("training", seed, driver="expert", noise=noise, camera="car" if camera == "car" else "ball")
        self.renderer = Renderer(*size)
        self._drawn: dict[int, np.ndarray] = {}

    def picture(self, tick: int, size: tuple[int, int]) -> np.ndarray:
        """What direct mode makes of this tick, which is one of those before or after the last call's."""
        if tick not in self._drawn:
            self.game.advance(tick - self.game.world.tick)
            self._drawn = {old: drawn for old, drawn in self._drawn.items() if old >= tick - 2 * MAX_STEP_TICKS}
            self._drawn[tick] = self.renderer.render(self.game.snapshot(), self.game.view()).copy()
        return shrink_to_rgb(self._drawn[tick], *size)

    def shows(self, frame: Frame, first: int, last: int) -> bool:
        """Whether the frame is a picture of one of these ticks. An arena may have told a tick and not yet shown it."""
        size = frame.image.shape[1], frame.image.shape[0]
        pictures = [self.picture(tick, size) for tick in range(first, last + 1, 2)]
        return any(np.array_equal(picture, frame.image) for picture in pictures)


def capture(frames: WindowFrames, pad: ArenaPad) -> tuple[Frame, Inputs, int, int]:
    """A frame, its inputs, the tick that was shown at least, and the tick that was shown at most."""
    while True:
        now(pad)
        first = pad.tick
        frame = frames.read()
        if frame is None:
            time.sleep(0.01)
            continue
        inputs = pad.at(frame.t_ns)
        now(pad)
        return frame, inputs, max(0, first - MAX_STEP_TICKS), pad.tick


@pytest.mark.parametrize("options", [(), ("--camera", "car", "--noise", "1", "--size", "640x360")])
def test_capturing_the_window_gives_the_pixels_of_direct_mode(
    x_display: str, tmp_path: Path, options: tuple[str, ...]
) -> None:
    """Most of the demo's training data is made in direct mode: a difference would lie between training and play."""
    native = (640, 360) if options else (960, 540)
    replayed = Replayed(41, native, camera="car" if options else "ball", noise=1 if options else 0)
    with running(tmp_path, "--driver", "expert", "--seed", "41", *options) as (_, pad):
        for size in (native, (480, 270)):
            with WindowFrames(size=size, require_focus=False) as frames:
                frames.wait_for_window(60)
                taken = []
                for _ in range(8):
                    taken.append(capture(frames, pad))
                    time.sleep(0.11)
                info = frames.info
            assert (info.title, info.wm_class, info.is_arena) == (TITLE, WM_CLASS, True)
            assert info.native_size == native
            for frame, inputs, first, last in taken:
                assert replayed.shows(frame, first, last), f"the picture taken at tick {last} is none of direct mode's"
                assert inputs.source is Source.SCRIPTED


def test_the_socket_tells_what_the_driver_did(x_display: str, tmp_path: Path) -> None:
    """The recorded inputs and labels must be those that belong to the picture's moment, as in direct mode."""
    game = Game("training", 43, driver="expert", noise=1.0)
    with running(tmp_path, "--driver", "expert", "--seed", "43", "--noise", "1") as (_, pad):
        assert pad.info.state_names == OBS_NAMES
        for _ in range(40):
            inputs = now(pad)
            if pad.tick == game.world.tick:
                continue
            game.advance(pad.tick - game.world.tick)
            sticks = [Control.LEFT_X, Control.LEFT_Y, Control.RIGHT_TRIGGER, Control.LEFT_TRIGGER]  # no taps there
            assert np.array_equal(inputs.values[sticks], game.inputs[sticks]), (pad.tick, inputs, game.inputs)
            assert inputs.labels is not None
            assert game.labels is not None
            assert np.array_equal(inputs.labels[sticks], game.labels[sticks])
            assert inputs.episode == game.episode
            assert inputs.state is not None
            assert len(inputs.state) == len(OBS_NAMES)
            time.sleep(0.02)


def test_resizing_the_window_draws_at_the_new_size(x_display: str, tmp_path: Path) -> None:
    """A dragged window must show a sharp picture, not a scaled or cut one."""
    replayed = Replayed(44, (801, 600))
    options = ("--driver", "expert", "--seed", "44")
    with running(tmp_path, *options) as (_, pad), WindowFrames(size=(801, 600), require_focus=False) as frames:
        frames.wait_for_window(60)
        window = frames.monitor.window.id
        xdotool("windowsize", window, 801, 600)
        until(lambda: frames.read() is not None and frames.info.native_size == (801, 600))

        def sharp() -> bool:
            frame, _, first, last = capture(frames, pad)
            return replayed.shows(frame, first, last)

        until(sharp)
        xdotool("windowsize", window, 30, 20)  # smaller than what is drawn: the window manager may refuse
        tick = pad.tick
        until(lambda: (now(pad), pad.tick)[1] > tick + 60)


def test_closing_the_window_ends_the_arena(x_display: str, tmp_path: Path) -> None:
    """The X button is how people stop it: exit 0, socket gone, statistics written."""
    with running(tmp_path, "--driver", "idle", "--seed", "5") as (arena, pad):
        with WindowFrames(require_focus=False) as frames:
            frames.wait_for_window(60)
            server = frames.monitor.server
            window = server.window(frames.monitor.window.id)
            data = (32, [server.atom("WM_DELETE_WINDOW"), X.CurrentTime, 0, 0, 0])
            window.send_event(ClientMessage(window=window, client_type=server.atom("WM_PROTOCOLS"), data=data))
            server.display.flush()
            assert arena.wait() == 0
        assert not arena.socket.exists()
        assert not pad.connected
        table = json.loads(arena.stats.read_text())
        assert table["minutes"] > 0
        assert table["driver"] == "idle"
        assert table["touches"] == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_the_arena_in_order(x_display: str, tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl+C and the demo's terminate are normal ways to stop."""
    with running(tmp_path, "--driver", "expert") as (arena, _):
        arena.process.send_signal(number)
        assert arena.wait() == 0
        assert not arena.socket.exists()
        errors = arena.errors()
        assert "Traceback" not in errors
        assert "pygame" not in errors


def test_a_killed_arena_is_noticed_and_its_place_is_free(x_display: str, tmp_path: Path) -> None:
    """After a crash the reader knows it is unplugged, and the next arena starts."""
    with running(tmp_path, "--driver", "expert") as (arena, pad):
        arena.process.kill()
        arena.wait()
        until(lambda: not pad.connected)
        with running(tmp_path, "--driver", "expert"):
            until(lambda: (now(pad), pad.connected)[1])


def test_it_closes_by_itself_after_the_time_given(x_display: str, tmp_path: Path) -> None:
    """Scripts start it for a while."""
    arena = Arena(tmp_path, "--driver", "expert", "--seconds", "1")
    try:
        assert arena.wait() == 0
        assert json.loads(arena.stats.read_text())["frames"] > 0
    finally:
        arena.end()


def run(*options: str, **environment: str | None) -> subprocess.CompletedProcess[str]:
    merged: dict[str, Any] = {**os.environ, **environment}
    cleaned = {name: value for name, value in merged.items() if value is not None}
    words = [sys.executable, "-m", "rl_utils.arena", *options]
    return subprocess.run(words, cwd=ROOT, env=cleaned, capture_output=True, text=True, check=False, timeout=60)


def test_mistakes_are_one_line_with_the_remedy(x_display: str, tmp_path: Path) -> None:
    """No display, no X server, a second arena, a wrong situation: one line each, exit 2, nothing left behind."""
    socket = tmp_path / "other.sock"
    at = ("--socket", str(socket))
    for done, words in (
        (run(*at, DISPLAY=None), "Xvfb :99"),
        (run(*at, DISPLAY=":4711"), "cannot be used"),
        (run(*at, "--situation", "moon"), "moon"),
        (run("--socket", str(tmp_path / ("x" * 120))), "longer than"),
        (run(*at, "--driver", "nobody"), "nobody"),
    ):
        assert done.returncode == 2, done.stderr
        assert words in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr
        assert not socket.exists()
    with running(tmp_path, "--driver", "idle") as (arena, pad):
        second = run("--socket", str(arena.socket))
        assert second.returncode == 2
        assert "already running" in second.stderr
        tick = pad.tick
        until(lambda: (now(pad), pad.tick)[1] > tick)


def test_a_person_plays_by_keyboard_while_the_window_has_the_focus(x_display: str, tmp_path: Path) -> None:
    """Keys must arrive as inputs, be released when the focus goes, and never be read in other windows."""
    with running(tmp_path, "--driver", "human", "--seed", "6") as (arena, pad):
        with WindowFrames(require_focus=False) as frames:
            frames.wait_for_window(60)
            window = frames.monitor.window.id
        activate(window)
        xdotool("keydown", "w", "keydown", "d")
        until(lambda: now(pad).values[Control.RIGHT_TRIGGER] == 1 and now(pad).values[Control.LEFT_X] == 1)
        assert now(pad).source is Source.HUMAN
        xdotool("keyup", "d", "key", "space")
        until(lambda: now(pad).values[Control.LEFT_X] == 0.5)
        with ShownWindow("Something else") as other:
            activate(other.id)
            until(lambda: np.array_equal(now(pad).values, REST))
            xdotool("keydown", "s")
            tick = pad.tick
            until(lambda: (now(pad), pad.tick)[1] > tick + 20)
            assert np.array_equal(now(pad).values, REST)
            xdotool("keyup", "s", "keyup", "w")
        activate(window)
        episode = now(pad).episode
        xdotool("key", "r")
        until(lambda: now(pad).episode > episode)
        with pytest.raises(UserError, match="a person drives"):
            ArenaSink(arena.socket)


def test_escape_closes(x_display: str, tmp_path: Path) -> None:
    """The other way people leave a game."""
    with running(tmp_path, "--driver", "human") as (arena, _):
        with WindowFrames(require_focus=False) as frames:
            frames.wait_for_window(60)
            activate(frames.monitor.window.id)
        xdotool("key", "Escape")
        assert arena.wait() == 0


def test_a_program_drives_over_the_socket_and_lets_go(x_display: str, tmp_path: Path) -> None:
    """eval.py's way into the arena: the car moves, and a sink that goes away releases the pad."""
    with running(tmp_path, "--driver", "pad", "--situation", "benchmark", "--seed", "3") as (arena, pad):
        assert np.array_equal(now(pad).values, REST)
        throttle = REST.copy()
        throttle[Control.RIGHT_TRIGGER], throttle[Control.EAST] = 1.0, 1.0
        speed = [i for i, name in enumerate(OBS_NAMES) if name.startswith("car_linear_velocity")]

        def fast() -> bool:
            sink.apply(throttle)
            held = now(pad)  # at rest, where the arena has not heard of us for 250 ms
            pressed = held.values[Control.RIGHT_TRIGGER] == 1 and held.source is Source.POLICY
            return pressed and held.state is not None and float(np.linalg.norm(held.state[speed])) > 900

        with ArenaSink(arena.socket) as sink:
            until(fast)
            until(lambda: sink.stats["minutes"] > 0)
        until(lambda: np.array_equal(now(pad).values, REST))


@pytest.mark.uinput
@pytest.mark.parametrize("first", ["pad", "arena"])
def test_the_virtual_pad_reaches_the_arena_through_sdl(x_display: str, tmp_path: Path, first: str) -> None:
    """How eval.py drives real games: a kernel pad that SDL knows, every control in its place, also plugged in late."""
    import evdev

    from rl_utils.apply_inputs import InputApplier

    keyboard = evdev.UInput(name="a keyboard")  # every machine has one; without any device /dev/input does not exist
    applier = InputApplier() if first == "pad" else None
    with running(tmp_path, "--driver", "pad", "--fps", "30") as (_, pad):
        with WindowFrames(require_focus=False) as frames:
            frames.wait_for_window(60)
            activate(frames.monitor.window.id)
        with applier or InputApplier() as sink:
            menu = (Control.SELECT, Control.START, Control.MODE)
            for control in [c for c in Control if c not in menu]:
                wanted = REST.copy()
                wanted[control] = 1.0 if REST[control] != 1.0 else 0.0
                sink.apply(wanted)  # the first of them before SDL has found the pad
                until(lambda wanted=wanted: np.allclose(now(pad).values, wanted, atol=0.005))  # type: ignore[misc]
            half = REST.copy()
            half[[Control.LEFT_X, Control.LEFT_Y, Control.RIGHT_TRIGGER]] = 0.25, 0.8, 0.6
            sink.apply(half)
            until(lambda: np.allclose(now(pad).values, half, atol=0.005))
            assert now(pad).source is Source.HUMAN
        until(lambda: np.array_equal(now(pad).values, REST))
    keyboard.close()
