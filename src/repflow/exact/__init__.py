"""The exact oracle: the whole law of one input's Gram entry through the layers, at any width, without an expansion.

``panels`` laws as weights on nodes in log G, ``neuron`` the law of one neuron, ``sums`` of n of them, ``chain`` the
layers, ``law`` what is read off. It shares nothing with the theory (``recursion``, ``expectation``), whose orders it
tests, nor with the ensemble.
"""

from repflow.exact.law import Law
from repflow.exact.result import GramDensity, GramLayer, gram_density

__all__ = ["GramDensity", "GramLayer", "Law", "gram_density"]
