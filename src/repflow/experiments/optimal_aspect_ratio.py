"""At a fixed number of parameters, networks near the predicted L/n train best, for tanh and relu alike."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repflow.experiments.intervals import Z95
from repflow.experiments.registry import Outcome, Size, Tell, experiment
from repflow.experiments.verdicts import Verdict, combined_verdict, interval_verdict

FloatArray = NDArray[np.float64]

CLAIM = (
    "At a fixed number of parameters the loss after training is least near the predicted optimum of L/n, "
    "4/((20 + 3 n_L) nu), for tanh and for relu, whose optima are predicted 7.5 times apart."
)
ACTIVATIONS = ("tanh", "relu")
OUTPUTS, TRAINING_ROWS, BATCH = 10, 1437, 100
#: The best L/n counts as the optimum within this factor; resamples of the seeds; confidence.
FACTOR, RESAMPLES, CONFIDENCE = 4.0, 2000, 0.95
#: Hidden layers tried, as far as L/n stays below this many times the optimum.
HIDDEN, FURTHEST = (1, 2, 3, 4, 6, 8, 11, 15, 20, 27, 36, 48), 12.0


@dataclass(frozen=True)
class Budget:
    """What is spent: parameters of a network, seeds a shape, steps of training."""

    parameters: int
    seeds: int
    steps: int


_SIZES: dict[Size, Budget] = {
    "small": Budget(20_000, 6, 60),
    "default": Budget(20_000, 16, 200),
    "large": Budget(100_000, 24, 400),
}


@experiment("optimal-aspect-ratio", CLAIM)
def optimal_aspect_ratio(size: Size, seed: int, tell: Tell) -> Outcome:
    """Train networks of 20,000 parameters on the digits: for each depth the widest that fits, 16 seeds each.

    Every shape gets its own plan (critical couplings, s and rates from theory) and trains at lr = 1.0, 200 steps
    of SGD of batch 100 on (1/2B) sum |f - y|^2 over 1437 images; nothing is swept. The loss is that over all images
    trained on, at most that of f = 0 (1/2: a network that diverged). r is L/n, the sum of 1/n_l over hidden layers;
    r* the predicted optimum; the spread the standard deviation of log loss over seeds.

    Rule: for each activation, tanh and relu, seeds are resampled with replacement 2000 times, independently for each
    shape. Of each resample the best r is that of the parabola through the least mean log loss and its neighbours in
    log r (the shape itself at an end). An activation agrees where the 95% interval of best r/r* lies within [1/4, 4],
    and disagrees where it lies outside. "agrees" where both agree, "disagrees" where one disagrees, else
    "inconclusive". The spread is reported, and no part of the rule: where nothing is learnt, all seeds end at the same
    loss.
    """
    from repflow.criticality import critical
    from repflow.criticality import optimal_aspect_ratio as predicted_optimum

    budget = _SIZES[size]
    numbers: dict[str, Any] = {"accepted": [1 / FACTOR, FACTOR]}
    table: dict[str, list[Any]] = {}
    verdicts: list[Verdict] = []
    best: list[float] = []
    for part, activation in enumerate(ACTIVATIONS):
        nu = critical(activation).nu
        assert nu is not None
        optimum = predicted_optimum(float(nu), OUTPUTS)

        def progress(message: str, share: float, part: int = part) -> None:
            tell(message, (part + share) / len(ACTIVATIONS))

        rows = _train_all(activation, budget, optimum, seed + 104_729 * part, progress)
        ratio = np.array([row["ratio"] for row in rows])
        logs = np.log(np.array([row.pop("losses") for row in rows]))
        drawn = resampled(ratio, logs, np.random.default_rng(seed + part)) / optimum
        tails = [100 * (1 - CONFIDENCE) / 2, 100 * (1 + CONFIDENCE) / 2]
        low, high = (float(value) for value in np.percentile(drawn, tails))
        verdicts.append(interval_verdict(low, high, (1 / FACTOR, FACTOR)))
        mean, spread = logs.mean(1), logs.std(1, ddof=1)
        best.append(best_ratio(ratio, mean))
        found: dict[str, Any] = {
            "optimum": optimum,
            "best_ratio": best[-1],
            "best_over_optimum": best[-1] / optimum,
            "best_over_optimum_interval": [low, high],
            "verdict": verdicts[-1],
            "loss_at_best": float(np.exp(mean.min())),
            "loss_at_optimum": float(np.exp(np.interp(math.log(optimum), np.log(ratio), mean))),
        }
        numbers |= {f"{activation}_{key}": value for key, value in found.items()}
        error = Z95 * spread / math.sqrt(logs.shape[1])
        columns = {
            "activation": [activation] * len(rows),
            **{key: [row[key] for row in rows] for key in rows[0]},
            "over_optimum": (ratio / optimum).tolist(),
            "loss": np.exp(mean).tolist(),
            "low": np.exp(mean - error).tolist(),
            "high": np.exp(mean + error).tolist(),
            "spread": spread.tolist(),
        }
        table = {key: [*table.get(key, []), *values] for key, values in columns.items()}
    numbers["best_ratio_tanh_over_relu"] = best[0] / best[1]
    tell("verdict", 1.0)
    return Outcome(
        verdict=combined_verdict(verdicts),
        numbers=numbers,
        table=table,
        figure=_figure(table),
        configuration={
            "activations": list(ACTIVATIONS),
            "parameters": budget.parameters,
            "seeds": budget.seeds,
            "steps": budget.steps,
            "batch": BATCH,
            "rows": TRAINING_ROWS,
            "lr": 1.0,
        },
    )


def _train_all(activation: str, budget: Budget, optimum: float, seed: int, tell: Tell) -> list[dict[str, Any]]:
    """One row for each shape, shallowest first."""
    import torch
    from torch import nn

    from repflow.activation import as_activation
    from repflow.data import load_data
    from repflow.training import loss_of, outputs, stack, train
    from repflow.tuning.activation_modules import activation_module, chain_of
    from repflow.tuning.shapes import widest
    from repflow.tuning.tune import tune

    data = load_data("digits", inputs=1797)
    x = torch.tensor(data.x, dtype=torch.float32)
    y = torch.tensor(data.y)
    targets = nn.functional.one_hot(y, OUTPUTS).float()
    seen, kept_back = slice(0, TRAINING_ROWS), slice(TRAINING_ROWS, None)
    sigma = activation_module(as_activation(activation))
    found = [widest(x.shape[1], OUTPUTS, hidden, budget.parameters) for hidden in HIDDEN]
    shapes = [shape for shape in found if shape is not None and shape.ratio <= FURTHEST * optimum]
    rows = []
    for number, shape in enumerate(shapes):
        tell(f"{activation} {shape.hidden} x {shape.width}", number / len(shapes))
        # Seeds of its own for every shape, so that the shapes are independent.
        seeds = [seed + 1_000_003 * number + 7919 * k for k in range(budget.seeds)]
        widths = [x.shape[1], *[shape.width] * shape.hidden, OUTPUTS]
        model = chain_of(widths, lambda: sigma)
        plan = tune(model, x[seen], y[seen], couplings="critical")
        rate = {id(p): group["lr"] for group in plan.param_groups(model) for p in group["params"]}
        models = [
            plan.initialize_(chain_of(widths, lambda: sigma), torch.Generator().manual_seed(each)) for each in seeds
        ]
        trained = train(
            stack(models),
            sigma,
            torch.tensor([[rate[id(p)] for p in model.parameters()]] * len(seeds)),
            x[seen],
            targets[seen],
            seeds=seeds,
            steps=budget.steps,
            batch=BATCH,
        )
        with torch.no_grad():
            losses, held_out = (
                # A network that diverged has learnt as much as f = 0.
                torch.nan_to_num(
                    loss_of("mse", outputs(trained.parameters, sigma, x[part]), targets[part]).double(),
                    nan=0.5,
                    posinf=0.5,
                ).clamp(max=0.5)
                for part in (seen, kept_back)
            )
        rows.append(
            {
                "hidden": shape.hidden,
                "width": shape.width,
                "parameters": shape.parameters,
                "ratio": shape.ratio,
                "s": plan.scaling,
                "r_L": plan.aspect_ratio.relative_variance,
                "held_out_loss": float(held_out.median()),
                "losses": losses.tolist(),
            }
        )
    return rows


def best_ratio(ratio: FloatArray, mean: FloatArray) -> float:
    """The r at the vertex of the parabola through the least mean log loss and its neighbours in log r."""
    place = int(np.argmin(mean))
    if place in (0, len(mean) - 1):
        return float(ratio[place])
    x, y = np.log(ratio[place - 1 : place + 2]), mean[place - 1 : place + 2]
    a, b, _ = np.polyfit(x - x[1], y, 2)
    vertex = x[1] if a <= 0 else x[1] - b / (2 * a)
    return float(np.exp(np.clip(vertex, x[0], x[2])))


def resampled(ratio: FloatArray, logs: FloatArray, rng: np.random.Generator) -> FloatArray:
    """The best r of resamples of the seeds; ``logs`` (shapes, seeds)."""
    best = np.empty(RESAMPLES)
    for number in range(RESAMPLES):
        index = rng.integers(logs.shape[1], size=logs.shape)
        best[number] = best_ratio(ratio, np.take_along_axis(logs, index, axis=1).mean(axis=1))
    return best


def _figure(table: dict[str, list[Any]]) -> Any:
    from repflow.figures import lines
    from repflow.figures.theme import BLUE, VERMILLION

    def only(activation: str, key: str) -> list[float]:
        pairs = zip(table["activation"], table[key], strict=True)
        return [value if name == activation else math.nan for name, value in pairs]

    curves, points = {}, {}
    for activation in ACTIVATIONS:
        curves[f"{activation}, loss"] = only(activation, "loss")
        half = [(high - low) / 2 for low, high in zip(table["low"], table["high"], strict=True)]
        points[f"{activation}, 95% of the mean"] = (only(activation, "loss"), half)
        curves[f"{activation}, spread of log loss"] = only(activation, "spread")
    figure = lines(
        table["over_optimum"],
        curves,
        points,
        x_title="L/n over the predicted optimum",
        y_title="loss; std of log loss",
        log_x=True,
        log_y=True,
        height=480,
    )
    for activation, colour in zip(ACTIVATIONS, (BLUE, VERMILLION), strict=True):
        figure.update_traces(selector={"name": f"{activation}, loss"}, line_color=colour, line_dash="solid")
        figure.update_traces(selector={"name": f"{activation}, spread of log loss"}, line_color=colour, line_dash="dot")
        figure.update_traces(
            selector={"name": f"{activation}, 95% of the mean"}, marker_color=colour, error_y_color=colour
        )
    return figure.add_vrect(x0=1 / FACTOR, x1=FACTOR, fillcolor="#009E73", opacity=0.10, line_width=0, layer="below")
