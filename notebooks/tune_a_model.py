# /// script
# [tool.marimo.display]
# theme = "light"  # the ink of the figures is dark
# ///
"""Tune a model: PyTorch's default initialisation against rf.tune, on a deep plain network and on a residual one."""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Tune a model")

with app.setup:
    import itertools

    import marimo as mo
    import numpy as np
    import torch
    from torch import nn

    import repflow as rf
    from repflow import figures
    from repflow.data import load_data


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    # Tune a model

    You have a PyTorch model and a batch of data, and want it to train without a sweep over learning rates. `rf.tune`
    reads the model and the batch, and answers with a **plan**: a standard deviation for every parameter and a learning
    rate for each, in a unit where `lr=1.0` is the predicted best rate. Nothing is trained for it, and the model is not
    touched until you say so.

    Everything here takes less than half a minute on one core. To use a model of your own, replace `make` below.
    """)
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## The data and the model

    1797 handwritten digits of 8 x 8 pixels, standardised by one mean and one standard deviation; 297 are held out. The
    model is deliberately hard: 20 hidden layers of 64 tanh neurons, no normalisation, no residual connections.
    """)
    return


@app.cell
def _():
    digits = load_data("digits", inputs=1797)
    x, y = torch.tensor(digits.x, dtype=torch.float32), torch.tensor(digits.y)
    seen, held_out = slice(0, 1500), slice(1500, 1797)
    return held_out, seen, x, y


@app.function
def make(hidden: int = 20, width: int = 64, activation: type[nn.Module] = nn.Tanh) -> nn.Sequential:
    """A plain multilayer perceptron as PyTorch initialises it, the same one every time."""
    torch.manual_seed(0)
    sizes = [64, *[width] * hidden]
    layers = [part for a, b in itertools.pairwise(sizes) for part in (nn.Linear(a, b), activation())]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], 10))


@app.cell
def _(held_out, seen, x, y):
    def train(model, optimizer, steps=150):
        """Cross-entropy of every batch of 100: the same batches in the same order for every run."""
        order, losses = torch.Generator().manual_seed(0), []
        for _ in range(steps):
            rows = torch.randint(seen.stop, (100,), generator=order)
            loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return np.array(losses)

    def accuracy(model):
        """Share of the held-out digits that is right."""
        with torch.no_grad():
            return (model(x[held_out]).argmax(1) == y[held_out]).double().mean().item()

    return accuracy, train


@app.function
def last(losses: np.ndarray) -> float:
    """What a run ended with: the mean of its last 20 batches."""
    return float(losses[-20:].mean())


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## Before: PyTorch's default, at four rates

    A loss of log 10 = 2.303 is that of ten equal probabilities: nothing learned.
    """)
    return


@app.cell
def _(accuracy, train):
    default_losses, default_right = {}, {}
    for rate in (0.03, 0.1, 0.3, 1.0):
        _model = make()
        default_losses[rate] = train(_model, torch.optim.SGD(_model.parameters(), lr=rate))
        default_right[rate] = accuracy(_model)
    mo.plain_text(
        "\n".join(
            f"rate {rate:<5g} loss {last(losses):.3f}   held-out digits right {default_right[rate]:.0%}"
            for rate, losses in default_losses.items()
        )
    )
    return (default_losses,)


@app.function
def shown(plan: rf.Plan) -> list[object]:
    """The table as it is, and the sentences below it as text that wraps."""
    table, _, sentences = plan.table().partition("\n\n")
    return [mo.plain_text(table), mo.md(sentences.replace("\n", "\n\n"))]


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## The plan

    One line. `loss` says how the loss is normalised. The table has a row for each parameter: `std now` is what PyTorch
    drew, `std new` what the plan will draw, `SGD rate` and `Adam rate` are the rates at `lr=1.0`, and `set by` names
    the limit that set them.
    """)
    return


@app.cell
def _(seen, x, y):
    plan = rf.tune(make(), x[seen], y[seen], loss="cross_entropy")
    weak = max(entry.new_std / entry.old_std for entry in plan.parameters if entry.role == "hidden weight")
    mo.vstack(
        [
            *shown(plan),
            mo.md(f"*PyTorch's hidden weights are too small for this depth, by a factor of {weak:.2f} in each layer.*"),
        ]
    )
    return (plan,)


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## After: the plan at `lr=1.0`

    `initialize_` is the only call that writes to the model. `param_groups` gives groups for an ordinary optimiser.
    """)
    return


@app.cell
def _(accuracy, plan, train):
    model = make()
    plan.initialize_(model, generator=torch.Generator().manual_seed(0))
    plan_losses = train(model, torch.optim.SGD(plan.param_groups(model, optimizer="sgd", lr=1.0)))
    plan_right = accuracy(model)
    mo.plain_text(f"plan, lr = 1.0   loss {last(plan_losses):.3f}   held-out digits right {plan_right:.0%}")
    return (plan_losses,)


@app.function
def loss_curves(runs: dict[str, np.ndarray], span: int = 10) -> object:
    """Loss against step, averaged over ``span`` batches."""
    means = {name: losses.reshape(-1, span).mean(1) for name, losses in runs.items()}
    position = span * (np.arange(len(next(iter(means.values())))) + 0.5)
    return figures.lines(position, means, x_title="step", y_title="cross-entropy", log_y=True)


@app.cell
def _(default_losses, plan_losses):
    mo.vstack(
        [
            loss_curves({"plan, lr = 1.0": plan_losses} | {f"default, {r:g}": c for r, c in default_losses.items()}),
            mo.md("*Training loss, mean of 10 batches. At every rate PyTorch's default stays where it starts.*"),
        ]
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## Another optimiser

    `lr=1.0` means the same for Adam: no second sweep. Here against Adam as most people use it, with the default
    initialisation and a rate of 0.001.
    """)
    return


@app.cell
def _(plan, train):
    _plain = make()
    adam_default = train(_plain, torch.optim.Adam(_plain.parameters(), lr=1e-3))
    _tuned = plan.initialize_(make(), generator=torch.Generator().manual_seed(0))
    adam_plan = train(_tuned, torch.optim.Adam(plan.param_groups(_tuned, optimizer="adam", lr=1.0)))
    mo.vstack(
        [
            loss_curves({"plan, lr = 1.0": adam_plan, "default, 0.001": adam_default}),
            mo.md(
                f"*Adam: the plan ends at {last(adam_plan):.3f}, the default initialisation at "
                f"{last(adam_default):.3f}.*"
            ),
        ]
    )
    return adam_default, adam_plan


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## Does the model do what the plan says?

    A plan is a prediction: in the first step every layer changes by so much of itself. `rf.coordinate_check` trains
    four copies for a few steps and compares, and names what is otherwise: a weight decay that slipped in, a layer that
    the optimiser does not have, a factor in the forward pass. The prediction is that of a wide network, and by default
    a layer may be off by a factor of 2; 3 here, since 20 layers of 64 are far from wide.
    """)
    return


@app.cell
def _(plan, x, y):
    check = rf.coordinate_check(make(), plan, batch=(x[:100], y[:100]), steps=3, tolerance=3.0)
    ratios = [row["ratio"] for row in check.rows()]
    mo.vstack(
        [
            check.figure(),
            mo.md(
                "*Change of each layer by its own parameters in the first step, measured and predicted. Ratios go from "
                f"{min(ratios):.2f} to {max(ratios):.2f}.*"
            ),
            mo.plain_text(check.table().splitlines()[-1]),
        ]
    )
    return (check,)


@app.cell
def _(plan, x, y):
    def careless(model):
        """An optimiser with one group lost on the way."""
        return torch.optim.SGD(plan.param_groups(model)[1:])

    found = rf.coordinate_check(make(), plan, batch=(x[:100], y[:100]), steps=1, tolerance=3.0, optimizer=careless)
    mo.plain_text("\n".join(f"{problem.kind}: {problem.where}. {problem.remedy}" for problem in found.problems))
    return (found,)


@app.cell(hide_code=True)
def _(plan):
    mo.md(rf"""
    ## How many seeds?

    Networks of this depth and width differ from seed to seed: the output kernel by
    {plan.fluctuation:.0%} of its mean, predicted from the four-point vertex, since L/n = {plan.aspect_ratio.value:.2f}.
    To see a difference between two variants of that size you need {plan.seeds_needed(effect=plan.fluctuation)} seeds
    an arm, and {plan.seeds_needed(effect=0.05)} for a difference of 5% in the output kernel. A wider network needs
    fewer: the number falls as 1/n.
    """)
    return


@app.cell
def _(plan, seen, x, y):
    wide = rf.tune(make(width=256), x[seen], y[seen], loss="cross_entropy")
    seeds = {64: plan.seeds_needed(effect=0.05), 256: wide.seeds_needed(effect=0.05)}
    mo.plain_text("\n".join(f"width {n:<4d} {count} seeds an arm for 5%" for n, count in seeds.items()))
    return (seeds,)


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## A model with structure

    Theory covers chains of linear and elementwise layers. For anything else, here convolutions and residual additions,
    the same call **measures** what it needs on draws of the initialisation; the first note of the plan names the step
    that is the reason.
    """)
    return


@app.class_definition
class Block(nn.Module):
    """z + two convolutions of relu(z)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, z):
        """The stream plus the branch."""
        return z + self.second(torch.relu(self.first(torch.relu(z))))


@app.class_definition
class Residual(nn.Module):
    """Digits as images: a stem, residual blocks, the mean over the image, a head."""

    def __init__(self, channels: int = 16, blocks: int = 3) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, channels, 3, padding=1)
        self.blocks = nn.Sequential(*[Block(channels) for _ in range(blocks)])
        self.head = nn.Linear(channels, 10)

    def forward(self, z):
        """Logits, (N, 10)."""
        return self.head(self.blocks(self.stem(z.reshape(-1, 1, 8, 8))).mean((2, 3)))


@app.cell
def _(seen, train, x, y):
    def residual():
        torch.manual_seed(0)
        return Residual()

    residual_plan = rf.tune(residual(), x[seen], y[seen], loss="cross_entropy")
    residual_losses = {}
    _net = residual_plan.initialize_(residual(), generator=torch.Generator().manual_seed(0))
    residual_losses["plan, lr = 1.0"] = train(
        _net, torch.optim.SGD(residual_plan.param_groups(_net, lr=1.0)), steps=100
    )
    for _rate in (0.1, 0.3):
        _net = residual()
        residual_losses[f"default, {_rate:g}"] = train(_net, torch.optim.SGD(_net.parameters(), lr=_rate), steps=100)
    mo.vstack(
        [
            loss_curves(residual_losses),
            mo.md("*A residual convolutional network of 16 channels, SGD.*"),
            shown(residual_plan)[1],
        ]
    )
    return residual_losses, residual_plan


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## Next

    - Your own training loop, Lightning, the Hugging Face Trainer: `docs/train.md`
    - What the plan's numbers mean and where they come from: `docs/tuning.md`
    - When not to rely on it: `docs/trust.md`
    """)
    return


if __name__ == "__main__":
    app.run()
