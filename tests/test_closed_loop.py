"""The whole product on a real kernel: window → capture → checkpoint → uinput → SDL → the arena's car moves."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from rl_utils.arena.obs_layout import OBS_NAMES
from rl_utils.controls import BUTTONS, HATS, REST, Control
from rl_utils.interfaces import Inputs, Source
from rl_utils.model import RocketNet
from rl_utils.recordings import open_recordings
from rl_utils.recovery import recover_orphans
from tests.arena_process import running
from tests.driven_arena import Witness, driven_arena, until

pytestmark = [pytest.mark.uinput, pytest.mark.real_time]

SPEED = [OBS_NAMES.index(f"car_linear_velocity_{axis}") for axis in "xyz"]
MOVING_UU_S = 600.0
"""Only a driven car is this fast; the benchmark begins at rest."""


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A network whose sticks follow the picture, and which boosts all the time."""
    torch.manual_seed(7)
    network = RocketNet()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
                module.running_mean.normal_(0.2, 0.1)
                module.running_var.uniform_(0.5, 2.0)
        network.binary_head.bias[:] = -100.0
        network.binary_head.bias[Control.EAST] = 100.0
    file = tmp_path / "boosting.pth"
    torch.save(network.state_dict(), file)
    return file


def test_a_checkpoint_drives_the_arenas_car_through_the_kernel_and_kill_9_stops_it(
    checkpoint: Path, tmp_path: Path
) -> None:
    """Each link is tested alone elsewhere; only together they are a bot that plays, and one that can be stopped."""
    options = ["--record", str(tmp_path / "r"), "--minutes", "5", "--wait", "60"]
    with driven_arena(tmp_path) as arena:
        seen: list[Inputs] = []

        def is_fast() -> bool:
            seen.append(arena.at(time.monotonic_ns()))
            state = seen[-1].state
            return state is not None and float(np.linalg.norm(state[SPEED])) > MOVING_UU_S

        until(lambda: seen.append(arena.at(time.monotonic_ns())) or seen[-1].state is not None)
        assert not is_fast(), "nobody drives yet"
        with running(["eval.py", "--checkpoint", str(checkpoint), *options]) as child:
            witness = Witness()
            # In this order: the ball may have pushed the car before anybody drove it.
            until(lambda: witness.state()[Control.EAST] == 1.0)
            until(is_fast)
            begun = time.monotonic()
            while time.monotonic() < begun + 4:
                seen.append(arena.at(time.monotonic_ns()))
                time.sleep(0.02)
            # It lets go while its pictures stand still, as on a machine that is busy for a moment.
            until(lambda: witness.state()[Control.EAST] == 1.0)  # boost is held when the process is killed
            assert child.poll() is None
            child.send_signal(signal.SIGKILL)
            child.wait()
            until(witness.is_gone)
        until(lambda: np.array_equal(arena.at(time.monotonic_ns()).values, REST))
    assert all(inputs.source is Source.HUMAN for inputs in seen), "it came through the game's window, not its socket"
    _check_that_the_game_saw_what_was_decided(seen, tmp_path / "r")


def _check_that_the_game_saw_what_was_decided(seen: list[Inputs], recordings: Path) -> None:
    assert recover_orphans(recordings)
    (recording,) = open_recordings([recordings])
    with recording:
        decided = recording.inputs.copy()
        assert (recording.source == Source.POLICY).all()
    boosting = REST[BUTTONS].copy()
    boosting[Control.EAST] = 1.0
    assert (decided[:, BUTTONS] == boosting).all()
    assert decided[:, Control.LEFT_X].std() > 1e-4, "the sticks follow the picture"
    decided[:, list(HATS)] = np.round(decided[:, list(HATS)] * 2) / 2  # a d-pad has three positions
    obeyed = [inputs.values for inputs in seen if inputs.values[Control.EAST] == 1.0]
    known = [values for values in obeyed if np.abs(decided - values).max(axis=1).min() < 0.005]
    # The last two seconds before the kill are not in the recording.
    assert len(known) > len(obeyed) / 4, "what the game obeyed is what the policy decided"
