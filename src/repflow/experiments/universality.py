"""Activations of one class are one theory in the deep: what tells them apart is a few Taylor coefficients."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from repflow.activation import Activation, activation_names, as_activation
from repflow.experiments.emergent_scale import Z95, variance, verdict_of
from repflow.experiments.gram_chain import simulate
from repflow.experiments.registry import Outcome, Size, Tell, Verdict, experiment, interval_verdict

if TYPE_CHECKING:
    from repflow.criticality import Critical

FloatArray = NDArray[np.float64]

CLAIM = (
    "Critical activations of one class flow to one theory: with alpha, their Taylor coefficient, taken out, alpha K "
    "and V/K^2 of all smooth members of the K* = 0 class run on one curve with depth, and those of the scale-invariant "
    "class on another."
)
#: Depths of the spread; range of its slope against log(L)/L; bounds at the last depth; of the coefficient of log(l)/l.
DEPTHS, SLOPES, LAST, COEFFICIENT = (100, 300, 1000, 3000, 10_000), (0.8, 1.2), 0.01, 0.05
#: Ensembles at one L/n, and how far Var G/K^2 may lie from the universal value, and members from each other.
RATIO, APART = 0.25, 0.1
_SIZES: dict[Size, tuple[tuple[int, ...], int]] = {  # hidden widths, networks
    "small": ((32, 64, 128), 3_000),
    "default": ((32, 64, 128, 256), 10_000),
    "large": ((32, 64, 128, 256, 512), 100_000),
}
MEASURED = ("tanh", "sin", "erf", "arctan")


def algebraic(z: Tensor) -> Tensor:
    """z / sqrt(1 + z^2)."""
    return z * torch.rsqrt(1.0 + z * z)


def inverse_sinh(z: Tensor) -> Tensor:
    """asinh(z): it grows without bound."""
    return torch.asinh(z)


def gudermann(z: Tensor) -> Tensor:
    """arctan(sinh(z)), by a form that does not overflow."""
    return 2.0 * torch.atan(torch.tanh(0.5 * z))


def bump(z: Tensor) -> Tensor:
    """z exp(-z^2/2): it falls to 0 again."""
    return z * torch.exp(-0.5 * z * z)


def lopsided(z: Tensor) -> Tensor:
    """tanh(z) + tanh(z)^2/4: not odd."""
    t = torch.tanh(z)
    return t + 0.25 * t * t


#: Beside the registered activations.
MORE: tuple[Callable[[Tensor], Tensor], ...] = (algebraic, inverse_sinh, gudermann, bump, lopsided)


@dataclass(frozen=True)
class Member:
    """One activation along its critical flow from K^(1) = 1.

    ``alpha`` and ``beta`` are those of F(K) = K (1 - alpha K + beta alpha^2 K^2 - ...), NaN where sigma is not smooth
    at 0. ``kernel`` is K l^p over its predicted coefficient, ``vertex`` is V/(K^2 l) over nu; both have shape
    (depths,).
    """

    name: str
    alpha: float
    beta: float
    nu: float
    exponent: float
    depths: NDArray[np.int64]
    kernel: FloatArray
    vertex: FloatArray

    @property
    def smooth(self) -> bool:
        """Whether it is in the smooth part of the class, where K ~ 1/(alpha l)."""
        return math.isfinite(self.alpha)

    def log_coefficient(self) -> float:
        """A of V/(nu K^2 l) = 1 + (A log l + B + C log(l)^2/l)/l, fitted to the last decade of depth."""
        l_ = self.depths[self.depths >= self.depths[-1] // 10].astype(np.float64)
        rest = (self.vertex[-len(l_) :] - 1.0) * l_
        design = np.column_stack([np.log(l_), np.ones_like(l_), np.log(l_) ** 2 / l_, np.log(l_) / l_])
        return float(np.linalg.lstsq(design, rest, rcond=None)[0][0])


@experiment("universality", CLAIM)
def universality(size: Size, seed: int, tell: Tell) -> Outcome:
    """Follow K and V of every critical activation to layer 10,000, and measure networks of four of them.

    With F(K) = K (1 - alpha K + beta alpha^2 K^2 - ...), alpha and beta from Taylor coefficients at 0, a smooth member
    of the K* = 0 class has alpha K l -> 1 - (1 - beta) log(l)/l and V/(2/3 K^2 l) -> 1 + (1 - beta) log(l)/l. Members:
    all registered ones of the class, and five callables.

    Rule. (1) Smooth members: the spread of V/(K^2 l) over members (largest less smallest, over 2/3) falls with depth as
    (log(L)/L)^s with s within [0.8, 1.2] from L = 100 to 10,000, and at 10,000 every alpha K l and V/(2/3 K^2 l) lies
    within 1% of 1. (2) What is left is known: the fitted coefficient of log(l)/l is 1 - beta to 0.05 for every smooth
    member. (3) Members with a kink at 0: V/(nu K^2 l) within 1% of 1 at 10,000, nu from the two slopes. (4)
    Scale-invariant members: V/(nu K^2 (l - 1)) = 1 to 1e-9 in every layer, with nu = 6 (a_-^4 + a_+^4)/(a_-^2 +
    a_+^2)^2 - 1. (5) Networks of tanh, sin, erf and arctan at L/n = 1/4: at the largest width the 95% interval of Var
    G/K^2 lies within 10% of the limit of deep and wide networks that all share; and alpha L E[G] spreads less over
    members there than at the smallest width: the log of the ratio of the largest to the smallest falls, by an interval
    above 0. Parts (1) to (4) have
    no error and agree or disagree; "agrees" where all agree, "disagrees" where one disagrees, else "inconclusive".
    """
    widths, networks = _SIZES[size]
    tell("flows to layer 10,000", 0.0)
    members = [follow(spec, found) for spec, found in class_members()]
    verdicts, numbers = judge_flows(members)
    tell("scale-invariant class", 0.3)
    verdicts["scale-invariant members"], numbers["scale_invariant"] = _scale_invariant()
    tell("networks", 0.4)
    found = _networks(widths, networks, seed, tell)
    some, entry = judge_networks(found)
    verdicts |= some
    numbers |= {"networks": entry, "verdicts": dict(verdicts)}
    tell("verdict", 1.0)
    return Outcome(
        verdict=verdict_of(list(verdicts.values())),
        numbers=numbers,
        table=_table(members, found),
        figure=_figure(members, found),
        configuration={"widths": list(widths), "networks": networks, "L/n": RATIO, "depths": list(DEPTHS)},
    )


Spec = str | Callable[[Tensor], Tensor]


def class_members() -> list[tuple[Spec, Critical]]:
    """The registered activations of the K* = 0 class with a power law, and the callables above."""
    from repflow.criticality import critical

    names = [name for name in activation_names() if name != "monomial" and as_activation(name).slopes is None]
    found = [(name, critical(name)) for name in names]
    return [(name, c) for name, c in found if c.universality_class == "K*=0" and c.stable and c.exponent] + [
        (more, critical(more)) for more in MORE
    ]


def follow(spec: Spec, found: Critical) -> Member:
    """The critical flow of one activation of the class to the last of DEPTHS."""
    from repflow.criticality.origin import origin, small_kernel_series

    sigma = as_activation(spec)
    p, coefficient, nu = found.exponent, found.coefficient, found.nu
    assert p is not None
    assert coefficient is not None
    assert nu is not None
    C_W = float(np.asarray(found.C_W))
    series = [*small_kernel_series(origin(sigma), C_W), 0.0, 0.0, 0.0, 0.0]
    is_smooth = not sigma.breakpoints and series[0] == 0.0 and series[1] < 0.0
    alpha = -series[1] if is_smooth else math.nan
    K, ratio = _run(sigma, C_W, DEPTHS[-1])
    depths = np.unique(np.geomspace(1, DEPTHS[-1], 400).round().astype(np.int64))
    depths = np.unique(np.concatenate([depths, DEPTHS]))
    at = depths - 1
    return Member(
        name=getattr(spec, "__name__", str(spec)),
        alpha=alpha,
        beta=series[3] / alpha**2 if is_smooth else math.nan,
        nu=nu,
        exponent=p,
        depths=depths,
        kernel=K[at] * depths.astype(np.float64) ** p / coefficient,
        vertex=ratio[at] / (nu * depths),
    )


def _run(sigma: Activation, C_W: float, depth: int) -> tuple[FloatArray, FloatArray]:
    """K^(l) and V/K^2 from K^(1) = 1 on, through splines of the one-layer map in log K: ten thousand layers in a blink.

    The splines are of (F/K - 1)/K^(1/2) and the like, which are smooth and of order one or less near K = 0, where F/K
    itself is 1 up to rounding.
    """
    from scipy.interpolate import CubicSpline

    from repflow.criticality.susceptibility import moments

    K = np.geomspace(1e-10, 1.5, 1500)
    at = moments(sigma, K)
    root = np.sqrt(K)
    after = C_W * at.square
    table = np.column_stack(
        [(after / K - 1.0) / root, (C_W * at.square_K - 1.0) / root, C_W**2 * (at.fourth - at.square**2) / K**2]
    )
    spline = CubicSpline(np.log(K), table)
    kernel, ratio = np.empty(depth), np.empty(depth)
    k, r = 1.0, 0.0
    for layer in range(depth):
        kernel[layer], ratio[layer] = k, r
        fall, slope, source = spline(math.log(k)).tolist()
        step = 1.0 + fall * math.sqrt(k)
        r = (source + (1.0 + slope * math.sqrt(k)) ** 2 * r) / step**2
        k *= step
    return kernel, ratio


def judge_flows(members: Sequence[Member]) -> tuple[dict[str, Verdict], dict[str, Any]]:
    """Parts (1) to (3) of the rule."""
    smooth, kinked = ([m for m in members if m.smooth is flag] for flag in (True, False))
    spreads = []
    for depth in DEPTHS:
        values = [float(m.vertex[m.depths == depth][0]) for m in smooth]
        spreads.append(max(values) - min(values))
    x = np.log(np.log(DEPTHS) / np.asarray(DEPTHS, dtype=np.float64))
    slope = float(np.polyfit(x, np.log(spreads), 1)[0])
    off = {m.name: max(abs(float(m.kernel[-1]) - 1.0), abs(float(m.vertex[-1]) - 1.0)) for m in smooth}
    kinks = {m.name: abs(float(m.vertex[-1]) - 1.0) for m in kinked}
    coefficients = {m.name: {"fitted": m.log_coefficient(), "predicted": 1.0 - m.beta} for m in smooth}
    known = all(abs(c["fitted"] - c["predicted"]) <= COEFFICIENT for c in coefficients.values())
    verdicts: dict[str, Verdict] = {
        "spread falls as log(L)/L": "agrees" if SLOPES[0] <= slope <= SLOPES[1] else "disagrees",
        "smooth members at 10,000": "agrees" if max(off.values()) <= LAST else "disagrees",
        "what is left is known": "agrees" if known else "disagrees",
        "kinked members at 10,000": "agrees" if max(kinks.values(), default=0.0) <= LAST else "disagrees",
    }
    return verdicts, {
        "smooth_members": [m.name for m in smooth],
        "alpha": {m.name: m.alpha for m in smooth},
        "spread": dict(zip(map(str, DEPTHS), spreads, strict=True)),
        "slope_against_log(L)/L": slope,
        "off_at_last_depth": off,
        "kinked_off_at_last_depth": kinks,
        "coefficient_of_log(l)/l": coefficients,
    }


def _scale_invariant() -> tuple[Verdict, dict[str, Any]]:
    """Part (4): the vertex of every registered scale-invariant activation, with nu from its slopes."""
    from repflow.criticality import typical_behaviour

    names = [*(name for name in activation_names() if name != "monomial"), "leaky_relu:0.2", "leaky_relu:0.5"]
    found = {}
    for name in names:
        slopes = as_activation(name).slopes
        if slopes is None:
            continue
        square, fourth = slopes[0] ** 2 + slopes[1] ** 2, slopes[0] ** 4 + slopes[1] ** 4
        nu = 6.0 * fourth / square**2 - 1.0
        path = typical_behaviour(name, 2.0 / square, 0.0, 1.0, 50)
        off = np.abs(path.vertex[1:] / (nu * path.kernel[1:] ** 2 * np.arange(1, 50)) - 1.0)
        found[name] = {"nu": nu, "largest_deviation": float(off.max())}
    largest = max(entry["largest_deviation"] for entry in found.values())
    return ("agrees" if largest <= 1e-9 else "disagrees"), found


@dataclass(frozen=True)
class Ensemble:
    """Var G/K^2 of the networks of one activation and width, at several L/n up to RATIO, with the limit of all.

    ``mean`` is alpha L E[G] at the last, ``mean_stderr`` its error and ``mean_limit`` the limit of all.
    """

    name: str
    width: int
    hidden: tuple[int, ...]
    value: FloatArray
    stderr: FloatArray
    limit: FloatArray
    mean: float
    mean_stderr: float
    mean_limit: float


def _networks(widths: Sequence[int], networks: int, seed: int, tell: Tell) -> list[Ensemble]:
    from repflow.criticality import critical, double_scaling, typical_behaviour

    points = {}
    for name in MEASURED:
        point = critical(name)
        assert point.coefficient is not None
        points[name] = float(np.asarray(point.C_W)), 1.0 / point.coefficient  # K ~ 1/(alpha l)
    found = []
    for number, n in enumerate(widths):
        last = round(RATIO * n)
        kept = tuple(sorted({max(1, round(last * share)) for share in (0.125, 0.25, 0.5, 0.75, 1.0)}))
        laws = double_scaling([max(0.01, h / n) for h in kept])
        limit = np.array([law.variance for law in laws])
        for index, name in enumerate(MEASURED):
            tell(f"{name}, n = {n}", 0.4 + 0.6 * number / len(widths))
            C_W, alpha = points[name]
            path = typical_behaviour(name, C_W, 0.0, 1.0, last + 1)
            response = (path.chi_parallel * path.kernel)[:-1] / path.kernel[1:]
            layers = [h + 1 for h in kept]
            chains = simulate(name, C_W, 0.0, 1.0, n, layers, networks, (seed, 31, number, index), response)
            pairs = [variance(chains, row, float(path.kernel[h])) for row, h in enumerate(kept)]
            value, error = np.array(pairs).T
            unit = alpha * (last + 1)
            mean, mean_error = chains.mean(len(kept) - 1, lambda g: g)
            found.append(Ensemble(name, n, kept, value, error, limit, unit * mean, unit * mean_error, laws[-1].mean))
    return found


def judge_networks(found: Sequence[Ensemble]) -> tuple[dict[str, Verdict], dict[str, Any]]:
    """Part (5) of the rule."""
    narrow, wide = min(e.width for e in found), max(e.width for e in found)
    near: list[Verdict] = []
    numbers: dict[str, Any] = {
        "limit": float(found[0].limit[-1]),
        "alpha_L_mean_limit": found[0].mean_limit,
        "members": [],
    }
    for entry in found:
        value, error, limit = float(entry.value[-1]), float(entry.stderr[-1]), float(entry.limit[-1])
        interval = [(value - Z95 * error) / limit, (value + Z95 * error) / limit]
        numbers["members"].append(
            {
                "name": entry.name,
                "width": entry.width,
                "over_limit": value / limit,
                "interval": interval,
                "alpha_L_mean": entry.mean,
                "alpha_L_mean_stderr": entry.mean_stderr,
            }
        )
        if entry.width == wide:
            near.append(interval_verdict(interval[0], interval[1], (1.0 - APART, 1.0 + APART)))
    ends = {n: spread_of([e for e in found if e.width == n]) for n in (narrow, wide)}
    gap = ends[narrow][0] - ends[wide][0]
    error = Z95 * math.hypot(ends[narrow][1], ends[wide][1])
    numbers["spread_of_members"] = {str(n): {"value": v, "stderr": e} for n, (v, e) in ends.items()}
    numbers["spread_falls_by"] = [gap - error, gap + error]
    return {
        "networks lie on the limit": verdict_of(near),
        "networks of all members converge": interval_verdict(gap - error, gap + error, (0.0, 1e9)),
    }, numbers


def spread_of(entries: Sequence[Ensemble]) -> tuple[float, float]:
    """log of the largest over the smallest alpha L E[G], with its standard error."""
    values, errors = [e.mean for e in entries], [e.mean_stderr / e.mean for e in entries]
    top, bottom = int(np.argmax(values)), int(np.argmin(values))
    return math.log(values[top] / values[bottom]), math.hypot(errors[top], errors[bottom])


def _table(members: Sequence[Member], found: Sequence[Ensemble]) -> dict[str, list[Any]]:
    rows: list[tuple[Any, ...]] = []
    for m in members:
        for depth in (10, *DEPTHS):
            place = int(np.argmin(np.abs(m.depths - depth)))
            rows.append(
                ("flow", m.name, None, int(m.depths[place]), float(m.kernel[place]), float(m.vertex[place]), None)
            )
    for e in found:
        for h, value, error, limit in zip(e.hidden, e.value, e.stderr, e.limit, strict=True):
            rows.append(("networks", e.name, e.width, h + 1, None, float(value / limit), float(error / limit)))
    names = ("what", "activation", "width", "layer", "kernel_over_predicted", "vertex_over_predicted", "stderr")
    return {name: [row[k] for row in rows] for k, name in enumerate(names)}


def _figure(members: Sequence[Member], found: Sequence[Ensemble]) -> Any:
    from repflow.experiments.universality_figure import universality_figure

    return universality_figure(members, found)
