"""A factor in the forward pass as a hook: set, removed, copied, compiled; and what needs none."""

import copy
import math
from collections import namedtuple

import pytest
import torch
from torch import nn

import repflow as rf
from repflow.tuning.forward_factor import scale_output

Pair = namedtuple("Pair", ["first", "second"])


class Returns(nn.Module):
    """A linear layer whose output is wrapped."""

    def __init__(self, wrap):
        super().__init__()
        self.linear, self.wrap = nn.Linear(3, 4), wrap

    def forward(self, x):
        return self.wrap(self.linear(x))


def test_scales_the_output_and_the_handle_removes_it():
    torch.manual_seed(0)
    module, x = nn.Sequential(nn.Linear(3, 4), nn.Tanh()), torch.randn(5, 3)
    before = module(x)
    handle = scale_output(module, 0.25)
    torch.testing.assert_close(module(x), 0.25 * before)
    second = scale_output(module, 2)
    torch.testing.assert_close(module(x), 0.5 * before)
    handle.remove()
    torch.testing.assert_close(module(x), 2 * before)
    second.remove()
    assert torch.equal(module(x), before)
    assert not module._forward_hooks


def test_gradients_carry_the_factor():
    torch.manual_seed(0)
    module, x = nn.Linear(3, 4), torch.randn(5, 3)
    module(x).sum().backward()
    own = module.weight.grad.clone()
    module.zero_grad()
    scale_output(module, -0.5)
    module(x).sum().backward()
    torch.testing.assert_close(module.weight.grad, -0.5 * own)


@pytest.mark.parametrize(
    "wrap", [lambda z: (z, z + 1), lambda z: [z, None], lambda z: Pair(z, z + 1)], ids=["tuple", "list", "namedtuple"]
)
def test_only_the_first_entry_of_a_tuple_is_scaled(wrap):
    torch.manual_seed(0)
    module, x = Returns(wrap), torch.randn(5, 3)
    before = module(x)
    scale_output(module, 3.0)
    after = module(x)
    assert type(after) is type(before)
    assert len(after) == 2
    torch.testing.assert_close(after[0], 3.0 * before[0])
    assert after[1] is None or torch.equal(after[1], before[1])


def test_attention_of_torch_keeps_its_weights():
    torch.manual_seed(0)
    attention, x = nn.MultiheadAttention(8, 2, batch_first=True), torch.randn(2, 3, 8)
    out, weights = attention(x, x, x)
    scale_output(attention, 0.5)
    scaled, same = attention(x, x, x)
    torch.testing.assert_close(scaled, 0.5 * out)
    torch.testing.assert_close(same, weights)


def test_deepcopy_keeps_the_factor_and_is_free_of_the_original():
    torch.manual_seed(0)
    module, x = nn.Linear(3, 4), torch.randn(5, 3)
    before = module(x)
    handle = scale_output(module, 0.5)
    twin = copy.deepcopy(module)
    torch.testing.assert_close(twin(x), 0.5 * before)
    handle.remove()
    torch.testing.assert_close(twin(x), 0.5 * before)
    assert torch.equal(module(x), before)


def test_state_dict_knows_nothing_of_it():
    torch.manual_seed(0)
    module, x = nn.Linear(3, 4), torch.randn(5, 3)
    keys = set(module.state_dict())
    scale_output(module, 0.5)
    assert set(module.state_dict()) == keys
    other = nn.Linear(3, 4)
    other.load_state_dict(module.state_dict())
    torch.testing.assert_close(module(x), 0.5 * other(x))


def test_compiled_in_when_set_before():
    torch.manual_seed(0)
    module, x = nn.Sequential(nn.Linear(3, 4), nn.Tanh()), torch.randn(5, 3)
    before = module(x)
    scale_output(module[0], 0.5)
    compiled = torch.compile(module, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), module(x))
    assert not torch.allclose(compiled(x), before)
    torch._dynamo.reset()


@pytest.mark.parametrize("factor", [math.inf, math.nan])
def test_an_infinite_factor_is_refused(factor):
    with pytest.raises(ValueError, match="factor must be finite"):
        scale_output(nn.Linear(2, 2), factor)


@pytest.mark.parametrize("arguments", [("linear", 0.5), (nn.Linear(2, 2), "0.5"), (nn.Linear(2, 2), True)])
def test_arguments_of_another_type_are_refused(arguments):
    with pytest.raises(TypeError, match="must be"):
        scale_output(*arguments)


@pytest.mark.parametrize("wrap", [lambda z: {"out": z}, lambda z: z.argmax(-1), lambda z: ()])
def test_an_output_without_a_tensor_to_scale_is_refused(wrap):
    module = Returns(wrap)
    scale_output(module, 0.5)
    with pytest.raises(TypeError, match="Returns must be a floating tensor"):
        module(torch.randn(5, 3))


def _train(model, make, groups, x, y, steps=5):
    optimizer = make(groups)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x), y).backward()
        optimizer.step()
    return model(x).detach()


@pytest.mark.parametrize(
    ("make", "rate", "decay_"),
    [(torch.optim.SGD, 2, 2), (torch.optim.Adam, 1, 2), (torch.optim.AdamW, 1, 1)],
    ids=["sgd", "adam", "adamw"],
)
def test_behind_a_linear_layer_the_factor_moves_into_its_draw_and_its_rate(make, rate, decay_):
    a, lr, eps, decay = 0.125, 0.01, 1e-3, 0.3  # eps and decay large enough to count
    torch.manual_seed(0)
    hooked = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2)).double()
    moved = copy.deepcopy(hooked)
    scale_output(hooked[0], a)
    with torch.no_grad():
        for parameter in moved[0].parameters():
            parameter.mul_(a)
    x, y = torch.randn(6, 3, dtype=torch.float64), torch.randn(6, 2, dtype=torch.float64)
    plain = {"lr": lr, "weight_decay": decay}
    scaled = {"lr": a**rate * lr, "weight_decay": decay / a**decay_}
    if make is not torch.optim.SGD:
        plain["eps"], scaled["eps"] = eps, eps / a
    first = _train(hooked, make, [{"params": list(hooked.parameters()), **plain}], x, y)
    groups = [{"params": list(moved[0].parameters()), **scaled}, {"params": list(moved[2].parameters()), **plain}]
    second = _train(moved, make, groups, x, y)
    torch.testing.assert_close(first, second, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("norm", [nn.Identity, lambda: nn.LayerNorm(16)], ids=["chain", "measured"])
def test_a_plan_knows_nothing_of_it(norm):
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(6, 16), norm(), nn.Tanh(), nn.Linear(16, 2)), torch.randn(20, 6)
    first = rf.tune(model, x)
    scale_output(model[0], 0.1)
    assert rf.tune(model, x).to_json() == first.to_json()


@pytest.fixture(scope="module")
def gpt2():
    transformers = pytest.importorskip("transformers")

    def make(blocks, seed=0):
        torch.manual_seed(seed)
        config = transformers.GPT2Config(
            vocab_size=1, n_positions=4, n_embd=32, n_layer=blocks, n_head=4, resid_pdrop=0.0, embd_pdrop=0.0,
            attn_pdrop=0.0, use_cache=False, bos_token_id=None, eos_token_id=None,
        )  # fmt: skip
        body = transformers.GPT2Model(config)
        body.wte.weight.requires_grad_(False)
        return body

    x = {"inputs_embeds": torch.randn(16, 4, 32, generator=torch.Generator().manual_seed(5))}
    return make, x


def test_gpt2_branches_together_add_the_streams_own_size(gpt2):
    make, x = gpt2
    blocks = 4
    model = make(blocks)
    plan = rf.tune(model, x)
    ratios = []
    for seed in range(6):
        plan.initialize_(model, torch.Generator().manual_seed(seed))
        squares = {}

        def keep(name, squares=squares):
            def hook(module, args, output):
                squares[name] = float((output[0] if isinstance(output, tuple) else output).detach().square().mean())

            return hook

        handles = [getattr(block, part).register_forward_hook(keep((i, part)))
                   for i, block in enumerate(model.h) for part in ("attn", "mlp")]  # fmt: skip
        stream = []
        handles.append(model.h[0].register_forward_pre_hook(
            lambda module, args, stream=stream: stream.append(float(args[0].detach().square().mean()))))  # fmt: skip
        with torch.no_grad():
            model(**x)
        for handle in handles:
            handle.remove()
        assert len(squares) == 2 * blocks
        ratios.append(sum(squares.values()) / stream[0])
    assert sum(ratios) / len(ratios) == pytest.approx(1.0, abs=0.2)


def test_gpt2_own_depth_factor_is_not_counted_twice(gpt2):
    make, x = gpt2
    model = make(2)
    without = copy.deepcopy(model)
    with torch.no_grad():  # GPT-2 without its 1/sqrt(2 blocks)
        for name, parameter in without.named_parameters():
            if name.endswith("c_proj.weight"):
                parameter.mul_(2.0)
    first, second = ({entry.name: entry for entry in rf.tune(m, x).parameters} for m in (model, without))
    ends = [name for name in first if name.endswith("c_proj.weight")]
    assert len(ends) == 4
    for name in ends:
        assert second[name].old_std == pytest.approx(2.0 * first[name].old_std, rel=1e-3)
        assert second[name].new_std == pytest.approx(first[name].new_std, rel=1e-6)
        assert second[name].adam == pytest.approx(first[name].adam, rel=1e-6)
