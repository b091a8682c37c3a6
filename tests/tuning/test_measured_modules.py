"""``tune`` of modules that are no chain."""

import pytest
import torch
from tests.modules import Answer, Residual
from torch import nn

import repflow as rf


def wide_residual(width=16, blocks=4, n_in=6, n_out=3):
    return Residual(width, blocks, n_in, n_out, expand=2)


class Language(nn.Module):
    """Tokens in, logits for each position out."""

    def __init__(self, width=16, tied=False):
        super().__init__()
        self.tokens, self.places = nn.Embedding(20, width), nn.Embedding(8, width)
        self.offset = nn.Parameter(0.3 * torch.randn(width))
        self.block = nn.TransformerEncoderLayer(width, 2, 32, 0.1, batch_first=True, norm_first=True)
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 20, bias=False)
        if tied:
            self.head.weight = self.tokens.weight

    def forward(self, input_ids, attention_mask=None, labels=None):
        h = self.tokens(input_ids) + self.places(torch.arange(input_ids.shape[1])) + self.offset
        h = self.block(h, src_key_padding_mask=None if attention_mask is None else attention_mask == 0)
        return Answer(None, self.head(self.norm(h)))


class Convolutional(nn.Module):
    """A convolution with batch normalisation, a residual block, and global pooling."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(1, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.a, self.na = nn.Conv2d(6, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.b, self.nb = nn.Conv2d(6, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.relu, self.head = nn.ReLU(inplace=True), nn.Linear(6, 4)

    def forward(self, x):
        h = self.relu(self.norm(self.stem(x)))
        out = self.nb(self.b(self.relu(self.na(self.a(h)))))
        out += h
        return self.head(self.relu(out).mean((2, 3)))


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(40, 6, generator=generator), torch.arange(40) % 3


@pytest.fixture
def ids():
    return torch.randint(20, (16, 8), generator=torch.Generator().manual_seed(0))


def snapshot(model):
    """What could change, as bytes: values, gradients, buffers, flags, hooks, and torch's generator."""
    tensors = [*model.parameters(), *(p.grad for p in model.parameters() if p.grad is not None), *model.buffers()]
    hooks = [
        list(value) for part in model.modules() for key, value in vars(part).items() if key.endswith("hooks") and value
    ]
    flags = [(part.training, type(part), sorted(vars(part))) for part in model.modules()]
    learns = [p.requires_grad for p in model.parameters()]
    return [t.detach().numpy().tobytes() for t in tensors], hooks, flags, learns, torch.get_rng_state().tolist()


def by_name(plan):
    return {entry.name: entry for entry in plan.parameters}


def drawn(plan, model, x, seeds=30):
    """Mean square of every module's output over draws of the plan's initialisation."""
    found = {}
    hooks = [
        part.register_forward_hook(lambda _, __, out, path=path: found.setdefault(path, []).append(out.square().mean()))
        for path, part in model.named_modules()
    ]
    for seed in range(seeds):
        plan.initialize_(model, torch.Generator().manual_seed(seed))
        with torch.no_grad():
            model(x)
    for hook in hooks:
        hook.remove()
    return {path: float(torch.stack(values).mean()) for path, values in found.items()}


def test_initialisation_of_a_residual_network(data):
    model = wide_residual(width=64)
    x, y = data
    plan = rf.tune(model, x, y)
    entries = by_name(plan)
    assert plan.measured
    assert plan.network is None
    assert entries["branches.2.3.weight"].role == "branch weight"
    assert entries["head.weight"].role == "head weight"
    assert entries["norm.weight"].new_mean == 1.0
    assert entries["branches.0.1.bias"].new_std == 0.0
    sizes = drawn(plan, model, x)
    assert sizes["embed"] == pytest.approx(1.0, rel=0.2)
    assert sizes["branches.1.1"] == pytest.approx(1.0, rel=0.2)
    for number in range(4):  # all branches together add what the stream started with
        assert sizes[f"branches.{number}"] == pytest.approx(0.25 * sizes["embed"], rel=0.3)
    assert sizes["head"] == pytest.approx(64**-plan.scaling, rel=0.3)
    assert torch.equal(model.norm.weight, torch.ones(64))
    assert any("4 residual branches" in note for note in plan.notes)


def test_critical_couplings_behind_an_activation_module():
    model = nn.Sequential(nn.Conv1d(1, 32, 3), nn.Tanh(), nn.Conv1d(32, 32, 3), nn.Flatten(), nn.Linear(32 * 4, 2))
    plan = rf.tune(model, torch.randn(40, 1, 8, generator=torch.Generator().manual_seed(0)))
    assert by_name(plan)["2.weight"].new_std == pytest.approx((1 / 96) ** 0.5, rel=0.1)  # C_W = 1 for tanh


def test_draws_are_reproducible_and_skip_what_is_frozen(data):
    x, y = data
    model = wide_residual()
    model.branches[0][1].weight.requires_grad_(False)
    held = model.branches[0][1].weight.clone()
    plan = rf.tune(model, x, y)
    plan.initialize_(model, torch.Generator().manual_seed(1))
    first = [p.clone() for p in model.parameters()]
    plan.initialize_(model, torch.Generator().manual_seed(1))
    assert all(map(torch.equal, first, model.parameters()))
    assert torch.equal(model.branches[0][1].weight, held)
    entry = by_name(plan)["branches.0.1.weight"]
    assert (entry.sgd, entry.adam, entry.set_by) == (0.0, 0.0, "frozen")
    plan.initialize_(model, torch.Generator().manual_seed(2))
    assert not torch.equal(first[0], model.embed.weight)


def test_the_same_plan_each_time_and_in_a_file(data):
    x, y = data
    torch.manual_seed(0)
    model = wide_residual()
    plan = rf.tune(model, x, y)
    assert plan.to_json() == rf.tune(model, x, y).to_json()
    again = rf.Plan.from_json(plan.to_json())
    assert again.measured
    assert again.table() == plan.table()
    assert again.param_groups(model, optimizer="adam") == plan.param_groups(model, optimizer="adam")
    assert plan.depth == 10
    assert "measured" in plan.table("markdown")
    assert plan.max_learning_rate() == pytest.approx(plan.edge)
    plan.assert_healthy()
    assert plan.transfer_to(wide_residual(width=24), x, y).measured


def test_width_and_depth_move_the_rates_of_adam_as_they_should(data):
    """Hidden weights 1/width; with branches of 1/sqrt(depth), 1/sqrt(depth)."""
    x, y = data
    rates = {}
    for width, blocks in ((32, 4), (128, 4), (32, 16)):
        torch.manual_seed(0)
        plan = rf.tune(wide_residual(width, blocks), x, y)
        rates[width, blocks] = by_name(plan)["branches.1.1.weight"].adam
    assert rates[32, 4] / rates[128, 4] == pytest.approx(4.0, rel=0.3)
    assert rates[32, 4] / rates[32, 16] == pytest.approx(2.0, rel=0.3)


def test_keywords_and_a_dataclass(ids):
    torch.manual_seed(0)
    model = Language()
    x = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": None}
    plan = rf.tune(model, x, ids, loss="cross_entropy")
    entries = by_name(plan)
    assert entries["tokens.weight"].role == "embedding"
    assert entries["tokens.weight"].new_std == pytest.approx(1.0, rel=0.1)
    assert entries["block.self_attn.out_proj.weight"].role == "branch weight"
    assert entries["block.self_attn.in_proj_weight"].new_std == pytest.approx(0.25, rel=0.1)
    assert entries["offset"].keep
    assert all(entry.adam > 0 for entry in plan.parameters)
    before = model.offset.clone()
    plan.initialize_(model, torch.Generator().manual_seed(0))
    assert torch.equal(model.offset, before)


def test_a_head_that_is_the_embedding_too(ids):
    torch.manual_seed(0)
    model = Language(tied=True)
    plan = rf.tune(model, ids, ids, loss="cross_entropy")
    entries = by_name(plan)
    assert plan.scaling == 0.0
    assert any(note.startswith("s = 0") for note in plan.notes)
    assert entries["head.weight"].tied_to == "tokens.weight"
    assert entries["tokens.weight"].new_std == pytest.approx(0.25, rel=0.1)
    plan.initialize_(model, torch.Generator().manual_seed(0))
    logits = model(ids).logits.detach()
    assert float(logits.square().mean()) == pytest.approx(1.0, rel=0.5)


def test_convolutions_and_batch_normalisation():
    torch.manual_seed(0)
    model = Convolutional()
    x = torch.randn(24, 1, 6, 6)
    before = snapshot(model)
    plan = rf.tune(model, x, torch.arange(24) % 4, loss="cross_entropy")
    assert snapshot(model) == before
    entries = by_name(plan)
    assert entries["nb.weight"].new_mean == pytest.approx(1.0)  # one branch: it adds the stream's own size
    assert entries["na.weight"].new_mean == 1.0
    assert all(entry.sgd > 0 and entry.adam > 0 for entry in plan.parameters)


def test_nothing_of_the_module_changes(data):
    x, y = data
    torch.manual_seed(0)
    model = wide_residual()
    model.norm.eval()
    model.head.weight.grad = torch.randn(3, 16)
    seen = []
    model.embed.register_forward_hook(lambda *_: seen.append(1))
    before, rows = snapshot(model), x.clone()
    rf.tune(model, x, y)
    assert snapshot(model) == before
    assert torch.equal(x, rows)
    with pytest.raises(ValueError, match="y must have a row for each of the 40 rows of x, got 39"):
        rf.tune(model, x, y[:-1])
    assert snapshot(model) == before
    assert not seen


def test_it_trains_without_a_sweep(data):
    x, _ = data
    y = (x[:, 0] > 0).long() + (x[:, 1] > 0).long()
    for optimizer, make in (("sgd", torch.optim.SGD), ("adam", torch.optim.Adam)):
        torch.manual_seed(0)
        model = wide_residual()
        plan = rf.tune(model, x, y, loss="cross_entropy")
        plan.initialize_(model, torch.Generator().manual_seed(0))
        stepper = make(plan.param_groups(model, optimizer=optimizer))
        losses = []
        for _ in range(40):
            loss = nn.functional.cross_entropy(model(x), y)
            losses.append(float(loss.detach()))
            stepper.zero_grad()
            loss.backward()
            stepper.step()
        assert losses[-1] < 0.25 * losses[0], optimizer


@pytest.mark.parametrize(
    ("model", "x", "y", "message"),
    [
        (nn.Sequential(nn.Linear(6, 5), nn.LayerNorm(4)), torch.ones(8, 6), None, "model fails on x in '1': "),
        (nn.Sequential(nn.LayerNorm(6), nn.Flatten(0)), torch.ones(8, 6), None, "must return one row of outputs"),
        (nn.LayerNorm(6), torch.zeros(8, 6), None, "x is zero everywhere"),
        (nn.LayerNorm(6).requires_grad_(False), torch.ones(8, 6), None, "model has no trainable parameter"),
        (nn.LayerNorm(6, device="meta"), torch.ones(8, 6), None, "meta device"),
        (nn.LayerNorm(6), torch.eye(6), torch.arange(6) + 1, "y must hold class numbers from 0 to 5, got 1 to 6"),
        (nn.LayerNorm(6), torch.eye(6), torch.ones(6, 2), r"y must be class numbers of shape \(6,\) or targets of"),
        (nn.LayerNorm(6), torch.eye(6), torch.zeros(6, 6), "there is nothing to learn"),
    ],
)
def test_what_cannot_be_tuned(model, x, y, message):
    with pytest.raises(ValueError, match=message):
        rf.tune(model, x, y)


def test_a_module_that_does_not_run_alone_is_named_and_the_rest_is_measured(data):
    class Once(nn.Linear):
        """Runs only while its parent is running."""

        running = False

        def forward(self, x):
            if not Once.running:
                raise RuntimeError("not alone")
            return super().forward(x)

    class Parent(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.norm, self.head = Once(6, 8), nn.LayerNorm(8), nn.Linear(8, 3)

        def forward(self, x):
            Once.running = True
            try:
                return self.head(torch.relu(self.norm(self.first(x))))
            finally:
                Once.running = False

    class Nested(Parent):
        def forward(self, x):
            h = super().forward(x)
            return h

    x, y = data
    torch.manual_seed(0)
    plan = rf.tune(Nested(), x, y)
    assert any(note.startswith("first could not be measured alone (RuntimeError: not alone") for note in plan.notes)
    assert all(entry.sgd > 0 and entry.adam > 0 for entry in plan.parameters)
