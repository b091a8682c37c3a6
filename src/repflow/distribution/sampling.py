"""Draws from a density that is a polynomial times a Gaussian, by rejection."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from repflow.blocks import generator

#: The proposal is this many times wider in variance than the Gaussian, so that the ratio of densities is bounded.
_WIDER = 1.3
_PILOT, _BATCH = 20_000, 20_000
#: Room left above the largest ratio found before draws begin.
_SAFETY = 1.25


def rejection(
    ratio: Callable[[Tensor], Tensor], neurons: int, inputs: int, count: int, seed: int, device: torch.device
) -> tuple[Tensor, float]:
    """``count`` draws from max(ratio, 0) times a standard Gaussian, in coordinates in which that is the kernel.

    The bound on the ratio of target and proposal is the largest value met: where a draw goes beyond it, all draws so
    far are thinned to the new bound, so that what is returned obeys one bound throughout.

    Parameters
    ----------
    ratio
        z (B, m, N) to the density over the Gaussian's, (B,); negative values count as 0.
    neurons, inputs
        m and N.
    count
        Draws.
    seed
        Whole number of 0 or more.
    device
        Where the draws are made.

    Returns
    -------
    draws
        (count, m, N).
    acceptance
        Share of the proposals that were kept.
    """
    rng = generator(seed)
    size = neurons * inputs
    log_norm = 0.5 * size * math.log(_WIDER)

    def propose(amount: int) -> tuple[Tensor, Tensor]:
        u = torch.from_numpy(rng.standard_normal((amount, neurons, inputs)))
        z = math.sqrt(_WIDER) * u.to(device)
        # Of the unit Gaussian over the proposal.
        gaussian = log_norm - 0.5 * (1.0 - 1.0 / _WIDER) * (z**2).sum(dim=(1, 2))
        return z, ratio(z).clamp(min=0.0) * gaussian.exp()

    bound = _SAFETY * float(propose(_PILOT)[1].max())
    kept = torch.empty(0, neurons, inputs, dtype=torch.float64, device=device)
    tried = 0
    while len(kept) < count:
        z, weight = propose(_BATCH)
        largest = float(weight.max())
        if largest > bound:
            chosen = rng.random(len(kept)) < bound / (_SAFETY * largest)
            kept, bound = kept[torch.from_numpy(chosen).to(device)], _SAFETY * largest
        accepted = torch.from_numpy(rng.random(len(z))).to(device) < weight / bound
        kept = torch.cat([kept, z[accepted]])
        tried += len(z)
    return kept[:count], len(kept) / tried


def mean_negative_part(
    ratio: Callable[[Tensor], Tensor], neurons: int, inputs: int, samples: int, seed: int, device: torch.device
) -> tuple[float, float]:
    """The mean of max(-ratio, 0) over a standard Gaussian, with its standard error.

    Drawn from a Gaussian of twice the variance, since a density turns negative in its tails.
    """
    wider = 2.0
    rng = generator(seed)
    total = np.zeros(2)
    done = 0
    while done < samples:
        amount = min(_BATCH, samples - done)
        z = math.sqrt(wider) * torch.from_numpy(rng.standard_normal((amount, neurons, inputs))).to(device)
        log_weight = 0.5 * neurons * inputs * math.log(wider) - 0.5 * (1 - 1 / wider) * (z**2).sum(dim=(1, 2))
        values = (-ratio(z)).clamp(min=0.0) * log_weight.exp()
        total += [float(values.sum()), float((values**2).sum())]
        done += amount
    mean = total[0] / done
    return float(mean), float(math.sqrt(max(total[1] / done - mean**2, 0.0) / done))
