"""Estimates of the NTK's mean, its covariances, and the differentials, from the ensemble's sums."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from repflow.ensemble.group_sums import GroupSums, Split
from repflow.ensemble.statistics import Estimate
from repflow.ensemble.tangent_layout import DIFFERENTIALS, TangentLayout

OVER_PAIRS = ("A", "B", "D", "F", *DIFFERENTIALS)
"""Statistics of two different neurons."""
TANGENT = ("mean_ntk", *OVER_PAIRS)
"""Statistics of the NTK by their public name."""


@dataclass(frozen=True)
class TangentSums(GroupSums[TangentLayout]):
    """Group averages of one layer's tangent features."""

    @staticmethod
    def _columns(layout: Split) -> slice:
        """Last in a group."""
        return slice(-layout.size, None)

    def estimate(self, name: str) -> Estimate:
        """One of :data:`TANGENT`."""
        if name == "mean_ntk":
            return self.mean_ntk()
        if name in ("A", "D"):
            return self._covariance(name)
        mean = self.mean[name]  # its expectation is the statistic: E[H_ij] and E[z_i z_j] vanish for i != j
        return Estimate(self.layout.orbits[name].index, mean, self.by_group[name] - mean, self.counts)

    def mean_ntk(self) -> Estimate:
        """E[H_ii;ab], a <= b, over neurons and networks; its covariance comes from single networks."""
        mean, layout = self.mean["mean"], self.layout
        p, q = layout.pairs_of("A")
        networks = self.networks
        covariance = np.empty((len(mean),) * 2)
        second = self.mean["mean_mean"] - mean[p] * mean[q]
        covariance[p, q] = covariance[q, p] = second / (networks - 1.0 if networks > 1 else np.nan)
        covariance[np.diag_indices(len(mean))] = covariance.diagonal().clip(min=0.0)
        index = np.stack([layout.pair_a, layout.pair_b], axis=1)
        return Estimate(index, self.centre + mean, self.by_group["mean"] - mean, self.counts, covariance)

    def _covariance(self, name: str) -> Estimate:
        """Cov(x_i, h_j), i != j, with x = h for A and x = z z for D: unbiased at any number of networks.

        The mean over networks of x_i h_j less the product of the two means has the bias -Cov(x, h)/M, with x and h
        averaged over neurons; the last term takes it off.
        """
        left, both = ("mean", "mean_mean") if name == "A" else ("square", "square_mean")
        p, q = self.layout.pairs_of(name)
        x, h = self.mean[left][p], self.mean["mean"][q]
        networks = self.networks
        value = self.mean[name] - x * h
        unbiased = value + (self.mean[both] - x * h) / (networks - 1.0 if networks > 1 else np.nan)
        influence = (
            self.by_group[name] - x * self.by_group["mean"][:, q] - self.by_group[left][:, p] * h + x * h - value
        )
        return Estimate(self.layout.orbits[name].index, unbiased, influence, self.counts)
