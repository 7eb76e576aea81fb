"""Can a recording be trusted, and what does it cost? `collect.py` as a person runs it, beside an empty loop.

A window counts its drawings at 60 Hz, logs when each came onto the screen, and moves a stick with them. What was
recorded is checked number by number against that log; the loop's lateness is that of the stored times.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import mss
import numpy as np
from numpy.typing import NDArray

from rl_utils.bench_capture import SCREEN, article_frame
from rl_utils.bench_window import BITS, RATE_HZ, SHOWN, STEPS, TITLE, number_in
from rl_utils.bench_write import Article
from rl_utils.controls import REST, Control
from rl_utils.errors import UserError
from rl_utils.get_current_window import WindowMonitor
from rl_utils.interfaces import Flag, Frame, Inputs
from rl_utils.pacing import LATE_SHARE, Pacer
from rl_utils.recordings import Recording, open_recordings

PERIOD_NS: Final = round(1e9 / RATE_HZ)
FILE_S: Final = 10.0
"""Play per batch file at most; their ends are where a writer may stall the loop."""
AROUND_END_NS: Final = 250_000_000
CHECKOUT: Final = Path(__file__).parent.parent
ARTICLE_HZ: Final = 30.0
"""The rate that it aims at; it cannot keep 60."""
ARTICLE_S: Final = 10.0
START_S: Final = 30.0
LEAST_S: Final = 3.0
"""Shorter recordings are nearly all beginning and end."""
CLOSING_S: Final = 1.0
"""CPU time of the end, when the last file is closed and judged, is not that of recording."""
CPU_EVERY_S: Final = 0.5
_EARLY_NS: Final = 1_000_000
"""What seems so much before its deadline is a little before the usual delay, and no whole period late."""
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")

Row = dict[str, object]
Times = NDArray[np.int64]


@dataclass(frozen=True)
class Beside:
    """What was seen beside the recording.

    Attributes:
        ticks_ns: (N,) int64, when each pass of the empty loop began.
        cpu_share: CPU time of the recorder by time, as share of one core.
    """

    ticks_ns: Times
    cpu_share: float


def bench_record(seconds: float) -> list[Row]:
    """Record a window that counts, on $DISPLAY or on Xvfb where there is none, and check what was recorded.

    Args:
        seconds: Recorded time. The figures that are judged are those of 300.

    Returns:
        Rows: figure; ours; beside, the same of `than` (an empty loop in the same run, or the article's recipe); limit,
        and whether it holds.

    Raises:
        UserError: Too short, no display and no Xvfb, or the window was not in front.
    """
    if seconds < LEAST_S:
        raise UserError(f"{seconds:g} s are too short to measure a recording", f"Use --seconds {LEAST_S:g} or more")
    from rl_utils.virtual_screen import screen

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(screen(folder, SCREEN))
        log = folder / "shown"
        stack.enter_context(_counting_window(folder, log))
        beside = _collect(folder, seconds)
        article_ms = _article_ms(folder, seconds)
        recordings = open_recordings([folder / "out"])
        if len(recordings) != 1 or len(recordings[0]) < 2:
            raise UserError("Nothing was recorded", "Leave the moving picture in front and measure again")
        shown = np.fromfile(log, SHOWN)
        return [
            *_pace_rows(recordings[0], beside, seconds),
            *_number_rows(recordings[0], shown),
            *_cost_rows(recordings[0], beside, article_ms),
        ]


@contextmanager
def _counting_window(folder: Path, log: Path) -> Iterator[None]:
    socket = folder / "pad"
    os.environ["RLAI_ARENA_SOCKET"] = str(socket)
    command = (sys.executable, "-m", "rl_utils.bench_window", str(log), str(socket))
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=CHECKOUT) as program:
        try:
            assert program.stdout is not None
            if not program.stdout.readline():
                raise UserError("The moving window did not open", "Run: python -m rl_utils.bench_window")
            yield
        finally:
            program.terminate()
            del os.environ["RLAI_ARENA_SOCKET"]


def _collect(folder: Path, seconds: float) -> Beside:
    """Run `collect.py` to its end, with an empty loop of the same rate beside it."""
    command = [sys.executable, "collect.py", "--out", str(folder / "out"), "--fps", f"{RATE_HZ:g}"]
    command += ["--window", f"^{TITLE}$", "--pad", "arena", "--seconds", f"{seconds:g}"]
    command += ["--batch-size", str(batch_size(seconds))]
    messages = folder / "collect.log"
    with messages.open("w") as output, subprocess.Popen(command, cwd=CHECKOUT, stdout=output, stderr=output) as program:
        try:
            _await_recording(program, folder / "out")
            began, cpu_began = time.monotonic(), _cpu_s(program.pid)
            now, cpu_now = began, cpu_began
            ticks = []
            pacer = Pacer(RATE_HZ)
            while program.poll() is None:
                tick = pacer.wait()
                ticks.append(tick.deadline_ns + tick.late_ns)
                passed = time.monotonic() - began
                if passed - (now - began) >= CPU_EVERY_S and passed < seconds - CLOSING_S:
                    now, cpu_now = time.monotonic(), _cpu_s(program.pid)
        except BaseException:
            program.kill()
            raise
    if program.returncode != 0:
        raise UserError(f"collect.py failed: {messages.read_text().strip()}", "Leave the moving picture in front")
    if cpu_now <= cpu_began:  # on a machine so busy that no moment came to look
        raise UserError("The CPU time of collect.py was not seen", "Measure longer with --seconds")
    return Beside(np.array(ticks, np.int64), (cpu_now - cpu_began) / (now - began))


def _await_recording(program: subprocess.Popen[bytes], out: Path) -> None:
    """Wait until the first file is being written, so that starting up is not counted."""
    end = time.monotonic() + START_S
    while program.poll() is None and not any(out.glob("*/*_batch.h5*")):
        if time.monotonic() > end:
            raise UserError("collect.py has not begun to record", "Leave the moving picture in front")
        time.sleep(0.05)


def _cpu_s(pid: int) -> float:
    """CPU time of all threads of a process. Source: proc(5), fields 14 and 15."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def _article_ms(folder: Path, seconds: float) -> float:
    """CPU time of one frame by the article's recipe, from the screen to the file, on mss' backend of that time.

    Not in it, to its advantage: reading the pad, and asking xdotool for the window twice a second, whose CPU time was
    less than two measurements differ by.
    """
    count = round(min(seconds, ARTICLE_S) * ARTICLE_HZ)
    region = recorded_region()
    with mss.MSS(backend="xlib") as screen:
        recipe = Article(folder, count)
        inputs = Inputs(REST)
        began = time.process_time()
        pacer = Pacer(ARTICLE_HZ)
        for _ in range(count):
            pacer.wait()  # as ours: caches are cold after each sleep
            recipe.add(Frame(article_frame(screen, region), time.monotonic_ns()), inputs)
        recipe.close()
        return (time.process_time() - began) * 1000 / count


def recorded_region() -> dict[str, int]:
    """Where on the screen the moving window is, as mss takes it: all of it is recorded, however large.

    Raises:
        UserError: It is not there.
    """
    with WindowMonitor(f"^{TITLE}$") as monitor:
        window = monitor.update()
    if window.id == 0:
        raise UserError("The moving window was closed", "Leave it open and measure again")
    return {"left": window.left, "top": window.top, "width": window.width, "height": window.height}


def lateness_ns(times: Times) -> Times:
    """How much later each tick began than a grid of `RATE_HZ` that fits nearly all of them.

    A loop on absolute deadlines is never later than one period: what would be is a missed tick.
    """
    phases = times % PERIOD_NS
    bins = np.bincount(phases // 50_000, minlength=PERIOD_NS // 50_000 + 1)
    start = int(np.argmax(bins)) * 50_000 - 50_000  # most ticks begin within 0.1 ms of their deadline
    late: Times = (phases - start + _EARLY_NS) % PERIOD_NS - _EARLY_NS
    return np.maximum(late, 0)


def missed_ticks(times: Times) -> Times:
    """(N,) int64 → (N - 1,) how many ticks of the loop are left out before each sample but the first."""
    left_out: Times = np.rint(np.diff(times - lateness_ns(times)) / PERIOD_NS).astype(np.int64) - 1
    return left_out


def batch_size(seconds: float) -> int:
    """Samples per batch file."""
    return max(1, round(min(seconds / 4, FILE_S) * RATE_HZ))


def _pace_rows(recording: Recording, beside: Beside, seconds: float) -> list[Row]:
    times = recording.timestamps_ns.astype(np.int64)
    late = lateness_ns(times)
    missed = missed_ticks(times)
    flagged = (recording.flags & Flag.LATE) > 0
    # Half a millisecond of grace: the loop decides a little before the frame gets its time.
    should = late > LATE_SHARE * PERIOD_NS + 500_000
    should[1:] |= missed > 0
    rows: list[Row] = [
        {"figure": "samples recorded", "ours": len(recording)},
        {"figure": "ticks missed", "ours": int(missed.sum())},
        {"figure": "late or after a missed tick", "ours": int(should.sum())},
        _row("of these not flagged", int((should & ~flagged)[1:].sum()), most=0),
    ]
    inside = (beside.ticks_ns >= times[0]) & (beside.ticks_ns <= times[-1])
    empty = beside.ticks_ns[inside]
    rows += _late_rows("late, p99 ms", late, lateness_ns(empty))
    ends = times[batch_size(seconds) - 1 : -1 : batch_size(seconds)]
    ours, theirs = near(times, ends), near(empty, ends)
    if ours.any() and theirs.any():
        rows += _late_rows("late while a file ends, p99 ms", late[ours], lateness_ns(empty)[theirs])
    return rows


def near(times: Times, moments: Times) -> NDArray[np.bool_]:
    """Which of the times lie within `AROUND_END_NS` of any of the moments."""
    return np.asarray((np.abs(times[:, None] - moments[None, :]) < AROUND_END_NS).any(1))


def _late_rows(name: str, late: Times, empty: Times) -> list[Row]:
    ours, theirs = (float(np.percentile(values, 99)) / 1e6 for values in (late, empty))
    return [{**_row(name, ours, most=theirs + 2), "beside": theirs, "than": "empty loop", "limit": "beside + 2"}]


def _number_rows(recording: Recording, shown: NDArray[np.void]) -> list[Row]:
    """Whether every picture is of its time, and every number that was shown is there or accounted for."""
    width = int(recording.meta["window"]["native_size"][0])
    lowest = np.array([number_in(recording.frame(i), width_px=width) for i in range(len(recording))])
    times = recording.timestamps_ns.astype(np.int64)
    # The number that was surely on the screen when the frame was taken, and how many later ones its picture shows:
    # the server may read the window a little after that.
    sure = np.maximum(np.searchsorted(shown["after_ns"], times, side="right") - 1, 0)
    newer = (lowest - shown["number"][sure]) % (1 << BITS)
    number = shown["number"][sure] + newer
    index = np.minimum(sure + newer, len(shown) - 1)
    of_its_time = (newer <= 2) & (shown["before_ns"][index] <= times + PERIOD_NS)
    lost = len(np.setdiff1d(np.arange(number[0], number[-1]), number))
    repeated = np.concatenate([[False], np.diff(number) == 0])
    marked = (recording.flags & Flag.DUPLICATE) > 0
    late = (recording.flags & Flag.LATE) > 0
    told = int(repeated.sum() + late.sum() + missed_ticks(times).sum())
    places = np.rint(recording.inputs[:, Control.RIGHT_X] * (STEPS - 1)).astype(int)
    apart = (lowest - places + STEPS // 2) % STEPS - STEPS // 2
    return [
        {"figure": "numbers shown meanwhile", "ours": int(number[-1] - number[0] + 1)},
        {"figure": "numbers not recorded", "ours": lost},
        _row("beyond late, missed and repeated samples", max(0, lost - told), most=0),
        {"figure": "samples that repeat a number", "ours": int(repeated.sum())},
        _row("flagged wrongly as new or repeated", int((repeated != marked)[1:].sum()), most=0),
        _row("pictures not of their time", int((~of_its_time).sum()), most=0),
        _row("inputs off by more than one event", int((np.abs(apart) > 1).sum()), most=0),
    ]


def _cost_rows(recording: Recording, beside: Beside, article_ms: float) -> list[Row]:
    times = recording.timestamps_ns
    rate_hz = (len(times) - 1) / (int(times[-1] - times[0]) / 1e9)
    ours_ms = beside.cpu_share * 1000 / rate_hz
    ratio = article_ms / ours_ms
    return [
        _row("collect.py, % of a core", beside.cpu_share * 100, most=25),
        {"figure": "CPU ms per frame", "ours": ours_ms, "beside": article_ms, "than": "article"},
        {"figure": "article's CPU by ours", "ours": ratio, "limit": ">= 6", "holds": "yes" if ratio >= 6 else "NO"},
    ]


def _row(figure: str, ours: float, *, most: float) -> Row:
    return {"figure": figure, "ours": ours, "limit": f"<= {most:g}", "holds": "yes" if ours <= most else "NO"}
