"""Theory against experiment: the agreement rule, its table and its figures; and which order of theory is enough."""

from repflow.comparison.order import OrderError, WhichOrder, which_order
from repflow.comparison.result import Comparison
from repflow.comparison.rule import Components
from repflow.comparison.widths import compare

__all__ = ["Comparison", "Components", "OrderError", "WhichOrder", "compare", "which_order"]
