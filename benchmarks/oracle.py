"""The exact law of one Gram entry, and the expansion in 1/n measured against it.

    python benchmarks/oracle.py              # all tables, as Markdown; about three minutes on one core
    python benchmarks/oracle.py accuracy     # or: width-eight slopes best-order

``accuracy``: the oracle against closed forms. ``width-eight``: orders 0 to 4 at widths 8, 16 and 32. ``slopes``: the
power with which each order's error falls with width. ``best-order``: where the series stops improving, and what
resummation gains.
"""

from __future__ import annotations

import argparse
import math
import time
import warnings

import numpy as np
from scipy import special

import repflow as rf
from repflow.exact import gram_density
from repflow.recursion.expansion import expansion


def network(name: str, n: int, hidden: int) -> rf.Network:
    """Equal widths, at critical couplings."""
    couplings = {
        "identity": (1.0, 0.0),
        "relu": (2.0, 0.0),
        "tanh": (1.0, 0.0),
        "sin": (1.0, 0.0),
        "gelu": (1.98305826, 0.17292239),
    }
    C_W, C_b = couplings[name]
    return rf.mlp([1, *[n] * hidden, 1], activation=name, C_W=C_W, C_b=C_b)


def first_input(name: str) -> float:
    """The input that gives G^(1) = 1."""
    layer = network(name, 1, 1).layers[0]
    return math.sqrt((1.0 - layer.C_b) / layer.C_W)


def row(*cells: object) -> None:
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


def head(*cells: str) -> None:
    row(*cells)
    row(*["---"] * len(cells))


def cumulants_of(moments: list[float]) -> list[float]:
    """Cumulants from raw moments 1, 2, 3."""
    one, two, three = moments
    return [one, two - one**2, three - 3 * two * one + 2 * one**3]


def relu_factor(n: int, m: int) -> float:
    """E[(2/n sum relu(u)^2)^m]."""
    k = np.arange(n + 1)
    p = special.comb(n, k) / 2.0**n
    return float(p @ np.prod([k + 2.0 * j for j in range(m)], axis=0)) * (2.0 / n) ** m


def accuracy() -> None:
    print("\nError of the oracle at the output, relative (E[log G]: absolute), and its own estimate of the first two\n")
    head("network", "mean", "variance", "third cumulant", "E[log G]", "estimate", "CPU s")
    for name, n, hidden in [
        ("identity", 1, 3),
        ("identity", 2, 5),
        ("identity", 8, 5),
        ("identity", 8, 50),
        ("identity", 100, 50),
        ("identity", 1000, 10),
        ("relu", 2, 5),
        ("relu", 16, 9),
        ("relu", 130, 39),
    ]:
        start = time.process_time()
        law = gram_density(network(name, n, hidden), [first_input(name)])
        seconds = time.process_time() - start
        if name == "identity":
            raw = [math.prod((1 + 2 * j / n) ** hidden for j in range(m)) for m in (1, 2, 3)]
            log = f"{abs(law[-1].log_moment(1) - hidden * (special.digamma(n / 2) + math.log(2 / n))):.0e}"
        else:
            raw = [relu_factor(n, m) ** hidden for m in (1, 2, 3)]
            log = ""
        errors = [abs(law[-1].cumulant(m) / exact - 1) for m, exact in enumerate(cumulants_of(raw), start=1)]
        row(f"{name} {hidden} x {n}", *(f"{e:.0e}" for e in errors), log, f"{law.error:.0e}", f"{seconds:.1f}")


def width_eight() -> None:
    print("\nOrders against the oracle: 5 hidden layers, G^(1) = 1; relative error\n")
    head("network", "cumulant", "exact", *(f"order {k}" for k in range(5)), "Padé of order 6")
    for name in ("tanh", "sin"):
        for n in (8, 16, 32):
            net = network(name, n, 5)
            law, series = gram_density(net, [first_input(name)])[-1], expansion(net, [[first_input(name)]], 6)[-1]
            for m in (1, 2, 3):
                exact = law.cumulant(m)
                errors = [float(series.cumulant(m, k).sum()) / exact - 1 for k in range(5)]
                cells = [f"{e:+.2%}" if k >= m - 1 else "" for k, e in enumerate(errors)]
                row(f"{name} 5 x {n}", m, f"{exact:.6g}", *cells, f"{series.resummed(m, 'pade') / exact - 1:+.3%}")


def slopes() -> None:
    print("\nPower of n with which each order's error falls, fitted at widths 128, 192, 256; 5 hidden layers\n")
    widths = (128, 192, 256)
    head("activation", "cumulant", *(f"order {k}" for k in range(5)))
    for name in ("tanh", "sin"):
        errors: dict[tuple[int, int], list[float]] = {}
        for n in widths:
            net = network(name, n, 5)
            law, series = gram_density(net, [first_input(name)])[-1], expansion(net, [[first_input(name)]], 4)[-1]
            for m in (1, 2, 3):
                for k in range(m - 1, 5):
                    errors.setdefault((m, k), []).append(abs(float(series.cumulant(m, k).sum()) - law.cumulant(m)))
        for m in (1, 2, 3):
            fits = [np.polyfit(np.log(widths), np.log(errors[m, k]), 1)[0] for k in range(m - 1, 5)]
            row(name, m, *[""] * (m - 1), *(f"{fit:.2f}" for fit in fits))


def best_order() -> None:
    print("\nThe mean and the variance of G: the best order of the plain series up to 12, and resummation at order 8\n")
    head(
        "network",
        "(L-1)/n",
        "cumulant",
        "order 1",
        "order 2",
        "best order",
        "its error",
        "predicted",
        "its error",
        "exponential, order 2",
        "exponential, order 8",
        "Padé, order 8",
        "Borel-Padé, order 8",
    )
    for name, n, hidden in [
        ("tanh", 16, 5),
        ("tanh", 8, 5),
        ("tanh", 16, 20),
        ("tanh", 8, 20),
        ("sin", 16, 5),
        ("sin", 8, 5),
        ("sin", 16, 20),
        ("sin", 8, 20),
        ("relu", 16, 20),
        ("relu", 8, 20),
        ("gelu", 16, 5),
        ("gelu", 8, 5),
    ]:
        net = network(name, n, hidden)
        x = first_input(name)
        series = expansion(net, [[x]], 12)[-1]
        law = gram_density(net, [x])[-1]
        for m in (1, 2):
            exact = law.cumulant(m)
            if name == "relu" and m == 1:
                continue  # exact at every order

            def error(value: float, exact: float = exact) -> float:
                return abs(value / exact - 1)

            plain = {k: error(float(series.cumulant(m, k).sum())) for k in range(m - 1, 13)}
            best = min(plain, key=lambda k: plain[k])
            predicted = series.best_order(m)
            row(
                f"{name} {hidden} x {n}",
                f"{hidden / n:.2f}",
                m,
                f"{plain[1]:.1e}",
                f"{plain[2]:.1e}",
                best,
                f"{plain[best]:.1e}",
                predicted,
                f"{plain[predicted]:.1e}",
                f"{error(series.resummed(m, 'exponential', 2)):.1e}",
                f"{error(series.resummed(m, 'exponential', 8)):.1e}".replace("nan", "overflow"),
                f"{error(series.resummed(m, 'pade', 8)):.1e}",
                f"{error(series.resummed(m, 'borel', 8)):.1e}".replace("nan", "pole"),
            )


TABLES = {"accuracy": accuracy, "width-eight": width_eight, "slopes": slopes, "best-order": best_order}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", nargs="*", choices=[*TABLES, []], help="which tables; all unless given")
    chosen = parser.parse_args().table or list(TABLES)
    warnings.simplefilter("ignore")
    for name in chosen:
        TABLES[name]()


if __name__ == "__main__":
    main()
