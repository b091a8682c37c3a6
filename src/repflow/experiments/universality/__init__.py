"""Activations of one class are one theory in the deep."""

from repflow.experiments.universality.experiment import universality

__all__ = ["universality"]
