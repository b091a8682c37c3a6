"""From what a user passes, or a file holds, to an :class:`Activation`."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor, nn

from repflow.activation.callables import from_callable, import_callable, path_of
from repflow.activation.function import GRID, Activation
from repflow.activation.registry import REGISTRY, by_name, elu_of, leaky_relu_of

ActivationLike: TypeAlias = "str | Activation | nn.Module | Callable[[Tensor], Tensor]"


def _by_module(module: nn.Module) -> Activation | None:
    """The registered activation that a ``torch.nn`` layer is, or None."""
    kind = type(module)
    if kind is nn.GELU:
        return by_name("gelu" if module.approximate == "none" else "gelu_tanh")
    if kind is nn.LeakyReLU:
        return leaky_relu_of(float(cast(float, module.negative_slope)))
    if kind is nn.ELU:
        return elu_of(float(cast(float, module.alpha)))
    if kind is nn.Hardtanh:
        return (
            by_name("hardtanh")
            if cast("tuple[float, float]", (module.min_val, module.max_val)) == (-1.0, 1.0)
            else None
        )
    if kind is nn.Softplus:
        return (
            by_name("softplus") if cast("tuple[float, float]", (module.beta, module.threshold)) == (1.0, 20.0) else None
        )
    plain: dict[type[nn.Module], str] = {
        nn.Identity: "identity",
        nn.ReLU: "relu",
        nn.Tanh: "tanh",
        nn.SiLU: "silu",
        nn.Mish: "mish",
        nn.SELU: "selu",
        nn.Sigmoid: "sigmoid",
        nn.Softsign: "softsign",
        nn.Hardswish: "hardswish",
    }
    return by_name(plain[kind]) if kind in plain else None


def as_activation(spec: ActivationLike) -> Activation:
    """The activation that a name, an ``nn.Module``, or a callable stands for.

    Parameters
    ----------
    spec
        A registered name (``activation_names()``; ``"leaky_relu:0.2"`` and ``"monomial:3"`` with a parameter), an
        ``nn.Module`` instance such as ``nn.GELU()``, an elementwise ``Tensor -> Tensor`` callable, or an
        :class:`Activation`.

    Returns
    -------
    Activation

    Raises
    ------
    ValueError
        The name is unknown, or the callable is not elementwise, not deterministic, or not finite on [-6, 6].
    TypeError
        ``spec`` is of another type, or the callable does not return a float64 tensor for one.
    """
    if isinstance(spec, Activation):
        return spec
    if isinstance(spec, str):
        return by_name(spec)
    if isinstance(spec, type) and issubclass(spec, nn.Module):
        raise TypeError(f"activation is the class {spec.__name__}; pass an instance, {spec.__name__}()")
    if isinstance(spec, nn.Module):
        known = _by_module(spec)
        if known is not None:
            return known
        module = copy.deepcopy(spec).double().requires_grad_(False)
        return from_callable(path_of(module), module)
    if callable(spec):
        return from_callable(path_of(spec), cast("Callable[[Tensor], Tensor]", spec))
    raise TypeError(
        f"activation must be a name, an nn.Module, a callable, or a list of them, got {type(spec).__name__}"
    )


def recognise(activation: Activation) -> Activation:
    """The registered activation with the same values, where there is one; else the activation itself.

    It gives a traced ``torch.tanh(x)`` or ``F.leaky_relu(x, 0.2)`` back its name.
    """
    if activation.registered:
        return activation
    if activation.slopes is not None and activation.slopes[1] == 1.0 and activation.slopes[0] not in (-1.0, 0.0, 1.0):
        return leaky_relu_of(activation.slopes[0])
    wide = torch.cat([GRID, 4.0 * GRID])  # hardtanh and its like differ from each other far out only
    values = activation(wide)
    for known in (*REGISTRY.values(), elu_of(1.0)):
        if torch.allclose(known(wide), values, rtol=1e-9, atol=1e-9):
            return known
    return activation


def as_activations(spec: ActivationLike | Sequence[ActivationLike], hidden: int) -> tuple[Activation, ...]:
    """One activation for each of ``hidden`` layers, from one specification or a list of that length."""
    if isinstance(spec, (list, tuple)):
        if len(spec) != hidden:
            raise ValueError(
                f"activation is a list of {len(spec)}, the network has {hidden} hidden layers; give one each, or one"
            )
        return tuple(as_activation(item) for item in spec)
    return (as_activation(spec),) * hidden  # type: ignore[arg-type]


def activation_from_dict(
    data: Mapping[str, Any], activations: Mapping[str, ActivationLike] | None = None
) -> Activation:
    """Read what :meth:`Activation.to_dict` wrote.

    Parameters
    ----------
    data
        The dictionary.
    activations
        Callables by the name under which they were saved, for those that cannot be imported (a lambda, a local
        function).

    Raises
    ------
    ValueError
        A callable cannot be imported, or its values on the grid are no longer those that were saved.
    """
    if "name" in data:
        return as_activation(str(data["name"]))
    path = str(data["callable"])
    given = (activations or {}).get(path)
    activation = as_activation(given if given is not None else import_callable(path))
    saved = torch.tensor(data["values"], dtype=torch.float64)
    if not torch.allclose(activation(GRID), saved, rtol=1e-9, atol=1e-9):
        raise ValueError(
            f"activation {path!r} no longer has the values that were saved with the result; "
            "pass the original with activations={...}"
        )
    return Activation(
        path, activation.function, activation.breakpoints, activation.slopes, False, activation.differentiable
    )
