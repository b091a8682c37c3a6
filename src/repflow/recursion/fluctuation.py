"""Fluctuations of tr(A G) for a data set of any size: contract first, expand never.

To first order in 1/n, the fluctuation of tr(A G^(m)) is the sum over layers l < m of the fresh fluctuation that layer
l's finite width makes, n_l^{-1} Cov(s^T A_l s, s^T B_l s) over a single neuron's s = sigma(z), z ~ N(0, K^(l)), where
A_l is A carried back from layer m to l + 1 by the transpose of the derivative dK'/dK. Carrying back costs N^2 a layer;
the covariance is a mean over sampled neurons.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor

from repflow.expectation.pair_map import PairMap, pair_map
from repflow.network import LayerMaps
from repflow.recursion.forward import single_neuron_covariance
from repflow.recursion.inputs import as_inputs, check_network
from repflow.recursion.pairs import Pairs

_EXACT_LIMIT = 64
_SAMPLE_CHUNK = 4096


@dataclass(frozen=True)
class KernelFluctuation:
    """Cov(tr A G^(l), tr B G^(l)) at order 1/n.

    Attributes
    ----------
    covariance
        Shape (L,), layer 1 first; layer 1 does not fluctuate. The widths are put in.
    stderr
        Standard error of each from the sampling of neurons; 0 when exact.
    mean_A, mean_B
        tr(A K^(l)) and tr(B K^(l)), shape (L,).
    """

    covariance: Float64[Tensor, " L"]
    stderr: Float64[Tensor, " L"]
    mean_A: Float64[Tensor, " L"]
    mean_B: Float64[Tensor, " L"]


def kernel_fluctuation(
    network: LayerMaps,
    x: Any,
    A: Any,
    B: Any = None,
    samples: int | None = 4096,
    seed: int = 0,
    device: torch.device | str | None = None,
) -> KernelFluctuation:
    """Covariance between networks of tr(A G) and tr(B G) in every layer, for N inputs up to the thousands.

    Parameters
    ----------
    network
        A :class:`Network`.
    x
        Inputs, shape (N, n_0).
    A, B
        Symmetric matrices, shape (N, N); B is A unless given. The matrix with entries 1/N on its diagonal gives the
        mean of G_aa, for example.
    samples
        Single neurons drawn a layer. None sums the single-neuron covariance exactly, for N up to 64.
    seed
        Of the draws.
    device
        As in :func:`flow`.

    Returns
    -------
    KernelFluctuation

    Raises
    ------
    TypeError, ValueError
        Wrong shapes, a matrix that is not symmetric, fewer than 2 samples, or an exact sum asked for more than 64
        inputs.
    """
    check_network(network)
    inputs = as_inputs(x, network.widths[0], device)
    n = len(inputs)
    a = _as_symmetric(A, n, inputs.device, "A")
    b = a if B is None else _as_symmetric(B, n, inputs.device, "B")
    if samples is None and n > _EXACT_LIMIT:
        raise ValueError(
            f"samples=None sums N^4 expectations, for up to {_EXACT_LIMIT} inputs; got {n}, give a number of samples"
        )
    if samples is not None and (not isinstance(samples, int) or samples < 2):
        raise ValueError(f"samples must be a whole number of 2 or more, or None, got {samples!r}")
    layers = network.layers
    kernel = layers[0].C_b + layers[0].C_W * inputs @ inputs.T / layers[0].n_in
    kernels, maps = [kernel], []
    for before, layer in itertools.pairwise(layers):
        assert before.activation is not None
        maps.append(pair_map(before.activation, kernel, derivatives=1))
        kernel = layer.C_b + layer.C_W * maps[-1].mean
        kernels.append(kernel)
    depth = len(layers)
    covariance, variance = kernel.new_zeros(depth), kernel.new_zeros(depth)
    # Layer l's neurons are drawn once and serve every later layer m, whose matrices are carried back to l + 1.
    carried = {m: (layers[m].C_W * a, layers[m].C_W * b) for m in range(1, depth)}
    for number in range(depth - 2, -1, -1):
        activation = layers[number].activation
        assert activation is not None
        later = range(number + 1, depth)
        if samples is None:
            pairs = Pairs(n, kernel.device)
            fresh, _ = single_neuron_covariance(activation, kernels[number], maps[number], pairs)
            weight = torch.where(pairs.a == pairs.b, 1.0, 2.0).to(fresh)
            for m in later:
                left, right = (weight * pairs.compress(matrix) for matrix in carried[m])
                covariance[m] += left @ fresh @ right / layers[number].n_out
        else:
            signals = activation(_draw(kernels[number], samples, seed, number))
            for m in later:
                left, right = carried[m]
                p = _forms(signals, left)
                q = p if right is left else _forms(signals, right)
                product = (p - p.mean()) * (q - q.mean())
                covariance[m] += product.sum() / (samples - 1) / layers[number].n_out
                variance[m] += product.var() / samples / layers[number].n_out ** 2
        if number:
            scale = layers[number].C_W
            for m in later:
                left, right = carried[m]
                new_left = scale * _carry_back(maps[number], left)
                carried[m] = (new_left, new_left if right is left else scale * _carry_back(maps[number], right))
    return KernelFluctuation(
        covariance,
        variance.sqrt(),
        torch.stack([(a * k).sum() for k in kernels]),
        torch.stack([(b * k).sum() for k in kernels]),
    )


def _carry_back(maps: PairMap, matrix: Tensor) -> Tensor:
    """The matrix A' with tr(A dS) = tr(A' dK), for a symmetric A."""
    assert maps.d_cross is not None
    assert maps.d_self is not None
    back = matrix * maps.d_cross
    back.diagonal().add_(2 * (matrix * maps.d_self).sum(1))
    return back


def _draw(kernel: Tensor, samples: int, seed: int, number: int) -> Tensor:
    """Single-neuron preactivations z ~ N(0, K), shape (samples, N)."""
    values, vectors = torch.linalg.eigh(kernel)
    generator = torch.Generator().manual_seed((seed * 1_000_003 + number) % 2**63)
    normal = torch.randn(samples, len(kernel), dtype=torch.float64, generator=generator).to(kernel.device)
    return (normal * values.clamp(min=0.0).sqrt()) @ vectors.T


def _forms(signals: Tensor, matrix: Tensor) -> Tensor:
    """s^T A s of each sampled neuron, shape (samples,)."""
    parts = [((chunk @ matrix) * chunk).sum(1) for chunk in signals.split(_SAMPLE_CHUNK)]
    return torch.cat(parts)


def _as_symmetric(matrix: Any, n: int, device: torch.device, name: str) -> Tensor:
    tensor = as_inputs(matrix, n, device, name)
    if tensor.shape != (n, n):
        raise ValueError(f"{name} must have shape ({n}, {n}), got {tuple(tensor.shape)}")
    if not torch.allclose(tensor, tensor.T, rtol=1e-10, atol=1e-12):
        raise ValueError(f"{name} must be symmetric; (A + A.T)/2 has the same trace with G")
    return 0.5 * (tensor + tensor.T)
