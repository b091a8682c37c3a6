"""Activations: registered ones by name, ``nn.Module`` instances, and any elementwise callable.

An :class:`Activation` is what the theory and the ensemble both apply to preactivations. It knows its values and where
it is not smooth, and it finds its own derivatives, so that no user has to write one.
"""

from __future__ import annotations

import copy
import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

import numpy as np
import torch
from torch import Tensor, nn

from repflow.breakpoints import find_breakpoints

ActivationLike: TypeAlias = "str | Activation | nn.Module | Callable[[Tensor], Tensor]"

_GRID = torch.linspace(-6.0, 6.0, 97, dtype=torch.float64)
_SELU_ALPHA = 1.6732632423543772
_SELU_SCALE = 1.0507009873554805
# Nodes and half-width of the local Chebyshev fit that replaces automatic differentiation where a callable blocks it.
_LOCAL_NODES = 13
_LOCAL_RADIUS = 0.06


@dataclass(frozen=True, eq=False)
class Activation:
    """One elementwise nonlinearity sigma.

    Build it with :func:`as_activation`; the constructor checks nothing.

    Attributes
    ----------
    name
        Registered name, with a parameter after a colon where it has one (``"leaky_relu:0.2"``), or the import path of
        a callable.
    function
        Elementwise map of float64 tensors.
    breakpoints
        Points where sigma or one of its first two derivatives jumps, ascending, as ``(point, order)``: order 0 a jump
        of sigma, 1 of its slope (a kink), 2 of its curvature.
    slopes
        ``(a_minus, a_plus)`` if sigma(z) = a_minus z for z < 0 and a_plus z for z > 0, the scale-invariant class (PDLT
        section 2.2), else ``None``.
    registered
        Whether ``name`` alone identifies it.
    """

    name: str
    function: Callable[[Tensor], Tensor]
    breakpoints: tuple[tuple[float, int], ...] = ()
    slopes: tuple[float, float] | None = None
    registered: bool = True
    differentiable: bool = field(default=True, repr=False)

    def __call__(self, z: Tensor) -> Tensor:
        """sigma(z), elementwise; same shape."""
        return self.function(z)

    def __repr__(self) -> str:
        return f"Activation({self.name!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Activation):
            return NotImplemented
        if self.registered and other.registered:
            return self.name == other.name
        return self.name == other.name and bool(torch.equal(self(_GRID), other(_GRID)))

    def __hash__(self) -> int:
        return hash(self.name)

    @property
    def kinks(self) -> tuple[float, ...]:
        """Every point where sigma is not smooth, ascending."""
        return tuple(point for point, _ in self.breakpoints)

    @property
    def smooth(self) -> bool:
        """Whether sigma and its first two derivatives are continuous."""
        return not self.breakpoints

    @property
    def continuous(self) -> bool:
        """Whether sigma itself has no jump."""
        return all(order > 0 for _, order in self.breakpoints)

    def derivative(self, z: Tensor, order: int = 1) -> Tensor:
        """The regular part of the ``order``-th derivative: what holds away from the breakpoints.

        Parameters
        ----------
        z
            Points, any shape, float64. A value at a breakpoint belongs to one of its sides.
        order
            0 or more; 0 returns sigma itself.

        Returns
        -------
        Tensor
            Same shape as ``z``.
        """
        if order == 0:
            return self(z)
        if not self.differentiable:
            return self._local_derivative(z, order)
        with torch.enable_grad():
            x = z.detach().requires_grad_(True)
            y = self.function(x)
            for k in range(order):
                if not y.requires_grad:  # a polynomial of lower degree: its derivative is a constant
                    return torch.zeros_like(z)
                (y,) = torch.autograd.grad(y.sum(), x, create_graph=k + 1 < order)
        return y.detach() + torch.zeros_like(z)  # the sum materialises the symbolic zeros of autograd

    def jumps(self, order: int) -> tuple[tuple[float, float], ...]:
        """Jumps of the ``order``-th derivative, as ``(point, size)``; those of size zero are left out."""
        found = []
        for point, _ in self.breakpoints:
            step = 1e-9 * max(1.0, abs(point))
            sides = torch.tensor([point - step, point + step], dtype=torch.float64)
            low, high = self.derivative(sides, order).tolist()
            if abs(high - low) > 1e-7 * (1.0 + abs(low)):
                found.append((point, high - low))
        return tuple(found)

    def _local_derivative(self, z: Tensor, order: int) -> Tensor:
        """Derivative of a Chebyshev fit on a window around each point that crosses no breakpoint."""
        edges = torch.tensor([-math.inf, *self.kinks, math.inf], dtype=z.dtype, device=z.device)
        flat = z.detach().reshape(-1).contiguous()
        cell = torch.searchsorted(edges, flat, right=True).clamp(1, len(edges) - 1)
        low, high = edges[cell - 1], edges[cell]
        radius = torch.minimum(torch.full_like(flat, _LOCAL_RADIUS), 0.5 * (high - low))
        centre = torch.minimum(torch.maximum(flat, low + radius), high - radius)
        nodes = np.cos(np.pi * (np.arange(_LOCAL_NODES) + 0.5) / _LOCAL_NODES)
        fit = torch.as_tensor(np.linalg.inv(np.polynomial.chebyshev.chebvander(nodes, _LOCAL_NODES - 1)).T)
        points = centre[:, None] + radius[:, None] * torch.as_tensor(nodes)
        coefficients = (self.function(points).detach() @ fit).numpy()
        coefficients = np.polynomial.chebyshev.chebder(coefficients, order, axis=1)
        offset = ((flat - centre) / radius).numpy()
        basis = np.polynomial.chebyshev.chebvander(offset, coefficients.shape[1] - 1)
        values = torch.as_tensor((basis * coefficients).sum(axis=1)) / radius**order
        return values.reshape(z.shape)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for a file: the name, or for a callable its import path and its values on a fixed grid."""
        if self.registered:
            return {"name": self.name}
        return {
            "callable": self.name,
            "values": self(_GRID).tolist(),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], activations: Mapping[str, ActivationLike] | None = None) -> Activation:
        """Read what :meth:`to_dict` wrote.

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
        activation = as_activation(given if given is not None else _import_callable(path))
        saved = torch.tensor(data["values"], dtype=torch.float64)
        if not torch.allclose(activation(_GRID), saved, rtol=1e-9, atol=1e-9):
            raise ValueError(
                f"activation {path!r} no longer has the values that were saved with the result; "
                "pass the original with activations={...}"
            )
        return cls(
            path, activation.function, activation.breakpoints, activation.slopes, False, activation.differentiable
        )


def _import_callable(path: str) -> Any:
    remedy = f"pass it as activations={{{path!r}: function}} to load()"
    module, _, qualname = path.partition(":")
    if "<" in qualname or not qualname:
        raise ValueError(f"activation {path!r} is a lambda or local function, which no import path reaches; {remedy}")
    try:
        target: Any = importlib.import_module(module)
        for part in qualname.split("."):
            target = getattr(target, part)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"activation {path!r} cannot be imported ({error}); {remedy}") from error
    if isinstance(target, type):
        try:
            target = target()
        except TypeError as error:
            raise ValueError(f"activation {path!r} needs arguments to be built again; {remedy}") from error
    return target


def _erf_gelu(z: Tensor) -> Tensor:
    return nn.functional.gelu(z)


def _perceptron(z: Tensor) -> Tensor:
    return (z > 0).to(z.dtype)


def _digits(value: float) -> str:
    """All digits of a parameter, since the name alone goes into files: 0.2, 1, 1e-05."""
    return repr(value).removesuffix(".0")


def _leaky(slope: float) -> Activation:
    def leaky_relu(z: Tensor) -> Tensor:
        return torch.where(z > 0, z, slope * z)

    kinks = () if slope == 1.0 else ((0.0, 1),)
    return Activation(f"leaky_relu:{_digits(slope)}", leaky_relu, kinks, (slope, 1.0))


def _elu(alpha: float) -> Activation:
    def elu(z: Tensor) -> Tensor:
        return torch.where(z > 0, z, alpha * torch.expm1(z.clamp(max=0.0)))

    return Activation(f"elu:{_digits(alpha)}", elu, ((0.0, 2 if alpha == 1.0 else 1),))


def _selu(z: Tensor) -> Tensor:
    return _SELU_SCALE * torch.where(z > 0, z, _SELU_ALPHA * torch.expm1(z.clamp(max=0.0)))


def _softplus(z: Tensor) -> Tensor:
    return torch.logaddexp(z, torch.zeros_like(z))


def _silu(z: Tensor) -> Tensor:
    return z * torch.sigmoid(z)


def _mish(z: Tensor) -> Tensor:
    return z * torch.tanh(_softplus(z))


def _gelu_tanh(z: Tensor) -> Tensor:
    # Written out: the third derivative of torch's own is NaN beyond |z| = 27.
    return 0.5 * z * (1.0 + torch.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))


def _softsign(z: Tensor) -> Tensor:
    return z / (1.0 + z.abs())


def _hardtanh(z: Tensor) -> Tensor:
    return z.clamp(-1.0, 1.0)


def _hardswish(z: Tensor) -> Tensor:
    return z * (z + 3.0).clamp(0.0, 6.0) / 6.0


def _relu(z: Tensor) -> Tensor:
    return torch.relu(z)  # its derivative at 0 is 0, as in networks that are trained


def _monomial(power: float) -> Activation:
    if power != int(power) or power < 1:
        raise ValueError(
            f"activation monomial needs a whole power of 1 or more, got {power:g}; for example 'monomial:3'"
        )
    degree = int(power)
    if degree == 1:
        return _REGISTRY["identity"]

    def monomial(z: Tensor) -> Tensor:
        return z**degree

    return Activation(f"monomial:{degree}", monomial)


_REGISTRY: dict[str, Activation] = {
    activation.name: activation
    for activation in (
        Activation("identity", lambda z: z * 1.0, (), (1.0, 1.0)),
        Activation("relu", _relu, ((0.0, 1),), (0.0, 1.0)),
        Activation("abs", torch.abs, ((0.0, 1),), (-1.0, 1.0)),
        Activation("tanh", torch.tanh),
        Activation("sin", torch.sin),
        Activation("erf", torch.erf),
        Activation("arctan", torch.atan),
        Activation("gelu", _erf_gelu),
        Activation("gelu_tanh", _gelu_tanh),
        Activation("silu", _silu),
        Activation("mish", _mish),
        Activation("selu", _selu, ((0.0, 1),)),
        Activation("softplus", _softplus),
        Activation("sigmoid", torch.sigmoid),
        Activation("softsign", _softsign, ((0.0, 2),)),
        Activation("hardtanh", _hardtanh, ((-1.0, 1), (1.0, 1))),
        Activation("hardswish", _hardswish, ((-3.0, 1), (3.0, 1))),
        Activation("perceptron", _perceptron, ((0.0, 0),)),
    )
}
# Families with a parameter: the maker, and the value that the bare name stands for.
_FAMILIES: dict[str, tuple[Callable[[float], Activation], float | None]] = {
    "leaky_relu": (_leaky, 0.01),
    "elu": (_elu, 1.0),
    "monomial": (_monomial, None),
}
_ALIASES = {"linear": "identity", "swish": "silu", "step": "perceptron", "atan": "arctan"}


def activation_names() -> tuple[str, ...]:
    """Registered names, families with a parameter included, in alphabetical order."""
    return tuple(sorted([*_REGISTRY, *_FAMILIES]))


def _by_name(spec: str) -> Activation:
    name, colon, parameter = spec.strip().partition(":")
    name = _ALIASES.get(name, name)
    if name in _FAMILIES:
        make, default = _FAMILIES[name]
        if not colon and default is None:
            raise ValueError(f"activation {name!r} needs a parameter, for example '{name}:2'")
        try:
            value = float(parameter) if colon else float(default or 0.0)
        except ValueError:
            raise ValueError(f"activation {spec!r}: {parameter!r} is not a number") from None
        if not math.isfinite(value):
            raise ValueError(f"activation {spec!r}: the parameter must be finite")
        return make(value)
    if name not in _REGISTRY:
        raise ValueError(f"activation {spec!r} is unknown; registered are {', '.join(activation_names())}")
    if colon:
        raise ValueError(f"activation {name!r} takes no parameter, got {spec!r}")
    return _REGISTRY[name]


def _by_module(module: nn.Module) -> Activation | None:
    """The registered activation that a ``torch.nn`` layer is, or None."""
    kind = type(module)
    if kind is nn.GELU:
        return _by_name("gelu" if module.approximate == "none" else "gelu_tanh")
    if kind is nn.LeakyReLU:
        return _leaky(float(cast(float, module.negative_slope)))
    if kind is nn.ELU:
        return _elu(float(cast(float, module.alpha)))
    if kind is nn.Hardtanh:
        return (
            _by_name("hardtanh")
            if cast("tuple[float, float]", (module.min_val, module.max_val)) == (-1.0, 1.0)
            else None
        )
    if kind is nn.Softplus:
        return (
            _by_name("softplus")
            if cast("tuple[float, float]", (module.beta, module.threshold)) == (1.0, 20.0)
            else None
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
    return _by_name(plain[kind]) if kind in plain else None


def _path_of(target: Any) -> str:
    owner = target if hasattr(target, "__qualname__") else type(target)
    module = getattr(owner, "__module__", None) or "builtins"
    return f"{module}:{owner.__qualname__}"


def _check_elementwise(name: str, function: Callable[[Tensor], Tensor]) -> None:
    def call(z: Tensor) -> Tensor:
        try:
            with torch.no_grad():
                value = function(z)
        except Exception as error:  # a user's function may raise anything: the message has to name it
            raise ValueError(f"activation {name!r} failed on a float64 tensor: {error}") from error
        if not isinstance(value, Tensor):
            raise TypeError(f"activation {name!r} must return a tensor, it returned {type(value).__name__}")
        return value

    values = call(_GRID.clone())
    if values.shape != _GRID.shape:
        raise ValueError(
            f"activation {name!r} is not elementwise: it maps shape {tuple(_GRID.shape)} to {tuple(values.shape)}"
        )
    if values.dtype != torch.float64:
        raise TypeError(f"activation {name!r} returns {values.dtype} for a float64 input; keep the input's precision")
    if not bool(torch.isfinite(values).all()):
        raise ValueError(f"activation {name!r} is not finite on [-6, 6]")
    alone = torch.cat([call(z.reshape(1)) for z in _GRID])
    permutation = torch.randperm(len(_GRID), generator=torch.Generator().manual_seed(0))
    square = call(_GRID[permutation][:96].reshape(8, 12))
    expected = alone[permutation][:96].reshape(8, 12)
    if not (torch.allclose(alone, values, atol=1e-12) and torch.allclose(square, expected, atol=1e-12)):
        raise ValueError(
            f"activation {name!r} is not elementwise: a value depends on other entries, or differs between calls"
        )


def _from_callable(name: str, function: Callable[[Tensor], Tensor]) -> Activation:
    _check_elementwise(name, function)

    def values(z: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, np.dtype[np.float64]]:
        with torch.no_grad():
            return np.asarray(function(torch.as_tensor(z)).numpy(), dtype=np.float64)

    breakpoints = find_breakpoints(values)
    activation = Activation(name, function, breakpoints, None, False)
    if not _autograd_agrees(activation):
        activation = Activation(name, function, breakpoints, None, False, differentiable=False)
    slopes = _homogeneous_slopes(activation)
    return Activation(name, function, breakpoints, slopes, False, activation.differentiable)


def _autograd_agrees(activation: Activation) -> bool:
    """Whether automatic differentiation gives the derivative of the values (it may be detached, or a surrogate)."""
    points = _GRID + 0.0137
    for kink in activation.kinks:
        points = points[(points - kink).abs() > 0.01]
    step = 1e-5
    for order in (1, 2):
        try:
            automatic = activation.derivative(points, order)
            ahead, behind = (activation.derivative(points + shift, order - 1) for shift in (step, -step))
        except RuntimeError:
            return False
        difference = (ahead - behind) / (2 * step)
        if not torch.allclose(automatic, difference, rtol=1e-3, atol=1e-5 * (1 + float(difference.abs().max()))):
            return False
    return True


def _homogeneous_slopes(activation: Activation) -> tuple[float, float] | None:
    low, zero, high = activation(torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64)).tolist()
    linear = torch.where(_GRID < 0, -low * _GRID, high * _GRID)
    if any(abs(kink) > 1e-9 for kink in activation.kinks):  # linear on the grid, but not beyond it: ReLU6
        return None
    if zero == 0.0 and (low, high) != (0.0, 0.0) and torch.allclose(activation(_GRID), linear, rtol=1e-13, atol=1e-13):
        return (-low, high)
    return None


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
        return _by_name(spec)
    if isinstance(spec, type) and issubclass(spec, nn.Module):
        raise TypeError(f"activation is the class {spec.__name__}; pass an instance, {spec.__name__}()")
    if isinstance(spec, nn.Module):
        known = _by_module(spec)
        if known is not None:
            return known
        module = copy.deepcopy(spec).double().requires_grad_(False)
        return _from_callable(_path_of(module), module)
    if callable(spec):
        return _from_callable(_path_of(spec), cast("Callable[[Tensor], Tensor]", spec))
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
        return _leaky(activation.slopes[0])
    wide = torch.cat([_GRID, 4.0 * _GRID])  # hardtanh and its like differ from each other far out only
    values = activation(wide)
    for known in (*_REGISTRY.values(), _elu(1.0)):
        if torch.allclose(known(wide), values, rtol=1e-12, atol=1e-12):
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
