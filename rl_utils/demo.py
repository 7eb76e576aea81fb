"""`make demo`: the product's whole job on a machine without game, gamepad, screen or GPU, ending in a scored report.

Every step is the command a person would type: the practice arena opens its window, the scripted driver plays,
`collect.py` records window and pad, `train.py` learns, `eval.py` drives in real time through the captured window, and
`arena score` measures policy and baselines on starts that training never saw.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rl_utils.config import DemoConfig, parse_config
from rl_utils.console import counted, log
from rl_utils.errors import UserError, user_errors
from rl_utils.virtual_screen import end_process, environment, screen

if TYPE_CHECKING:
    from rl_utils.plots import ScoreRow

ROOT = Path(__file__).resolve().parent.parent
EPOCHS = 1
COACH_ROUNDS = 2
SCREENSHOT_S = 10.0
"""For so long the window is looked for; without it the demo goes on."""
ARENA = (sys.executable, "-m", "rl_utils.arena")


@dataclass(frozen=True)
class Budget:
    """How a demo's minutes are spent; shares measured on 2 cores (README, "make demo").

    Attributes:
        live_s: Real-time recording through the window.
        direct_s: Play recorded in direct mode, in seconds of play, by each of the recorders.
        recorders: Processes that record in direct mode at once.
        epochs: Passes over the recordings. Not minutes: a busy machine takes longer and learns as much.
        coach_rounds: Times that the policy plays, is corrected by the scripted driver, and learns from it.
        coach_min: Minutes of play in each of them.
        drive_min: Real-time driving through the window.
        episodes: Starts played by each scored driver.
    """

    live_s: float
    direct_s: float
    recorders: int
    epochs: int
    coach_rounds: int
    coach_min: float
    drive_min: float
    episodes: int

    @classmethod
    def of(cls, minutes: float, cores: int) -> Budget:
        """Share out `minutes`."""
        scale = minutes / 10
        recorders = max(1, min(cores, 8))
        return cls(
            live_s=max(20.0, 60.0 * min(scale, 5)),
            direct_s=max(30.0, 480.0 * scale / recorders),
            recorders=recorders,
            epochs=EPOCHS,
            coach_rounds=COACH_ROUNDS,
            coach_min=max(0.5, 2.0 * scale),
            drive_min=max(0.5, 1.0 * min(scale, 5)),
            episodes=max(8, round(30 * min(scale, 4))),
        )


class Steps:
    """Runs the commands, says what each is and how long it took, and stops at the first that fails."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Announce a step and note its duration."""
        log(f"\n[{self.elapsed()}] {title}")
        began = time.monotonic()
        yield
        self.seconds[title] = time.monotonic() - began

    def elapsed(self) -> str:
        """Minutes and seconds since the demo began."""
        seconds = int(time.monotonic() - self._began)
        return f"{seconds // 60}:{seconds % 60:02d}"

    def run(self, *command: str | Path) -> str:
        """Run one command; its progress goes to the terminal, its result comes back."""
        return self.run_all([command])[0]

    def run_all(self, commands: Sequence[Sequence[str | Path]]) -> list[str]:
        """Run commands side by side."""
        children = []
        for command in commands:
            words = [str(word) for word in command]
            log("  $ " + " ".join(_shown(words)))
            children.append((words, subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True)))
        results = []
        try:
            for words, child in children:
                out, _ = child.communicate()
                if child.returncode != 0:
                    name = " ".join(_shown(words)[:3])
                    raise UserError(f"The demo stopped: {name} ended with {child.returncode}", "Its message is above")
                results.append(out)
        finally:
            for _, child in children:
                if child.poll() is None:
                    child.terminate()
                    child.wait()
        return results


def _shown(words: Sequence[str]) -> list[str]:
    shown = ["python" if w == sys.executable else w for w in words]
    return [os.path.relpath(w, ROOT) if w.startswith(str(ROOT)) else w for w in shown]


@contextmanager
def arena(*options: str | Path) -> Iterator[None]:
    """The practice arena's window, open while the block runs."""
    words = [str(word) for word in (*ARENA, *options)]
    log("  $ " + " ".join(_shown(words)) + " &")
    process = subprocess.Popen(words, cwd=ROOT)
    try:
        yield
        if process.poll() is not None:
            raise UserError(f"The arena closed early with {process.returncode}", "Its message is above")
    finally:
        end_process(process)


def run_demo(config: DemoConfig) -> Path:
    """Record, train, drive, score; returns the folder with everything in it."""
    steps = Steps()
    budget = Budget.of(config.minutes, os.cpu_count() or 1)
    out = config.out / time.strftime("%Y-%m-%d_%H%M%S")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{config.out} cannot hold the demo ({error.strerror})", "Choose another --out") from error
    recordings, run, socket = out / "recordings", out / "run", out / "arena.sock"
    if len(str(socket.resolve())) > 100:  # a Unix socket's path may not be longer than 107 bytes
        import tempfile

        socket = Path(tempfile.mkdtemp()) / "arena.sock"
    best = run / "best.pt"
    with environment(RLAI_ARENA_SOCKET=str(socket.resolve())), screen(out) as display:
        title = f"1/6  The scripted driver plays, collect.py records window and pad for {budget.live_s:.0f} s"
        with steps.step(title), arena("--driver", "expert", "--noise", "1", "--seed", "1", "--socket", socket):
            play = ("--pad", "arena", "--seconds", f"{budget.live_s:g}")
            log(steps.run(sys.executable, "collect.py", "--out", recordings, *play))
            _screenshot(out / "window.png", display)
        minutes = budget.direct_s * budget.recorders / 60
        title = f"2/6  {minutes:.0f} more minutes of play in direct mode (the same pixels, faster than real time)"
        with steps.step(title):
            direct = ("--frames", "arena", "--noise", "1", "--codec", "jpeg", "--seconds", f"{budget.direct_s:g}")
            starts = [("--seed", str(1_000 * (i + 1))) for i in range(budget.recorders)]
            recorder = (sys.executable, "collect.py", "--out", recordings, *direct)
            steps.run_all([(*recorder, *start) for start in starts])
        rounds = f"{budget.coach_rounds} rounds of {budget.coach_min:g} min in which it plays and is corrected"
        with steps.step(f"3/6  train.py learns in {counted(budget.epochs, 'pass', 'passes')}, then in {rounds}"):
            learn = ("--out", run, "--epochs", str(budget.epochs))
            coach = ("--coach", str(budget.coach_rounds), "--coach-minutes", f"{budget.coach_min:g}")
            log(steps.run(sys.executable, "train.py", recordings, *learn, *coach))
        scored = ("--situation", "benchmark", "--seed", "950000")
        title = f"4/6  eval.py captures the window and drives in real time for {budget.drive_min:g} min"
        with steps.step(title), arena(*scored, "--driver", "pad", "--socket", socket):
            drive = ("--sink", "arena", "--minutes", f"{budget.drive_min:g}", "--report", out / "drive.json")
            log(steps.run(sys.executable, "eval.py", "--checkpoint", best, *drive))
    with steps.step(f"5/6  Policy and baselines on {budget.episodes} starts each that nobody trained on"):
        who: dict[str, tuple[str | Path, ...]] = {
            "policy": ("--checkpoint", best),
            "idle": ("--driver", "idle"),
            "constant": ("--driver", "constant", "--constant", recordings),
            "expert": ("--driver", "expert"),
        }
        for name, words in who.items():
            steps.run(*ARENA, "score", *words, "--episodes", str(budget.episodes), "--json", out / f"score_{name}.json")
    with steps.step("6/6  Video, plot and report"):
        video = ("--save", out / "playback.mp4", "--seconds", "20")
        steps.run(sys.executable, "playback.py", _live_session(recordings), "--checkpoint", best, *video)
        summary = report(out, budget, steps)
    sys.stdout.write(summary)
    return out


def _live_session(recordings: Path) -> Path:
    """The session that was recorded through the window: the first by name, since names begin with the time."""
    return min(path for path in recordings.iterdir() if path.is_dir())


def _screenshot(file: Path, display: str) -> None:
    """Keep a picture of the arena's window as collect.py sees it."""
    import cv2

    from rl_utils.config import GAME_TITLE
    from rl_utils.get_current_frame import WindowFrames

    with WindowFrames(GAME_TITLE, size=(960, 540), display=display, require_focus=False) as frames:
        deadline = time.monotonic() + SCREENSHOT_S
        while (frame := frames.read()) is None and time.monotonic() < deadline:
            time.sleep(0.05)
        if frame is not None:
            cv2.imwrite(str(file), cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR))


def report(out: Path, budget: Budget, steps: Steps) -> str:
    """Write report.json, report.md and scores.png; returns the text for the terminal."""
    from rl_utils.plots import ScoreRow, report_plot

    drive = json.loads((out / "drive.json").read_text())["play"]
    rows = [_row(ScoreRow, "policy, real time", drive, "through window and pad")]
    names = {"policy": "policy, direct mode", "idle": "idle", "constant": "constant", "expert": "scripted driver"}
    rows += [
        _row(ScoreRow, shown, json.loads((out / f"score_{name}.json").read_text()), "") for name, shown in names.items()
    ]
    report_plot(rows, out / "scores.png")
    policy, idle = (next(r for r in rows if r.name == name) for name in ("policy, direct mode", "idle"))
    direct_min = budget.direct_s * budget.recorders / 60
    lines = [
        "",
        "| driver | minutes | touches/min [95 %] | goals/min [95 %] |",
        "| --- | --- | --- | --- |",
        *(
            f"| {r.name} | {r.minutes:.1f} | {r.touches_per_min:.1f} [{r.touches_low:.1f}, {r.touches_high:.1f}]"
            f" | {r.goals_per_min:.2f} [{r.goals_low:.2f}, {r.goals_high:.2f}] |"
            for r in rows
        ),
        "",
        _judgement(policy, idle),
        f"Recorded: {budget.live_s / 60:.1f} min in real time through window and pad, "
        f"{direct_min:.1f} min in direct mode. In another {budget.coach_rounds * budget.coach_min:.1f} min the policy "
        "played, and the scripted driver said what it would have done.",
        f"Took {steps.elapsed()} min: " + ", ".join(f"{t.split('  ')[0]} {s:.0f} s" for t, s in steps.seconds.items()),
        "",
        f"Scores as a picture    {out / 'scores.png'}",
        f"The arena's window     {out / 'window.png'}",
        f"Recording, with pad    {out / 'playback.mp4'}",
        f"Training plot          {out / 'run' / 'training.png'}",
        f"TensorBoard            .venv/bin/tensorboard --logdir {out / 'run'}",
        "Watch it drive, in the arena's window:",
        "  .venv/bin/python -m rl_utils.arena --driver pad &",
        f"  .venv/bin/python eval.py --checkpoint {out / 'run' / 'best.pt'} --sink arena",
        "",
    ]
    text = "\n".join(lines)
    (out / "report.md").write_text(f"# How well it plays\n{text}")
    (out / "report.json").write_text(json.dumps({"rows": [vars(r) for r in rows], "seconds": steps.seconds}, indent=2))
    return text


def _judgement(policy: ScoreRow, idle: ScoreRow) -> str:
    """One sentence that says what the table says."""
    if policy.touches_low <= idle.touches_high:
        return "It does not play better than nobody: it has seen too little. Give it more: make demo MINUTES=30."
    times = policy.touches_per_min / max(idle.touches_per_min, 1e-9)
    often = f"{min(times, 999):.0f} times as often as nobody"
    touches = f"It touches the ball {policy.touches_per_min:.1f} times a minute, {often}"
    if policy.goals_low > idle.goals_high:
        return f"{touches}, and scores more than a ball that rolls in by itself."
    return f"{touches}. Whether it scores more than a ball that rolls in by itself, so little play does not show."


def _row(kind: type[Any], name: str, score: Mapping[str, Any], note: str) -> Any:
    return kind(
        name=name,
        minutes=score["minutes"],
        touches_per_min=score["touches_per_min"],
        touches_low=score["touches_per_min_low"],
        touches_high=score["touches_per_min_high"],
        goals_per_min=score["goals_per_min"],
        goals_low=score["goals_per_min_low"],
        goals_high=score["goals_per_min_high"],
        note=note,
    )


@user_errors
def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo."""
    config = parse_config(DemoConfig, argv, prog="python -m rl_utils.demo")
    run_demo(config)
    return 0


if __name__ == "__main__":
    sys.exit(main())
