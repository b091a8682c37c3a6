"""Labelings of n-pixel images, and learners on them: without structure nothing can be learned.

An image of n pixels is a configuration of n spins, a labeling a function of them with values +1 and -1: there are
2^(2^n). Over all of them every learner is right on half of the images that it has not seen (:func:`exact_average`).
Over a family of few of them (:mod:`repflow.theories.labels.families`) the learner that knows the family is better.
"""

from repflow.theories.labels.averages import ExactAverage, accuracies, exact_average
from repflow.theories.labels.counting import ATOMS, Count, count, first_beyond, short
from repflow.theories.labels.families import (
    AnyLabels,
    LabelFamily,
    OneProduct,
    QuadraticForm,
    SignOfEnergy,
    TranslationInvariantLabels,
)
from repflow.theories.labels.learner import BatchLearner, Learner, completions
from repflow.theories.labels.matched import Couplings, Parity, Quadratic
from repflow.theories.labels.standard import Linear, Memorisation, NearestNeighbour, SupportVectors, Tree
from repflow.theories.labels.trained import Network

__all__ = [
    "ATOMS",
    "AnyLabels",
    "BatchLearner",
    "Count",
    "Couplings",
    "ExactAverage",
    "LabelFamily",
    "Learner",
    "Linear",
    "Memorisation",
    "NearestNeighbour",
    "Network",
    "OneProduct",
    "Parity",
    "Quadratic",
    "QuadraticForm",
    "SignOfEnergy",
    "SupportVectors",
    "TranslationInvariantLabels",
    "Tree",
    "accuracies",
    "completions",
    "count",
    "exact_average",
    "first_beyond",
    "short",
]
