"""The kernels of every node against sampled initialisations of the very module."""

import pytest
import rtdl_revisiting_models as rtdl
import torch
from tests.graph.sampled import Given, assert_agrees, draw, excess, sampled
from torch import nn

import repflow as rf
from repflow.graph import read_graph

N = 256


class Block(nn.Module):
    def __init__(self, norm, scale):
        super().__init__()
        self.norm, self.up, self.act, self.down = norm(N), nn.Linear(N, 2 * N), nn.GELU(), nn.Linear(2 * N, N)
        self.scale = scale

    def forward(self, x):
        return x + self.scale * self.down(self.act(self.up(self.norm(x))))


def residual(norm, scale=0.5):
    return nn.Sequential(nn.Linear(9, N), Block(norm, scale), Block(norm, scale), norm(N), nn.Linear(N, N))


def linear(n_in=N, n_out=N, **kwargs):
    return nn.Linear(n_in, n_out, **kwargs)


def gamma():
    module = Given(
        lambda m, x: m.h(m.norm(m.a(x)) + m.b(torch.relu(m.a(x))) * m.g),
        a=linear(9), b=linear(), h=linear(), norm=nn.LayerNorm(N), g=nn.Parameter(torch.full((N,), 0.3)),
    )  # fmt: skip
    nn.init.normal_(module.norm.weight, 1, 0.4)
    nn.init.normal_(module.norm.bias, 0.2, 0.3)
    return module


def tokens():
    return torch.tensor([[1, 2, 3, 3, 0, 0], [1, 5, 2, 7, 7, 0]])


def conv(n_in, n_out=N, size=3, **kwargs):
    return nn.Conv2d(n_in, n_out, size, **kwargs)


def rows():
    return torch.randn(4, 9)


CASES = {
    "layer norm": (lambda: residual(nn.LayerNorm), rows),
    "rms norm": (lambda: residual(nn.RMSNorm, -0.7), rows),
    "norm with weights": (gamma, rows),
    "branch without weights": (lambda: Given(lambda m, x: m.h(m.a(x) + torch.relu(m.a(x))), a=linear(9), h=linear()), rows),
    "x + act(x)": (lambda: Given(lambda m, x: (lambda z: m.h(m.n(z + 0.5 * torch.tanh(z))))(m.a(x)), a=linear(9), h=linear(), n=nn.LayerNorm(N)), rows),
    "tanh(z) + relu(z + f(z))": (lambda: Given(lambda m, x: (lambda z: m.h(torch.tanh(z) + torch.relu(z + m.b(z))))(m.a(x)), a=linear(9), b=linear(), h=linear()), rows),
    "tanh(z) + tanh(z + f(z))": (lambda: Given(lambda m, x: (lambda z: m.h(torch.tanh(z) + torch.tanh(z + m.b(z))))(m.a(x)), a=linear(9), b=linear(), h=linear()), rows),
    "gate": (lambda: Given(lambda m, x: m.h((lambda a, b: a * torch.relu(b))(*m.a(x).chunk(2, -1))), a=linear(9, 2 * N), h=linear()), rows),
    "x * sigmoid(x)": (lambda: Given(lambda m, x: (lambda z: m.h(z * torch.sigmoid(z)))(m.a(x)), a=linear(9), h=linear()), rows),
    "norm by hand": (lambda: Given(lambda m, x: (lambda z: m.h((z - z.mean(-1, keepdim=True)) / torch.sqrt(z.var(-1, keepdim=True) + 1e-6)))(torch.relu(m.a(x))), a=linear(9), h=linear()), rows),
    "rms by hand": (lambda: Given(lambda m, x: (lambda z: m.h(m.w * (z * torch.rsqrt(z.pow(2).mean(-1, keepdim=True) + 1e-6))))(m.a(x)), a=linear(9), h=linear(), w=nn.Parameter(torch.ones(N))), rows),
    "a number's row of weights and its bias": (lambda: Given(lambda m, x: m.h(torch.relu(torch.addcmul(m.b, m.w, x[..., None], value=0.5)).flatten(1)), b=nn.Parameter(torch.randn(9, N) / 4), w=nn.Parameter(torch.randn(9, N)), h=linear(9 * N)), rows),
    "x + a b": (lambda: Given(lambda m, x: (lambda z: m.h(torch.addcmul(z, m.b(z), torch.relu(m.c(z)), value=-0.7)))(m.a(x)), a=linear(9), b=linear(), c=linear(), h=linear()), rows),
    "input times a gain of ones": (lambda: Given(lambda m, x: m.h(x * (m.g + 0.5)), g=nn.Parameter(torch.ones(9)), h=linear(9)), rows),
    "features side by side": (lambda: Given(lambda m, x: (lambda z: m.h(torch.cat([z, m.b(torch.relu(z))], -1)))(m.a(x)), a=linear(9), b=linear(N, 2 * N), h=linear(3 * N)), rows),
    "input on the stream": (lambda: Given(lambda m, x: m.h(m.n(x + m.a(x))), a=linear(), h=linear(), n=nn.LayerNorm(N)), lambda: torch.randn(4, N) + 0.3),
    "projected shortcut": (lambda: Given(lambda m, x: (lambda z: m.h(m.p(z) + m.b(torch.relu(z))))(m.a(x)), a=linear(9), p=linear(N, 2 * N), b=linear(N, 2 * N), h=linear(2 * N)), rows),
    "two inputs": (lambda: Given(lambda m, a, b: m.h(m.a(a)) + m.a(b), a=linear(9), h=linear()), lambda: (torch.randn(4, 9), torch.randn(4, 9))),
    "convolutions, mean pool, flatten": (lambda: nn.Sequential(conv(3, padding=1), nn.ReLU(), conv(N, stride=2, padding=1, bias=False), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(), nn.Dropout(0.5), linear(4 * N)), lambda: torch.randn(3, 3, 8, 8)),
    "group norm of one group, global mean": (lambda: nn.Sequential(conv(3, padding="same"), nn.GroupNorm(1, N), nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear()), lambda: torch.randn(2, 3, 6, 6)),
    "residual convolutions": (lambda: Given(lambda m, x: m.h((lambda z: z + 0.7 * m.b(torch.relu(z)))(m.a(x)).mean((2, 3))), a=conv(3), b=conv(N, padding=1), h=linear()), lambda: torch.randn(2, 3, 7, 7)),
    "depthwise convolution": (lambda: Given(lambda m, x: m.h((m.a(x) + m.d(m.a(x))).permute(0, 2, 3, 1).mean((1, 2))) + m.h2(m.n(m.d(m.a(x)).permute(0, 2, 3, 1)))[:, 0, 0], a=conv(3), d=conv(N, padding=1, groups=N), h=linear(), h2=linear(), n=nn.LayerNorm(N)), lambda: torch.randn(2, 3, 7, 7)),
    "activation of a mean over positions": (lambda: Given(lambda m, x: m.h(torch.relu(m.a(x).mean((2, 3)))), a=conv(3), h=linear()), lambda: torch.randn(2, 3, 6, 6)),
    "padding that an activation moves": (lambda: Given(lambda m, x: m.h(m.b(torch.sigmoid(nn.functional.pad(m.a(x), (1, 1, 1, 1)))).mean((2, 3))), a=conv(3), b=conv(N), h=linear()), lambda: torch.randn(2, 3, 5, 5)),
    "norm of a flattened value": (lambda: Given(lambda m, x: m.h(m.n(torch.relu(m.a(x)).flatten(1))), a=linear(9), h=linear(4 * N), n=nn.LayerNorm(4 * N)), lambda: torch.randn(2, 4, 9)),
    "neighbours, one function each": (lambda: Given(lambda m, x: (lambda z: m.h(torch.relu(z[:, 1:]) + torch.tanh(z[:, :-1])))(m.a(x)), a=linear(9), h=linear()), lambda: torch.randn(2, 4, 9)),
    "contraction": (lambda: Given(lambda m, x: torch.einsum("...d,hd->...h", torch.relu(m.a(x)), m.w), a=linear(9), w=nn.Parameter(torch.randn(N, N) / 16)), lambda: torch.randn(2, 3, 9)),
    "mean of a residual stream, then an activation": (lambda: Given(lambda m, x: (lambda z: m.h(torch.relu((z + m.b(torch.relu(z))).mean(1))))(m.a(x)), a=linear(9), b=linear(), h=linear()), lambda: torch.randn(3, 4, 9)),
    "mean of an input on the stream": (lambda: Given(lambda m, x: m.h((x + m.a(x)).mean(1) + x.mean(1)), a=linear(), h=linear()), lambda: torch.randn(3, 4, N) + 0.2),
    "unit length": (lambda: Given(lambda m, x: (lambda z: m.h(nn.functional.normalize(z, dim=-1) * 16 + m.b(z / z.norm(dim=-1, keepdim=True) * 16)))(torch.relu(m.a(x))), a=linear(9), b=linear(), h=linear()), rows),
    "masked tokens": (lambda: Given(lambda m, t: (lambda z, mask: m.h(m.b(z.masked_fill(mask[..., None], 0.5)) + (z * ~mask[..., None]).sum(1, keepdim=True) / (~mask).sum(1)[:, None, None]))(torch.relu(m.a(m.e(t))), t == 0), e=nn.Embedding(11, N), a=linear(), b=linear(), h=linear()), tokens),
    "tokens, Conv1d": (lambda: Given(lambda m, t: m.h(m.d(torch.tanh(m.c(m.e(t).transpose(1, 2)))).mean(-1)), e=nn.Embedding(11, N, padding_idx=0), c=nn.Conv1d(N, N, 3, padding=2, dilation=2), d=nn.Conv1d(N, N, 2), h=linear()), tokens),
    "class token and positions": (lambda: Given(lambda m, t: m.h(m.n(torch.cat([m.cls.expand(len(t), -1, -1), m.e(t)], 1) + m.pos[:, : t.shape[1] + 1]))[:, 0], e=nn.Embedding(11, N), cls=nn.Parameter(torch.randn(1, 1, N)), pos=nn.Parameter(0.5 * torch.randn(1, 9, N)), n=nn.LayerNorm(N), h=linear()), tokens),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_agrees_with_sampled_modules(case):
    torch.manual_seed(1)
    make, inputs = CASES[case]
    module, x = make(), inputs()
    flow = read_graph(module, x).kernels(x)
    assert not flow.measured
    assert flow[-1].known
    assert_agrees(module, x, flow, draws=24)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_agrees_with_many_sampled_modules(case):
    torch.manual_seed(2)
    make, inputs = CASES[case]
    module, x = make(), inputs()
    assert_agrees(module, x, read_graph(module, x).kernels(x), draws=300)


def test_a_sum_of_correlated_branches_without_its_cross_kernel_is_rejected():
    torch.manual_seed(0)
    x = rows()
    module = Given(lambda m, x: (lambda z: m.h(z + torch.relu(z)))(m.a(x)), a=linear(9), h=linear())
    flow = rf.flow(rf.trace(module, x), x)
    wrong = flow["a"].kernel + flow["relu"].kernel
    assert excess(wrong, *sampled(module, x, flow, 24)["add"]) > 20


def test_a_chain_has_the_kernels_of_its_network():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(9, 12), nn.ReLU(), nn.Linear(12, 7), nn.Tanh(), nn.Linear(7, 3))
    x = rows().double()
    module.double()
    graph = read_graph(module, x)
    flow, chain = rf.flow(graph, x), rf.flow(rf.trace(module, x), x, order=0)
    for name, layer in zip(("0", "2", "4"), chain):
        assert torch.allclose(flow[name].kernel, layer.kernel, rtol=1e-12, atol=1e-14)
    assert torch.equal(rf.flow(graph, x, order=1)[3].vertex, rf.flow(rf.trace(module), x, order=1)[3].vertex)


def test_rtdl_resnet_is_theory_given_its_measured_batch_norms():
    torch.manual_seed(0)
    module = rtdl.ResNet(
        d_in=8, d_out=N, n_blocks=2, d_block=N, d_hidden=None, d_hidden_multiplier=2.0, dropout1=0.1, dropout2=0.0
    )
    x = torch.randn(4, 8)
    graph = rf.trace(module, x)
    norms = [node.name for node in graph.measured]
    assert norms == ["blocks.0.normalization", "blocks.1.normalization", "output.normalization"]
    generator = torch.Generator().manual_seed(3)
    draws = [rf.graph.observe(module, x, draw(module, generator)) for _ in range(40)]

    asked = []

    def measure(request):
        asked.append(request.node.name)
        return torch.stack([rf.graph.second_moment(v[request.node.name], request.axis) for v in draws]).mean(0)

    flow = rf.flow(graph, x, measure=measure)
    # An activation of a batch norm's value has to be measured too: only its second moment is known.
    assert asked == [*norms, "output.activation"]
    assert [node.name for node in flow.measured] == asked
    assert flow["blocks.0.linear1"].given == ("blocks.0.normalization",)
    found = sampled(module, x, flow, 40, seed=4)
    for node in flow:
        if node.mark == "theory":
            # The measured kernels have an error of their own, as large as that of the comparison.
            assert excess(node.kernel, *found[node.name]) < 8, node


def test_a_transformer_block_is_theory_given_its_measured_attention():
    torch.manual_seed(0)
    module = nn.TransformerEncoderLayer(128, 4, 256, batch_first=True, norm_first=True, dropout=0.0)
    x = torch.randn(2, 4, 128)
    generator = torch.Generator().manual_seed(1)
    draws = [rf.graph.observe(module, x, draw(module, generator)) for _ in range(60)]

    def measure(request):
        return torch.stack([rf.graph.second_moment(v[request.node.name], request.axis) for v in draws]).mean(0)

    flow = rf.flow(rf.trace(module, x), x, measure=measure)
    assert [node.kind for node in flow.measured] == ["attention"]
    assert all(node.known for node in flow)
    found = sampled(module, x, flow, 60, seed=2)
    for node in flow:
        assert excess(node.kernel, *found[node.name], width=128) < 6, node


def test_rtdl_transformer_is_theory_up_to_its_attention():
    torch.manual_seed(0)
    module = rtdl.FTTransformer(
        n_cont_features=3, cat_cardinalities=[4, 5], d_out=2, n_blocks=2, d_block=N, attention_n_heads=8,
        attention_dropout=0.1, ffn_d_hidden_multiplier=2.0, ffn_dropout=0.1, residual_dropout=0.0,
    )  # fmt: skip
    x = (torch.randn(2, 3), torch.tensor([[1, 2], [3, 2]]))
    flow = rf.flow(rf.trace(module, x), x)
    known = {node.name for node in flow if node.known}
    assert {"cls_embedding", "cont_embeddings.mul", "cat", "backbone.blocks.0.attention.W_q"} <= known
    # Heads hold different channels, so rows of different heads are independent: 2 inputs x 6 tokens x 8 heads.
    heads = flow["backbone.blocks.0.attention.reshape"]
    assert heads.rows == (2, 6, 8)
    assert float(heads.kernel[0, 1]) == 0.0
    assert_agrees(module, x, flow, draws=40)


def test_permuting_the_inputs_permutes_the_kernels():
    torch.manual_seed(0)
    module = CASES["convolutions, mean pool, flatten"][0]()
    x = torch.randn(4, 3, 8, 8)
    order = torch.tensor([2, 0, 3, 1])
    graph = rf.trace(module, x)
    kernel, permuted = rf.flow(graph, x)[-1].kernel, rf.flow(graph, x[order])[-1].kernel
    assert torch.allclose(permuted, kernel[order][:, order], rtol=1e-10, atol=1e-12)
