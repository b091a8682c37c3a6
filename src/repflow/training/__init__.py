"""Trained networks: many of one shape at once."""

from repflow.training.batched import TrainedNetworks, outputs, stack, train
from repflow.training.losses import LOSSES, loss_of

__all__ = ["LOSSES", "TrainedNetworks", "loss_of", "outputs", "stack", "train"]
