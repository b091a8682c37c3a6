"""One layer of a flow: the statistics of its preactivations and of its tangent kernel over the networks."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from jaxtyping import Float64
from torch import Tensor

from repflow.recursion.differentials import Differentials
from repflow.recursion.pairs import Pairs
from repflow.recursion.tangent import Tangent

#: Tensors of the NTK's fluctuations, and of its differentials.
FLUCTUATION_NAMES = ("A", "B", "D", "F")
DIFFERENTIAL_NAMES = ("P", "Q", "R", "S", "T", "U")

_FIRST_ORDER = "flow(network, x, order=1)"
_TANGENT = "flow(network, x, tangent=True)"
_TANGENT_FIRST = "flow(network, x, order=1, tangent=True)"
_DIFFERENTIALS = (
    "flow(network, x, order=1, tangent=True, differentials=True) for smooth activations in every layer: they take "
    "sigma to its third derivative"
)
_CALLS = {"vertex": _FIRST_ORDER, "kernel_correction": _FIRST_ORDER, "ntk": _TANGENT, "ntk_correction": _TANGENT_FIRST}
_CALLS |= dict.fromkeys(FLUCTUATION_NAMES, _TANGENT_FIRST) | dict.fromkeys(DIFFERENTIAL_NAMES, _DIFFERENTIALS)


@dataclass(frozen=True, repr=False)
class FlowLayer:
    """The statistics of one layer's preactivations z^(l), and of its tangent kernel, over the networks of the ensemble.

    One network's NTK is H_{ij;ab} = sum_theta lambda_theta dz_{i;a}/dtheta dz_{j;b}/dtheta; below i != j are two
    neurons of the layer. With ",s" the derivative with respect to parameter s, summed over with its lambda,

        dH_{ijk;012}     = z_{i;0},st z_{j;1},s z_{k;2},t               first differential of the NTK (dNTK)
        ddI_{ijkm;0123}  = z_{i;0},stu z_{j;1},s z_{k;2},t z_{m;3},u    second differential (ddNTK), first part
        ddII_{ijkm;1234} = z_{i;1},st z_{j;2},su z_{k;3},t z_{m;4},u    second part

    Attributes
    ----------
    index
        l, from 1 to L.
    n_in
        n_{l-1}, the width whose inverse is the expansion parameter of this layer's statistics.
    n_out
        n_l.
    kernel
        K, the infinite-width kernel E[z_{i;a} z_{i;b}], shape (N, N).
    """

    index: int
    n_in: int
    n_out: int
    kernel: Float64[Tensor, "N N"]
    _vertex: Tensor | None = field(default=None)
    _correction: Tensor | None = field(default=None)
    _ntk: Tensor | None = field(default=None)
    _tangent: Tangent | None = field(default=None)
    _differentials: Differentials | None = field(default=None)

    def _missing(self, name: str) -> AttributeError:
        return AttributeError(f"{name} was not computed; call {_CALLS[name]}")

    @property
    def _pairs(self) -> Pairs:
        return Pairs(len(self.kernel), self.kernel.device)

    @property
    def vertex(self) -> Float64[Tensor, "N N N N"]:
        """V, the four-point vertex: Cov(G_ab, G_cd) = V_abcd/n_{l-1} + O(1/n^2), shape (N, N, N, N).

        The connected four-point function of neurons is E[z_i1 z_i2 z_i3 z_i4]_c = (d_{i1i2} d_{i3i4} V_(12)(34) + 2
        permutations)/n_{l-1} (PDLT equation 4.43).
        """
        if self._vertex is None:
            raise self._missing("vertex")
        return self._pairs.expand_square(self._vertex)

    @property
    def kernel_correction(self) -> Float64[Tensor, "N N"]:
        """G1, the next-to-leading kernel: E[z_a z_b] = K + G1/n_{l-1} + O(1/n^2), shape (N, N) (PDLT section 4.3)."""
        if self._correction is None:
            raise self._missing("kernel_correction")
        return self._pairs.expand(self._correction)

    @property
    def ntk(self) -> Float64[Tensor, "N N"]:
        """Theta, the infinite-width neural tangent kernel, shape (N, N) (PDLT equation 9.5)."""
        if self._ntk is None:
            raise self._missing("ntk")
        return self._ntk

    def _of_tangent(self, name: str) -> Tangent:
        if self._tangent is None:
            raise self._missing(name)
        return self._tangent

    def _of_differentials(self, name: str) -> Tensor:
        if self._differentials is None:
            raise self._missing(name)
        found: Tensor = getattr(self._differentials, name)
        return found

    @property
    def ntk_correction(self) -> Float64[Tensor, "N N"]:
        """H1, the next-to-leading NTK: E[H_{ii;ab}] = Theta + H1/n_{l-1} + O(1/n^2), shape (N, N)."""
        return self._of_tangent("ntk_correction").correction

    @property
    def A(self) -> Float64[Tensor, "N N N N"]:
        """A_1234, axes 1, 2, 3, 4: Cov(H_{ii;12}, H_{jj;34}) = A_1234/n_{l-1} (PDLT section 8.2)."""
        return self._pairs.expand_square(self._of_tangent("A").A)

    @property
    def B(self) -> Float64[Tensor, "N N N N"]:
        """B_1324, axes 1, 3, 2, 4: Cov(H_{ij;12}, H_{ij;34}) = B_1324/n_{l-1} (PDLT section 8.2)."""
        return self._of_tangent("B").B

    @property
    def D(self) -> Float64[Tensor, "N N N N"]:
        """D_1234, axes 1, 2, 3, 4: Cov(z_{i;1} z_{i;2}, H_{jj;34}) = D_1234/n_{l-1} (PDLT section 8.2)."""
        return self._pairs.expand_square(self._of_tangent("D").D)

    @property
    def F(self) -> Float64[Tensor, "N N N N"]:
        """F_1324, axes 1, 3, 2, 4: Cov(z_{i;1} z_{j;2}, H_{ij;34}) = F_1324/n_{l-1} (PDLT section 8.2)."""
        return self._of_tangent("F").F

    @property
    def P(self) -> Float64[Tensor, "N N N N"]:
        """P_0123: E[dH_{ijj;012} z_{i;3}] = P_0123/n_{l-1} (PDLT section 11.2)."""
        return self._of_differentials("P")

    @property
    def Q(self) -> Float64[Tensor, "N N N N"]:
        """Q_0123: E[dH_{iij;012} z_{j;3}] = Q_0123/n_{l-1} (PDLT section 11.2)."""
        return self._of_differentials("Q")

    @property
    def R(self) -> Float64[Tensor, "N N N N"]:
        """R_0123: E[ddI_{iijj;0123}] = R_0123/n_{l-1}."""
        return self._of_differentials("R")

    @property
    def S(self) -> Float64[Tensor, "N N N N"]:
        """S_1234: E[ddII_{iijj;1234}] = S_1234/n_{l-1}."""
        return self._of_differentials("S")

    @property
    def T(self) -> Float64[Tensor, "N N N N"]:
        """T_1324, axes 1, 3, 2, 4: E[ddII_{ijij;1234}] = T_1324/n_{l-1}."""
        return self._of_differentials("T")

    @property
    def U(self) -> Float64[Tensor, "N N N N"]:
        """U_1423, axes 1, 4, 2, 3: E[ddII_{ijji;1234}] = U_1423/n_{l-1}."""
        return self._of_differentials("U")

    @property
    def order(self) -> int:
        """The highest order computed."""
        return 0 if self._vertex is None else 1

    def _order(self, order: int | None) -> int:
        if order is None:
            return self.order
        if order not in (0, 1):
            raise ValueError(f"order must be 0 or 1, got {order!r}")
        if order > self.order:
            raise self._missing("vertex")
        return order

    def mean_kernel(self, order: int | None = None) -> Float64[Tensor, "N N"]:
        """E[G^(l)] = E[z_a z_b] with the widths put in: K, or K + G1/n_{l-1}; shape (N, N).

        Parameters
        ----------
        order
            0 or 1; None for the highest computed.
        """
        return self.kernel if self._order(order) == 0 else self.kernel + self.kernel_correction / self.n_in

    def kernel_covariance(self, order: int | None = None) -> Float64[Tensor, "N N N N"]:
        """Cov(G_ab, G_cd) between networks: 0, or V/n_{l-1}; shape (N, N, N, N)."""
        n = len(self.kernel)
        return self.kernel.new_zeros(n, n, n, n) if self._order(order) == 0 else self.vertex / self.n_in

    def mean_ntk(self, order: int | None = None) -> Float64[Tensor, "N N"]:
        """E[H_{ii;ab}] with the widths put in: Theta, or Theta + H1/n_{l-1}; shape (N, N)."""
        return self.ntk if self._order(order) == 0 else self.ntk + self.ntk_correction / self.n_in

    @property
    def statistics(self) -> tuple[str, ...]:
        """Names that :meth:`statistic` knows, by what was computed."""
        names = ["mean_kernel"]
        if self.order:
            names.append("kernel_covariance")
        if self._ntk is not None and (self._tangent is not None or not self.order):
            names.append("mean_ntk")
        if self._tangent is not None:
            names.extend(FLUCTUATION_NAMES)
        if self._differentials is not None:
            names.extend(DIFFERENTIAL_NAMES)
        return tuple(names)

    def statistic(self, name: str, order: int | None = None) -> Tensor:
        """A statistic of the ensemble by name, with the widths put in.

        Parameters
        ----------
        name
            ``mean_kernel``, ``kernel_covariance``, ``mean_ntk``, or one of A, B, D, F, P, Q, R, S, T, U: the tensor
            over n_{l-1} at order 1, zero at order 0.
        order
            0 or 1; None for the highest computed.

        Returns
        -------
        Tensor
            Shape (N, N) for the means, else (N, N, N, N).
        """
        if name in ("mean_kernel", "kernel_covariance", "mean_ntk"):
            found: Tensor = getattr(self, name)(order)
            return found
        if name not in FLUCTUATION_NAMES + DIFFERENTIAL_NAMES:
            raise ValueError(f"name must be one of {', '.join(self.statistics)}, got {name!r}")
        values: Tensor = getattr(self, name)
        return values / self.n_in if self._order(order) else torch.zeros_like(values)

    def _variances(self) -> Tensor:
        """V_aaaa, shape (N,)."""
        if self._vertex is None:
            raise self._missing("vertex")
        own = self._pairs.index.diagonal()
        return self._vertex[own, own]

    def excess_kurtosis(self, order: int | None = None) -> Float64[Tensor, " N"]:
        """E[z^4]/E[z^2]^2 - 3 of a preactivation, one for each input: 0, or 3 V_aaaa/(n_{l-1} K_aa^2); shape (N,).

        It is 0 where K_aa is 0.
        """
        variance = self.kernel.diagonal()
        if self._order(order) == 0:
            return torch.zeros_like(variance)
        return torch.where(variance > 0, 3 * self._variances() / (self.n_in * variance**2), 0.0)

    @property
    def relative_fluctuation(self) -> float:
        """r_l = max_a V_aaaa/(n_{l-1} K_aa^2), the relative variance of a squared preactivation's scale between
        networks.

        Order 1 is to be trusted up to about 0.3. It is infinite where a kernel that vanishes fluctuates, and tends to
        nu (l - 1)/n at criticality.
        """
        variance = self.kernel.diagonal()
        spread = self._variances() / self.n_in
        if bool(((variance <= 0) & (spread > 0)).any()):
            return math.inf
        return float(torch.where(variance > 0, spread / variance.clamp(min=1e-300) ** 2, 0.0).max())

    def __repr__(self) -> str:
        parts = [f"layer {self.index}", f"n_in={self.n_in}", f"K_aa={span(self.kernel.diagonal())}"]
        if self._correction is not None:
            parts.append(f"r={self.relative_fluctuation:.3g}")
        return f"FlowLayer({', '.join(parts)})"


def span(values: Tensor) -> str:
    """Smallest and largest value in four digits."""
    low, high = float(values.min()), float(values.max())
    return f"{low:.4g}" if low == high else f"{low:.4g}..{high:.4g}"
