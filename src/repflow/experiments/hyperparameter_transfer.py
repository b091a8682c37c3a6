"""With a plan the best learning rate stays at lr = 1.0 over depth and width; with usual initialisations it moves."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from repflow.experiments.registry import Outcome, Size, Tell, experiment
from repflow.experiments.verdicts import Verdict
from repflow.training import loss_of, outputs, train

if TYPE_CHECKING:
    from repflow.tuning import Plan

FloatArray = NDArray[np.float64]
Shape = tuple[int, int]

CLAIM = (
    "With rf.tune the best learning rate of Adam stays within an octave of lr = 1.0 over depth and width, where with "
    "PyTorch's default and with He's initialisation it moves by more than an octave."
)
BATCH = 100
#: Octaves that a best rate may move, and may be away from lr = 1.0.
STAYS = 1.0
#: log2 of the rates tried at first; a grid grows until the best rate is inside.
_GRIDS = {"plan": range(-3, 4), "default": range(-12, -4), "he": range(-12, -4)}
_SIZES: dict[Size, tuple[tuple[Shape, ...], int, int]] = {  # hidden layers x width, steps, seeds
    "small": (((2, 16), (2, 128), (10, 128)), 100, 2),
    "default": (((2, 32), (2, 256), (20, 64)), 200, 3),
    "large": (((3, 64), (10, 64), (30, 64), (3, 256), (10, 256)), 200, 5),
}


@dataclass(frozen=True)
class Sweep:
    """Losses of one method on one network.

    Attributes
    ----------
    octaves
        log2 of the rates, shape (M,), ascending.
    losses
        After training, over the whole data set, shape (M, seeds); infinite where training diverged.
    """

    octaves: FloatArray
    losses: FloatArray

    def best(self, seed: int | None = None) -> float:
        """Octave of the least loss: of one seed, or of the mean over seeds."""
        curve = self.losses.mean(axis=1) if seed is None else self.losses[:, seed]
        return float(self.octaves[int(np.argmin(curve))])

    def at(self, octave: float) -> float:
        """Mean loss over seeds at this octave."""
        return float(self.losses[int(np.argmin(np.abs(self.octaves - octave)))].mean())


@experiment("hyperparameter-transfer", CLAIM)
def hyperparameter_transfer(size: Size, seed: int, tell: Tell) -> Outcome:
    """Sweep Adam's rate for tanh networks of several depths and widths on the digits, 200 steps of batch 100.

    Three methods: the plan of ``rf.tune`` (rates in its unit), PyTorch's default and He's initialisation (one rate for
    all parameters). The loss is (1/2) squared error summed over outputs, over the whole data set after training. Rates
    are octaves, and a grid grows until its best rate lies inside. The best rate of a method in each network is read off
    each seed, and off the mean over seeds; its drift is the largest minus the smallest over networks.

    Rule: "agrees" where, for the mean and for every seed, the plan's best rates lie within one octave of lr = 1.0 and
    drift by one octave at most, and for the mean both others drift by more than one; "disagrees" where, for the mean
    and for every seed, a best rate of the plan lies more than one octave away or the plan drifts by more than one;
    else "inconclusive".
    """
    shapes, steps, seeds = _SIZES[size]
    x, y = _digits()
    found: dict[str, dict[Shape, Sweep]] = {method: {} for method in _GRIDS}
    for number, shape in enumerate(shapes):
        for step, method in enumerate(_GRIDS):
            tell(f"{method}, {shape[0]} x {shape[1]}", (number + step / len(_GRIDS)) / len(shapes))
            found[method][shape] = _sweep(method, shape, x, y, steps, range(seed, seed + seeds))
    tell("verdict", 1.0)
    numbers: dict[str, Any] = {}
    for method, sweeps in found.items():
        numbers[f"drift_{method}"] = drift(sweeps.values())
        numbers[f"drift_{method}_by_seed"] = [drift(sweeps.values(), k) for k in range(seeds)]
        numbers[f"best_octaves_{method}"] = {_name(shape): sweep.best() for shape, sweep in sweeps.items()}
        numbers[f"best_loss_{method}"] = {_name(shape): sweep.at(sweep.best()) for shape, sweep in sweeps.items()}
    unswept = {_name(shape): sweep.at(0.0) for shape, sweep in found["plan"].items()}
    rivals = {_name(s): min(found[m][s].at(found[m][s].best()) for m in ("default", "he")) for s in shapes}
    numbers["loss_plan_unswept"] = unswept
    numbers["ratio_unswept_to_best_rival"] = {name: unswept[name] / rivals[name] for name in unswept}
    return Outcome(
        verdict=verdict_of(found, seeds),
        numbers=numbers,
        table=_table(found),
        figure=_figure(found),
        configuration={
            "activation": "tanh",
            "optimizer": "adam",
            "networks": [_name(shape) for shape in shapes],
            "steps": steps,
            "batch": BATCH,
            "seeds": seeds,
        },
    )


def drift(sweeps: Iterable[Sweep], seed: int | None = None) -> float:
    """Largest minus smallest best octave over networks, of one seed or of the mean over seeds."""
    octaves = [sweep.best(seed) for sweep in sweeps]
    return max(octaves) - min(octaves)


def verdict_of(found: Mapping[str, Mapping[Shape, Sweep]], seeds: int) -> Verdict:
    """The rule of :func:`hyperparameter_transfer`."""
    views: list[int | None] = [None, *range(seeds)]
    plan = list(found["plan"].values())
    holds = [drift(plan, view) <= STAYS and all(abs(sweep.best(view)) <= STAYS for sweep in plan) for view in views]
    moves = all(drift(sweeps.values()) > STAYS for method, sweeps in found.items() if method != "plan")
    if not any(holds):
        return "disagrees"
    return "agrees" if all(holds) and moves else "inconclusive"


def _digits() -> tuple[Tensor, Tensor]:
    from repflow.data import load_data

    data = load_data("digits", inputs=1797)
    assert data.y is not None
    return torch.tensor(data.x, dtype=torch.float32), torch.tensor(data.y)


def _name(shape: Shape) -> str:
    return f"{shape[0]}x{shape[1]}"


def _sweep(method: str, shape: Shape, x: Tensor, y: Tensor, steps: int, seeds: range) -> Sweep:
    """Octaves until the best of the mean is inside."""
    n_out = int(y.max()) + 1
    start = _starter(method, shape, x, y)
    drawn = {seed: start(seed) for seed in seeds}
    losses: dict[int, list[float]] = {}
    wanted = list(_GRIDS[method])
    while wanted:
        arms = [(octave, seed) for octave in wanted for seed in seeds]
        parameters = [torch.stack(parts) for parts in zip(*(drawn[s][0] for _, s in arms), strict=True)]
        rates = torch.tensor([[2.0**octave * rate for rate in drawn[s][1]] for octave, s in arms])
        eps = torch.tensor([drawn[s][2] for _, s in arms])
        targets = nn.functional.one_hot(y, n_out).to(x.dtype)
        after = train_adam(parameters, rates, eps, x, targets, [seed for _, seed in arms], steps)
        for number, octave in enumerate(wanted):
            losses[octave] = after[number * len(seeds) : (number + 1) * len(seeds)]
        octaves = sorted(losses)
        best = min(octaves, key=lambda octave: (sum(losses[octave]), octave))
        wanted = [octaves[0] - 1] if best == octaves[0] else [octaves[-1] + 1] if best == octaves[-1] else []
    return Sweep(np.array(octaves, dtype=np.float64), np.array([losses[octave] for octave in octaves]))


Start = tuple[list[Tensor], list[float], list[float]]


def _starter(method: str, shape: Shape, x: Tensor, y: Tensor) -> Callable[[int], Start]:
    """Seed -> initial parameters, rates at lr = 1.0 and eps of each parameter tensor."""
    from repflow.tuning.activation_modules import chain_of

    plan: Plan | None = None
    # The model's own draw comes from its seed below; nothing here touches the caller's generator.
    with torch.random.fork_rng(devices=[]):
        model = chain_of([x.shape[1], *[shape[1]] * shape[0], int(y.max()) + 1], nn.Tanh)
    if method == "plan":
        from repflow.tuning import tune

        plan = tune(model, x, y)

    def start(seed: int) -> Start:
        parameters = list(model.parameters())
        settings: dict[int, dict[str, Any]] = {}
        if plan is not None:
            plan.initialize_(model, torch.Generator().manual_seed(seed))
            for group in plan.param_groups(model, lr=1.0, optimizer="adam"):
                settings |= {id(parameter): group for parameter in group["params"]}
        else:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                for module in model.modules():
                    if isinstance(module, nn.Linear):
                        module.reset_parameters()
                        if method == "he":
                            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                            nn.init.zeros_(module.bias)
        found = [settings.get(id(parameter), {}) for parameter in parameters]
        return (
            [parameter.detach().clone() for parameter in parameters],
            [float(group.get("lr", 1.0)) for group in found],
            [float(group.get("eps", 1e-8)) for group in found],
        )

    return start


def train_adam(
    parameters: list[Tensor],
    rates: Tensor,
    eps: Tensor,
    x: Tensor,
    targets: Tensor,
    seeds: list[int],
    steps: int,
) -> list[float]:
    """Train R tanh networks at once by batched matrix products: torch's Adam without weight decay.

    Parameters
    ----------
    parameters
        Weights and biases in turn, each of R networks: (R, n_out, n_in), (R, n_out).
    rates, eps
        Of each network and parameter tensor, (R, P).
    x, targets
        The data, (N, n_0) and (N, n_L).
    seeds
        Of the order of the data, one a network.
    steps
        Of batch 100.

    Returns
    -------
    list of float
        (1/2) squared error summed over outputs, averaged over all rows; infinite where it is above ten times that of
        f = 0.
    """
    trained = train(
        parameters,
        torch.tanh,
        rates,
        x,
        targets,
        seeds=[10_000 + seed for seed in seeds],
        steps=steps,
        batch=BATCH,
        optimizer="adam",
        eps=eps,
    )
    # One network at a time: all of them on all rows need not fit in the cache.
    one = ([p[i : i + 1] for p in trained.parameters] for i in range(len(seeds)))
    final = [float(loss_of("mse", outputs(network, torch.tanh, x), targets)) for network in one]
    limit = 10.0 * float(0.5 * (targets**2).sum(-1).mean())
    return [loss if loss < limit else math.inf for loss in final]


def _table(found: Mapping[str, Mapping[Shape, Sweep]]) -> dict[str, list[Any]]:
    table: dict[str, list[Any]] = {name: [] for name in ("method", "hidden", "width", "log2_rate", "loss", "spread")}
    for method, sweeps in found.items():
        for (hidden, width), sweep in sweeps.items():
            for octave, losses in zip(sweep.octaves, sweep.losses, strict=True):
                finite = bool(np.isfinite(losses).all())
                spread = float(losses.std(ddof=1)) if finite and len(losses) > 1 else math.nan
                row = (method, hidden, width, float(octave), float(losses.mean()), spread)
                for name, value in zip(table, row, strict=True):
                    table[name].append(value)
    return table


def _figure(found: Mapping[str, Mapping[Shape, Sweep]]) -> Any:
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    from repflow.figures.theme import PALETTE, SYMBOLS, template

    titles = {"plan": "rf.tune", "default": "PyTorch's default", "he": "He"}
    figure = make_subplots(1, len(found), subplot_titles=[titles[m] for m in found], shared_yaxes=True)
    for column, sweeps in enumerate(found.values(), start=1):
        for number, (shape, sweep) in enumerate(sweeps.items()):
            curve = sweep.losses.mean(axis=1)
            colour, name = PALETTE[number % len(PALETTE)], f"{shape[0]} x {shape[1]}"
            shown = np.isfinite(curve)
            common = {"legendgroup": name, "showlegend": False}
            figure.add_trace(
                go.Scatter(
                    x=sweep.octaves[shown],
                    y=curve[shown],
                    name=name,
                    mode="lines",
                    line={"width": 2, "color": colour},
                    **{**common, "showlegend": column == 1},
                ),
                row=1,
                col=column,
            )
            figure.add_trace(
                go.Scatter(
                    x=[sweep.best()],
                    y=[sweep.at(sweep.best())],
                    name=f"{name}, best",
                    mode="markers",
                    marker={"size": 10, "color": colour, "symbol": SYMBOLS[number % len(SYMBOLS)]},
                    **common,
                ),
                row=1,
                col=column,
            )
        figure.update_xaxes(title_text="log2 of the rate", row=1, col=column)
    figure.add_vline(x=0.0, line={"width": 1, "dash": "dot", "color": "#808890"}, row=1, col=1)
    figure.update_yaxes(type="log")
    figure.update_yaxes(title_text="loss", row=1, col=1)
    figure.update_layout(template=template(), height=460, autosize=True, margin={"t": 50})
    return figure
