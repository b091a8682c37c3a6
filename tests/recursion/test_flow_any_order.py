"""``flow(order=k)`` for one and two inputs: the same answers as the expansion, reached from a flow."""

import itertools

import numpy as np
import pytest
import torch

import repflow as rf
from repflow.comparison import which_order
from repflow.exact import gram_density
from repflow.recursion.expansion import expansion

X = np.random.default_rng(0).standard_normal((3, 4))


@pytest.fixture(scope="module")
def network():
    return rf.mlp([4, 9, 6, 8, 3], activation="tanh", C_W=1.3, C_b=0.1)


@pytest.fixture(scope="module")
def two(network):
    return rf.flow(network, X[:2], order=4)


def test_every_order_of_every_layer_is_the_expansion(network, two):
    series = expansion(network, X[:2], 4)
    assert two.order == 4
    for layer, terms in zip(two, series, strict=True):
        assert layer.order == 4
        for k in range(5):
            # Below order 3 by other formulas than the series.
            for m, named in enumerate((layer.mean_kernel, layer.kernel_covariance, layer.kernel_third_cumulant), 1):
                assert torch.equal(layer.cumulant(m, k), named(k))
                torch.testing.assert_close(named(k), terms.cumulant(m, k), rtol=1e-7, atol=1e-11)
        torch.testing.assert_close(layer.cumulant(5), terms.cumulant(5))
        assert layer.own_third_cumulant().tolist() == pytest.approx(
            torch.einsum("aaaaaa->a", layer.kernel_third_cumulant()).tolist()
        )


def test_terms_beyond_order_2_change_the_answer(two):
    last = two[-1]
    for m in (1, 2, 3):
        orders = [last.cumulant(m, k) for k in range(m - 1, 5)]
        for before, after in itertools.pairwise(orders):
            assert float((after - before).abs().max()) > 1e-9


def test_each_order_is_nearer_to_the_exact_law():
    network = rf.mlp([1, *[16] * 5, 1], activation="tanh")
    exact = gram_density(network, [[1.0]])[-1]
    layer = rf.flow(network, [[1.0]], order=4)[-1]
    errors = [abs(float(layer.mean_kernel(k)) / exact.mean() - 1) for k in range(5)]
    assert errors[4] < errors[3] < errors[2] < errors[1] < errors[0]
    assert errors[4] < 2e-6


def test_distribution_and_kurtosis_stop_at_order_2(network, two):
    second = rf.flow(network, X[:2], order=2)[-1]
    assert torch.equal(two[-1].excess_kurtosis(), second.excess_kurtosis())
    z = np.array([[0.3, -0.1]])
    assert two[-1].distribution().log_density(z) == pytest.approx(second.distribution().log_density(z))


def test_saved_loaded_and_labelled(two, tmp_path):
    for name in ("flow.json", "flow.zarr"):
        two.save(tmp_path / name)
        again = rf.load(tmp_path / name)
        assert again.order == 4
        assert torch.equal(again[-1].cumulant(4), two[-1].cumulant(4))
        assert torch.equal(again[2].expansion.rounding(1), two[2].expansion.rounding(1))
    labelled = two.to_xarray()
    terms = labelled["cumulant2_terms"]
    assert terms.dims == ("layer", "power", "a", "b", "c", "d")
    np.testing.assert_allclose(terms.sum("power").sel(layer=4), two[4].kernel_covariance(), rtol=1e-12)
    assert "expansion" in repr(two)


def test_compared_with_networks_and_judged(network, two):
    ensemble = rf.sample(network, X[:2], networks=4000, method="gram", seed=1)
    compared = rf.compare(two, ensemble)
    assert compared.order == 4
    assert compared.agrees
    assert which_order(two).of("variance", 3).error < which_order(two).of("variance", 1).error


def test_a_wide_network_is_judged_by_the_terms_themselves():
    """Differences of sums would lose terms of 1e-16."""
    network = rf.mlp([4, *[20_000] * 5, 1], activation="tanh")
    found, expected = which_order(rf.flow(network, X[:1], order=4)), which_order(expansion(network, X[:1], 4))
    for entry in expected.errors:
        assert found.of(entry.statistic, entry.order).limit == pytest.approx(entry.limit, rel=1e-6)


@pytest.mark.parametrize(("activation", "hidden", "width"), [("tanh", 20, 8), ("gelu", 10, 16), ("relu", 60, 8)])
def test_a_series_that_has_not_settled_is_said_to(activation, hidden, width):
    network = rf.mlp([4, *[width] * hidden, 1], activation=activation, init="critical", x=X[:1])
    with pytest.warns(UserWarning, match=r"has not settled at order 16: its last term is .*% of the sum"):
        rf.flow(network, X[:1], order=16)


def test_a_series_that_has_settled_or_ends_is_not(recwarn):
    for activation, order in (("tanh", 4), ("relu", 5), ("linear", 5)):
        rf.flow(rf.mlp([4, *[64] * 4, 1], activation=activation), X[:1], order=order)
    assert not recwarn.list


def test_tangent_kernel_beside_it(network):
    found = rf.flow(network, X[:1], order=3, tangent=True)[-1]
    first = rf.flow(network, X[:1], order=1, tangent=True)[-1]
    torch.testing.assert_close(found.A, first.A)
    torch.testing.assert_close(found.mean_ntk(), first.mean_ntk())


@pytest.mark.parametrize(
    ("rows", "order", "message"),
    [
        (3, 3, "order must be at most 2 for 3 inputs, got 3; one input has orders up to 16, two up to 6"),
        (2, 7, "order must be at most 6 for 2 inputs, got 7"),
        (1, 17, "order must be 0, 1 or 2, for one input up to 16 and for two up to 6, got 17"),
        (1, 2.5, "got 2.5"),
    ],
)
def test_orders_that_are_not_there(network, rows, order, message):
    with pytest.raises(ValueError, match=message):
        rf.flow(network, X[:rows], order=order)


def test_layers_say_what_to_call(network, two):
    with pytest.raises(AttributeError, match=r"expansion was not computed; call flow\(network, x, order=3\)"):
        rf.flow(network, X[:2], order=2)[1].expansion  # noqa: B018
    with pytest.raises(AttributeError, match=r"order 5 was not computed; call flow\(network, x, order=5\), which one"):
        two[1].mean_kernel(5)
    with pytest.raises(AttributeError, match=r"order 2 was not computed; call flow\(network, x, order=2\)$"):
        rf.flow(network, X, order=1)[1].mean_kernel(2)
    with pytest.raises(ValueError, match="m must be a whole number from 1 to 5, got 6"):
        two[1].cumulant(6)
    with pytest.raises(ValueError, match="m must be a whole number from 1 to 3, got 4"):
        rf.flow(network, X, order=1)[1].cumulant(4)


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_signals_that_overflow_are_refused(activation):
    network = rf.mlp([4, *[8] * 300, 2], activation=activation, C_W=1e3)
    with pytest.raises(ValueError, match="is not finite: signals overflow"):
        expansion(network, X[:1], 3)
