"""Depth against width: where a network stands, and the limits of what order 1 describes."""

from __future__ import annotations

from dataclasses import dataclass

#: r_L up to which order 1 describes the fluctuations, and beyond which networks are chaotic between seeds.
TRUSTED, CHAOTIC = 0.3, 1.0


@dataclass(frozen=True)
class AspectRatio:
    """Depth against width.

    Attributes
    ----------
    value
        L/n: the sum of 1/n_l over the hidden layers.
    optimum
        The information-theoretic optimum r* = 4/((20 + 3 n_L) nu) (PDLT appendix A), or None where nu is not known.
    relative_variance
        r_L = V/(n K^2) of the output, averaged over inputs.
    advisable_depth
        The largest depth L at this width with nu (L - 1)/n <= 0.3, or None where nu is not known.
    """

    value: float
    optimum: float | None
    relative_variance: float
    advisable_depth: int | None
