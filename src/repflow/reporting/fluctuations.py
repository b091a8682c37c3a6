"""How much networks differ from one initialisation to the next, and whether theory at order 1/n can be trusted there.

    r_l = max_a V_aaaa / (n_{l-1} K_aa^2)

is the relative variance of the squared size of a preactivation; at criticality it tends to nu (l - 1)/n.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

#: Where r_L changes its meaning: below the first nearly frozen features, to the second the working range, to the third
#: order 1 is not to be trusted, above it networks are chaotic between seeds.
FROZEN, TRUSTED, CHAOTIC = 0.02, 0.3, 1.0


@dataclass(frozen=True)
class Band:
    """One range of r_L."""

    name: str
    low: float
    high: float
    title: str
    meaning: str


BANDS = (
    Band(
        "frozen",
        0.0,
        FROZEN,
        "Nearly frozen features",
        "All initialisations have nearly the same kernel, and training moves features little.",
    ),
    Band(
        "working",
        FROZEN,
        TRUSTED,
        "Working range",
        "Features can move in training, and one initialisation is much like the next. Theory at order 1/n is accurate.",
    ),
    Band(
        "untrusted",
        TRUSTED,
        CHAOTIC,
        "Order 1 is not to be trusted",
        "Differences between initialisations are large: what theory at order 1/n says is a tendency, not a number.",
    ),
    Band(
        "chaotic",
        CHAOTIC,
        math.inf,
        "Chaotic between seeds",
        "Initialisations differ by more than their mean. Theory at order 1/n fails, and a single seed says little.",
    ),
)


def band_of(ratio: float) -> Band:
    """The range that r_L lies in."""
    return next(band for band in BANDS if ratio < band.high or band.high == math.inf)


@dataclass(frozen=True)
class FluctuationVerdict:
    """How much networks differ from seed to seed.

    Attributes
    ----------
    ratio
        r_L from theory.
    band
        Name of its range: ``"frozen"``, ``"working"``, ``"untrusted"`` or ``"chaotic"``.
    predicted
        sqrt(r_L): relative standard deviation of the squared size of an output over initialisations, for the input
        where it is largest.
    measured, measured_error
        The same for the ensemble with its standard error, relative to its own mean; ``None`` without an ensemble.
    input_index
        That input.
    universal
        nu (L - 1)/n, with sum_l 1/n_l for unequal widths: what r_L tends to at criticality; ``None`` where nu isn't
        known.
    nu
        The slope of V/K^2 in l at criticality.
    """

    ratio: float
    band: str
    predicted: float
    measured: float | None
    measured_error: float | None
    input_index: int
    universal: float | None
    nu: float | None

    @property
    def trusted(self) -> bool:
        """Whether order 1 describes the network."""
        return self.ratio <= TRUSTED

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and words."""
        return asdict(self)


def relative_variance(variance: FloatArray, kernel: FloatArray) -> FloatArray:
    """Var G_aa / K_aa^2, 0 where the kernel itself vanishes; both of shape (..., N)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(kernel > 0, variance / kernel**2, np.where(variance > 0, np.inf, 0.0))


def assess_fluctuations(
    ratios: FloatArray,
    measured: tuple[FloatArray, FloatArray] | None,
    nu: float | None,
    aspect_ratio: float,
) -> FluctuationVerdict:
    """The verdict.

    Parameters
    ----------
    ratios
        V_aaaa/(n_{L-1} K_aa^2) at the output, shape (N,).
    measured
        Var G_aa / (mean G_aa)^2 at the output of the ensemble and its standard error, both (N,).
    nu, aspect_ratio
        See :class:`FluctuationVerdict`; the aspect ratio is sum_l 1/n_l over the hidden layers.
    """
    a = int(np.argmax(ratios))
    ratio = float(ratios[a])
    deviation = error = None
    if measured is not None:
        value = max(float(measured[0][a]), 0.0)
        deviation = math.sqrt(value)
        error = float(measured[1][a]) / (2.0 * deviation) if deviation > 0 else 0.0
    return FluctuationVerdict(
        ratio=ratio,
        band=band_of(ratio).name,
        predicted=math.sqrt(max(ratio, 0.0)),
        measured=deviation,
        measured_error=error,
        input_index=a,
        universal=None if nu is None else nu * aspect_ratio,
        nu=nu,
    )
