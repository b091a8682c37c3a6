"""The twin computes what the module computes, and nothing reaches the module."""

import pytest
import torch
from torch import nn

from repflow.empirical.call import as_call
from repflow.empirical.twin import PartialForwardError, Twin


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("same", [True, False])
def test_opened_attention_is_attention(batch_first, same):
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(8, 2, batch_first=batch_first).eval()
    q, k = torch.randn(3, 5, 8), torch.randn(3, 4, 8)
    k = q if same else k
    padding = torch.zeros(3, k.shape[1])
    padding[0, -1] = float("-inf")
    mask = torch.zeros(q.shape[1], k.shape[1]).masked_fill(torch.rand(q.shape[1], k.shape[1]) < 0.2, -1e4)
    if not batch_first:
        q, k = q.transpose(0, 1), k.transpose(0, 1)
        k = q if same else k
    arguments = {"query": q, "key": k, "value": k, "key_padding_mask": padding, "attn_mask": mask}
    twin = Twin(attention)
    opened = twin.module(**arguments)
    expected = attention(**arguments)
    for a, b in zip(opened, expected, strict=True):
        assert torch.allclose(a, b, atol=1e-6)
    assert type(attention) is nn.MultiheadAttention


def test_attention_with_its_own_weights_for_q_k_v():
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(8, 2, bias=False, kdim=6, vdim=5, batch_first=True).eval()
    q, k, v = torch.randn(3, 5, 8), torch.randn(3, 4, 6), torch.randn(3, 4, 5)
    assert torch.allclose(Twin(attention).module(q, k, v)[0], attention(q, k, v)[0], atol=1e-6)


def test_the_encoder_of_torch_passes_its_layers(x):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(6, 2, 12, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 2).eval()
    tokens = x.view(4, 5, 6)
    twin = Twin(encoder)
    with torch.no_grad():
        output, passages = twin.watch(twin.parameters, as_call(tokens))
    assert torch.allclose(output, encoder(tokens), atol=1e-5)
    assert {"layers.0.self_attn.in_proj.0", "layers.1.self_attn.out_proj"} <= {p.path for p in passages}


def test_batch_normalisation_takes_the_statistics_of_the_data(x):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    twin = Twin(module)
    call = as_call(x)
    twin.batch_statistics(twin.parameters, call)
    in_training = nn.Sequential(*module).train()
    expected = in_training[2](torch.batch_norm(in_training[0](x), None, None, None, None, True, 0.1, 1e-5, False))
    assert torch.allclose(twin.call(twin.parameters, call), expected, atol=0.05)
    assert torch.equal(module[1].running_mean, torch.zeros(4))


def test_a_failing_module_is_named_with_what_ran_before(broken, x):
    with pytest.raises(PartialForwardError, match="model fails on x in 'last': ") as error:
        Twin(broken).watch(dict(broken.named_parameters()), as_call(x))
    assert error.value.where == "last"
    assert [passage.path for passage in error.value.passages] == ["first", "norm"]


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.Linear(3, 2, device="meta"), "module is on the meta device: parameter 'weight'"),
        (nn.LazyLinear(2), "module has a lazy parameter 'weight'"),
        (nn.ReLU(), "module ReLU has no parameter"),
    ],
)
def test_what_has_no_values_is_refused(module, message):
    with pytest.raises(ValueError, match=message):
        Twin(module)


def test_an_addition_in_place_does_not_reach_what_a_module_returned(x):
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 6)

        def forward(self, inputs):
            out = self.b(torch.relu(self.a(inputs)))
            out += inputs
            return out

    torch.manual_seed(0)
    block = Block()
    twin = Twin(block)
    values = {name: p.detach().requires_grad_() for name, p in block.named_parameters()}
    output, passages = twin.watch(values, as_call(x))
    assert torch.allclose(output, block(x))
    assert torch.allclose(passages[-1].output, block.b(torch.relu(block.a(x))))
    (back,) = torch.autograd.grad(output, passages[-1].output, torch.ones_like(output))
    assert torch.equal(back, torch.ones_like(output))
