"""Modules of other people, unedited: each is planned, drawn, and learns at lr = 1.0 with no sweep."""

import pytest
import torch
from torch import nn

import repflow as rf
from repflow.empirical.call import output_of


def rtdl(name):
    library = pytest.importorskip("rtdl_revisiting_models")
    if name == "ResNet":
        return library.ResNet(
            d_in=8, d_out=3, n_blocks=3, d_block=32, d_hidden=None, d_hidden_multiplier=2.0, dropout1=0.0, dropout2=0.0
        )
    return library.FTTransformer(
        n_cont_features=8, cat_cardinalities=[3, 4], d_out=3, n_blocks=2, d_block=32, attention_n_heads=4,
        attention_dropout=0.0, ffn_d_hidden=None, ffn_d_hidden_multiplier=2.0, ffn_dropout=0.0, residual_dropout=0.0,
    )  # fmt: skip


def hugging_face(name):
    library = pytest.importorskip("transformers")
    small = {"vocab_size": 12, "num_labels": 3, "pad_token_id": 0}
    try:
        if name == "gpt2":
            config = library.GPT2Config(
                n_positions=8, n_embd=32, n_layer=2, n_head=2, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
                bos_token_id=1, eos_token_id=2, **small,
            )  # fmt: skip
            return library.GPT2ForSequenceClassification(config)
        config = library.BertConfig(
            hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0, **small,
        )  # fmt: skip
        return library.BertForSequenceClassification(config)
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"transformers does not import here: {error}")


def data(kind):
    generator = torch.Generator().manual_seed(0)
    if kind == "tokens":
        ids = torch.randint(3, 12, (60, 8), generator=generator)
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": None}, ids[:, -1] % 3
    x = torch.randn(60, 8, generator=generator)
    y = (x[:, 0] > 0).long() + (x[:, 1] > 0).long()
    if kind == "table":
        return (x, torch.randint(3, (60, 2), generator=generator)), y
    return x, y


def run(model, x):
    if isinstance(x, dict):
        return output_of(model(**x))
    return output_of(model(*x) if isinstance(x, tuple) else model(x))


CASES = [
    (rtdl, "ResNet", "numbers"),
    (rtdl, "FTTransformer", "table"),
    (hugging_face, "gpt2", "tokens"),
    (hugging_face, "bert", "tokens"),
    (lambda name: nn.Sequential(nn.LSTM(8, 24, batch_first=True), Last(), nn.Linear(24, 3)), "lstm", "steps"),
]


class Last(nn.Module):
    """The last step of what a recurrent layer returns."""

    def forward(self, returned):
        return returned[0][:, -1]


@pytest.mark.slow
@pytest.mark.parametrize(("build", "name", "kind"), CASES, ids=[case[1] for case in CASES])
def test_it_is_planned_drawn_and_learns(build, name, kind):
    torch.manual_seed(0)
    model = build(name)
    x, y = data(kind)
    if kind == "steps":
        x = x[:, None, :].repeat(1, 3, 1)
    plan = rf.tune(model, x, y, loss="cross_entropy")
    assert plan.measured
    used = [entry for entry in plan.parameters if entry.trainable and entry.tied_to is None and entry.trace > 0]
    assert len(used) > 0.8 * len([entry for entry in plan.parameters if entry.tied_to is None])
    assert all(entry.sgd > 0 and entry.adam > 0 for entry in used)
    plan.initialize_(model, torch.Generator().manual_seed(0))
    optimizer = torch.optim.AdamW(plan.param_groups(model, optimizer="adamw"))
    losses = []
    for _ in range(60):
        loss = nn.functional.cross_entropy(run(model, x), y)
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert min(losses[-10:]) < 0.2 * losses[0]
