"""Chi-square of many correlated components, with a covariance that was itself estimated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"

# Independent samples that each component kept needs, so that the estimated covariance can be inverted.
SAMPLES_PER_COMPONENT = 10
# Eigenvalues of the correlation matrix below this are exact linear relations between components, not noise.
_RANK = 1e-9


@dataclass(frozen=True)
class ChiSquare:
    """Outcome: the statistic, the number of principal components in it, and its p-value (None where nothing was
    tested).
    """

    value: float
    dof: int
    p_value: float | None


def chi_square(deviation: Array, covariance: Array, independent: int) -> ChiSquare:
    """d^T C^-1 d on the leading principal components, with the p-value of Hotelling's distribution.

    With C from m independent samples the statistic T^2 is not chi-square but (m - p) T^2 / (p (m - 1)) ~ F(p, m -
    p); at ten samples for each component the difference is a tenth of T^2.

    Parameters
    ----------
    deviation
        Measured less expected, shape (C,).
    covariance
        Of the measured, shape (C, C).
    independent
        m; at most m / 10 components are kept, those of largest variance in units of the standard errors.
    """
    from scipy.stats import f

    kept = min(len(deviation), independent // SAMPLES_PER_COMPONENT)
    if kept == 0:
        return ChiSquare(0.0, 0, None)
    scale = np.sqrt(np.diagonal(covariance))
    values, vectors = np.linalg.eigh(covariance / scale[:, None] / scale[None, :])
    values, vectors = values[::-1][:kept], vectors[:, ::-1][:, :kept]
    sound = values > _RANK * values[0]
    projected = vectors[:, sound].T @ (deviation / scale)
    statistic = float((projected**2 / values[sound]).sum())
    dof = int(sound.sum())
    p_value = float(f.sf(statistic * (independent - dof) / (dof * (independent - 1)), dof, independent - dof))
    return ChiSquare(statistic, dof, p_value)
