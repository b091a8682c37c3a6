"""Lightning and the Hugging Face Trainer: docs/train.md's blocks run, and both train as a plain loop does."""

import contextlib
import importlib
import io
import logging
import re
import sys
import types
import warnings
from pathlib import Path

import pytest
import torch
from tests.integration.setting import generator, make, rates, train, values
from tests.test_docs import Block, assert_same, blocks
from torch import nn

import repflow as rf

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "train.md"
STEPS = 6


def needed(name: str):
    """A package of the extra ``integration``, or a skipped test that says what is in the way."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(name)
    except (ImportError, RuntimeError) as error:  # RuntimeError: a torchvision that is not this torch's
        pytest.skip(
            f"{name} cannot be imported ({error}): pip install 'repflow[integration]', no other torch's torchvision"
        )


@pytest.fixture
def lightning():
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    return needed("lightning")


@pytest.fixture
def transformers():
    module = needed("transformers")
    needed("transformers.trainer")
    return module


def page_blocks(section: str) -> list[tuple[Block, str | None]]:
    """The page's first block, which defines the task, and the ``py`` blocks of one section with their outputs."""
    found = blocks(PAGE)
    heading = {
        number: line[3:]
        for number, line in enumerate(PAGE.read_text(encoding="utf-8").splitlines(), start=1)
        if re.match(r"## ", line)
    }
    chosen = [(found[0], None)]
    for block, after in zip(found, [*found[1:], Block("", "", 0)]):
        if block.language == "py" and heading[max(line for line in heading if line < block.line)] == section:
            chosen.append((block, after.text if after.language == "text" else None))
    return chosen


def execute(section: str, tmp_path, monkeypatch) -> int:
    """Run a section; the number of outputs compared."""
    monkeypatch.chdir(tmp_path)
    module = types.ModuleType("page_train_section")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    compared = 0
    for block, expected in page_blocks(section):
        where, out = f"{PAGE.name}, line {block.line}", io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(block.text, where, "exec"), module.__dict__)
        if expected is not None:
            assert_same(out.getvalue(), expected, where)
            compared += 1
    return compared


def test_the_page_in_lightning(lightning, tmp_path, monkeypatch):
    assert execute("Lightning", tmp_path, monkeypatch) == 1


def test_the_page_in_the_hugging_face_trainer(transformers, tmp_path, monkeypatch):
    assert execute("Hugging Face Trainer", tmp_path, monkeypatch) == 1


@pytest.fixture
def expected(x, y):
    """Weights after a plain loop over full batches."""
    model = make()
    plan = rf.tune(model, x, y, loss="cross_entropy")
    plan.initialize_(model, generator())
    losses = train(model, torch.optim.SGD(plan.param_groups(model)), x, y, STEPS)
    assert losses[-1] < 0.7 * losses[0]
    return plan, values(model)


def same(model, weights):
    for a, b in zip(model.parameters(), weights, strict=True):
        torch.testing.assert_close(a.detach(), b, rtol=1e-7, atol=1e-10)


def test_lightning_trains_as_a_plain_loop(lightning, x, y, expected):
    plan, weights = expected

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.network = plan.initialize_(make(), generator())

        def training_step(self, batch):
            return nn.functional.cross_entropy(self.network(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.SGD(plan.param_groups(self.network))

    module = Module()
    batches = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=len(x))
    quiet = {"enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    lightning.Trainer(max_epochs=STEPS, accelerator="cpu", logger=False, **quiet).fit(module, batches)
    same(module.network, weights)


class Classifier(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, pixels, labels=None):
        logits = self.network(pixels)
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


@pytest.mark.parametrize("way", ["optimizers", "optimizer_cls_and_kwargs"])
@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_the_trainer_trains_as_a_plain_loop(transformers, x, y, expected, way, schedule, tmp_path):
    plan, weights = expected
    model = plan.initialize_(make(), generator())
    groups = plan.param_groups(model)
    at_one = rates(groups, model)
    given = {
        "optimizers": {"optimizers": (torch.optim.SGD(groups), None)},
        "optimizer_cls_and_kwargs": {"optimizer_cls_and_kwargs": (torch.optim.SGD, {"params": groups})},
    }[way]
    arguments = transformers.TrainingArguments(
        str(tmp_path),
        max_steps=STEPS,
        per_device_train_batch_size=len(x),
        max_grad_norm=0.0,
        lr_scheduler_type=schedule,
        use_cpu=True,
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    rows = [{"pixels": a, "labels": b} for a, b in zip(x, y, strict=True)]
    seen = []

    class Watch(transformers.TrainerCallback):
        def on_step_begin(self, args, state, control, optimizer=None, **others):
            seen.append([rate / one for rate, one in zip(rates(optimizer.param_groups, model), at_one, strict=True)])

    trainer = transformers.Trainer(Classifier(model), arguments, train_dataset=rows, callbacks=[Watch()], **given)
    trainer.train()
    assert len(seen) == STEPS
    for now in seen:
        assert now == pytest.approx([now[0]] * len(now), rel=1e-9)
    if schedule == "constant":
        same(model, weights)
    else:
        assert seen[0][0] == pytest.approx(1.0)
        assert seen[-1][0] < 0.5
