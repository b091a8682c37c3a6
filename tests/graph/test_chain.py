"""Reading a chain out of a module, and refusing what is none with the step's name."""

import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import repflow as rf
from repflow.graph import read_chain


class Model(nn.Module):
    """Three linear layers and a forward pass given as a function."""

    def __init__(self, run, bias=True):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 8), nn.Linear(8, 8, bias=bias), nn.Linear(8, 3)
        self.norm = nn.LayerNorm(8)
        self.drop = nn.Dropout(0.5)
        self.gain = nn.Parameter(torch.ones(1))
        self.register_buffer("two", torch.tensor(2.0))
        self.run = run

    def forward(self, x, mask=None, scale=1.0):
        return self.run(self, x)


class Swish(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(x)


class FlattenRows(nn.Module):
    def forward(self, x):
        return x.view(x.size(0), -1)


class Block(nn.Module):
    def __init__(self, n_in, n_out):
        super().__init__()
        self.linear = nn.Linear(n_in, n_out)

    def forward(self, x):
        return torch.tanh(self.linear(x))


class MyLinear(nn.Linear):
    """A subclass that adds nothing."""


def found(module):
    chain = read_chain(module)
    return [(layer.name, layer.activation.name if layer.activation else None) for layer in chain.layers]


@pytest.mark.parametrize(
    ("run", "first", "second"),
    [
        (lambda m, x: m.c(F.gelu(m.b(torch.tanh(m.a(x))))), "tanh", "gelu"),
        (lambda m, x: m.c(m.b(m.a(x).relu()).tanh()), "relu", "tanh"),
        (lambda m, x: m.c(F.leaky_relu(m.b(F.leaky_relu(m.a(x), 0.2)), negative_slope=0.3)), "leaky_relu:0.2", "leaky_relu:0.3"),
        (lambda m, x: m.c((lambda h: h * torch.sigmoid(h))(m.b(F.relu(m.a(x), inplace=True)))), "relu", "silu"),
        (lambda m, x: m.c(F.dropout(m.b(m.drop(F.silu(m.a(x)))), 0.1, m.training).sin()), "silu", "sin"),
        (lambda m, x: m.c(m.b(m.a(x.view(x.size(0), -1)))), "identity", "identity"),
        (lambda m, x: m.c(m.b(torch.erf(m.a(x.reshape(x.shape[0], -1).float()))).atan()).squeeze(-1), "erf", "arctan"),
        (lambda m, x: m.c(F.softplus(m.b(F.gelu(m.a(x), approximate="tanh")))), "gelu_tanh", "softplus"),
    ],
)  # fmt: skip
def test_functions_methods_and_modules_are_activations(run, first, second):
    assert found(Model(run)) == [("a", first), ("b", second), ("c", None)]


def test_nested_sequentials_class_based_blocks_and_reshaping_modules():
    model = nn.Sequential(
        FlattenRows(),
        nn.Sequential(nn.Linear(4, 8), Swish(), nn.Dropout(0.1)),
        Block(8, 8),
        nn.Sequential(nn.Sequential(MyLinear(8, 8, bias=False), nn.LeakyReLU(0.2, inplace=True)), nn.Identity()),
        nn.Flatten(),
        nn.Linear(8, 2),
    )
    assert found(model) == [("1.0", "silu"), ("2.linear", "tanh"), ("3.0.0", "leaky_relu:0.2"), ("5", None)]
    chain = read_chain(model)
    assert chain.widths == (4, 8, 8, 8, 2)
    assert chain.layers[2].linear is model[3][0][0]
    assert not chain.layers[2].has_bias
    assert any("dropout" in note for note in chain.notes)


def test_an_activation_that_is_not_registered_keeps_its_values():
    chain = read_chain(Model(lambda m, x: m.c(F.elu(m.a(x), 0.7) * m.two)))
    z = torch.linspace(-3, 3, 7, dtype=torch.float64)
    assert torch.allclose(chain.layers[0].activation(z), 2 * F.elu(z, 0.7))
    assert torch.equal(z, torch.linspace(-3, 3, 7, dtype=torch.float64))


def test_activations_in_place_do_not_write_into_what_they_are_asked_about():
    chain = read_chain(nn.Sequential(nn.Linear(2, 2), nn.ReLU6(inplace=True), nn.Linear(2, 1)))
    z = torch.tensor([-1.0, 7.0], dtype=torch.float64)
    assert chain.layers[0].activation(z).tolist() == [0.0, 6.0]
    assert z.tolist() == [-1.0, 7.0]


def test_two_activations_in_a_row_are_composed():
    chain = read_chain(nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.ReLU(), nn.Linear(2, 1)))
    z = torch.linspace(-2, 2, 9, dtype=torch.float64)
    assert torch.allclose(chain.layers[0].activation(z), torch.tanh(z).relu())


@pytest.mark.parametrize(
    ("end", "name"), [(lambda z: F.log_softmax(z, -1), "log_softmax"), (lambda z: z.softmax(-1), "softmax"), (torch.sigmoid, "sigmoid")]
)  # fmt: skip
def test_what_follows_the_last_layer_is_left_out_and_said(end, name):
    chain = read_chain(Model(lambda m, x: end(m.c(m.a(x).relu()))))
    assert chain.layers[-1].activation is None
    assert chain.notes == (f"{name} behind the last linear layer is left out: the output is taken before it",)


def test_a_trailing_softmax_module_is_named():
    chain = read_chain(nn.Sequential(nn.Linear(2, 2), nn.Softmax(dim=1)))
    assert chain.notes == ("1 (Softmax) behind the last linear layer is left out: the output is taken before it",)


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda m, x: m.c((lambda h: h + m.b(h))(m.a(x).relu())), "step 'add' joins paths, one of them through 'b'"),
        (lambda m, x: m.c((lambda h: torch.sigmoid(h) * m.b(h))(m.a(x))), "step 'mul' joins paths, one of them through 'b'"),
        (lambda m, x: m.c(m.norm(m.a(x)).relu()), r"step 'norm' \(LayerNorm\) is neither linear nor elementwise"),
        (lambda m, x: m.c(m.a(x) * m.gain), "step 'mul' is neither linear nor elementwise .*'gain'"),
        (lambda m, x: m.c(F.softmax(m.a(x), -1)), "step 'softmax' is a softmax"),
        (lambda m, x: m.c((lambda h: h - h.mean(-1, keepdim=True))(m.a(x))), "step 'sub' is neither linear nor elementwise"),
        (lambda m, x: m.c(F.linear(m.a(x), m.b.weight)), "step 'linear' is neither linear nor elementwise .*'b.weight'"),
        (lambda m, x: m.c(m.a(x)) if x.sum() > 0 else m.c(m.a(x)), "cannot be traced as a chain"),
        (lambda m, x: (m.c(m.a(x)), x), "its output is not the end of one path"),
        (lambda m, x: m.c(F.relu(x)), "'relu' comes before the first nn.Linear"),
        (lambda m, x: m.c(m.b(x)), None),
        (lambda m, x: m.b(m.c(m.a(x))), "'b' takes 8 values, 'c' gives 3"),
    ],
)  # fmt: skip
def test_what_is_no_chain_is_refused_by_name(run, message):
    if message is None:
        assert found(Model(run)) == [("b", "identity"), ("c", None)]
        return
    with pytest.raises(ValueError, match=message) as error:
        read_chain(Model(run))
    assert "\n" not in str(error.value)


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, x, other):
        return self.a(x) + self.b(other)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (TwoInputs(), "more than one input .'other'"),
        (nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(4, 2)), r"step '0' \(Conv2d\)"),
        (nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)), r"step '1' \(BatchNorm1d\)"),
        (nn.Sequential(nn.Embedding(3, 4), nn.Linear(4, 2)), r"step '0' \(Embedding\)"),
        (nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)), nn.Linear(4, 2)), "weight of '0' is computed"),
        (nn.Sequential(nn.LazyLinear(4), nn.Linear(4, 2)), "lazy layer '0'"),
        (nn.ReLU(), "module has no nn.Linear"),
    ],
)  # fmt: skip
def test_modules_that_are_no_chain(module, message):
    with pytest.raises(ValueError, match=message):
        read_chain(module)


def test_a_class_is_not_a_module():
    with pytest.raises(TypeError, match="module must be an nn.Module, got type"):
        rf.trace(nn.Linear)


def test_trace_reads_the_couplings_off_the_weights():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(50, 400), nn.Tanh(), nn.Linear(400, 5, bias=False))
    with torch.no_grad():
        model[0].weight.normal_(0, (1.7 / 50) ** 0.5)
        model[0].bias.normal_(0, 0.3)
        model[2].weight.normal_(0, (0.8 / 400) ** 0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net = rf.trace(model, torch.zeros(7, 5, 10))
    weight = model[0].weight.detach().double()
    assert net.layers[0].C_W == pytest.approx(float((weight**2).mean() * 50), rel=1e-12)
    assert [layer.C_W for layer in net.layers] == pytest.approx([1.7, 0.8], rel=0.1)
    assert net.layers[0].C_b == pytest.approx(0.09, rel=0.2)
    assert (net.layers[1].C_b, net.layers[1].lambda_b) == (0.0, 0.0)
    assert rf.flow(net, np.eye(50)[:2], order=1)[2].vertex.shape == (2,) * 4


def test_trace_says_that_uniform_weights_are_not_gaussian():
    with pytest.warns(UserWarning, match="weights of 0 and 1 more are not Gaussian"):
        rf.trace(nn.Sequential(nn.Linear(50, 100), nn.Tanh(), nn.Linear(100, 5)))


def test_trace_checks_the_example_input():
    with pytest.raises(ValueError, match=r"example_input must have 4 values a row.*\(2, 3\)"):
        rf.trace(nn.Linear(4, 2), torch.zeros(2, 3))


def test_a_module_without_data_has_no_couplings():
    with pytest.raises(ValueError, match="meta device"):
        rf.trace(nn.Linear(4, 2, device="meta"))
    model = nn.Linear(4, 2)
    with torch.no_grad():
        model.weight[0, 0] = float("nan")
    with pytest.raises(ValueError, match="NaN or an infinity"):
        rf.trace(model)
