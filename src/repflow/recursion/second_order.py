"""The second order in 1/n: six-point vertex, next-to-leading vertex and the kernel's second correction.

With G^(l) = K + delta and n' = n_{l-1},

    E[delta] = G1/n' + G2/n'^2,     Cov(delta) = V/n' + V1/n'^2,     third cumulant of delta = X/n'^2.

Given G, the next layer's Gram matrix is a mean of n = n_l independent terms, whose first three cumulants are F(G),
C2(G)/n and C3(G)/n^2. The law of total cumulance and Taylor's theorem at K give, with r = n/n', subscripts i, j, k, a,
b, ... for pairs of inputs, those after a comma derivatives, and sums over repeated ones,

    X'_ijk = C3_ijk + r (C2_ij,a F_k,b V_ab + 2 permutations)
             + r^2 (F_i,a F_j,b F_k,c X_abc + F_i,a F_j,b F_k,cd V_ac V_bd + 2 permutations of the last)
    V1'_ij = r (C2_ij,a G1_a + 1/2 C2_ij,ab V_ab) + r^2 (F_i,a F_j,b V1_ab + 1/2 F_i,ab F_j,cd V_ac V_bd)
             + r^2 (1/2 F_i,a F_j,bc (X_abc + G1_b V_ac + G1_c V_ab) + 1/2 F_i,a F_j,bcd V_ab V_cd + (i <-> j))
    G2'_i  = r^2 (F_i,a G2_a + 1/2 F_i,ab (V1_ab + G1_a G1_b) + 1/6 F_i,abc (X_abc + 3 G1_a V_bc)
             + 1/8 F_i,abcd V_ab V_cd)

and zeros at layer 1, whose Gram matrix is fixed. The leading order is in :mod:`repflow.recursion.forward`; docs/
second-order.md has the derivation.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from repflow.activation import Activation
from repflow.expectation.pair_jets import PairJets, pair_jets
from repflow.network import Layer
from repflow.recursion.forward import State
from repflow.recursion.neuron import Neuron
from repflow.recursion.pairs import Pairs, pack, unpack


@dataclass
class SecondOrder:
    """What order 2 adds to the statistics of one layer.

    Attributes
    ----------
    sextic
        X by pairs, one entry for each i <= j <= k, shape (P (P + 1)(P + 2)/6,).
    vertex_correction
        V1 by pairs, shape (P, P).
    correction
        G2 by pairs, shape (P,).
    """

    sextic: Float64[Tensor, " T"]
    vertex_correction: Float64[Tensor, "P P"]
    correction: Float64[Tensor, " P"]


def first_second_order(kernel: Tensor) -> SecondOrder:
    """Layer 1, whose Gram matrix does not fluctuate."""
    count = Pairs(len(kernel), kernel.device).count
    triples = count * (count + 1) * (count + 2) // 6
    return SecondOrder(kernel.new_zeros(triples), kernel.new_zeros(count, count), kernel.new_zeros(count))


class NeuronExpectations:
    """Expectations over one layer's neurons that order 2 needs.

    Parameters
    ----------
    activation
        sigma of layer l.
    state
        Layer l at order 1.

    Attributes
    ----------
    moving
        Whether the Gram matrix fluctuates, so that derivatives are needed.
    error
        Largest error estimate of the expectations.
    """

    def __init__(self, activation: Activation, state: State) -> None:
        assert state.vertex is not None
        assert state.correction is not None
        self.pairs = Pairs(len(state.kernel), state.kernel.device)
        self.moving = bool(state.vertex.any()) or bool(state.correction.any())
        self.neuron = Neuron(activation, state.kernel, self.pairs)
        self.fourth = self.neuron.fourth(state.vertex if self.moving else None)
        self.jets = pair_jets(activation, state.kernel)

    @property
    def error(self) -> float:
        """Largest relative error estimate of the expectations."""
        return max(self.neuron.error, self.jets.error)

    def signal_covariance(self) -> Float64[Tensor, "P P"]:
        """Cov(s_a s_b, s_c s_d) by pairs."""
        a, b = self.pairs.a, self.pairs.b
        mean = self.pairs.compress(self.jets.values[0, 0, 0])
        return self.fourth.values[self.neuron.index(a[:, None], b[:, None], a, b)] - mean[:, None] * mean


def next_second_order(
    before: SecondOrder, state: State, layer: Layer, n_before: int, given: NeuronExpectations
) -> SecondOrder:
    """One step of the recursion.

    Parameters
    ----------
    before, state
        Layer l.
    layer
        Layer l + 1; its fan-in is n_l.
    n_before
        n_{l-1}, the width that normalises layer l's statistics.
    given
        Expectations over layer l.
    """
    assert state.vertex is not None
    assert state.correction is not None
    V, G1, pairs = state.vertex, state.correction, given.pairs
    ratio = layer.n_in / n_before
    mean = _Mean(given.jets, layer.C_W, pairs)
    sextic = _third_cumulant(given, mean.values, layer.C_W)
    if not given.moving:
        still = first_second_order(state.kernel)
        return SecondOrder(pack(sextic), still.vertex_correction, still.correction)

    covariance = _Covariance(given, mean, layer.C_W)
    moved = mean.along(V)  # F_i,a V_ab
    X = unpack(before.sextic, pairs.count)
    _add_permutations(sextic, covariance.along(moved.T), ratio)
    _add_permutations(sextic, mean.bent(moved), ratio**2)
    carried = X
    for _ in range(3):
        carried = mean.along(carried).permute(1, 2, 0)
    sextic += ratio**2 * carried

    half = mean.along(mean.curved(X)) + 2 * mean.bent_by(moved, G1) + mean.third_along(moved, V)
    inherited = mean.along(mean.along(before.vertex_correction).T) + 0.5 * mean.curvatures(V) + 0.5 * (half + half.T)
    fresh = covariance.along(G1[:, None])[:, :, 0] + 0.5 * covariance.curvature(V)
    vertex_correction = ratio * fresh + ratio**2 * inherited

    square = before.vertex_correction + G1[:, None] * G1
    correction = ratio**2 * (
        mean.along(before.correction) + 0.5 * mean.curvature(square) + mean.third(X, G1, V) / 6 + mean.fourth(V) / 8
    )
    return SecondOrder(pack(sextic), 0.5 * (vertex_correction + vertex_correction.T), correction)


class _Mean:
    """F_i = C_b + C_W <s s> and its derivatives: each depends on three entries of the kernel, K_aa, K_bb and K_ab."""

    def __init__(self, jets: PairJets, C_W: float, pairs: Pairs) -> None:
        self.values = pairs.compress(jets.values[0, 0, 0])  # <s s>
        self._first, self._second, self._third, self._fourth = (
            C_W * jets.tensor(order, pairs.a, pairs.b) for order in range(1, 5)
        )
        self._at = torch.stack([pairs.aa, pairs.bb, pairs.index[pairs.a, pairs.b]], dim=1)

    def along(self, values: Tensor) -> Tensor:
        """F_i,a v_a over the first axis of a tensor (P, ...)."""
        shape = (-1, *([1] * (values.ndim - 1)))
        return sum(
            (self._first[:, s].reshape(shape) * values[self._at[:, s]] for s in range(1, 3)),
            self._first[:, 0].reshape(shape) * values[self._at[:, 0]],
        )

    def _local(self, matrix: Tensor) -> Tensor:
        """Entries of a (P, P) matrix among the three of each i, (P, 3, 3)."""
        return matrix[self._at[:, :, None], self._at[:, None, :]]

    def curvature(self, matrix: Tensor) -> Tensor:
        """F_i,ab M_ab, shape (P,)."""
        return torch.einsum("iab,iab->i", self._second, self._local(matrix))

    def curvatures(self, V: Tensor) -> Tensor:
        """F_i,ab F_j,cd V_ac V_bd, shape (P, P)."""
        found = torch.zeros_like(V)
        for a in range(3):
            for c in range(3):
                block = V[self._at[:, a, None], self._at[:, c]]
                rest = torch.zeros_like(V)
                for b in range(3):
                    for d in range(3):
                        weight = self._second[:, a, b, None] * self._second[:, c, d]
                        rest += weight * V[self._at[:, b, None], self._at[:, d]]
                found += block * rest
        return found

    def curved(self, X: Tensor) -> Tensor:
        """F_j,bc X_abc, axes a, j."""
        found = torch.zeros_like(X[0])
        for b in range(3):
            for c in range(3):
                found += self._second[:, b, c] * X[:, self._at[:, b], self._at[:, c]]
        return found

    def bent(self, moved: Tensor) -> Tensor:
        """M_ic M_jd F_k,cd for a matrix M (P, P), axes i, j, k."""
        count = len(moved)
        found = moved.new_zeros(count, count, count)
        for c in range(3):
            inner = sum(
                (moved[:, self._at[:, d]] * self._second[:, c, d] for d in range(1, 3)),
                moved[:, self._at[:, 0]] * self._second[:, c, 0],
            )
            found += moved[:, self._at[:, c]][:, None, :] * inner[None, :, :]
        return found

    def bent_by(self, moved: Tensor, vector: Tensor) -> Tensor:
        """M_ic F_j,cb v_b, axes i, j."""
        weight = torch.einsum("jcb,jb->jc", self._second, vector[self._at])
        return torch.einsum("ijc,jc->ij", moved[:, self._at], weight)

    def third_along(self, moved: Tensor, V: Tensor) -> Tensor:
        """M_ib F_j,bcd V_cd, axes i, j."""
        weight = torch.einsum("jbcd,jcd->jb", self._third, self._local(V))
        return torch.einsum("ijb,jb->ij", moved[:, self._at], weight)

    def third(self, X: Tensor, vector: Tensor, V: Tensor) -> Tensor:
        """F_i,abc (X_abc + 3 v_a V_bc), shape (P,)."""
        at = self._at
        local = X[at[:, :, None, None], at[:, None, :, None], at[:, None, None, :]]
        local = local + 3 * vector[at][:, :, None, None] * self._local(V)[:, None]
        return torch.einsum("iabc,iabc->i", self._third, local)

    def fourth(self, V: Tensor) -> Tensor:
        """F_i,abcd V_ab V_cd, shape (P,)."""
        local = self._local(V)
        return torch.einsum("iabcd,iab,icd->i", self._fourth, local, local)


class _Covariance:
    """C2_ij = C_W^2 Cov(s s, s s) and its derivatives, contracted."""

    def __init__(self, given: NeuronExpectations, mean: _Mean, C_W: float) -> None:
        pairs = given.pairs
        self._fourth = given.fourth
        self._mean = mean
        self._C_W = C_W
        self._which = given.neuron.index(pairs.a[:, None], pairs.b[:, None], pairs.a, pairs.b)

    def _product_rule(self, moved: Tensor) -> Tensor:
        """C_W (m_i S_j + S_i m_j) over the last axis, for m of shape (P, ...): axes i, j, ..."""
        S = self._mean.values
        both = moved[:, None] * S.reshape(1, -1, *([1] * (moved.ndim - 1)))
        return self._C_W * (both + both.transpose(0, 1))

    def along(self, values: Tensor) -> Tensor:
        """C2_ij,a v_a for a matrix (P, K), axes i, j, K."""
        assert self._fourth.gradient is not None
        moments = (self._fourth.gradient @ values)[self._which]
        return self._C_W**2 * moments - self._product_rule(self._mean.along(values))

    def curvature(self, V: Tensor) -> Tensor:
        """C2_ij,ab V_ab, shape (P, P)."""
        assert self._fourth.curvature is not None
        both = self._mean.along(self._mean.along(V).T)
        moments = self._C_W**2 * self._fourth.curvature[self._which]
        return moments - self._product_rule(self._mean.curvature(V)) - 2 * both


def _third_cumulant(given: NeuronExpectations, mean: Tensor, C_W: float) -> Tensor:
    """C3_ijk, the third cumulant of C_W s s, shape (P, P, P)."""
    neuron, pairs = given.neuron, given.pairs
    moments = neuron.sixth()
    a, b = pairs.a, pairs.b
    second = given.fourth.values[neuron.index(a[:, None], b[:, None], a, b)]
    found = mean.new_empty(pairs.count, pairs.count, pairs.count)
    for i in range(pairs.count):  # one slice at a time: the six places of each entry are sorted
        found[i] = moments[neuron.index(a[i], b[i], a[:, None], b[:, None], a, b)]
    found -= second[:, :, None] * mean
    found -= second[:, None, :] * mean[:, None]
    found -= second[None, :, :] * mean[:, None, None]
    found += 2 * mean[:, None, None] * mean[:, None] * mean
    return C_W**3 * found


def _add_permutations(total: Tensor, part: Tensor, factor: float) -> None:
    """Add T_ijk + T_ikj + T_jki of a tensor that is symmetric in its first two axes."""
    total += factor * part
    total += factor * part.permute(0, 2, 1)
    total += factor * part.permute(2, 0, 1)
