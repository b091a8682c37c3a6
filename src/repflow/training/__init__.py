"""Trained networks: many of one shape at once, and what theory says of how their kernels change."""

from repflow.training.batched import TrainedNetworks, outputs, stack, train
from repflow.training.kernel_change import KernelChange, kernel_change
from repflow.training.losses import LOSSES, loss_of
from repflow.training.memorisation import Curves, LinearTraining, fitted
from repflow.training.recorded import train_recorded
from repflow.training.representation import representation_learning
from repflow.training.representation_result import RepresentationLearning

__all__ = [
    "LOSSES",
    "Curves",
    "KernelChange",
    "LinearTraining",
    "RepresentationLearning",
    "TrainedNetworks",
    "fitted",
    "kernel_change",
    "loss_of",
    "outputs",
    "representation_learning",
    "stack",
    "train",
    "train_recorded",
]
