"""Activations: registered ones by name, ``nn.Module`` instances, and any elementwise callable.

An :class:`Activation` is what the theory and the ensemble both apply to preactivations. It knows its values and where
it is not smooth, and it finds its own derivatives, so that no user has to write one.
"""

from repflow.activation.function import Activation
from repflow.activation.registry import activation_names
from repflow.activation.resolve import (
    ActivationLike,
    activation_from_dict,
    as_activation,
    as_activations,
    recognise,
)

__all__ = [
    "Activation",
    "ActivationLike",
    "activation_from_dict",
    "activation_names",
    "as_activation",
    "as_activations",
    "recognise",
]
