"""``RepresentationLearning``: predicted and measured changes of the kernels, and what they say about the features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from repflow.figures import check_table_format, table_html, table_markdown, table_text
from repflow.network import Network
from repflow.results import Payload, Result, labelled, result_schema
from repflow.training.kernel_change import KernelChange

FloatArray = NDArray[np.float64]

#: Relative change below which features count as frozen, and above which order 1/n is not to be trusted.
FROZEN, TRUSTED = 0.02, 0.1
#: r_L above which the network's own fluctuations are beyond order 1.
TRUSTED_RATIO = 0.3

Regime = Literal["frozen", "moving", "beyond order 1"]


@result_schema("representation-learning", version=1)
@dataclass(frozen=True, eq=False, repr=False)
class RepresentationLearning(Result):
    """What :func:`repflow.representation_learning` found.

    Attributes
    ----------
    network, x, y
        As given: x (N, n_0), y (N, n_L) or None.
    learning_rate, edge
        eta, and the largest stable rate 2N/(largest eigenvalue of Theta).
    steps
        Number of steps; None: training to its end.
    ratio
        r_L, the relative fluctuation of the output's kernel between initialisations.
    kernels
        K of hidden layers 1..L-1 at infinite width, shape (L - 1, N, N).
    ntk
        Theta at the output, shape (N, N).
    kernel_change
        Predicted mean change of (1/n_l) sum_k z_k;a z_k;b at order 1/n, widths put in; shape (L - 1, N, N).
    ntk_change
        Predicted mean change of the NTK averaged over outputs, (1/n_L) sum_i H_ii;ab; shape (N, N).
    loss
        Mean loss before and after, at infinite width.
    measured
        The same changes in real networks, or None.
    """

    network: Network
    x: FloatArray
    y: FloatArray | None
    learning_rate: float
    edge: float
    steps: int | None
    ratio: float
    kernels: FloatArray
    ntk: FloatArray
    kernel_change: FloatArray
    ntk_change: FloatArray
    loss: tuple[float, float]
    measured: KernelChange | None = None

    @property
    def relative_kernel_change(self) -> FloatArray:
        """|change|/|K| of each hidden layer, Frobenius norms; shape (L - 1,)."""
        return _norms(self.kernel_change) / self._sizes()[:-1]

    @property
    def relative_ntk_change(self) -> float:
        """|change|/|Theta|, Frobenius norms."""
        return float(_norms(self.ntk_change[None])[0] / self._sizes()[-1])

    def measured_relative_change(self) -> tuple[FloatArray, FloatArray]:
        """Measured |change|/|K| of hidden layers and, last, |change|/|Theta|, with standard errors; shapes (L,).

        Raises
        ------
        ValueError
            No networks were trained.
        """
        if self.measured is None:
            raise ValueError("no networks were trained; representation_learning(..., networks=2000) measures")
        norms, errors = self.measured.norms()
        return norms / self._sizes(), errors / self._sizes()

    def _sizes(self) -> FloatArray:
        sizes = _norms(np.concatenate([self.kernels, self.ntk[None]]))
        return np.where(sizes > 0, sizes, np.nan)

    @property
    def relative_change(self) -> float:
        """The largest relative change, of a hidden kernel or of the NTK."""
        return float(np.nanmax([*self.relative_kernel_change, self.relative_ntk_change]))

    @property
    def regime(self) -> Regime:
        """``"frozen"`` where no kernel changes by 2%, ``"beyond order 1"`` where one is predicted to change by more
        than 10%, r_L > 0.3, or the rate is beyond the edge, else ``"moving"``.
        """
        if (
            self.learning_rate > self.edge
            or self.relative_change > TRUSTED
            or self.ratio > TRUSTED_RATIO
            or not np.isfinite(self.relative_change)
        ):
            return "beyond order 1"
        return "frozen" if self.relative_change < FROZEN else "moving"

    @property
    def sentence(self) -> str:
        """How much features move, in a sentence."""
        if self.learning_rate > self.edge:
            return (
                f"The rate {self.learning_rate:.3g} is beyond the edge of stability, {self.edge:.3g}: training "
                "diverges at leading order, and what the kernels do then says nothing of features."
            )
        hidden = float(np.nanmax(self.relative_kernel_change))
        found = f"a hidden kernel changes by up to {_percent(hidden)}, the NTK by {_percent(self.relative_ntk_change)}"
        if self.regime == "frozen":
            return f"Features are frozen: {found}, so training is nearly that of a linear model."
        if self.regime == "moving":
            return f"Features move: {found}."
        return (
            f"Features move beyond order 1/n: {found} by the leading order alone (r_L = {self.ratio:.2g}), which is a "
            "tendency, not a number."
        )

    def table(self, format: str = "text") -> Any:
        """A row for each hidden kernel and one for the NTK, relative changes in percent.

        Parameters
        ----------
        format
            ``"text"``, ``"markdown"``, ``"html"`` or ``"dict"``.
        """
        check_table_format(format)
        predicted = np.append(self.relative_kernel_change, self.relative_ntk_change)
        names = [f"kernel of layer {l}" for l in range(1, self.network.depth)] + ["NTK at the output"]
        columns = {"what": names, "predicted": predicted.tolist()}
        if self.measured is not None:
            measured, errors = self.measured_relative_change()
            columns |= {"measured": measured.tolist(), "standard error": errors.tolist()}
        if format == "dict":
            return columns
        heads = [name if name == "what" else f"{name}, %" for name in columns]
        rows = [[row[0], *(f"{100 * value:.3g}" for value in row[1:])] for row in zip(*columns.values(), strict=True)]
        if format == "html":
            return table_html(heads, rows)
        return (table_markdown if format == "markdown" else table_text)(heads, rows)

    def __repr__(self) -> str:
        how = "to the end" if self.steps is None else f"{self.steps} steps"
        return (
            f"RepresentationLearning({self.regime}: hidden kernels {np.nanmax(self.relative_kernel_change):.3g}, "
            f"NTK {self.relative_ntk_change:.3g} relative, {how} at lr={self.learning_rate:.4g} "
            f"({self.learning_rate / self.edge:.2g} of the edge), r_L={self.ratio:.3g}, network={self.network!r})"
        )

    def _repr_html_(self) -> str:
        return f"<p>{self.sentence}</p>{self.table('html')}"

    def to_xarray(self) -> Any:
        """An ``xarray.Dataset`` with dimensions hidden layer and input."""
        layer, pair = ("layer", "input", "input"), ("input", "input")
        variables: dict[str, tuple[tuple[str, ...], FloatArray]] = {
            "kernel": (layer, self.kernels),
            "kernel_change": (layer, self.kernel_change),
            "ntk": (pair, self.ntk),
            "ntk_change": (pair, self.ntk_change),
        }
        if self.measured is not None:
            variables |= {
                "kernel_change_measured": (layer, self.measured.kernels),
                "kernel_change_stderr": (layer, self.measured.kernels_stderr),
                "ntk_change_measured": (pair, self.measured.ntk),
                "ntk_change_stderr": (pair, self.measured.ntk_stderr),
            }
        attributes = {
            "learning_rate": self.learning_rate,
            "edge": self.edge,
            "steps": -1 if self.steps is None else self.steps,
            "r_L": self.ratio,
            "regime": self.regime,
        }
        return labelled(variables, {"layer": np.arange(1, self.network.depth)}, attributes)

    def _payload(self) -> Payload:
        names = ("x", "kernels", "ntk", "kernel_change", "ntk_change")
        arrays = {name: getattr(self, name) for name in names}
        dims: dict[str, tuple[str, ...]] = {"x": ("input", "feature")}
        dims |= dict.fromkeys(("kernels", "kernel_change"), ("layer", "input", "input'"))
        dims |= dict.fromkeys(("ntk", "ntk_change"), ("input", "input'"))
        if self.y is not None:
            arrays["y"], dims["y"] = self.y, ("input", "output")
        meta: dict[str, Any] = {
            "network": self.network.to_dict(),
            "learning_rate": self.learning_rate,
            "edge": self.edge,
            "steps": self.steps,
            "ratio": self.ratio,
            "loss": list(self.loss),
            "measured": None,
        }
        if self.measured is not None:
            found = self.measured
            arrays |= {
                "measured/kernels": found.kernels,
                "measured/ntk": found.ntk,
                "measured/covariance": found.covariance,
            }
            dims |= {
                "measured/kernels": ("layer", "input", "input'"),
                "measured/ntk": ("input", "input'"),
                "measured/covariance": ("component", "component'"),
            }
            meta["measured"] = {"loss": list(found.loss), "networks": found.networks, "diverged": found.diverged}
        return Payload(arrays, meta, dims)

    @classmethod
    def _from_payload(cls, payload: Payload, activations: Mapping[str, Any] | None) -> Self:
        meta, arrays = payload.meta, {name: np.asarray(array) for name, array in payload.arrays.items()}
        found = meta["measured"]
        measured = None
        if found is not None:
            measured = KernelChange(
                kernels=arrays["measured/kernels"],
                ntk=arrays["measured/ntk"],
                covariance=arrays["measured/covariance"],
                loss=(found["loss"][0], found["loss"][1]),
                networks=int(found["networks"]),
                diverged=int(found["diverged"]),
            )
        return cls(
            network=Network.from_dict(meta["network"], activations),
            x=arrays["x"],
            y=arrays.get("y"),
            learning_rate=meta["learning_rate"],
            edge=meta["edge"],
            steps=meta["steps"],
            ratio=meta["ratio"],
            kernels=arrays["kernels"],
            ntk=arrays["ntk"],
            kernel_change=arrays["kernel_change"],
            ntk_change=arrays["ntk_change"],
            loss=(meta["loss"][0], meta["loss"][1]),
            measured=measured,
        )


def _percent(value: float) -> str:
    return f"{100 * value:.0f}%" if value >= 0.1 else f"{100 * value:.2g}%"


def _norms(matrices: FloatArray) -> FloatArray:
    return np.asarray(np.sqrt((matrices**2).sum((1, 2))))
