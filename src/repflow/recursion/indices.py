"""Tensors of four inputs: reading them with repeated indices, and first derivatives inside expectations."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from repflow.expectation.pair_map import PairMap

_AXES = "abcd"


def read(tensor: Tensor, axes: str) -> Tensor:
    """A tensor as a function of inputs a, b, c, d: ``read(T, "aacd")`` is T[a, a, c, d], ``read(M, "bd")`` is M[b, d].

    Parameters
    ----------
    tensor
        Every axis of length N.
    axes
        For each axis of ``tensor`` the letter that it follows.

    Returns
    -------
    Tensor
        Four axes, of length N where the letter occurs and 1 where it does not.
    """
    index = torch.arange(len(tensor), device=tensor.device)
    shape = {letter: [-1 if other == letter else 1 for other in _AXES] for letter in _AXES}
    return tensor[tuple(index.reshape(shape[letter]) for letter in axes)]


@dataclass(frozen=True)
class Stein:
    """Weights of sum_e <d_e(f_a g_b)> X_e, e over the slots of the pair (a, b): how f_a g_b moves with what z does.

    They are <f'_a g_b> and <f_a g'_b> for a != b. For a = b only their sum counts, d(f g)/dz at one input; the second
    holds it, the convention of :class:`PairMap`, since for an activation with kinks the parts may not exist.

    Attributes
    ----------
    first, second
        Weights of the slots a and b, shape (N, N).
    """

    first: Float64[Tensor, "N N"]
    second: Float64[Tensor, "N N"]

    def plus(self, other: Stein) -> Stein:
        """Of the sum of two expectations."""
        return Stein(self.first + other.first, self.second + other.second)

    def times(self, factor: float | Tensor) -> Stein:
        """Of an expectation times a number, or times a symmetric matrix entry by entry."""
        return Stein(factor * self.first, factor * self.second)


def derivatives(maps: PairMap) -> Stein:
    """<d_e(s'_a s_b)> from the map of s, and <d_e(s''_a s'_b)> from the map of s'."""
    assert maps.d_self is not None
    assert maps.d_cross is not None
    return Stein(2 * maps.d_self, maps.d_cross)


def stein_pairs(F: Tensor, left: Stein, right: Stein) -> Tensor:
    """sum_ef <d_e f_ab> <d_f g_cd> F_eafc with e over (a, b) and f over (c, d), axes a, b, c, d."""
    half = read(left.first, "ab") * read(F, "aacd") + read(left.second, "ab") * read(F, "bacd")
    return read(right.first, "cd") * read(half, "abcc") + read(right.second, "cd") * read(half, "abdc")
