"""The output distribution of a network is sparse: N_D^(2k+2) couplings at order 1/n^k, whatever its parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repflow.distribution import GramCumulants, NeuralDistribution, couplings_count, distinct_entries, inputs_within
from repflow.experiments.registry import Outcome, Size, Tell, experiment
from repflow.experiments.verdicts import Verdict, combined_verdict, interval_verdict
from repflow.network import Network
from repflow.recursion import FlowLayer

FloatArray = NDArray[np.float64]

CLAIM = (
    "The output distribution of a network on N_D inputs is sparse: its coupling of order 1/n^k has exactly "
    "C(P + k, k + 1) components, P = N_D (N_D + 1)/2, which grows as N_D^(2k+2) where a general distribution takes "
    "2^N_D numbers, and depends on no width and on no number of parameters."
)
ACTIVATION, C_W, C_B, FEATURES, OUTPUTS, HIDDEN = "tanh", 1.3, 0.2, 12, 3, 3
#: Hidden widths of the networks whose flows are counted.
WIDTHS = (16, 512)
#: Accepted distance of a fitted exponent from 2k + 2, and of a cumulant's from -k; differences that count as equal.
TOLERANCE, SUPPRESSION, EQUAL = 0.1, 0.2, (1e-11, 1e-12)
ORDERS = (0, 1, 2)


@dataclass(frozen=True)
class Plan:
    """Largest number of inputs by order, of flows and of networks drawn; networks; widths of the cumulants."""

    flows: tuple[int, int, int]
    drawn: tuple[int, int, int]
    networks: int
    widths: tuple[int, ...]


_SIZES: dict[Size, Plan] = {
    "small": Plan((6, 4, 2), (16, 9, 8), 48, (16, 32, 64)),
    "default": Plan((12, 6, 3), (32, 10, 8), 48, (16, 24, 32, 48, 64, 96)),
    "large": Plan((24, 8, 4), (64, 12, 9), 64, (16, 24, 32, 48, 64, 96, 128, 192)),
}


@dataclass(frozen=True)
class Count:
    """Different numbers other than 0 in one array.

    Attributes
    ----------
    source
        ``"flow"``: K, V or X; ``"action"``: g, v or u; ``"one output"``: the (2k+2)-point function of a single
        neuron; ``"networks"``: the cumulant of Gram matrices drawn.
    width
        Hidden width.
    inputs, order
        N_D and k.
    counted
        With either of the two differences that count as equal.
    expected
        The formula.
    """

    source: str
    width: int
    inputs: int
    order: int
    counted: tuple[int, int]
    expected: int


@experiment("sparsity", CLAIM)
def sparsity(size: Size, seed: int, tell: Tell) -> Outcome:
    """Count what the arrays of flows and of drawn networks hold, against the formula, and see how it grows.

    Networks of three hidden layers, tanh, on random inputs. At order k = 0, 1, 2 the different numbers other than 0 are
    counted: in K, V and X of flows of two widths; in the couplings g, v and u of the action; in the (2k+2)-point
    function of one output, which is the sum of those over pairings and symmetric in all its inputs; and in the mean,
    the covariance and the third cumulant of the Gram matrices of 48 networks drawn, for more inputs than flows take.
    Nothing is told of symmetry: full arrays of N_D^(2k+2) entries are sorted.

    Rule: three parts. (1) Counts: every count equals the formula, C(P + k, k + 1) or C(N_D + 2k + 1, 2k + 2) for one
    output; disagrees where one differs, inconclusive where it depends on which differences, 1e-11 or 1e-12 of the
    largest number, count as equal. (2) Growth: a N^s exp(b/N) is fitted to the counts of networks drawn, N = 2 and
    more; agrees where every s is within 0.1 of 2k + 2, disagrees where one is not. (3) Weight: the (k+1)-th cumulant
    of G at the output, k = 1 and 2, exact for one input, falls with the width n as n^-k, so that couplings of higher
    order may be left out: a n^s (1 + b/n) is fitted to it over the widths; agrees where every s is within 0.2 of -k,
    else disagrees. "agrees" where all agree, "disagrees" where one disagrees, else "inconclusive".
    """
    plan = _SIZES[size]
    rng = np.random.default_rng([seed, 11])
    x = rng.normal(size=(max(plan.flows + plan.drawn), FEATURES))
    counts = [*_of_flows(plan, x, tell), *_of_networks(plan, x, seed, tell)]
    tell("cumulants", 0.8)
    weights = cumulants(plan.widths, x[0])
    tell("verdict", 1.0)
    verdicts, numbers = judge(counts, plan.widths, weights)
    parameters = {f"width {width}": network_of(width).n_parameters for width in WIDTHS}
    numbers |= {
        "verdicts": verdicts,
        "parameters": parameters,
        "inputs_within_parameters": {
            name: {"general": inputs_within(total, None)} | {f"order {k}": inputs_within(total, k) for k in ORDERS}
            for name, total in parameters.items()
        },
        "counts": len(counts),
    }
    return Outcome(
        verdict=combined_verdict(list(verdicts.values())),
        numbers=numbers,
        table=_table(counts),
        figure=_figure(counts, parameters),
        configuration={
            "activation": ACTIVATION,
            "C_W": C_W,
            "C_b": C_B,
            "hidden_layers": HIDDEN,
            "widths": list(WIDTHS),
            "flows_inputs": list(plan.flows),
            "drawn_inputs": list(plan.drawn),
            "networks": plan.networks,
            "cumulant_widths": list(plan.widths),
        },
    )


def network_of(width: int, outputs: int = OUTPUTS) -> Network:
    """The network of one hidden width."""
    from repflow.build import mlp

    return mlp([FEATURES, *[width] * HIDDEN, outputs], activation=ACTIVATION, C_W=C_W, C_b=C_B)


def _of_flows(plan: Plan, x: FloatArray, tell: Tell) -> list[Count]:
    from repflow.recursion import flow

    found = []
    for width in WIDTHS:
        network = network_of(width)
        for N in range(1, max(plan.flows) + 1):
            tell(f"flow of width {width}, {N} inputs", 0.6 * (WIDTHS.index(width) + N / max(plan.flows)) / len(WIDTHS))
            order = max(k for k in ORDERS if N <= plan.flows[k])
            layer = flow(network, x[:N], order=order, progress=False)[-1]
            arrays = {"flow": _tensors(layer), "one output": [one_output(t) for t in _tensors(layer)]}
            if order == max(ORDERS):
                arrays["action"] = action(layer)
            for source, values in arrays.items():
                neurons = 1 if source == "one output" else None
                found += [count(source, width, N, k, array, neurons) for k, array in enumerate(values)]
    return found


def _tensors(layer: FlowLayer) -> list[FloatArray]:
    names = ("kernel", "vertex", "sextic")[: layer.order + 1]
    return [getattr(layer, name).cpu().numpy() for name in names]


def action(layer: FlowLayer) -> list[FloatArray]:
    """g, v and u of the layer's action at order 2."""
    n = layer.n_in
    cumulants = GramCumulants(
        layer.kernel,
        layer.kernel_correction / n,
        layer.vertex / n,
        layer.kernel_correction2 / n**2,
        layer.vertex_correction / n**2,
        layer.sextic / n**2,
    )
    found = NeuralDistribution(layer.index, OUTPUTS, cumulants).couplings()
    return [array.cpu().numpy() for array in (found.quadratic, found.quartic, found.sextic)]


def one_output(tensor: FloatArray) -> FloatArray:
    """The connected function of one neuron: the sum over all ways to put its inputs into pairs."""
    found = np.zeros_like(tensor)
    for axes in _pairings(tuple(range(tensor.ndim))):
        found += tensor.transpose(np.argsort(axes))
    return found


def _pairings(places: tuple[int, ...]) -> list[tuple[int, ...]]:
    """All pairings of the places, each as its places in the order of the pairs."""
    if not places:
        return [()]
    first, rest = places[0], places[1:]
    return [
        (first, rest[k], *others) for k in range(len(rest)) for others in _pairings(rest[:k] + rest[k + 1 :])
    ]  # fmt: skip


def _of_networks(plan: Plan, x: FloatArray, seed: int, tell: Tell) -> list[Count]:
    """Cumulants of the Gram matrices of a few networks drawn: as many numbers differ as in those of all networks."""
    from repflow.ensemble import gram_draws

    width, found = WIDTHS[0], []
    for k in ORDERS:
        for N in range(1, plan.drawn[k] + 1):
            tell(f"{plan.networks} networks, {N} inputs", 0.6 + 0.2 * (k + N / plan.drawn[k]) / len(ORDERS))
            draws = gram_draws(network_of(width), x[:N], networks=plan.networks, seed=seed, progress=False)[0]
            found.append(count("networks", width, N, k, sample_cumulant(draws, k)))
    return found


def sample_cumulant(draws: FloatArray, order: int) -> FloatArray:
    """Mean (order 0), covariance (1) or third cumulant (2) of matrices (R, N, N), all N^(2k+2) entries of it."""
    networks, N = draws.shape[:2]
    if order == 0:
        return np.asarray(draws.mean(axis=0))
    centred = (draws - draws.mean(axis=0)).reshape(networks, -1)
    left = centred
    for _ in range(order - 1):
        left = (left[:, :, None] * centred[:, None, :]).reshape(networks, -1)
    return np.asarray(left.T @ centred / networks).reshape((N,) * (2 * order + 2))


def count(source: str, width: int, inputs: int, order: int, array: FloatArray, neurons: int | None = None) -> Count:
    """One array counted."""
    low, high = (distinct_entries(array, tolerance) for tolerance in EQUAL)
    return Count(source, width, inputs, order, (low, high), couplings_count(inputs, order, neurons).by_order[-1])


def cumulants(widths: Sequence[int], x: FloatArray) -> dict[int, FloatArray]:
    """Exact (k+1)-th cumulants of G at the output for one input, k = 1 and 2, each (M,)."""
    from repflow.exact import gram_density

    layers = [gram_density(network_of(width), x, moments=3)[-1] for width in widths]
    return {k: np.array([layer.cumulant(k + 1) for layer in layers]) for k in ORDERS[1:]}


def growth(inputs: Sequence[int], counted: Sequence[int]) -> float:
    """s of a N^s exp(b/N), by least squares in the logarithm; N of 2 and more."""
    N = np.array(inputs, dtype=np.float64)
    kept = N >= 2
    design = np.stack([np.ones(kept.sum()), np.log(N[kept]), 1.0 / N[kept]], axis=1)
    return float(np.linalg.lstsq(design, np.log(np.array(counted, dtype=np.float64)[kept]), rcond=None)[0][1])


def degree(inputs: Sequence[int], counted: Sequence[int]) -> int | None:
    """The lowest degree of a polynomial through all counts at N = 1, 2, ...; None where it takes all of them."""
    assert list(inputs) == list(range(1, len(inputs) + 1))
    left = list(counted)
    for power in range(len(left) - 1):
        left = [after - before for before, after in pairwise(left)]
        if not any(left):
            return power
    return None


def decay(widths: Sequence[int], values: FloatArray) -> float:
    """s of a n^s (1 + b/n), by least squares in the logarithm to first order in b/n."""
    n = np.array(widths, dtype=np.float64)
    design = np.stack([np.ones(len(n)), np.log(n), 1.0 / n], axis=1)
    return float(np.linalg.lstsq(design, np.log(np.abs(values)), rcond=None)[0][1])


def judge(
    counts: Sequence[Count], widths: Sequence[int], weights: Mapping[int, FloatArray]
) -> tuple[dict[str, Verdict], dict[str, Any]]:
    """The three parts of the rule."""
    wrong = [entry for entry in counts if entry.expected not in entry.counted]
    unclear = [entry for entry in counts if len(set(entry.counted)) > 1]
    by_count: Verdict = "disagrees" if wrong else "inconclusive" if unclear else "agrees"
    exponents, degrees, slopes = {}, {}, {}
    by_growth: list[Verdict] = []
    by_weight: list[Verdict] = []
    for k in ORDERS:
        rows = [entry for entry in counts if entry.source == "networks" and entry.order == k]
        inputs, counted = [entry.inputs for entry in rows], [entry.counted[1] for entry in rows]
        exponents[f"order {k}"] = s = growth(inputs, counted)
        degrees[f"order {k}"] = degree(inputs, counted)
        by_growth.append(interval_verdict(s, s, (2 * k + 2 - TOLERANCE, 2 * k + 2 + TOLERANCE)))
        if k:
            slopes[f"order {k}"] = s = decay(widths, weights[k])
            by_weight.append(interval_verdict(s, s, (-k - SUPPRESSION, -k + SUPPRESSION)))
    numbers = {
        "counts_equal": len(counts) - len(wrong),
        "growth_exponent": exponents,
        "growth_expected": {f"order {k}": 2 * k + 2 for k in ORDERS},
        "polynomial_degree": degrees,
        "tolerance": TOLERANCE,
        "cumulant_slope": slopes,
        "cumulant_slope_tolerance": SUPPRESSION,
    }
    return {"counts": by_count, "growth": combined_verdict(by_growth), "weight": combined_verdict(by_weight)}, numbers


def _table(counts: Sequence[Count]) -> dict[str, list[Any]]:
    names = ("source", "width", "inputs", "order", "expected")
    found: dict[str, list[Any]] = {name: [getattr(entry, name) for entry in counts] for name in names}
    found["counted"] = [entry.counted[1] for entry in counts]
    found["entries"] = [entry.inputs ** (2 * entry.order + 2) for entry in counts]
    return found


def _figure(counts: Sequence[Count], parameters: Mapping[str, int]) -> Any:
    """Components of each order against N_D: the formula, what was counted, 2^N_D and the networks' parameters."""
    import plotly.graph_objects as go

    from repflow.figures import PALETTE, lines

    most = 64
    N = np.arange(1, most + 1)
    ceiling = 1e7
    curves: dict[str, FloatArray] = {}
    for k, name in zip(ORDERS, ("order 0: N²/2", "order 1: N⁴/8", "order 2: N⁶/48"), strict=True):
        curves[name] = np.array([float(couplings_count(int(n), k).by_order[-1]) for n in N])
    curves["general: 2ᴺ"] = np.exp2(N.astype(np.float64))
    curves = {name: np.where(values <= ceiling, values, math.nan) for name, values in curves.items()}
    points: dict[str, tuple[FloatArray, None]] = {}
    for source, name in (("networks", "in networks drawn"), ("flow", "in flows")):
        for k in ORDERS:
            values = np.full(most, math.nan)
            for entry in counts:
                if entry.source == source and entry.order == k and entry.inputs <= most:
                    values[entry.inputs - 1] = entry.counted[1]
            points[f"order {k}, {name}"] = (values, None)
    figure = lines(
        N, curves, points, x_title="number of inputs N", y_title="numbers needed", log_x=True, log_y=True, height=520
    )
    for k in ORDERS:
        style = {"color": PALETTE[k], "size": 11, "symbol": "circle-open"}
        figure.update_traces(selector={"name": f"order {k}, in networks drawn"}, marker=style)
        figure.update_traces(selector={"name": f"order {k}, in flows"}, marker={**style, "symbol": "x", "size": 6})
    for (name, total), dash in zip(parameters.items(), ("dot", "longdash"), strict=True):
        figure.add_trace(
            go.Scatter(
                x=[1, most],
                y=[total, total],
                mode="lines",
                name=f"{total:,} parameters, {name}",
                line={"width": 1.5, "dash": dash, "color": "#808890"},
            )
        )
    figure.update_xaxes(dtick="D2")
    return figure.update_yaxes(dtick=1)
