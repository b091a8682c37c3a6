"""Couplings learned from experiments: how many experiments each class of theories needs.

>>> from repflow import theories as th
>>> from repflow.theories import inference
>>> truth = th.Local((3, 3)).random(seed=0)
>>> s = inference.independent_experiments(truth.family, 18)
>>> inference.fit(truth.family, s, truth.energy(s)).exact
True
"""

from repflow.theories.inference.designs import independent_experiments, random_experiments
from repflow.theories.inference.identify import Identification, identify
from repflow.theories.inference.inverse_ising import (
    Inferred,
    boltzmann_samples,
    pseudolikelihood,
    pseudolikelihood_covariance,
)
from repflow.theories.inference.noise_free import Fit, expected_unseen_error, fit, unseen_error
from repflow.theories.inference.sparse import SparseFit, basis_pursuit
from repflow.theories.inference.thresholds import Needed, experiments_needed, sparse_experiments_needed

__all__ = [
    "Fit",
    "Identification",
    "Inferred",
    "Needed",
    "SparseFit",
    "basis_pursuit",
    "boltzmann_samples",
    "expected_unseen_error",
    "experiments_needed",
    "fit",
    "identify",
    "independent_experiments",
    "pseudolikelihood",
    "pseudolikelihood_covariance",
    "random_experiments",
    "sparse_experiments_needed",
    "unseen_error",
]
