"""Theory against experiment: the agreement rule, its table and its figures."""

from repflow.comparison.widths import compare
from repflow.comparison.result import Comparison
from repflow.comparison.rule import Components

__all__ = ["Comparison", "Components", "compare"]
