"""Few couplings among many candidates, and nobody knows which: l1 regression."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from repflow.theories.family import Family
from repflow.theories.inference.noise_free import TOLERANCE, check_experiments, design
from repflow.theories.theory import Theory

FloatArray = NDArray[np.float64]
#: Couplings below this times the largest are what the linear program's tolerance leaves.
_ZERO = 1e-6


@dataclass(frozen=True, eq=False)
class SparseFit:
    """The couplings of least absolute sum that give all energies.

    Attributes
    ----------
    theory
        Of the family of candidates; most couplings are 0.
    experiments
        How many there were.
    """

    theory: Theory
    experiments: int

    @property
    def support(self) -> NDArray[np.int64]:
        """Which parameters are not 0, by index."""
        return np.flatnonzero(self.theory.parameters)

    @property
    def sparse(self) -> bool:
        """Whether fewer couplings than experiments are used.

        A vertex of the linear program has at most as many non-zero couplings as experiments, and has that many where
        nothing sparse gives the energies. So this is evidence that the couplings were found.
        """
        return len(self.support) < self.experiments

    def __repr__(self) -> str:
        family = self.theory.family
        return f"SparseFit({family!r}, {len(self.support)} of {family.count} couplings, {self.experiments} experiments)"


def basis_pursuit(family: Family, spins: ArrayLike, energies: ArrayLike) -> SparseFit:
    """Find few couplings among many candidates from energies without noise: min sum |J| subject to E = features @ J.

    Basis pursuit (S. S. Chen, D. L. Donoho, M. A. Saunders, *SIAM J. Sci. Comput.* 20, 33 (1998)), the limit of the
    lasso at vanishing penalty, as a linear program for the positive and the negative part of J; solved by HiGHS. With s
    couplings that are not 0 among M, about s log(M/s) experiments are enough, where least squares needs M.

    Parameters
    ----------
    family
        The candidates: its interaction terms.
    spins
        (experiments, N): the configurations, each +1 or -1.
    energies
        (experiments,).

    Returns
    -------
    SparseFit

    Raises
    ------
    ValueError
        As for :func:`repflow.theories.inference.fit`; or no couplings of the family give these energies.
    MemoryError
        The linear program does not fit.

    Examples
    --------
    Four of the 120 pairs of 16 spins interact, and 40 experiments tell which.

    >>> import numpy as np
    >>> from repflow import theories as th
    >>> from repflow.theories import inference
    >>> J = np.zeros(120)
    >>> J[[7, 50, 51, 99]] = 1.0, -0.5, 0.8, 2.0
    >>> truth = th.KLocal(16, 2).theory(J)
    >>> s = inference.random_experiments(16, 40)
    >>> inference.basis_pursuit(truth.family, s, truth.energy(s)).support.tolist()
    [7, 50, 51, 99]
    """
    s, E = check_experiments(family, spins, energies)
    parameters = least_absolute(design(family, s, 8), E)
    if parameters is None:
        raise ValueError(f"energies must be those of a theory of {family!r}; no couplings of it give them all")
    return SparseFit(family.theory(parameters), len(E))


def least_absolute(features: FloatArray, energies: FloatArray, cost: FloatArray | None = None) -> FloatArray | None:
    """The couplings of least absolute sum with features @ J = energies, or None where there are none.

    With a cost for each coupling, (count,), positive, the sum of cost |J|.
    """
    from scipy.optimize import linprog

    count = features.shape[1]
    scale = float(np.abs(energies).max())
    if scale == 0.0:
        return np.zeros(count)
    # The matrix is dense, so that presolve finds nothing to take out, and takes a third of the time.
    found = linprog(
        np.ones(2 * count) if cost is None else np.tile(cost, 2),
        A_eq=np.hstack([features, -features]),
        b_eq=energies / scale,
        bounds=(0, None),
        method="highs-ds",
        options={"presolve": False},
    )
    if found.x is None:
        return None
    parts = scale * (found.x[:count] - found.x[count:])
    # The program is solved to 1e-7; the equations of the couplings that are left are solved to the last digits.
    there = np.abs(parts) > _ZERO * np.abs(parts).max()
    polished = np.zeros(count)
    polished[there] = np.linalg.lstsq(features[:, there], energies, rcond=None)[0]
    for candidate in (polished, parts):
        if np.abs(features @ candidate - energies).max() <= (TOLERANCE if candidate is polished else 1e-6) * scale:
            return candidate
    return None
