"""A wide network fits any labels; how long it takes is how little they agree with its prior."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from repflow.blocks import derived_seed, generator
from repflow.experiments.intervals import mean_interval
from repflow.experiments.registry import Outcome, Size, Tell, experiment
from repflow.experiments.verdicts import Verdict, interval_verdict
from repflow.isolation import random_state_kept
from repflow.training import Curves, LinearTraining, fitted, train_recorded

if TYPE_CHECKING:
    from repflow.network import Network
    from repflow.tuning import Plan

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

CLAIM = (
    "A network of three hidden layers memorises 500 digits with their labels, with shuffled labels, and noise with "
    "random labels; it generalises from the first alone, and the labels' components on the eigenvectors of the "
    "infinite-width NTK say how many steps each takes."
)
HIDDEN, CLASSES, DIGITS = 3, 10, 1797
#: Momentum of SGD, and its rate in units of the plan's edge of stability.
MOMENTUM, EDGE_SHARE = 0.9, 0.5
#: Loss of the best constant, (1/2)(1 - 1/10) for balanced one-hot labels, and the share of it that counts as fitted.
CONSTANT_LOSS, RESIDUAL = 0.45, 0.25
#: Predicted over measured ratio of steps that counts as right; half-width that an interval of chance may have.
RATIOS, HALF_WIDTH = (0.75, 1.25), 0.1
#: Confidence of the intervals of step ratios and of accuracies.
CONFIDENCE, CONFIDENCE_CHANCE = 0.95, 0.99
#: Accuracies at which steps are compared besides; not part of the verdict.
ACCURACIES = (0.9, 0.99, 1.0)
MOST_STEPS = 20_000
CASES = ("true", "shuffled", "noise")
NAMES = {"true": "true labels", "shuffled": "shuffled labels", "noise": "noise images"}


@dataclass(frozen=True)
class Setting:
    """Training inputs, hidden width, draws of everything random, activation."""

    inputs: int
    width: int
    draws: int
    activation: str = "tanh"


_SIZES: dict[Size, Setting] = {
    "small": Setting(200, 256, 4),
    "default": Setting(500, 640, 5),
    "large": Setting(500, 1024, 12),
}
_ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU, "gelu": nn.GELU}


@dataclass(frozen=True)
class Run:
    """One network on one case.

    Attributes
    ----------
    measured, predicted
        Loss and accuracy of the network, and of linear training from its initial outputs.
    test
        Accuracy on inputs that it has not seen.
    components
        Of the labels on the eigenvectors of Theta, largest eigenvalue first.
    mean_loss
        Predicted from the labels alone: the mean over initialisations, as long as ``predicted``.
    values
        Eigenvalues of Theta over N, descending.
    """

    measured: Curves
    predicted: Curves
    test: float
    components: FloatArray
    mean_loss: FloatArray
    values: FloatArray


Draw = Mapping[str, Run]


@experiment("memorisation", CLAIM)
def memorisation(size: Size, seed: int, tell: Tell) -> Outcome:
    """Train one network of three hidden layers (tanh, ten outputs, one-hot labels) on three data sets of 500 images.

    (a) Digits with their labels; (b) the same digits, labels shuffled; (c) Gaussian noise with random labels. Weights
    and rates are those of ``rf.tune(model, x, y, scaling=0, couplings="critical")`` for (a), used for all three: full
    batch, loss (1/2N) sum |f - y|^2, momentum 0.9 so that slow directions take hundreds of steps and not thousands, at
    half of the plan's edge of stability. Each draw takes other digits, another shuffle, other noise and another
    network, from which all three start. It trains until accuracy is 1 and the loss is down to a quarter of the best
    constant's, 0.45. The prediction is linear training from the network's initial outputs with the infinite-width
    Theta of its inputs, at the plan's rates.

    Steps are counted to that quarter: the accuracy reaches 1 with the last of 500 images, whose step differs by a
    factor of two from draw to draw and is predicted less well at these widths. The numbers hold the steps to
    accuracies of 0.9, 0.99 and 1 as well; docs/memorisation.md says how they compare.

    Rule: three parts. (1) Memorised: the train accuracy is 1 in every network of all three cases, else the part
    disagrees. (2) Chance: over draws, the 99% interval of the test accuracy (on the digits left out, for (c) on other
    noise with other labels) must cover 1/10 in (b) and in (c) and the one of (a) lie above 1/2; the part disagrees
    where an interval misses 1/10 or (a)'s lies below 1/2, and is inconclusive where it straddles 1/2 or a half-width
    is above 0.1. (3) Steps: for (b) and for (c), the ratio of steps to those of (a), predicted over measured; the part
    agrees where the 95% interval of its geometric mean over draws lies within [0.75, 1.25], disagrees where it lies
    outside and is inconclusive where it straddles. "agrees" where all agree, "disagrees" where one disagrees, else
    "inconclusive".
    """
    setting = _SIZES[size]
    draws: list[Draw] = []
    for number in range(setting.draws):
        tell(f"draw {number + 1}", number / setting.draws)
        draws.append(_draw(setting, seed, number))
    tell("verdict", 1.0)
    verdict, numbers = verdict_of(draws)
    return Outcome(
        verdict=verdict,
        numbers=numbers,
        table=_table(draws),
        figure=_figure(draws),
        configuration={
            "inputs": setting.inputs,
            "width": setting.width,
            "hidden_layers": HIDDEN,
            "activation": setting.activation,
            "draws": setting.draws,
            "momentum": MOMENTUM,
            "share_of_edge": EDGE_SHARE,
            "loss_fitted": RESIDUAL * CONSTANT_LOSS,
        },
    )


def tangent_network(plan: Plan, model: nn.Module, groups: Sequence[Mapping[str, Any]]) -> Network:
    """The plan's network with the learning-rate tensors that an optimiser's groups amount to, at eta = 1.

    A weight learns at lambda_W/n_{l-1}, so lambda_W = n_{l-1} times its group's rate; lambda_b is the rate itself.

    Parameters
    ----------
    plan
        Of a chain with s = 0.
    model
        With linear layers that all have biases.
    groups
        From ``plan.param_groups(model, ...)``.
    """
    from repflow.network import Network

    if plan.network is None:
        raise ValueError("plan is measured: it has no network; give the plan of a chain of linear layers")
    rates = {id(parameter): float(group["lr"]) for group in groups for parameter in group["params"]}
    linears = [module for module in model.modules() if isinstance(module, nn.Linear)]
    layers = [
        replace(layer, lambda_W=rates[id(linear.weight)] * layer.n_in, lambda_b=rates[id(linear.bias)])
        for layer, linear in zip(plan.network.layers, linears, strict=True)
    ]
    return Network(tuple(layers))


def _draw(setting: Setting, seed: int, number: int) -> Draw:
    """Train one network on all three cases, and predict it."""
    from repflow.recursion import flow
    from repflow.tuning import tune

    data = _data(setting.inputs, seed, number)
    model = _model(setting)
    x, labels = data["true"][:2]
    plan = tune(model, torch.tensor(x), torch.tensor(labels), scaling=0.0, couplings="critical")
    rate = EDGE_SHARE * float(plan.max_learning_rate(momentum=MOMENTUM) or math.nan)
    groups = plan.param_groups(model, lr=rate, momentum=MOMENTUM)
    network = tangent_network(plan, model, groups)
    start = derived_seed(seed, number, 1)
    runs: dict[str, Run] = {}
    training: dict[int, tuple[LinearTraining, FloatArray]] = {}
    for case in CASES:
        x, labels, unseen, unseen_labels = data[case]
        if id(x) not in training:  # true and shuffled labels share their images, hence Theta
            output = flow(network, x, order=0, tangent=True, progress=False)[-1]
            training[id(x)] = LinearTraining(output.ntk.numpy(), 1.0, MOMENTUM), output.kernel.numpy()
        linear, kernel = training[id(x)]
        targets = np.eye(CLASSES)[labels]
        # The same draw in all three cases.
        plan.initialize_(model, torch.Generator().manual_seed(start))
        inputs = torch.tensor(x, dtype=torch.float32)
        with torch.no_grad():
            initial = model(inputs).double().numpy()
        optimizer = torch.optim.SGD(plan.param_groups(model, lr=rate, momentum=MOMENTUM))
        measured = train_recorded(
            model, optimizer, inputs, torch.tensor(targets, dtype=torch.float32), _done, at_most=MOST_STEPS
        )
        predicted = linear.curves(initial, targets, _done, measured.steps, MOST_STEPS)
        with torch.no_grad():
            guesses = model(torch.tensor(unseen, dtype=torch.float32)).double().numpy()
        runs[case] = Run(
            measured,
            predicted,
            fitted(guesses, np.eye(CLASSES)[unseen_labels]),
            linear.components(targets),
            linear.mean_loss(kernel, targets, predicted.steps),
            linear.values / len(x),
        )
    return runs


def _done(loss: float, accuracy: float) -> bool:
    return accuracy == 1.0 and loss <= RESIDUAL * CONSTANT_LOSS


def _data(inputs: int, seed: int, number: int) -> dict[str, tuple[FloatArray, IntArray, FloatArray, IntArray]]:
    """Images and labels to train on, and such that are not seen, of each case."""
    from repflow.data import load_data

    digits = load_data("digits", inputs=DIGITS)
    assert digits.y is not None
    random = generator(seed, number, 0)
    order = random.permutation(DIGITS)
    chosen, left = order[:inputs], order[inputs:]
    x, labels = digits.x[chosen], digits.y[chosen]
    unseen, unseen_labels = digits.x[left], digits.y[left]
    noise = random.standard_normal((DIGITS, x.shape[1]))
    noise_labels = random.integers(CLASSES, size=DIGITS)
    return {
        "true": (x, labels, unseen, unseen_labels),
        "shuffled": (x, random.permutation(labels), unseen, unseen_labels),
        "noise": (noise[:inputs], noise_labels[:inputs], noise[inputs:], noise_labels[inputs:]),
    }


def _model(setting: Setting) -> nn.Module:
    widths = [64, *[setting.width] * HIDDEN]
    with random_state_kept():  # PyTorch's own draws, which the plan's replace
        hidden = [(nn.Linear(a, b), _ACTIVATIONS[setting.activation]()) for a, b in itertools.pairwise(widths)]
        return nn.Sequential(*itertools.chain(*hidden), nn.Linear(setting.width, CLASSES))


def steps_to_fit(curve: Curves) -> int | None:
    """Steps until the loss is a quarter of the best constant's."""
    return curve.steps_to_loss(RESIDUAL * CONSTANT_LOSS)


def verdict_of(draws: Sequence[Draw]) -> tuple[Verdict, dict[str, Any]]:
    """The rule of :func:`memorisation` on what was measured."""
    numbers: dict[str, Any] = {}
    parts = [_memorised(draws, numbers), _chance(draws, numbers)]
    for case in CASES[1:]:
        parts.append(_ratio(draws, case, "fit", steps_to_fit, numbers))
        for accuracy in ACCURACIES:  # told, not judged
            name = f"accuracy_{accuracy:g}"
            _ratio(draws, case, name, lambda curve, least=accuracy: curve.steps_to_accuracy(least), numbers)
    for case in CASES:
        numbers |= _steps_and_curves([draw[case] for draw in draws], case)
    names = ("memorised", "chance", "steps_shuffled", "steps_noise")
    numbers["verdicts"] = dict(zip(names, parts, strict=True))
    if "disagrees" in parts:
        return "disagrees", numbers
    return ("agrees" if all(part == "agrees" for part in parts) else "inconclusive"), numbers


def _memorised(draws: Sequence[Draw], numbers: dict[str, Any]) -> Verdict:
    for case in CASES:
        numbers[f"train_accuracy_{case}"] = [float(draw[case].measured.accuracy[-1]) for draw in draws]
    return "agrees" if all(numbers[f"train_accuracy_{case}"] == [1.0] * len(draws) for case in CASES) else "disagrees"


def _chance(draws: Sequence[Draw], numbers: dict[str, Any]) -> Verdict:
    found: dict[str, tuple[float, float, float]] = {}
    for case in CASES:
        found[case] = mean_interval([draw[case].test for draw in draws], CONFIDENCE_CHANCE)
        numbers[f"test_accuracy_{case}"], *numbers[f"test_accuracy_{case}_interval"] = found[case]
    _, low, high = found["true"]
    parts = [interval_verdict(low, high, (0.5, 1e9))]
    for case in CASES[1:]:
        _, low, high = found[case]
        if not low <= 1.0 / CLASSES <= high:
            parts.append("disagrees")
        else:
            parts.append("agrees" if high - low <= 2.0 * HALF_WIDTH else "inconclusive")
    if "disagrees" in parts:
        return "disagrees"
    return "agrees" if all(part == "agrees" for part in parts) else "inconclusive"


def _ratio(draws: Sequence[Draw], case: str, name: str, steps: Any, numbers: dict[str, Any]) -> Verdict:
    """Geometric means over draws of the ratios of steps, and the interval of predicted over measured."""
    logs: dict[str, list[float]] = {"measured": [], "predicted": []}
    for draw in draws:
        for kind, values in logs.items():
            pair = [steps(getattr(draw[which], kind)) for which in (case, "true")]
            values.append(math.log(pair[0] / pair[1]) if pair[0] and pair[1] else math.nan)
    measured, predicted = np.array(logs["measured"]), np.array(logs["predicted"])
    centre, low, high = (math.exp(value) for value in mean_interval(list(predicted - measured), CONFIDENCE))
    numbers[f"ratio_{case}_{name}_measured"] = float(np.exp(measured.mean()))
    numbers[f"ratio_{case}_{name}_predicted"] = float(np.exp(predicted.mean()))
    numbers[f"ratio_{case}_{name}_predicted_over_measured"] = centre
    numbers[f"ratio_{case}_{name}_interval"] = [low, high]
    return interval_verdict(low, high, RATIOS)


def _steps_and_curves(runs: Sequence[Run], case: str) -> dict[str, Any]:
    """Steps of every draw; how far the loss is from its prediction; where the labels lie."""
    apart = [
        math.sqrt(float(np.mean((run.measured.loss - run.predicted.loss[: len(run.measured.loss)]) ** 2)))
        for run in runs
    ]
    from_labels = [np.flatnonzero(run.mean_loss <= RESIDUAL * CONSTANT_LOSS) for run in runs]
    return {
        f"steps_{case}_fit_measured": [steps_to_fit(run.measured) for run in runs],
        f"steps_{case}_fit_predicted": [steps_to_fit(run.predicted) for run in runs],
        f"steps_{case}_fit_from_labels_alone": [int(found[0]) if len(found) else None for found in from_labels],
        f"steps_{case}_accuracy_1_measured": [run.measured.steps_to_accuracy() for run in runs],
        f"steps_{case}_accuracy_1_predicted": [run.predicted.steps_to_accuracy() for run in runs],
        f"loss_{case}_rms_deviation": float(np.mean(apart)),
        f"labels_{case}_on_first_50": float(np.mean([run.components[:50].sum() for run in runs])),
    }


def _kept(length: int, count: int = 60) -> IntArray:
    """Steps 0..length - 1, thinned evenly on a logarithmic axis."""
    return np.unique(np.concatenate([[0], np.round(np.geomspace(1, max(length - 1, 1), count))])).astype(np.int64)


def _table(draws: Sequence[Draw]) -> dict[str, list[Any]]:
    rows = []
    for number, draw in enumerate(draws):
        for case in CASES:
            run = draw[case]
            for step in _kept(len(run.measured.loss)):
                rows.append(
                    {
                        "draw": number,
                        "case": case,
                        "step": int(step),
                        "loss": float(run.measured.loss[step]),
                        "loss_predicted": float(run.predicted.loss[step]),
                        "loss_from_labels_alone": float(run.mean_loss[step]),
                        "accuracy": float(run.measured.accuracy[step]),
                        "accuracy_predicted": float(run.predicted.accuracy[step]),
                    }
                )
    return {name: [row[name] for row in rows] for name in rows[0]}


def _figure(draws: Sequence[Draw]) -> Any:
    """Accuracy and loss of the first draw against steps, and where the labels lie."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    from repflow.figures import PALETTE, new_figure

    titles = ["train accuracy", "train loss", "labels on eigenvectors of \u0398"]
    figure = make_subplots(1, 3, subplot_titles=titles, horizontal_spacing=0.075)
    for case, colour in zip(CASES, PALETTE, strict=False):
        run = draws[0][case]
        for column, name in ((1, "accuracy"), (2, "loss")):
            for kind in ("predicted", "measured"):
                curve = getattr(getattr(run, kind), name)
                kept = _kept(len(curve), 200 if kind == "predicted" else 25)[1:]
                style: dict[str, Any] = (
                    {"mode": "lines", "line": {"color": colour, "width": 2}}
                    if kind == "predicted"
                    else {"mode": "markers", "marker": {"color": colour, "size": 6}}
                )
                trace = go.Scatter(
                    x=kept, y=curve[kept], name=f"{NAMES[case]}: {kind}", showlegend=column == 1, **style
                )
                figure.add_trace(trace, row=1, col=column)
        share = np.cumsum(run.components)
        kept = _kept(len(share) + 1)[1:]
        line = {"color": colour, "width": 2}
        figure.add_trace(
            go.Scatter(x=kept, y=share[kept - 1], mode="lines", line=line, name=NAMES[case], showlegend=False),
            row=1,
            col=3,
        )
    plain = new_figure("step", "", None, True, False, 480)
    figure.update_layout(template=plain.layout.template, height=480, legend=plain.layout.legend)
    figure.add_hline(y=RESIDUAL * CONSTANT_LOSS, line={"dash": "dot", "width": 1}, row=1, col=2)
    figure.update_xaxes(type="log", title="step", dtick=1)
    figure.update_xaxes(title="eigenvectors, largest eigenvalue first", col=3)
    figure.update_yaxes(type="log", dtick=1, col=2)
    figure.update_yaxes(range=[0, 1.03], col=1)
    return figure.update_yaxes(range=[0, 1.03], title="share of |y|\u00b2", col=3)
