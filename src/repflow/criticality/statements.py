"""What criticality, or the lack of it, means for depth, in plain words."""

from __future__ import annotations

from collections.abc import Sequence

from repflow.criticality.compromise import LARGEST_K, Compromise
from repflow.criticality.fixed_points import FixedPoint
from repflow.criticality.points import HALF_STABLE, K_STAR_ZERO, SCALE_INVARIANT, CriticalPoint


def critical_statement(point: CriticalPoint) -> str:
    """What a critical point means for depth."""
    if point.stability == "unstable":
        return (
            "Both susceptibilities are 1 at K* = 0 only, and K leaves it: signals grow from layer to layer, faster the "
            "larger they are. Deep networks need inputs so small that K stays near 0, or another activation."
        )
    fluctuation = f"Depth is limited by fluctuations between initialisations, of relative variance {point.nu:.3g} L/n."
    if point.universality_class == SCALE_INVARIANT:
        return f"Signals keep their size and differences fade by power laws only, at every K. {fluctuation}"
    if point.universality_class == K_STAR_ZERO:
        return f"Signals fade slowly ({point.approach.law}) and no exponential limits the depth. {fluctuation}"
    return (
        f"Signals keep K* = {point.K_star:.6g} where the first layer brings them there, and no exponential limits the "
        f"depth. {fluctuation}"
    )


def critical_warnings(point: CriticalPoint) -> tuple[str, ...]:
    """What to know before using the couplings of a critical point."""
    if point.universality_class == HALF_STABLE:
        side = "above" if point.stability == "stable from above" else "below"
        other = "below" if side == "above" else "above"
        return (
            f"K* attracts from {side} only: choose the first layer's couplings so that K^(1) = K*; a kernel {other} it "
            "moves away, slowly at first.",
        )
    if point.stability == "unstable":
        return ("K* = 0 repels: the couplings are critical only for signals near 0.",)
    return ()


def compromise_statement(best: Compromise) -> str:
    """What the lack of a critical point means for depth."""
    shortest = min(best.xi_parallel, best.xi_perpendicular)
    text = (
        "At no couplings are both susceptibilities 1: differences between inputs grow or fade exponentially with "
        f"depth. The best compromise remembers the norm over {best.xi_parallel:.3g} layers and the direction over "
        f"{best.xi_perpendicular:.3g}"
    )
    if shortest == 0.0:
        return f"{text}: nothing of one of them survives a single layer."
    return f"{text}; after {6.9 * shortest:.0f} layers the shorter of them has changed a thousandfold."


def compromise_warnings(best: Compromise, points: Sequence[FixedPoint], order: int) -> tuple[str, ...]:
    """What to know before using the couplings of a compromise, with all their fixed points."""
    warnings = ["No critical point exists; C_W and C_b are the best compromise."]
    if best.limited_by == "range":
        warnings.append(
            "The lengths keep growing with K*, as the activation nears its asymptote; "
            f"K* <= {LARGEST_K:g} was considered."
        )
    above = [point.K for point in points if point.stability == "unstable" and best.K_star < point.K]
    if above:
        warnings.append(f"The kernel runs away if it passes the unstable fixed point K = {above[0]:.4g}.")
    if order == 1:
        warnings.append("At order 1 there is no critical behaviour to keep: the couplings are those of infinite width.")
    return tuple(warnings)
