"""How fast a disturbance spreads is decided by who interacts with whom."""

from repflow.experiments.spreading.experiment import spreading

__all__ = ["spreading"]
