"""``critical``: the couplings at which signals neither die out nor explode, and what holds there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np

from repflow.activation import Activation, ActivationLike, activation_from_dict, as_activation
from repflow.criticality.compromise import Compromise, best_compromise
from repflow.criticality.finite_width import Correction, applied, correction
from repflow.criticality.fixed_points import FixedPoint, fixed_points
from repflow.criticality.points import (
    NONE,
    Approach,
    CriticalPoint,
    critical_points,
)
from repflow.criticality.statements import (
    compromise_statement,
    compromise_warnings,
    critical_statement,
    critical_warnings,
)
from repflow.criticality.susceptibility import FloatArray, correlation_length
from repflow.criticality.trajectory import check_depth
from repflow.results import Payload, Result, result_schema


@result_schema("critical", version=1)
@dataclass(frozen=True, eq=False, repr=False)
class Critical(Result):
    """Critical couplings of an activation, or the best compromise where it has none.

    Attributes
    ----------
    activation
        The activation.
    order, width, depth
        As asked.
    universality_class
        ``"scale-invariant"``, ``"K*=0"``, ``"half-stable"`` or ``"none"``.
    C_W, C_b
        Couplings: numbers. At ``order=1`` with those of order 1/n included, and then arrays of shape (depth,), entry l
        - 1 for layer l, where they depend on the layer (half-stable class; logarithmic approach).
    K_star
        The fixed point; ``None`` where every K is one.
    stable
        Whether K comes back to, or stays at, K* after a small change of either sign.
    stability
        The same in words, as in :class:`FixedPoint`.
    chi_parallel, chi_perpendicular
        Susceptibilities at K* at infinite width.
    fixed_points
        All fixed points at the couplings of infinite width.
    approach
        How K nears K* (:class:`Approach`).
    nu
        V/K^2 ~ nu l in deep layers, V/n the variance of the kernel of one input; ``None`` without a critical point that
        keeps K.
    statement
        What follows for depth, in plain words.
    warnings
        What to know before using the couplings.
    candidates
        Every critical point found, the one used first.
    compromise
        The best compromise where there is no critical point, else ``None``.
    correction
        At ``order=1`` n times the correction of the couplings, with a note; else ``None``.
    """

    activation: Activation
    order: int
    width: int | None
    depth: int | None
    universality_class: str
    C_W: float | FloatArray
    C_b: float | FloatArray
    K_star: float | None
    stability: str
    chi_parallel: float
    chi_perpendicular: float
    fixed_points: tuple[FixedPoint, ...]
    approach: Approach
    nu: float | None
    statement: str
    warnings: tuple[str, ...] = ()
    candidates: tuple[CriticalPoint, ...] = ()
    compromise: Compromise | None = None
    correction: Correction | None = field(default=None)

    @property
    def stable(self) -> bool:
        """Whether K stays near K* after a small change of either sign."""
        return self.stability in ("stable", "every K")

    @property
    def exponent(self) -> float | None:
        """p in K^(l) - K* ~ coefficient / l^p; 0 for a logarithmic approach, None where there is no power law."""
        return self.approach.exponent

    @property
    def coefficient(self) -> float | None:
        """The coefficient of that law."""
        return self.approach.coefficient

    @property
    def xi_parallel(self) -> float:
        """Layers over which a difference in norm changes by a factor e at K*; infinite at criticality."""
        return float(correlation_length(self.chi_parallel))

    @property
    def xi_perpendicular(self) -> float:
        """Layers over which a difference in direction changes by a factor e at K*; infinite at criticality."""
        return float(correlation_length(self.chi_perpendicular))

    def _rows(self) -> list[tuple[str, str]]:
        rows = [
            ("universality class", self.universality_class),
            ("C_W", _number(self.C_W)),
            ("C_b", _number(self.C_b)),
            ("K*", "free" if self.K_star is None else f"{self.K_star:.8g}"),
            ("stability", self.stability),
            ("approach", self.approach.law),
            ("xi_parallel, xi_perpendicular", f"{self.xi_parallel:.4g}, {self.xi_perpendicular:.4g} layers"),
            ("nu", "-" if self.nu is None else f"{self.nu:.6g}"),
        ]
        for point in self.fixed_points:
            if point.stability == "every K":
                continue
            rows.append(
                (
                    f"fixed point K = {point.K:.6g}",
                    f"{point.stability}, chi_parallel {point.chi_parallel:.7g}, "
                    f"chi_perpendicular {point.chi_perpendicular:.7g}",
                )
            )
        if self.correction is not None:
            rows.append((f"order 1, width {self.width}", self.correction.note))
        rows.append(("for depth", self.statement))
        rows.extend(("warning", text) for text in self.warnings)
        return rows

    def __repr__(self) -> str:
        rows = self._rows()
        width = max(len(name) for name, _ in rows)
        return "\n".join(
            [f"Critical({self.activation.name!r})", *(f"  {name:<{width}}  {text}" for name, text in rows)]
        )

    def _repr_html_(self) -> str:
        body = "".join(
            f'<tr><th style="text-align:left">{escape(name)}</th><td style="text-align:left">{escape(text)}</td></tr>'
            for name, text in self._rows()
        )
        return f"<table><caption>Critical point of {escape(self.activation.name)}</caption>{body}</table>"

    def to_dict(self) -> dict[str, Any]:
        """Plain data: numbers, words, lists and dictionaries; arrays as lists."""
        names: tuple[str, ...] = (
            "order",
            "width",
            "depth",
            "universality_class",
            "K_star",
            "stability",
            "stable",
            "chi_parallel",
        )
        names += ("chi_perpendicular", "xi_parallel", "xi_perpendicular", "exponent", "coefficient", "nu", "statement")
        shift = self.correction
        return {
            "activation": self.activation.name,
            **{name: getattr(self, name) for name in names},
            "C_W": _plain(self.C_W),
            "C_b": _plain(self.C_b),
            "approach": self.approach.to_dict(),
            "fixed_points": [point.to_dict() for point in self.fixed_points],
            "warnings": list(self.warnings),
            "candidates": [point.to_dict() for point in self.candidates],
            "compromise": None if self.compromise is None else self.compromise.to_dict(),
            "correction": None
            if shift is None
            else {"C_W": _plain(shift.C_W), "C_b": _plain(shift.C_b), "note": shift.note},
        }

    def _payload(self) -> Payload:
        meta = self.to_dict()
        meta["activation"] = self.activation.to_dict()
        del meta["C_W"], meta["C_b"]
        arrays = {"C_W": np.asarray(self.C_W, dtype=np.float64), "C_b": np.asarray(self.C_b, dtype=np.float64)}
        dims = {name: ("layer",) * array.ndim for name, array in arrays.items()}
        return Payload(arrays, meta, dims)

    @classmethod
    def _from_payload(cls, payload: Payload, activations: Mapping[str, Any] | None) -> Critical:
        meta = payload.meta
        shift, compromise = meta["correction"], meta["compromise"]
        points = [{**point, "approach": Approach(**point["approach"])} for point in meta["candidates"]]
        plain: tuple[str, ...] = (
            "order",
            "width",
            "depth",
            "universality_class",
            "K_star",
            "stability",
            "chi_parallel",
        )
        plain += ("chi_perpendicular", "nu", "statement")
        return cls(
            activation=activation_from_dict(meta["activation"], activations),
            **{name: meta[name] for name in plain},
            C_W=_restored(payload.arrays["C_W"]),
            C_b=_restored(payload.arrays["C_b"]),
            fixed_points=tuple(FixedPoint(**point) for point in meta["fixed_points"]),
            approach=Approach(**meta["approach"]),
            warnings=tuple(meta["warnings"]),
            candidates=tuple(CriticalPoint(**point) for point in points),
            compromise=None if compromise is None else Compromise(**compromise),
            correction=None
            if shift is None
            else Correction(_restored(shift["C_W"]), _restored(shift["C_b"]), shift["note"]),
        )


def _number(value: float | FloatArray) -> str:
    array = np.asarray(value)
    if array.ndim == 0:
        return f"{float(array):.10g}"
    return f"{array[0]:.8g} in layer 1 to {array[-1]:.8g} in layer {len(array)}"


def _plain(value: float | FloatArray) -> float | list[float]:
    array = np.asarray(value, dtype=np.float64)
    return float(array) if array.ndim == 0 else [float(item) for item in array]


def _restored(value: Any) -> float | FloatArray:
    array = np.asarray(value, dtype=np.float64)
    return float(array) if array.ndim == 0 else array


def critical(
    activation: ActivationLike, order: int = 0, width: int | None = None, depth: int | None = None
) -> Critical:
    """The critical point of an activation: both susceptibilities 1 at a fixed point K* (PDLT chapter 5).

    Parameters
    ----------
    activation
        A registered name, an ``nn.Module`` or any elementwise callable, kinks included.
    order
        0: couplings of infinite width. 1: with those of order 1/n, C_W = c0 + c1/n and C_b = c0' + c1'/n, which keep
        the mean kernel critical at that order (PDLT section 5.4).
    width
        Neurons in a hidden layer; needed at ``order=1``.
    depth
        Number of weight layers L; needed at ``order=1`` where the couplings depend on the layer, and then ``C_W`` and
        ``C_b`` are arrays of shape (depth,).

    Returns
    -------
    Critical

    Raises
    ------
    ValueError
        The activation is not usable, ``order`` is neither 0 nor 1, or ``width`` or ``depth`` is missing or below 1.
    TypeError
        The activation is of a type that cannot be one.

    Examples
    --------
    >>> round(critical("gelu").K_star, 8)
    3.56155281
    """
    sigma = as_activation(activation)
    if isinstance(order, bool) or order not in (0, 1):
        raise ValueError(f"order must be 0 or 1, got {order!r}")
    if width is not None and (isinstance(width, bool) or not isinstance(width, (int, np.integer)) or width < 1):
        raise ValueError(f"width must be a whole number of neurons, 1 or more, got {width!r}")
    if order == 1 and width is None:
        raise ValueError("width must be given for order=1: the number of neurons in a hidden layer")
    if depth is not None:
        check_depth(depth)
    width, depth = (None if value is None else int(value) for value in (width, depth))
    points = critical_points(sigma)
    if not points:
        return _without(sigma, order, width, depth)
    point = points[0]
    shift = correction(sigma, point, int(width or 1), depth) if order == 1 else None
    C_W, C_b = point.C_W, point.C_b
    warnings = critical_warnings(point)
    if shift is not None and not np.any(shift.C_W) and not np.any(shift.C_b) and point.stability == "unstable":
        warnings = (*warnings, shift.note)
    return Critical(
        sigma,
        int(order),
        width,
        depth,
        point.universality_class,
        C_W if shift is None else applied(C_W, shift.C_W, int(width or 1)),
        C_b if shift is None else applied(C_b, shift.C_b, int(width or 1)),
        point.K_star,
        point.stability,
        1.0,
        1.0,
        fixed_points(sigma, C_W, C_b),
        point.approach,
        point.nu,
        critical_statement(point),
        warnings,
        points,
        None,
        shift,
    )


def _without(sigma: Activation, order: int, width: int | None, depth: int | None) -> Critical:
    """The result where no critical point exists."""
    best = best_compromise(sigma)
    if best is None:
        raise ValueError(
            f"activation {sigma.name!r} is zero where a Gaussian signal falls, or too large to be integrated"
        )
    points = fixed_points(sigma, best.C_W, best.C_b)
    approach = Approach(None, None, False, "K - K* ~ exp(-l / xi_parallel)" if best.chi_parallel else "K = K* at once")
    warnings = compromise_warnings(best, points, order)
    return Critical(
        sigma,
        order,
        width,
        depth,
        NONE,
        best.C_W,
        best.C_b,
        best.K_star,
        "stable",
        best.chi_parallel,
        best.chi_perpendicular,
        points,
        approach,
        None,
        compromise_statement(best),
        warnings,
        (),
        best,
        Correction(0.0, 0.0, warnings[-1]) if order == 1 else None,
    )
