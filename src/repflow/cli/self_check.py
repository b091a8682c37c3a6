"""Whether an installation works: a flow against its closed form, an ensemble, files and a page, in seconds."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

WIDTH, DEPTH = 16, 4


def self_check() -> list[dict[str, Any]]:
    """Each check with whether it passed, how long it took, and what it saw or why it failed."""
    found: list[dict[str, Any]] = []
    for name, check in CHECKS.items():
        start = time.perf_counter()
        try:
            passed, detail = check()
        except Exception as error:  # whatever a broken installation may raise
            passed, detail = False, f"{type(error).__name__}: {' '.join(str(error).split())}"
        found.append(
            {"check": name, "passed": passed, "seconds": round(time.perf_counter() - start, 2), "detail": detail}
        )
    return found


def _flow() -> Any:
    import repflow as rf

    return rf.flow(rf.mlp([2, *[WIDTH] * (DEPTH - 1), 1], activation="relu", C_W=2.0, C_b=0.0), [[1.0, 1.0]])


def _theory() -> tuple[bool, str]:
    """relu at C_W = 2: K stays, and V_1111/(n K^2) is 5 (l - 1)/n."""
    worst = 0.0
    for l, layer in enumerate(_flow(), start=1):
        kernel = float(layer.mean_kernel(order=0)[0, 0])
        variance = float(layer.kernel_covariance()[0, 0, 0, 0]) / kernel**2
        worst = max(worst, abs(kernel - 2.0), abs(variance - 5.0 * (l - 1) / WIDTH))
    return worst < 1e-9, f"kernel and vertex of relu, deviation {worst:.1e} from the closed form"


def _ensemble() -> tuple[bool, str]:
    """The mean kernel of relu networks at C_W = 2 is K at every width; each of these comes with its standard error."""
    import repflow as rf

    network = rf.mlp([2, *[WIDTH] * (DEPTH - 1), 1], activation="relu", C_W=2.0, C_b=0.0)
    last = rf.sample(network, [[1.0, 1.0]], networks=1000, seed=0, progress=False)[-1]
    mean, error = float(last.mean_kernel()[0, 0]), float(last.stderr("mean_kernel")[0, 0])
    return abs(mean - 2.0) < 5 * error, f"mean kernel of 1000 networks {mean:.3f} +- {error:.3f}, expected 2"


def _data() -> tuple[bool, str]:
    from repflow.data import load_data

    digits = load_data("digits", inputs=10)
    return digits.x.shape == (10, 64), f"{len(digits)} digits of {digits.x.shape[1]} pixels"


def _files() -> tuple[bool, str]:
    """A result is the same after it was written and read, in both formats."""
    import repflow as rf

    flow = _flow()
    with tempfile.TemporaryDirectory(prefix="repflow-doctor-") as directory:
        for name in ("flow.json", "flow.zarr"):
            flow.save(Path(directory) / name)
            back: Any = rf.load(Path(directory) / name)
            if [float(layer.kernel[0, 0]) for layer in back] != [float(layer.kernel[0, 0]) for layer in flow]:
                return False, f"{name} does not hold what was written"
    return True, "JSON and zarr, written and read in a temporary folder"


def _page() -> tuple[bool, str]:
    from plotly.graph_objects import Figure, Scatter

    from repflow.figures import figure_page

    page = figure_page(Figure(Scatter(x=[0, 1], y=[0, 1])), title="doctor", caption="A line.")
    return "Plotly" in page, f"one figure, {len(page) / 1e6:.1f} MB"


CHECKS: dict[str, Callable[[], tuple[bool, str]]] = {
    "theory": _theory,
    "ensemble": _ensemble,
    "data": _data,
    "files": _files,
    "page": _page,
}
