# /// script
# [tool.marimo.display]
# theme = "light"  # the ink of the figures is dark
# ///
"""Check a theory term: the four-point vertex at orders 1 and 2 of 1/n, against an ensemble and an exact oracle."""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Check a theory term")

with app.setup:
    import marimo as mo
    import numpy as np

    import repflow as rf
    from repflow import figures
    from repflow.data import load_data
    from repflow.exact import gram_density


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    # Check a theory term

    Draw the weights of a network at random and look at one layer. Given the layer below, its neurons are independent
    Gaussians with a covariance

    $$G_{ab} = C_b + \frac{C_W}{n} \sum_{j=1}^{n} \sigma(z_{j;a})\, \sigma(z_{j;b}),$$

    a matrix over the inputs $a, b$ that is **random**, since the layer below is. At infinite width the sum averages
    itself out and G is the kernel K. At width n it fluctuates from one draw to the next, with covariance

    $$\mathrm{Cov}(G_{ab}, G_{cd}) = \frac{V_{abcd}}{n} + \frac{V^{(1)}_{abcd}}{n^2} + \dots$$

    V is the *four-point vertex*: it is what makes the outputs of a finite network non-Gaussian. `rf.flow` computes V
    (order 1) and V¹ (order 2) layer by layer, with no sampling. This notebook checks them in two ways that share no
    code with the theory: an ensemble of networks, and, for one input, the exact distribution of G.

    Choose a network. The choice below recomputes the page; larger depths and gelu take longer in the last part.
    """)
    return


@app.cell
def _():
    activation = mo.ui.dropdown(["tanh", "sin", "erf", "relu", "gelu"], value="tanh", label="activation")
    width = mo.ui.slider(steps=[16, 24, 32, 48, 64, 96, 128], value=16, label="width n", show_value=True)
    depth = mo.ui.slider(3, 8, value=6, label="depth L (weight layers)", show_value=True)
    networks = mo.ui.slider(steps=[2_000, 20_000, 50_000, 200_000], value=50_000, label="networks", show_value=True)
    mo.vstack([mo.hstack([activation, width], justify="start"), mo.hstack([depth, networks], justify="start")])
    return activation, depth, networks, width


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## Theory

    Two digits as inputs, couplings at the activation's critical point. `order=1` gives K, V and the first correction of
    the mean; `order=2` the next terms, and the third cumulant of G. K and r in the table are those of the first input;
    r = V/(n K²) is the relative variance of the kernel between initialisations, the small number of the expansion.
    """)
    return


@app.cell
def _(activation, depth, width):
    x = load_data("digits", inputs=2).x
    network = rf.mlp([64, *[width.value] * (depth.value - 1), 10], activation=activation.value, init="critical", x=x)
    first, second = (rf.flow(network, x, order=order, progress=False) for order in (1, 2))
    mo.plain_text(
        "\n".join(
            [
                str(network),
                "layer        K        V   n Cov to order 2        r",
                *(
                    f"{two.index:5d} {one.kernel[0, 0]:8.4f} {one.vertex[0, 0, 0, 0]:8.4f} "
                    f"{two.n_in * two.kernel_covariance()[0, 0, 0, 0]:18.4f} "
                    f"{one.kernel_covariance()[0, 0, 0, 0] / one.kernel[0, 0] ** 2:8.4f}"
                    for one, two in zip(first, second)
                ),
            ]
        )
    )
    return first, network, second, x


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## Experiment

    An ensemble of the same network. `method="gram"` simulates the chain of Gram matrices, which has exactly the law of
    G in networks with drawn weights and is faster; `method="weights"` draws weights. Every statistic has a standard
    error.
    """)
    return


@app.cell
def _(network, networks, x):
    ensemble = rf.sample(network, x, networks=networks.value, seed=1, method="gram", progress=False)
    mo.md(f"`{ensemble!r}`")
    return (ensemble,)


@app.cell
def _(ensemble, first, second):
    layers = np.arange(2, len(first) + 1)

    def fluctuation(result, order=None):
        """n Cov(G_00, G_00) in layers 2 to L."""
        of = (
            (lambda layer: layer.kernel_covariance())
            if order is None
            else (lambda layer: layer.kernel_covariance(order))
        )
        return np.array([result[int(l)].n_in * float(of(result[int(l)])[0, 0, 0, 0]) for l in layers])

    errors = np.array(
        [ensemble[int(l)].n_in * ensemble[int(l)].stderr("kernel_covariance")[0, 0, 0, 0] for l in layers]
    )
    measured = fluctuation(ensemble)
    orders = {"order 1: V": fluctuation(first, 1), "order 2: V + V¹/n": fluctuation(second, 2)}
    _size = figures.lines(
        layers, orders, {"ensemble": (measured, errors)}, x_title="layer", y_title="n Cov(G₀₀, G₀₀)"
    ).update_xaxes(dtick=1)
    _ratio = figures.lines(
        layers,
        {name: values / orders["order 1: V"] for name, values in orders.items()},
        {"ensemble": (measured / orders["order 1: V"], errors / orders["order 1: V"])},
        x_title="layer",
        y_title="n Cov(G₀₀, G₀₀) / V",
    ).update_xaxes(dtick=1)
    mo.vstack(
        [
            _size,
            mo.md("*Variance of the kernel of the first input, times the width.*"),
            _ratio,
            mo.md(
                "*The same over V. Bars are one standard error. The points leave order 1 layer by layer, as "
                "fluctuations build up, and follow order 2.*"
            ),
        ]
    )
    return errors, fluctuation, layers, measured


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## Do they agree?

    "The points look close" is no test. The rule, fixed beforehand and the same everywhere in repflow, asks of **every**
    component of the mean, the covariance and the third cumulant of G in every layer

    $$|\text{theory} - \text{measured}| \le 5 s + t,$$

    where s is the standard error and t = r × (the last order kept) is what the next order may take. It refuses to call
    anything agreement above r = 0.3, where the expansion is not to be trusted. In the table, max |z| is the largest
    deviation in standard errors with no tolerance at all, and "beyond t" with it: where max |z| is far above 5 at
    order 1 and falls at order 2, the ensemble sees the next order.
    """)
    return


@app.cell
def _(ensemble, first, second):
    agreement = {1: rf.compare(first, ensemble), 2: rf.compare(second, ensemble)}
    mo.vstack([mo.plain_text(str(agreement[1])), mo.plain_text(str(agreement[2]))])
    return (agreement,)


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    With ensembles at two widths the next order can be extrapolated away, and what remains is a sharper test of V
    itself: `rf.compare(flow, ensemble, (wider_flow, wider_ensemble))`.
    """)
    return


@app.cell
def _(activation, depth, ensemble, first, networks, width, x):
    twice = rf.mlp([64, *[2 * width.value] * (depth.value - 1), 10], activation=activation.value, init="critical", x=x)
    twice_flow = rf.flow(twice, x, order=1, progress=False)
    twice_ensemble = rf.sample(twice, x, networks=networks.value, seed=2, method="gram", progress=False)
    two_widths = rf.compare(first, ensemble, (twice_flow, twice_ensemble))
    mo.plain_text(two_widths.verdict)
    return (two_widths,)


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## No noise: the exact law for one input

    For one input G is a single number, and its distribution can be carried from layer to layer exactly, at any width
    (`repflow.exact`). Now the error of each order is visible with no sampling noise. Order k leaves out terms of
    relative size $n^{-(k+1)}$ in the mean, and of $n^{-k}$ in the variance, whose first term is itself of order 1/n. On
    logarithmic axes those are straight lines of these slopes.
    """)
    return


@app.cell
def _(activation, depth, x):
    widths = np.array([16, 32, 64])
    oracle = []
    mean_error, variance_error = np.empty((3, 3)), np.empty((3, 3))
    for _i, _n in enumerate(widths):
        _net = rf.mlp([64, *[_n] * (depth.value - 1), 10], activation=activation.value, init="critical", x=x[:1])
        _exact = gram_density(_net, x[0])[-1]
        _theory = rf.flow(_net, x[:1], order=2, progress=False)[-1]
        oracle.append((_exact.mean(), _exact.variance()))
        for _k in range(3):
            mean_error[_k, _i] = abs(float(_theory.mean_kernel(_k)) / _exact.mean() - 1)
            variance_error[_k, _i] = abs(float(_theory.kernel_covariance(_k)) / _exact.variance() - 1)

    def slopes(errors):
        """Slope of log error against log n for each order; NaN where the order is exact."""
        return np.array(
            [np.polyfit(np.log(widths), np.log(row), 1)[0] if row.min() > 1e-11 else np.nan for row in errors]
        )

    mean_slopes, variance_slopes = slopes(mean_error), slopes(variance_error[1:])
    return mean_error, mean_slopes, oracle, variance_error, variance_slopes, widths


@app.cell
def _(mean_error, mean_slopes, variance_error, variance_slopes, widths):
    def named(what, order, slope, expected):
        """A line's name in the legend."""
        fitted = "exact" if np.isnan(slope) else f"slope {slope:.2f}, expected {expected}"
        return f"{what}, order {order}: {fitted}"

    _curves = {named("mean", k, mean_slopes[k], -(k + 1)): np.maximum(mean_error[k], 1e-16) for k in range(3)}
    _curves |= {named("variance", k, variance_slopes[k - 1], -k): variance_error[k] for k in (1, 2)}
    mo.vstack(
        [
            figures.lines(
                widths,
                _curves,
                x_title="width n",
                y_title="relative error at the output",
                log_x=True,
                log_y=True,
                height=480,
            ),
            mo.md(
                "*Error of each order against the exact law. Each order is steeper by one power of n; each line is "
                "labelled with its fitted slope. Slopes of relu and gelu approach whole numbers at larger n only, "
                "since their fluctuations are stronger, and the mean of relu has no corrections at all.*"
            ),
        ]
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## Next

    - Which order is enough for a network of yours: `docs/which-order.md`
    - The tangent kernel and its fluctuations are checked the same way, with `tangent=True` on both sides:
      `docs/tangent-kernel.md`
    - Derivations: `docs/forward-theory.md`, `docs/second-order.md`; the oracle: `docs/exact-oracle.md`
    """)
    return


if __name__ == "__main__":
    app.run()
