"""Estimates from the ensemble's sums: a value, a standard error, and the scatter of independent groups, for every
statistic.

A statistic is a smooth function of averages over networks. Its influence, the first-order change that one group of
networks makes in it, is averaged by group; the scatter of those averages gives the covariance of all components (the
delta method).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from repflow.ensemble.arithmetic import Array
from repflow.ensemble.group_sums import GroupSums
from repflow.ensemble.layout import Index, Layout


@dataclass(frozen=True)
class Estimate:
    """One statistic of one layer, by its independent components.

    Attributes
    ----------
    index
        (C, r): the inputs that each component belongs to.
    value
        (C,).
    influence
        (groups, C): change that each group of networks makes, with weighted mean zero.
    counts
        (groups,) networks in each group.
    exact_covariance
        (C, C) covariance of ``value`` from single networks, where that is at hand; else the groups give it.
    """

    index: Index
    value: Array
    influence: Array
    counts: Array
    exact_covariance: Array | None = None

    @property
    def independent(self) -> int:
        """Independent samples behind :meth:`covariance`."""
        return int(self.counts.sum()) if self.exact_covariance is not None else len(self.counts)

    def covariance(self) -> Array:
        """Covariance of the components of ``value``, shape (C, C); NaN where there is one sample only."""
        if self.exact_covariance is not None:
            return self.exact_covariance
        groups = len(self.counts)
        if groups < 2:
            return np.full((len(self.value),) * 2, np.nan)
        # E n_g (y_g - mean)^2 is one network's variance times (1 - n_g/M), so that the sum over g - 1 is unbiased
        scatter = np.einsum("gi,gj->ij", self.influence * self.counts[:, None], self.influence) / (groups - 1)
        return np.asarray(scatter / self.counts.sum())

    def stderr(self) -> Array:
        """Standard error of each component, shape (C,)."""
        if self.exact_covariance is not None:
            return np.sqrt(np.diagonal(self.exact_covariance))
        groups = len(self.counts)
        if groups < 2:
            return np.full(len(self.value), np.nan)
        scatter = (self.influence**2 * self.counts[:, None]).sum(axis=0) / (groups - 1)
        return np.asarray(np.sqrt(scatter / self.counts.sum()))


@dataclass(frozen=True)
class LayerSums(GroupSums[Layout]):
    """Group averages of the features of one layer's preactivations."""

    def _pairs_index(self) -> Index:
        return np.stack([self.layout.pair_a, self.layout.pair_b], axis=1)

    def _second(self) -> Array:
        """Central second moments of G about the ensemble's mean, (P(P+1)/2,), without the bias correction."""
        mean, layout = self.mean["first"], self.layout
        return np.asarray(self.mean["second"] - mean[layout.second_p] * mean[layout.second_q])

    def mean_kernel(self) -> Estimate:
        """E[G_ab], a <= b."""
        mean = self.mean["first"]
        networks = self.networks
        covariance = self._second()[self.layout.second_of] / (networks - 1.0 if networks > 1 else np.nan)
        covariance[np.diag_indices(len(mean))] = covariance.diagonal().clip(min=0.0)
        return Estimate(self._pairs_index(), self.centre + mean, self.by_group["first"] - mean, self.counts, covariance)

    def kernel_covariance(self) -> Estimate:
        """Cov(G_ab, G_cd) with networks - 1 in the denominator."""
        layout, mean, group = self.layout, self.mean["first"], self.by_group["first"]
        p, q = layout.second_p, layout.second_q
        value = self._second()
        influence = self.by_group["second"] - mean[p] * group[:, q] - group[:, p] * mean[q] + mean[p] * mean[q] - value
        pairs = self._pairs_index()
        index = np.concatenate([pairs[p], pairs[q]], axis=1)
        unbiased = value * (self.networks / (self.networks - 1.0) if self.networks > 1 else np.nan)
        return Estimate(index, unbiased, influence, self.counts)

    def kernel_third_cumulant(self) -> Estimate:
        """Third joint cumulant of G_ab, G_cd, G_ef for the sextuples measured (the unbiased k-statistic)."""
        layout, mean, group = self.layout, self.mean["first"], self.by_group["first"]
        if not layout.sextuples:
            raise AttributeError(
                "kernel_third_cumulant was not measured; sample(..., six_point=[(a, b, c, d, e, f), ...]) does"
            )
        second, group_second = self.mean["second"], self.by_group["second"]
        value = self.mean["third"].copy()
        influence = self.by_group["third"].copy()
        i, j, k = layout.third
        triple = mean[i] * mean[j] * mean[k]
        for a, b, c in ((i, j, k), (j, i, k), (k, i, j)):
            rest = layout.second_of[b, c]
            value -= mean[a] * second[rest]
            covariance = second[rest] - mean[b] * mean[c]
            influence += mean[b] * mean[c] * group[:, a] - mean[a] * group_second[:, rest]
            influence -= covariance * (group[:, a] - mean[a])
        value += 2.0 * triple
        influence -= triple + value
        m = self.networks
        unbiased = value * (m * m / ((m - 1.0) * (m - 2.0)) if m > 2 else np.nan)
        return Estimate(np.array(layout.sextuples, dtype=np.intp), unbiased, influence, self.counts)

    def second_moment(self) -> Estimate:
        """E[z_a z_b] of one neuron, from z drawn."""
        mean = self.mean["square"]
        return Estimate(self._pairs_index(), mean, self.by_group["square"] - mean, self.counts)

    def fourth_moment(self) -> Estimate:
        """E[z_a z_b z_c z_d] of one neuron, from z drawn."""
        mean = self.mean["fourth"]
        return Estimate(self.layout.quads.T.copy(), mean, self.by_group["fourth"] - mean, self.counts)

    def excess_kurtosis(self) -> Estimate:
        """E[z_a^4] / E[z_a^2]^2 - 3 of one neuron; NaN where z vanishes."""
        layout = self.layout
        inputs = np.arange(layout.n)
        diagonal = layout.pair_of[inputs, inputs]
        quads = np.flatnonzero((layout.quads == layout.quads[0]).all(axis=0))
        two, four = self.mean["square"][diagonal], self.mean["fourth"][quads]
        with np.errstate(divide="ignore", invalid="ignore"):
            influence = (self.by_group["fourth"][:, quads] - four) / two**2
            influence = influence - 2.0 * four / two**3 * (self.by_group["square"][:, diagonal] - two)
            value = four / two**2 - 3.0
        return Estimate(inputs[:, None], value, influence, self.counts)


ESTIMATES: dict[str, Callable[[LayerSums], Estimate]] = {
    "mean_kernel": LayerSums.mean_kernel,
    "kernel_covariance": LayerSums.kernel_covariance,
    "kernel_third_cumulant": LayerSums.kernel_third_cumulant,
    "second_moment": LayerSums.second_moment,
    "fourth_moment": LayerSums.fourth_moment,
    "excess_kurtosis": LayerSums.excess_kurtosis,
}
"""Statistics by their public name."""


def assemble(layout: Layout, name: str, components: Array) -> Array:
    """Components of the statistic ``name`` to the tensor that the user sees, symmetric entries filled in."""
    if name in ("mean_kernel", "second_moment", "mean_ntk"):
        return layout.full_pairs(components)
    if name == "kernel_covariance":
        return layout.full_seconds(components)
    if name == "fourth_moment":
        return layout.full_quads(components)
    return components
