"""The Mehler series: <f(z_a) g(z_b)> = sum_m a_m(f) a_m(g) rho_ab^m for all pairs of inputs at once.

a_m are the Hermite coefficients of f(sqrt(K_aa) u), from one-dimensional quadrature (Mehler 1866; see also Daniely,
Frostig and Singer, arXiv 1602.05897, "dual activation"). The remainder after M terms is at most |rho|^M times the root
of the product of the two functions' remaining norms, which are known from Parseval's identity: every value comes with
a bound.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from repflow.activation import Activation
from repflow.expectation.single import Rule, hermite_coefficients, rule

#: Most terms ever summed.
MAX_TERMS = 1024
_FIRST_TERMS = 64
_BLOCK = 256  # a block of this side stays in a core's cache during the Horner scheme


def correlations(kernel: Float64[Tensor, "N N"]) -> Float64[Tensor, "N N"]:
    """rho_ab = K_ab / sqrt(K_aa K_bb), clipped to [-1, 1]; 0 where a variance is 0, 1 on the diagonal."""
    variance = kernel.diagonal().clamp(min=0.0)
    inverse = torch.where(variance > 0, variance.clamp(min=1e-300).rsqrt(), torch.zeros_like(variance))
    rho = (kernel * inverse[:, None]).mul_(inverse[None, :]).clamp_(-1.0, 1.0)
    return rho.fill_diagonal_(1.0)


@dataclass
class Expansion:
    """Hermite coefficients of one function at every input's variance.

    Attributes
    ----------
    coefficients
        Shape (N, M).
    norm
        <f^2>, shape (N,).
    tail
        The share of <f^2> that the first m coefficients leave out, shape (N, M + 1).
    """

    coefficients: Tensor
    norm: Tensor
    tail: Tensor


class Series:
    """Expansions of functions of one activation at N variances, extended as accuracy asks for it."""

    def __init__(self, activation: Activation, variance: Tensor) -> None:
        self.activation = activation
        self.variance = variance
        self._functions: dict[str, Callable[[Tensor], Tensor]] = {}
        self._expansions: dict[tuple[str, int], Expansion] = {}
        self._rules: dict[int, Rule] = {}

    def add(self, name: str, function: Callable[[Tensor], Tensor]) -> None:
        """Register a function of z under a name."""
        self._functions[name] = function

    def rule(self, terms: int = _FIRST_TERMS) -> Rule:
        """The quadrature rule that resolves this many terms."""
        if terms not in self._rules:
            self._rules[terms] = rule(self.activation, self.variance, terms)
        return self._rules[terms]

    def expansion(self, name: str, terms: int) -> Expansion:
        """Coefficients of the named function, at least ``terms`` of them, rounded up to 64 times a power of two."""
        size = _FIRST_TERMS
        while size < terms:
            size *= 2
        key = (name, size)
        if key not in self._expansions:
            quadrature = self.rule(size)
            values = self._functions[name](quadrature.z)
            coefficients = hermite_coefficients(quadrature, values, size)
            norm = quadrature.mean(values * values)
            kept = torch.cat([torch.zeros_like(norm)[:, None], (coefficients**2).cumsum(1)], dim=1)
            scale = norm.clamp(min=1e-300)[:, None]
            tail = ((norm[:, None] - kept) / scale).clamp(min=0.0)
            tail = torch.where(norm[:, None] > 0, tail, torch.zeros_like(tail))
            self._expansions[key] = Expansion(coefficients, norm, tail)
        return self._expansions[key]

    def norm(self, name: str) -> Tensor:
        """<f^2> of the named function at every input's variance, shape (N,)."""
        return self.expansion(name, _FIRST_TERMS).norm

    def terms_for(self, left: str, right: str, rho: float, tol: float) -> int | None:
        """Terms that leave a remainder below ``tol`` of the Cauchy-Schwarz bound at |rho|; None beyond MAX_TERMS."""
        size = _FIRST_TERMS
        while size <= MAX_TERMS:
            f, g = self.expansion(left, size), self.expansion(right, size)
            tails = (f.tail.amax(0) * g.tail.amax(0)).sqrt()
            powers = rho ** torch.arange(len(tails), dtype=torch.float64, device=tails.device)
            enough = torch.nonzero(powers * tails <= tol)
            if len(enough):
                return max(1, int(enough[0]))
            size *= 2
        return None

    def matrix(self, left: str, right: str, rho: Tensor, tol: float) -> tuple[Tensor, Tensor]:
        """<f(z_a) g(z_b)> for every pair.

        Parameters
        ----------
        left, right
            Names of f and g.
        rho
            Correlations, shape (N, N), entries in [-1, 1]. The diagonal is summed like the rest.
        tol
            Largest remainder accepted, relative to the Cauchy-Schwarz bound.

        Returns
        -------
        values, open
            Shape (N, N) each; ``open`` marks the pairs whose remainder is above ``tol``. The diagonal is never marked:
            callers replace it by a one-dimensional integral.
        """
        n = len(rho)
        values = torch.empty_like(rho)
        unresolved = torch.zeros_like(rho, dtype=torch.bool)
        size = rho.abs()
        size.fill_diagonal_(0.0)
        symmetric = left == right
        for i in range(0, n, _BLOCK):
            for j in range(i if symmetric else 0, n, _BLOCK):
                rows, columns = slice(i, min(i + _BLOCK, n)), slice(j, min(j + _BLOCK, n))
                block = rho[rows, columns]
                largest = size[rows, columns]
                terms = self.terms_for(left, right, float(largest.max()), tol)
                if terms is None:
                    terms = MAX_TERMS if float(largest.median()) > 0.9 else MAX_TERMS // 4
                f, g = self.expansion(left, terms), self.expansion(right, terms)
                a, b = f.coefficients[rows], g.coefficients[columns]
                total = torch.outer(a[:, terms - 1], b[:, terms - 1])
                for m in range(terms - 2, -1, -1):
                    total.mul_(block).addr_(a[:, m], b[:, m])
                values[rows, columns] = total
                tails = torch.outer(f.tail[rows, terms].sqrt(), g.tail[columns, terms].sqrt())
                unresolved[rows, columns] = tails * largest**terms > tol
                if symmetric and j != i:
                    values[columns, rows] = total.T
                    unresolved[columns, rows] = unresolved[rows, columns].T
        return values, unresolved

    def pairs(self, left: str, right: str, a: Tensor, b: Tensor, rho: Tensor, tol: float) -> tuple[Tensor, Tensor]:
        """<f(z_a) g(z_b)> for a list of pairs: indices ``a``, ``b`` and correlations ``rho``, shape (P,); as
        :meth:`matrix`.
        """
        if not len(a):
            return torch.zeros_like(rho), torch.zeros_like(rho, dtype=torch.bool)
        terms = self.terms_for(left, right, float(rho.abs().max()), tol) or MAX_TERMS
        f, g = self.expansion(left, terms), self.expansion(right, terms)
        total = torch.zeros_like(rho)
        for m in range(terms - 1, -1, -1):
            total = total * rho + f.coefficients[a, m] * g.coefficients[b, m]
        remainder = f.tail[a, terms].sqrt() * g.tail[b, terms].sqrt() * rho.abs() ** terms
        return total, remainder > tol
