"""``gram_density``: the exact law of one input's Gram entry in every layer, as a result."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from repflow.activation import ActivationLike
from repflow.exact.chain import COARSE, FINE, carry
from repflow.exact.law import Law
from repflow.exact.panels import Array
from repflow.network import Network
from repflow.results import Payload, Result, result_schema

_GRID_POINTS = 401
_GRID_TAIL = 1e-6


class GramLayer:
    """The law of G^(l), the second moment of layer l's neurons given the layer below, over the draws of a network.

    Attributes
    ----------
    index, n_in
        l and n_{l-1}.
    law
        The law itself: weights at nodes, and point masses.
    """

    def __init__(self, index: int, n_in: int, law: Law, check: Law) -> None:
        self.index = index
        self.n_in = n_in
        self.law = law
        self._check = check

    def mean(self) -> float:
        """E[G], the mean of z^2."""
        return self.law.moment(1)

    def variance(self) -> float:
        """Var G."""
        return self.cumulant(2)

    def cumulant(self, m: int) -> float:
        """The m-th cumulant of G, m = 1, 2, ..."""
        return self.law.cumulants(_order(m))[m - 1]

    def moment(self, m: int) -> float:
        """E[G^m]."""
        return self.law.moment(_order(m))

    def log_moment(self, m: int = 1) -> float:
        """E[(log G)^m given G > 0]; exp(E[log G]) is the typical network's G."""
        return self.law.log_moment(_order(m))

    def log_variance(self) -> float:
        """Var(log G given G > 0)."""
        return self.law.log_moment(2) - self.law.log_moment(1) ** 2

    def median(self) -> float:
        """The median of G."""
        return self.quantile(0.5)

    def quantile(self, probability: float) -> float:
        """The smallest g with P(G <= g) >= probability, for 0 < probability < 1."""
        if not 0.0 < probability < 1.0:
            raise ValueError(f"probability must lie between 0 and 1, got {probability!r}")
        return self.law.quantile(float(probability))

    def expect(self, function: Callable[[Array], Any]) -> float:
        """E[f(G)] for an f, of arrays, that is smooth in log G."""
        return self.law.expect(function)

    @property
    def silent(self) -> float:
        """P(G = 0): every neuron below is silent, as with relu."""
        return self.law.silent

    @property
    def atoms(self) -> tuple[tuple[float, float], ...]:
        """Point masses, as (G, probability): layer 1's one value, and C_b where all neurons below can be silent."""
        return tuple((float(g), float(p)) for g, p in zip(self.law.points, self.law.mass, strict=True))

    @property
    def grid(self) -> Array:
        """Values of G, even in log G, from the lowest to the highest millionth of the law; shape (401,)."""
        if not len(self.law.t):
            return np.sort(self.law.points)
        silent = float(self.law.mass.sum())
        low = self.law.quantile(silent + (1.0 - silent) * _GRID_TAIL)
        high = self.law.quantile(1.0 - _GRID_TAIL)
        return np.geomspace(low, high, _GRID_POINTS)

    def density(self, g: Any) -> Array:
        """Density of G with respect to G at g > 0; point masses are not in it."""
        return self.law.density(_positive(g))

    def log_density(self, log_g: Any) -> Array:
        """Density of log G at log g; point masses are not in it."""
        return self.law.log_density(np.asarray(log_g, dtype=np.float64))

    def cdf(self, g: Any) -> Array:
        """P(G <= g)."""
        return self.law.cdf(np.asarray(g, dtype=np.float64))

    def error(self, statistic: str, *arguments: Any) -> float:
        """Estimate of the absolute error of a statistic: what a coarser computation changes.

        Parameters
        ----------
        statistic
            Name of a method of this class: ``"mean"``, ``"variance"``, ``"cumulant"``, ``"median"``, ``"density"``, ...
        *arguments
            Of that method.

        Returns
        -------
        float
            The largest change, over entries where the method returns an array.
        """
        if statistic.startswith("_") or not callable(getattr(GramLayer, statistic, None)) or statistic == "error":
            names = ", ".join(sorted(_STATISTICS))
            raise ValueError(f"statistic must be one of {names}, got {statistic!r}")
        other = GramLayer(self.index, self.n_in, self._check, self._check)
        fine = np.asarray(getattr(self, statistic)(*arguments))
        coarse = np.asarray(getattr(other, statistic)(*arguments))
        change = float(np.abs(fine - coarse).max())
        if statistic not in _READ:
            return change
        return max(_READ_FACTOR * change, self._unresolved(statistic, fine, arguments))

    def _unresolved(self, statistic: str, value: Array, arguments: tuple[Any, ...]) -> float:
        """What the end of the spectrum that is missing leaves out of what is read off by Fourier inversion."""
        probability, density = self.law.unresolved
        if statistic == "cdf":
            return probability
        if statistic == "log_density":
            return density
        if statistic == "density":
            above = np.asarray(arguments[0], dtype=np.float64) - self.law.floor
            return density / float(np.min(above[above > 0], initial=np.inf))
        there = float(self.law.density(value))
        return probability / there if there > 0 else 0.0

    def __repr__(self) -> str:
        mean, variance = self.law.cumulants(2)
        return f"GramLayer(layer {self.index}, n_in={self.n_in}, mean={mean:.6g}, variance={variance:.6g})"


# Read off by Fourier inversion: where a density is singular these converge as the length of the panels, a quarter more
# in the coarse computation.
_READ = ("median", "quantile", "density", "log_density", "cdf")
_READ_FACTOR = 5.0
_STATISTICS = (
    "mean",
    "variance",
    "cumulant",
    "moment",
    "log_moment",
    "log_variance",
    "median",
    "quantile",
    "expect",
    "density",
    "log_density",
    "cdf",
)


@result_schema("gram_density", version=1)
class GramDensity(Result):
    """The exact law of one input's Gram entry: ``density[l]`` for l = 1..L, ``density[-1]`` the output.

    Attributes
    ----------
    network
        What was asked about.
    x
        The input, shape (n_0,).
    """

    def __init__(self, network: Network, x: Array, layers: tuple[GramLayer, ...]) -> None:
        self.network = network
        self.x = x
        self._layers = layers

    def __len__(self) -> int:
        return len(self._layers)

    def __iter__(self) -> Iterator[GramLayer]:
        return iter(self._layers)

    def __getitem__(self, layer: int) -> GramLayer:
        if not isinstance(layer, int) or isinstance(layer, bool):
            raise TypeError(f"layer must be a whole number from 1 to {len(self)}, got {type(layer).__name__}")
        if layer == 0 or layer > len(self) or layer < -len(self):
            raise IndexError(f"layer {layer} does not exist; layers are 1 to {len(self)}, or -1 for the output")
        return self._layers[layer - 1 if layer > 0 else layer]

    @property
    def error(self) -> float:
        """Largest relative error estimate of the mean and the variance over the layers."""
        worst = 0.0
        for layer in self:
            for m in (1, 2):
                value = abs(layer.cumulant(m))
                if value > 1e-14 * layer.mean() ** m:
                    worst = max(worst, layer.error("cumulant", m) / value)
        return worst

    def __repr__(self) -> str:
        return f"GramDensity(depth={len(self)}, {self[-1]!r})"

    def _payload(self) -> Payload:
        arrays: dict[str, Array] = {"x": self.x}
        dims: dict[str, tuple[str, ...]] = {"x": ("component",)}
        panels = []
        for layer in self:
            for kind, law in (("law", layer.law), ("check", layer._check)):
                name = f"layer_{layer.index}/{kind}"
                parts = {"log_sum": law.t, "weight": law.w, "point": law.points, "mass": law.mass}
                for part, values in parts.items():
                    arrays[f"{name}/{part}"] = values
                    what = "node" if part in ("log_sum", "weight") else "atom"
                    dims[f"{name}/{part}"] = (f"{what}_{layer.index}_{kind}",)
                panels.append([law.floor, law.panel])
        return Payload(arrays, {"network": self.network.to_dict(), "panels": panels}, dims)

    @classmethod
    def _from_payload(cls, payload: Payload, activations: Mapping[str, ActivationLike] | None = None) -> GramDensity:
        network = Network.from_dict(payload.meta["network"], activations)
        panels = iter(payload.meta["panels"])
        layers = []
        for number, layer in enumerate(network.layers, start=1):
            laws = []
            for kind in ("law", "check"):
                t, w, points, mass = (
                    np.array(payload.arrays[f"layer_{number}/{kind}/{part}"])
                    for part in ("log_sum", "weight", "point", "mass")
                )
                floor, panel = next(panels)
                laws.append(Law(t, w, points, mass, float(floor), float(panel)))
            layers.append(GramLayer(number, layer.n_in, *laws))
        return cls(network, np.array(payload.arrays["x"]), tuple(layers))


def gram_density(network: Network, x: Any, moments: int = 6) -> GramDensity:
    """The whole law of G^(l) for one input, in every layer, exact at any width from 1 up and for any activation.

    G^(1) = C_b + C_W x.x/n_0, and given G of one layer the next one's is C_b + (C_W/n) sum_i sigma(z_i)^2 with n
    independent z_i ~ N(0, G). Nothing is expanded in 1/n.

    Parameters
    ----------
    network
        A :class:`Network`, as ``rf.mlp`` returns.
    x
        The input, shape (n_0,) or (1, n_0).
    moments
        Highest moment of G whose tail is carried, 1 to 12.

    Returns
    -------
    GramDensity
        ``density[l]`` has the mean, the variance, cumulants, moments of G and of log G, quantiles, density and
        distribution function of layer l, and an error estimate of each.

    Raises
    ------
    TypeError, ValueError
        ``network``, ``x`` or ``moments`` is not of the form above, or the law spreads over more than can be carried.

    Notes
    -----
    Moments, cumulants and log moments come out to about ten digits. The density and the median are read off by
    Fourier inversion in log G and have fewer, above all at widths 1 to 4, where densities have singularities of their
    own; ask ``error``. A density does not see point masses: where sigma^2 is constant on an interval away from 0, as
    for hardtanh, it rings about them, while moments stay exact.
    """
    if not isinstance(network, Network):
        raise TypeError(f"network must be a Network, as rf.mlp returns, got {type(network).__name__}")
    if isinstance(moments, bool) or not isinstance(moments, int) or not 1 <= moments <= 12:
        raise ValueError(f"moments must be a whole number from 1 to 12, got {moments!r}")
    point = _one_input(x, network.widths[0])
    first = network.layers[0]
    start = first.C_b + first.C_W * float(point @ point) / first.n_in
    fine = carry(start, network.layers, FINE, moments)
    coarse = carry(start, network.layers, COARSE, moments)
    layers = tuple(
        GramLayer(number, layer.n_in, law, check)
        for number, (layer, law, check) in enumerate(zip(network.layers, fine, coarse, strict=True), start=1)
    )
    return GramDensity(network, point, layers)


def _one_input(x: Any, n_in: int) -> Array:
    try:
        array = np.asarray(x)
    except (TypeError, ValueError) as error:
        raise TypeError(f"x must be an array of {n_in} numbers: {error}") from None
    if array.dtype.kind not in "fiub":
        raise TypeError(f"x must hold real numbers, got dtype {array.dtype}")
    if array.shape not in ((n_in,), (1, n_in)):
        raise ValueError(
            f"x must be one input, of shape ({n_in},) or (1, {n_in}), got {array.shape}; "
            "for more inputs call repflow.flow"
        )
    point = array.reshape(-1).astype(np.float64)
    if not np.isfinite(point).all():
        raise ValueError("x must be finite, it has a NaN or an infinity")
    return point


def _order(m: int) -> int:
    if isinstance(m, bool) or not isinstance(m, (int, np.integer)) or m < 1:
        raise ValueError(f"m must be a whole number of 1 or more, got {m!r}")
    return int(m)


def _positive(g: Any) -> Array:
    values = np.asarray(g, dtype=np.float64)
    if not (values > 0).all():
        raise ValueError(f"g must be positive, got {float(np.min(values, initial=math.inf))!r}")
    return values
