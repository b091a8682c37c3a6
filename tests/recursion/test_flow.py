"""``flow`` and ``Flow``: what is accepted, what is refused, what is kept."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

import repflow as rf
from repflow.recursion import Flow, flow, memory

WIDTHS = (7, 6, 9, 4)


def _wiggle(z):
    return torch.sin(400 * z) + z


def _bump(z):
    return torch.tanh(z) + 0.1 * torch.exp(-z * z)


def test_layers_are_counted_from_one(network, inputs):
    found = flow(network(WIDTHS), inputs)
    assert len(found) == 3
    assert [layer.index for layer in found] == [1, 2, 3]
    assert found[-1] is found[3]
    assert found[-3] is found[1]
    assert [(layer.n_in, layer.n_out) for layer in found] == [(7, 6), (6, 9), (9, 4)]
    for wrong in (0, 4, -4):
        with pytest.raises(IndexError, match="layers are 1 to 3"):
            found[wrong]
    with pytest.raises(TypeError, match="whole number"):
        found["1"]


def test_shapes_and_dtypes(network, inputs):
    last = flow(network(WIDTHS), inputs.astype(np.float32), tangent=True)[-1]
    for name, rank in (("kernel", 2), ("vertex", 4), ("kernel_correction", 2), ("ntk", 2)):
        assert getattr(last, name).shape == (5,) * rank
        assert getattr(last, name).dtype == torch.float64
    assert last.mean_kernel().shape == (5, 5)
    assert last.kernel_covariance().shape == (5, 5, 5, 5)
    assert last.excess_kurtosis().shape == (5,)


def test_widths_are_put_in(network, inputs):
    last = flow(network(WIDTHS), inputs)[-1]
    assert torch.equal(last.mean_kernel(), last.kernel + last.kernel_correction / 9)
    assert torch.equal(last.mean_kernel(order=0), last.kernel)
    assert torch.equal(last.kernel_covariance(), last.vertex / 9)
    assert not last.kernel_covariance(order=0).any()
    own = torch.einsum("aaaa->a", last.vertex)
    torch.testing.assert_close(last.excess_kurtosis(), 3 * own / 9 / last.kernel.diagonal() ** 2)
    assert last.relative_fluctuation == pytest.approx(float((own / 9 / last.kernel.diagonal() ** 2).max()))


def test_a_quantity_not_computed_names_the_call(network, inputs):
    last = flow(network(WIDTHS), inputs, order=0)[-1]
    for name, call in (("vertex", "order=1"), ("kernel_correction", "order=1"), ("ntk", "tangent=True")):
        with pytest.raises(AttributeError, match=call):
            getattr(last, name)
        assert not hasattr(last, name)
    with pytest.raises(AttributeError, match="order=1"):
        last.mean_kernel(order=1)
    with pytest.raises(AttributeError, match=r"order 5 was not computed; call flow\(network, x, order=5\)"):
        last.mean_kernel(order=5)
    for order in (-1, 1.5, True):
        with pytest.raises(ValueError, match="order must be a whole number of 0 or more"):
            last.mean_kernel(order=order)


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.zeros((3, 6)), ValueError, r"x must have shape \(N, 7\)"),
        (np.zeros(7), ValueError, r"x must have shape \(N, 7\)"),
        (np.zeros((0, 7)), ValueError, "at least one row"),
        (np.array([[1.0] * 7, [np.nan] + [0.0] * 6]), ValueError, "row 1"),
        (np.full((1, 7), np.inf), ValueError, "finite"),
        (np.zeros((2, 7), dtype=complex), TypeError, "real numbers"),
        (torch.zeros(2, 7, dtype=torch.complex64), TypeError, "real numbers"),
        ([["a"] * 7], TypeError, "real numbers"),
        ([[1.0], [1.0, 2.0]], TypeError, "x must be an array"),
    ],
)
def test_bad_inputs_are_named(network, x, error, message):
    with pytest.raises(error, match=message):
        flow(network(WIDTHS), x)


@pytest.mark.parametrize("order", [-1, 0.5, "1", None, True])
def test_other_orders_are_refused(network, inputs, order):
    with pytest.raises(ValueError, match="order must be"):
        flow(network(WIDTHS), inputs, order=order)


def test_something_else_than_a_network_is_refused(inputs):
    with pytest.raises(TypeError, match="network must be a Network"):
        flow(torch.nn.Linear(7, 3), inputs)


def test_what_does_not_fit_is_refused_before_any_work(network, inputs, monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 10_000)
    with pytest.raises(MemoryError, match=r"\d+ bytes.*vertex_at.*kernel_fluctuation"):
        flow(network(WIDTHS), inputs)
    flow(network(WIDTHS), inputs, order=0)


def test_a_wild_callable_is_warned_of_and_a_good_one_is_not(network, inputs):
    with pytest.warns(UserWarning, match="uncertain"):
        wild = flow(network(WIDTHS, _wiggle), inputs[:2], order=0)
    assert wild.error > 1e-4
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        good = flow(network(WIDTHS, _bump), inputs[:2])
    assert good.error < 1e-4


def test_torch_numpy_lists_and_gradients_give_the_same(network, inputs):
    net = network(WIDTHS)
    expected = flow(net, inputs)[-1]
    tensor = torch.tensor(inputs, requires_grad=True)
    for x in (tensor, inputs.tolist(), np.asfortranarray(inputs)):
        found = flow(net, x)[-1]
        assert torch.equal(found.vertex, expected.vertex)
        assert not found.kernel.requires_grad
    whole = flow(net, np.arange(14).reshape(2, 7))[1]
    assert float(whole.kernel[0, 0]) == pytest.approx(np.sum(np.arange(7) ** 2) / 7)


def test_device_is_honoured(network, inputs):
    found = flow(network(WIDTHS), inputs, device="cpu")
    assert found[-1].vertex.device.type == "cpu"
    with pytest.raises((RuntimeError, ValueError)):
        flow(network(WIDTHS), inputs, device="no such device")
    if torch.cuda.is_available():
        on_gpu = flow(network(WIDTHS), inputs, device="cuda", tangent=True)[-1]
        assert on_gpu.vertex.device.type == "cuda"
        torch.testing.assert_close(on_gpu.vertex.cpu(), found[-1].vertex)


def test_settings_are_left_alone(network, inputs):
    before = torch.get_default_dtype(), torch.get_num_threads(), torch.random.get_rng_state()
    x = inputs.copy()
    flow(network(WIDTHS), x, tangent=True)
    assert (torch.get_default_dtype(), torch.get_num_threads()) == before[:2]
    assert torch.equal(torch.random.get_rng_state(), before[2])
    assert np.array_equal(x, inputs)


def test_one_activation_a_layer(inputs):
    mixed = flow(rf.mlp([7, 6, 9, 4], activation=["relu", "tanh"], C_W=[1.0, 2.0, 1.5], C_b=[0.1, 0.0, 0.2]), inputs)
    first = flow(rf.mlp([7, 6, 4], activation="relu", C_W=[1.0, 2.0], C_b=[0.1, 0.0]), inputs)
    assert torch.equal(mixed[2].vertex, first[2].vertex)
    assert not torch.equal(mixed[3].vertex, first[2].vertex)


def test_progress_is_shown_where_it_is_asked_for(network, inputs, capfd):
    flow(network(WIDTHS), inputs)
    assert capfd.readouterr().err == ""  # no terminal
    flow(network(WIDTHS), inputs, progress=True)
    assert "3/3" in capfd.readouterr().err


@pytest.mark.parametrize("suffix", [".json", ""])
@pytest.mark.parametrize("order", [0, 1])
def test_saving_and_loading_keeps_every_bit(network, inputs, tmp_path, suffix, order):
    found = flow(network(WIDTHS, "gelu", 1.9, 0.1), inputs, order=order, tangent=bool(order))
    path = tmp_path / f"flow{suffix}"
    found.save(path)
    again = rf.load(path)
    assert isinstance(again, Flow)
    assert again.network == found.network
    assert (again.order, again.tangent, again.error) == (found.order, found.tangent, found.error)
    assert torch.equal(again.x, found.x)
    for a, b in zip(again, found):
        assert torch.equal(a.kernel, b.kernel)
        if order:
            assert torch.equal(a.vertex, b.vertex)
            assert torch.equal(a.kernel_correction, b.kernel_correction)
            assert torch.equal(a.ntk, b.ntk)
        else:
            assert not hasattr(a, "vertex")


def test_to_xarray(network, inputs):
    data = flow(network(WIDTHS), inputs, tangent=True).to_xarray()
    assert data["vertex"].dims == ("layer", "a", "b", "c", "d")
    assert data["kernel"].sizes == {"layer": 3, "a": 5, "b": 5}
    assert data["layer"].values.tolist() == [1, 2, 3]
    assert data["n_in"].values.tolist() == [7, 6, 9]
    found = flow(network(WIDTHS), inputs, tangent=True)
    np.testing.assert_array_equal(data["ntk"].sel(layer=2).values, found[2].ntk.numpy())
    assert set(flow(network(WIDTHS), inputs, order=0).to_xarray()) == {"kernel"}


def test_it_prints(network, inputs):
    found = flow(network(WIDTHS), inputs)
    assert "depth=3" in repr(found)
    assert "layer 2" in repr(found[2])
    assert found._repr_html_().count("<tr>") == 4


def test_zero_inputs_have_no_kurtosis(network):
    last = flow(network((3, 5, 5, 2)), np.array([[0.0, 0, 0], [1, 1, 1]]))[-1]
    assert last.excess_kurtosis()[0] == 0
    assert np.isfinite(last.relative_fluctuation)


def test_large_variances_of_every_registered_activation_stay_finite(network):
    """K_aa = 20: nodes reach |z| = 54, where a derivative may be inf - inf."""
    x = np.array([[4.0, 5.0], [-3.0, 2.0]])
    for name in rf.activation_names():
        if name == "monomial":
            continue
        jumps = not rf.as_activation(name).continuous
        for layer in flow(network((2, 5, 5, 4), name, 1.0), x, tangent=not jumps):
            for statistic in layer.statistics:
                assert bool(torch.isfinite(layer.statistic(statistic)).all()), (name, statistic)
