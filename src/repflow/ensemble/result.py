"""``Ensemble``: what ``sample`` returns, layer by layer, and how it is saved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np

from repflow.ensemble.accumulator import Accumulator, State
from repflow.ensemble.arithmetic import Array
from repflow.ensemble.features import HISTOGRAM_BINS, HISTOGRAM_NEURONS, HISTOGRAM_RANGE, moment_neurons
from repflow.ensemble.layout import Index, Layout
from repflow.ensemble.statistics import ESTIMATES, Estimate, LayerSums, assemble
from repflow.ensemble.tangent_layout import DIFFERENTIALS, TangentLayout
from repflow.ensemble.tangent_statistics import OVER_PAIRS, TANGENT, TangentSums
from repflow.network import Network
from repflow.results import Payload, Result, result_schema


class Histogram(NamedTuple):
    """Distribution of one neuron's z, for each input.

    Attributes
    ----------
    edges
        (N, bins + 1), in the unit of z; the grid is the same for every input in units of its scale.
    density
        (N, bins), probability per unit of z.
    counts
        (N, bins).
    outside
        (N, 2), counts below and above the grid.
    """

    edges: Array
    density: Array
    counts: np.ndarray[Any, np.dtype[np.int64]]
    outside: np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class EnsembleLayer:
    """Statistics of layer l. Its G^(l) is the covariance of the layer's neurons given layer l - 1, so layer 1 is exact.

    Attributes
    ----------
    index
        l, from 1 to L.
    n_in, n_out
        n_{l-1} and n_l.
    sums
        Group averages that everything is computed from.
    """

    index: int
    n_in: int
    n_out: int
    sums: LayerSums = field(repr=False)
    scale: Array = field(repr=False)
    cells: np.ndarray[Any, np.dtype[np.int64]] = field(repr=False)
    tangent: TangentSums | None = field(default=None, repr=False)
    is_output: bool = False

    @property
    def statistics(self) -> tuple[str, ...]:
        """The statistics that this layer has, by the names that :meth:`statistic` takes."""
        found = [name for name in ESTIMATES if name != "kernel_third_cumulant" or self.sums.layout.sextuples]
        if self.tangent is not None:
            found.append("mean_ntk")
            found += [name for name in OVER_PAIRS if self._lacking(name) is None]
        return tuple(found)

    def _lacking(self, name: str) -> str | None:
        """Why this layer does not have a statistic of the NTK; None where it has."""
        if self.tangent is None:
            return f"{name} was not measured; sample(..., tangent=True) does"
        if name in DIFFERENTIALS and not self.tangent.layout.differentials:
            return f"{name} was not measured; sample(..., tangent=True, differentials=True) does"
        if name in DIFFERENTIALS and not self.is_output:
            return f"{name} is measured in the output layer only, ensemble[-1]; this is layer {self.index}"
        if name in OVER_PAIRS and self.n_out < 2:
            return f"{name} is a statistic of two neurons, and layer {self.index} has one"
        return None

    @property
    def neurons(self) -> int:
        """Neurons of each network that the moments of z are averaged over; the first of the layer, all where few
        inputs allow.
        """
        return moment_neurons(self.n_out, self.sums.layout.n)

    def estimate(self, name: str) -> Estimate:
        """Independent components of a statistic, with what their covariance needs.

        Parameters
        ----------
        name
            One of ``mean_kernel``, ``kernel_covariance``, ``kernel_third_cumulant``, ``second_moment``,
            ``fourth_moment``, ``excess_kurtosis``; after ``sample(..., tangent=True)`` also ``mean_ntk``, ``A``, ``B``,
            ``D``, ``F``, and in the output layer, after ``differentials=True``, ``P``, ``Q``, ``R``, ``S``, ``T``,
            ``U``.

        Raises
        ------
        AttributeError
            The statistic was not measured; the message names the call that does.
        ValueError
            No statistic has this name, or it needs two neurons and the layer has one.
        """
        if name in ESTIMATES:
            return ESTIMATES[name](self.sums)
        if name not in TANGENT:
            raise ValueError(f"name must be one of {', '.join((*ESTIMATES, *TANGENT))} or histogram, got {name!r}")
        lacking = self._lacking(name)
        if self.tangent is None or lacking is not None:
            raise (ValueError if "two neurons" in str(lacking) else AttributeError)(lacking)
        return self.tangent.estimate(name)

    def _assemble(self, name: str, components: Array) -> Array:
        if self.tangent is not None and name in self.tangent.layout.orbits:
            return self.tangent.layout.orbits[name].full(components)
        return assemble(self.sums.layout, name, components)

    def _value(self, name: str) -> Array:
        return self._assemble(name, self.estimate(name).value)

    def statistic(self, name: str) -> Array:
        """Any statistic by its name, as ``flow[l].statistic(name)`` gives it: with the widths in it.

        Parameters
        ----------
        name
            As for :meth:`estimate`.

        Returns
        -------
        ndarray
            (N, N) for ``mean_kernel`` and ``mean_ntk``, (N, N, N, N) for ``kernel_covariance`` and the tensors, in the
            axes of their subscripts. With i and j two neurons of the layer, i != j:

            ====== ==============================  ====== ========================
            A_1234 Cov(H_ii;12, H_jj;34)           P_0123 E[dH_ijj;012 z_i;3]
            B_1324 Cov(H_ij;12, H_ij;34)           Q_0123 E[dH_iij;012 z_j;3]
            D_1234 Cov(z_i;1 z_i;2, H_jj;34)       R_0123 E[ddI_iijj;0123]
            F_1324 Cov(z_i;1 z_j;2, H_ij;34)       S_1234 E[ddII_iijj;1234]
            ..                                     T_1324 E[ddII_ijij;1234]
            ..                                     U_1423 E[ddII_ijji;1234]
            ====== ==============================  ====== ========================

            To leading order each is 1/n_{l-1} times the tensor of that name in the theory.
        """
        return self._value(name)

    def mean_ntk(self) -> Array:
        """E[H_ii], the mean neural tangent kernel of one neuron, shape (N, N)."""
        return self._value("mean_ntk")

    def mean_kernel(self) -> Array:
        """E[G^(l)], shape (N, N)."""
        return self._value("mean_kernel")

    def kernel_covariance(self) -> Array:
        """Cov(G^(l)_ab, G^(l)_cd), shape (N, N, N, N); NaN for a single network."""
        return self._value("kernel_covariance")

    def kernel_third_cumulant(self) -> Array:
        """Third cumulant of (G_ab, G_cd, G_ef), one value for each of :attr:`sextuples`."""
        return self._value("kernel_third_cumulant")

    @property
    def sextuples(self) -> Index:
        """Inputs (a, b, c, d, e, f) of each third cumulant measured, shape (M, 6)."""
        return np.array(self.sums.layout.sextuples, dtype=np.intp).reshape(-1, 6)

    def second_moment(self) -> Array:
        """E[z_a z_b] of one neuron, from z drawn, shape (N, N)."""
        return self._value("second_moment")

    def fourth_moment(self) -> Array:
        """E[z_a z_b z_c z_d] of one neuron, from z drawn, shape (N, N, N, N)."""
        return self._value("fourth_moment")

    def excess_kurtosis(self) -> Array:
        """E[z_a^4] / E[z_a^2]^2 - 3 of one neuron, shape (N,); NaN where z vanishes."""
        return self._value("excess_kurtosis")

    def histogram(self) -> Histogram:
        """Distribution of z over up to 8 neurons of every network, for each input."""
        grid = np.linspace(-HISTOGRAM_RANGE, HISTOGRAM_RANGE, HISTOGRAM_BINS + 1)
        edges = self.scale[:, None] * grid
        counts = self.cells[:, 1:-1]
        total = self.cells.sum(axis=1, keepdims=True)
        return Histogram(edges, counts / (total * np.diff(edges, axis=1)), counts, self.cells[:, [0, -1]])

    def stderr(self, name: str) -> Array:
        """Standard error of a statistic, in its shape.

        Parameters
        ----------
        name
            The statistic's name. ``"histogram"`` gives that of the density, with the neurons of a network taken as
            independent, which they are up to 1/n.

        Returns
        -------
        ndarray
            Zero where the statistic does not fluctuate (layer 1); NaN for a single network.
        """
        if name == "histogram":
            histogram = self.histogram()
            total = self.cells.sum(axis=1, keepdims=True)
            share = histogram.counts / total
            return np.asarray(np.sqrt(share * (1 - share) / total) / np.diff(histogram.edges, axis=1))
        return self._assemble(name, self.estimate(name).stderr())


@result_schema("ensemble", version=2)
@dataclass(frozen=True, eq=False, repr=False)
class Ensemble(Result):
    """An ensemble of random networks as statistics of its layers; made by ``sample``.

    ``len`` is L, iteration runs over layers 1..L, ``ensemble[l]`` is layer l and ``ensemble[-1]`` the output.

    Attributes
    ----------
    network, x, seed, method
        As given; ``x`` is float64, shape (N, n_0).
    networks
        Networks measured; fewer than asked after an interruption.
    interrupted
        Whether Ctrl-C ended the run early.
    tangents
        Order of the statistics of the NTK; None where it was not measured.
    """

    network: Network
    x: Array
    networks: int
    seed: int
    method: str
    interrupted: bool
    layout: Layout
    centre: Array
    scale: Array
    state: State
    tangents: TangentLayout | None = None
    ntk_centre: Array | None = None

    @property
    def tangent(self) -> bool:
        """Whether the neural tangent kernel was measured."""
        return self.tangents is not None

    @property
    def differentials(self) -> bool:
        """Whether the differentials of the NTK were measured, in the output layer."""
        return self.tangents is not None and self.tangents.differentials

    def _tangent_sums(self, number: int) -> TangentSums | None:
        if self.tangents is None or self.ntk_centre is None:
            return None
        return TangentSums.of(self.state, self.tangents, self.ntk_centre, number)

    @cached_property
    def layers(self) -> tuple[EnsembleLayer, ...]:
        """Layers 1 to L."""
        return tuple(
            EnsembleLayer(
                number + 1,
                layer.n_in,
                layer.n_out,
                LayerSums.of(self.state, self.layout, self.centre, number),
                self.scale[number],
                self.state.histogram[number],
                self._tangent_sums(number),
                number + 1 == self.network.depth,
            )
            for number, layer in enumerate(self.network.layers)
        )

    def __len__(self) -> int:
        return self.network.depth

    def __iter__(self) -> Iterator[EnsembleLayer]:
        return iter(self.layers)

    def __getitem__(self, index: int) -> EnsembleLayer:
        if isinstance(index, bool) or not isinstance(index, (int, np.integer)):
            raise TypeError(f"a layer is given by its number, got {type(index).__name__}")
        depth = len(self)
        if index == 0 or not -depth <= index <= depth:
            raise IndexError(f"layers are 1 to {depth}, or -1 to -{depth} from the output, got {index}")
        return self.layers[index - 1 if index > 0 else index]

    def __repr__(self) -> str:
        note = ", interrupted" if self.interrupted else ""
        if self.tangents is not None:
            note += ", tangent" + (", differentials" if self.differentials else "")
        return (
            f"Ensemble(networks={self.networks}, method={self.method!r}, seed={self.seed}, "
            f"inputs={len(self.x)}{note}, network={self.network!r})"
        )

    def to_xarray(self) -> Any:
        """An ``xarray.Dataset`` with dimensions layer, input, statistic by statistic, each with its ``_stderr``."""
        from repflow.results import labelled

        pair = ("layer", "input", "input")
        four = ("layer", "input", "input", "input", "input")
        dims: dict[str, tuple[str, ...]] = {
            "mean_kernel": pair,
            "kernel_covariance": four,
            "second_moment": pair,
            "fourth_moment": four,
            "excess_kurtosis": ("layer", "input"),
        }
        coords: dict[str, Any] = {"layer": np.arange(1, len(self) + 1)}
        if self.layout.sextuples:
            dims["kernel_third_cumulant"] = ("layer", "sextuple")
            coords["sextuple"] = [",".join(map(str, entry)) for entry in self.layout.sextuples]
        variables: dict[str, tuple[tuple[str, ...], Array]] = {}
        if self.tangents is not None:
            dims["mean_ntk"] = pair
            dims.update({name: four for name in OVER_PAIRS if all(name in layer.statistics for layer in self.layers)})
            for name in (name for name in DIFFERENTIALS if name in self[-1].statistics):
                variables[name] = (four[1:], self[-1].statistic(name))
                variables[f"{name}_stderr"] = (four[1:], self[-1].stderr(name))
        for name, axes in dims.items():
            variables[name] = (axes, np.stack([layer.statistic(name) for layer in self.layers]))
            variables[f"{name}_stderr"] = (axes, np.stack([layer.stderr(name) for layer in self.layers]))
        histograms = [layer.histogram() for layer in self.layers]
        variables["histogram_edges"] = (("layer", "input", "edge"), np.stack([h.edges for h in histograms]))
        variables["histogram_density"] = (("layer", "input", "bin"), np.stack([h.density for h in histograms]))
        attributes = {
            "networks": self.networks,
            "seed": self.seed,
            "method": self.method,
            "interrupted": int(self.interrupted),
            "histogram_neurons": HISTOGRAM_NEURONS,
        }
        return labelled(variables, coords, attributes)

    def _payload(self) -> Payload:
        arrays = {"x": self.x, "centre": self.centre, "scale": self.scale}
        if self.ntk_centre is not None:
            arrays["ntk_centre"] = self.ntk_centre
        return Payload(
            arrays={**arrays, **Accumulator(1, self.state).arrays()},
            meta={
                "network": self.network.to_dict(),
                "networks": self.networks,
                "seed": self.seed,
                "method": self.method,
                "interrupted": self.interrupted,
                "sextuples": [list(entry) for entry in self.layout.sextuples],
                "tangent": self.tangent,
                "differentials": self.differentials,
            },
            dims={
                "x": ("input", "feature"),
                "centre": ("layer", "pair"),
                "scale": ("layer", "input"),
                "groups": ("group", "layer", "component"),
                "counts": ("group",),
                "histogram": ("layer", "input", "cell"),
                **({} if self.ntk_centre is None else {"ntk_centre": ("layer", "pair")}),
            },
        )

    @classmethod
    def _from_payload(cls, payload: Payload, activations: Mapping[str, Any] | None) -> Self:
        meta, arrays = payload.meta, payload.arrays
        sextuples = tuple((a, b, c, d, e, f) for a, b, c, d, e, f in meta["sextuples"])
        return cls(
            network=Network.from_dict(meta["network"], activations),
            x=arrays["x"],
            networks=int(meta["networks"]),
            seed=int(meta["seed"]),
            method=str(meta["method"]),
            interrupted=bool(meta["interrupted"]),
            layout=Layout(len(arrays["x"]), sextuples),
            centre=arrays["centre"],
            scale=arrays["scale"],
            state=Accumulator.state_from(arrays),
            tangents=TangentLayout(len(arrays["x"]), bool(meta["differentials"])) if meta["tangent"] else None,
            ntk_centre=arrays["ntk_centre"] if meta["tangent"] else None,
        )
