"""The arena in real time: one loop of game, picture, window and socket."""

from __future__ import annotations

import json
import os
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from rl_utils.arena.game import Game
from rl_utils.arena.looks import look_named
from rl_utils.arena.obs_layout import OBS_NAMES, observe
from rl_utils.arena.renderer import Renderer
from rl_utils.arena.server import LinkServer, source_of
from rl_utils.arena.snapshot import TICK_HZ, Snapshot
from rl_utils.arena.window import ArenaWindow
from rl_utils.arena.wire import PadMessage
from rl_utils.config import ArenaConfig
from rl_utils.console import StatusLine, counted, log
from rl_utils.errors import UserError
from rl_utils.interfaces import Inputs, InputVector, Source
from rl_utils.pacing import Pacer
from rl_utils.signals import stop_on_signals

MAX_CATCH_UP_TICKS: Final = TICK_HZ // 4
"""After a longer standstill (a suspended laptop) the game goes on where it was instead of leaping."""


def play(config: ArenaConfig) -> int:
    """Open the window and play until it is closed.

    Raises:
        UserError: No display, another arena runs, no RocketSim, or an option that does not fit.
    """
    with stop_on_signals() as stopped:
        live = Live(config)
        try:
            live.run(stopped)
        finally:
            live.close()
    return 0


class Live:
    """One sitting.

    Args:
        config: The command line.

    Raises:
        UserError: As `play`.
    """

    def __init__(self, config: ArenaConfig) -> None:
        self.config = config
        scripted = config.driver in ("expert", "idle")
        self.game = Game(
            config.situation,
            config.seed,
            driver=config.driver if scripted else None,
            noise=config.noise if scripted else 0.0,
            camera=config.camera,
            team=config.team,
        )
        self._server = LinkServer(
            config.socket,
            about={
                "pid": os.getpid(),
                "driver": config.driver,
                "situation": config.situation,
                "seed": config.seed,
                "noise": config.noise,
                "camera": config.camera,
                "team": config.team,
                "look": config.look,
                "state_names": OBS_NAMES,
            },
            refuse_sinks=_why_nobody_may_drive(config.driver),
        )
        try:
            self._window = ArenaWindow(*config.size_px)
        except UserError:
            self._server.close()
            raise
        self._look = look_named(config.look)
        self._renderer = Renderer(*self._window.size, look=self._look)
        self._pacer = Pacer(config.fps)
        self._ticks = round(TICK_HZ / config.fps)
        self._starts: deque[int] = deque(maxlen=round(2 * config.fps))
        self._status = StatusLine()
        self._late = self._frames = 0
        self._driven = False

    def run(self, stopped: Callable[[], bool]) -> None:
        """Play until the window is closed, the time is over or `stopped` says so."""
        where = f"on {self._server.path}"
        log(f"The arena is open ({self.config.driver} plays, situation {self.config.situation}; pad {where}).")
        began = time.monotonic()
        limit = self.config.seconds
        self._publish(self.game.snapshot())  # whoever connects first hears something at once
        self._pacer.restart()
        advance = 0
        while not (stopped() or self._window.close_requested):
            tick = self._pacer.wait()
            if limit is not None and time.monotonic() - began >= limit:
                break
            self._late += self._frames > 0 and tick.is_late(self._pacer.period_ns)
            self._frames += 1
            self._pass(min(advance + tick.missed * self._ticks, MAX_CATCH_UP_TICKS))
            advance = self._ticks
            if self._status.due():
                self._status.show(self._status_text())

    def _pass(self, ticks: int) -> None:
        """One picture: play what the last one took, draw, tell the pads, show."""
        now = time.monotonic_ns()
        self._starts.append(now)
        self._window.pump()
        self._server.poll(now)
        inputs = self._inputs(now)
        self.game.set_coach(on=self._driven and self._server.has("coach"))  # a car that nobody drives is not corrected
        if self._window.restart_requested:
            self.game.restart()
        if ticks:
            events = self.game.advance(ticks, inputs)
            self._server.count(events, ticks, now)
        snapshot = self.game.snapshot()
        if self._window.size != (self._renderer.width, self._renderer.height):
            self._renderer = Renderer(*self._window.size, look=self._look)
        image = self._renderer.render(snapshot, self.game.view())
        # The pads hear first: whoever captures the new picture must find its inputs already there.
        self._publish(snapshot)
        self._window.show(image)

    def _publish(self, snapshot: Snapshot) -> None:
        inputs = Inputs(
            self.game.inputs,
            t_ns=time.monotonic_ns(),
            labels=self.game.labels,
            state=observe(snapshot),
            episode=self.game.episode,
            source=source_of(self.config.driver, driven=self._driven),
        )
        self._server.publish(PadMessage(inputs, snapshot.tick))
        if self._server.has("coach"):
            coach = self.game.coach
            source = Source.TAKEOVER if coach is not None and coach.holds else Source.SCRIPTED
            wish = Inputs(self.game.wish, t_ns=inputs.t_ns, episode=inputs.episode, source=source)
            self._server.publish(PadMessage(wish, snapshot.tick), role="coach")

    def _inputs(self, now_ns: int) -> InputVector | None:
        """What is held from outside; None leaves it to the scripted driver."""
        self._driven = False
        if self.config.driver not in ("human", "pad"):
            return None
        held = self._window.read()
        if self.config.driver == "human":
            return held.all
        hand = Inputs(held.all, t_ns=now_ns, episode=self.game.episode)
        self._server.publish(PadMessage(hand, self.game.world.tick), role="hand")
        driven = self._server.driven(now_ns)
        self._driven = driven is not None
        return held.gamepads if driven is None else driven

    def _status_text(self) -> str:
        stats = self.game.stats
        span = (self._starts[-1] - self._starts[0]) / 1e9
        fps = (len(self._starts) - 1) / span if span > 0 else 0.0
        who: str = self.config.driver
        if who == "pad":
            names = ", ".join(self._window.gamepads)
            who = "socket" if self._driven else f"gamepad ({names})" if names else "nobody"
        return (
            f"{fps:4.1f} fps, {self._late} late | {who} drives | "
            f"{counted(stats['touches'], 'touch', 'touches')}, {counted(stats['goals'], 'goal')}, "
            f"{counted(stats['own_goals'], 'own goal')} in {stats['minutes']:.1f} min"
        )

    def close(self) -> None:
        """Close window and socket, and write the --stats file.

        Raises:
            UserError: That file cannot be written.
        """
        self._status.end()
        self._server.close()
        self._window.close()
        if self.config.stats is None:
            return
        table = {
            **self.game.stats,
            "driver": self.config.driver,
            "situation": self.config.situation,
            "seed": self.config.seed,
            "frames": self._frames,
            "late": self._late,
        }
        try:
            self.config.stats.write_text(json.dumps(table, indent=2) + "\n")
        except OSError as error:
            raise UserError(
                f"{self.config.stats} cannot be written ({error.strerror})", "Name another file with --stats"
            ) from error


def _why_nobody_may_drive(driver: str) -> tuple[str, str] | None:
    if driver == "pad":
        return None
    who = {"human": "a person drives", "expert": "the scripted driver drives", "idle": "nobody is to drive"}[driver]
    return f"In this arena {who}", 'Start it with "python -m rl_utils.arena --driver pad"'
