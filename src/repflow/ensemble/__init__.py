"""Ensembles of random networks: samplers, streaming statistics, and their standard errors. No theory is used here."""

from repflow.ensemble.draws import gram_draws
from repflow.ensemble.result import Ensemble, EnsembleLayer, Histogram
from repflow.ensemble.sampler import sample
from repflow.ensemble.statistics import Estimate

__all__ = ["Ensemble", "EnsembleLayer", "Estimate", "Histogram", "gram_draws", "sample"]
