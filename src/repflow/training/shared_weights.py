"""Three networks on a square lattice that differ in one thing: which of their weights exist, and which are shared.

A unit is a site of the lattice and a channel. All three have the same units in every hidden layer, the same activation
and the same number of layers:

- fully connected: every unit of one layer is coupled to every unit of the next, each pair by a weight of its own;
- locally connected: only pairs within a receptive field are, each by a weight of its own (locality);
- convolutional: the same pairs, and those at the same displacement share one weight (translation invariance).

So the convolutional networks are among the locally connected ones, and those among the fully connected. The lattice is
periodic: every unit has a full receptive field, and translations by the stride are an exact symmetry of a convolutional
layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

Wiring = Literal["fully connected", "locally connected", "convolutional"]
WIRINGS: tuple[Wiring, ...] = ("fully connected", "locally connected", "convolutional")
Head = Literal["own", "shared"]


def receptive_fields(side: int, field: int, stride: int) -> Tensor:
    """Which sites each unit of the next layer sees on a periodic square lattice.

    Parameters
    ----------
    side
        Of the lattice; the next one has side/stride.
    field
        Side of a receptive field, odd; it is centred on the unit's own site.
    stride
        Divides ``side``.

    Returns
    -------
    tensor ((side/stride)^2, field^2) of int64
        Row-major sites, displacements in row-major order as in the weights of ``nn.Conv2d``.

    Raises
    ------
    ValueError
        The field is even or larger than the lattice, or the stride does not tile it.
    """
    if field < 1 or field % 2 == 0 or field > side:
        raise ValueError(f"field must be odd, and at most side = {side}, got {field}")
    if stride < 1 or side % stride:
        raise ValueError(f"stride must divide side = {side}, got {stride}: the fields would not tile the lattice")
    along = (torch.arange(0, side, stride)[:, None] + torch.arange(field) - field // 2) % side
    sites = along[:, None, :, None] * side + along[None, :, None, :]
    return sites.reshape(-1, field * field)


class LocallyConnected2d(nn.Module):
    """A convolution whose weights are not shared: each site of the output has its own.

    out[c, p] = bias[c, p] + sum_f weight[c, p, f] in[field of p][f] on a periodic square lattice. With
    ``weight[c, p] = w[c]`` and ``bias[c, p] = b[c]`` for all sites p it is ``nn.Conv2d`` with weights w, biases b and
    ``padding_mode="circular"``.

    It is computed as one matrix product with the N_out x N_in matrix of all weights, zeros included: for lattices of
    some hundreds of units this is faster than many small products.

    Parameters
    ----------
    channels_in, channels_out
        Of the two lattices.
    side, field, stride
        As for :func:`receptive_fields`.

    Attributes
    ----------
    weight
        (channels_out, sites of the output, channels_in field^2).
    bias
        (channels_out times sites of the output,), channels first.
    """

    places: Tensor

    def __init__(self, channels_in: int, channels_out: int, side: int, field: int, stride: int = 1) -> None:
        super().__init__()
        if channels_in < 1 or channels_out < 1:
            raise ValueError(
                f"channels_in and channels_out must be 1 or more, got {channels_in} and {channels_out}"
            )  # fmt: skip
        sites = receptive_fields(side, field, stride)
        self.channels_in, self.channels_out, self.side, self.side_out = channels_in, channels_out, side, side // stride
        columns = torch.arange(channels_in)[None, :, None] * side**2 + sites[:, None, :]
        columns = columns.reshape(len(sites), -1)
        self.register_buffer("places", columns.repeat(channels_out, 1), persistent=False)
        fan_in = columns.shape[1]
        self.weight = nn.Parameter(torch.randn(channels_out, len(sites), fan_in) * fan_in**-0.5)
        self.bias = nn.Parameter(torch.zeros(channels_out * len(sites)))

    def matrix(self) -> Tensor:
        """All weights between input and output units, zeros included: (N_out, N_in), channels first."""
        units = self.channels_in * self.side**2
        zeros = self.weight.new_zeros(len(self.places), units)
        return zeros.scatter(1, self.places, self.weight.reshape(len(self.places), -1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels_in, side, side) to (B, channels_out, side/stride, side/stride)."""
        out = nn.functional.linear(x.flatten(1), self.matrix(), self.bias)
        return out.unflatten(1, (self.channels_out, self.side_out, self.side_out))

    def extra_repr(self) -> str:
        """Channels and sides, for ``print``."""
        return f"{self.channels_in}x{self.side}x{self.side} -> {self.channels_out}x{self.side_out}x{self.side_out}"


def lattice_network(
    wiring: Wiring,
    side: int,
    channels: int,
    outputs: int,
    *,
    head: Head | None = None,
    fields: Sequence[int] = (5, 3),
    strides: Sequence[int] = (2, 1),
    activation: Callable[[], nn.Module] = nn.GELU,
) -> nn.Sequential:
    """One of the three networks, for images (B, 1, side, side).

    Parameters
    ----------
    wiring
        One of :data:`WIRINGS`.
    side
        Of the images.
    channels
        Of each hidden layer, so that it has ``channels`` times its sites units whatever the wiring.
    outputs
        n_L.
    head
        ``"own"``: the last layer has a weight for each unit and output. ``"shared"``: one for each channel and output,
        the same at all sites, which is a mean over sites and a linear layer. Unless given, shared where the wiring is
        convolutional, which makes the whole map translation invariant, and own otherwise.
    fields, strides
        Of each hidden layer; a fully connected network takes its sizes from the strides alone.
    activation
        Makes the module behind each hidden layer.

    Raises
    ------
    ValueError
        A name is unknown, the lattice does not tile, or a fully connected network is asked for a shared head, though
        its units have no sites.
    """
    if wiring not in WIRINGS:
        raise ValueError(f"wiring must be one of {', '.join(WIRINGS)}, got {wiring!r}")
    if head is None:
        head = "shared" if wiring == "convolutional" else "own"
    if head not in ("own", "shared"):
        raise ValueError(f"head must be 'own', 'shared' or None, got {head!r}")
    if wiring == "fully connected" and head == "shared":
        raise ValueError("head must be 'own' for a fully connected network, whose units have no sites; got 'shared'")
    if len(fields) != len(strides) or not fields:
        raise ValueError(f"fields and strides must have one entry a hidden layer, got {len(fields)} and {len(strides)}")
    sides = [side]
    for field, stride in zip(fields, strides):
        receptive_fields(sides[-1], field, stride)  # refuses what does not tile, for all wirings alike
        sides.append(sides[-1] // stride)
    sizes = [1, *[channels] * len(fields)]
    layers: list[nn.Module] = [nn.Flatten()] if wiring == "fully connected" else []
    for number, (into, out) in enumerate(pairwise(sizes)):
        layers.append(_hidden(wiring, into, out, sides[number], sides[number + 1], fields[number]))
        layers.append(activation())
    if wiring != "fully connected":
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()] if head == "shared" else [nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(channels * (1 if head == "shared" else sides[-1] ** 2), outputs))


def _hidden(wiring: Wiring, channels_in: int, channels_out: int, side: int, side_out: int, field: int) -> nn.Module:
    stride = side // side_out
    if wiring == "fully connected":
        return nn.Linear(channels_in * side**2, channels_out * side_out**2)
    if wiring == "locally connected":
        return LocallyConnected2d(channels_in, channels_out, side, field, stride)
    return nn.Conv2d(channels_in, channels_out, field, stride, field // 2, padding_mode="circular")
