"""The corrections against the exact mean over a random G that takes few values."""

import numpy as np
import pytest
import torch
from scipy.special import gammaln, logsumexp

from repflow.distribution import GramCumulants
from repflow.distribution.corrections import Corrections


class SumOfAtoms:
    """delta = mean of J independent atoms, plus a shift: cumulants known exactly, and every value can be listed."""

    def __init__(self, N, seed):
        rng = np.random.default_rng(seed)
        self.p = np.array([0.5, 0.3, 0.2])
        atoms = 0.5 * rng.standard_normal((3, N, N))
        atoms = (atoms + atoms.transpose(0, 2, 1)) / 2
        self.atoms = atoms - np.tensordot(self.p, atoms, 1)
        self.shifts = rng.standard_normal((2, N, N))
        self.shifts = (self.shifts + self.shifts.transpose(0, 2, 1)) / 2

    def cumulants(self, J):
        e, p, a = 1 / J, self.p, self.atoms
        values = {
            "kernel": np.eye(a.shape[1]),
            "mean1": e * self.shifts[0],
            "covariance1": e * np.einsum("s,sij,skl->ijkl", p, a, a),
            "mean2": e**2 * self.shifts[1],
            "covariance2": np.zeros((a.shape[1],) * 4),
            "third": e**2 * np.einsum("s,sij,skl,smn->ijklmn", p, a, a, a),
        }
        return GramCumulants(**{name: torch.tensor(value) for name, value in values.items()})

    def log_mean(self, J, M, m):
        """log E prod_i N(z_i; G)/N(z_i; 1), by listing every G."""
        log_weights, logs = [], []
        unit = np.eye(M.shape[-1])
        for first in range(J + 1):
            for second in range(J + 1 - first):
                counts = np.array([first, second, J - first - second])
                log_weight = gammaln(J + 1) - gammaln(counts + 1).sum() + counts @ np.log(self.p)
                delta = np.tensordot(counts, self.atoms, 1) / J + self.shifts[0] / J + self.shifts[1] / J**2
                G = unit + delta
                if np.linalg.eigvalsh(G)[0] <= 0:
                    assert log_weight < -40  # not met but by values that do not count
                    continue
                log_weights.append(log_weight)
                inverse = np.linalg.inv(G) - unit
                logs.append(-0.5 * m * np.linalg.slogdet(G)[1] - 0.5 * np.einsum("ij,bji->b", inverse, M))
        return logsumexp(np.array(log_weights)[:, None] + np.array(logs), axis=0)


@pytest.mark.parametrize(("N", "m"), [(1, 1), (2, 1), (3, 2), (2, 5)])
def test_what_is_left_falls_with_the_next_power(N, m):
    model = SumOfAtoms(N, seed=N)
    z = np.random.default_rng(1).standard_normal((4, m, N))
    M = np.einsum("bmi,bmj->bij", z, z)
    left = []
    for J in (40, 80):
        corrections = Corrections(model.cumulants(J), m)
        exact = model.log_mean(J, M, m)
        first, second = (f(torch.tensor(M)).numpy() for f in (corrections.first, corrections.second))
        left.append(np.stack([exact - first, exact - first - second]))
    # What order 1 leaves is q2/J^2, to 1/J; what order 2 leaves falls by eight where J doubles.
    second_order = 80**2 * left[1][0]
    assert np.abs(80**2 * second - second_order).max() < 0.2 * np.abs(second_order).max()
    ratio = np.abs(left[0][1]).max() / np.abs(left[1][1]).max()
    assert 6.5 < ratio < 9.5
    assert 3.2 < np.abs(left[0][0]).max() / np.abs(left[1][0]).max() < 4.8
