"""How every tensor of order 1/n grows with depth at criticality: exponents and coefficients from the recursion.

    python benchmarks/asymptotics.py [--depth 800] [--out docs/tangent-depth.md]

One input, all widths equal, critical couplings. A tensor T that grows as c l^p has p = log2 T(L)/T(L/2); divided by its
unit (K^2 for V, Theta^2 for A, ...) it is a multiple of l, since l/n is the expansion parameter, and the coefficient is
the slope of that ratio from L/2 to L. What it changed from the octave before is printed beside it: the distance to the
limit is about as large (K* = 0, where corrections fall as log(l)/l) or nothing (linear and relu: polynomials in l).
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import repflow as rf
from repflow.figures.tables import table_markdown
from repflow.network import Layer, Network

TENSORS = ("vertex", "kernel_correction", "ntk_correction", "A", "B", "D", "F", "P", "Q", "R", "S", "T", "U")
SYMBOL = {"vertex": "V", "kernel_correction": "G1", "ntk_correction": "H1"}
UNIT: dict[str, Callable[[float, float], float]] = {
    "vertex": lambda K, theta: K * K,
    "kernel_correction": lambda K, theta: K,
    "ntk_correction": lambda K, theta: theta,
    **dict.fromkeys("AB", lambda K, theta: theta**2),
    **dict.fromkeys("DF", lambda K, theta: K * theta),
    **dict.fromkeys("PQ", lambda K, theta: theta**2),
    **dict.fromkeys("RSTU", lambda K, theta: theta**3 / K),
}
UNIT_NAME = {"vertex": "K^2", "kernel_correction": "K", "ntk_correction": "Theta"}
UNIT_NAME |= dict.fromkeys("ABPQ", "Theta^2") | dict.fromkeys("DF", "K Theta") | dict.fromkeys("RSTU", "Theta^3/K")


@dataclass(frozen=True)
class Case:
    """One activation at its critical couplings with K^(1) = 1 and one rule for the biases' rate."""

    activation: str
    C_W: float
    bias_rate: Callable[[int], float]
    title: str


def constant(layer: int) -> float:
    """The same rate in every layer."""
    return 1.0


def falling(layer: int) -> float:
    """lambda_b = 1/l, for which biases and weights add equally to the NTK of the K* = 0 class (PDLT section 9.4)."""
    return 1.0 / layer


CASES = (
    Case("identity", 1.0, constant, "linear (scale-invariant), lambda_W = lambda_b = 1"),
    Case("relu", 2.0, constant, "relu (scale-invariant), lambda_W = lambda_b = 1"),
    Case("tanh", 1.0, constant, "tanh (K* = 0), lambda_W = lambda_b = 1"),
    Case("tanh", 1.0, falling, "tanh (K* = 0), lambda_W = 1, lambda_b = 1/l"),
    Case("sin", 1.0, constant, "sin (K* = 0), lambda_W = lambda_b = 1"),
    Case("sin", 1.0, falling, "sin (K* = 0), lambda_W = 1, lambda_b = 1/l"),
)


def chain(case: Case, depth: int) -> Network:
    """A network of one input and equal widths."""
    sigma = rf.as_activation(case.activation)
    return Network(
        tuple(
            Layer(
                1 if number == 1 else 100,
                100,
                1.0 if number == 1 else case.C_W,
                0.0,
                1.0,
                case.bias_rate(number),
                sigma if number < depth else None,
            )
            for number in range(1, depth + 1)
        )
    )


def scale_invariant(a: float, w: float) -> dict[str, float]:
    """Coefficients in closed form, by summing the recursions over layers.

    Parameters
    ----------
    a
        A_4/A_2^2 with A_k = (a_+^k + a_-^k)/2: 1 for a linear network, 2 for relu.
    w
        The weights' share of one layer's contribution to the NTK, lambda_W A_2 K/(lambda_b + lambda_W A_2 K).
    """
    d = (w * (3 * a - 1) + a - 1) / 2
    return {
        "vertex": 3 * a - 1,
        "kernel_correction": 0.0,
        "ntk_correction": 0.0,
        "A": (a - 1 + 2 * w * d) / 3,
        "B": a / 3,
        "D": d,
        "F": a / 2,
        "P": 0.0,
        "Q": w * a / 6,
        "R": 0.0,
        "S": w * a / 12,
        "T": w * w * a / 12,
        "U": 0.0,
    }


def vanishing_kernel(k: float, bias_rate: Callable[[int], float]) -> dict[str, float]:
    """Coefficients of the K* = 0 class: each recursion solved to leading order by T = c l^p.

    There K = k/l, chi_perpendicular = 1 - 1/l and chi_parallel = 1 - 2/l, so that d<s' s'>/dK = <s'' s>/K = -1/k.

    Parameters
    ----------
    k
        lim K l: 1/2 for tanh, 1 for sin.
    bias_rate
        :func:`constant` or :func:`falling`.
    """
    g, v = -1 / k, 2 * k * k / 3  # V = v/l
    shift = g * v / 2  # G1
    if bias_rate is falling:  # Theta -> t, <Omega>_K = <d dOmega> -> o
        t, own = 1.0 + k, 1
        o = 1 + g * t
    else:  # Theta = t l, <Omega>_K = o l
        t, own = 0.5, 0
        o = g * t
    # T' - T = source - (decay/l) T with T = c l^p: c = source/(p + decay)
    power = {"F": (0, 1), "B": (1, 3), "D": (0, 1), "A": (1, 3), "H1": (1, 2), "P": (1, 3), "R": (2, 5)}
    p = {name: pair[1 - own] for name, pair in power.items()}
    F, B, D = k * t / (p["F"] + 4), t * t / (p["B"] + 2), o * v / (p["D"] + 3)
    A = 2 * o * D / (p["A"] + 2)
    H1 = (o * shift + g * (D + 2 * F)) / (p["H1"] + 1)
    P, Q = -B / (p["P"] + 3), o * F / (p["P"] + 3)
    R, T = (g * t * B + o * P) / (p["R"] + 2), 2 * o * Q / (p["R"] + 2)
    S = B / 4 if own else 0.0
    third = k / t**3
    return {
        "vertex": 2 / 3,
        "kernel_correction": shift / k,
        "ntk_correction": H1 / t,
        "A": A / t**2,
        "B": B / t**2,
        "D": D / (k * t),
        "F": F / (k * t),
        "P": P / t**2,
        "Q": Q / t**2,
        "R": R * third,
        "S": S * third,
        "T": T * third,
        "U": 0.0,
    }


def known_values(case: Case) -> dict[str, float]:
    """In closed form."""
    if case.activation == "identity":
        return scale_invariant(1.0, 1 / 2)
    if case.activation == "relu":
        return scale_invariant(2.0, 1 / 3)
    return vanishing_kernel({"tanh": 0.5, "sin": 1.0}[case.activation], case.bias_rate)


def rows(case: Case, depth: int) -> list[tuple[str, ...]]:
    """One row a tensor: symbol, exponent, unit, coefficient, its change in the last octave, closed form."""
    layers = rf.flow(chain(case, depth), np.ones((1, 1)), order=1, tangent=True, progress=False)
    known = known_values(case)
    found = []
    for name in TENSORS:
        if name in "PQRSTU" and not layers.differentials:
            continue
        values, ratios = [], []
        for layer in (layers[depth // 4], layers[depth // 2], layers[depth]):
            values.append(float(getattr(layer, name)))
            ratios.append(values[-1] / UNIT[name](float(layer.kernel), float(layer.ntk)))
        before, last = (ratios[1] - ratios[0]) / (depth / 4), (ratios[2] - ratios[1]) / (depth / 2)
        vanishes = abs(ratios[2]) < 1e-9
        exponent = "-" if vanishes or values[1] * values[2] <= 0 else f"{math.log2(values[2] / values[1]):.3f}"
        found.append(
            (
                SYMBOL.get(name, name),
                exponent,
                UNIT_NAME[name],
                "0" if vanishes else f"{last:.5f}",
                "-" if vanishes else f"{abs(last - before):.5f}",
                f"{known[name]:.5f}",
            )
        )
    kernel, ntk = (
        math.log2(float(getattr(layers[depth], key)) / float(getattr(layers[depth // 2], key)))
        for key in ("kernel", "ntk")
    )
    return [("K", f"{kernel:.3f}", "", "", "", ""), ("Theta", f"{ntk:.3f}", "", "", "", ""), *found]


HEAD = ("tensor", "exponent p", "unit", "coefficient of l", "change in the last octave", "closed form")

INTRODUCTION = """# How the tensors grow with depth

Written by `python benchmarks/asymptotics.py --out docs/tangent-depth.md`, from `rf.flow` at one input, depth {depth},
equal widths and critical couplings. A tensor T of layer l grows as l^p; in its natural unit it is a multiple of l, so
that with its 1/n the expansion runs in l/n, the aspect ratio. The coefficient is the slope of T/unit between layers
{half} and {depth}; its change against the octave before is about its distance to the limit for the K* = 0 class.

**Closed forms.** Scale-invariant class: sums of the recursions over layers, with a = A_4/A_2^2 (1 linear, 2 relu), w
the weights' share of a layer's part of the NTK (1/2 for the linear network here, 1/3 for relu) and
d = (w (3a - 1) + a - 1)/2:

    V 3a - 1     D d     F a/2     A (a - 1 + 2 w d)/3     B a/3     Q w a/6     S w a/12     T w^2 a/12     others 0

K* = 0 class: each recursion solved to leading order by T = c l^p (`vanishing_kernel` in the script). With constant
rates tanh and sin have the same coefficients:

    V 2/3   G1 -1/3   H1 1/30   A 1/15   B 1/5   D -1/6   F 1/5   P -1/30   Q -1/30   R -1/42   S 0   T 1/105   U 0

**Literature.** V/K^2 = 2 l/3 and (3a - 1) l: PDLT section 5.4. That the ratios of the NTK's tensors go as l/n: PDLT
chapters 9 and 11 and Yaida (arXiv 2210.04909), in agreement with every exponent below. The closed forms of the other
coefficients are ours; the book's own single-input solutions were not at hand to compare digit by digit.

relu has no entries for P to U: with a kink the recursion does not define them ([why](tangent-kernel.md)). An exponent
"-" stands where the tensor vanishes.

With one rate for all biases (lambda_b = 1) the NTK of the K* = 0 class grows as l though the kernel falls as 1/l;
lambda_b = 1/l keeps it constant (PDLT section 9.4). Where a coefficient is 0 to the digits shown beside an exponent,
the tensor grows more slowly than its unit times l.

"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depth", type=int, default=800)
    parser.add_argument("--out", type=Path, default=None, help="write the page here")
    options = parser.parse_args()
    parts = [INTRODUCTION.format(depth=options.depth, half=options.depth // 2)]
    for case in CASES:
        table = table_markdown(HEAD, rows(case, options.depth))
        print(f"{case.title}\n{table}\n", flush=True)
        parts.append(f"## {case.title}\n\n{table}\n\n")
    if options.out is not None:
        options.out.write_text("".join(parts).rstrip() + "\n")


if __name__ == "__main__":
    main()
