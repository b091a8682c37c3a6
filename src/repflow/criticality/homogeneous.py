"""The exact law of the Gram entry of one input where layers are independent factors: homogeneous activations, no bias.

With sigma(z) = a_- z for z < 0 and a_+ z for z > 0 and C_b = 0, a layer of n neurons multiplies G by

    xi = (C_W/n) sum_j sigma(u_j)^2,      u_j independent and standard normal,

whatever G is, so that G^(L)/G^(1) is a product of L - 1 independent factors. With Q = sum_j u_j^2, a chi-square
variable of n degrees of freedom, and W the share of Q in the n_+ neurons with u_j > 0,

    xi = (C_W/n) Q [a_+^2 W + a_-^2 (1 - W)],      W ~ Beta(n_+/2, (n - n_+)/2),      n_+ ~ Binomial(n, 1/2),

Q independent of W: for relu xi = (2/n) chi^2 of n_+ degrees of freedom, and G = 0 with probability 2^-n. The mean of G
stays (C_W = 2/(a_-^2 + a_+^2)), log G is a sum with mean and variance proportional to L - 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import gammaln, loggamma, polygamma, psi, roots_jacobi
from scipy.stats import binom

from repflow.activation import ActivationLike, as_activation
from repflow.criticality.trajectory import check_depth

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

_NODES = 48  # of the Beta law of the share W
_SMALL = 1e-14
_RARE = 1e-20  # numbers of active neurons as rare as this are left out
_BLOCK = 64
_DIFFERENCE = 1e-3  # in the exponent of a moment


def check_width(width: int) -> int:
    """``width`` if it is a whole number of 1 or more, else ValueError."""
    if isinstance(width, bool) or not isinstance(width, (int, np.integer)) or width < 1:
        raise ValueError(f"width must be a whole number of neurons, 1 or more, got {width!r}")
    return int(width)


@dataclass(frozen=True)
class LayerFactor:
    """What one hidden layer of ``width`` neurons multiplies G by; made by :func:`layer_factor`.

    Attributes
    ----------
    minus, plus
        C_W a_-^2 and C_W a_+^2.
    width
        n.
    """

    minus: float
    plus: float
    width: int

    @cached_property
    def _shares(self) -> tuple[FloatArray, FloatArray]:
        """log[a_+^2 W + a_-^2 (1 - W)] with C_W in it, and weights that sum to the share of networks alive."""
        n = self.width
        if self.minus == self.plus:
            return np.array([math.log(self.plus)]), np.ones(1)
        values, weights = [], []
        for above in range(n + 1):
            share = float(binom.pmf(above, n, 0.5))
            if share < _RARE * float(binom.pmf(n // 2, n, 0.5)):
                continue
            if above in (0, n):
                w, of_w = np.array([float(above == n)]), np.ones(1)
            else:
                x, of_w = roots_jacobi(_NODES, (n - above) / 2 - 1.0, above / 2 - 1.0)
                w, of_w = 0.5 * (1.0 + x), of_w / of_w.sum()
            values.append(self.plus * w + self.minus * (1.0 - w))
            weights.append(share * of_w)
        value, weight = np.concatenate(values), np.concatenate(weights)
        live = value > 0.0
        return np.log(value[live]), weight[live]

    @cached_property
    def _half(self) -> tuple[FloatArray, FloatArray, float] | None:
        """Where one slope is 0: degrees of freedom over 2, their weights, and the other slope's square times C_W."""
        if self.minus > 0.0 and self.plus > 0.0:
            return None
        degrees = np.arange(1, self.width + 1)
        weight = binom.pmf(degrees, self.width, 0.5)
        counts = weight > _RARE * weight.max()
        return degrees[counts] / 2.0, weight[counts], max(self.minus, self.plus)

    @property
    def alive(self) -> float:
        """Probability that xi is not 0: 1 - 2^-n where one slope is 0, else 1."""
        return 1.0 if self.minus > 0.0 and self.plus > 0.0 else -math.expm1(-self.width * math.log(2.0))

    def moment(self, order: ArrayLike) -> ComplexArray:
        """E[xi^s; xi > 0] for complex s with real part above -1/2; shape of ``order``."""
        s = np.asarray(order, dtype=np.complex128)
        flat = s.reshape(-1, 1)
        scale = math.log(2.0 / self.width)
        half = self._half
        if half is not None:
            degrees, weight, slope = half
            logs = loggamma(degrees + flat) - gammaln(degrees) + flat * (scale + math.log(slope))
            return np.asarray(np.exp(logs) @ weight).reshape(s.shape)
        value, weight = self._shares
        radial = loggamma(self.width / 2 + flat) - gammaln(self.width / 2) + flat * scale
        return np.asarray((np.exp(radial + flat * value)) @ weight).reshape(s.shape)

    @property
    def mean(self) -> float:
        """E[xi] = (a_-^2 + a_+^2) C_W/2."""
        return 0.5 * (self.minus + self.plus)

    @property
    def variance(self) -> float:
        """Var[xi] = [3 (a_-^4 + a_+^4)/2 C_W^2 - E[xi]^2]/n."""
        return (1.5 * (self.minus**2 + self.plus**2) - self.mean**2) / self.width

    @property
    def log_moments(self) -> tuple[float, float]:
        """Mean and variance of log xi, among the networks that are alive."""
        half = self._half
        if half is not None:
            degrees, weight, slope = half
            weight = weight / weight.sum()
            centre = psi(degrees) + math.log(2.0 * slope / self.width)
            inside = float(weight @ polygamma(1, degrees))
        else:
            value, weight = self._shares
            weight = weight / weight.sum()
            centre = value + float(psi(self.width / 2)) + math.log(2.0 / self.width)
            inside = float(polygamma(1, self.width / 2))
        mean = float(weight @ centre)
        return mean, inside + float(weight @ (centre - mean) ** 2)


def layer_factor(activation: ActivationLike, C_W: float, width: int) -> LayerFactor:
    """The factor by which a hidden layer multiplies the Gram entry of one input.

    Parameters
    ----------
    activation
        A homogeneous one: relu, leaky relu, abs, identity.
    C_W
        Above 0; C_b is 0.
    width
        n.

    Raises
    ------
    ValueError
        The activation is not homogeneous, or a number is out of its range.
    """
    sigma = as_activation(activation)
    if sigma.slopes is None:
        raise ValueError(
            "activation must be a straight line on each side of 0 (relu, leaky_relu, abs, identity), got "
            f"{sigma.name!r}; typical_network takes any activation, at order 1/n"
        )
    if not math.isfinite(C_W) or C_W <= 0:
        raise ValueError(f"C_W must be finite and above 0, got {C_W!r}")
    low, high = sigma.slopes
    return LayerFactor(float(C_W) * low**2, float(C_W) * high**2, check_width(width))


@dataclass(frozen=True)
class _LogLaw:
    """A law of log G by its characteristic function phi at midpoints omega, with its mean and standard deviation."""

    omega: FloatArray
    phi: ComplexArray
    mean: float
    spread: float

    def below(self, t: float) -> float:
        """Gil-Pelaez: F(t) = 1/2 - (1/pi) int_0^inf Im[exp(-i w t) phi(w)]/w dw, by the midpoint rule."""
        step = self.omega[1] - self.omega[0]
        return float(0.5 - step / math.pi * (np.imag(np.exp(-1j * self.omega * t) * self.phi) / self.omega).sum())

    def quantile(self, share: float) -> float:
        """Where F is ``share``, within the bounds that Cantelli's inequality sets (the median within one deviation)."""
        low = self.mean - 1.01 * self.spread * min(math.sqrt((1.0 - share) / share), 18.0)
        high = self.mean + 1.01 * self.spread * min(math.sqrt(share / (1.0 - share)), 18.0)
        return float(brentq(lambda t: self.below(t) - share, low, high, xtol=1e-12 * (1.0 + abs(self.mean))))


class ProductLaw:
    """The law of G^(L)/G^(1), a product of independent layer factors; by Fourier inversion of the law of its logarithm.

    Parameters
    ----------
    factor
        Of every layer.
    factors
        L - 1, 1 or more.
    """

    def __init__(self, factor: LayerFactor, factors: int) -> None:
        self.factor, self.factors = factor, check_depth(factors)
        mean, variance = factor.log_moments
        self.mean_log, self.variance_log = factors * mean, factors * variance

    @property
    def alive(self) -> float:
        """Share of networks whose output is not identically 0."""
        return self.factor.alive**self.factors

    @property
    def mean(self) -> float:
        """E[G^(L)]/G^(1)."""
        return self.factor.mean**self.factors

    @property
    def variance(self) -> float:
        """Var[G^(L)]/G^(1)^2; at critical couplings (1 + nu/n)^(L-1) - 1."""
        square = self.factor.mean**2
        return float(square**self.factors * np.expm1(self.factors * np.log1p(self.factor.variance / square)))

    def _law(self, power: float) -> _LogLaw:
        """The law of log G where networks count by G^power."""
        base, above, below = (float(self.factor.moment(power + h).real) for h in (0.0, _DIFFERENCE, -_DIFFERENCE))
        mean = self.factors * math.log(above / below) / (2.0 * _DIFFERENCE)
        spread = math.sqrt(self.factors * math.log(above * below / base**2)) / _DIFFERENCE
        # The midpoint rule sees copies of the law this far apart: beyond its tails, which fall as exp(-n |log G|/2).
        period = 40.0 * spread + 60.0 * spread**2 / math.sqrt(1.0 + spread**2) + 20.0 / self.factor.width
        step = 2.0 * math.pi / period
        found: list[ComplexArray] = []
        places: list[FloatArray] = []
        for block in range(16_384):
            omega = np.asarray(step * (np.arange(_BLOCK * block, _BLOCK * (block + 1)) + 0.5), dtype=np.float64)
            value = (self.factor.moment(power + 1j * omega) / base) ** self.factors
            found.append(value)
            places.append(omega)
            if np.abs(value[-1]) < _SMALL:
                break
        return _LogLaw(np.concatenate(places), np.concatenate(found), mean, spread)

    @cached_property
    def _networks(self) -> _LogLaw:
        return self._law(0.0)

    def cdf(self, ratio: float) -> float:
        """P(G^(L)/G^(1) <= ratio), dead networks included; ratio above 0."""
        return 1.0 - self.alive + self.alive * self._networks.below(math.log(ratio))

    @property
    def median(self) -> float:
        """The median of G^(L)/G^(1); 0 where half of the networks are dead."""
        share = (0.5 - (1.0 - self.alive)) / self.alive
        return 0.0 if share <= 1e-9 else math.exp(self._networks.quantile(share))

    @property
    def half_of_mean(self) -> float:
        """Share of networks, those with the largest G, that carries half of the mean of G."""
        # Networks that count by G have a law of their own; its median is where half of the mean lies above.
        return self.alive * (1.0 - self._networks.below(self._law(1.0).quantile(0.5)))
