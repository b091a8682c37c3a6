"""Sparse theories of spins: few couplings among many degrees of freedom, which is why they can be learned.

>>> from repflow import theories as th
>>> th.Generic(9).count, th.KLocal(9, 2).count, th.Local((3, 3)).count, th.TranslationInvariant((3, 3)).count
(502, 36, 18, 1)
"""

from repflow.theories.classify import Classification, classify
from repflow.theories.decomposition import Decomposition, decompose
from repflow.theories.families import Generic, KLocal, Local, TranslationInvariant
from repflow.theories.family import Family
from repflow.theories.lattice import Lattice
from repflow.theories.spins import spins
from repflow.theories.theory import Theory
from repflow.theories.walsh import couplings, values

__all__ = [
    "Classification",
    "Decomposition",
    "Family",
    "Generic",
    "KLocal",
    "Lattice",
    "Local",
    "Theory",
    "TranslationInvariant",
    "classify",
    "couplings",
    "decompose",
    "spins",
    "values",
]
