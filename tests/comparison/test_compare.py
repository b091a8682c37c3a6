"""``compare`` on deep linear networks, whose theory at order 1/n is exact up to known terms of order 1/n^2."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from repflow.comparison import Comparison, compare
from repflow.ensemble import sample
from repflow.results import load


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).standard_normal((2, 4))


@pytest.fixture(scope="module")
def pairs(linear, linear_flow, x):
    """Flow and ensemble at widths 32 and 64."""
    networks = [linear([4, n, n, 2 * n, 3], 1.1) for n in (32, 64)]
    return [(linear_flow(net, x), sample(net, x, 40_000, 1, "gram")) for net in networks]


def test_one_width_agrees(pairs):
    result = compare(*pairs[0])
    assert result.agrees
    assert result.trusted
    assert result.r_limit == 0.3
    # V/(n K^2) of a linear network: 2 for each layer passed, each with its own width
    assert result.r == pytest.approx(2 / 32 + 2 / 32 + 2 / 64, rel=1e-12)
    assert [(entry.layer, entry.quantity) for entry in result][:3] == [
        (1, "mean_kernel"),
        (1, "kernel_covariance"),
        (2, "mean_kernel"),
    ]
    covariance = result.at(-1, "kernel_covariance")
    ensemble = pairs[0][1]
    assert np.allclose(covariance.stderr, ensemble[4].stderr("kernel_covariance")[tuple(covariance.index.T)])
    assert np.allclose(covariance.measured - covariance.theory, covariance.deviation)


def test_one_width_tolerance_is_r_times_the_size_of_the_last_order_kept(pairs):
    """t = r_l x size, the larger of a component's own and of the geometric mean of its two diagonal components."""
    result = compare(*pairs[0])
    for entry in result:
        layer = pairs[0][0][entry.layer]
        theory, lower = (np.asarray(getattr(layer, entry.quantity)(order=k)) for k in (1, 0))
        kept = np.abs(theory - lower)
        half = entry.index.shape[1] // 2
        for index, tolerance in zip(entry.index.tolist(), entry.tolerance, strict=True):
            left, right = index[:half], index[half:]
            diagonal = np.sqrt(kept[(*left, *left)] * kept[(*right, *right)])
            assert np.isclose(tolerance, entry.r * max(kept[tuple(index)], diagonal))


def test_a_component_that_is_small_by_accident_is_not_held_to_its_own_size(pairs):
    """V_0011 at second order has a term in V_0101: its tolerance follows the larger components."""
    entry = compare(*pairs[0]).at(3, "kernel_covariance")
    place = {tuple(index): number for number, index in enumerate(entry.index.tolist())}
    kept = np.abs(entry.theory)
    number = place[0, 0, 1, 1]
    assert kept[number] < np.sqrt(kept[place[0, 0, 0, 0]] * kept[place[1, 1, 1, 1]])
    assert entry.tolerance[number] > entry.r * kept[number]


def test_first_layer_is_equal_not_zero_over_zero(pairs):
    for result in (compare(*pairs[0]), compare(*pairs[0], other=pairs[1])):
        for quantity in ("mean_kernel", "kernel_covariance"):
            entry = result.at(1, quantity)
            assert not entry.stderr.any()
            assert not entry.z.any()
            assert entry.within
            assert entry.chi2.p_value is None


def test_two_widths_agree_and_extrapolate(pairs):
    result = compare(*pairs[0], other=pairs[1])
    assert result.agrees
    assert result.widths == (32, 64)
    assert result.r_limit == 0.5
    assert result.chi_square_acceptable
    flow = pairs[0][0]
    n1, n2 = 64, 128  # what enters the output layer
    entry = result.at(4, "kernel_covariance")
    place = tuple(entry.index.T)
    assert np.allclose(entry.theory, n1 * flow[4].kernel_covariance()[place])
    c1, c2 = (n * ensemble[4].kernel_covariance()[place] for n, (_, ensemble) in zip((n1, n2), pairs, strict=True))
    e1, e2 = (
        n * ensemble[4].stderr("kernel_covariance")[place] for n, (_, ensemble) in zip((n1, n2), pairs, strict=True)
    )
    lead = (n2 * c2 - n1 * c1) / (n2 - n1)
    assert np.allclose(entry.measured, lead)
    assert np.allclose(entry.stderr, np.hypot(n2 * e2, n1 * e1) / (n2 - n1))
    assert np.allclose(entry.tolerance, 0.35 * np.abs(c2 - c1) + 0.002 * np.abs(lead).max())
    # which of the two is named first does not matter
    assert compare(*pairs[1], other=pairs[0]).to_dict() == result.to_dict()


@pytest.mark.parametrize("two", [False, True])
def test_a_wrong_theory_is_found(pairs, linear_flow, two):
    wrong = [(linear_flow(flow.network, flow.x, factor=1.3), ensemble) for flow, ensemble in pairs]
    result = compare(*wrong[0], other=wrong[1]) if two else compare(*wrong[0])
    assert result.trusted
    assert not result.agrees
    assert "theory disagrees with the ensemble" in result.verdict
    assert result.worst["max_z_beyond"] > 5
    assert " *" in result.table()


def test_beyond_its_range_order_one_is_not_trusted(linear, linear_flow, x):
    net = linear([4, 8, 8, 3])
    result = compare(linear_flow(net, x), sample(net, x, 500))
    assert result.r == pytest.approx(0.5)
    assert not result.trusted
    assert not result.agrees
    assert "order 1 is not to be trusted here: r_L = 0.5 is above 0.3" in result.verdict


def test_small_standard_errors_find_the_second_order(linear, linear_flow, x):
    """Without the tolerance the terms of order 1/n^2 show; with it they are excused."""
    net = linear([4, 16, 16, 3])
    result = compare(linear_flow(net, x), sample(net, x, 60_000, 2, "gram"))
    entry = result.at(3, "kernel_covariance")
    assert np.abs(entry.z).max() > 5
    assert entry.within
    assert result.agrees


def test_saved_loaded_and_printed(pairs, tmp_path: Path):
    result = compare(*pairs[0], other=pairs[1])
    for name in ("cmp.json", "cmp.zarr"):
        result.save(tmp_path / name)
        back = load(tmp_path / name)
        assert isinstance(back, Comparison)
        assert back.to_dict() == result.to_dict()
        assert repr(back) == repr(result)
    assert json.loads(json.dumps(result.to_dict()))["agrees"] is True
    text = repr(result)
    assert text.startswith("Comparison(order=1, width 32 and 64, 40000 networks)")
    assert text.endswith(result.verdict)
    assert len(result.table().splitlines()) == 1 + 8 == 1 + len(result.rows)
    dataset = result.to_xarray()
    assert dataset["layer_4.kernel_covariance.theory"].size == 6
    with pytest.raises(KeyError, match="no layer 5"):
        result.at(5, "mean_kernel")


def test_figures_show_every_component(pairs):
    for result in (compare(*pairs[0]), compare(*pairs[0], other=pairs[1])):
        figures = result.figures()
        assert set(figures) == {"z_mean_kernel", "mean_kernel", "z_kernel_covariance", "kernel_covariance"}
        scores = figures["z_kernel_covariance"].data[0]
        assert len(scores.y) == sum(len(entry.z) for entry in result if entry.quantity == "kernel_covariance")


def test_bad_arguments_are_named(pairs, linear, linear_flow, x):
    flow, ensemble = pairs[0]
    net = flow.network
    with pytest.raises(TypeError, match="ensemble must be what repflow.sample returns, got LinearFlow"):
        compare(flow, flow)
    with pytest.raises(TypeError, match="flow must be what repflow.flow returns, got Ensemble"):
        compare(ensemble, ensemble)
    with pytest.raises(ValueError, match="order 1 or more, got order=0"):
        compare(linear_flow(net, x, order=0), ensemble)
    with pytest.raises(ValueError, match="different inputs"):
        compare(linear_flow(net, x + 1), ensemble)
    with pytest.raises(ValueError, match="different networks"):
        compare(pairs[1][0], ensemble)
    with pytest.raises(ValueError, match="2 networks or more, got 1"):
        compare(flow, sample(net, x, 1))
    with pytest.raises(TypeError, match="other must be a pair"):
        compare(flow, ensemble, pairs[1][1])
    with pytest.raises(ValueError, match="hidden widths must differ by one factor"):
        compare(flow, ensemble, (flow, ensemble))
    odd = linear([4, 64, 64, 64, 3], 1.1)
    with pytest.raises(ValueError, match="hidden widths must differ by one factor"):
        compare(flow, ensemble, (linear_flow(odd, x), sample(odd, x, 10)))
    hot = linear([4, 64, 64, 128, 3], 1.2)
    with pytest.raises(ValueError, match="only the hidden widths may differ"):
        compare(flow, ensemble, (linear_flow(hot, x), sample(hot, x, 10)))
