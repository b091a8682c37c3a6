"""Gaussian expectations of one, two and four activations and of their derivatives: what the theory integrates.

``single`` one variable, ``pair_map`` all pairs of inputs with derivatives in the kernel, ``four_point`` quadruples.
Behind them: closed forms (``closed``, ``homogeneous``), the Mehler series (``mehler``), quadrature cut at kinks
(``legendre``, ``split``, ``kinked``), and series of pair products in canonical coordinates (``rotated`` where sigma is
smooth, ``pair_series`` where it has kinks).
"""

from repflow.expectation.four_point import FourPoint, four_point
from repflow.expectation.pair_map import PairMap, pair_map
from repflow.expectation.single import expect, nodes

__all__ = ["FourPoint", "PairMap", "expect", "four_point", "nodes", "pair_map"]
