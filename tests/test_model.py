"""The article's network to the letter, the network that sees motion, and the one way to read their answers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from rl_utils.controls import AXES, BUTTONS, N_AXES, N_BUTTONS, N_CONTROLS
from rl_utils.errors import UserError
from rl_utils.model import (
    MotionNet,
    Prediction,
    RocketNet,
    build_network,
    decode,
    default_arguments,
    default_spec,
    predict,
)
from rl_utils.network import Network
from rl_utils.preprocess import to_tensor
from rl_utils.state_features import FEATURES
from rl_utils.temporal import PLACES, PLAN_TICKS

NAMES = ("motion", "fovea", "temporal", "rocketnet")


def make(name: str, seed: int = 0) -> Network:
    torch.manual_seed(seed)
    return build_network(name, default_arguments(name, default_spec(name, 30)))


def test_rocketnet_has_the_articles_tensors() -> None:
    """One renamed or resized tensor and the article's checkpoints no longer load."""
    state = make("rocketnet").state_dict()
    stems = {name.rpartition(".")[0] for name in state}
    assert stems == (
        {f"conv_backbone.{i}" for i in (0, 2, 4, 6, 8, 10)}
        | {f"backbone.{i}" for i in (0, 2, 4, 6, 8)}
        | {"binary_head"}
        | {f"analog_head.{i}" for i in (0, 1, 4)}
    )
    assert len(state) == 45
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    assert shapes["conv_backbone.0.weight"] == (32, 3, 7, 7)
    assert shapes["conv_backbone.4.weight"] == (64, 32, 5, 5)
    assert shapes["conv_backbone.8.weight"] == (128, 64, 3, 3)
    assert shapes["backbone.0.weight"] == (512, 2048)
    assert shapes["backbone.4.weight"] == (256, 512)
    assert shapes["backbone.8.weight"] == (128, 256)
    assert shapes["binary_head.weight"] == (11, 128)
    assert shapes["analog_head.0.weight"] == (64, 128)
    assert shapes["analog_head.4.weight"] == (8, 64)


def test_rocketnet_has_the_articles_size() -> None:
    """The model is called 1.4M for its 1,355,475 parameters; another number is another network."""
    assert sum(parameter.numel() for parameter in make("rocketnet").parameters()) == 1_355_475


def test_rocketnet_has_the_articles_layers_in_order() -> None:
    """Swapping ReLU and normalisation, or another stride, would load the weights and compute something else."""
    network = make("rocketnet")
    kinds = [type(layer).__name__ for layer in network.conv_backbone]
    assert kinds == ["Conv2d", "ReLU", "BatchNorm2d", "MaxPool2d"] * 2 + [
        "Conv2d",
        "ReLU",
        "BatchNorm2d",
        "AdaptiveAvgPool2d",
    ]
    convolutions = [layer for layer in network.conv_backbone if isinstance(layer, nn.Conv2d)]
    assert [(c.kernel_size[0], c.stride[0], c.padding[0]) for c in convolutions] == [(7, 4, 3), (5, 2, 2), (3, 1, 1)]
    assert [layer.kernel_size for layer in network.conv_backbone if isinstance(layer, nn.MaxPool2d)] == [2, 2]
    assert [type(layer).__name__ for layer in network.backbone] == [
        *["Linear", "ReLU", "BatchNorm1d", "Dropout"] * 2,
        "Linear",
        "ReLU",
    ]
    assert [type(layer).__name__ for layer in network.analog_head] == [
        "Linear",
        "LayerNorm",
        "LeakyReLU",
        "Dropout",
        "Linear",
        "Sigmoid",
    ]


def test_rocketnet_has_the_articles_dropout_and_slope() -> None:
    """Dropout falls from 0.3 to 0.1 towards the heads, and LeakyReLU keeps a tenth of what is negative."""
    network = make("rocketnet")
    assert [m.p for m in network.modules() if isinstance(m, nn.Dropout)] == [0.3, 0.2, 0.1]
    assert [m.negative_slope for m in network.modules() if isinstance(m, nn.LeakyReLU)] == [0.1]


def test_rocketnet_starts_from_kaiming_fan_out() -> None:
    """The article credits this initialisation with its lower loss: variance 2 / fan_out, no offsets."""
    network = make("rocketnet")
    for name, module in network.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            assert module.bias is not None
            assert not module.bias.any(), name
            fan_out = module.weight.shape[0] * math.prod(module.weight.shape[2:])
            std = float(module.weight.detach().std())
            tolerance = 4 / math.sqrt(2 * module.weight.numel())
            assert std / math.sqrt(2 / fan_out) == pytest.approx(1, abs=tolerance), name
            assert abs(float(module.weight.detach().mean())) < 5 * std / math.sqrt(module.weight.numel()), name
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            assert bool((module.weight == 1).all())
            assert not module.bias.any()


@pytest.mark.parametrize("size", [(480, 270), (320, 180), (160, 90)])
def test_rocketnet_takes_pictures_of_any_size(size: tuple[int, int]) -> None:
    """Adaptive pooling lets the article's network see its older 180x320 recordings as they are."""
    outputs = make("rocketnet").eval()(torch.rand(2, 3, size[1], size[0]))
    assert outputs.shape == (2, N_CONTROLS)


def test_rocketnet_equals_a_plain_forward() -> None:
    """Our path (planes, channels_last, inference mode) must give the numbers of the article's own expression."""
    network = make("rocketnet").eval()
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
    image = np.random.default_rng(0).integers(0, 256, (270, 480, 3), np.uint8)
    x = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    state = network.state_dict()

    def norm(x: torch.Tensor, stem: str) -> torch.Tensor:
        shape = (1, -1, 1, 1) if x.ndim == 4 else (1, -1)
        mean, var = state[f"{stem}.running_mean"].view(shape), state[f"{stem}.running_var"].view(shape)
        return (x - mean) / torch.sqrt(var + 1e-5) * state[f"{stem}.weight"].view(shape) + state[f"{stem}.bias"].view(
            shape
        )

    def linear(x: torch.Tensor, stem: str) -> torch.Tensor:
        return x @ state[f"{stem}.weight"].T + state[f"{stem}.bias"]

    for conv, stride, padding in ((0, 4, 3), (4, 2, 2), (8, 1, 1)):
        weight = state[f"conv_backbone.{conv}.weight"].contiguous()
        x = nn.functional.conv2d(x, weight, state[f"conv_backbone.{conv}.bias"], stride, padding).relu()
        x = norm(x, f"conv_backbone.{conv + 2}")
        x = nn.functional.max_pool2d(x, 2) if conv < 8 else nn.functional.adaptive_avg_pool2d(x, 4)
    x = norm(linear(x.flatten(1), "backbone.0").relu(), "backbone.2")
    x = norm(linear(x, "backbone.4").relu(), "backbone.6")
    x = linear(x, "backbone.8").relu()
    h = linear(x, "analog_head.0")
    h = (h - h.mean(1, keepdim=True)) / torch.sqrt(h.var(1, unbiased=False, keepdim=True) + 1e-5)
    h = h * state["analog_head.1.weight"] + state["analog_head.1.bias"]
    h = torch.where(h > 0, h, 0.1 * h)
    expected = torch.cat([linear(x, "binary_head"), torch.sigmoid(linear(h, "analog_head.4"))], 1)

    spec = default_spec("rocketnet", 30)
    with torch.inference_mode():
        ours = network(to_tensor(np.ascontiguousarray(image.transpose(2, 0, 1))[None], spec))
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_outputs_are_logits_then_values(name: str) -> None:
    """Heads in another order, or buttons without logits, would break the loss and every reader."""
    spec = default_spec(name, 30)
    outputs = make(name).eval()(torch.rand(3, spec.channels, spec.height, spec.width) * 50)
    more = {"fovea": FEATURES, "temporal": FEATURES + PLAN_TICKS * (N_CONTROLS + N_AXES * PLACES)}
    assert outputs.shape == (3, N_CONTROLS + more.get(name, 0))
    assert bool((outputs[:, AXES] >= 0).all())
    assert bool((outputs[:, AXES] <= 1).all())
    assert float(outputs[:, BUTTONS].detach().min()) < 0


def test_motion_net_is_small() -> None:
    """The demo trains it in minutes on two cores; a much larger one would not finish."""
    assert sum(parameter.numel() for parameter in make("motion").parameters()) < 1_400_000


def test_foveas_from_before_there_were_deep_ones_are_built_as_they_were() -> None:
    """Their checkpoints name neither `deep` nor, the oldest, `leak`, and still have to drive."""
    spec = default_spec("fovea", 30)
    network = build_network("fovea", {"channels": spec.channels, "width": 160, "height": 90, "dropout": 0.3})
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    for look in ("conv_backbone", "fovea_backbone"):
        kernels = [shapes[f"{look}.{layer}.weight"] for layer in (0, 3, 6)]
        assert kernels == [(24, 5, 7, 7), (48, 24, 3, 3), (64, 48, 3, 3)]
        assert f"{look}.9.weight" not in shapes
    assert shapes["hidden.1.weight"] == (256, 2 * 64 * 6 * 10)


def test_motion_net_sees_where_things_are() -> None:
    """Pooling the map away would lose where the ball is, which is what steering needs."""
    network = MotionNet(channels=5, width=160, height=90)
    flattened = next(layer for layer in network.backbone if isinstance(layer, nn.Linear)).in_features
    assert flattened == 64 * 6 * 10


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_weights(name: str) -> None:
    """A run that cannot be repeated cannot be compared."""
    first, second = make(name, 3).state_dict(), make(name, 3).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_decode_presses_at_one_half_and_leaves_sticks_alone() -> None:
    """The article's three thresholds and scaled sticks made 'left' steer right."""
    axes = np.linspace(0, 1, N_AXES, dtype=np.float32)
    pressed = np.full(N_BUTTONS, 0.4999, np.float32)
    pressed[3] = 0.5
    pressed[7] = 0.99
    inputs = decode(Prediction(pressed, axes))
    assert inputs.dtype == np.float32
    np.testing.assert_array_equal(np.flatnonzero(inputs[BUTTONS]), [3, 7])
    assert set(inputs[BUTTONS]) == {0.0, 1.0}
    np.testing.assert_array_equal(inputs[AXES], axes)


def test_decode_takes_batches() -> None:
    """Metrics decode thousands of frames at once and must mean the same inputs as play."""
    outputs = torch.randn(5, N_CONTROLS)
    outputs[:, AXES] = outputs[:, AXES].sigmoid()
    together = decode(predict(outputs))
    for i in range(5):
        np.testing.assert_array_equal(decode(predict(outputs[i : i + 1]))[0], together[i])
        np.testing.assert_array_equal(together[i, BUTTONS] == 1, (outputs[i, BUTTONS] >= 0).numpy())


def test_unknown_networks_are_refused() -> None:
    """A checkpoint of a later version must say so instead of failing deep inside torch."""
    with pytest.raises(UserError, match="no model called resnet"):
        build_network("resnet", {})
    with pytest.raises(UserError, match="does not take"):
        build_network("motion", {"channels": 5, "colour": "red"})
    assert isinstance(build_network("rocketnet", {}), RocketNet)
