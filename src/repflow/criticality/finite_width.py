"""Critical couplings at order 1/n: what keeps the mean kernel critical in a network of width n (PDLT section 5.4).

At finite width the mean kernel is K + G1/n, and fluctuations push G1 away by F_KK V/2 in every layer. Couplings C_W +
c/n, C_b + c'/n add c <s s> + c' to that.

- Scale-invariant: F_KK = 0, nothing to correct.
- K* = 0, K ~ l^-p: V = nu K^2 l makes the push -nu (p + 1) K / (2 p) in every layer, and c <s s> = c K / C_W cancels it
  with

      c = C_W nu (p + 1) / (2 p)        (2/3 for tanh, for sin; 1/2 for elu)

  while a c' would move K* itself. Where K falls logarithmically p tends to 0 and no constant does it: c of each layer
  follows from the recursion along K^(1) = 1, such that G1 = 0 in every layer.
- Half-stable, started at K*: V = C2 (l - 1) grows, and a constant shift does not do it. With G1 = 0 wanted in every
  layer, the average of C_W <s' s'> over the fluctuations of G stays 1 for c = -C_W^2 <s' s'>_KK V/2, and then c' =
  -F_KK V/2 - c <s s>. Where that would make C_b + c'/n negative (for nu l/n of about 1, far beyond where order 1 holds)
  the kernel alone is kept, by c = -F_KK V/(2 <s s>).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from repflow.activation import Activation
from repflow.criticality.points import HALF_STABLE, SCALE_INVARIANT, CriticalPoint
from repflow.criticality.susceptibility import FloatArray
from repflow.criticality.trajectory import local


@dataclass(frozen=True)
class Correction:
    """n times the first correction to critical couplings.

    Attributes
    ----------
    C_W, C_b
        c and c': numbers where they are the same in every layer, else shape (depth,), entry l - 1 for layer l. The
        first two entries are 0: layer 1 is exactly Gaussian, and nothing has fluctuated before layer 2.
    note
        What they do, or why nothing is corrected.
    """

    C_W: float | FloatArray
    C_b: float | FloatArray
    note: str


def correction(activation: Activation, point: CriticalPoint, width: int, depth: int | None) -> Correction:
    """The correction at a critical point, for hidden layers of ``width`` neurons.

    Raises
    ------
    ValueError
        The correction depends on the layer and ``depth`` is None.
    """
    if point.universality_class == SCALE_INVARIANT:
        return Correction(
            0.0, 0.0, "Scale-invariant couplings need no correction: the mean kernel is critical at every width."
        )
    if point.stability == "unstable" or point.nu is None:
        return Correction(0.0, 0.0, "No correction: K leaves K* at infinite width already.")
    p = point.approach.exponent
    if point.universality_class != HALF_STABLE and p:
        shift = point.C_W * point.nu * (p + 1.0) / (2.0 * p)
        return Correction(shift, 0.0, f"C_W is raised by {shift:.6g}/n in every layer, C_b stays 0.")
    if depth is None:
        raise ValueError(
            f"depth must be given for order=1: the corrected couplings of {activation.name!r} depend on the layer"
        )
    if point.universality_class == HALF_STABLE:
        return _at_fixed_kernel(activation, point, width, depth)
    return _along_fall(activation, point, depth)


def _at_fixed_kernel(activation: Activation, point: CriticalPoint, width: int, depth: int) -> Correction:
    assert point.K_star is not None
    assert point.nu is not None
    at = local(activation, point.K_star)
    vertex = point.nu * point.K_star**2 * np.maximum(np.arange(depth) - 1.0, 0.0)  # V of the layer before
    weight = -0.5 * point.C_W**2 * at.slope_KK * vertex
    push = 0.5 * point.C_W * at.square_KK * vertex
    bias = -push - weight * at.square
    if (point.C_b + bias / width < 0).any():
        note = (
            "C_W depends on the layer: from K^(1) = K* the mean kernel stays at K* to order 1/n. "
            f"At width {width} and depth {depth} no C_b of 0 or more keeps the mean chi_perpendicular at 1 as well: "
            "fluctuations are beyond order 1 there."
        )
        return Correction(-push / at.square, 0.0, note)
    note = (
        "C_W and C_b depend on the layer: from K^(1) = K* the mean kernel stays at K* and the mean chi_perpendicular "
        "at 1, to order 1/n."
    )
    return Correction(weight, bias, note)


def _along_fall(activation: Activation, point: CriticalPoint, depth: int) -> Correction:
    K, V = 1.0, 0.0
    shift = np.zeros(depth)
    for index in range(1, depth):
        at = local(activation, K)
        shift[index] = -0.5 * point.C_W * at.square_KK * V / at.square
        V = point.C_W**2 * (at.fourth - at.square**2) + (point.C_W * at.square_K) ** 2 * V
        K = point.C_W * at.square
    note = (
        "C_W depends on the layer: from K^(1) = 1 the mean kernel stays at its infinite-width value, to order 1/n; "
        "C_b stays 0."
    )
    return Correction(shift, 0.0, note)


def applied(value: float, shift: float | FloatArray, width: int) -> float | FloatArray:
    """value + shift/width, as a number or an array a layer."""
    result = value + np.asarray(shift, dtype=np.float64) / width
    return float(result) if result.ndim == 0 else result
