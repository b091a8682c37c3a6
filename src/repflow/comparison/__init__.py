"""Theory against experiment: the agreement rule, its table and its figures."""

from repflow.comparison.result import Comparison
from repflow.comparison.rule import Components
from repflow.comparison.widths import compare

__all__ = ["Comparison", "Components", "compare"]
