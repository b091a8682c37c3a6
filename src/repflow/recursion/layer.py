"""One layer of a flow: the statistics of its preactivations and of its tangent kernel over the networks."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from repflow.distribution import GramCumulants, NeuralDistribution
from repflow.recursion.differentials import Differentials
from repflow.recursion.expansion_result import ExpansionLayer
from repflow.recursion.memory import require
from repflow.recursion.pairs import Pairs, unpack
from repflow.recursion.second_order import SecondOrder
from repflow.recursion.tangent import Tangent

#: Tensors of the NTK's fluctuations, and of its differentials.
FLUCTUATION_NAMES = ("A", "B", "D", "F")
DIFFERENTIAL_NAMES = ("P", "Q", "R", "S", "T", "U")

_FIRST_ORDER = "flow(network, x, order=1)"
_SECOND_ORDER = "flow(network, x, order=2)"
_TANGENT = "flow(network, x, tangent=True)"
_TANGENT_FIRST = "flow(network, x, order=1, tangent=True)"
_DIFFERENTIALS = (
    "flow(network, x, order=1, tangent=True, differentials=True) for smooth activations in every layer: they take "
    "sigma to its third derivative"
)
_CALLS = {"vertex": _FIRST_ORDER, "kernel_correction": _FIRST_ORDER, "ntk": _TANGENT, "ntk_correction": _TANGENT_FIRST}
_CALLS |= dict.fromkeys(("sextic", "vertex_correction", "kernel_correction2"), _SECOND_ORDER)
_CALLS["expansion"] = "flow(network, x, order=3) or higher, for one or two inputs"
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
    _second: SecondOrder | None = field(default=None)
    _expansion: ExpansionLayer | None = field(default=None)

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

    def _of_second(self, name: str) -> SecondOrder:
        if self._second is None:
            raise self._missing(name)
        return self._second

    @property
    def sextic(self) -> Float64[Tensor, "N N N N N N"]:
        """X, the six-point vertex: the third joint cumulant of G_ab, G_cd, G_ef is X_abcdef/n_{l-1}^2 + O(1/n^3).

        Axes a to f, shape (N, N, N, N, N, N).
        """
        index, count = self._pairs.index, self._pairs.count
        entries = unpack(self._of_second("sextic").sextic, count)
        return entries[index[:, :, None, None, None, None], index[:, :, None, None], index]

    @property
    def vertex_correction(self) -> Float64[Tensor, "N N N N"]:
        """V1: Cov(G_ab, G_cd) = V/n_{l-1} + V1/n_{l-1}^2 + O(1/n^3), shape (N, N, N, N)."""
        return self._pairs.expand_square(self._of_second("vertex_correction").vertex_correction)

    @property
    def kernel_correction2(self) -> Float64[Tensor, "N N"]:
        """G2: E[z_a z_b] = K + G1/n_{l-1} + G2/n_{l-1}^2 + O(1/n^3), shape (N, N)."""
        return self._pairs.expand(self._of_second("kernel_correction2").correction)

    @property
    def expansion(self) -> ExpansionLayer:
        """All joint cumulants of G_ab, order by order: their terms, other sums of them, best orders.

        From order 3 on, which one or two inputs have; on the CPU.
        """
        if self._expansion is None:
            raise self._missing("expansion")
        return self._expansion

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
        if self._expansion is not None:
            return self._expansion.order
        if self._second is not None:
            return 2
        return 0 if self._vertex is None else 1

    def _order(self, order: int | None, most: int | None = None) -> int:
        known = self.order if most is None else min(self.order, most)
        if order is None:
            return known
        if isinstance(order, bool) or not isinstance(order, (int, np.integer)) or order < 0:
            raise ValueError(f"order must be a whole number of 0 or more, got {order!r}")
        if most is not None and order > most:
            allowed = "0 or 1 for the tangent kernel" if most == 1 else "0, 1 or 2 here"
            raise ValueError(f"order must be {allowed}, got {order}")
        if order > known:
            few = ", which one or two inputs have" if order > 2 else ""
            raise AttributeError(f"order {order} was not computed; call flow(network, x, order={order}){few}")
        return int(order)

    def cumulant(self, m: int, order: int | None = None) -> Float64[Tensor, ...]:
        """The m-th joint cumulant of G_ab, G_cd, ... between networks, widths put in; shape (N, N) * m.

        Parameters
        ----------
        m
            1 for the mean, 2 for the covariance, ...: up to 3, and from order 3 on up to the highest order + 1. It is
            of order 1/n^(m-1).
        order
            Order of 1/n at which it is cut; None for the highest computed.

        Raises
        ------
        ValueError
            ``m`` or ``order`` is out of its range.
        """
        most = max(self.order, 2) + 1
        if isinstance(m, bool) or m not in range(1, most + 1):
            raise ValueError(f"m must be a whole number from 1 to {most}, got {m!r}")
        if m <= 3:
            return (self.mean_kernel, self.kernel_covariance, self.kernel_third_cumulant)[m - 1](order)
        return self._beyond(m, self._order(order))

    def _beyond(self, m: int, order: int) -> Tensor:
        return self.expansion.cumulant(m, order).to(self.kernel.device)

    def mean_kernel(self, order: int | None = None) -> Float64[Tensor, "N N"]:
        """E[G^(l)] = E[z_a z_b] with the widths put in: K + G1/n_{l-1} + G2/n_{l-1}^2 + ..., cut at the order; (N, N).

        Parameters
        ----------
        order
            0, 1, 2, ...; None for the highest computed.
        """
        order = self._order(order)
        if order > 2:
            return self._beyond(1, order)
        found = self.kernel
        if order >= 1:
            found = found + self.kernel_correction / self.n_in
        return found + self.kernel_correction2 / self.n_in**2 if order == 2 else found

    def kernel_covariance(self, order: int | None = None) -> Float64[Tensor, "N N N N"]:
        """Cov(G_ab, G_cd) between networks: 0, V/n_{l-1}, V/n_{l-1} + V1/n_{l-1}^2, ...; shape (N, N, N, N)."""
        order, n = self._order(order), len(self.kernel)
        if order > 2:
            return self._beyond(2, order)
        if order == 0:
            return self.kernel.new_zeros(n, n, n, n)
        found = self.vertex / self.n_in
        return found + self.vertex_correction / self.n_in**2 if order == 2 else found

    def kernel_third_cumulant(self, order: int | None = None) -> Float64[Tensor, "N N N N N N"]:
        """Third joint cumulant of G_ab, G_cd, G_ef between networks: 0 at orders 0 and 1, X/n_{l-1}^2 at order 2, ...;
        N^6 entries.
        """
        order = self._order(order)
        if order > 2:
            return self._beyond(3, order)
        if order < 2:
            return self.kernel.new_zeros((len(self.kernel),) * 6)
        return self.sextic / self.n_in**2

    def third_cumulant(self, order: int | None = None) -> Float64[Tensor, "N N N N N N"]:
        """The same as :meth:`kernel_third_cumulant`."""
        return self.kernel_third_cumulant(order)

    def own_third_cumulant(self, order: int | None = None) -> Float64[Tensor, " N"]:
        """Third cumulant of G_aa for each input, the diagonal of :meth:`kernel_third_cumulant` without its N^6 entries;
        shape (N,).
        """
        order = self._order(order)
        if order > 2:
            return torch.einsum("aaaaaa->a", self._beyond(3, order)).clone()
        if order < 2:
            return torch.zeros_like(self.kernel.diagonal())
        own = self._pairs.index.diagonal()
        entries = unpack(self._of_second("sextic").sextic, self._pairs.count)
        return entries[own, own, own] / self.n_in**2

    def mean_ntk(self, order: int | None = None) -> Float64[Tensor, "N N"]:
        """E[H_{ii;ab}] with the widths put in: Theta, or Theta + H1/n_{l-1}, its highest order; shape (N, N)."""
        return self.ntk if self._order(order, most=1) == 0 else self.ntk + self.ntk_correction / self.n_in

    @property
    def statistics(self) -> tuple[str, ...]:
        """Names that :meth:`statistic` knows, by what was computed."""
        names = ["mean_kernel"]
        if self.order:
            names.append("kernel_covariance")
        if self._second is not None:
            names.append("kernel_third_cumulant")
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
            ``mean_kernel``, ``kernel_covariance``, ``kernel_third_cumulant``, ``mean_ntk``, or one of A, B, D, F, P, Q,
            R, S, T, U: the tensor over n_{l-1} at order 1, zero at order 0.
        order
            0, 1, 2, ..., for the tangent kernel 0 or 1; None for the highest computed.

        Returns
        -------
        Tensor
            Shape (N, N) for the means, (N, N, N, N, N, N) for the third cumulant, else (N, N, N, N).
        """
        if name in ("mean_kernel", "kernel_covariance", "kernel_third_cumulant", "mean_ntk"):
            found: Tensor = getattr(self, name)(order)
            return found
        if name not in FLUCTUATION_NAMES + DIFFERENTIAL_NAMES:
            raise ValueError(f"name must be one of {', '.join(self.statistics)}, got {name!r}")
        values: Tensor = getattr(self, name)
        return values / self.n_in if self._order(order, most=1) else torch.zeros_like(values)

    def _variances(self) -> Tensor:
        """V_aaaa, shape (N,)."""
        if self._vertex is None:
            raise self._missing("vertex")
        own = self._pairs.index.diagonal()
        return self._vertex[own, own]

    def excess_kurtosis(self, order: int | None = None) -> Float64[Tensor, " N"]:
        """E[z^4]/E[z^2]^2 - 3 = 3 Var G_aa/(E G_aa)^2 of a preactivation, one for each input, expanded in 1/n.

        0, then 3 V_aaaa/(n_{l-1} K_aa^2), then with 3 (V1_aaaa - 2 V_aaaa G1_aa/K_aa)/(n_{l-1} K_aa)^2; shape (N,). It
        is 0 where K_aa is 0. Order 2 is its highest.
        """
        order = self._order(order, most=2)
        variance = self.kernel.diagonal()
        if order == 0:
            return torch.zeros_like(variance)
        own = self._pairs.index.diagonal()
        found = self._variances() / self.n_in
        if order == 2:
            second = self._of_second("vertex_correction").vertex_correction[own, own]
            shift = 2 * self._variances() * self.kernel_correction.diagonal() / variance.clamp(min=1e-300)
            found = found + (second - shift) / self.n_in**2
        return torch.where(variance > 0, 3 * found / variance**2, 0.0)

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

    def distribution(self, neurons: int = 1) -> NeuralDistribution:
        """The distribution over networks of some of this layer's neurons on all inputs, to the order computed or 2.

        Parameters
        ----------
        neurons
            m, from 1 to n_l.

        Returns
        -------
        NeuralDistribution
            Its density and log density at every order computed, couplings, moments, marginals and draws (PDLT chapter
            4).

        Raises
        ------
        ValueError
            The layer does not have that many neurons.
        """
        if isinstance(neurons, bool) or not isinstance(neurons, (int, np.integer)) or not 1 <= neurons <= self.n_out:
            raise ValueError(f"neurons must be a whole number from 1 to {self.n_out}, got {neurons!r}")
        neurons = int(neurons)
        if self.order >= 2:
            # X, X/n^2, X in coordinates in which K = 1, and the two tensors that the corrections make of it.
            require(
                5 * 8 * len(self.kernel) ** 6,
                f"the distribution at order 2 on {len(self.kernel)} inputs",
                "take fewer inputs, or a flow of order 1",
            )
        n, found = self.n_in, GramCumulants(self.kernel)
        if self.order >= 1:
            found = replace(found, mean1=self.kernel_correction / n, covariance1=self.vertex / n)
        if self.order >= 2:
            found = replace(
                found,
                mean2=self.kernel_correction2 / n**2,
                covariance2=self.vertex_correction / n**2,
                third=self.sextic / n**2,
            )
        return NeuralDistribution(self.index, neurons, found)

    def __repr__(self) -> str:
        parts = [f"layer {self.index}", f"n_in={self.n_in}", f"K_aa={span(self.kernel.diagonal())}"]
        if self._correction is not None:
            parts.append(f"r={self.relative_fluctuation:.3g}")
        return f"FlowLayer({', '.join(parts)})"


def span(values: Tensor) -> str:
    """Smallest and largest value in four digits."""
    low, high = float(values.min()), float(values.max())
    return f"{low:.4g}" if low == high else f"{low:.4g}..{high:.4g}"
