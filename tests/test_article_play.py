"""The article's network as the article drove it: the comparison is only fair if it is wrong in exactly its ways."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from rl_utils.arena.score import main
from rl_utils.article_play import as_shipped, load_article_policy
from rl_utils.checkpoint import Checkpoint, load_policy, save_checkpoint
from rl_utils.controls import BUTTONS, REST, Control
from rl_utils.model import RocketNet, build_network, default_arguments, motion_spec
from rl_utils.preprocess import ARTICLE_SPEC


def answer(**values: float) -> np.ndarray:
    """What a network says: nothing, but for some controls."""
    outputs = REST.copy()
    outputs[BUTTONS] = -5
    for name, value in values.items():
        outputs[Control[name]] = value
    return outputs


@pytest.mark.parametrize(
    ("control", "said", "pressed"),
    [
        ("LEFT_X", 0.3, 153 / 255),  # says left, steers right
        ("LEFT_Y", 0.6, 1.0),
        ("LEFT_X", 0.52, 128 / 255),
        ("RIGHT_X", 1.0, 127 / 255),
        ("RIGHT_Y", 0.2, 25 / 255),
        ("LEFT_TRIGGER", 0.5, 127 / 255),
        ("RIGHT_TRIGGER", 1.0, 1.0),
        ("HAT_X", 0.9, 0.5),
        ("SOUTH", 0.4, 0.0),  # p = 0.6
        ("EAST", 0.6, 1.0),
    ],
)
def test_inputs_are_the_articles(control: str, said: float, pressed: float) -> None:
    """A row called "as shipped" that is not would blame the article for what it did not do, or hide what it did."""
    inputs = as_shipped(answer(**{control: said}))
    assert inputs[Control[control]] == pytest.approx(pressed)


@pytest.fixture(scope="module")
def article(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bare state_dict, as the article published its own; untrained."""
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("article") / "rlai.pth"
    torch.save(RocketNet().state_dict(), path)
    return path


def test_it_sees_pictures_as_they_come(article: Path) -> None:
    """With pictures divided by 255 the row would not show what leaving that away costs."""
    image = np.random.default_rng(0).integers(0, 256, (270, 480, 3), np.uint8)
    shipped, fixed = load_article_policy(article), load_policy(article)
    network = RocketNet().eval()
    network.load_state_dict(torch.load(article, weights_only=True))
    with torch.inference_mode():
        raw = network(torch.from_numpy(image).permute(2, 0, 1)[None].float())[0].numpy()
    np.testing.assert_allclose(shipped.act(image), as_shipped(raw), atol=1.5 / 255)
    assert np.abs(shipped.act(image) - fixed.act(image)).max() > 0.2


def test_the_score_knows_both_ways(article: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody else's network may be driven so, and no driver."""
    words = ["--episodes", "1", "--situation", "shot", "--seed", "900000", "--workers", "1"]
    assert main(["--checkpoint", str(article), "--as-shipped", *words]) == 0
    assert "as shipped in shot" in capsys.readouterr().out
    spec = motion_spec(30)
    arguments = default_arguments("motion", spec)
    weights = build_network("motion", arguments).state_dict()
    other = tmp_path / "best.pt"
    save_checkpoint(Checkpoint("motion", arguments, weights, spec, 30.0, (480, 270)), other)
    assert spec != ARTICLE_SPEC
    for wrong, says in (
        (["--checkpoint", str(other)], "which the article did not have"),
        (["--driver", "idle"], "--as-shipped is a way to drive a network"),
    ):
        assert main([*wrong, "--as-shipped", *words]) == 2
        assert says in capsys.readouterr().err
