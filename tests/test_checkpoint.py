"""Checkpoints: ours and the article's open and drive; everything else is refused with the reason."""

from __future__ import annotations

import dataclasses
import random
import resource
from pathlib import Path

import numpy as np
import pytest
import torch

from rl_utils.checkpoint import Checkpoint, load_checkpoint, load_policy, restore_network, save_checkpoint
from rl_utils.controls import AXES, BUTTONS, N_CONTROLS
from rl_utils.errors import UserError
from rl_utils.model import build_network, default_arguments, default_spec
from rl_utils.preprocess import ARTICLE_SPEC, PreprocessSpec


def make_checkpoint(name: str = "motion", seed: int = 0) -> Checkpoint:
    torch.manual_seed(seed)
    spec = default_spec(name, 30)
    arguments = default_arguments(name, spec)
    return Checkpoint(
        model_name=name,
        model_arguments=arguments,
        weights=build_network(name, arguments).state_dict(),
        spec=spec,
        fps=30.0,
        capture_size=(480, 270),
        training={"lr": 1e-3, "data": ["a", "b"]},
        metrics={"loss": 0.5},
        data={"samples": 3},
        resume={"rng": torch.get_rng_state()},
    )


def pictures(count: int) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (count, 270, 480, 3), np.uint8))


def test_a_checkpoint_survives_its_file(tmp_path: Path) -> None:
    """Anything lost on the way would make resuming or driving differ from training."""
    checkpoint = make_checkpoint()
    save_checkpoint(checkpoint, tmp_path / "best.pt")
    read = load_checkpoint(tmp_path / "best.pt")
    for part in dataclasses.fields(Checkpoint):
        if part.name not in ("weights", "resume"):
            assert getattr(read, part.name) == getattr(checkpoint, part.name), part.name
    assert all(torch.equal(read.weights[name], tensor) for name, tensor in checkpoint.weights.items())
    assert torch.equal(read.resume["rng"], checkpoint.resume["rng"])


def test_a_checkpoint_is_plain_data(tmp_path: Path) -> None:
    """A file that needs code to be read can run anything on the machine of whoever downloads it."""
    save_checkpoint(make_checkpoint(), tmp_path / "best.pt")
    table = torch.load(tmp_path / "best.pt", weights_only=True)
    assert table["layout_version"] == 1
    assert table["model"]["name"] == "motion"
    assert set(table) >= {"weights", "preprocess", "decoding", "training", "metrics", "data"}


@pytest.mark.parametrize("wrap", ["bare", "epoch file", "old torch format"])
def test_article_checkpoints_give_the_articles_numbers(wrap: str, tmp_path: Path) -> None:
    """Who has the article's model wants it to drive as it was trained: RGB / 255, p >= 0.5, sticks unscaled."""
    torch.manual_seed(4)
    network = build_network("rocketnet", {}).eval()
    content = network.state_dict() if wrap != "epoch file" else {"model_state_dict": network.state_dict(), "epoch": 3}
    file = tmp_path / "rlai-1.4M.pth"
    torch.save(content, file, _use_new_zipfile_serialization=wrap != "old torch format")
    policy = load_policy(file)
    assert policy.fps == 30
    pressed = set()
    for image in pictures(4):
        with torch.no_grad():
            plain = network(torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255)[0]
        inputs = policy.act(image)
        assert inputs.shape == (N_CONTROLS,)
        assert inputs.dtype == np.float32
        np.testing.assert_array_equal(inputs[BUTTONS] == 1, (torch.sigmoid(plain[BUTTONS]) >= 0.5).numpy())
        np.testing.assert_allclose(inputs[AXES], plain[AXES].numpy(), atol=1e-4)
        pressed |= set(inputs[BUTTONS])
    assert pressed == {0.0, 1.0}


def test_pictures_of_other_sizes_reach_an_article_checkpoint(tmp_path: Path) -> None:
    """The article's older files are 180x320; its network is shown 480x270, as in its own play."""
    torch.save(build_network("rocketnet", {}).state_dict(), tmp_path / "a.pth")
    policy = load_policy(tmp_path / "a.pth")
    assert policy.spec == ARTICLE_SPEC
    assert policy.act(np.zeros((180, 320, 3), np.uint8)).shape == (N_CONTROLS,)


def test_a_policy_remembers_and_forgets(tmp_path: Path) -> None:
    """Motion is the point of the default policy, and a new start must not continue the old one."""
    save_checkpoint(make_checkpoint(), tmp_path / "best.pt")
    policy = load_policy(tmp_path / "best.pt")
    images = pictures(3)
    fresh = policy.act(images[2])
    policy.act(images[0])
    policy.act(images[1])
    moved = policy.act(images[2])
    assert not np.array_equal(fresh, moved)
    policy.reset()
    np.testing.assert_array_equal(policy.act(images[2]), fresh)


def test_many_streams_are_answered_as_one_by_one(tmp_path: Path) -> None:
    """A score over many arenas at once must be the score of the policy that plays one."""
    save_checkpoint(make_checkpoint(), tmp_path / "best.pt")
    policy = load_policy(tmp_path / "best.pt")
    images = pictures(6)
    histories = [policy.new_history() for _ in range(2)]
    for tick in range(3):
        batch = policy.predict_batch([images[tick], images[3 + tick]], histories)
    for stream in range(2):
        policy.reset()
        for tick in range(3):
            single = policy.predict(images[3 * stream + tick])
        np.testing.assert_allclose(batch.axes[stream], single.axes, atol=1e-5)
        np.testing.assert_allclose(batch.pressed[stream], single.pressed, atol=1e-5)


def test_other_files_are_refused(tmp_path: Path) -> None:
    """A wrong file must be one line with the remedy, not a page of torch's internals."""
    cases: dict[str, object] = {
        "missing.pt": None,
        "empty.pt": b"",
        "text.pt": b"hello, this is not a checkpoint",
        "recording.h5": b"\x89HDF\r\n\x1a\n" + bytes(100),
        "list.pt": [1, 2],
        "nothing.pt": {},
        "other.pt": {"weight": torch.zeros(2)},
        "whole_model.pt": build_network("rocketnet", {}),
    }
    for name, content in cases.items():
        file = tmp_path / name
        if isinstance(content, bytes):
            file.write_bytes(content)
        elif content is not None:
            torch.save(content, file)
        with pytest.raises(UserError, match=name) as caught:
            load_policy(file)
        assert "Error" not in str(caught.value), "names of Python's exceptions tell nobody anything"


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    """A download that broke off must not end in a traceback, whichever byte it broke at."""
    save_checkpoint(make_checkpoint("rocketnet"), tmp_path / "whole.pt")
    whole = (tmp_path / "whole.pt").read_bytes()
    chance = random.Random(0)
    file = tmp_path / "damaged.pt"
    for _ in range(20):
        file.write_bytes(whole[: chance.randrange(len(whole))])
        with pytest.raises(UserError, match="damaged"):
            load_checkpoint(file)


def change_table(file: Path, **changes: object) -> None:
    table = torch.load(file, weights_only=True)
    torch.save(table | changes, file)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layout_version": 2}, "layout"),
        ({"format_version": 9}, "format"),
        ({"decoding": {"button_threshold": 0.62, "axes": "value"}}, "reading its answers"),
        ({"preprocess": ARTICLE_SPEC.as_table() | {"version": 7}}, "preprocessing"),
        ({"preprocess": ARTICLE_SPEC.as_table()}, "channels"),
        ({"model": {"name": "transformer", "arguments": {}}}, "no model called"),
        ({"model": {"name": "motion"}}, "lacks a part"),
        ({"weights": {}}, "is not a motion"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, object], message: str, tmp_path: Path) -> None:
    """Driving with another layout or preprocessing than was trained is silent nonsense."""
    file = tmp_path / "best.pt"
    save_checkpoint(make_checkpoint(), file)
    change_table(file, **changes)
    with pytest.raises(UserError, match=message):
        load_policy(file)


def test_weights_of_another_size_are_refused(tmp_path: Path) -> None:
    """The message names the tensor, so that a changed network is recognised."""
    checkpoint = make_checkpoint()
    wider = dict(checkpoint.model_arguments) | {"width": 320}
    with pytest.raises(UserError, match=r"backbone\.1\.weight should be"):
        restore_network(dataclasses.replace(checkpoint, model_arguments=wider), tmp_path / "best.pt")


def test_a_full_disk_keeps_the_older_file(tmp_path: Path) -> None:
    """Hours of training must not be lost because the newest checkpoint did not fit."""
    file = tmp_path / "last.pt"
    save_checkpoint(make_checkpoint(seed=1), file)
    before = file.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(UserError, match="what was saved before is untouched"):
            save_checkpoint(make_checkpoint(seed=2), file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


def test_an_unwritable_folder_is_one_line(tmp_path: Path) -> None:
    """A typing error in --out must not end in a traceback."""
    with pytest.raises(UserError, match="cannot be written"):
        save_checkpoint(make_checkpoint(), tmp_path / "missing" / "best.pt")


def test_the_spec_travels_with_the_weights(tmp_path: Path) -> None:
    """A network trained at another size or rate must be shown that size and those moments."""
    spec = PreprocessSpec(width=80, height=45, offsets=(0, 4, 10))
    arguments = default_arguments("motion", spec)
    weights = build_network("motion", arguments).state_dict()
    save_checkpoint(
        Checkpoint("motion", arguments, weights, spec, fps=60.0, capture_size=(320, 180)), tmp_path / "best.pt"
    )
    policy = load_policy(tmp_path / "best.pt")
    assert (policy.spec, policy.fps, policy.capture_size) == (spec, 60.0, (320, 180))
    assert policy.act(pictures(1)[0]).shape == (N_CONTROLS,)
