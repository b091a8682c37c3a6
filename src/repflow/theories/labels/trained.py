"""A trained network as a learner: every training set its own network, all trained in one batch."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from repflow.blocks import check_seed, generator
from repflow.theories.labels.learner import AllAtOnce, Labels, check_images, check_partial, label_of

#: Activations held at a time by a batch of networks.
_CHUNK = 2**23


@dataclass(frozen=True)
class Network(AllAtOnce):
    """A tanh network with one hidden layer, trained on the logistic loss by Adam, full batch.

    Every training set starts from the same weights: Gaussian with Var W_ij = 1/n_{l-1}, biases 0, which are the
    critical couplings of tanh (PDLT section 5.3.3), so the network is a function of its training set.
    Networks share nothing but this start: the loss is a sum over them, and Adam acts on each weight by itself.

    Parameters
    ----------
    width
        Hidden neurons.
    steps
        Steps of training.
    rate
        Adam's learning rate.
    seed
        Of the weights.
    """

    width: int = 32
    steps: int = 60
    rate: float = 0.1
    seed: int = 0
    name: str = "network"

    def __post_init__(self) -> None:
        for name in ("width", "steps"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a whole number of 1 or more, got {value!r}")
        if not (math.isfinite(self.rate) and self.rate > 0):
            raise ValueError(f"rate must be a positive number, got {self.rate!r}")
        check_seed(self.seed)

    def complete(self, images: ArrayLike, partial: ArrayLike) -> Labels:
        """See :func:`repflow.theories.labels.completions`; without a training image the label is +1."""
        x, labels = check_images(images, "images"), check_partial(partial)
        found = np.ones(labels.shape, dtype=np.int8)
        sizes = np.count_nonzero(labels, axis=1)
        # Sets of about one size together, so that few rows are padding.
        order = np.argsort(sizes, kind="stable")
        order = order[sizes[order] > 0]
        while len(order):
            count = max(1, _CHUNK // (int(sizes[order[-1]]) * self.width))
            now, order = order[:count], order[count:]
            found[now] = self._trained(x, labels[now])
        return found

    def _trained(self, x: NDArray[np.float64], labels: Labels) -> Labels:
        """Predictions of networks trained on these sets, none of them empty."""
        import torch
        from torch.nn.functional import softplus

        size = int(np.count_nonzero(labels, axis=1).max())
        # The training images first, in order; what pads a set beyond its own size has label 0 and no weight.
        rows = np.argsort(labels == 0, axis=1, kind="stable")[:, :size]
        y = torch.from_numpy(np.take_along_axis(labels, rows, axis=1).astype(np.float64))
        inputs = torch.from_numpy(x[rows])
        share = (y != 0) / (y != 0).sum(dim=1, keepdim=True)
        draws = generator(self.seed)
        n, fits = x.shape[1], len(labels)
        start = (
            draws.standard_normal((n, self.width)) / math.sqrt(n),
            np.zeros((1, self.width)),
            draws.standard_normal((self.width, 1)) / math.sqrt(self.width),
            np.zeros((1, 1)),
        )
        W, b, v, c = (torch.from_numpy(array).repeat(fits, 1, 1).requires_grad_() for array in start)
        optimizer = torch.optim.Adam([W, b, v, c], lr=self.rate)
        for _ in range(self.steps):
            optimizer.zero_grad()
            score = torch.baddbmm(c, torch.tanh(torch.baddbmm(b, inputs, W)), v)[:, :, 0]
            (share * softplus(-y * score)).sum().backward()
            optimizer.step()
        with torch.no_grad():
            everything = torch.from_numpy(x).expand(fits, *x.shape)
            score = torch.baddbmm(c, torch.tanh(torch.baddbmm(b, everything, W)), v)[:, :, 0]
        return label_of(score.numpy())
