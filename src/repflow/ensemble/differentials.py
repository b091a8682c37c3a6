"""The differentials of the tangent kernel, dNTK and ddNTK, at the output of real networks: a batch of them at once.

Notation (PDLT chapter 11): z_{i;x} is output i on input x, ``,a`` a derivative with respect to parameter a, lambda the
learning-rate tensor (lambda_W / n_{l-1} for weights, lambda_b for biases):

    g_{j;y} = lambda grad z_{j;y}                    the direction in which gradient descent on z_{j;y} moves
    dH_{i0 i1 i2;012}       = z_{i0;0},ab  g_{i1;1},a  g_{i2;2},b
    ddI_{i0 i1 i2 i3;0123}  = z_{i0;0},abc g_{i1;1},a  g_{i2;2},b  g_{i3;3},c
    ddII_{i1 i2 i3 i4;1234} = lambda_a z_{i1;1},ab z_{i2;2},ac  g_{i3;3},b  g_{i4;4},c

A gradient is an outer product in every layer, grad z_{i;x} = e_{i;x} s_x^T with e^l_{i;x} = dz^L_{i;x} / dz^l_x, and so
are the directions. A direction therefore acts on a signal at the cost of a dot product, a Hessian-vector product is
the pair (de, ds) of the perturbed backward and forward signals, and no array with one entry a parameter is made.
Third derivatives need no second-order signals: z^L_i is the stationary value of

    z^L_i + sum_l e^l . (W^l sigma(z^{l-1}) + b^l - z^l)

over all z^l and e^l, and the third derivative of a stationary value is the third derivative of the function in the
first-order changes of its arguments (Wigner's 2n + 1 rule).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import permutations

import numpy as np
import torch
from torch import Tensor

from repflow.activation import Activation
from repflow.ensemble.arithmetic import Array, activate, product
from repflow.network import Network

NAMES = ("P", "Q", "R", "S", "T", "U")
# Numbers of one batch's largest array: a megabyte, so that the few that are in use stay in the cache.
_BATCH_NUMBERS = 1 << 17
_MAX_OUTPUTS = 4


@dataclass(frozen=True)
class _Signals:
    """One layer of a batch of B networks: m outputs, N inputs, width n (of the layer above the weights), n_in below.

    Attributes
    ----------
    s
        (B, N, n_in) signals that enter.
    e
        (B, m, N, n) derivative of output i on input x with respect to the layer's z_x.
    ds
        (B, m, N, N, n_in) change of s_x along g_{j;y}, axes j, x, y; None where nothing below can change.
    de
        (B, m, m, N, N, n) change of e_{i;x} along g_{j;y}, axes i, j, x, y; None in the output layer, where e is fixed.
    """

    s: Array
    e: Array
    ds: Array | None
    de: Array | None


def differentials(
    network: Network, weights: Sequence[Tensor], biases: Sequence[Tensor], x: Tensor, outputs: int | None = None
) -> dict[str, Tensor]:
    """P, Q, R, S, T, U of each network given: the tensors whose mean over the ensemble is P/n, ..., U/n.

    Everything is exact for each network, no expectation is used. Means are over ordered pairs i != j of outputs:

    ============ ========================================= ========
    result       mean of                                   order
    ============ ========================================= ========
    P[0,1,2,3]   dH_{ijj;012} z_{i;3}                      1/n
    Q[0,1,2,3]   dH_{iij;012} z_{j;3}                      1/n
    R[0,1,2,3]   ddI_{iijj;0123}                           1/n
    S[1,2,3,4]   ddII_{iijj;1234}                          1/n
    T[1,3,2,4]   ddII_{ijij;1234}                          1/n
    U[1,4,2,3]   ddII_{ijji;1234}                          1/n
    ============ ========================================= ========

    The bits of a network's result depend on its weights, x and ``outputs`` alone: not on which networks share the
    batch, nor on threads (products and activations are those of :mod:`repflow.ensemble.arithmetic`; an activation
    that blocks automatic differentiation is excepted).

    Parameters
    ----------
    network
        Widths, activations, lambda_W and lambda_b; its C_W and C_b are not used. At least two outputs; every
        activation smooth.
    weights
        For each layer l + 1, shape (B, n_{l+1}, n_l).
    biases
        For each layer l + 1, shape (B, n_{l+1}).
    x
        Inputs, shape (N, n_0).
    outputs
        How many outputs take part, from the first on; None: at most four. The time grows with their square.

    Returns
    -------
    dict of str to Tensor
        ``"P"`` to ``"U"``, each float64 of shape (B, N, N, N, N).

    Raises
    ------
    ValueError
        An activation is not smooth, shapes do not fit, or fewer than two outputs.
    """
    count = _check(network, weights, biases, x)
    width = network.widths[-1]
    if outputs is None:
        outputs = min(width, _MAX_OUTPUTS)
    if isinstance(outputs, bool) or not isinstance(outputs, int) or not 2 <= outputs <= width:
        raise ValueError(
            f"outputs must be a whole number from 2 to the network's {width} outputs, got {outputs!r}; "
            "P to U are means over pairs of different outputs"
        )
    device = x.device
    arrays = [[np.ascontiguousarray(t.detach().to("cpu", torch.float64).numpy()) for t in w] for w in (weights, biases)]
    arrays[0][-1], arrays[1][-1] = arrays[0][-1][:, :outputs], arrays[1][-1][:, :outputs]
    inputs = np.ascontiguousarray(x.detach().to("cpu", torch.float64).numpy())
    results = {name: np.zeros((count, *(len(inputs),) * 4)) for name in NAMES}
    if network.depth > 1:
        largest = max(network.widths[1:-1]) * (outputs * len(inputs)) ** 2
        batch = max(1, _BATCH_NUMBERS // largest)
        for start in range(0, count, batch):
            part = slice(start, start + batch)
            measured = _measure(network, [w[part] for w in arrays[0]], [b[part] for b in arrays[1]], inputs)
            for name in NAMES:
                results[name][part] = np.moveaxis(measured[name], -1, 0)
    return {name: torch.from_numpy(value).to(device) for name, value in results.items()}


def check_smooth(network: Network) -> None:
    """ValueError where an activation has a kink: third derivatives then hold delta functions that no sample sees."""
    for number, activation in enumerate(network.activations, start=1):
        if not activation.smooth:
            points = ", ".join(f"{point:g}" for point in activation.kinks)
            raise ValueError(
                f"differentials: activation {activation.name!r} of layer {number} is not smooth at {points}; dNTK and "
                "ddNTK take second and third derivatives, which sampled networks show for smooth activations only "
                "(tanh, gelu, silu, sin, ...)"
            )


def _check(network: Network, weights: Sequence[Tensor], biases: Sequence[Tensor], x: Tensor) -> int:
    """Number of networks, once everything fits together."""
    if not isinstance(network, Network):
        raise TypeError(f"network must be a repflow Network, got {type(network).__name__}; rf.mlp makes one")
    check_smooth(network)
    if not isinstance(x, Tensor) or x.ndim != 2 or x.shape[1] != network.widths[0] or not len(x):
        shape = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
        raise ValueError(f"x must be a tensor of shape (N, {network.widths[0]}), got {shape}")
    for name, tensors in (("weights", weights), ("biases", biases)):
        if len(tensors) != network.depth:
            raise ValueError(f"{name} must hold one tensor for each of {network.depth} layers, got {len(tensors)}")
    count = len(weights[0])
    for number, (layer, weight, bias) in enumerate(zip(network.layers, weights, biases, strict=True)):
        for name, tensor, shape in (
            ("weights", weight, (count, layer.n_out, layer.n_in)),
            ("biases", bias, (count, layer.n_out)),
        ):
            if tuple(tensor.shape) != shape:
                raise ValueError(f"{name}[{number}] must have the shape {shape}, got {tuple(tensor.shape)}")
    return count


def _derivative(activation: Activation, z: Array, order: int) -> Array:
    """The derivative of sigma, in calls of the same sizes as sigma itself."""
    return activate(replace(activation, function=partial(activation.derivative, order=order)), z)


def _rows(array: Array) -> Array:
    """(B, ..., n) to (B, rows, n)."""
    return array.reshape(len(array), -1, array.shape[-1])


def _dots(a: Array, b: Array) -> Array:
    """Dot products over the last axis, of shape (*a's axes, *b's axes, B): networks last, where loops are long."""
    values = product(_rows(a), _rows(b))
    last = np.ascontiguousarray(np.moveaxis(values, 0, -1))
    return last.reshape(*a.shape[1:-1], *b.shape[1:-1], len(a))


def _measure(network: Network, weights: Sequence[Array], biases: Sequence[Array], x: Array) -> dict[str, Array]:
    """The six tensors of a batch, networks on the last axis."""
    depth = network.depth
    count, outputs = weights[-1].shape[:2]
    n = len(x)
    rates = [(layer.lambda_W / layer.n_in, layer.lambda_b) for layer in network.layers]

    # forward: signals, and the first three derivatives of sigma in every hidden layer
    s = [np.ascontiguousarray(np.broadcast_to(x, (count, *x.shape)))]
    slopes = []
    z = np.empty(0)
    for number, layer in enumerate(network.layers):
        z = product(s[-1], weights[number]) + biases[number][:, None]
        if layer.activation is not None:
            sigma = layer.activation
            slopes.append([_derivative(sigma, z, order) for order in (1, 2, 3)])
            s.append(activate(sigma, z))
    kappa = [w * product(signal, signal) + b for (w, b), signal in zip(rates, s, strict=True)]

    # backward: u = W^T e above, e = sigma' u
    e: list[Array] = [np.empty(0)] * depth
    u: list[Array] = [np.empty(0)] * (depth - 1)
    e[-1] = np.ascontiguousarray(np.broadcast_to(np.eye(outputs)[:, None], (count, outputs, n, outputs)))
    for l in reversed(range(depth - 1)):
        u[l] = product(_rows(e[l + 1]), weights[l + 1].transpose(0, 2, 1)).reshape(count, outputs, n, -1)
        e[l] = u[l] * slopes[l][0][:, None]

    # forward along every g_{j;y}: dz_x = W ds_x + (lambda_W/n s_x.s_y + lambda_b) e_{j;y}
    dz: list[Array] = []
    ds: list[Array] = []
    for l in range(depth - 1):
        change = kappa[l][:, None, :, :, None] * e[l][:, :, None]
        if l:
            change += product(_rows(ds[-1]), weights[l]).reshape(change.shape)
        dz.append(change)
        ds.append(change * slopes[l][0][:, None, :, None])

    # backward along every g_{j;y}: du_{i;x} = W^T de_{i;x} + lambda_W/n (e_{i;x}.e_{j;y}) s_y
    du: list[Array] = [np.empty(0)] * (depth - 1)
    de: list[Array | None] = [None] * depth
    for l in reversed(range(depth - 1)):
        overlap = rates[l + 1][0] * product(_rows(e[l + 1]), _rows(e[l + 1])).reshape(count, outputs, n, outputs, n)
        change = overlap.transpose(0, 1, 3, 2, 4)[..., None] * s[l + 1][:, None, None, None]
        above = de[l + 1]
        if above is not None:
            change += product(_rows(above), weights[l + 1].transpose(0, 2, 1)).reshape(change.shape)
        du[l] = change
        curved = u[l] * slopes[l][1][:, None]
        de[l] = change * slopes[l][0][:, None, None, :, None] + curved[:, :, None, :, None] * dz[l][:, None]

    sums = {name: np.zeros((n, n, n, n, count)) for name in NAMES}
    moved = np.zeros((outputs, outputs, n, n, outputs, n, count))
    for l in range(depth):
        _add_contractions(sums, moved, _Signals(s[l], e[l], ds[l - 1] if l else None, de[l]), *rates[l])
        if l < depth - 1:
            _add_curvature(sums["R"], slopes[l], u[l], dz[l], du[l])
    last = np.ascontiguousarray(z.transpose(2, 1, 0))
    for i, j in permutations(range(outputs), 2):
        sums["P"] += _times("abcZ,dZ->abcdZ", moved[i, j, :, :, j], last[i])
        sums["Q"] += _times("abcZ,dZ->abcdZ", moved[i, i, :, :, j], last[j])
    sums["S"] = sums["S"].transpose(0, 2, 1, 3, 4)
    sums["T"] = sums["T"] + sums["T"].transpose(2, 3, 0, 1, 4)
    sums["U"] = (sums["U"] + sums["U"].transpose(2, 3, 0, 1, 4)).transpose(0, 3, 2, 1, 4)
    return {name: value / (outputs * (outputs - 1)) for name, value in sums.items()}


def _times(axes: str, a: Array, b: Array) -> Array:
    """An elementwise product by named axes; nothing is summed, so that its bits are those of single products."""
    return np.asarray(np.einsum(axes, a, b))


def _add_contractions(
    sums: dict[str, Array], moved: Array, signals: _Signals, rate_weight: float, rate_bias: float
) -> None:
    """One layer's share of all contractions over parameters, by dot products of signals.

    With h_{i;x|j;y} = de s^T + e ds^T, the change of grad z_{i;x} along g_{j;y} (and de for the bias): ``moved`` gains
    <h_{i;0|j;1}, g_{k;2}>, axes i, j, 0, 1, k, 2, which is dH; S, T and U gain lambda <h_{i;1|j;3}, h_{k;2|l;4}>, all
    with the axes 1, 3, 2, 4; R gains the terms with a de, a change of W, and a ds.
    """
    outputs = signals.e.shape[1]
    kappa = rate_weight * _dots(signals.s, signals.s) + rate_bias
    ee = _dots(signals.e, signals.e)
    ds, de = signals.ds, signals.de
    if de is not None:
        # [i, j, x, y, k, x']: de_{i;x|j;y} . e_{k;x'}
        dee = _dots(de, signals.e)
        moved += _times("acZ,ijabkcZ->ijabkcZ", kappa, dee)
    if ds is not None:
        # [x', j, x, y]: s_x' . ds_{x|j;y}, and [j, x, y, k, x', y'] ds_{x|j;y} . ds_{x'|k;y'}
        sd = rate_weight * _dots(signals.s, ds)
        dd = rate_weight * _dots(ds, ds)
        moved += _times("iakcZ,cjabZ->ijabkcZ", ee, sd)

    def inner(i: int, j: int, k: int, l: int) -> Array:
        """lambda <h_{i;1|j;3}, h_{k;2|l;4}>, axes 1, 3, 2, 4."""
        total: Array = np.zeros(())
        if de is not None:
            total = total + _times("acZ,abcdZ->abcdZ", kappa, _dots(de[:, i, j], de[:, k, l]))
        if ds is not None:
            total = total + _times("acZ,abcdZ->abcdZ", ee[i, :, k], dd[j, :, :, l])
        if de is not None and ds is not None:
            total = total + _times("abcZ,acdZ->abcdZ", dee[i, j, :, :, k], sd[:, l])
            total += _times("cdaZ,cabZ->abcdZ", dee[k, l, :, :, i], sd[:, j])
        return total

    for i, j in permutations(range(outputs), 2):
        sums["S"] += inner(i, j, i, j)
        if i < j:  # the other order is the same with 1, 3 and 2, 4 exchanged
            sums["T"] += inner(i, i, j, j)
            sums["U"] += inner(i, j, j, i)
        if de is not None and ds is not None:
            # z_{i;0} along i;1, j;2, j;3: which of them moves e, W and s, in this order
            half = _times("abcZ,cadZ->abcdZ", dee[i, i, :, :, j], sd[:, j])
            half += _times("acbZ,badZ->abcdZ", dee[i, j, :, :, i], sd[:, j])
            half += _times("acdZ,dabZ->abcdZ", dee[i, j, :, :, j], sd[:, i])
            sums["R"] += half
            sums["R"] += half.transpose(0, 1, 3, 2, 4)


def _add_curvature(total: Array, slopes: Sequence[Array], u: Array, dz: Array, du: Array) -> None:
    """R's terms with second and third derivatives of one hidden layer, for z_{i;0} along i;1, j;2, j;3 and all i != j:

    sum_k sigma^(3) u_{i;0} dz_1 dz_2 dz_3 + sigma^(2) (du_1 dz_2 dz_3 + du_2 dz_1 dz_3 + du_3 dz_1 dz_2)
    """
    count, outputs, n = u.shape[:3]
    width = u.shape[-1]
    second = slopes[1][:, :, None]
    third = slopes[2][:, :, None]

    def contract(a: Array, b: Array) -> Array:
        """(B, N, N, n) and (B, N, N, N, n), axes 0, 1 and 0, 2, 3, to (N, N, N, N, B)."""
        values = product(a.reshape(count * n, n, width), b.reshape(count * n, n * n, width))
        return np.ascontiguousarray(np.moveaxis(values.reshape(count, n, n, n, n), 0, -1))

    for j in range(outputs):
        pair = dz[:, j, :, :, None] * dz[:, j, :, None]
        for i in range(outputs):
            if i == j:
                continue
            total += contract((third * u[:, i, :, None]) * dz[:, i] + second * du[:, i, i], pair)
            bent = second * du[:, i, j]
            half = contract(dz[:, i], bent[:, :, :, None] * dz[:, j, :, None])
            total += half
            total += half.transpose(0, 1, 3, 2, 4)
