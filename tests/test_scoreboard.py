"""The scoreboard: every step once, as commands, and a table that says no more than was measured."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import cv2
import pytest

from rl_utils import scoreboard
from rl_utils.arena.rollout import PlayerSpec
from rl_utils.arena.score import score
from rl_utils.config import ScoreboardConfig, TrainConfig, parse_config
from rl_utils.errors import UserError
from rl_utils.scoreboard_rows import LEVERS, ROWS, TRAININGS
from rl_utils.scoreboard_steps import Cost, Step, Steps
from rl_utils.scoreboard_table import write_tables

SMALL = ("--minutes-of-play", "1", "--seeds", "1", "--epochs", "1", "--coach", "1", "--coach-minutes", "0.1")
SHORT = ("--score-minutes", "0.1", "--train-options", "batch-size=32", "val-gap-s=0.2")


@pytest.mark.timeout(600)
def test_rows_are_measured_once_and_the_folder_grows(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A night's work must not begin anew after Ctrl+C, and coach rounds must go on from the noise row's policy."""
    out = tmp_path / "board"
    words = ["--out", str(out), *SMALL, *SHORT]
    assert scoreboard.main([*words, "--only", "idle", "coach"]) == 0
    first = capfd.readouterr()
    assert "| default policy, play with noise and coach rounds |" in first.out
    assert first.err.count("$ python collect.py") == 8, "only play with noise is needed, in eight pieces"
    assert first.err.count("$ python train.py") == 2
    assert "--coach 1 --coach-minutes 0.1 --batch-size 32 --val-gap-s 0.2 --resume" in first.err
    played = [(out / "policies" / "noise-seed1.pt"), (out / "runs" / "noise-seed1" / "coach" / "round1.pt")]
    assert played[0].read_bytes() == played[1].read_bytes(), "who played the round is the policy without it"

    assert scoreboard.main([*words, "--only", "coach", "expert", "--resume"]) == 0
    second = capfd.readouterr()
    assert second.err.count("$ python") == 1, "the expert's score is all that was missing"
    rows = {row["name"]: row for row in json.loads((out / "scoreboard.json").read_text())["rows"]}
    assert list(rows) == ["idle", "coach", "expert"]
    assert rows["coach"]["frames"] == 60 * 30 + 0.1 * 60 * 30
    steps = Steps(out / "steps")
    assert steps.cost("train-coach-seed1").cpu_s > steps.cost("train-noise-seed1").cpu_s, "what it goes on from counts"
    assert rows["coach"]["training_cpu_min"] > 0
    assert cv2.imread(str(out / "scoreboard.png")) is not None

    for wrong, says in (
        (["--only", "idle"], "Add --resume"),
        (["--resume", "--seed", "970000"], "begun with --seed 960000, not 970000"),
    ):
        assert scoreboard.main([*words, *wrong]) == 2
        assert says in capfd.readouterr().err


def test_mistakes_are_found_before_the_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An option of train.py that does not exist must not come out after an hour of recording."""
    for words, says in (
        (["--train-options", "no-such=1"], "Option --no-such does not exist"),
        (["--seed", "5"], "--seed 5 may be trained on"),
        (["--coach-minutes", "0"], "--coach-minutes 0 is out of range"),
        (["--train-options", "out=foo"], "the scoreboard gives --out to train.py itself"),
        (["--train-options", "lr=5e-4", "seed=3"], "gives --seed to"),
        (["--train-options", "coach_minutes=3"], "gives --coach-minutes to"),
        (["--train-options", "data=foo"], "gives --data to"),
        (["--only", "without-mirror", "--train-options", "mirror=1"], "gives --mirror to"),
        (["--out", str(tmp_path / "file")], "cannot be written to (Not a directory)"),
        (["--out", str(tmp_path / ("x" * 300))], "File name too long"),
    ):
        (tmp_path / "file").touch()
        assert scoreboard.main(["--out", str(tmp_path / "board"), *words]) == 2
        assert says in capsys.readouterr().err
    (tmp_path / "file").unlink()
    (tmp_path / "thesis.txt").touch()
    assert scoreboard.main(["--out", str(tmp_path)]) == 2
    assert "holds something else" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]


def test_the_table_says_how_far_seeds_lie_apart(tmp_path: Path) -> None:
    """With one seed like the scripted driver and one like noise, a narrow interval would be a false promise."""
    config = ScoreboardConfig(out=tmp_path, seeds=2, train_options=("lr=5e-4",))
    steps = Steps(tmp_path / "steps")
    (tmp_path / "scores").mkdir()

    def played(name: str, driver: PlayerSpec) -> None:
        result = score(driver, name=name, situation="benchmark", seed=960000, episodes=6, workers=1, quiet=True)
        (tmp_path / "scores" / f"{name}.json").write_text(json.dumps(result.as_table()))
        steps.note(Step(f"score-{name}", ("arena",)), Cost(1, 1))

    expert, random = PlayerSpec("expert"), PlayerSpec("random")
    for name, driver in {"noise-seed1": expert, "noise-seed2": random, "plain-seed1": random, "idle": random}.items():
        played(name, driver)
    for name in ("noise-seed1", "noise-seed2", "plain-seed1"):
        steps.note(Step(f"train-{name}", ("train.py",)), Cost(120, 60), frames=1000)
    for name in ("eighth-seed1", "coach-seed1"):
        played(name, random)
    steps.note(Step("train-coach-seed1", ("train.py",)), Cost(180, 60), frames=2000)

    text = write_tables(config)
    rows = {row["name"]: row for row in json.loads((tmp_path / "scoreboard.json").read_text())["rows"]}
    noise, plain = rows["noise"]["touches"], rows["plain"]["touches"]
    assert noise["each_seed"][0]["per_min"] > noise["expected"]["per_min"] > noise["each_seed"][1]["per_min"]
    assert noise["expected"]["high"] > noise["pooled"]["high"] + 20, "two seeds cannot tell much"
    assert plain["expected"] == plain["pooled"] == plain["each_seed"][0], "one seed says nothing of others"
    assert "| default policy, play with noise | 1,000 | 2.0 | 2 |" in text
    assert "Each training seed" in text
    assert "in 5 passes (the article's network: 5; the article ran 25), lr=5e-4; 4 coach rounds of 7.5 min" in text
    assert "default policy, play with noise − default policy, plain play | +" in text
    curves = cv2.imread(str(tmp_path / "curves.png"))
    assert curves.std() > 10


def test_everything_is_paired_with_what_it_needs() -> None:
    """A row whose training or play has another name would fail after hours."""
    assert {row.training for row in ROWS if row.training} <= set(TRAININGS)
    assert {training.after for training in TRAININGS.values() if training.after} <= set(TRAININGS)
    config = ScoreboardConfig(out=Path("board"), epochs=3)
    assert TRAININGS["quarter"].options(config) == ["--epochs", "12", "--patience", "0"], "as many steps as with all"
    more = dataclasses.replace(config, article_epochs=25)
    assert TRAININGS["article"].options(more)[-2:] == ["--epochs", "25"]


def test_levers_are_turned_off_from_the_first_step() -> None:
    """A lever that only the last rounds were without, or an option that changes nothing, would show nothing."""
    config = ScoreboardConfig(out=Path("board"), epochs=3, only=tuple(row.name for row in ROWS))  # type: ignore[arg-type]
    usual = parse_config(TrainConfig, ["data", "--out", "run", *TRAININGS["coach"].options(config)], prog="train.py")
    changed = set()
    for name, (_, off) in LEVERS.items():
        coached = TRAININGS[f"coach-without-{name}"]
        assert coached.after is not None
        begun = TRAININGS[coached.after]
        assert begun.after is None
        assert begun.without == coached.without == off
        words = ["data", "--out", "run", *coached.options(config)]
        assert words[3 : 3 + len(off)] == list(off)
        now = parse_config(TrainConfig, words, prog="train.py")
        differs = {f.name for f in dataclasses.fields(now) if getattr(now, f.name) != getattr(usual, f.name)}
        assert len(differs - {"optimiser"}) == 1 or differs == {"optimiser"}, f"{name} changes {differs}"
        changed |= differs
    assert changed == {"belief_weight", "model", "mirror", "shift_px", "ema", "optimiser"}


def test_a_rows_seeds_share_its_minutes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thirty minutes for every seed would be half of the work, and less than thirty for a row too few."""
    asked: dict[str, float] = {}

    def run(_: Steps, *steps: Step) -> list[Cost]:
        for step in steps:
            if "--minutes" in step.words:
                asked[step.name] = float(str(step.words[step.words.index("--minutes") + 1]))
        return [Cost(1, 1)] * len(steps)

    monkeypatch.setattr(Steps, "run", run)
    monkeypatch.setattr(scoreboard.Scoreboard, "_train", lambda *_: tmp_path / "policy.pt")
    rows = {row.name: row for row in ROWS}
    board = scoreboard.Scoreboard(ScoreboardConfig(out=tmp_path, seeds=3, article_seeds=2, score_minutes=30))
    for name in ("idle", "coach", "article-fixed"):
        board.measure(rows[name])
    coach = {f"score-coach-seed{seed}": 10.0 for seed in (1, 2, 3)}
    assert asked == {"score-idle": 30.0, **coach, "score-article-fixed-seed1": 15.0, "score-article-fixed-seed2": 15.0}
    asked.clear()
    more = scoreboard.Scoreboard(ScoreboardConfig(out=tmp_path, seeds=5, article_seeds=1, score_minutes=30))
    for name in ("idle", "coach", "article-fixed"):
        more.measure(rows[name])
    added = {f"score-coach-seed{seed}": 10.0 for seed in (4, 5)}
    assert asked == {**added, "score-article-fixed-seed1": 30.0}, "new seeds play as much, one seed alone all"


def test_what_an_interrupted_attempt_took_counts(tmp_path: Path) -> None:
    """A training that went on after Ctrl+C would look as cheap as its second half."""
    code = "import sys, time\nwhile time.process_time() < 1: pass\nsys.exit(int(sys.argv[1]))"
    steps = Steps(tmp_path)
    with pytest.raises(UserError, match="ended with 3"):
        steps.run(Step("train", ("-c", code, "3")))
    (anew,) = steps.run(Step("train", ("-c", code, "0")))
    assert 1 <= anew.cpu_s < 2, "it began anew"
    with pytest.raises(KeyboardInterrupt):
        steps.run(Step("train", ("-c", code, "130")), Step("other", ("-c", "import time; time.sleep(600)")))
    on = Step("train", ("-c", code, "0"), goes_on=True)
    (whole,) = Steps(tmp_path).run(on)
    assert 2 <= whole.cpu_s < 4
    assert whole.wall_s >= 2
    steps.note(on, whole)
    assert steps.cost("train") == whole
    assert {path.name for path in tmp_path.iterdir()} == {"train.json", "other.so-far"}
