"""What a graph knows of a module: nodes, edges, marks, branches, and the place of each parameter."""

import dataclasses
import warnings

import numpy as np
import pytest
import rtdl_revisiting_models as rtdl
import torch
from tests.graph.sampled import Given
from torch import nn

import repflow as rf
from repflow.graph import observe, read_graph


class Block(nn.Module):
    def __init__(self, n, scale=1.0):
        super().__init__()
        self.norm, self.up, self.down, self.scale = nn.LayerNorm(n), nn.Linear(n, 2 * n), nn.Linear(2 * n, n), scale

    def forward(self, x):
        return x + self.scale * self.down(torch.relu(self.up(self.norm(x))))


def residual(n=8):
    return nn.Sequential(nn.Linear(5, n), Block(n, 0.5), Block(n, 0.25), nn.LayerNorm(n), nn.Linear(n, 3))


def traced(run, x, **parts):
    return rf.trace(Given(run, **parts), x)


def kinds(graph):
    return {node.name: (node.kind, node.mark) for node in graph.nodes}


def test_a_chain_is_a_network_and_what_is_none_a_graph():
    x = torch.randn(4, 5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert isinstance(rf.trace(nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 2)), x), rf.Network)
        assert isinstance(rf.trace(rtdl.MLP(d_in=5, d_out=2, n_blocks=2, d_block=9, dropout=0.1), x), rf.Network)
    assert isinstance(rf.trace(residual(), x), rf.Graph)
    with pytest.raises(ValueError, match=r"with example inputs, trace\(module, x\), it becomes a Graph"):
        rf.trace(residual())
    with pytest.raises(TypeError, match="module must be an nn.Module"):
        read_graph(nn.Linear, x)


def test_what_is_compiled_is_traced_as_what_it_was():
    x = torch.randn(4, 5)
    graph = rf.trace(torch.compile(residual()), x)
    assert [place.name for place in graph.parameters][:2] == ["0.weight", "0.bias"]
    assert rf.flow(graph, x)[-1].known
    assert isinstance(rf.trace(torch.compile(nn.Linear(5, 2)), x), rf.Network)
    averaged = torch.optim.swa_utils.AveragedModel(nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 2)))
    assert isinstance(rf.trace(averaged, x), rf.Network)


def test_nodes_and_edges_of_a_residual_network():
    graph = rf.trace(residual(), torch.randn(4, 5))
    names = [node.name for node in graph.nodes]
    assert names[:8] == ["x", "0", "1.norm", "1.up", "1.relu", "1.down", "1.mul", "1.add"]
    assert [graph.nodes[k].name for k in graph["2.add"].inputs] == ["1.add", "2.mul"]
    assert graph["1.up"].parameters == ("1.up.weight", "1.up.bias")
    assert {node.kind for node in graph.nodes} == {"input", "linear", "norm", "elementwise", "add"}
    assert graph.measured == ()
    assert graph.depth == 6
    assert graph.nodes[graph.output].name == "4"
    assert "1.norm" in graph.table()


def test_branches_and_their_scales():
    graph = rf.trace(residual(), torch.randn(4, 5))
    assert [(branch.layers, branch.scale, branch.projected) for branch in graph.branches] == [
        (2, 0.5, False),
        (2, 0.25, False),
    ]
    assert [graph.nodes[k].name for k in graph.branches[1].nodes] == ["2.norm", "2.up", "2.relu", "2.down", "2.mul"]
    assert graph.nodes[graph.branches[1].fork].name == "1.add"


def test_parallel_branches_and_a_projected_shortcut():
    parts = {"a": nn.Linear(5, 8), "b": nn.Linear(8, 8), "c": nn.Linear(8, 8), "d": nn.Linear(8, 8), "e": nn.Linear(8, 4), "f": nn.Linear(8, 4)}  # fmt: skip

    def run(m, x):
        h = m.a(x)
        h = h + m.b(torch.tanh(h)) + m.d(torch.tanh(m.c(h)))
        return m.e(h) + m.f(torch.relu(h))

    graph = traced(run, torch.randn(3, 5), **parts)
    found = [(graph.nodes[b.fork].name, b.layers, b.projected) for b in graph.branches]
    assert found == [("a", 1, False), ("a", 2, False), ("add_1", 1, True)]


def test_a_layer_scale_is_the_scale_of_its_branch():
    graph = traced(
        lambda m, x: (lambda h: m.c(h + m.g * m.b(torch.relu(h))))(m.a(x)),
        torch.randn(3, 5), a=nn.Linear(5, 8), b=nn.Linear(8, 8), c=nn.Linear(8, 2), g=nn.Parameter(torch.full((8,), 0.1)),
    )  # fmt: skip
    assert graph.branches[0].scale == pytest.approx(0.1)
    assert graph.parameter("g").role == "scale"


def test_places_of_parameters():
    module = residual()
    module[0].bias.requires_grad_(False)
    graph = rf.trace(module, torch.randn(4, 5))
    place = graph.parameter("2.down.weight")
    assert (place.role, place.place, place.fan_in, place.depth) == ("weight", "hidden", 16, 5)
    assert (place.fed_by, place.activation.name, place.branch, place.branch_layers) == ("elementwise", "relu", 1, 2)
    assert place.mean_square == pytest.approx(float(module[2].down.weight.detach().double().square().mean()), rel=1e-12)
    first, head = graph.parameter("0.weight"), graph.parameter("4.weight")
    assert (first.place, first.fan_in, first.activation, first.fed_by, first.branch) == (
        "input",
        5,
        None,
        "input",
        None,
    )
    assert (head.place, head.fed_by, head.depth, head.branch) == ("head", "norm", 6, None)
    assert [graph.parameter(f"1.norm.{kind}").role for kind in ("weight", "bias")] == ["norm weight", "norm bias"]
    assert graph.parameter("1.norm.weight").constant
    assert not graph.parameter("0.bias").trainable
    assert [place.name for place in graph.parameters] == [name for name, _ in module.named_parameters()]


def test_places_of_convolutions_embeddings_and_unused_parameters():
    graph = traced(
        lambda m, t: m.h(torch.relu(m.c(m.e(t).transpose(1, 2))).mean(-1)),
        torch.tensor([[1, 2, 3]]), e=nn.Embedding(5, 6), c=nn.Conv1d(6, 8, 2), h=nn.Linear(8, 3), u=nn.Linear(2, 2),
    )  # fmt: skip
    assert kinds(graph)["c"] == ("convolution", "theory")
    assert kinds(graph)["mean"] == ("pooling", "theory")
    assert (graph.parameter("e.weight").role, graph.parameter("e.weight").place) == ("embedding", "input")
    assert graph.parameter("c.weight").fan_in == 12
    assert (graph.parameter("h.weight").fed_by, graph.parameter("h.weight").activation.name) == ("elementwise", "relu")
    assert graph.parameter("u.weight").place == "unused"


def test_places_of_tokens_positions_and_embedded_features():
    graph = traced(
        lambda m, x: m.h((torch.cat([m.cls.expand(len(x), -1, -1), x[..., None] * m.w], 1) + m.pos).mean(1) + m.b),
        torch.randn(2, 3), w=nn.Parameter(torch.randn(3, 8)), cls=nn.Parameter(torch.randn(1, 1, 8)),
        pos=nn.Parameter(torch.randn(1, 4, 8)), b=nn.Parameter(torch.randn(8)), h=nn.Linear(8, 3),
    )  # fmt: skip
    roles = {place.name: (place.role, place.fan_in, place.depth) for place in graph.parameters}
    assert roles["w"] == ("embedding", 1, 1)
    assert roles["pos"][:2] == ("embedding", 1)
    assert roles["cls"][0] == "embedding"
    assert roles["b"][:2] == ("bias", 1)
    assert graph.depth == 2


@dataclasses.dataclass
class Output:
    logits: torch.Tensor
    hidden: object = None


@pytest.mark.parametrize(
    "wrap",
    [lambda y: y, lambda y: (y, None), lambda y: {"logits": y}, lambda y: Output(y), lambda y: [None, Output(y)]],
)
def test_outputs_in_tuples_dictionaries_and_dataclasses(wrap):
    graph = traced(lambda m, x: wrap(m.b(m.n(m.a(x)))), torch.randn(3, 5), a=nn.Linear(5, 8), n=nn.LayerNorm(8), b=nn.Linear(8, 2))  # fmt: skip
    assert graph.nodes[graph.output].name == "b"


@pytest.mark.parametrize(
    ("x", "names"),
    [
        ((torch.ones(2, 3), torch.tensor([[1], [2]])), ["x.0", "x.1"]),
        ({"x_cont": torch.ones(2, 3), "x_cat": torch.tensor([[1], [2]])}, ["x_cont", "x_cat"]),
        ((np.ones((2, 3)), np.array([[1], [2]])), ["x.0", "x.1"]),
    ],
)
def test_inputs_in_tuples_and_dictionaries(x, names):
    module = rtdl.FTTransformer(
        n_cont_features=3, cat_cardinalities=[4], d_out=2, n_blocks=1, d_block=16, attention_n_heads=4,
        attention_dropout=0.1, ffn_d_hidden_multiplier=2.0, ffn_dropout=0.1, residual_dropout=0.0,
    )  # fmt: skip
    graph = rf.trace(module, x)
    assert [node.name for node in graph.nodes if node.kind == "input"] == names
    flow = rf.flow(graph, x)
    assert flow["cat"].rows == (2, 5)
    assert flow["backbone.blocks.0.attention.W_q"].mark == "theory"
    assert flow["backbone.blocks.0.attention.matmul"].mark == "measured"
    assert [b.layers for b in graph.branches] == [2, 2]
    with pytest.raises(AttributeError, match=r"'backbone.output.linear' has no kernel.*'backbone.blocks.0.attention.matmul' is measured"):  # fmt: skip
        _ = flow[-1].kernel


def test_an_entry_may_be_none():
    module = rtdl.FTTransformer(
        n_cont_features=3, cat_cardinalities=[], d_out=2, n_blocks=1, d_block=16, attention_n_heads=4,
        attention_dropout=0.1, ffn_d_hidden_multiplier=2.0, ffn_dropout=0.1, residual_dropout=0.0,
    )  # fmt: skip
    x = torch.randn(2, 3)
    assert len(rf.trace(module, (x, None))) == len(rf.trace(module, {"x_cont": x, "x_cat": None}))


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        ("text", TypeError, "must be a tensor or array, a tuple of arguments or a dictionary"),
        ((None,), ValueError, "must hold at least one tensor"),
        (torch.full((2, 5), float("nan")), ValueError, "must be finite"),
        (torch.zeros(0, 5), ValueError, "empty tensor"),
        ({1: torch.zeros(2, 5)}, TypeError, "keys must be strings"),
        (torch.zeros(2, 4), ValueError, "fails on x: mat1 and mat2"),
        ({"y": torch.zeros(2, 5)}, ValueError, "fails on x: .*unexpected keyword"),
    ],
)
def test_inputs_that_are_refused(x, error, message):
    with pytest.raises(error, match=message):
        rf.trace(residual(), x)


def test_control_flow_on_values_is_followed():
    def run(m, x):
        h = m.a(x)
        return m.b(torch.relu(h)) + h if h.sum() > -1e9 else m.b(h)

    graph = traced(run, torch.randn(3, 5), a=nn.Linear(5, 8), b=nn.Linear(8, 8))
    assert graph.nodes[graph.output].kind == "add"


def test_an_empty_cache_in_front_changes_nothing():
    x = torch.randn(2, 3, 5)
    graph = traced(lambda m, x: m.b(torch.cat([torch.empty(0), m.a(x)], -2)) + 0 * x[..., :1], x, a=nn.Linear(5, 8), b=nn.Linear(8, 8))  # fmt: skip
    flow = rf.flow(graph, x)
    assert torch.equal(flow["cat"].kernel, flow["a"].kernel)


def test_operations_in_place_are_followed():
    def run(m, x):
        h = m.a(x)
        h += m.b(torch.relu(h))
        h.mul_(2.0)
        y = x.clone()
        y[:, 0] = 0.0
        return m.b(h) + m.a(y)

    x = torch.randn(3, 5)
    graph = traced(run, x, a=nn.Linear(5, 8), b=nn.Linear(8, 8))
    flow = rf.flow(graph, x)
    a, relu = flow["a.linear"].kernel, flow["relu"].kernel
    added = a + float(graph.parameter("b.weight").mean_square) * 8 * relu + graph.parameter("b.bias").mean_square
    assert torch.allclose(flow["add"].kernel, added, rtol=1e-12)
    assert torch.allclose(flow["mul"].kernel, 4 * added, rtol=1e-12)
    shifted = x.double()
    shifted[:, 0] = 0
    expected = graph.parameter("a.weight").mean_square * shifted @ shifted.T + graph.parameter("a.bias").mean_square
    assert torch.allclose(flow["a.linear_1"].kernel, expected, rtol=1e-6)


class Doubling(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return torch._C._VariableFunctions.mul(x, 2.0)

    @staticmethod
    def backward(ctx, g):
        return 2 * g


def test_what_torch_does_not_show_is_opaque():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.script(nn.Sequential(nn.Linear(8, 8), nn.ReLU()))
        x = torch.randn(3, 5)
        graph = traced(lambda m, x: (lambda h: m.b(h + m.s(h)))(m.a(x)), x, a=nn.Linear(5, 8), b=nn.Linear(8, 8), s=scripted)  # fmt: skip
        flow = rf.flow(graph, x)
        again = rf.flow(graph, x, measure=lambda request: torch.eye(3) if request.node.kind == "opaque" else None)
    assert graph["opaque"].mark == "measured"
    assert graph["opaque"].inputs == (0, 1)
    assert flow["a"].known
    assert not flow["add"].known
    # Its value may be correlated with all that came before, so a sum with it is not theory even if it is measured.
    assert again["opaque"].known
    assert not again["add"].known
    assert "correlated" in again["add"].reason


@pytest.mark.parametrize(
    ("run", "parts", "x", "name", "reason"),
    [
        (lambda m, x: m.b(m.n(m.a(x))), {"n": nn.BatchNorm1d(8)}, torch.randn(3, 5), "n", "statistics are those of the batch"),
        (lambda m, x: m.b(torch.relu(torch.relu(m.a(x)) + m.c(m.a(x)))), {"c": nn.Linear(8, 8)}, torch.randn(3, 5), "relu_1", "neither Gaussian nor a function of one"),
        (lambda m, x: m.b(m.p(m.a(x).unsqueeze(1)).squeeze(1)), {"p": nn.MaxPool1d(1)}, torch.randn(3, 5), "p", "maximum over positions"),
        (lambda m, x: m.b(torch.softmax(m.a(x), -1)) + m.a(x), {}, torch.randn(3, 5), "softmax", "softmax has no kernel rule"),
        (lambda m, x: m.a(x) @ m.b.weight @ m.b.weight.t(), {}, torch.randn(3, 5), "matmul_1", "used before on the way"),
        (lambda m, x: m.a(x) + m.a(2 * x), {}, torch.randn(3, 5), "add", "two uses of the weights 'a.weight'"),
        (lambda m, x: m.b(m.a(x) * x.repeat(1, 2)[:, :8]), {}, torch.randn(3, 5), "mul_1", "differs between channels"),
        (lambda m, x: (lambda h: m.b(h + h.mean(0, keepdim=True)))(m.a(x)), {}, torch.randn(3, 5), "add", "two uses of the weights"),
        (lambda m, x: (lambda h: m.b(h + torch.relu(h).mean(0) * 0.5 + torch.relu(h)))(m.a(x)), {}, torch.randn(3, 5), "add", "known to its second moment only"),
        (lambda m, x: m.b(torch.cumsum(m.a(x), -1)), {}, torch.randn(3, 5), "cumsum", "without a kernel rule"),
        (lambda m, x: m.b(m.w(m.a(x))) + 0 * x[:, :1], {"w": nn.utils.parametrizations.weight_norm(nn.Linear(8, 8))}, torch.randn(3, 5), "w.linear", "computed from others"),
    ],
)  # fmt: skip
def test_what_is_not_theory_says_why(run, parts, x, name, reason):
    graph = traced(run, x, a=nn.Linear(5, 8), b=nn.Linear(8, 8), **parts)
    flow = rf.flow(graph, x)
    names = [node.name for node in flow.measured]
    assert any(reason in node.reason for node in flow.measured), flow.table()
    if name in [node.name for node in flow]:
        assert name in names, flow.table()
    first = flow.measured[0]
    assert not first.known
    with pytest.raises(AttributeError, match="measure="):
        _ = first.kernel


def test_a_weight_that_is_computed_is_measured_at_the_layer_that_uses_it():
    x = torch.randn(3, 5)
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(8, 8))
    graph = traced(lambda m, x: m.b(m.w(m.a(x))) + 0 * x[:, :1], x, a=nn.Linear(5, 8), b=nn.Linear(8, 8), w=layer)
    asked = []

    def measure(request):
        asked.append(request.node.name)
        return torch.eye(3)

    flow = rf.flow(graph, x, measure=measure)
    assert asked == ["w.linear"]
    assert flow["b"].given == ("w.linear",)


def test_measured_kernels_come_from_the_callable():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True, norm_first=True, dropout=0.0)
    x = torch.randn(2, 3, 16)
    graph = rf.trace(layer, x)
    assert [branch.layers for branch in graph.branches] == [2, 2]
    requests = []

    def measure(request):
        requests.append(request)
        return 0.1 * torch.eye(6)

    flow = rf.flow(graph, x, measure=measure)
    assert [request.node.kind for request in requests] == ["attention"]
    assert requests[0].rows == (3, 2)
    assert requests[0].axis == 2
    assert list(requests[0].inputs) == ["self_attn.transpose"]
    name = requests[0].node.name
    assert torch.allclose(flow[name].kernel, 0.1 * torch.eye(6, dtype=torch.float64), rtol=1e-6)
    rows = x.double().reshape(6, 16)
    assert torch.allclose(
        flow["add"].kernel, rows @ rows.T / 16 + 0.1 * torch.eye(6, dtype=torch.float64), rtol=1e-6, atol=1e-7
    )
    assert flow[-1].given == (name,)
    with pytest.raises(ValueError, match=r"measure must return a kernel of shape \(6, 6\)"):
        rf.flow(graph, x, measure=lambda request: torch.eye(5))
    with pytest.raises(TypeError, match="measure must be callable"):
        rf.flow(graph, x, measure=3)


def test_a_measured_mean_is_asked_for_where_it_is_needed():
    torch.manual_seed(0)
    module = Given(lambda m, x: m.b(m.n(torch.softmax(m.a(x), -1))), a=nn.Linear(5, 8), n=nn.LayerNorm(8), b=nn.Linear(8, 2))  # fmt: skip
    x = torch.randn(3, 5)
    graph = rf.trace(module, x)
    kernel = 0.2 * torch.eye(3) + 0.1

    def measure(request):
        return kernel if request.node.name == "softmax" else None

    alone = rf.flow(graph, x, measure=measure)
    assert "mean over channels of a measured value" in alone["n"].reason
    both = rf.flow(graph, x, measure=lambda request: (kernel, torch.full((3,), 0.125)))
    assert both["n"].mark == "theory"
    scale = 0.3 - 0.125**2 + 1e-5
    assert both["n"].kernel[0, 1] == pytest.approx((0.1 - 0.125**2) / scale, rel=1e-5)
    with pytest.raises(ValueError, match=r"must return a mean of shape \(3,\)"):
        rf.flow(graph, x, measure=lambda request: (kernel, torch.zeros(2)))


def test_flow_of_a_graph_is_order_zero_and_says_why_not_more():
    x = torch.randn(4, 5)
    graph = rf.trace(residual(), x)
    flow = rf.flow(graph, x)
    assert flow.order == 0
    for more in ({"order": 1}, {"order": 2}, {"order": 0, "tangent": True}):
        with pytest.raises(ValueError, match="needs a chain of layers.*module is not a chain: step"):
            rf.flow(graph, x, **more)
    with pytest.raises(ValueError, match="order must be 0, 1 or 2, for one input up to 16 .* got 17"):
        rf.flow(graph, x, order=17)
    with pytest.raises(ValueError, match="measure is for graphs"):
        rf.flow(rf.mlp([5, 4, 3], "relu"), x, measure=lambda request: None)


def test_results_by_name_and_number():
    x = torch.randn(4, 5)
    flow = rf.flow(rf.trace(residual(), x), x)
    assert flow["4"] is flow[-1]
    assert flow[1].name == "0"
    assert [node.index for node in flow] == list(range(len(flow)))
    assert flow["1.norm"].kernel.diagonal().tolist() == pytest.approx([1.0] * 4, abs=1e-3)
    with pytest.raises(KeyError, match="no node is called 'head'"):
        flow["head"]
    with pytest.raises(IndexError, match="node 99 does not exist"):
        flow[99]
    assert "K_aa" in flow.table()


def test_graphs_and_their_kernels_are_saved(tmp_path):
    x = torch.randn(2, 3, 8)
    graph = rf.trace(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True), x)
    flow = rf.flow(graph, x)
    for path in (tmp_path / "flow.json", tmp_path / "flow.zarr"):
        flow.save(path)
        again = rf.load(path)
        assert [node.name for node in again] == [node.name for node in flow]
        assert torch.equal(again["norm1"].kernel, flow["norm1"].kernel)
        assert not again[-1].known
        assert again["linear1"].reason == flow["linear1"].reason
    graph.save(tmp_path / "graph.json")
    loaded = rf.load(tmp_path / "graph.json")
    assert loaded.nodes == graph.nodes
    assert loaded.parameters == graph.parameters
    assert loaded.branches == graph.branches
    with pytest.raises(ValueError, match="has no module to run"):
        rf.flow(loaded, x)


def test_an_initialisation_that_was_not_made_yet():
    x = torch.randn(4, 5)
    module = residual()
    graph = rf.trace(module, x)
    other = graph.with_moments({"0.weight": 2.0, "0.bias": 0.0})
    rows = x.double()
    assert torch.allclose(rf.flow(other, x)["0"].kernel, 2.0 * rows @ rows.T, rtol=1e-6)
    assert rf.flow(graph, x)["0"].kernel[0, 0] != rf.flow(other, x)["0"].kernel[0, 0]
    with pytest.raises(ValueError, match="'nothing', which is none of the parameters"):
        graph.with_moments({"nothing": 1.0})
    with pytest.raises(ValueError, match="must not be negative"):
        graph.with_moments({"0.weight": -1.0})


def test_a_tied_parameter_has_its_other_names():
    module = Given(lambda m, t: m.h(m.n(m.e(t))), e=nn.Embedding(9, 6), n=nn.LayerNorm(6), h=nn.Linear(6, 9))
    module.h.weight = module.e.weight
    graph = rf.trace(module, torch.tensor([[1, 2]]))
    place = graph.parameter("e.weight")
    assert place.aliases == ("h.weight",)
    assert place.nodes == (graph["e"].index, graph["h"].index)
    assert "used before" in rf.flow(graph, torch.tensor([[1, 2]]))["h"].reason


def test_kernels_that_overflow_are_named():
    x = torch.randn(3, 5)
    graph = traced(lambda m, x: m.c(m.b(m.a(x))) + m.c(x), x, a=nn.Linear(5, 5), b=nn.Linear(5, 5), c=nn.Linear(5, 5))
    flow = rf.flow(graph.with_moments({"a.weight": 1e200, "b.weight": 1e200}), x)
    assert flow["a"].known
    assert flow["b"].reason == flow["c.linear"].reason == "the kernel of 'b' is not finite: signals overflow"


def test_draws_have_the_mean_squares_of_the_graph():
    module = nn.Sequential(nn.Embedding(50, 40, padding_idx=3), Block(40), nn.Linear(40, 2, bias=False))
    nn.init.normal_(module[1].norm.bias)
    graph = rf.trace(module, torch.tensor([[1, 2, 3]])).with_moments({"1.up.weight": 4.0, "2.weight": 0.0})
    drawn = graph.draw(torch.Generator().manual_seed(0))
    again = graph.draw(torch.Generator().manual_seed(0))
    assert drawn.keys() == dict(module.named_parameters()).keys()
    assert all(torch.equal(drawn[name], again[name]) for name in drawn)
    assert float(drawn["1.up.weight"].square().mean()) == pytest.approx(4.0, rel=0.1)
    assert float(drawn["0.weight"].square().mean()) == pytest.approx(
        float(module[0].weight.detach().square().mean()), rel=0.1
    )
    assert not drawn["0.weight"][3].any()
    assert torch.equal(drawn["1.norm.bias"], module[1].norm.bias)
    assert torch.equal(drawn["1.norm.weight"], torch.ones(40))


def test_a_graph_takes_other_inputs_than_those_it_was_traced_on():
    module = residual()
    graph = rf.trace(module, torch.randn(4, 5))
    x = torch.randn(7, 5)
    assert rf.flow(graph, x)[-1].kernel.shape == (7, 7)


def test_a_graph_keeps_the_moments_of_the_moment_of_tracing():
    x = torch.randn(4, 5)
    module = residual()
    graph = rf.trace(module, x)
    before = rf.flow(graph, x)[-1].kernel
    with torch.no_grad():
        module[4].weight.mul_(3.0)
    assert torch.equal(rf.flow(graph, x)[-1].kernel, before)


def test_a_module_on_the_meta_device_has_nodes_and_no_kernels():
    with torch.device("meta"):
        module = residual()
    graph = rf.trace(module, torch.randn(4, 5))
    assert len(graph.branches) == 2
    with pytest.raises(ValueError, match="meta device"):
        rf.flow(graph, torch.randn(4, 5))


def test_inputs_that_repeat_are_collinear_or_zero():
    x = torch.randn(3, 5)
    x = torch.cat([x, x[:1], 2 * x[1:2], torch.zeros(1, 5)])
    module = residual()
    kernel = rf.flow(rf.trace(module, x), x)[-1].kernel
    assert torch.isfinite(kernel).all()
    assert torch.allclose(kernel[0], kernel[3])
    assert float(torch.linalg.eigvalsh(kernel).min()) > -1e-9


def test_observed_values_are_those_of_the_module():
    torch.manual_seed(0)
    module, x = residual(), torch.randn(4, 5)
    module.train()
    values = observe(module, x)
    assert torch.allclose(values["4"], module(x).detach(), atol=1e-6)
    other = {name: torch.randn_like(p) for name, p in module.named_parameters()}
    expected = torch.func.functional_call(module, other, (x,))
    assert torch.allclose(observe(module, x, other)["4"], expected, atol=1e-4)


def test_dropout_is_noted():
    graph = traced(lambda m, x: m.b(m.n(m.d(m.a(x)))), torch.randn(3, 5), a=nn.Linear(5, 8), b=nn.Linear(8, 2), n=nn.LayerNorm(8), d=nn.Dropout(0.3))  # fmt: skip
    assert any("dropout" in note for note in graph.notes)


def test_weights_that_a_number_multiplies_are_drawn_and_gains_are_kept():
    torch.manual_seed(0)
    x = torch.randn(2, 5)
    graph = traced(
        lambda m, x: (torch.sin(2.0 * m.w * x[..., None]) * m.g * (m.ones + 0.5)).mean(1), x,
        w=nn.Parameter(torch.randn(5, 7)), g=nn.Parameter(torch.randn(7)), ones=nn.Parameter(torch.ones(7)),
    )  # fmt: skip
    assert {place.name: place.role for place in graph.parameters} == {"w": "embedding", "g": "scale", "ones": "other"}
    drawn = graph.draw(torch.Generator().manual_seed(0))
    assert not torch.equal(drawn["w"], graph._module.w)
    assert torch.equal(drawn["g"], graph._module.g)
    assert torch.equal(drawn["ones"], graph._module.ones)
