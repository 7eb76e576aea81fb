"""Frame to pad, in real time and stage by stage: a window captured, a policy asked, a pad set; and an empty loop.

The window is the practice arena's; the pad is the arena's own and, where there is uinput, the virtual one too.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from rl_utils.apply_inputs import InputApplier, uinput_problem
from rl_utils.config import GAME_TITLE, TrainConfig
from rl_utils.interfaces import (
    ControllerSink,
    Frame,
    FrameInfo,
    FrameSource,
    Image,
    InputVector,
    Policy,
)
from rl_utils.loops import drive
from rl_utils.pacing import Pacer, Tick

RATES_HZ = (30.0, 60.0)
T = TypeVar("T")


def bench_drive(seconds: float) -> list[dict[str, object]]:
    """Measure the driving loop at 30 and 60 Hz with the default network and the article's, both untrained.

    Returns:
        Rows: rate_hz, pad, latency p50 and p99 in ms from before the grab to after the pad was set, the same for
        grabbing, deciding and setting the pad alone, how late ticks began (p99), late and missed ticks, CPU share of
        one core; and what applies of these to a loop that does nothing.

    Raises:
        UserError: No display and no Xvfb, or the arena cannot run here.
    """
    from rl_utils.virtual_screen import screen

    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        folder = Path(place)
        stack.enter_context(screen(folder))
        frames, arena = stack.enter_context(_arena(folder))
        sinks = {"arena": arena}
        if uinput_problem() is None:
            sinks["uinput"] = stack.enter_context(InputApplier())
        for rate in RATES_HZ:
            rows.append(_empty_loop(rate, seconds))
            for network, policy in _policies(rate):
                for name, sink in sinks.items():
                    row = {"loop": network, "rate_hz": rate, "pad": name}
                    rows.append(row | _drive(frames, policy, sink, rate, seconds))
    return rows


@contextmanager
def _arena(folder: Path) -> Iterator[tuple[FrameSource, ControllerSink]]:
    from rl_utils.arena.link import ArenaSink
    from rl_utils.get_current_frame import WindowFrames

    socket = folder / "arena.sock"
    words = (sys.executable, "-m", "rl_utils.arena", "--driver", "pad", "--socket", str(socket))
    arena = subprocess.Popen(words, stderr=subprocess.DEVNULL)
    try:
        with WindowFrames(GAME_TITLE, require_focus=False) as frames:
            frames.wait_for_window(30)
            _wait_for_arena(socket)
            with ArenaSink(socket) as sink:
                yield frames, sink
    finally:
        arena.terminate()
        arena.wait()


def _wait_for_arena(socket: Path) -> None:
    """Its window may be there before its socket, or another arena's window be taken for it."""
    for _ in range(300):
        if socket.exists():
            return
        time.sleep(0.1)


def _policies(rate_hz: float) -> Iterator[tuple[str, Policy]]:
    from rl_utils.model import build_network, default_arguments, default_spec
    from rl_utils.policy import NetworkPolicy

    torch.set_num_threads(1)
    for name in (TrainConfig.model, "rocketnet"):
        spec = default_spec(name, rate_hz)
        network = build_network(name, default_arguments(name, spec))
        yield name, NetworkPolicy(network, spec, fps=rate_hz, capture_size=(480, 270))


def _empty_loop(rate_hz: float, seconds: float) -> dict[str, object]:
    pacer = Pacer(rate_hz)
    cpu = time.process_time()
    late = [pacer.wait().late_ns / 1e6 for _ in range(round(seconds * rate_hz))]
    share = (time.process_time() - cpu) / seconds
    return {"loop": "empty", "rate_hz": rate_hz, "late_ms_p99": float(np.percentile(late, 99)), "cpu_share": share}


class _Timed(Pacer):
    """Notes how late each tick began."""

    def __init__(self, rate_hz: float) -> None:
        super().__init__(rate_hz)
        self.late_ms: list[float] = []

    def wait(self) -> Tick:
        """Wait, and note."""
        tick = super().wait()
        self.late_ms.append(tick.late_ns / 1e6)
        return tick


class _Stages(FrameSource, Policy, ControllerSink):
    """Stands between the loop and what it uses, and notes how long each took."""

    def __init__(self, frames: FrameSource, policy: Policy, sink: ControllerSink) -> None:
        self._frames, self._policy, self._sink = frames, policy, sink
        self.fps = policy.fps
        self.ms: dict[str, list[float]] = {"grab": [], "decide": [], "set": []}

    def read(self) -> Frame | None:
        """Grab."""
        return self._timed("grab", self._frames.read)

    def act(self, image: Image) -> InputVector:
        """Decide."""
        return self._timed("decide", lambda: self._policy.act(image))

    def apply(self, inputs: InputVector) -> None:
        """Set the pad."""
        self._timed("set", lambda: self._sink.apply(inputs))

    def _timed(self, stage: str, do: Callable[[], T]) -> T:
        began = time.perf_counter()
        result = do()
        self.ms[stage].append((time.perf_counter() - began) * 1e3)
        return result

    @property
    def problem(self) -> str:
        """As the window says."""
        return self._frames.problem

    @property
    def info(self) -> FrameInfo:
        """As the window says."""
        return self._frames.info

    def reset(self) -> None:
        """Passed on."""
        self._policy.reset()

    def release(self) -> None:
        """Passed on."""
        self._sink.release()

    def close(self) -> None:
        """Whoever opened the three closes them."""


def _drive(
    frames: FrameSource, policy: Policy, sink: ControllerSink, rate_hz: float, seconds: float
) -> dict[str, object]:
    pacer = _Timed(rate_hz)
    stages = _Stages(frames, policy, sink)
    cpu = time.process_time()
    done = drive(stages, stages, stages, fps=rate_hz, stop=lambda: "", minutes=seconds / 60, pacer=pacer)
    share = (time.process_time() - cpu) / seconds
    return {
        "latency_ms_p50": done.latency_ms(50),
        "latency_ms_p99": done.latency_ms(99),
        **{f"{name}_p{p}": float(np.percentile(ms, p)) for name, ms in stages.ms.items() for p in (50, 99)},
        "late_ms_p99": float(np.percentile(pacer.late_ms, 99)),
        "late_ticks": done.late,
        "missed_ticks": done.missed,
        "cpu_share": share,
    }
