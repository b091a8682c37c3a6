"""``design``: depth, width, s and activation of a network before there is a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from repflow.activation import Activation, ActivationLike, as_activation
from repflow.build import mlp
from repflow.criticality import critical, optimal_aspect_ratio
from repflow.graph.chain import rows_of
from repflow.isolation import random_state_kept
from repflow.network import Network
from repflow.recursion.inputs import as_inputs
from repflow.results import Payload, Result, result_schema
from repflow.tuning.activation_modules import activation_module, chain_of, module_names
from repflow.tuning.couplings import held, held_kernel
from repflow.tuning.fluctuation import relative_variance
from repflow.tuning.plan import Plan
from repflow.tuning.shapes import Shape, best_shape, neighbours
from repflow.tuning.targets import check_loss
from repflow.tuning.tune import tune

#: Inputs that stand for the data where there are none.
_STAND_IN_ROWS = 64
_HEADER = ("", "depth L", "hidden width n", "parameters", "L/n", "of optimum", "kernel between seeds")


@result_schema("design", version=1)
@dataclass(frozen=True, eq=False, repr=False)
class Design(Result):
    """A network chosen for a budget, made by :func:`design`.

    Attributes
    ----------
    shape
        Hidden layers, width and number of parameters.
    candidates
        Shapes about it within the same budget, each with its predicted ``fluctuation``.
    budget
        The number of parameters asked for.
    optimum
        r* = 4/((20 + 3 n_L) nu), the L/n aimed for (PDLT appendix A).
    plan
        Initialisation and learning rates of :meth:`module`.
    why
        How the activation came about.
    """

    shape: Shape
    candidates: tuple[dict[str, Any], ...]
    budget: int
    optimum: float
    plan: Plan
    why: str
    _given: Any = field(default=None)

    @property
    def depth(self) -> int:
        """L, the output counted."""
        return self.shape.depth

    @property
    def width(self) -> int:
        """n, of every hidden layer."""
        return self.shape.width

    @property
    def widths(self) -> tuple[int, ...]:
        """(n_0, ..., n_L)."""
        return self.network().widths

    @property
    def activation(self) -> Activation:
        """Of the hidden layers."""
        return self.network().activations[0]

    @property
    def parameters(self) -> int:
        """Weights and biases, at most the budget."""
        return self.shape.parameters

    @property
    def scaling(self) -> float:
        """s in [0, 1]: 0 the tangent limit, 1 maximal update."""
        return self.plan.scaling

    @property
    def kappa(self) -> float:
        """Predicted relative change of the hidden features in the first step at lr = 1.0."""
        return self.plan.kappa

    @property
    def aspect_ratio(self) -> float:
        """L/n."""
        return self.shape.ratio

    @property
    def fluctuation(self) -> float:
        """Predicted standard deviation of the output kernel between seeds, relative to its mean."""
        return self.plan.fluctuation

    def network(self) -> Network:
        """The network as theory and ensembles take it, with the plan's couplings."""
        network = self.plan.network
        assert network is not None  # the module is a chain
        return network

    def module(self, generator: torch.Generator | None = None) -> nn.Sequential:
        """A new ``nn.Sequential`` of linear layers and activations, drawn as the plan says.

        ``design.plan.param_groups(module)`` has its learning rates.
        """
        module = chain_of(self.widths, lambda: activation_module(self.activation, self._given))
        self.plan.initialize_(module, generator)
        return module

    def summary(self) -> str:
        """One sentence."""
        return (
            f"{self.shape.hidden} hidden layer{'s' * (self.shape.hidden > 1)} of width {self.width}, "
            f"{self.activation.name}, {self.parameters:,} of {self.budget:,} parameters: L/n = {self.aspect_ratio:.3g} "
            f"(optimum {self.optimum:.3g}), s = {self.scaling:.3g}, kappa {self.kappa:.3g}, output kernel "
            f"+-{self.fluctuation:.0%} between seeds"
        )

    def table(self, format: str = "text") -> Any:
        """The shapes considered: ``"text"``, ``"markdown"``, ``"html"``, or ``"dict"`` for a list of dictionaries."""
        from repflow.figures import check_table_format, table_html, table_markdown, table_text

        check_table_format(format)
        if format == "dict":
            return [{**row, "chosen": row["hidden"] == self.shape.hidden} for row in self.candidates]
        cells = [self._cells(row) for row in self.candidates]
        foot = f"{self.summary()}. {self.why}."
        if format == "html":
            return table_html(_HEADER, cells, caption=foot)
        body = (table_markdown if format == "markdown" else table_text)(_HEADER, cells)
        return f"{body}\n\n{foot}"

    def _cells(self, row: dict[str, Any]) -> tuple[str, ...]:
        return (
            "->" if row["hidden"] == self.shape.hidden else "",
            str(row["hidden"] + 1),
            str(row["width"]),
            f"{row['parameters']:,}",
            f"{row['ratio']:.3g}",
            f"{row['ratio'] / self.optimum:.2f}",
            f"+-{row['fluctuation']:.0%}",
        )

    def __repr__(self) -> str:
        return f"Design({self.summary()})"

    def _repr_html_(self) -> str:
        return str(self.table("html"))

    def _payload(self) -> Payload:
        return Payload(
            {},
            {
                "shape": asdict(self.shape),
                "candidates": [dict(row) for row in self.candidates],
                "budget": self.budget,
                "optimum": self.optimum,
                "plan": self.plan._payload().meta,
                "why": self.why,
            },
        )

    @classmethod
    def _from_payload(cls, payload: Payload, activations: Mapping[str, Any] | None = None) -> Design:
        meta = payload.meta
        return cls(
            shape=Shape(**meta["shape"]),
            candidates=tuple(meta["candidates"]),
            budget=meta["budget"],
            optimum=meta["optimum"],
            plan=Plan._from_payload(Payload({}, meta["plan"]), activations),
            why=meta["why"],
        )


def design(
    n_in: int,
    n_out: int,
    parameters: int,
    activation: ActivationLike | None = None,
    data: Any = None,
    *,
    loss: str = "mse",
    scaling: float | None = None,
) -> Design:
    """Depth, width, scaling and activation for a number of parameters.

    Among the widest networks of each depth within the budget, the one whose L/n is closest in ratio to the information-
    theoretic optimum r* = 4/((20 + 3 n_L) nu) (PDLT appendix A).

    Parameters
    ----------
    n_in, n_out
        Inputs n_0 and outputs n_L.
    parameters
        The most weights and biases that the network may have.
    activation
        One for all hidden layers, as for :func:`repflow.mlp`. None takes, among the registered ones that torch has as a
        module, that are smooth to second order and not linear, the one with the smallest nu: its kernels fluctuate
        least from layer to layer, so that the optimum is deepest. Of equals the first by name.
    data
        Inputs x (N, n_0), or a pair (x, y) as for :func:`repflow.tune`; without them, inputs in random directions with
        x.x/n_0 = 1 are assumed.
    loss, scaling
        As for :func:`repflow.tune`.

    Returns
    -------
    Design
        ``.module()`` builds it, ``.plan`` has its learning rates, ``.table()`` the shapes considered.

    Raises
    ------
    ValueError, TypeError
        A number below 1, a budget too small for one hidden neuron, an activation without a critical point that signals
        stay at, or data of another form.

    Examples
    --------
    >>> found = rf.design(64, 10, parameters=100_000, activation="tanh")   # doctest: +SKIP
    >>> model = found.module()   # doctest: +SKIP
    """
    for name, value in (("n_in", n_in), ("n_out", n_out), ("parameters", parameters)):
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{name} must be a whole number, got {value!r}")
        if value < 1:
            raise ValueError(f"{name} must be 1 or more, got {value!r}")
    check_loss(loss)
    chosen = None if activation is None else as_activation(activation)
    x, y = _data(data, n_in)
    inputs = _inputs(x, n_in)
    why = "The activation was given"
    if chosen is None:
        chosen, why = _choose()
    optimum = _optimum(chosen, n_out)
    shape = best_shape(n_in, n_out, parameters, optimum)
    with random_state_kept(), torch.device("meta"):  # shapes are all that a plan asks of the model
        model = chain_of(_widths(n_in, n_out, shape), lambda: activation_module(chosen, activation))
    plan = tune(model, x, y, scaling=scaling, loss=loss)
    return Design(
        shape=shape,
        candidates=tuple(
            {**asdict(other), "ratio": other.ratio, "fluctuation": _variance(chosen, n_in, n_out, other, inputs) ** 0.5}
            for other in neighbours(n_in, n_out, parameters, shape)
        ),
        budget=parameters,
        optimum=optimum,
        plan=plan,
        why=why,
        _given=activation,
    )


def _data(data: Any, n_in: int) -> tuple[Any, Any]:
    """x and y; x stands in for data where there are none."""
    if data is None:
        generator = torch.Generator().manual_seed(0)
        normal = torch.randn(_STAND_IN_ROWS, n_in, generator=generator, dtype=torch.float64)
        return normal / (normal**2).mean(1, keepdim=True).sqrt(), None
    if isinstance(data, (tuple, list)) and len(data) == 2:
        return data[0], data[1]
    return data, None


def _inputs(x: Any, n_in: int) -> Tensor:
    """Some rows, for what is asked of every candidate."""
    rows = rows_of(x, n_in, "data")
    return as_inputs(rows[:: max(1, len(rows) // _STAND_IN_ROWS)][:_STAND_IN_ROWS], n_in, "cpu")


def _optimum(activation: Activation, n_out: int) -> float:
    point = critical(activation)
    if point.nu is None:
        raise ValueError(
            f"activation {activation.name!r} has no critical point that signals stay at, so that no optimal L/n is "
            f"known: {point.statement}"
        )
    return optimal_aspect_ratio(float(point.nu), n_out)


def _choose() -> tuple[Activation, str]:
    """The activation by the rule of :func:`design`, and how it was found."""
    points: dict[str, float] = {}
    for name in module_names():
        activation = as_activation(name)
        if activation.smooth and activation.slopes is None:
            nu = critical(activation).nu
            if nu is not None:
                points[name] = float(nu)
    name = min(points, key=lambda name: (points[name], name))
    others = ", ".join(f"{other} {nu:.3g}" for other, nu in sorted(points.items(), key=lambda entry: entry[1]))
    return as_activation(name), f"{name} was chosen: the smallest nu among smooth activations of torch ({others})"


def _variance(activation: Activation, n_in: int, n_out: int, shape: Shape, inputs: Tensor) -> float:
    """r_L of a shape at the couplings that a plan advises, averaged over inputs."""
    critical_network = mlp(_widths(n_in, n_out, shape), activation, init="critical", x=inputs)
    network = held(critical_network, held_kernel(critical_network.activations))
    return float(relative_variance(network, inputs).mean())


def _widths(n_in: int, n_out: int, shape: Shape) -> tuple[int, ...]:
    return (n_in, *[shape.width] * shape.hidden, n_out)
