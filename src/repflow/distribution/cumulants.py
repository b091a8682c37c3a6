"""What is known of a random Gram matrix: its first cumulants, order by order in 1/n."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor


@dataclass(frozen=True)
class GramCumulants:
    """Cumulants of G with the widths put in; N inputs.

    With n the width of the layer before: E[G] = K + mean1 + mean2 + ..., Cov(G_ab, G_cd) = covariance1 + covariance2 +
    ..., and the third joint cumulant of G_ab, G_cd, G_ef is third + ....

    Attributes
    ----------
    kernel
        K, order 0.
    mean1, covariance1
        G1/n and V/n, order 1; None at order 0.
    mean2, covariance2, third
        G2/n^2, V1/n^2 and X/n^2, order 2; None below.
    """

    kernel: Float64[Tensor, "N N"]
    mean1: Float64[Tensor, "N N"] | None = None
    covariance1: Float64[Tensor, "N N N N"] | None = None
    mean2: Float64[Tensor, "N N"] | None = None
    covariance2: Float64[Tensor, "N N N N"] | None = None
    third: Float64[Tensor, "N N N N N N"] | None = None

    @property
    def order(self) -> int:
        """The highest order that is known."""
        return 0 if self.covariance1 is None else 1 if self.third is None else 2

    def tensors(self) -> dict[str, Tensor]:
        """What is known, by name."""
        return {name: tensor for name, tensor in vars(self).items() if tensor is not None}

    def of(self, inputs: list[int]) -> GramCumulants:
        """Those of some of the inputs, in the order given."""
        index = torch.tensor(inputs)
        found = {}
        for name, tensor in self.tensors().items():
            for axis in range(tensor.ndim):
                tensor = tensor.index_select(axis, index.to(tensor.device))
            found[name] = tensor
        return GramCumulants(**found)

    def transformed(self, matrix: Tensor) -> GramCumulants:
        """Those of W G W^T."""
        found = {}
        for name, tensor in self.tensors().items():
            for _ in range(tensor.ndim):
                # The first axis is mapped and goes last, so that after all axes they stand as before.
                tensor = torch.tensordot(tensor, matrix, dims=([0], [1]))
            found[name] = tensor
        return GramCumulants(**found)
