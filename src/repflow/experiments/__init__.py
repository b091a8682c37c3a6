"""Claims that can be false, each run end to end by one command."""

from repflow.experiments.registry import Experiment, Outcome, experiment, experiments, find_experiment
from repflow.experiments.runner import run_experiment

__all__ = ["Experiment", "Outcome", "experiment", "experiments", "find_experiment", "run_experiment"]
