"""Theory against experiment at order 2: every component of X, V1 and G2 of three inputs, by the agreement rule.

    python benchmarks/second_order.py --out second_order/                              # the full set, resumable
    python benchmarks/second_order.py --out second_order/ --page docs/second-order.md  # and its table into the page

The experiment is the exact chain of Gram matrices in plain NumPy, a million chains at each of two widths: given G, draw
n vectors z from N(0, G) and form C_b + C_W/n sum s(z) s(z)^T. It shares nothing with the theory but the activation's
formula. What is compared are the coefficients at order 2, c_n = n^k (statistic - lower orders): n^2 (E G - K - G1/n)
with G2, n^2 (Cov G - V/n) with V1, n^2 times the third cumulant with X. With n1 < n2

    lead = (n2 c_2 - n1 c_1)/(n2 - n1),    |theory - lead| <= 5 s + t,    t = 0.35 |c_2 - c_1| + 0.002 max|lead|,

s the standard error of lead from a jackknife over blocks of chains; r_L at the smaller width is 0.5 at most. Widths are
small, since the noise of c_n grows as n^(3/2) for the mean and as n for the covariance. Hermite products of the
normals u, z = G^(1/2) u, whose means are exactly 0, serve as control variates: what blocks owe to them is taken off.
Blocks are kept as they end, so that a stopped run goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

import repflow as rf
from repflow.blocks import Checkpoint, generator
from repflow.data import load_data
from repflow.figures import table_markdown
from repflow.results import atomic_write_text

START, END = "<!-- agreement at order 2 -->", "<!-- end of agreement at order 2 -->"
BLOCKS = 1000
INPUTS = 3
Array = np.ndarray[Any, np.dtype[np.float64]]


def _gelu(z: Array) -> Array:
    from scipy.special import erf

    return 0.5 * z * (1 + erf(z / math.sqrt(2)))


SIGNALS: dict[str, Callable[[Array], Array]] = {
    "tanh": np.tanh,
    "sin": np.sin,
    "gelu": _gelu,
    "relu": lambda z: np.maximum(z, 0.0),
    "hardtanh": lambda z: np.clip(z, -1.0, 1.0),
    "elu": lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0.0))),
}


@dataclass(frozen=True)
class Case:
    """One comparison: hidden widths are ``shape`` times ``width``, and twice that."""

    activation: str
    shape: tuple[int, ...]
    width: int
    C_W: float = 1.0
    C_b: float = 0.0

    @property
    def name(self) -> str:
        """A file name."""
        return f"{self.activation}_{'-'.join(map(str, self.shape))}_width{self.width}"

    @property
    def widths(self) -> tuple[int, int]:
        """Both widths."""
        return self.width, 2 * self.width

    def hidden(self, width: int) -> list[int]:
        """Hidden widths."""
        return [share * width for share in self.shape]

    def network(self, width: int, x: Array) -> rf.Network:
        """The network of this width."""
        widths = [x.shape[1], *self.hidden(width), 4]
        return rf.mlp(widths, activation=self.activation, C_W=self.C_W, C_b=self.C_b)


#: r_L is 0.5 at most at the smaller width; gelu at critical couplings would need widths at which noise is all.
CASES = (
    Case("tanh", (1, 1, 1), 4),
    Case("sin", (1, 2, 1), 4),
    Case("gelu", (1, 1, 1), 8, 1.2, 0.5),
    Case("gelu", (2, 1, 3), 4, 1.2, 0.5),
    Case("relu", (1, 1), 22, 2.0),
    Case("hardtanh", (1, 1, 1), 8),
    Case("elu", (1, 1, 1), 10, 1.2, 0.1),
)


def chain_block(
    case: Case, x: Array, width: int, chains: int, random: np.random.Generator
) -> tuple[list[Array], Array]:
    """Gram matrices by pairs of layers 2 to L, (chains, P) each, and control variates, 0 on average."""
    a, b = np.triu_indices(len(x))
    gram = np.broadcast_to(case.C_b + case.C_W * x @ x.T / x.shape[1], (chains, len(x), len(x)))
    found, controls = [], []
    for n in case.hidden(width):
        values, vectors = np.linalg.eigh(gram)
        factor = vectors * np.sqrt(values.clip(min=0.0))[:, None, :] @ vectors.swapaxes(1, 2)
        normals = random.standard_normal((chains, len(x), n))
        signals = SIGNALS[case.activation](factor @ normals)
        gram = case.C_b + case.C_W / n * signals @ signals.swapaxes(1, 2)
        found.append(gram[:, a, b])
        controls.append(hermite_means(normals))
    return found, np.concatenate(controls)


def hermite_means(normals: Array) -> Array:
    """Means over normals (chains, N, n) of the products He_i(u_1) He_j(u_2) ... of degrees 2 and 4: 0 on average."""
    powers = [np.ones_like(normals), normals, normals**2 - 1, normals**3 - 3 * normals, normals**4 - 6 * normals**2 + 3]
    count = normals.shape[1]
    found = []
    for degrees in product(range(5), repeat=count):
        if sum(degrees) in (2, 4):
            factors = [powers[degree][:, k] for k, degree in enumerate(degrees) if degree]
            found.append(np.prod(factors, axis=0).mean())
    return np.array(found)


def sums_of(values: Array, centre: Array) -> Array:
    """Means of products of one, two and three entries less their centre, in one vector."""
    d = values - centre
    second = d[:, :, None] * d[:, None, :]
    third = np.einsum("ci,cjk->ijk", d, second, optimize=True)
    return np.concatenate([d.mean(0), second.mean(0).ravel(), third.ravel() / len(d)])


def cumulants_of(means: Array, centre: Array, chains: int) -> Array:
    """Mean, unbiased covariance and unbiased third cumulant, one vector laid out as that of :func:`sums_of`."""
    count = len(centre)
    first, rest = means[:count], means[count:]
    second, third = rest[: count**2].reshape(count, count), rest[count**2 :].reshape(count, count, count)
    cov = second - first[:, None] * first
    cube = third + 2 * first[:, None, None] * first[:, None] * first
    cube = cube - first[:, None, None] * second
    cube = cube - first[:, None] * second[:, None, :]
    cube = cube - first * second[:, :, None]
    cov = cov * chains / (chains - 1)
    cube = cube * chains**2 / ((chains - 1) * (chains - 2))
    return np.concatenate([first + centre, cov.ravel(), cube.ravel()])


def measured(case: Case, x: Array, width: int, chains: int, seed: int, path: Path | None) -> Array:
    """Block means, (blocks, layers, ...), and the centres in row 0: resumed from ``path``."""
    configuration = {
        "case": case.name,
        "C_W": case.C_W,
        "C_b": case.C_b,
        "width": width,
        "chains": chains,
        "seed": seed,
    }
    configuration["x"] = x.tolist()
    checkpoint = None if path is None else Checkpoint(path, configuration)
    saved = checkpoint.load() if checkpoint else None
    blocks, controls = ([], []) if saved is None else (list(saved["blocks"]), list(saved["controls"]))
    size = chains // BLOCKS
    centres = [values.mean(0) for values in chain_block(case, x, width, 1000, generator(seed, width, 0))[0]]
    started = time.monotonic()
    while len(blocks) < BLOCKS:
        found, control = chain_block(case, x, width, size, generator(seed, width, 1 + len(blocks)))
        blocks.append(np.stack([sums_of(values, centre) for values, centre in zip(found, centres, strict=True)]))
        controls.append(control)
        if checkpoint and (time.monotonic() - started > 10 or len(blocks) == BLOCKS):
            checkpoint.save({"blocks": np.stack(blocks), "controls": np.stack(controls)})
            started = time.monotonic()
    means, control = np.stack(blocks), np.stack(controls)
    flat = means.reshape(BLOCKS, -1)
    slope = np.linalg.lstsq(control - control.mean(0), flat - flat.mean(0), rcond=None)[0]
    means = (flat - control @ slope).reshape(means.shape)
    total = means.mean(0)
    rows = []
    for number in range(-1, len(means)):  # the whole, then all but one block at a time
        left = total if number < 0 else (total * len(means) - means[number]) / (len(means) - 1)
        count = (len(means) - (number >= 0)) * size
        rows.append([cumulants_of(part, centre, count) for part, centre in zip(left, centres, strict=True)])
    return np.array(rows)


def coefficients(case: Case, x: Array, width: int, rows: Array) -> tuple[Array, Array, float]:
    """Coefficients at order 2 in layers 2 to L: measured with its jackknife rows, and predicted; and r_L."""
    flow = rf.flow(case.network(width, x), x, order=2, progress=False)
    a, b = np.triu_indices(len(x))
    shifted, theory = [], []
    for number, layer in enumerate(list(flow)[1:]):
        mean = layer.mean_kernel(1).numpy()[a, b]
        cov = layer.kernel_covariance(1).numpy()[a[:, None], b[:, None], a, b]
        third = layer.sextic.numpy()
        third = third[a[:, None, None], b[:, None, None], a[:, None], b[:, None], a, b]
        lower = np.concatenate([mean, cov.ravel(), np.zeros(third.size)])
        # n is the width of which the hidden ones are multiples: for a layer, n_{l-1}^2 is its square times a constant.
        shifted.append(layer.n_in**2 * (rows[:, number] - lower))
        correction = layer.kernel_correction2.numpy()[a, b]
        vertex = layer.vertex_correction.numpy()[a[:, None], b[:, None], a, b]
        theory.append(np.concatenate([correction, vertex.ravel(), third.ravel()]))
    return np.stack(shifted, axis=1), np.array(theory), flow[-1].relative_fluctuation


def independent(count: int) -> dict[str, Array]:
    """Places of the independent components of G2, V1 and X in the vectors."""
    i, j = np.triu_indices(count)
    triples = [(p, q, r) for p in range(count) for q in range(p, count) for r in range(q, count)]
    three = np.array([count + count**2 + (p * count + q) * count + r for p, q, r in triples])
    return {"G2": np.arange(count), "V1": count + i * count + j, "X": three}


def run(case: Case, chains: int, seed: int, out: Path | None) -> dict[str, Any]:
    """One case as plain data."""
    started = time.process_time()
    x = np.asarray(load_data("digits", inputs=INPUTS).x, dtype=np.float64)
    parts = []
    for width in case.widths:
        path = None if out is None else out / f"{case.name}_at_{width}_{chains}.npz"
        parts.append(coefficients(case, x, width, measured(case, x, width, chains, seed, path)))
    (one, theory, r), (two, again, _) = parts
    assert np.allclose(theory, again, rtol=1e-6, atol=1e-9 * np.abs(theory).max())
    n1, n2 = case.widths
    rows = (n2 * two - n1 * one) / (n2 - n1)
    lead, left = rows[0], rows[1:]
    s = np.sqrt((len(left) - 1) / len(left) * ((left - left.mean(0)) ** 2).sum(0))
    found: dict[str, Any] = {"components": 0, "worst": {}, "within": True, "size": {}}
    for name, places in independent(INPUTS * (INPUTS + 1) // 2).items():
        worst = 0.0
        for layer in range(len(theory)):
            value, error = lead[layer, places], s[layer, places]
            t = 0.35 * np.abs(two[0, layer, places] - one[0, layer, places]) + 0.002 * np.abs(value).max()
            beyond = (np.abs(theory[layer, places] - value) - t).clip(min=0.0) / error
            found["components"] += len(places)
            worst = max(worst, float(beyond.max()))
        found["worst"][name] = worst
        found["within"] &= bool(worst <= 5.0)
        last = np.abs(theory[-1, places]).max()
        found["size"][name] = [float(last), float(s[-1, places].max() / last)]
    return found | {
        "activation": case.activation,
        "hidden": [case.hidden(width) for width in case.widths],
        "couplings": [case.C_W, case.C_b],
        "chains": chains,
        "r_L": r,
        "trusted": r <= 0.5,
        "agrees": r <= 0.5 and found["within"],
        "seconds": time.process_time() - started,
    }


def section(results: list[dict[str, Any]]) -> str:
    """The table as Markdown, between the two marks."""
    head = ("activation", "C_W, C_b", "hidden widths", "r_L", "components", "G2", "V1", "X", "verdict")
    rows = [
        (
            r["activation"],
            f"{r['couplings'][0]:g}, {r['couplings'][1]:g}",
            " and ".join("-".join(map(str, hidden)) for hidden in r["hidden"]),
            f"{r['r_L']:.3f}",
            str(r["components"]),
            *(f"{r['worst'][name]:.2f}" for name in ("G2", "V1", "X")),
            ("agrees" if r["agrees"] else "disagrees") if r["trusted"] else "r_L too large",
        )
        for r in results
    ]
    chains = min(r["chains"] for r in results)
    return "\n".join(
        [
            START,
            "",
            table_markdown(head, rows),
            "",
            f"{chains:,} chains at each width.",
            "",
            END,
        ]
    )


def main() -> None:
    """Run what is not there yet and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("second_order"))
    parser.add_argument("--chains", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=2029)
    parser.add_argument("--only", help="cases whose name holds this text")
    parser.add_argument("--page", type=Path, help="write the table into this Markdown page")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    results = []
    for number, case in enumerate(CASES):
        if options.only is not None and options.only not in case.name:
            continue
        path = options.out / f"{case.name}_{options.chains}.json"
        if not path.exists():
            found = run(case, options.chains, options.seed + 100 * number, options.out)
            atomic_write_text(path, json.dumps(found, indent=1))
        found = json.loads(path.read_text())
        results.append(found)
        worst = " ".join(f"{name} {value:.2f}" for name, value in found["worst"].items())
        noise = " ".join(f"{name} {value[1]:.1%}" for name, value in found["size"].items())
        print(
            f"{case.name:24s} r_L={found['r_L']:.3f} beyond t: {worst}; s/max: {noise}; agrees={found['agrees']} "
            f"{found['seconds']:.0f} s",
            flush=True,
        )
    text = section(results)
    print(text)
    if options.page:
        old = options.page.read_text() if options.page.exists() else "# The second order\n"
        kept = old[old.index(START) : old.index(END) + len(END)] if START in old and END in old else ""
        atomic_write_text(options.page, old.replace(kept, text) if kept else f"{old.rstrip()}\n\n{text}\n")


if __name__ == "__main__":
    main()
