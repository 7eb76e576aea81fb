"""Muon: what it makes of a gradient, and which weights are its."""

from __future__ import annotations

import pytest
import torch

from rl_utils.model import build_network, default_arguments, input_spec
from rl_utils.muon import STEP, Muon, Optimisers, orthogonal


@pytest.mark.parametrize("shape", [(24, 245), (256, 64), (64, 64), (1, 9), (9, 1)])
def test_every_direction_counts_alike(shape: tuple[int, int]) -> None:
    """Gradients of pictures differ a thousandfold between directions: unequal steps would learn the few largest."""
    generator = torch.Generator().manual_seed(1)
    rows, columns = shape
    few = min(shape)
    left, _ = torch.linalg.qr(torch.randn(rows, few, generator=generator))
    right, _ = torch.linalg.qr(torch.randn(columns, few, generator=generator))
    matrix = left @ torch.diag(torch.logspace(0, -2, few)) @ right.T * 1e-4
    found = orthogonal(matrix)
    assert found.shape == matrix.shape
    # The closest matrix with orthogonal sides is left @ right.T: seen from there, it is nearly the identity.
    seen = left.T @ found @ right
    assert float(seen.diag().min()) > 0.5
    assert float(seen.diag().max()) < 1.3
    torch.testing.assert_close(seen, torch.diag(seen.diag()), atol=0.03, rtol=0)


def test_nothing_comes_of_nothing() -> None:
    """A layer that gets no gradient for a step must not become NaN."""
    assert not orthogonal(torch.zeros(5, 7)).any()
    still = torch.nn.Parameter(torch.ones(5, 7))
    still.grad = torch.zeros(5, 7)
    unused = torch.nn.Parameter(torch.ones(2, 2))
    Muon([still, unused], lr=0.1, weight_decay=0.0).step()
    assert bool((still == 1).all())
    assert bool((unused == 1).all())


def test_steps_are_of_one_size() -> None:
    """Whatever the gradient's size; larger for tall matrices, so that outputs move as far. Always downhill."""
    for shape, size in (((48, 24, 3, 3), 1.0), ((256, 1024), 1.0), ((1024, 256), 2.0)):
        for scale in (1e-6, 1e3):
            weight = torch.nn.Parameter(torch.zeros(shape))
            weight.grad = scale * torch.randn(shape, generator=torch.Generator().manual_seed(2))
            Muon([weight], lr=1e-3, weight_decay=0.0).step()
            step = torch.linalg.svdvals(weight.detach().reshape(len(weight), -1))
            assert float(step.square().mean().sqrt()) == pytest.approx(1e-3 * STEP * size, rel=0.2)
            assert float((weight.detach() * weight.grad).sum()) < 0


def test_weight_decay_draws_towards_zero() -> None:
    """As with AdamW: apart from the gradient, by the size of the steps."""
    weight = torch.nn.Parameter(torch.full((4, 4), 2.0))
    weight.grad = torch.zeros(4, 4)
    Muon([weight], lr=0.1 / STEP, weight_decay=0.5).step()
    torch.testing.assert_close(weight.detach(), torch.full((4, 4), 1.9))


@pytest.mark.parametrize("name", ["fovea", "motion", "temporal", "rocketnet"])
def test_every_weight_is_moved_by_one_of_them(name: str) -> None:
    """A weight that neither has would never learn; heads, biases and normalisation are AdamW's."""
    spec = input_spec(name, 30)
    network = build_network(name, default_arguments(name, spec))
    optimisers = Optimisers("muon", network, weight_decay=0.0).by_name
    moved = [id(p) for o in optimisers.values() for g in o.param_groups for p in g["params"]]
    assert sorted(moved) == sorted(id(p) for p in network.parameters())
    names = {id(p): n for n, p in network.named_parameters()}
    muons = {names[id(p)] for g in optimisers["muon"].param_groups for p in g["params"]}
    assert any("backbone" in name for name in muons)
    assert not any("_head" in name or name.endswith("bias") for name in muons)
    assert set(Optimisers("adamw", network, weight_decay=0.0).by_name) == {"optimiser"}


def test_a_deep_network_gives_it_the_layer_behind_its_maps_too() -> None:
    """Optimiser states of runs from before there were deep ones hold the convolutions only, and go on."""
    spec = input_spec("fovea", 30)
    arguments = default_arguments("fovea", spec)
    flat = {name: value for name, value in arguments.items() if name != "deep"}
    for given, expected in ((arguments, 15), (flat, 6)):
        network = build_network("fovea", given)
        muons = Optimisers("muon", network, weight_decay=0.0).by_name["muon"].param_groups[0]["params"]
        assert len(muons) == expected
        assert any(p is network.get_parameter("hidden.1.weight") for p in muons) == (given is arguments)


def test_momentum_that_fades_away_ends_at_nothing() -> None:
    """What no gradient reaches any more would stay denormal for ever, which takes processors many times as long."""
    weight = torch.nn.Parameter(torch.zeros(4, 4))
    optimiser = Muon([weight], lr=0.1, weight_decay=0.0)
    weight.grad = torch.ones(4, 4)
    optimiser.step()
    weight.grad = torch.zeros(4, 4)
    momentum = optimiser.state[weight]["momentum"]
    for _ in range(10):
        optimiser.step()
    assert bool((momentum != 0).all())
    for _ in range(1000):
        optimiser.step()
    assert not momentum.any()


def test_it_goes_on_where_it_stood() -> None:
    """A resumed run is equal bit for bit only if the momentum is kept."""

    def steps(optimiser: Muon, weight: torch.nn.Parameter, numbers: range) -> None:
        for number in numbers:
            weight.grad = torch.randn(6, 4, generator=torch.Generator().manual_seed(number))
            optimiser.step()

    whole = torch.nn.Parameter(torch.zeros(6, 4))
    steps(Muon([whole], lr=0.1, weight_decay=0.0), whole, range(6))
    part = torch.nn.Parameter(torch.zeros(6, 4))
    first = Muon([part], lr=0.1, weight_decay=0.0)
    steps(first, part, range(3))
    again = torch.nn.Parameter(part.detach().clone())
    second = Muon([again], lr=0.7, weight_decay=0.0)
    second.load_state_dict(first.state_dict())
    steps(second, again, range(3, 6))
    assert torch.equal(again, whole)
