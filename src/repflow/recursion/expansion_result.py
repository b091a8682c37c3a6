"""``Expansion``: the cumulants of the Gram matrix to any order, as a result."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor

from repflow.activation import ActivationLike
from repflow.network import LayerMaps, Network
from repflow.recursion.expansion_algebra import Array, Monomials
from repflow.recursion.expansion_resummation import METHODS, borel, exponential_form, log_cumulants, pade
from repflow.results import Payload, Result, result_schema


class ExpansionLayer:
    """Joint cumulants of the entries of G^(l), order by order in 1/n.

    Attributes
    ----------
    index, n_in
        l and n_{l-1}.
    order
        Highest order of 1/n.
    """

    def __init__(self, index: int, n_in: int, kernel: Array, cumulants: Array, rounding: Array) -> None:
        self.index = index
        self.n_in = n_in
        self.order = cumulants.shape[1] - 1
        self._kernel = kernel
        self._cumulants = cumulants  # of G - K, over a!, by monomial and power of 1/n with the widths put in
        self._rounding = rounding
        self._inputs = len(kernel)
        self._monomials = Monomials(self._inputs * (self._inputs + 1) // 2, self.order + 1)

    @property
    def kernel(self) -> Tensor:
        """K, the infinite-width kernel, shape (N, N)."""
        return torch.from_numpy(self._kernel.copy())

    def terms(self, m: int) -> Tensor:
        """What each order adds to the m-th cumulant, widths put in: shape (order + 1,) + (N, N) * m.

        The first m - 1 are zero; for m = 1 the first is K.
        """
        found = self._tensor(self._cumulants, m)
        if m == 1:
            found[0] = self._kernel
        return torch.from_numpy(found)

    def rounding(self, m: int) -> Tensor:
        """What another quadrature changes in :meth:`terms`: an estimate of their rounding error, same shape."""
        return torch.from_numpy(self._tensor(self._rounding, m))

    def _tensor(self, by_monomial: Array, m: int) -> Array:
        _check_cumulant(m, self.order)
        n = self._inputs
        found = np.zeros((self.order + 1, *(n,) * (2 * m)))
        for place in product(range(n), repeat=2 * m):
            exponents = [0] * self._monomials.variables
            for a, b in zip(place[::2], place[1::2], strict=True):
                exponents[0 if n == 1 else a + b] += 1  # (0, 0), (0, 1), (1, 1) are entries 0, 1, 2
            number = self._monomials.index[tuple(exponents)]
            entries: tuple[Any, ...] = (slice(None), *place)
            found[entries] = by_monomial[number] * self._monomials.factorials[number]
        return found

    def coefficients(self, m: int) -> Tensor:
        """c_j with the m-th cumulant sum_j c_j/n_{l-1}^j; as ``terms``. For m = 1: K, G1, G2; m = 2: 0, V, V1; ..."""
        found = self.terms(m)
        scale = float(self.n_in) ** torch.arange(self.order + 1, dtype=torch.float64)
        return found * scale.reshape(-1, *(1,) * (2 * m))

    def cumulant(self, m: int, order: int | None = None) -> Tensor:
        """The m-th joint cumulant of G_ab, G_cd, ..., shape (N, N) * m.

        Parameters
        ----------
        m
            1 for the mean, 2 for the covariance, ..., up to the highest order + 1.
        order
            Order of 1/n at which it is cut; None for the highest.
        """
        return self.terms(m)[: self._cut(order) + 1].sum(0)

    def mean(self, order: int | None = None) -> Tensor:
        """E[G_ab], shape (N, N)."""
        return self.cumulant(1, order)

    def variance(self, order: int | None = None) -> Tensor:
        """Var G_ab, shape (N, N)."""
        covariance = self.cumulant(2, order)
        return torch.einsum("abab->ab", covariance).clone()

    def kernel_covariance(self, order: int | None = None) -> Tensor:
        """Cov(G_ab, G_cd), shape (N, N, N, N)."""
        return self.cumulant(2, order)

    def best_order(self, m: int) -> int:
        """The order at which the m-th cumulant is best cut: before its terms start to grow, ``order`` if none does.

        An asymptotic series errs by about its first term left out, so it is best cut at its smallest term.
        """
        sizes = self.terms(m).reshape(self.order + 1, -1).abs().amax(1).tolist()
        start = m - 1
        for j in range(start + 1, self.order + 1):
            if j > start + 1 and sizes[j] >= sizes[j - 1] > 0.0:
                return j - 2 if j - 2 >= start else start
        return self.order

    def ratios(self, m: int) -> Tensor:
        """Each term's size over the last one's, for the m-th cumulant from order m - 1 on; shape (order - m + 1,)."""
        sizes = self.terms(m).reshape(self.order + 1, -1).abs().amax(1)[m - 1 :]
        return sizes[1:] / sizes[:-1]

    def resummed(self, m: int, method: str = "exponential", order: int | None = None, entry: int = 0) -> float:
        """The m-th cumulant of G_aa by another sum of the same coefficients.

        Parameters
        ----------
        m
            1 or more.
        method
            ``"exponential"`` cuts log E[G^j] at the order, ``"pade"`` takes the Padé approximant, ``"borel"`` that of
            the Borel transform, and ``"truncated"`` is the plain sum.
        order
            Of the terms used; None for the highest.
        entry
            a.

        Returns
        -------
        float
            NaN where the approximant does not exist.
        """
        if method not in METHODS:
            raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
        _check_cumulant(m, self.order)
        cut = self._cut(order)
        kernel, marginal = self._marginal(entry)
        if method == "exponential":
            return exponential_form(marginal, kernel, m, cut) if kernel > 0 else 0.0
        series = marginal[m] * math.factorial(m)
        if m == 1:
            series = series.copy()
            series[0] = kernel
        tail = series[m - 1 : cut + 1]
        if method == "truncated" or not len(tail):
            return float(tail.sum())
        return pade(tail) if method == "pade" else borel(tail)

    def log_cumulant(self, m: int, order: int | None = None, entry: int = 0) -> float:
        """The m-th cumulant of log G_aa: m = 1 is E[log G_aa], the logarithm of the typical network's G."""
        _check_cumulant(m, self.order)
        kernel, marginal = self._marginal(entry)
        if kernel <= 0.0:
            return -math.inf if m == 1 else math.nan
        series = log_cumulants(marginal, kernel)[m] * math.factorial(m)
        return float(series[: self._cut(order) + 1].sum()) + (math.log(kernel) if m == 1 else 0.0)

    def _marginal(self, entry: int) -> tuple[float, Array]:
        """K_aa and the cumulants of G_aa - K_aa over m!, shape (order + 2, order + 1)."""
        if isinstance(entry, bool) or not isinstance(entry, int) or not 0 <= entry < self._inputs:
            raise ValueError(f"entry must be a whole number from 0 to {self._inputs - 1}, got {entry!r}")
        rows = [(m,) if self._inputs == 1 else ((m, 0, 0) if entry == 0 else (0, 0, m)) for m in range(self.order + 2)]
        return float(self._kernel[entry, entry]), self._cumulants[[self._monomials.index[row] for row in rows]]

    def _cut(self, order: int | None) -> int:
        if order is None:
            return self.order
        if isinstance(order, bool) or not isinstance(order, (int, np.integer)) or not 0 <= order <= self.order:
            raise ValueError(
                f"order must be a whole number from 0 to {self.order}, got {order!r}; "
                f"repflow.recursion.expansion.expansion(network, x, order=...) computes higher ones"
            )
        return int(order)

    def __repr__(self) -> str:
        return f"ExpansionLayer(layer {self.index}, n_in={self.n_in}, inputs={self._inputs}, order={self.order})"


def _check_cumulant(m: int, order: int) -> None:
    if isinstance(m, bool) or not isinstance(m, (int, np.integer)) or not 1 <= m <= order + 1:
        raise ValueError(
            f"m must be a whole number from 1 to {order + 1}, the highest cumulant of order {order}, got {m!r}"
        )


@result_schema("expansion", version=1)
class Expansion(Result):
    """Cumulants of the Gram matrix to any order: ``expansion[l]`` for l = 1..L, ``expansion[-1]`` the output.

    Attributes
    ----------
    network
        What was asked about.
    x
        Inputs, shape (N, n_0), N = 1 or 2.
    order
        Highest order of 1/n.
    unresolved
        Largest share of a derivative in the kernel that its series left out.
    """

    def __init__(
        self, network: LayerMaps, x: Tensor, layers: tuple[ExpansionLayer, ...], order: int, unresolved: float
    ) -> None:
        self.network = network
        self.x = x
        self._layers = layers
        self.order = order
        self.unresolved = unresolved

    def __len__(self) -> int:
        return len(self._layers)

    def __iter__(self) -> Iterator[ExpansionLayer]:
        return iter(self._layers)

    def __getitem__(self, layer: int) -> ExpansionLayer:
        if not isinstance(layer, int) or isinstance(layer, bool):
            raise TypeError(f"layer must be a whole number from 1 to {len(self)}, got {type(layer).__name__}")
        if layer == 0 or layer > len(self) or layer < -len(self):
            raise IndexError(f"layer {layer} does not exist; layers are 1 to {len(self)}, or -1 for the output")
        return self._layers[layer - 1 if layer > 0 else layer]

    def __repr__(self) -> str:
        return f"Expansion(depth={len(self)}, inputs={len(self.x)}, order={self.order})"

    def _payload(self) -> Payload:
        if not isinstance(self.network, Network):
            kind = type(self.network).__name__
            raise TypeError(f"only the expansion of a Network can be saved, this one is of a {kind}")
        arrays = {
            "x": self.x.numpy(),
            "kernel": np.stack([layer._kernel for layer in self]),
            "cumulants": np.stack([layer._cumulants for layer in self]),
            "rounding": np.stack([layer._rounding for layer in self]),
        }
        series = ("layer", "monomial", "power")
        dims = {
            "x": ("input", "component"),
            "kernel": ("layer", "a", "b"),
            "cumulants": series,
            "rounding": series,
        }
        meta = {"network": self.network.to_dict(), "order": self.order, "unresolved": self.unresolved}
        return Payload(arrays, meta, dims)

    @classmethod
    def _from_payload(cls, payload: Payload, activations: Mapping[str, ActivationLike] | None = None) -> Expansion:
        network = Network.from_dict(payload.meta["network"], activations)
        arrays: dict[str, Any] = {name: np.array(values) for name, values in payload.arrays.items()}
        layers = tuple(
            ExpansionLayer(
                number + 1,
                layer.n_in,
                arrays["kernel"][number],
                arrays["cumulants"][number],
                arrays["rounding"][number],
            )
            for number, layer in enumerate(network.layers)
        )
        return cls(
            network,
            torch.from_numpy(arrays["x"]),
            layers,
            int(payload.meta["order"]),
            float(payload.meta["unresolved"]),
        )
