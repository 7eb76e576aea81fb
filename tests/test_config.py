"""Command lines and saved settings: what a person types is understood, or answered with one clear line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rl_utils.config import (
    GAME_TITLE,
    ArenaConfig,
    BenchConfig,
    CollectConfig,
    DemoConfig,
    EvalConfig,
    PlaybackConfig,
    ScoreboardConfig,
    ScoreConfig,
    TrainConfig,
    TrimConfig,
    config_table,
    parse_config,
    save_config,
)
from rl_utils.controls import PROFILES
from rl_utils.errors import UserError


def test_options_override_defaults() -> None:
    """What is typed must win over the defaults."""
    config = parse_config(CollectConfig, ["--out", "a", "--fps", "60", "--size", "320x180"], prog="collect.py")
    assert (config.out, config.fps, config.size_px) == (Path("a"), 60.0, (320, 180))


@pytest.mark.parametrize(
    ("kind", "argv", "words"),
    [
        (CollectConfig, ["--out", "a", "--fsp", "3"], ["--fsp", "--fps"]),
        (CollectConfig, [], ["--out"]),
        (CollectConfig, ["--out", "a", "--fps", "fast"], ["--fps", "fast"]),
        (CollectConfig, ["--out", "a", "--fps", "0"], ["--fps 0"]),
        (CollectConfig, ["--out", "a", "--fps", "4"], ["--fps 4", "5 to 240"]),
        (EvalConfig, ["--checkpoint", "a.pt", "--fps", "4"], ["--fps 4", "5 to 240"]),
        (CollectConfig, ["--out", "a", "--size", "480"], ["--size 480", "480x270"]),
        (CollectConfig, ["--out", "a", "--window", "("], ["--window", "regular expression"]),
        (CollectConfig, ["--out", "a", "--frames", "arena", "--fps", "50"], ["--fps 50", "120"]),
        (TrainConfig, ["--out", "r"], ["No recording"]),
        (TrainConfig, ["d", "--out", "r", "--model", "resnet"], ["resnet", "motion", "rocketnet"]),
        (EvalConfig, [], ["--checkpoint"]),
        (EvalConfig, ["--checkpoint", "a", "--inputs", "b"], ["exclude"]),
        (EvalConfig, ["--checkpoint", "a", "--frames", "screen"], ["--frames screen"]),
        (EvalConfig, ["--checkpoint", "a", "--frames", "replay:x"], ["--sink log"]),
        (PlaybackConfig, [], ["No recording"]),
        (PlaybackConfig, ["a", "--speed", "0"], ["--speed"]),
        (ScoreConfig, [], ["--checkpoint", "--driver"]),
        (ScoreConfig, ["--driver", "foo"], ["foo", "constant", "expert", "idle", "random"]),
        (ArenaConfig, ["--fps", "50"], ["120"]),
        (EvalConfig, ["--checkpoint", "x", "--takeover", "expert"], ["scripted driver", "--sink arena"]),
        (EvalConfig, ["--checkpoint", "x", "--sink", "log", "--takeover", "pad"], ["real time"]),
        (EvalConfig, ["--checkpoint", "x", "--frames", "arena", "--sink", "arena", "--takeover", "pad"], ["real time"]),
        (EvalConfig, ["--checkpoint", "x", "--give-back-s", "-1"], ["--give-back-s -1"]),
        (TrainConfig, ["a", "--out", "r", "--takeover-weight", "-2"], ["--takeover-weight -2"]),
        (TrainConfig, ["a", "--out", "r", "--threads", "-3"], ["--threads -3", "0 to 1024"]),
        (TrainConfig, ["a", "--out", "r", "--seed", "-1"], ["--seed -1", "Choose 0"]),
        (TrainConfig, ["a", "--out", "r", "--val-share", "0.91"], ["--val-share 0.91", "0.01 to 0.9"]),
        (TrainConfig, ["--out", "r", "--mask", "40,0,20,9", "play"], ["--mask took", "first", "train.py recordings"]),
        (TrimConfig, ["--out", "r", "--drop", "1-2", "play"], ["--drop took", "first", "trim recordings"]),
        (TrimConfig, ["play", "--drop", "1-2"], ["Missing --out"]),
        (CollectConfig, ["--out", "a", "--wait", "-1"], ["--wait -1", "Choose 0 to"]),
        (CollectConfig, ["--out", "a", "--wait", "nan"], ["--wait nan"]),
        (EvalConfig, ["--checkpoint", "a", "--wait", "-1"], ["--wait -1"]),
        (EvalConfig, ["--checkpoint", "a", "--wait", "nan"], ["--wait nan"]),
        (ScoreboardConfig, ["--out", "a", "--seed", "2000000000"], ["out of range", "900000 to 1999999999"]),
        (ScoreboardConfig, ["--out", "a", "--only", "foo"], ["'foo'", "Expected one of idle, random, constant, "]),
    ],
)
def test_bad_options_get_one_line_with_a_remedy(kind: type, argv: list[str], words: list[str]) -> None:
    """A typing error must not end in a traceback or a page of help."""
    with pytest.raises(UserError) as caught:
        parse_config(kind, argv, prog="script.py")
    text = str(caught.value)
    assert "\n" not in text
    for word in words:
        assert word in text


@pytest.mark.parametrize("value", ["inf", "nan", "1e308", "-1"])
@pytest.mark.parametrize(
    ("kind", "argv"),
    [
        (CollectConfig, ["--out", "a", "--seconds"]),
        (CollectConfig, ["--out", "a", "--discard-seconds"]),
        (CollectConfig, ["--out", "a", "--countdown"]),
        (TrainConfig, ["a", "--out", "r", "--minutes"]),
        (TrainConfig, ["a", "--out", "r", "--coach", "1", "--coach-minutes"]),
        (TrainConfig, ["a", "--out", "r", "--val-gap-s"]),
        (EvalConfig, ["--checkpoint", "a", "--minutes"]),
        (EvalConfig, ["--checkpoint", "a", "--give-back-s"]),
        (PlaybackConfig, ["a", "--start"]),
        (PlaybackConfig, ["a", "--seconds"]),
        (TrimConfig, ["a", "--out", "r", "--start"]),
        (TrimConfig, ["a", "--out", "r", "--end"]),
        (TrimConfig, ["a", "--out", "r", "--drop-idle"]),
        (ArenaConfig, ["--seconds"]),
        (ScoreConfig, ["--driver", "idle", "--minutes"]),
        (ScoreboardConfig, ["--out", "a", "--minutes-of-play"]),
        (ScoreboardConfig, ["--out", "a", "--coach-minutes"]),
        (ScoreboardConfig, ["--out", "a", "--score-minutes"]),
        (BenchConfig, ["--seconds"]),
        (DemoConfig, ["--minutes"]),
    ],
)
def test_times_that_nobody_can_count_are_refused(kind: type, argv: list[str], value: str) -> None:
    """As a number of frames they end in a traceback, some of them in the middle of a recording."""
    with pytest.raises(UserError, match=argv[-1]):
        parse_config(kind, [*argv[:-1], f"{argv[-1]}={value}"], prog="script.py")


@pytest.mark.parametrize("value", ["inf", "nan", "-1e308"])
def test_a_shift_that_nobody_can_count_is_refused(value: str) -> None:
    """The same for a shift in time, which may be negative."""
    with pytest.raises(UserError, match="--action-shift-ms"):
        parse_config(TrainConfig, ["a", "--out", "r", f"--action-shift-ms={value}"], prog="train.py")


def test_the_ends_of_a_range_are_in_it() -> None:
    """Who follows a remedy to the letter must not be refused again."""
    config = TrainConfig((Path("a"),), Path("r"), val_share=0.9, threads=0, seed=0)
    assert config.val_share == 0.9
    assert CollectConfig(Path("a"), wait=0).wait == 0


@pytest.mark.parametrize("kind", [TrainConfig, PlaybackConfig, TrimConfig, EvalConfig])
def test_help_names_every_pad_profile(kind: type, capsys: pytest.CaptureFixture[str]) -> None:
    """A profile that only an error message tells of is found by nobody."""
    with pytest.raises(SystemExit):
        parse_config(kind, ["--help"], prog="script.py")
    printed = " ".join(capsys.readouterr().out.replace("│", " ").split())
    about = re.search(r"Pad behind the article's files: (.*?)\. ", printed)
    assert about is not None
    assert set(re.split(r", | or ", about[1])) == set(PROFILES)


def test_a_drive_is_careful_by_default() -> None:
    """Who gives no options must get the safe ones: ten minutes, no menu, the promise asked for, a touch stops."""
    config = parse_config(EvalConfig, ["--checkpoint", "best.pt"], prog="eval.py")
    assert config.minutes == 10
    assert not config.allow_menu
    assert not config.yes_offline
    assert config.takeover == "off"


def test_saved_settings_repeat_the_run(tmp_path: Path) -> None:
    """`--config` must bring back every setting, and the command line must still win."""
    argv = ["a", "b", "--out", "r", "--minutes", "2.5", "--no-deterministic", "--seed", "7"]
    config = parse_config(TrainConfig, argv, prog="train.py")
    file = tmp_path / "config.toml"
    save_config(config, file)
    assert parse_config(TrainConfig, ["--config", str(file)], prog="train.py") == config
    changed = parse_config(TrainConfig, ["--config", str(file), "--seed", "8"], prog="train.py")
    assert changed.seed == 8
    assert changed.minutes == 2.5


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(
    fps=st.sampled_from([10.0, 30.0, 59.94, 60.0]),
    seconds=st.none() | st.floats(0.1, 1e6),
    size=st.tuples(st.integers(16, 4000), st.integers(16, 4000)),
    device=st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=20),
)
def test_any_settings_survive_the_file(
    tmp_path: Path, fps: float, seconds: float | None, size: tuple[int, int], device: str | None
) -> None:
    """A setting that changes on its way through the file would make a run unrepeatable."""
    config = CollectConfig(out=Path("x"), fps=fps, seconds=seconds, size=f"{size[0]}x{size[1]}", device=device)
    file = tmp_path / "config.toml"
    save_config(config, file)
    assert parse_config(CollectConfig, [f"--config={file}"], prog="collect.py") == config


def test_unknown_key_in_the_file_suggests_the_right_one(tmp_path: Path) -> None:
    """A misspelt key that is silently ignored would train something else than was asked for."""
    file = tmp_path / "config.toml"
    file.write_text('[settings]\nout = "x"\nepocs = 3\n')
    with pytest.raises(UserError, match=r"epocs.*epochs"):
        parse_config(TrainConfig, ["--config", str(file)], prog="train.py")


@pytest.mark.parametrize("content", [None, "a = = 3", "\x00"])
def test_unreadable_config_file_is_a_user_error(tmp_path: Path, content: str | None) -> None:
    """A missing or broken config file must be answered in one line."""
    file = tmp_path / "config.toml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(UserError):
        parse_config(TrainConfig, ["--config", str(file)], prog="train.py")


def test_help_ends_with_zero(capsys: pytest.CaptureFixture[str]) -> None:
    """--help must show every option and succeed."""
    with pytest.raises(SystemExit) as stop:
        parse_config(CollectConfig, ["--help"], prog="collect.py")
    assert stop.value.code == 0
    out = capsys.readouterr().out
    for name in config_table(CollectConfig(out=Path("x"))):
        assert "--" + name.replace("_", "-") in out


@pytest.mark.parametrize(
    ("title", "fits"),
    [
        ("Rocket League", True),
        ("Rocket League (64-bit, DX11, Cooked)", True),
        ("Rocket League (32-bit, DX9, Cooked)", True),
        ("Rocket League wiki - Firefox", False),
        ("My Rocket League", False),
        ("rocket league", False),
    ],
)
def test_default_title_fits_the_game_only(title: str, fits: bool) -> None:
    """Proton's title must be found, a browser tab about the game must not."""
    assert (re.search(GAME_TITLE, title) is not None) == fits


@pytest.mark.parametrize("words", [["--only"], ["--only", "--seeds", "2"]])
def test_a_list_with_nothing_in_it_is_refused(words: list[str]) -> None:
    """It would mean everything: hours of work for somebody whose shell variable was empty."""
    with pytest.raises(UserError, match="--only names nothing"):
        parse_config(ScoreboardConfig, words, prog="scoreboard")
    assert parse_config(ScoreboardConfig, ["--out", "x", "--only", "coach"], prog="scoreboard").only == ("coach",)
