"""The distribution of a layer's preactivations over networks, as a density with data-dependent couplings."""

from repflow.distribution.counting import CouplingsCount, couplings_count, distinct_entries, inputs_within
from repflow.distribution.couplings import Couplings
from repflow.distribution.cumulants import GramCumulants
from repflow.distribution.result import NeuralDistribution

__all__ = [
    "Couplings",
    "CouplingsCount",
    "GramCumulants",
    "NeuralDistribution",
    "couplings_count",
    "distinct_entries",
    "inputs_within",
]
