"""A function of N bits taken apart into its couplings, and how sparse it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from repflow.figures.tables import check_table_format, table_html, table_markdown, table_text
from repflow.results import Payload, Result, result_schema
from repflow.theories.classify import Classification, classify
from repflow.theories.lattice import check_shape
from repflow.theories.walsh import couplings, orders, values

FloatArray = NDArray[np.float64]
_COLUMNS = ("spins in a term", "couplings", "non-zero", "share of the variance")


@result_schema("decomposition", version=1)
@dataclass(frozen=True, eq=False, repr=False)
class Decomposition(Result):
    """The 2^N couplings of a function of N spins; made by :func:`decompose`.

    Attributes
    ----------
    couplings
        (2^N,): at index S the coupling of the spins whose bits are set in S.
    shape
        The lattice of the spins, or None.
    tolerance
        What is below this times the largest coupling counts as 0.
    """

    couplings: FloatArray
    shape: tuple[int, ...] | None
    tolerance: float

    @property
    def N(self) -> int:
        """Number of spins."""
        return self.couplings.size.bit_length() - 1

    @property
    def classification(self) -> Classification:
        """The smallest of the four families that holds the couplings."""
        return classify(self.couplings, self.shape, self.tolerance)

    @property
    def nonzero(self) -> int:
        """Couplings that are not 0, the constant aside."""
        return int(self._there().sum())

    @property
    def weight_by_order(self) -> FloatArray:
        """(N + 1,): sum of J_S^2 over the terms of j spins. They sum to the mean of f^2 (Parseval)."""
        return np.bincount(orders(self.N), weights=self.couplings**2, minlength=self.N + 1).astype(np.float64)

    @property
    def participation_ratio(self) -> float:
        """(sum J^2)^2 / sum J^4, the constant aside: how many couplings carry the function; 0 for a constant."""
        J = np.abs(self.couplings[1:])
        largest = float(J.max(initial=0.0))
        if largest == 0.0:
            return 0.0
        square = (J / largest) ** 2
        return float(square.sum() ** 2 / (square**2).sum())

    def truncated(self, order: int) -> FloatArray:
        """(2^N,): the function values with the terms of more than ``order`` spins left out.

        Of all functions with terms of at most ``order`` spins this one is the nearest in mean square.

        Raises
        ------
        ValueError
            The order is negative.
        """
        if order < 0:
            raise ValueError(f"order must be 0 or more, got {order}")
        return values(np.where(orders(self.N) <= order, self.couplings, 0.0))

    def table(self, format: str = "text") -> Any:
        """For each order the number of couplings, of those that are not 0, and their share of the variance.

        Parameters
        ----------
        format
            ``"text"``, ``"markdown"``, ``"html"``, or ``"dict"`` for a list of dictionaries.
        """
        check_table_format(format)
        order, there, weight = orders(self.N), self._there(), self.weight_by_order
        variance = float(weight[1:].sum())
        rows = [
            (j, int((order == j).sum()), int(there[order == j].sum()), float(weight[j] / variance) if variance else 0.0)
            for j in range(1, self.N + 1)
        ]
        if format == "dict":
            return [dict(zip(_COLUMNS, row, strict=True)) for row in rows]
        if format == "html":
            return table_html(_COLUMNS, rows, caption=repr(self))
        cells = [(str(j), str(total), str(nonzero), f"{share:.1%}") for j, total, nonzero, share in rows]
        return table_text(_COLUMNS, cells) if format == "text" else table_markdown(_COLUMNS, cells)

    def _there(self) -> NDArray[np.bool_]:
        J = np.abs(self.couplings.copy())
        J[0] = 0.0
        return J > self.tolerance * J.max()

    def __repr__(self) -> str:
        return (
            f"Decomposition({self.N} spins, {self.nonzero} of {2**self.N - 1} couplings non-zero, "
            f"participation ratio {self.participation_ratio:.4g}, {self.classification.name})"
        )

    def _repr_html_(self) -> str:
        return str(self.table("html"))

    def _payload(self) -> Payload:
        meta = {"shape": None if self.shape is None else list(self.shape), "tolerance": self.tolerance}
        return Payload({"couplings": self.couplings}, meta, {"couplings": ("subset",)})

    @classmethod
    def _from_payload(cls, payload: Payload, activations: Mapping[str, Any] | None) -> Self:
        shape = payload.meta["shape"]
        return cls(
            np.asarray(payload.arrays["couplings"]),
            None if shape is None else tuple(int(side) for side in shape),
            float(payload.meta["tolerance"]),
        )


def decompose(values: ArrayLike, shape: int | Sequence[int] | None = None, tolerance: float = 1e-9) -> Decomposition:
    """Take a function of N spins apart: its 2^N couplings, and how many it takes.

    A labeling of n-pixel images is such a function (labels as +-1), and so is a log-probability.

    Parameters
    ----------
    values
        (2^N,): at index x spin i is -1 where bit i of x is set, else +1.
    shape
        The lattice of the spins, in row-major order, if they sit on one.
    tolerance
        What is below this times the largest coupling counts as 0.

    Returns
    -------
    Decomposition

    Raises
    ------
    ValueError
        The number of values is not a power of two (two or more), one is not finite, the lattice does not tile the
        spins, or the tolerance is not in [0, 1).
    MemoryError
        The transform does not fit.

    Examples
    --------
    Parity of nine pixels is one coupling of nine spins.

    >>> from repflow import theories as th
    >>> th.decompose(th.spins(9).prod(axis=1)).nonzero
    1
    """
    found = couplings(values)
    classify(found, shape, tolerance)  # refuses now what would be refused later
    return Decomposition(found, None if shape is None else check_shape(shape), tolerance)
