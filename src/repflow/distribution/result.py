"""``NeuralDistribution``: what ``flow[l].distribution(neurons=m)`` returns."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from repflow.blocks import check_seed
from repflow.distribution.corrections import Corrections
from repflow.distribution.couplings import Couplings
from repflow.distribution.cumulants import GramCumulants
from repflow.distribution.moments import moment
from repflow.distribution.sampling import mean_negative_part, rejection
from repflow.results import Payload, Result, result_schema

#: Eigenvalues of K below this times the largest are 0: there is no density.
_SINGULAR = 1e-10


@result_schema("neural-distribution", version=1)
@dataclass(frozen=True, eq=False, repr=False)
class NeuralDistribution(Result):
    """The distribution over networks of m neurons of one layer on N inputs, to an order of 1/n.

    Given the Gram matrix G, the neurons are independent Gaussians of covariance G; G itself is random, with the
    cumulants that the flow computes. So p(z) is the mean over G of a product of Gaussian densities, expanded about G =
    K:

        log p = log N(z; K) + q1/n + q2/n^2 + ...        (:meth:`log_density`: the action, order by order)
        p     = N(z; K) (1 + q1/n + (q2 + q1^2/2)/n^2 + ...)        (:meth:`density`)

    q1 is quartic in z and q2 sextic, see :mod:`repflow.distribution.corrections`; n is the width of the layer before.
    Both series are asymptotic, good for |z| of a few standard deviations: the first is positive everywhere but cannot
    be normalised where its highest coupling grows the tails, as the quartic one does; the second is normalised but may
    be negative in a shell (:meth:`negative_mass`, :meth:`negative_beyond`), and far too large beyond it.

    Attributes
    ----------
    layer
        l.
    neurons
        m.
    cumulants
        Of G, widths put in.
    """

    layer: int
    neurons: int
    cumulants: GramCumulants

    @property
    def order(self) -> int:
        """The highest order that is known."""
        return self.cumulants.order

    @property
    def inputs(self) -> int:
        """N."""
        return len(self.cumulants.kernel)

    def _order(self, order: int | None) -> int:
        if order is None:
            return self.order
        if isinstance(order, bool) or order not in (0, 1, 2):
            raise ValueError(f"order must be 0, 1 or 2, got {order!r}")
        if order > self.order:
            raise ValueError(
                f"order must be {self.order} or less, got {order}; flow(network, x, order={order}) gives a "
                "distribution of that order"
            )
        return int(order)

    @cached_property
    def _whitening(self) -> Tensor:
        """W with W K W^T = 1."""
        values, vectors = torch.linalg.eigh(self.cumulants.kernel)
        if float(values[0]) <= _SINGULAR * max(float(values[-1]), 0.0) or float(values[-1]) <= 0:
            raise ValueError(
                f"layer {self.layer} has no density on these {self.inputs} inputs: its kernel is singular, since "
                "inputs repeat, are collinear or vanish; take inputs that differ, marginal(inputs=[...]) of several"
            )
        return vectors.T / values.sqrt()[:, None]

    @cached_property
    def _corrections(self) -> Corrections:
        return Corrections(self.cumulants.transformed(self._whitening), self.neurons)

    def _white(self, z: Any) -> tuple[Tensor, Tensor]:
        """z in coordinates in which K = 1, and M."""
        values = torch.as_tensor(z, dtype=torch.float64, device=self.cumulants.kernel.device)
        if values.ndim < 2 or tuple(values.shape[-2:]) != (self.neurons, self.inputs):
            raise ValueError(
                f"z must have shape (..., neurons, inputs) = (..., {self.neurons}, {self.inputs}), got "
                f"{tuple(values.shape)}"
            )
        white = values @ self._whitening.T
        return white, white.transpose(-1, -2) @ white

    def _log_ratio(self, M: Tensor, order: int) -> Tensor:
        """q1/n + q2/n^2."""
        found = M.new_zeros(M.shape[:-2])
        if order >= 1:
            found = found + self._corrections.first(M)
        if order >= 2:
            found = found + self._corrections.second(M)
        return found

    def _ratio(self, M: Tensor, order: int) -> Tensor:
        """1 + q1/n + (q2 + q1^2/2)/n^2."""
        found = M.new_ones(M.shape[:-2])
        if order >= 1:
            first = self._corrections.first(M)
            found = found + first
            if order >= 2:
                found = found + self._corrections.second(M) + 0.5 * first**2
        return found

    def _log_gaussian(self, white: Tensor) -> Tensor:
        log_volume = torch.linalg.slogdet(self._whitening).logabsdet
        square = (white**2).sum(dim=(-2, -1))
        return self.neurons * (log_volume - 0.5 * self.inputs * math.log(2 * math.pi)) - 0.5 * square

    def log_density(self, z: Any, order: int | None = None) -> Float64[Tensor, "*batch"]:
        """log N(z; K) + q1/n + q2/n^2, cut at the order: minus the action.

        Parameters
        ----------
        z
            (..., m, N).
        order
            0, 1 or 2; None: the highest known.

        Raises
        ------
        ValueError
            z has another shape, the order is not known, or the kernel is singular, so that there is no density.
        """
        order = self._order(order)
        white, M = self._white(z)
        return self._log_gaussian(white) + self._log_ratio(M, order)

    def density(self, z: Any, order: int | None = None) -> Float64[Tensor, "*batch"]:
        """N(z; K) (1 + q1/n + (q2 + q1^2/2)/n^2), cut at the order: it integrates to 1 and can turn negative.

        Parameters, errors: as for :meth:`log_density`.
        """
        order = self._order(order)
        white, M = self._white(z)
        return self._log_gaussian(white).exp() * self._ratio(M, order)

    def couplings(self, order: int | None = None) -> Couplings:
        """The data-dependent couplings of the action to an order of 1/n.

        Raises
        ------
        ValueError
            The order is not known, or the kernel is singular.
        """
        order = self._order(order)
        W, N = self._whitening, self.inputs
        zero = W.new_zeros(N, N)

        def action(M: Tensor) -> Tensor:
            symmetric = 0.5 * (M + M.T)
            mapped = W @ symmetric @ W.T
            return 0.5 * mapped.trace() - self._log_ratio(mapped, order)

        constant = float(action(zero) - self._log_gaussian(W.new_zeros(self.neurons, N)))
        gradient = torch.func.jacrev(action)
        quadratic = 2.0 * gradient(zero)
        quartic, sextic = W.new_zeros((N,) * 4), W.new_zeros((N,) * 6)
        if order >= 1:
            hessian = torch.func.jacfwd(gradient)
            quartic = -4.0 * hessian(zero)
            if order >= 2:
                sextic = -8.0 * torch.func.jacfwd(hessian)(zero)
        return Couplings(constant, quadratic.detach(), quartic.detach(), sextic.detach())

    def moment(self, neurons: Sequence[int], inputs: Sequence[int], order: int | None = None) -> float:
        """E[z_{i1;a1} z_{i2;a2} ...], up to six factors, to an order of 1/n.

        Parameters
        ----------
        neurons, inputs
            i1, i2, ... from 0 to m - 1 and a1, a2, ... from 0 to N - 1: as many of one as of the other.
        order
            0, 1 or 2; None: the highest known.

        Raises
        ------
        ValueError
            The two differ in length, hold more than six, or a number is out of range.
        """
        order = self._order(order)
        if len(neurons) != len(inputs) or len(neurons) > 6:
            raise ValueError(
                f"neurons and inputs must hold as many numbers, up to six; got {len(neurons)} and {len(inputs)}"
            )
        for name, numbers, limit in (("neurons", neurons, self.neurons), ("inputs", inputs, self.inputs)):
            if any(not 0 <= number < limit for number in numbers):
                raise ValueError(f"{name} must hold numbers from 0 to {limit - 1}, got {list(numbers)}")
        return moment(self.cumulants, list(neurons), list(inputs), order) if len(neurons) % 2 == 0 else 0.0

    def marginal(self, inputs: Sequence[int] | None = None, neurons: int | None = None) -> NeuralDistribution:
        """The distribution of fewer neurons on some of the inputs: the others are integrated out.

        Integrating out a neuron takes it out of the product, and an input its row of G, so that this is exact.

        Raises
        ------
        ValueError
            An input is out of range or twice there, or there are not that many neurons.
        """
        chosen = list(range(self.inputs)) if inputs is None else [int(a) for a in inputs]
        if not chosen or len(set(chosen)) != len(chosen) or any(not 0 <= a < self.inputs for a in chosen):
            raise ValueError(f"inputs must be different numbers from 0 to {self.inputs - 1}, got {inputs!r}")
        m = self.neurons if neurons is None else neurons
        if isinstance(m, bool) or not isinstance(m, (int, np.integer)) or not 1 <= m <= self.neurons:
            raise ValueError(f"neurons must be from 1 to {self.neurons}, got {neurons!r}")
        return NeuralDistribution(self.layer, int(m), self.cumulants.of(chosen))

    def sample(self, count: int, seed: int = 0, order: int | None = None) -> Float64[Tensor, "count m N"]:
        """Independent draws from :meth:`density`, by rejection; where that is negative, as if it were 0.

        Parameters
        ----------
        count
            Draws.
        seed
            Of the draws.
        order
            0, 1 or 2; None: the highest known.

        Returns
        -------
        Tensor
            (count, m, N).

        Raises
        ------
        ValueError
            ``count`` is below 1, the order is not known, or the kernel is singular.
        """
        order = self._order(order)
        if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < 1:
            raise ValueError(f"count must be a whole number of 1 or more, got {count!r}")
        W = self._whitening
        if order == 0:
            from repflow.blocks import generator

            draws = generator(check_seed(seed)).standard_normal((int(count), self.neurons, self.inputs))
            white = torch.from_numpy(draws).to(W.device)
        else:
            ratio = self._ratio_of_white(order)
            white, _ = rejection(ratio, self.neurons, self.inputs, int(count), check_seed(seed), W.device)
        return torch.linalg.solve(W, white.transpose(-1, -2)).transpose(-1, -2)

    def _ratio_of_white(self, order: int) -> Any:
        return lambda white: self._ratio(white.transpose(-1, -2) @ white, order)

    def negative_mass(self, order: int | None = None, samples: int = 200_000, seed: int = 0) -> tuple[float, float]:
        """The integral of the negative part of :meth:`density`, and its standard error: how far the order is from a
        distribution.

        It is estimated from Gaussian draws, and 0 at order 0.
        """
        order = self._order(order)
        if order == 0:
            return 0.0, 0.0
        W = self._whitening
        return mean_negative_part(
            self._ratio_of_white(order), self.neurons, self.inputs, samples, check_seed(seed), W.device
        )

    def negative_beyond(self, z: Any, order: int | None = None) -> float:
        """Along the ray s z, s > 0, the least s at which :meth:`density` turns negative; infinite where it never does.

        Parameters
        ----------
        z
            One direction, shape (m, N).
        order
            0, 1 or 2; None: the highest known.
        """
        order = self._order(order)
        _, M = self._white(z)
        if M.ndim != 2:
            raise ValueError(f"z must be one point of shape ({self.neurons}, {self.inputs}), got {tuple(M.shape[:-2])}")
        if order == 0 or not bool(M.any()):
            return math.inf
        # A polynomial in t = s^2, of degree 2 at order 1 and 4 at order 2, from as many values of it as it needs.
        degree = 2 * order
        t = torch.arange(degree + 1, dtype=torch.float64, device=M.device)
        values = self._ratio(t[:, None, None] * M / M.trace(), order)
        coefficients = np.linalg.solve(np.vander(t.cpu().numpy(), degree + 1), values.cpu().numpy())
        roots = np.roots(coefficients)
        real = np.sort(roots[np.abs(roots.imag) <= 1e-6 * (1 + np.abs(roots))].real)
        real = real[real > 0]
        # At a root the sign may or may not change: the least one is asked for after which the polynomial is negative.
        for root, following in zip(real, [*real[1:], *(2.0 * real[-1:] + 1.0)], strict=True):
            if np.polyval(coefficients, 0.5 * (root + following)) < 0:
                return math.sqrt(float(root) / float(M.trace()))
        return math.inf

    def __repr__(self) -> str:
        return (
            f"NeuralDistribution(layer {self.layer}, {self.neurons} neurons, {self.inputs} inputs, order {self.order})"
        )

    def _repr_html_(self) -> str:
        return f"<p>{self!r}</p>"

    def _payload(self) -> Payload:
        arrays = {name: tensor.cpu().numpy() for name, tensor in self.cumulants.tensors().items()}
        return Payload(arrays, {"layer": self.layer, "neurons": self.neurons})

    @classmethod
    def _from_payload(cls, payload: Payload, activations: Mapping[str, Any] | None) -> Self:
        tensors = {name: torch.from_numpy(np.array(values)) for name, values in payload.arrays.items()}
        return cls(int(payload.meta["layer"]), int(payload.meta["neurons"]), GramCumulants(**tensors))
