# /// script
# [tool.marimo.display]
# theme = "light"  # the ink of the figures is dark
# ///
"""Add your own activation: a module, a function with a kink, and one that no automatic differentiation sees through."""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Add your own activation")

with app.setup:
    import tempfile
    from pathlib import Path

    import marimo as mo
    import numpy as np
    import torch
    from scipy import special
    from torch import Tensor, nn

    import repflow as rf
    from repflow import figures
    from repflow.data import load_data


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    # Add your own activation

    An activation is any elementwise map of tensors. repflow finds the rest from its values: where it is not smooth, its
    Gaussian expectations, its critical couplings, its universality class. You write no derivative and no formula, and
    you register nothing. Three activations here, each difficult in its own way; replace one by yours.

    A **module** with a parameter, *snake*: $z + \sin^2(a z)/a$.
    """)
    return


@app.class_definition
class Snake(nn.Module):
    """z + sin(a z)^2 / a (Ziyin et al. 2020), monotone, and periodic about a line."""

    def __init__(self, a: float = 1.0) -> None:
        super().__init__()
        self.a = a

    def forward(self, z: Tensor) -> Tensor:
        """Elementwise."""
        return z + torch.sin(self.a * z) ** 2 / self.a


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    A **function with a kink**: tanh up to 1, and a straight line of slope 1/4 beyond. Nobody tells repflow where
    the kink is.
    """)
    return


@app.function
def leaky_tanh(z: Tensor) -> Tensor:
    """tanh z for z < 1, then a line of slope 1/4: continuous, with a kink at 1."""
    edge = torch.ones((), dtype=z.dtype, device=z.device)
    return torch.where(z < 1.0, torch.tanh(z), torch.tanh(edge) + 0.25 * (z - 1.0))


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    A function that **leaves PyTorch**: erf from SciPy. Automatic differentiation cannot follow it, so derivatives come
    from local polynomial fits. erf is also registered, with its critical coupling known exactly, C_W = π/4: a check.
    """)
    return


@app.function
def scipy_erf(z: Tensor) -> Tensor:
    """erf, computed outside PyTorch."""
    return torch.from_numpy(special.erf(z.numpy()))


@app.cell
def _():
    activations = {
        name: rf.as_activation(f) for name, f in {"snake": Snake(), "leaky tanh": leaky_tanh, "erf": scipy_erf}.items()
    }
    z = np.linspace(-4, 4, 401)
    mo.vstack(
        [
            figures.lines(
                z,
                {name: sigma(torch.from_numpy(z)).detach() for name, sigma in activations.items()},
                x_title="z",
                y_title="σ(z)",
            ),
            mo.plain_text(
                "\n".join(
                    f"{name:<11} {'smooth' if sigma.smooth else f'not smooth at {sigma.kinks}':<24} "
                    f"{'derivatives by autograd' if sigma.differentiable else 'derivatives by local fits'}"
                    for name, sigma in activations.items()
                )
            ),
        ]
    )
    return (activations,)


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## What is refused

    An activation has to be elementwise, deterministic, finite, and has to keep the precision of its input. Everything
    else is an error before any work, which says what is wrong.
    """)
    return


@app.cell
def _():
    refused = []
    for _wrong in (lambda z: torch.softmax(z, -1), lambda z: z.float().tanh(), torch.log, nn.RReLU(), nn.ReLU):
        try:
            rf.as_activation(_wrong)
        except (TypeError, ValueError) as _error:
            refused.append(f"{type(_error).__name__}: {_error}")
    mo.plain_text("\n".join(refused))
    return (refused,)


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## Critical couplings and universality class

    In a deep network a difference between two inputs is multiplied by a factor in every layer. `rf.critical` finds the
    variances C_W and C_b of weights and biases for which the factor is 1, both for differences in norm and in
    direction, and what happens to the kernel there:

    - **scale-invariant**: the kernel keeps any size (relu and its kin);
    - **K\*=0**: the kernel falls as a power of depth (tanh and its kin);
    - **half-stable**: a fixed point K\* > 0 that attracts from one side only (gelu, silu and their kin);
    - **none**: no couplings will do, and you get the best compromise, with a warning.

    nu is the rate at which initialisations grow apart: the variance of the kernel is nu K² L/n at depth L.
    """)
    return


@app.cell
def _(activations):
    critical = {name: rf.critical(sigma) for name, sigma in activations.items()}
    mo.vstack(
        [
            mo.md(
                figures.table_markdown(
                    ["activation", "class", "C_W", "C_b", r"K\*", "approach", "nu"],
                    [
                        [
                            name,
                            found.universality_class.replace("*", r"\*"),
                            f"{found.C_W:.8g}",
                            f"{found.C_b:.8g}",
                            "any" if found.K_star is None else f"{found.K_star:.6g}",
                            found.approach.law.replace("*", r"\*"),
                            "" if found.nu is None else f"{found.nu:.4g}",
                        ]
                        for name, found in critical.items()
                    ],
                )
            ),
            mo.md(
                f"*C_W of the SciPy erf differs from π/4 by {abs(critical['erf'].C_W - np.pi / 4):.1e}.* "
                f"For depth, snake: {critical['snake'].statement}"
            ),
        ]
    )
    return (critical,)


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## In a network, layer by layer

    The same network at the critical couplings and at PyTorch's default variances. `init="critical"` also chooses the
    first layer's C_W, so that your data enter at K\*; this is what the half-stable class needs.
    """)
    return


@app.cell
def _(activations):
    x = load_data("digits", inputs=3).x
    layers = np.arange(1, 21)
    curves = {}
    for _init in ("critical", "pytorch"):
        for _name, _sigma in activations.items():
            _net = rf.mlp([64, *[256] * (len(layers) - 1), 10], activation=_sigma, init=_init, x=x)
            _kernels = rf.flow(_net, x, order=0)
            curves[f"{_name}, {_init}"] = np.array([float(layer.kernel.diagonal().mean()) for layer in _kernels])
    mo.vstack(
        [
            figures.lines(layers, curves, x_title="layer", y_title="K, mean over inputs", log_y=True),
            mo.md(
                "*Kernel at infinite width. Critical: kept (snake), or a slow power law (leaky tanh, erf). "
                "PyTorch's default: an exponential fall, down to what the biases put in.*"
            ),
        ]
    )
    return curves, x


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## Theory against an ensemble

    As for a registered activation: the four-point vertex and the first correction of the mean at order 1/n, sampled
    networks, and the agreement rule over all components (the notebook *Check a theory term* explains it).
    """)
    return


@app.cell
def _(activations, x):
    flows, ensembles, agreement = {}, {}, {}
    for _name, _sigma in activations.items():
        _net = rf.mlp([64, 128, 128, 128, 128, 10], activation=_sigma, init="critical", x=x)
        flows[_name] = rf.flow(_net, x, order=1, progress=False)
        ensembles[_name] = rf.sample(_net, x, networks=10_000, seed=1, method="gram", progress=False)
        agreement[_name] = rf.compare(flows[_name], ensembles[_name])

    def relative_variance(result, name):
        """Cov(G_00, G_00) / K_00^2 in layers 2 to 5, or its standard error for ``stderr``."""
        found = []
        for l in range(2, 6):
            layer = result[name][l]
            found.append(layer.kernel_covariance()[0, 0, 0, 0] / flows[name][l].kernel[0, 0] ** 2)
        return np.array([float(value) for value in found])

    def its_error(name):
        """Standard error of that."""
        return np.array(
            [
                float(ensembles[name][l].stderr("kernel_covariance")[0, 0, 0, 0] / flows[name][l].kernel[0, 0] ** 2)
                for l in range(2, 6)
            ]
        )

    mo.vstack(
        [
            figures.lines(
                np.arange(2, 6),
                {f"{name}, order 1": relative_variance(flows, name) for name in activations},
                {f"{name}, ensemble": (relative_variance(ensembles, name), its_error(name)) for name in activations},
                x_title="layer",
                y_title="Var G / K²",
            ),
            mo.md(
                "*Relative variance of the first input's kernel at width 128; it grows as nu l/n. Bars are one "
                "standard error.*"
            ),
            mo.plain_text("\n".join(f"{name:<11} {found.verdict}" for name, found in agreement.items())),
            mo.plain_text(
                "\n".join(f"{name:<11} error of the expectations at most {flows[name].error:.0e}" for name in flows)
            ),
        ]
    )
    return agreement, flows


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## In your PyTorch model

    `rf.tune` reads the activation out of the model and uses the same couplings. (Were `a` a parameter that learns, the
    model would be no chain for theory any more, and its rates would be measured; the plan's first note says so.)
    """)
    return


@app.cell
def _():
    torch.manual_seed(0)
    digits = load_data("digits", inputs=200)
    _parts = [part for _ in range(6) for part in (nn.LazyLinear(128), Snake())]
    model = nn.Sequential(*_parts, nn.LazyLinear(10)).double()
    inputs, labels = torch.tensor(digits.x), torch.tensor(digits.y)
    model(inputs[:1])
    plan = rf.tune(model, inputs, labels)
    table, _, sentences = plan.table().partition("\n\n")
    mo.vstack([mo.plain_text(table), mo.md(sentences.replace("\n", "\n\n"))])
    return (plan,)


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## Saving and loading

    A result of an activation of your own is saved with the activation's import path and its values on a grid. A
    function in an importable module is found again by itself. One from a script or a notebook you hand over, and its
    values are compared with the saved ones, so that a file never comes back with another activation.
    """)
    return


@app.cell
def _(activations, flows):
    with tempfile.TemporaryDirectory() as _folder:
        flows["leaky tanh"].save(Path(_folder) / "flow.zarr")
        _name = activations["leaky tanh"].name
        again = rf.load(Path(_folder) / "flow.zarr", activations={_name: leaky_tanh})
        try:
            rf.load(Path(_folder) / "flow.zarr", activations={_name: torch.tanh})
            another = "loaded with another activation"
        except ValueError as _error:
            another = str(_error)
    same = bool(torch.equal(again[-1].vertex, flows["leaky tanh"][-1].vertex))
    mo.md(f"The same vertex after loading: **{same}**. With tanh in its place: *{another}*.")
    return another, same


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## Giving it a name

    Nothing above needed a name. To have `activation="snake"` on the command line and in files for everybody,
    contribute it to repflow: one line in `REGISTRY` of `src/repflow/activation/registry.py`, an `Activation` with its
    name, its function and its breakpoints as `(point, order)`, order 0 for a jump, 1 for a kink, 2 for a jump of the
    curvature. The page of critical points is then made anew by
    `python -m repflow.criticality.table docs/activations.md`, and the tests take every registered activation through
    expectations, theory and ensembles. `CONTRIBUTING.md` has the conventions.
    """)
    return


if __name__ == "__main__":
    app.run()
