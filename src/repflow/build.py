"""``mlp``: a network from widths, an activation and an initialisation by name."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import torch

from repflow.activation import Activation, ActivationLike, as_activations
from repflow.criticality import Critical, critical
from repflow.network import Layer, Network
from repflow.recursion.inputs import as_inputs

#: Names that ``init`` takes.
INITS = ("critical", "pytorch", "he", "xavier", "lecun")

PerLayer: TypeAlias = "float | Sequence[float]"


def mlp(
    widths: Sequence[int],
    activation: ActivationLike | Sequence[ActivationLike] = "relu",
    C_W: PerLayer | None = None,
    C_b: PerLayer | None = None,
    *,
    init: str | None = None,
    x: Any = None,
    lambda_W: PerLayer = 1.0,
    lambda_b: PerLayer = 1.0,
) -> Network:
    """A multilayer perceptron with Gaussian initialisation.

    Parameters
    ----------
    widths
        (n_0, n_1, ..., n_L): inputs, hidden widths, outputs.
    activation
        One for all hidden layers, or a list of L - 1: a registered name, an ``nn.Module``, an elementwise callable, an
        ``Activation``.
    C_W, C_b
        Var W_ij = C_W/n_{l-1} and Var b_i = C_b: a number, or a list of L. C_b is 0 unless given with C_W.
    init
        Instead of C_W and C_b: ``"critical"`` (the default when neither is given), ``"pytorch"``, ``"he"``,
        ``"xavier"`` or ``"lecun"``.

        - ``critical``: each layer's critical couplings for the activation before it (:func:`repflow.critical`), and in
        the first layer the C_W
          for which the mean of K^(1)_aa over x is K* (1 where K* is free or 0). Without a critical point, the best
          compromise, with a warning.
        - ``pytorch``: ``nn.Linear``'s variances, C_W = 1/3 and C_b = 1/(3 n_{l-1}); its distribution is uniform, and
        the theory's Gaussian of the
          same variance differs from it at order 1/n.
        - ``he``: C_W = 2; ``lecun``: C_W = 1; ``xavier``: C_W = 2 n_{l-1}/(n_{l-1} + n_l); all with C_b = 0.
    x
        Inputs (N, n_0) for ``init="critical"``; x.x/n_0 = 1 is assumed without them.
    lambda_W, lambda_b
        Learning-rate tensor: weights learn at lambda_W/n_{l-1}, biases at lambda_b; a number, or a list of L.

    Returns
    -------
    Network

    Raises
    ------
    ValueError, TypeError
        A width below 1, a negative or infinite variance, a list of another length, an unknown name, or ``init``
        together with C_W or C_b.

    Examples
    --------
    >>> mlp([64, 128, 128, 10], activation="tanh", C_W=1.0, C_b=0.0)
    Network(depth=3, widths=64-128x2-10, activation=tanh, C_W=1x3, C_b=0x3)
    """
    sizes = _as_widths(widths)
    depth = len(sizes) - 1
    activations = as_activations(activation, depth - 1)
    if init is not None and (C_W is not None or C_b is not None):
        raise ValueError("init and C_W/C_b are two ways to say the same; give one of them")
    if C_W is None and C_b is not None:
        raise ValueError("C_b was given without C_W; give both, or init")
    if C_W is not None:
        weights, biases = _as_list(C_W, depth, "C_W"), _as_list(0.0 if C_b is None else C_b, depth, "C_b")
    else:
        weights, biases = _preset("critical" if init is None else init, sizes, activations, x)
    lambda_weights, lambda_biases = _as_list(lambda_W, depth, "lambda_W"), _as_list(lambda_b, depth, "lambda_b")
    return Network(
        tuple(
            Layer(
                sizes[number],
                sizes[number + 1],
                weights[number],
                biases[number],
                lambda_weights[number],
                lambda_biases[number],
                activations[number] if number < depth - 1 else None,
            )
            for number in range(depth)
        )
    )


def _as_widths(widths: Sequence[int]) -> list[int]:
    if isinstance(widths, (str, int)) or not hasattr(widths, "__len__"):
        raise TypeError(f"widths must be a list (n_0, ..., n_L) of whole numbers, got {widths!r}")
    sizes = list(widths)
    if len(sizes) < 2:
        raise ValueError(f"widths must hold at least n_0 and n_L, got {sizes}")
    for place, size in enumerate(sizes):
        if isinstance(size, bool) or int(size) != size or size < 1:
            raise ValueError(f"widths[{place}] must be a whole number of 1 or more, got {size!r}")
    return [int(size) for size in sizes]


def _as_list(value: Any, depth: int, name: str) -> list[float]:
    if isinstance(value, str) or not (np.ndim(value) == 0 or hasattr(value, "__len__")):
        raise TypeError(f"{name} must be a number or a list of numbers, got {value!r}")
    values = [value] * depth if np.ndim(value) == 0 else list(value)
    if len(values) != depth:
        raise ValueError(
            f"{name} is a list of {len(values)}, the network has {depth} layers; give one for each, or one number"
        )
    try:
        return [float(entry) for entry in values]
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number or a list of numbers, got {value!r}") from None


def _preset(
    init: str, sizes: list[int], activations: tuple[Activation, ...], x: Any
) -> tuple[list[float], list[float]]:
    fan_in, fan_out = sizes[:-1], sizes[1:]
    if init == "critical":
        return _critical(sizes, activations, x)
    if init == "pytorch":
        return [1 / 3] * len(fan_in), [1 / (3 * n) for n in fan_in]
    if init == "he":
        return [2.0] * len(fan_in), [0.0] * len(fan_in)
    if init == "lecun":
        return [1.0] * len(fan_in), [0.0] * len(fan_in)
    if init == "xavier":
        return [2 * n / (n + m) for n, m in zip(fan_in, fan_out, strict=True)], [0.0] * len(fan_in)
    raise ValueError(f"init must be one of {', '.join(INITS)}, got {init!r}")


def _critical(sizes: list[int], activations: tuple[Activation, ...], x: Any) -> tuple[list[float], list[float]]:
    size = 1.0
    if x is not None:
        inputs = as_inputs(x, sizes[0])
        size = float(torch.mean(inputs**2))
        if size == 0:
            raise ValueError("x is zero everywhere: no C_W of the first layer brings its kernel to K*")
    found: dict[Activation, Critical] = {}
    for activation in activations:
        if activation not in found:
            found[activation] = critical(activation)
            if found[activation].universality_class == "none" or found[activation].stability == "unstable":
                warnings.warn(
                    f"activation {activation.name!r} has no stable critical point: {found[activation].statement}",
                    stacklevel=4,
                )
    points = [found[activation] for activation in activations]
    target, bias = 1.0, 0.0
    if points:
        star = points[0].K_star
        bias = float(points[0].C_b)
        target = 1.0 if star is None or star <= 0 else float(star)
    first = max(target - bias, 0.0) / size
    return [first, *(float(p.C_W) for p in points)], [bias, *(float(p.C_b) for p in points)]
