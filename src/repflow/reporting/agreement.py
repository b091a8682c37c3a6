"""How well theory and ensemble agree, as a sentence with its numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from repflow.reporting.words import number

if TYPE_CHECKING:
    from repflow.comparison import Comparison


def agreement(comparison: Comparison) -> dict[str, Any]:
    """The outcome of :func:`repflow.compare` for a page: the sentence, and a row for each layer and quantity.

    Parameters
    ----------
    comparison
        Theory against the ensemble at one width.
    """
    return {
        "sentence": _sentence(comparison),
        "agrees": comparison.agrees,
        "trusted": comparison.trusted,
        "within": comparison.within,
        "chi_square_acceptable": comparison.chi_square_acceptable,
        "rows": comparison.rows,
    }


def _sentence(comparison: Comparison) -> str:
    count = sum(int(row["components"]) for row in comparison.rows)
    worst = comparison.worst
    where = f"the {str(worst['quantity']).replace('_', ' ')} of layer {worst['layer']}"
    if not comparison.trusted:
        outcome = (
            "all components are within it."
            if comparison.within
            else f"even so {where} is {number(worst['max_z_beyond'])} standard errors beyond it."
        )
        return (
            f"Order 1 is not to be trusted at r_L = {number(comparison.r)}, above {comparison.r_limit:g}: the "
            f"tolerance for the orders left out is so wide there that agreement with the ensemble is weak; {outcome}"
        )
    if comparison.within:
        return (
            f"Theory at order 1/n agrees with {comparison.networks:,} networks in all {count:,} components of the mean "
            f"and the covariance of the kernel: each is within five standard errors and the next order's tolerance."
        )
    return (
        f"Theory at order 1/n disagrees with the ensemble: {where} is {number(worst['max_z_beyond'])} standard errors "
        "beyond its tolerance."
    )
