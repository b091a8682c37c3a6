"""The law of one channel of a value, at infinite width.

A channel is a random function h_p on points p: a sum of activations of Gaussian functions, with one number a point in
front, and an offset a point,

    h_p = o_p + X_{p c} + sum_k a_{k p} phi_k(v_{k p}),

drawn independently for every channel c but for X, which is given (an input that was added to the stream). Where that
form is lost (a product, a mean over positions of something not Gaussian, a measured node) the first two moments remain.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from repflow.activation import Activation, as_activation, recognise
from repflow.graph.gaussian import Block, Gaussian, Source, Term
from repflow.graph.moments import mean_of, product_mean
from repflow.graph.refusal import Refusal


@dataclass(frozen=True, eq=False)
class Part:
    """a_p phi(v_p); ``activation`` None is the identity."""

    coefficient: Tensor
    activation: Activation | None
    gaussian: Gaussian

    @cached_property
    def mean(self) -> Tensor:
        """<a_p phi(v_p)>, shape (M,)."""
        if self.activation is None:
            return torch.zeros(self.gaussian.size, dtype=torch.float64)
        return self.coefficient * mean_of(self.activation, self.gaussian.variance)

    def product(self, other: Part) -> Tensor:
        """<a_p phi(v_p) b_q psi(w_q)>."""
        found = product_mean(self.activation, self.gaussian, other.activation, other.gaussian)
        if bool((self.coefficient == 1).all()) and bool((other.coefficient == 1).all()):
            return found
        return self.coefficient[:, None] * found * other.coefficient


@dataclass(frozen=True, eq=False)
class Moments:
    """The first two moments of a function.

    Attributes
    ----------
    second
        E[h_p h_q], shape (M, M).
    mean
        E[h_p], shape (M,); None where it was not measured.
    blocks
        Blocks of sources that it depends on.
    given
        Whether it depends on an input channel by channel.
    """

    second: Tensor
    mean: Tensor | None
    blocks: tuple[Block, ...]
    given: bool = False


@dataclass(frozen=True, eq=False)
class Law:
    """The law of a channel.

    Attributes
    ----------
    size
        M, the number of points.
    parts
        Activations of Gaussian functions; at most one without activation.
    offset
        o_p, shape (M,).
    given
        X, shape (M, channels), or None.
    only
        Moments, where nothing else is known; then the fields above are empty.
    upstream
        Names of the parameters that it depends on.
    """

    size: int
    parts: tuple[Part, ...] = ()
    offset: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))
    given: Tensor | None = None
    only: Moments | None = None
    upstream: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if not len(self.offset):
            object.__setattr__(self, "offset", torch.zeros(self.size, dtype=torch.float64))

    @classmethod
    def gaussian(cls, source: Source, upstream: frozenset[str]) -> Law:
        """The law that fresh weights make."""
        size = len(source.kernel)
        ones = torch.ones(size, dtype=torch.float64)
        return cls(size, (Part(ones, None, Gaussian.of(source)),), upstream=upstream | {source.name})

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Blocks of sources that it depends on."""
        if self.only is not None:
            return self.only.blocks
        return tuple({t.block.key(): t.block for part in self.parts for t in part.gaussian.terms}.values())

    @cached_property
    def mean(self) -> Tensor:
        """E[h_p] over channels, shape (M,).

        Raises
        ------
        Refusal
            It was measured, and its mean was not.
        """
        if self.only is not None:
            if self.only.mean is None:
                raise Refusal("it needs the mean over channels of a measured value, of which the kernel is known")
            return self.only.mean
        total = self.offset.clone()
        for part in self.parts:
            total = total + part.mean
        return total if self.given is None else total + self.given.mean(1)

    @cached_property
    def second(self) -> Tensor:
        """E[h_p h_q], shape (M, M)."""
        if self.only is not None:
            return self.only.second
        plain = len(self.parts) == 1 and self.given is None and not bool(self.offset.any())
        total = self.parts[0].product(self.parts[0]) if plain else self.cross(self)
        return total if torch.equal(total, total.T) else 0.5 * (total + total.T)

    def cross(self, other: Law) -> Tensor:
        """E[h_p g_q], shape (M, other.size).

        Raises
        ------
        Refusal
            They share sources, and one is known by its moments only.
        """
        if self.only is not None or other.only is not None:
            if any(a.same(b) for a in self.blocks for b in other.blocks) or (self.of_input and other.of_input):
                raise Refusal("its operands are correlated, and one is known to its second moment only")
            if self.centred or other.centred:
                return torch.zeros(self.size, other.size, dtype=torch.float64)
            return self.mean[:, None] * other.mean
        total = self.offset[:, None] * other.mean + (self.mean - self.offset)[:, None] * other.offset
        random = [
            sum((part.mean for part in law.parts), torch.zeros(law.size, dtype=torch.float64)) for law in (self, other)
        ]
        for a in self.parts:
            for b in other.parts:
                total = total + a.product(b)
        if self.given is not None:
            total = total + self.given.mean(1)[:, None] * random[1]
        if other.given is not None:
            total = total + random[0][:, None] * other.given.mean(1)
        if self.given is not None and other.given is not None:
            if self.given.shape[1] != other.given.shape[1]:
                raise Refusal("its operands have different numbers of channels")
            total = total + self.given @ other.given.T / self.given.shape[1]
        return total

    @property
    def of_input(self) -> bool:
        """Whether it depends on an input channel by channel."""
        return self.given is not None or (self.only is not None and self.only.given)

    @property
    def constant(self) -> bool:
        """Whether it is the same number in every channel and draw."""
        return not self.parts and self.only is None and self.given is None

    @property
    def centred(self) -> bool:
        """Whether its mean is known to be zero."""
        return not (self.only is not None and self.only.mean is None) and not bool(self.mean.any())

    def moments_only(self) -> Law:
        """The same law with the form forgotten."""
        return self.with_moments(self.second, self.mean)

    def with_moments(self, second: Tensor, mean: Tensor | None) -> Law:
        """Other moments, on as many points as they have, of the same sources, and no more than moments."""
        return Law(len(second), only=Moments(second, mean, self.blocks, self.of_input), upstream=self.upstream)

    def take(self, index: Tensor) -> Law:
        """At chosen points."""
        if self.only is not None:
            mean = None if self.only.mean is None else self.only.mean[index]
            return self.with_moments(self.only.second[index][:, index], mean)
        shared: dict[int, Gaussian] = {}  # so that parts of one Gaussian function still are
        parts = tuple(
            Part(p.coefficient[index], p.activation, shared.setdefault(id(p.gaussian), p.gaussian.take(index)))
            for p in self.parts
        )
        return Law(
            len(index),
            parts,
            self.offset[index],
            None if self.given is None else self.given[index],
            None,
            self.upstream,
        )

    def scaled(self, factor: Tensor) -> Law:
        """Times one number a point, shape (M,)."""
        if self.only is not None:
            second = factor[:, None] * self.only.second * factor
            return self.with_moments(second, None if self.only.mean is None else factor * self.only.mean)
        given = None if self.given is None else factor[:, None] * self.given
        return replace(
            self, parts=tuple(_scaled(part, factor) for part in self.parts), offset=factor * self.offset, given=given
        )

    def shifted(self, offset: Tensor) -> Law:
        """Plus one number a point, shape (M,)."""
        if self.only is not None:
            if not bool(offset.any()):
                return self
            outer = offset[:, None] * self.mean
            second = self.only.second + outer + outer.T + offset[:, None] * offset
            return self.with_moments(second, self.mean + offset)
        return replace(self, offset=self.offset + offset)

    def plus(self, other: Law) -> Law:
        """The sum on the same points.

        Raises
        ------
        Refusal
            The summands are correlated in a way that isn't known.
        """
        upstream = self.upstream | other.upstream
        if self.only is not None or other.only is not None:
            cross = self.cross(other)
            unknown = any(law.only is not None and law.only.mean is None for law in (self, other))
            mean = None if unknown else self.mean + other.mean
            blocks, of_input = (*self.blocks, *other.blocks), self.of_input or other.of_input
            only = Moments(self.second + other.second + cross + cross.T, mean, blocks, of_input)
            return Law(self.size, only=only, upstream=upstream)
        for a in self.blocks:
            for b in other.blocks:
                a.same(b)  # raises where the answer isn't known
        given = other.given if self.given is None else self.given
        if self.given is not None and other.given is not None:
            given = self.given + other.given
        parts = list(self.parts)
        for part in other.parts:
            linear = next((n for n, held in enumerate(parts) if held.activation is None), None)
            if part.activation is None and linear is not None:
                parts[linear] = replace(parts[linear], gaussian=parts[linear].gaussian.plus(part.gaussian))
            else:
                parts.append(part)
        return Law(self.size, tuple(parts), self.offset + other.offset, given, None, upstream)

    def times(self, other: Law) -> Law:
        """The product of two functions on the same points: of one Gaussian function, or independent."""
        if not any(a.same(b) for a in self.blocks for b in other.blocks):
            if self.of_input or other.of_input:
                raise Refusal("it multiplies by an input that differs between channels")
            zero = torch.zeros(self.size, dtype=torch.float64)
            mean = zero if self.centred or other.centred else self.mean * other.mean
            only = Moments(self.second * other.second, mean, (*self.blocks, *other.blocks))
            return Law(self.size, only=only, upstream=self.upstream | other.upstream)
        (v, f, names), (w, g, other_names) = self.function(), other.function()
        ratio = w.ratio(v)
        if ratio is None:
            raise Refusal("it multiplies correlated values that are not functions of one")
        product = _named(lambda z: f(z) * g(ratio * z), f"<{names} times {other_names}>")
        ones = torch.ones(self.size, dtype=torch.float64)
        return Law(self.size, (Part(ones, product, v),), upstream=self.upstream | other.upstream)

    def activated(self, activation: Activation) -> Law:
        """After an elementwise function.

        Raises
        ------
        Refusal
            It is not a function of one Gaussian function that is the same at every point.
        """
        alone = len(self.parts) == 1 and self.parts[0].activation is None and self.only is None and self.given is None
        ones = torch.ones(self.size, dtype=torch.float64)
        if alone and not bool(self.offset.any()):
            return replace(self, parts=(Part(ones, activation, self.parts[0].gaussian),))
        if not self.parts and self.only is None and self.given is None:
            return replace(self, offset=activation(self.offset))
        v, f, names = self.function()
        composed = _named(lambda z: activation(f(z)), f"<{names} then {activation.name}>")
        return Law(self.size, (Part(ones, composed, v),), upstream=self.upstream)

    def function(self) -> tuple[Gaussian, Callable[[Tensor], Tensor], str]:
        """The Gaussian function that it is one function of, and that function."""
        if self.only is not None:
            raise Refusal("it acts on a value that is not Gaussian, of which two moments are known")
        if self.given is not None:
            raise Refusal("it acts on the sum of an input and something random")
        if not self.parts:
            raise Refusal("it acts on something that is not random")
        first = next((part for part in self.parts if part.activation is not None), self.parts[0])
        terms: list[tuple[float, Activation | None, float]] = []
        for part in self.parts:
            ratio = 1.0 if part is first else part.gaussian.ratio(first.gaussian)
            if ratio is None or not uniform(part.coefficient):
                raise Refusal("it acts on a sum that is neither Gaussian nor a function of one Gaussian value")
            terms.append((float(part.coefficient[0]), part.activation, ratio))
        if not uniform(self.offset):
            raise Refusal("it acts on a sum that is neither Gaussian nor a function of one Gaussian value")
        offset = float(self.offset[0])

        def function(z: Tensor) -> Tensor:
            total = torch.full_like(z, offset)
            for coefficient, activation, ratio in terms:
                total = total + coefficient * (ratio * z if activation is None else activation(ratio * z))
            return total

        names = " + ".join(
            f"{c:.6g} {activation.name if activation else 'identity'}(z)".replace("1 ", "", 1 if c == 1 else 0)
            for c, activation, _ in terms
        )
        return first.gaussian, function, names + (f" + {offset:.6g}" if offset else "")

    def sliced(self, start: int, stop: int) -> Law:
        """A range of the channels."""
        if self.only is not None:
            only = replace(self.only, blocks=tuple(block.sliced(start, stop) for block in self.only.blocks))
            return replace(self, only=only)
        parts = tuple(replace(part, gaussian=part.gaussian.sliced(start, stop)) for part in self.parts)
        return replace(self, parts=parts, given=None if self.given is None else self.given[:, start:stop])

    def mixed(self, matrix: Tensor) -> Law:
        """Linear combinations of points, matrix (M', M): a mean over positions. What is Gaussian stays so."""
        size = len(matrix)
        linear = all(part.activation is None for part in self.parts)
        if self.only is not None or not linear:
            known = self.only is None or self.only.mean is not None
            return self.with_moments(matrix @ self.second @ matrix.T, matrix @ self.mean if known else None)
        terms = [term for part in self.parts for term in part.gaussian.terms]
        if any(a is not b and a.block.same(b.block) for a in terms for b in terms):  # one function at shifted positions
            return self.with_moments(matrix @ self.second @ matrix.T, matrix @ self.mean)
        gaussian = Gaussian(size)
        ones = torch.ones(size, dtype=torch.float64)
        for term in terms:
            block = term.block
            kernel = matrix @ Gaussian(self.size, (term,)).covariance(Gaussian(self.size, (term,))) @ matrix.T
            # Of the same name, so that it is known to be correlated with what was not averaged.
            mixed = Block(Source(block.source.name, kernel), block.start, block.stop)
            gaussian = Gaussian(size, (*gaussian.terms, Term(mixed, ones, torch.arange(size))))
        parts = (Part(ones, None, gaussian),) if terms else ()
        given = None if self.given is None else matrix @ self.given
        return Law(size, parts, matrix @ self.offset, given, None, self.upstream)


def _scaled(part: Part, factor: Tensor) -> Part:
    if part.activation is None:
        return Part(part.coefficient, None, part.gaussian.scaled(factor))
    if part.activation.slopes is not None and bool((factor > 0).all()):  # relu(c v) = c relu(v)
        return Part(part.coefficient, part.activation, part.gaussian.scaled(factor))
    return Part(part.coefficient * factor, part.activation, part.gaussian)


def uniform(values: Tensor) -> bool:
    """Whether all entries are equal, up to rounding."""
    return bool(torch.allclose(values, values[:1], rtol=1e-12, atol=1e-14))


def _named(function: Callable[[Tensor], Tensor], name: str) -> Activation:
    """A composed function as an activation."""
    function.__name__ = function.__qualname__ = name
    try:
        return recognise(as_activation(function))
    except (ValueError, TypeError) as error:
        raise Refusal(f"its composition {name} is no activation that can be integrated: {error}") from None
