"""The running of couplings: powers at criticality, rates off it, and the flow diagram against the recursion."""

import math

import numpy as np
import pytest

import repflow as rf
from repflow.criticality import chi_parallel, fixed_points, flow_diagram, relevance
from repflow.criticality.relevance import running

X = np.random.default_rng(0).standard_normal((3, 10))


def net(activation, depth, width=100, **couplings):
    return rf.mlp([10, *[width] * (depth - 1), 4], activation=activation, **(couplings or {"init": "critical", "x": X}))


@pytest.mark.parametrize(
    ("values", "law", "exponent", "verdict"),
    [
        (lambda l: 3.0 * l**1.5, "power", 1.5, "relevant"),
        (lambda l: 3.0 / l, "power", -1.0, "irrelevant"),
        (lambda l: 2.0 + 0 * l, "power", 0.0, "marginal"),
        (lambda l: 2.0 * np.exp(0.1 * l), "exponential", 0.1, "relevant"),
        (lambda l: 2.0 * np.exp(-0.3 * l), "exponential", -0.3, "irrelevant"),
        (lambda l: 0.0 * l, "none", 0.0, "vanishes"),
        (lambda l: math.inf + 0 * l, "none", 0.0, "vanishes"),
    ],
)
def test_laws(values, law, exponent, verdict):
    found = running("g", np.asarray(values(np.arange(1.0, 65.0))))
    assert found.law == law
    assert found.exponent == pytest.approx(exponent, abs=1e-9)
    assert found.change == pytest.approx(0, abs=1e-9)
    assert found.verdict == verdict


def test_a_coupling_that_vanishes_in_the_first_layers_has_a_law():
    depth = np.arange(1.0, 10.0)
    found = running("g", np.where(depth > 2, depth**2, 0.0))
    assert (found.law, found.verdict) == ("power", "relevant")
    assert found.exponent == pytest.approx(2)
    assert relevance(rf.flow(net("tanh", 9), X[:1]))["kernel_correction"].law != "none"


def test_a_coupling_that_falls_below_rounding_is_irrelevant_and_rounding_alone_is_none():
    depth = np.arange(1.0, 65.0)
    found = running("g", np.where(depth < 25, np.exp(-depth), 0.0))
    assert (found.law, found.verdict) == ("exponential", "irrelevant")
    assert found.exponent == pytest.approx(-1)
    for width, order in ((100, 1), (10**6, 1), (10**6, 2)):
        exact = relevance(rf.flow(net("relu", 20, width), X[:1], order=order))
        assert exact["kernel_correction"].verdict == "vanishes"
        assert exact["vertex"].verdict == "relevant"
    assert exact["kernel_correction2"].verdict == "vanishes"
    assert exact["sextic"].verdict == "relevant"


@pytest.mark.parametrize("activation", ["relu", "tanh", "sin", "identity"])
def test_at_criticality_the_vertex_grows_linearly(activation):
    found = relevance(rf.flow(net(activation, 128), X[:1]))
    assert found["vertex"].law == "power"
    assert found["vertex"].exponent == pytest.approx(1, abs=0.05)
    assert found["vertex"].verdict == "relevant"
    assert found.aspect_ratio == pytest.approx(1.27)


def test_differences_between_inputs_of_tanh():
    critical = relevance(rf.flow(net("tanh", 32), X))
    assert critical["norms"].law == "power"
    assert critical["norms"].verdict == "irrelevant"
    ordered = relevance(rf.flow(net("tanh", 32, C_W=0.8, C_b=0.1), X))
    for name in ("norms", "directions"):
        assert ordered[name].law == "exponential"
        assert ordered[name].verdict == "irrelevant"
    chaotic = relevance(rf.flow(net("tanh", 32, C_W=3.0, C_b=0.0), X[:2]))
    assert abs(chaotic["directions"].exponent) < 0.3  # they come to a distance of order one and stay
    assert chaotic["directions"].values[-1] > 0.5 > 1e-3 > ordered["directions"].values[-1]


def test_off_criticality_the_rate_is_the_correlation_length():
    # Beyond criticality a small difference of norms falls by chi_parallel a layer.
    couplings = {"C_W": 1.15, "C_b": 0.02}
    found = relevance(rf.flow(net("tanh", 32, **couplings), X[:2] * [[1.0], [1.01]]))
    K = max(point.K for point in fixed_points("tanh", **couplings))
    assert found["norms"].law == "exponential"
    rate = math.log(float(chi_parallel("tanh", K, couplings["C_W"])))
    assert found["norms"].exponent == pytest.approx(rate, rel=0.02)


def test_tangent_couplings_run_too():
    found = relevance(rf.flow(net("tanh", 32), X[:1], tangent=True))
    assert {"A", "B", "D", "F", "P", "T"} <= {r.coupling for r in found}
    assert found["B"].verdict == "relevant"
    assert len(found.table("dict")) == len(found)
    assert "relevant" in found.table()
    assert "<table" in found._repr_html_()


def test_saved_and_loaded(tmp_path):
    found = relevance(rf.flow(net("tanh", 16), X))
    for name in ("r.json", "r"):
        found.save(tmp_path / name)
        back = rf.load(tmp_path / name)
        assert back.table() == found.table()
        assert np.array_equal(back["vertex"].values, found["vertex"].values)
    assert found.to_xarray()["vertex"].dims == ("layer",)


@pytest.mark.parametrize("activation", ["tanh", "relu", "gelu"])
def test_diagram_steps_are_those_of_the_recursion(activation):
    network = net(activation, 9, width=50)
    flow = rf.flow(network, X[:1])
    for before, after, layer in zip(list(flow)[1:], list(flow)[2:], network.layers[2:]):
        K, r = float(before.kernel[0, 0]), before.relative_fluctuation
        step = flow_diagram(activation, layer.C_W, layer.C_b, 50, [K], [0.0, r])
        assert step.next_kernel[0] == pytest.approx(float(after.kernel[0, 0]), rel=1e-8)
        assert step.next_ratio[0, 1] == pytest.approx(after.relative_fluctuation, rel=1e-6)
        assert step.next_ratio[0, 0] == pytest.approx(step.source[0])
        assert step.next_ratio[0, 1] == pytest.approx(step.source[0] + step.growth[0] * r)


def test_scale_invariant_class_has_a_marginal_ratio_and_a_constant_source():
    step = flow_diagram("relu", 2.0, 0.0, 40, [0.3, 1.0, 7.0], [0.1])
    assert step.growth == pytest.approx(np.ones(3))
    assert step.source == pytest.approx(np.full(3, 5 / 40))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: relevance("flow"), TypeError, "flow must be"),
        (lambda: relevance(rf.flow(net("tanh", 16), X, order=0)), ValueError, "order 1 or more"),
        (lambda: relevance(rf.flow(net("tanh", 5), X)), ValueError, "8 layers or more"),
        (lambda: relevance(rf.flow(net("tanh", 16), X))["A"], KeyError, "no coupling 'A'"),
        (lambda: flow_diagram("tanh", 1.0, 0.0, 0, [1.0], [0.0]), ValueError, "width"),
        (lambda: flow_diagram("tanh", 1.0, 0.0, 10, [0.0], [0.0]), ValueError, "kernel"),
        (lambda: flow_diagram("tanh", 1.0, 0.0, 10, [1.0], [-0.1]), ValueError, "ratio"),
        (lambda: flow_diagram("tanh", -1.0, 0.0, 10, [1.0], [0.1]), ValueError, "C_W"),
    ],
)
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()
