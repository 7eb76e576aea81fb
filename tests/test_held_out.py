"""What is measured on held-out play, beside what the tests of training and of metrics look at."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rl_utils.arena.obs_layout import OBS_NAMES
from rl_utils.controls import Control
from tests.learning_data import marker_play, record, record_marker_play
from tests.test_trainer import history, train


def test_what_a_network_believes_is_measured_on_held_out_play(tmp_path: Path) -> None:
    """A driver that plays badly either sees badly or decides badly; this tells which."""
    frames, inputs = marker_play(600)
    states = np.zeros((600, len(OBS_NAMES)), np.float32)
    states[:, OBS_NAMES.index("car_forward_x")] = states[:, OBS_NAMES.index("car_up_z")] = 1
    states[:, OBS_NAMES.index("ball_position_y")] = 6000 * (inputs[:, Control.LEFT_X] - 0.5)
    recording = record(tmp_path / "told", frames, inputs, states=states)
    train(recording, tmp_path / "run", model="fovea", epochs=5)
    train(recording, tmp_path / "untaught", model="fovea", epochs=1, belief_weight=0)
    train(record_marker_play(tmp_path / "play", 360), tmp_path / "unknown", model="fovea", epochs=1)
    believed = [float(row["belief_loss"]) for row in history(tmp_path / "run")]
    assert 0 < believed[-1] < believed[0]
    assert believed[-1] < float(history(tmp_path / "untaught")[0]["belief_loss"]) / 3
    assert "belief_loss" not in history(tmp_path / "unknown")[0], "nobody told what is right"
