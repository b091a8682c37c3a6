"""The empirical tangent kernel against Jacobians made one output at a time, for modules of many kinds."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from tests.modules import Answer, Residual
from torch import nn

import repflow as rf
from repflow.empirical.jacobian import RowJacobians


def _jacobian(module, x, output=lambda returned: returned):
    """(N, n_L, P) with plain autograd, on a copy in evaluation mode, row by row."""
    module = copy.deepcopy(module).eval()
    learning = [p for p in module.parameters() if p.requires_grad]
    entries = x.values() if isinstance(x, dict) else x if isinstance(x, tuple) else (x,)
    rows = []
    for a in range(len(next(iter(entries)))):
        if isinstance(x, dict):
            returned = module(**{k: v[a : a + 1] for k, v in x.items()})
        else:
            returned = module(*(v[a : a + 1] for v in entries))
        gradients = []
        for value in output(returned).reshape(-1):
            found = torch.autograd.grad(value, learning, retain_graph=True, allow_unused=True)
            flat = [torch.zeros_like(p) if g is None else g for g, p in zip(found, learning, strict=True)]
            gradients.append(torch.cat([g.reshape(-1) for g in flat]))
        rows.append(torch.stack(gradients))
    return torch.stack(rows)


def _full(module, x, x2=None, **options):
    a = _jacobian(module, x, **options)
    b = a if x2 is None else _jacobian(module, x2, **options)
    return torch.einsum("aop,bqp->aboq", a, b)


def _close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11 * float(expected.abs().max()))


def _normal(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def chain():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)).double()


def _conv():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 3)
    )


class _Tied(nn.Module):
    """Tokens, a mask and a shared matrix in; a dataclass out."""

    def __init__(self):
        super().__init__()
        self.tokens = nn.Embedding(6, 4)
        self.norm, self.head = nn.LayerNorm(4), nn.Linear(4, 6, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, ids, mask):
        h = (self.tokens(ids) * mask[..., None]).sum(1)
        return Answer(None, self.head(self.norm(h)))


class _TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.one, self.two = nn.Linear(5, 4), nn.Linear(4, 2), nn.Linear(4, 3)

    def forward(self, x, y):
        h = torch.tanh(self.body(x) * y)
        return self.one(h), self.two(h)


class _Branching(nn.Module):
    """Looks at its data: torch.func cannot follow."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(5, 3), nn.Linear(5, 3)

    def forward(self, x):
        return self.one(x) if float(x.sum()) > 0 else self.two(x).square()


@pytest.mark.parametrize("memory", [None, 1000, 3000, 20_000])
@pytest.mark.parametrize("outputs", ["full", "diagonal", "trace"])
def test_a_chain_for_any_budget_of_memory(chain, outputs, memory):
    x, x2 = _normal(6, 5), _normal(4, 5, seed=1)
    for other in (None, x2):
        full = _full(chain, x, other)
        expected = {
            "full": full,
            "diagonal": torch.einsum("aboo->abo", full),
            "trace": torch.einsum("aboo->ab", full) / 3,
        }[outputs]
        result = rf.empirical_ntk(chain, x, other, outputs=outputs, memory=memory, progress=False)
        _close(result.kernel, expected)
        assert result.method == "vmap"
        assert sum(result.by_parameter.values()).equal(result.kernel)


def test_less_memory_takes_more_passes_and_never_more_at_once(chain, monkeypatch):
    sizes = []
    block = RowJacobians.block

    def watched(self, rows, outputs, names):
        found = block(self, rows, outputs, names)
        sizes.append(sum(t.numel() for t in found))
        return found

    monkeypatch.setattr(RowJacobians, "block", watched)
    calls = []
    for memory in (10**6, 10_000, 4_000):
        sizes.clear()
        rf.empirical_ntk(chain, _normal(6, 5), outputs="full", memory=memory)
        assert max(sizes) * 8 <= memory / 2
        calls.append(len(sizes))
    assert calls[0] == 1
    assert calls[0] < calls[1] < calls[2]


_MODULES = {
    "conv": (_conv, lambda: _normal(4, 1, 8, 8)),
    "residual": (lambda: Residual(8, 2), lambda: _normal(4, 6)),
    "encoder": (lambda: nn.TransformerEncoderLayer(8, 2, 12, batch_first=True), lambda: _normal(3, 3, 8)),
    "embedding": (
        lambda: nn.Sequential(nn.Embedding(5, 3), nn.Flatten(), nn.Linear(12, 2)),
        lambda: torch.tensor([[0, 1, 2, 3], [4, 4, 0, 1], [2, 2, 2, 2]]),
    ),
    "dropout": (lambda: nn.Sequential(nn.Linear(5, 4), nn.Dropout(0.5), nn.Linear(4, 1)), lambda: _normal(3, 5)),
}


@pytest.mark.parametrize("kind", _MODULES)
def test_modules_that_torch_func_follows(kind):
    make, data = _MODULES[kind]
    torch.manual_seed(1)
    module, x = make().double(), data()
    result = rf.empirical_ntk(module, x, outputs="full", memory=50_000)
    assert result.method == "vmap"
    expected = _full(module, x)
    assert result.kernel.shape == (len(x), len(x), *result.output_shape, *result.output_shape)
    _close(result.kernel.reshape(expected.shape), expected)


@pytest.mark.parametrize(
    "module",
    [nn.GRU(4, 3, batch_first=True), nn.LSTM(4, 3, batch_first=True), _Branching()],
    ids=lambda module: type(module).__name__,
)
def test_modules_that_it_does_not_follow(module):
    module = module.double()
    branching = isinstance(module, _Branching)
    x = _normal(5, 5) if branching else _normal(3, 2, 4)
    result = rf.empirical_ntk(module, x, outputs="full")
    assert result.method == "loop"
    expected = _full(module, x, output=lambda returned: returned if branching else returned[0])
    _close(result.kernel.reshape(expected.shape), expected)


def test_both_ways_agree(monkeypatch):
    torch.manual_seed(0)
    module, x = Residual(8, 2).double(), _normal(5, 6)
    fast = rf.empirical_ntk(module, x, outputs="full", memory=20_000)
    monkeypatch.setattr(RowJacobians, "_vmap_agrees", lambda *_: False)
    slow = rf.empirical_ntk(module, x, outputs="full", memory=20_000)
    assert (fast.method, slow.method) == ("vmap", "loop")
    _close(fast.kernel, slow.kernel)


def test_a_module_that_takes_no_batch_of_one():
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(5, 2)

        def forward(self, x):
            if len(x) < 2:
                raise ValueError("two at least")
            return self.linear(x).tanh()

    module, x = Pair().double(), _normal(4, 5)
    result = rf.empirical_ntk(module, x, outputs="full")
    assert result.method == "loop"
    _close(result.kernel, _full(nn.Sequential(module.linear, nn.Tanh()), x))


def test_tied_parameters_count_once_and_keywords_are_cut():
    torch.manual_seed(0)
    module = _Tied().double()
    x = {"ids": torch.randint(6, (4, 3)), "mask": torch.tensor([[1.0, 1, 0], [1, 1, 1], [1, 0, 0], [1, 1, 1]]).double()}
    result = rf.empirical_ntk(module, x, outputs="full")
    assert list(result.by_parameter) == ["tokens.weight", "norm.weight", "norm.bias"]
    _close(result.kernel, _full(module, x, output=lambda returned: returned.logits))


def test_which_output_counts():
    torch.manual_seed(0)
    module, x = _TwoHeads().double(), (_normal(4, 5), _normal(4, 4, seed=2))
    first = rf.empirical_ntk(module, x, outputs="full")
    second = rf.empirical_ntk(module, x, outputs="full", output=lambda returned: returned[1])
    _close(first.kernel, _full(module, x, output=lambda returned: returned[0]))
    _close(second.kernel, _full(module, x, output=lambda returned: returned[1]))
    assert not first.by_parameter["two.weight"].any()
    assert second.by_parameter["two.weight"].any()


def test_rates_and_frozen_parameters(chain):
    x = _normal(4, 5)
    chain[2].bias.requires_grad_(False)
    plain = rf.empirical_ntk(chain, x)
    assert list(plain.by_parameter) == ["0.weight", "0.bias", "2.weight"]
    _close(plain.kernel, torch.einsum("aop,bop->ab", *[_jacobian(chain, x)] * 2) / 3)
    rates = {"0.weight": 0.2, "2.weight": 0}
    scaled = rf.empirical_ntk(chain, x, learning_rates=rates)
    for name, kernel in scaled.by_parameter.items():
        _close(kernel + 1, plain.by_parameter[name] * rates.get(name, 1.0) + 1)
    alone = rf.empirical_ntk(chain, x, learning_rates=rates, by_parameter=False)
    assert alone.by_parameter == {}
    _close(alone.kernel, scaled.kernel)
    with pytest.raises(ValueError, match=r"learning_rates: '2.bias' does not require a gradient; those that learn"):
        rf.empirical_ntk(chain, x, learning_rates={"2.bias": 1.0})


@pytest.mark.parametrize("outputs", ["trace", "full"])
def test_symmetric_and_positive(outputs):
    torch.manual_seed(0)
    result = rf.empirical_ntk(_conv().double(), _normal(5, 1, 8, 8), outputs=outputs)
    matrix = result.matrix()
    assert matrix.shape == ((5, 5) if outputs == "trace" else (15, 15))
    assert torch.equal(matrix, matrix.T)
    values = torch.linalg.eigvalsh(matrix)
    assert values[0] > -1e-10 * values[-1]


@pytest.mark.parametrize("outputs", ["full", "diagonal", "trace"])
def test_one_number_an_input(chain, outputs, tmp_path):
    module = nn.Sequential(chain, nn.Linear(3, 1), nn.Flatten(0)).double()
    x = _normal(4, 5)
    result = rf.empirical_ntk(module, x, outputs=outputs, output=lambda returned: returned)
    assert result.output_shape == ()
    _close(result.kernel, _full(module, x)[:, :, 0, 0])
    assert result.to_xarray()["kernel"].dims == ("input", "input'")
    assert torch.equal(rf.load(result.save(tmp_path / "k.json")).kernel, result.kernel)
    assert len(result.table("dict")) == 6


def test_progress_counts_rows_of_every_pass(chain, capsys):
    rf.empirical_ntk(chain, _normal(4, 5), progress=True)
    assert "4/4" in capsys.readouterr().err


def test_inputs_that_are_given_twice_are_a_block_of_all(chain):
    x, x2 = _normal(4, 5), _normal(3, 5, seed=1)
    joint = rf.empirical_ntk(chain, torch.cat([x, x2]), outputs="full")
    cross = rf.empirical_ntk(chain, x, x2, outputs="full")
    _close(cross.kernel, joint.kernel[:4, 4:])
    assert not cross.symmetric
    assert cross.matrix().shape == (12, 9)


def test_nothing_of_the_module_changes():
    torch.manual_seed(0)
    module = _conv()
    module.train()
    module[0].eval()
    calls = []
    module.register_forward_hook(lambda *_: calls.append(1))
    module(_normal(4, 1, 8, 8).float()).sum().backward()
    before = copy.deepcopy(module.state_dict())
    gradients = [p.grad.clone() for p in module.parameters()]
    flags = [part.training for part in module.modules()]
    state, numpy = torch.get_rng_state(), np.random.get_state()[1].copy()
    rf.empirical_ntk(module, _normal(4, 1, 8, 8).float(), outputs="full")
    assert len(calls) == 1
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(np.random.get_state()[1], numpy)
    assert flags == [part.training for part in module.modules()]
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert all(torch.equal(p.grad, g) for p, g in zip(module.parameters(), gradients, strict=True))
    assert all(p.requires_grad for p in module.parameters())


def test_number_formats(chain):
    x = _normal(4, 5)
    exact = rf.empirical_ntk(chain, x.numpy()).kernel
    assert exact.dtype == torch.float64
    single = copy.deepcopy(chain).float()
    assert rf.empirical_ntk(single, x).kernel.dtype == torch.float32
    assert rf.empirical_ntk(copy.deepcopy(chain).bfloat16(), x).kernel.dtype == torch.float32
    double = rf.empirical_ntk(single, x, dtype=torch.float64).kernel
    torch.testing.assert_close(double, exact, rtol=1e-5, atol=1e-5)
    assert double.dtype == torch.float64
    assert all(p.dtype == torch.float32 for p in single.parameters())
    norm = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4))
    assert rf.empirical_ntk(norm, x, dtype=torch.float64).method == "vmap"
    assert norm[1].running_mean.dtype == torch.float32


@pytest.mark.parametrize("suffix", [".json", ".zarr"])
@pytest.mark.parametrize("outputs", ["full", "diagonal", "trace"])
def test_saved_and_loaded(chain, tmp_path, outputs, suffix):
    result = rf.empirical_ntk(chain.float(), _normal(4, 5), outputs=outputs, learning_rates={"0.bias": 0.5})
    loaded = rf.load(result.save(tmp_path / f"kernel{suffix}"))
    assert isinstance(loaded, rf.EmpiricalNTK)
    assert torch.equal(loaded.kernel, result.kernel)
    assert loaded.by_parameter.keys() == result.by_parameter.keys()
    assert all(torch.equal(loaded.by_parameter[name], kernel) for name, kernel in result.by_parameter.items())
    assert repr(loaded) == repr(result)
    assert loaded.learning_rates == result.learning_rates
    assert loaded.shapes == result.shapes


def test_shown(chain):
    result = rf.empirical_ntk(chain, _normal(4, 5), outputs="full")
    assert repr(result) == (
        "EmpiricalNTK(Sequential, 4 inputs, output (3,), outputs='full', 66 parameters in 4 tensors, float64, vmap)"
    )
    rows = result.table("dict")
    assert [row["parameter"] for row in rows] == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert sum(row["share"] for row in rows) == pytest.approx(1.0)
    assert rows[3]["mean diagonal"] == pytest.approx(1.0)  # each output has a bias of its own
    trace = rf.empirical_ntk(chain, _normal(4, 5))
    assert [r["share"] for r in trace.table("dict")] == pytest.approx([row["share"] for row in rows])
    assert "<table" in result._repr_html_()
    assert "2.weight" in result.table()
    assert "| 2.weight |" in result.table("markdown")
    data = result.to_xarray()
    assert data["kernel"].dims == ("input", "input'", "output", "output'")
    np.testing.assert_allclose(data["by_parameter"].sum("parameter"), data["kernel"])
    assert list(data["parameter"].values) == list(result.by_parameter)
    cross = rf.empirical_ntk(chain, _normal(4, 5), _normal(2, 5), outputs="diagonal")
    assert "4 x 2 inputs" in cross._repr_html_()
    with pytest.raises(AttributeError, match="the table needs x2=None"):
        cross.table()
    with pytest.raises(AttributeError, match="one matrix for each output"):
        cross.matrix()


def test_what_is_refused(chain):
    x = _normal(4, 5)
    coupled = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4, track_running_stats=False)).double()
    with pytest.raises(ValueError, match="gives a row another output alone than among other rows"):
        rf.empirical_ntk(coupled, x)
    with pytest.raises(ValueError, match="outputs must be one of 'trace', 'diagonal', 'full', got 'all'"):
        rf.empirical_ntk(chain, x, outputs="all")
    with pytest.raises(ValueError, match="no parameter that requires a gradient"):
        rf.empirical_ntk(copy.deepcopy(chain).requires_grad_(False), x)
    with pytest.raises(ValueError, match="learning_rates: 'w' is no parameter of the module"):
        rf.empirical_ntk(chain, x, learning_rates={"w": 1.0})
    with pytest.raises(ValueError, match=r"learning_rates\['0.bias'\] must be a number of 0 or more, got -1"):
        rf.empirical_ntk(chain, x, learning_rates={"0.bias": -1})
    turned = nn.Linear(5, 2, dtype=torch.complex64)
    with pytest.raises(ValueError, match="module has the parameter 'weight' of torch.complex64, not real"):
        rf.empirical_ntk(turned, x)
    with pytest.raises(ValueError, match="memory must be a positive number of bytes, got 0"):
        rf.empirical_ntk(chain, x, memory=0)
    with pytest.raises(ValueError, match=r"dtype must be torch.float32, torch.float64 or None"):
        rf.empirical_ntk(chain, x, dtype=torch.float16)
    with pytest.raises(TypeError, match="module must be an nn.Module, got function"):
        rf.empirical_ntk(lambda x: x, x)
    with pytest.raises(TypeError, match="output must be a function"):
        rf.empirical_ntk(chain, x, output=0)
    with pytest.raises(ValueError, match="x2 must be finite"):
        rf.empirical_ntk(chain, x, x / 0)
    with pytest.raises(ValueError, match=r"a row of outputs for a row of x, got shape \(2,\) for 4 rows"):
        rf.empirical_ntk(chain, x, output=lambda returned: returned.sum(0)[:2])
    shrinking = nn.Conv1d(1, 1, 2).double()
    with pytest.raises(ValueError, match=r"x2 must give outputs of the shape that x gives, \(1, 4\), got \(1, 2\)"):
        rf.empirical_ntk(shrinking, x[:, None], x[:, None, :3])
    wide = nn.Linear(5, 2**17)
    with pytest.raises(MemoryError, match="takes .* bytes for 1 kernels"):
        rf.empirical_ntk(wide, torch.zeros(50, 5), outputs="full", by_parameter=False)


@pytest.mark.slow
def test_the_mean_over_draws_is_the_infinite_width_kernel():
    width, draws = 256, 200
    net = rf.mlp([4, width, width, 2], activation="gelu", C_W=1.8, C_b=0.1, lambda_W=1.3, lambda_b=0.7)
    x = _normal(3, 4)
    expected = torch.as_tensor(rf.flow(net, x, order=0, tangent=True)[-1].ntk)
    module = nn.Sequential(
        nn.Linear(4, width), nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, 2)
    ).double()
    rates = {}
    for name, parameter in module.named_parameters():
        rates[name] = 0.7 if name.endswith("bias") else 1.3 / parameter.shape[1]
    generator = torch.Generator().manual_seed(0)
    found = []
    with torch.no_grad():
        for _ in range(draws):
            for name, p in module.named_parameters():
                scale = 0.1**0.5 if name.endswith("bias") else (1.8 / p.shape[1]) ** 0.5
                p.copy_(scale * torch.randn(p.shape, dtype=torch.float64, generator=generator))
            found.append(rf.empirical_ntk(module, x, learning_rates=rates, by_parameter=False).kernel)
    kernels = torch.stack(found)
    error = kernels.std(0) / draws**0.5
    assert (error / expected).max() < 0.01
    # what is left is of order L/n
    assert ((kernels.mean(0) - expected).abs() <= 5 * error + 2.0 / width * expected.abs()).all()
