"""eval.py as a person runs it: the article's numbers, the arena driven in real time, and refusals."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import collect
import eval as eval_script
from rl_utils.config import TrainConfig
from rl_utils.controls import AXES, BUTTONS, NAMES, REST, Control
from rl_utils.dataset import make_samples
from rl_utils.interfaces import Flag, Source
from rl_utils.model import RocketNet
from rl_utils.recordings import open_recordings
from rl_utils.safety import mask_menu
from rl_utils.training_run import run_training
from tests.arena_process import connected, focus, running, running_arena
from tests.test_listeners import record_throttle
from tests.x11_window import xdotool


@pytest.fixture(scope="module")
def article_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """45 tensors as the article saves them, with statistics that make the answers vary."""
    torch.manual_seed(7)
    network = RocketNet()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
                module.running_mean.normal_(0.2, 0.1)
                module.running_var.uniform_(0.5, 2.0)
    file = tmp_path_factory.mktemp("article") / "rlai-1.4M.pth"
    torch.save(network.state_dict(), file)
    return file


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of play."""
    folder = tmp_path_factory.mktemp("play")
    assert collect.main(["--out", str(folder), "--frames", "arena", "--seconds", "2", "--noise", "1"]) == 0
    return folder


@pytest.fixture(scope="module")
def held_throttle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five minutes of full throttle, for tests that must not see the end of their inputs."""
    folder = tmp_path_factory.mktemp("throttle")
    record_throttle(folder, 9000, size=(32, 18))
    return folder


def rows_of(file: Path) -> tuple[list[str], np.ndarray]:
    with file.open() as lines:
        header, *rows = csv.reader(lines)
    return header, np.array(rows, np.float64)


def test_an_article_checkpoint_gives_the_article_networks_numbers(
    article_checkpoint: Path, recording: Path, tmp_path: Path
) -> None:
    """A model trained elsewhere must mean the same here: RGB/255, buttons at p >= 0.5, sticks unscaled."""
    out = tmp_path / "out.csv"
    options = ["--frames", f"replay:{recording}", "--sink", "log", "--log-inputs", str(out)]
    assert eval_script.main(["--checkpoint", str(article_checkpoint), *options]) == 0
    header, rows = rows_of(out)
    assert header == ["frame_index", *NAMES]
    assert rows[:, 0].tolist() == list(range(60))
    network = RocketNet()
    network.load_state_dict(torch.load(article_checkpoint, weights_only=True))
    network.eval()
    (stored,) = open_recordings([recording])
    with stored, torch.inference_mode():
        pixels = torch.from_numpy(stored.read_frames(range(60))).permute(0, 3, 1, 2).float() / 255
        expected = network(pixels).numpy()
    clear = np.abs(expected[:, BUTTONS]) > 1e-4
    values = rows[:, 1:]
    assert np.array_equal(values[:, BUTTONS][clear], (expected[:, BUTTONS] >= 0)[clear].astype(float))
    assert np.abs(values[:, AXES] - expected[:, AXES]).max() < 1e-4
    assert values[:, AXES].std(axis=0).max() > 1e-3


def test_drives_the_arena_through_window_and_pad(
    x_display: str, article_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last step of the product: the arena's car obeys the policy in real time, and what it did is recorded."""
    socket = tmp_path / "arena.sock"
    monkeypatch.setenv("RLAI_ARENA_SOCKET", str(socket))
    with running_arena(socket, "--driver", "pad", "--situation", "benchmark"):
        options = ["--sink", "arena", "--minutes", "0.1", "--report", str(tmp_path / "report.json")]
        options += ["--record", str(tmp_path / "r"), "--log-inputs", str(tmp_path / "log.csv")]
        began = time.monotonic()
        assert eval_script.main(["--checkpoint", str(article_checkpoint), *options]) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    # Six seconds, also on a machine that misses ticks, and many of them at the end.
    assert report["ticks"] <= 180 <= report["ticks"] + report["missed"]
    assert 0 < report["play"]["minutes"] <= (time.monotonic() - began) / 60
    assert 0 < report["latency_ms_p50"] <= report["latency_ms_p99"]
    (driven,) = open_recordings([tmp_path / "r"])
    _, rows = rows_of(tmp_path / "log.csv")
    with driven:
        assert (driven.source == Source.POLICY).all()
        # The log has the answers, the recording what the pad did: menu buttons are not pressed.
        assert np.allclose(driven.inputs, mask_menu(rows[:, 1:]), atol=1e-6)


def test_recorded_inputs_move_the_arenas_car(
    x_display: str, recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--inputs` replays a recording through the same pad; the arena says that it arrived."""
    socket = tmp_path / "arena.sock"
    monkeypatch.setenv("RLAI_ARENA_SOCKET", str(socket))
    with running_arena(socket, "--driver", "pad"):
        command = ["eval.py", "--inputs", str(recording), "--sink", "arena", "--minutes", "0.05"]
        with running(command) as child, connected(socket) as pad:
            seen, asked_ns = [], time.monotonic_ns()
            while child.poll() is None:
                time.sleep(0.01)
                while asked_ns < time.monotonic_ns():  # what was held while this process was put to sleep, too
                    asked_ns += 10_000_000
                    seen.append(pad.at(asked_ns).values.copy())
            assert child.returncode == 0
            assert max(values[Control.RIGHT_TRIGGER] for values in seen) > 0.5
            wait_until(lambda: np.array_equal(pad.at(time.monotonic_ns()).values, REST))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_every_way_out_releases_the_arenas_pad(
    x_display: str, held_throttle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """A throttle that stays held after the bot is gone is the article's worst fault."""
    socket = tmp_path / "arena.sock"
    monkeypatch.setenv("RLAI_ARENA_SOCKET", str(socket))
    with running_arena(socket, "--driver", "pad"):
        command = ["eval.py", "--inputs", str(held_throttle), "--sink", "arena"]
        with running(command) as child, connected(socket) as pad:
            wait_until(lambda: not np.array_equal(pad.at(time.monotonic_ns()).values, REST))
            child.send_signal(number)
            code = child.wait(60)
            assert code == (-9 if number == signal.SIGKILL else 0)
            wait_until(lambda: np.array_equal(pad.at(time.monotonic_ns()).values, REST))


def test_a_hand_on_the_arenas_keyboard_takes_over_and_gives_back(
    x_display: str, held_throttle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever sees the bot drive into a wall grabs the controls: car and recording are theirs, then the bot's."""
    socket, out = tmp_path / "arena.sock", tmp_path / "r"
    monkeypatch.setenv("RLAI_ARENA_SOCKET", str(socket))
    with running_arena(socket, "--driver", "pad"):
        options = ["--takeover", "pad", "--give-back-s", "0.3", "--record", str(out), "--minutes", "5"]
        command = ["eval.py", "--inputs", str(held_throttle), "--sink", "arena", *options]
        with running(command) as child, connected(socket) as pad:

            def held(control: Control) -> float:
                return float(pad.at(time.monotonic_ns()).values[control])

            wait_until(lambda: held(Control.RIGHT_TRIGGER) > 0.5)
            xdotool("keydown", "s")
            wait_until(lambda: held(Control.LEFT_TRIGGER) == 1.0 and held(Control.RIGHT_TRIGGER) == 0.0)
            xdotool("keyup", "s")
            wait_until(lambda: held(Control.LEFT_TRIGGER) == 0.0 and held(Control.RIGHT_TRIGGER) > 0.5)
            child.send_signal(signal.SIGINT)
            told, said = child.communicate(timeout=60)
            assert child.returncode == 0
            wait_until(lambda: np.array_equal(pad.at(time.monotonic_ns()).values, REST))
    assert "Taken over 1 time, " in told
    assert "BOT DRIVING" in said
    assert "Touch your gamepad to take over" in said
    (driven,) = open_recordings([out])
    with driven:
        taken = np.flatnonzero(driven.source == Source.TAKEOVER)
        assert len(taken)
        assert "keyboard" in driven.meta["takeover_pad"]["name"]
        assert np.array_equal(taken, np.arange(taken[0], taken[-1] + 1))
        assert taken[-1] < len(driven) - 1, "the bot drove again"
        assert (driven.inputs[taken[:3], Control.LEFT_TRIGGER] == 1).any()
        times = driven.timestamps_ns
        before = (
            (times < times[taken[0]]) & (times > times[taken[0]] - 1.4e9) & (driven.segment == driven.segment[taken[0]])
        )
        assert (driven.flags[before] & Flag.PRE_TAKEOVER != 0).all()


def test_the_scripted_driver_corrects_in_real_time(
    x_display: str, article_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interactive imitation can be tried through the very window and pad, without a person at the keyboard."""
    socket = tmp_path / "arena.sock"
    monkeypatch.setenv("RLAI_ARENA_SOCKET", str(socket))
    with running_arena(socket, "--driver", "pad"):
        options = ["--sink", "arena", "--minutes", "0.15", "--takeover", "expert", "--record", str(tmp_path / "r")]
        options += ["--report", str(tmp_path / "report.json")]
        assert eval_script.main(["--checkpoint", str(article_checkpoint), *options]) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    (driven,) = open_recordings([tmp_path / "r"])
    with driven:
        taken = driven.source == Source.TAKEOVER
        assert report["takeovers"] >= 1
        waited = driven.timestamps_ns < driven.timestamps_ns[0] + 1e9
        assert not taken[waited].any(), "only what was driven is corrected, not the car that waited for its driver"
        assert taken.mean() == pytest.approx(report["taken_share"])
        assert driven.inputs[taken, Control.RIGHT_TRIGGER].max() > 0.5, "it drives"


def test_corrections_in_direct_mode_are_what_training_learns(article_checkpoint: Path, tmp_path: Path) -> None:
    """The whole round on the command line: a policy is corrected, recorded, and only the corrections are learnt."""
    options = ["--frames", "arena", "--sink", "arena", "--situation", "training", "--seed", "1", "--minutes", "0.5"]
    options += ["--takeover", "expert", "--record", str(tmp_path)]
    assert eval_script.main(["--checkpoint", str(article_checkpoint), *options]) == 0
    recordings = open_recordings([tmp_path])
    samples = make_samples(recordings, val_share=0.1, val_gap_s=0.5, action_shift_ms=0.0, seed=0)
    (driven,) = recordings
    with driven:
        assert not driven.has_labels, "a person would leave none, either"
        assert len(np.unique(driven.episode)) == len(np.unique(driven.segment))
        assert set(driven.source[samples.train]) == {Source.TAKEOVER}
        assert (samples.weights == 2).all()
        steering = driven.inputs[driven.source == Source.TAKEOVER, Control.LEFT_X]
        assert steering.std() > 0.1


def test_a_policy_that_sees_the_state_is_corrected_and_its_states_are_recorded(recording: Path, tmp_path: Path) -> None:
    """Rounds of corrections can be tried in seconds where no network has to look at pictures."""
    settings = TrainConfig((recording,), tmp_path / "run", model="state", epochs=1, batch_size=8, val_gap_s=0.1)
    run_training(settings, stop=lambda: False)
    options = ["--frames", "arena", "--sink", "arena", "--situation", "training", "--seed", "1", "--minutes", "0.2"]
    options += ["--takeover", "expert", "--record", str(tmp_path / "r")]
    assert eval_script.main(["--checkpoint", str(tmp_path / "run" / "best.pt"), *options]) == 0
    (played,), (driven,) = open_recordings([recording]), open_recordings([tmp_path / "r"])
    with played, driven:
        assert driven.state_names == played.state_names
        assert driven.state is not None
        assert np.isfinite(driven.state).all()
        assert (np.abs(np.diff(driven.state, axis=0)).max(axis=1) > 0).mean() > 0.9, "each frame has its own"


def wait_for_socket(path: Path) -> Path:
    wait_until(path.exists)
    return path


def wait_until(condition: Callable[[], bool]) -> None:
    """Poll until it holds; a loaded machine may need long, a broken program never gets there."""
    deadline = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < deadline, "waited 90 s"
        time.sleep(0.01)


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    lines = captured.err.strip().splitlines()
    assert lines[-1].startswith("eval.py: "), captured.err
    assert "Traceback" not in captured.err
    return lines[-1]


@pytest.mark.parametrize("content", [None, b"", b"not a checkpoint", b"PK\x03\x04 truncated"])
def test_a_wrong_checkpoint_is_refused(
    tmp_path: Path, content: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """A missing or foreign file must be named, not end in a traceback of the library."""
    file = tmp_path / "best.pt"
    if content is not None:
        file.write_bytes(content)
    assert eval_script.main(["--checkpoint", str(file), "--frames", "arena", "--sink", "arena"]) == 2
    assert "best.pt" in one_line(capsys)


def test_without_a_display(
    article_checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Driving needs a window to look at."""
    monkeypatch.delenv("DISPLAY", raising=False)
    assert eval_script.main(["--checkpoint", str(article_checkpoint)]) == 2
    assert "DISPLAY" in one_line(capsys)


def test_without_uinput(
    x_display: str,
    article_checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The person has to learn which rule makes /dev/uinput writable."""
    if os.access("/dev/uinput", os.W_OK):
        monkeypatch.setattr("rl_utils.apply_inputs.UINPUT", str(tmp_path / "uinput"))
    with running_arena(tmp_path / "arena.sock", "--driver", "pad"):
        assert eval_script.main(["--checkpoint", str(article_checkpoint), "--wait", "90"]) == 2
    assert "uinput" in one_line(capsys)


def test_the_real_game_needs_the_promise(
    x_display: str, article_checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A window called Rocket League that is not the arena may be the real game: nobody drives it unasked."""
    with running(["xev", "-name", "Rocket League", "-event", "button"]):
        assert eval_script.main(["--checkpoint", str(article_checkpoint), "--wait", "90"]) == 2
    assert "--yes-offline" in one_line(capsys)


def test_no_option_drives_beside_the_anti_cheat(
    x_display: str, article_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever is promised or allowed on the command line, a bot beside Easy Anti-Cheat costs the account."""
    program = tmp_path / "RocketLeague_EAC.exe"
    shutil.copy("/bin/sleep", program)
    options = ["--wait", "90", "--yes-offline", "--allow-menu", "--takeover", "off", "--minutes", "1"]
    with running(["xev", "-name", "Rocket League", "-event", "button"]), running([str(program), "600"]):
        assert eval_script.main(["--checkpoint", str(article_checkpoint), *options]) == 2
    assert "-noeac" in one_line(capsys)


def test_losing_the_focus_releases_the_arenas_pad_and_gaining_it_drives_on(
    x_display: str, held_throttle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the bot holds must not reach the window that a person opens over the game."""
    socket = tmp_path / "arena.sock"
    monkeypatch.setenv("RLAI_ARENA_SOCKET", str(socket))
    with running_arena(socket, "--driver", "pad"):
        command = ["eval.py", "--inputs", str(held_throttle), "--sink", "arena"]
        with running(command) as child, connected(socket) as pad:

            def released() -> bool:
                return np.array_equal(pad.at(time.monotonic_ns()).values, REST)

            wait_until(lambda: not released())
            with running(["xev", "-name", "somebody's chat", "-event", "button"]):
                focus("name", "somebody's chat")  # a bot that is put to sleep for a moment is released, too
                wait_until(released)
                time.sleep(0.5)
                assert released(), "and stays so"
                assert child.poll() is None
            wait_until(lambda: not released())


def test_a_missing_recording_is_refused(
    article_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A typing error in replay:DIR must be named."""
    options = ["--frames", f"replay:{tmp_path / 'nothing'}", "--sink", "log"]
    assert eval_script.main(["--checkpoint", str(article_checkpoint), *options]) == 2
    assert "nothing" in one_line(capsys)


@pytest.mark.parametrize(
    ("option", "path"),
    [("--report", "."), ("--report", "no/report.json"), ("--record", "file"), ("--record", "file/deeper")],
)
def test_what_cannot_be_written_is_refused_before_anything_is_opened(
    option: str, path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ten minutes of driving whose summary or recording then has no place are lost; even the policy can wait."""
    (tmp_path / "file").write_text("")
    options = ["--frames", "arena", "--sink", "arena", option, str(tmp_path / path)]
    assert eval_script.main(["--checkpoint", str(tmp_path / "missing.pt"), *options]) == 2
    line = one_line(capsys)
    assert f"with {option}" in line
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_an_unwritable_log_is_refused_before_driving(
    article_checkpoint: Path, recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Finding out at the end that nothing was logged would waste the drive."""
    options = ["--frames", f"replay:{recording}", "--sink", "log", "--log-inputs", str(tmp_path / "no" / "out.csv")]
    assert eval_script.main(["--checkpoint", str(article_checkpoint), *options]) == 2
    assert "--log-inputs" in one_line(capsys)
