"""Shared weights: locally connected layers against loops and torch's own, and what the three networks have in common."""

import itertools

import pytest
import torch
from torch import nn

import repflow as rf
from repflow.theories.counting import WIRINGS as COUNTED
from repflow.theories.counting import layer_count
from repflow.training.shared_weights import WIRINGS, LocallyConnected2d, lattice_network, receptive_fields


@pytest.fixture
def drawn():
    return torch.Generator().manual_seed(0)


def randomise(module, generator):
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return module


@pytest.mark.parametrize(("field", "stride"), [(3, 1), (5, 2), (1, 3)])
def test_locally_connected_is_the_sum_over_its_field(drawn, field, stride):
    """Against the definition in plain loops, in float64."""
    side, into, out = 6, 2, 3
    layer = randomise(LocallyConnected2d(into, out, side, field, stride).double(), drawn)
    x = torch.randn(2, into, side, side, generator=drawn, dtype=torch.float64)
    expected = torch.zeros(2, out, side // stride, side // stride, dtype=torch.float64)
    sites, half = list(itertools.product(range(side // stride), repeat=2)), field // 2
    for c, (p, (i, j)) in itertools.product(range(out), enumerate(sites)):
        total = layer.bias[c * len(sites) + p].expand(2).clone()
        for f, (d, a, b) in enumerate(itertools.product(range(into), range(field), range(field))):
            row, column = (i * stride + a - half) % side, (j * stride + b - half) % side
            total = total + layer.weight[c, p, f] * x[:, d, row, column]
        expected[:, c, i, j] = total
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize(("field", "stride"), [(5, 2), (3, 1)])
def test_shared_weights_make_it_a_convolution(drawn, field, stride):
    convolution = nn.Conv2d(3, 4, field, stride, field // 2, padding_mode="circular").double()
    layer = LocallyConnected2d(3, 4, 8, field, stride).double()
    with torch.no_grad():
        layer.weight.copy_(convolution.weight.reshape(4, 1, -1).expand_as(layer.weight))
        layer.bias.copy_(convolution.bias.repeat_interleave(layer.side_out**2))
    x = torch.randn(5, 3, 8, 8, generator=drawn, dtype=torch.float64)
    torch.testing.assert_close(layer(x), convolution(x))
    # The gradient of a shared weight is the sum over the sites that share it.
    layer(x).square().sum().backward()
    convolution(x).square().sum().backward()
    torch.testing.assert_close(layer.weight.grad.sum(1).reshape(convolution.weight.shape), convolution.weight.grad)
    torch.testing.assert_close(layer.bias.grad.reshape(4, -1).sum(1), convolution.bias.grad)


def test_each_network_is_among_the_next(drawn):
    """A convolutional network with a shared head as a locally connected one with its own, and that as a dense one."""
    side, channels = 12, 4
    convolutional = randomise(lattice_network("convolutional", side, channels, 3), drawn).double()
    local = lattice_network("locally connected", side, channels, 3).double()
    full = lattice_network("fully connected", side, channels, 3).double()
    with torch.no_grad():
        for number in (0, 2):
            shared, own = convolutional[number], local[number]
            own.weight.copy_(shared.weight.reshape(channels, 1, -1).expand_as(own.weight))
            own.bias.copy_(shared.bias.repeat_interleave(own.side_out**2))
            full[number + 1].weight.copy_(own.matrix())
            full[number + 1].bias.copy_(own.bias)
        local[-1].weight.copy_(convolutional[-1].weight.repeat_interleave(36, dim=1) / 36)
        local[-1].bias.copy_(convolutional[-1].bias)
        full[-1].load_state_dict(local[-1].state_dict())
    x = torch.randn(6, 1, side, side, generator=drawn, dtype=torch.float64)
    torch.testing.assert_close(local(x), convolutional(x))
    torch.testing.assert_close(full(x), convolutional(x))


def test_translations_are_a_symmetry_of_the_convolutional_network_alone(drawn):
    x = torch.randn(4, 1, 12, 12, generator=drawn)
    moved = x.roll((4, -2), dims=(2, 3))
    for wiring, head, invariant in (
        ("convolutional", None, True),
        ("convolutional", "own", False),
        ("locally connected", "shared", False),
        ("locally connected", None, False),
        ("fully connected", None, False),
    ):
        network = lattice_network(wiring, 12, 6, 3, head=head)
        apart = (network(moved) - network(x)).abs().max()
        assert (apart < 1e-5 * network(x).abs().max()) == invariant, (wiring, head)


@pytest.mark.parametrize("wiring", WIRINGS)
def test_parameters_are_those_counted(wiring):
    side, channels = 16, 5
    network = lattice_network(wiring, side, channels, 10)
    hidden = layer_count(wiring, 256, 1, 64, channels, 25) + layer_count(wiring, 64, channels, 64, channels, 9)
    head = 10 * (channels * (1 if wiring == "convolutional" else 64) + 1)
    assert sum(parameter.numel() for parameter in network.parameters()) == hidden + head
    assert WIRINGS == COUNTED


def test_hidden_units_are_the_same(drawn):
    x = torch.randn(2, 1, 12, 12, generator=drawn)
    units = []
    for wiring in WIRINGS:
        seen = []
        network = lattice_network(wiring, 12, 7, 3)
        for module in network:
            if isinstance(module, nn.GELU):
                module.register_forward_hook(lambda module, args, out, seen=seen: seen.append(out[0].numel()))
        network(x)
        units.append(seen)
    assert units == [[7 * 36, 7 * 36]] * 3


@pytest.mark.parametrize("wiring", WIRINGS)
def test_tune_starts_each_at_a_size_that_lasts(wiring, drawn):
    """At K* where theory sets the plan, at 1 behind the images where it is measured; no layer far from the one before."""
    x = torch.randn(32, 1, 12, 12, generator=drawn)
    network = lattice_network(wiring, 12, 8, 10)
    plan = rf.tune(network, x, loss="cross_entropy")
    layers = [module for module in network if isinstance(module, (nn.Linear, nn.Conv2d, LocallyConnected2d))]
    kept = []
    for layer in layers[:-1]:
        layer.register_forward_hook(lambda module, args, out: kept.append(float(out.square().mean())))
    with torch.no_grad():
        for seed in range(10):
            plan.initialize_(network, generator=torch.Generator().manual_seed(seed))
            network(x)
    first, second = torch.tensor(kept).reshape(10, 2).mean(0).tolist()
    expected = rf.critical("gelu").K_star if wiring == "fully connected" else 1.0
    assert first == pytest.approx(expected, rel=0.3)
    assert 0.5 < second / first < 1.5
    assert all(group["lr"] > 0 for group in plan.param_groups(network, optimizer="adam"))


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: receptive_fields(6, 4, 1), "field must be odd"),
        (lambda: receptive_fields(6, 7, 1), "at most side = 6"),
        (lambda: receptive_fields(6, 3, 4), "stride must divide side = 6"),
        (lambda: lattice_network("dense", 12, 4, 3), "wiring must be one of"),
        (lambda: lattice_network("fully connected", 12, 4, 3, head="shared"), "units have no sites"),
        (lambda: lattice_network("convolutional", 12, 4, 3, head="both"), "head must be"),
        (lambda: lattice_network("fully connected", 13, 4, 3), "stride must divide side = 13"),
        (lambda: lattice_network("convolutional", 12, 4, 3, fields=(3,)), "one entry a hidden layer"),
        (lambda: LocallyConnected2d(0, 1, 6, 3), "channels_in and channels_out"),
    ],
)
def test_what_does_not_tile_is_refused(call, match):
    with pytest.raises(ValueError, match=match):
        call()
