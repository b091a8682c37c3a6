# /// script
# [tool.marimo.display]
# theme = "light"  # the ink of the figures is dark
# ///
"""Find the critical line: where signals survive depth, in the plane of couplings, at infinite and at finite width."""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Find the critical line")

with app.setup:
    import marimo as mo
    import numpy as np

    import repflow as rf
    from repflow import figures
    from repflow.criticality import chi_parallel, chi_perpendicular, phase_diagram
    from repflow.data import load_data


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    # Find the critical line

    How large should random weights be? With variances $C_W/n$ of the weights and $C_b$ of the biases, the kernel of one
    input, the mean square of a neuron, goes from layer to layer at infinite width by

    $$K' = F(K) = C_b + C_W \langle \sigma(z)^2 \rangle_{z \sim N(0, K)}.$$

    It runs to a fixed point K\*. There a small difference between two inputs is multiplied in every layer by

    $$\chi_\parallel = C_W \frac{d}{dK} \langle \sigma^2 \rangle \ \ \text{(difference in norm)}, \qquad
    \chi_\perp = C_W \langle \sigma'^2 \rangle \ \ \text{(difference in direction)}.$$

    Below 1 inputs grow alike, above 1 they grow apart, both exponentially: by a factor e over
    $\xi = 1/|\log \chi|$ layers. A deep network can only learn where both are close to 1. Choose an activation and look
    for that place.
    """)
    return


@app.cell
def _():
    activation = mo.ui.dropdown(["tanh", "sin", "erf", "gelu", "silu", "relu"], value="tanh", label="activation")
    mo.hstack([activation], justify="start")
    return (activation,)


@app.cell
def _(activation):
    critical = rf.critical(activation.value)
    mo.vstack([critical])
    return (critical,)


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## The plane of couplings

    For every pair of couplings: the fixed point that a kernel of 1 runs to, and the susceptibilities there. Blue is the
    *ordered* phase, red the *chaotic* one, and the green line between has χ⊥ = 1: on it, directions are kept. That is
    not yet criticality, since norms have to be kept too. The second map shows χ∥, and the marked point is where both
    are 1: for tanh the end of the line, at C_b = 0. Elsewhere on the line norms are forgotten over ξ∥ layers.
    """)
    return


@app.cell
def _(activation, critical):
    C_W_axis = np.linspace(0.5, 1.75, 61) * float(critical.C_W)
    C_b_axis = np.linspace(0.0, max(0.1, 2 * float(critical.C_b)), 41)
    plane = phase_diagram(activation.value, C_W_axis, C_b_axis)

    def on_plane(values, title, **options):
        """A map over the couplings with the critical point marked."""
        return figures.phase_diagram(
            C_b_axis,
            C_W_axis,
            values,
            x_title="C_b",
            y_title="C_W",
            value_title=title,
            marked={"critical point": (float(critical.C_b), float(critical.C_W))},
            **options,
        )

    mo.vstack(
        [
            on_plane(plane.chi_perpendicular, "χ⊥", midpoint=1.0, level=1.0, level_name="critical line, χ⊥ = 1"),
            mo.md("*χ⊥ at the fixed point. Blank where the kernel runs away and there is no fixed point.*"),
            on_plane(plane.chi_parallel, "χ∥", midpoint=1.0),
            mo.md("*χ∥ at the fixed point: at most 1, and 1 at the critical point.*"),
        ]
    )
    return on_plane, plane


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## How deep can a network be?

    The depth scale is the shorter of the two correlation lengths. Beyond a few times that many layers the output has
    forgotten which input it came from, or depends on nothing but its noise.
    """)
    return


@app.cell
def _(on_plane, plane):
    depth_scale = np.minimum(plane.xi_parallel, plane.xi_perpendicular)
    mo.vstack(
        [
            on_plane(np.log10(np.clip(depth_scale, 1.0, 1e3)), "log₁₀ min(ξ∥, ξ⊥)"),
            mo.md("*Depth scale in layers, logarithmic, cut at 1000. It diverges at the critical point only.*"),
        ]
    )
    return (depth_scale,)


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## At the critical point, and beside it

    Three networks: at the critical point, and with a C_W 30% below and 30% above. The first layer brings the input, one
    digit, to the critical kernel (to 1 where that is 0 or free); then layer follows layer.
    """)
    return


@app.cell
def _(activation, critical):
    digit = load_data("digits", inputs=1).x[0]
    start = rf.mlp([64, 8, 10], activation=activation.value, init="critical", x=digit[None]).layers[0]

    def network(C_W, width=512, depth=24, C_b=start.C_b):
        """The same first layer for all, then these couplings: numbers, or one for each layer."""
        return rf.mlp(
            [64, *[width] * (depth - 1), 10],
            activation=activation.value,
            C_W=[start.C_W, *np.broadcast_to(C_W, depth)[1:]],
            C_b=[start.C_b, *np.broadcast_to(C_b, depth)[1:]],
        )

    couplings = {"30% below": 0.7 * critical.C_W, "critical": critical.C_W, "30% above": 1.3 * critical.C_W}
    kernels = {
        name: np.array([float(layer.kernel[0, 0]) for layer in rf.flow(network(C_W), digit[None], order=0)])
        for name, C_W in couplings.items()
    }
    layers = np.arange(1, 25)
    mo.vstack(
        [
            figures.lines(layers, kernels, x_title="layer", y_title="K", log_y=True),
            mo.md(
                "*Kernel at infinite width. Beside the critical point it runs to another fixed point, or away, "
                "exponentially; at it, it stays or falls as a power of depth.*"
            ),
        ]
    )
    return couplings, digit, kernels, layers, network


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## Do real networks do that?

    Now an ensemble of networks with 512 neurons a layer, and three inputs: the digit, the digit 2% larger, and the
    digit turned by a small angle. The difference of the first two is multiplied by χ∥ in every layer, the squared
    distance of the first and the third by χ⊥. Lines are these products along the kernels above; points are measured.
    """)
    return


@app.cell
def _(activation, couplings, digit, kernels, layers, network):
    aside = np.random.default_rng(0).normal(size=64)
    aside -= digit * (aside @ digit) / (digit @ digit)
    aside *= np.linalg.norm(digit) / np.linalg.norm(aside)
    three = np.stack([digit, 1.02 * digit, np.cos(0.02) * digit + np.sin(0.02) * aside])

    def contrast(ensemble, weights):
        """Mean and standard error of sum_ab weights_ab G_ab in every layer, relative to the first."""
        means, errors = [], []
        for layer in ensemble:
            estimate = layer.estimate("mean_kernel")
            w = np.array([weights.get((int(a), int(b)), 0.0) for a, b in estimate.index])
            means.append(float(w @ estimate.value))
            errors.append(float(np.sqrt(max(w @ estimate.covariance() @ w, 0.0))))
        return np.array(means) / means[0], np.array(errors) / means[0]

    norm, direction = {(0, 0): -1.0, (1, 1): 1.0}, {(0, 0): 1.0, (2, 2): 1.0, (0, 2): -2.0}
    predicted, measured = {"norm": {}, "direction": {}}, {"norm": {}, "direction": {}}
    for _name, _C_W in couplings.items():
        _ensemble = rf.sample(network(_C_W), three, networks=400, seed=1, method="gram", progress=False)
        for _kind, _weights, _chi in (("norm", norm, chi_parallel), ("direction", direction, chi_perpendicular)):
            _factors = _chi(activation.value, kernels[_name][:-1], float(_C_W))
            predicted[_kind][_name] = np.concatenate([[1.0], np.cumprod(_factors)])
            measured[_kind][_name] = contrast(_ensemble, _weights)

    def growth_figure(kind, symbol):
        """Predicted and measured growth of one kind of difference."""
        return figures.lines(
            layers,
            predicted[kind],
            {f"{name}, sampled": found for name, found in measured[kind].items()},
            x_title="layer",
            y_title=f"growth, product of {symbol}",
            log_y=True,
        )

    mo.vstack(
        [
            growth_figure("norm", "χ∥"),
            mo.md("*Difference in norm, relative to that in the first layer.*"),
            growth_figure("direction", "χ⊥"),
            mo.md(
                "*Squared difference in direction. For tanh it grows above the critical point, in the chaotic phase, "
                "until the inputs are no longer close.*"
            ),
        ]
    )
    return measured, predicted


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## At finite width the critical point moves

    Fluctuations of the kernel push its mean, since F is curved: $\langle F(G) \rangle \ne F(\langle G \rangle)$. So at
    width n the critical couplings are

    $$C_W + \frac{c}{n}, \qquad C_b + \frac{c'}{n},$$

    which `rf.critical(..., order=1, width=n)` computes: for tanh $C_W = 1 + \frac{2}{3n}$. Choose a width, and compare
    two ensembles of tall networks, one with the couplings of infinite width and one with the shifted ones. Their mean
    kernel over the kernel of infinite width should neither fall nor grow with depth.
    """)
    return


@app.cell
def _():
    width = mo.ui.slider(steps=[32, 64, 128, 256], value=32, label="width n", show_value=True)
    mo.hstack([width], justify="start")
    return (width,)


@app.cell
def _(activation, critical, digit, network, width):
    tall = 33
    shifted = rf.critical(activation.value, order=1, width=width.value, depth=tall)
    infinite = np.array(
        [float(layer.kernel[0, 0]) for layer in rf.flow(network(critical.C_W, 8, tall), digit[None], order=0)]
    )
    ratios, ratio_errors = {}, {}
    for _name, _C_W, _C_b in (
        ("couplings of infinite width", critical.C_W, critical.C_b),
        ("shifted couplings", shifted.C_W, shifted.C_b),
    ):
        _net = network(_C_W, width.value, tall, _C_b)
        _ensemble = rf.sample(_net, digit[None], networks=10_000, seed=1, method="gram", progress=False)
        ratios[_name] = np.array([layer.mean_kernel()[0, 0] for layer in _ensemble]) / infinite
        ratio_errors[_name] = np.array([layer.stderr("mean_kernel")[0, 0] for layer in _ensemble]) / infinite

    def in_words(shift):
        """One number, or the first and the last of one for each layer."""
        values = np.atleast_1d(shift)
        return (
            f"{values[0]:.4g}" if len(values) == 1 else f"{values[0]:.4g} in layer 1 to {values[-1]:.4g} at the output"
        )

    mo.vstack(
        [
            mo.plain_text(f"c = {in_words(shifted.correction.C_W)}\nc' = {in_words(shifted.correction.C_b)}"),
            figures.lines(
                np.arange(1, tall + 1),
                {"infinite width": np.ones(tall)},
                {name: (ratios[name], ratio_errors[name]) for name in ratios},
                x_title="layer",
                y_title="mean kernel / kernel of infinite width",
            ),
            mo.md(
                f"*{shifted.correction.note} Bars are one standard error. A constant ratio means that the power law of "
                "the critical point is kept; with the couplings of infinite width it drifts.*"
            ),
        ]
    )
    return ratio_errors, ratios, shifted


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## Next

    - Classes of criticality and what `rf.critical` returns: `docs/criticality.md`; all registered activations:
      `docs/activations.md`
    - What runs with depth at the critical point: `docs/relevance.md`
    - From the command line: `repflow critical tanh`, `repflow experiment criticality --out DIR`
    """)
    return


if __name__ == "__main__":
    app.run()
