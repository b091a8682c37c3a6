"""What is compared, each as a model of its own initialisation and an AdamW of its own rates.

``mup`` is the package; CompleteP and the plain model with its embedding's rate scaled are written here, since neither
is one. At the base size all three are the model as its author makes it, with one rate.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

import mup
import torch
from residual_peers.models import MODELS, Cell, Gpt2, Model, is_embedding, is_hidden
from torch import nn
from training import dataset

from repflow.results import atomic_write_text
from repflow.tuning import Plan, tune
from repflow.tuning.forward_factor import scale_output

#: torch's default for AdamW, handed to each method's own rule.
DECAY, EPS = 0.01, 1e-8
GPT2_STD = 0.02
RIVALS = ("plain", "mup", "completep", "plain-fanin", "mup-fanin", "completep-fanin")
METHODS = (*RIVALS, "ours")


class Method:
    """A rule for initialisation and rates.

    Attributes
    ----------
    guess
        log2 of the rate at which the first scan starts, by model.
    """

    guess: ClassVar[dict[str, int]] = {"mlp": -7, "gpt2": -6}

    def takes(self, cell: Cell) -> bool:
        """Whether the method is compared on this model."""
        return True

    def model(self, cell: Cell, seed: int) -> Model:
        """The model of a cell, initialised."""
        return cell.make(seed)

    def optimizer(self, model: Model, cell: Cell, lr: float) -> torch.optim.Optimizer:
        """Its AdamW."""
        raise NotImplementedError

    def facts(self, cell: Cell) -> dict[str, Any]:
        """What else to record."""
        return {}


class Rival(Method):
    """A rule on top of the author's initialisation, or of a better one of GPT-2.

    GPT-2's 0.02 is made for widths near a thousand: at 16 its branches start near 0. With ``fan_in`` its hidden weights
    have 1/sqrt(base width) instead at the base width, and so have its position embeddings.
    """

    def __init__(self, fan_in: bool = False) -> None:
        self._fan_in = fan_in

    def takes(self, cell: Cell) -> bool:
        """See :class:`Method`."""
        return cell.model == "gpt2" or not self._fan_in

    def factor(self, cell: Cell) -> float:
        """Over the author's spread, at the base width."""
        return cell.base.width**-0.5 / GPT2_STD if self._fan_in else 1.0


class Plain(Rival):
    """The author's initialisation and one rate; the embedding's times width / base width."""

    def model(self, cell: Cell, seed: int) -> Model:
        """See :class:`Method`; with ``fan_in`` 1/sqrt(width) at every width."""
        model = cell.make(seed)
        if self._fan_in:
            _multiply(model, self.factor(cell), 1 / math.sqrt(cell.m))
        return model

    def optimizer(self, model: Model, cell: Cell, lr: float) -> torch.optim.Optimizer:
        """See :class:`Method`."""
        inside = [p for name, p in _learning(model) if is_embedding(model, name)]
        rest = [p for name, p in _learning(model) if not is_embedding(model, name)]
        groups = [{"params": inside, "lr": lr * cell.m}, {"params": rest, "lr": lr}]
        return torch.optim.AdamW(groups, weight_decay=DECAY, eps=EPS)


class Mup(Rival):
    """``mup`` 1.0: base shapes at the base width, its readout, its initialisers, MuAdamW, attention over d_k."""

    def model(self, cell: Cell, seed: int) -> Model:
        """See :class:`Method`."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            width = cell.base.width
            model, base, delta = (self._skeleton(cell, n) for n in (cell.width, width, 2 * width))
            mup.set_base_shapes(model, base, delta=delta)  # it scales the readout's weights
            if isinstance(model, Gpt2):  # torch's 1/fan_in of linear layers is what mup expects, a fixed 0.02 isn't
                for name, parameter in model.named_parameters():
                    if is_hidden(model, name, parameter):
                        mup.normal_(parameter, mean=0.0, std=self.factor(cell) * _gpt2_std(name, cell.blocks))
                mup.normal_(model.body.wpe.weight, mean=0.0, std=self.factor(cell) * GPT2_STD)
        divide_attention(model, cell)
        return model

    def optimizer(self, model: Model, cell: Cell, lr: float) -> torch.optim.Optimizer:
        """See :class:`Method`."""
        learning = [p for _, p in _learning(model)]
        return mup.MuAdamW(learning, lr=lr, weight_decay=DECAY, eps=EPS)

    @staticmethod
    def _skeleton(cell: Cell, width: int) -> Model:
        model = MODELS[cell.model](width, cell.blocks)
        model.head = mup.MuReadout(width, model.head.out_features)
        return model


class CompleteP(Rival):
    """CompleteP (2505.01618) for AdamW, m = width / base, d = depth / base.

    Branches times 1/d; hidden weights: variance over m, rate over m, decay times m; norms and biases: one rate, no
    decay; head: forward over m, at a variance that does not fall with the width; eps over m d; attention over d_k.
    GPT-2's own 1/sqrt(2 blocks) stays at the base's blocks, so that depth counts once.
    """

    def model(self, cell: Cell, seed: int) -> Model:
        """See :class:`Method`."""
        model = cell.make(seed)
        with torch.no_grad():
            model.head.weight.mul_(math.sqrt(cell.m))
            if isinstance(model, Gpt2):
                _multiply(model, self.factor(cell), 1 / math.sqrt(cell.m))
                for name, parameter in model.named_parameters():  # back to the factor of the base's blocks
                    if is_hidden(model, name, parameter):
                        parameter.mul_(_gpt2_std(name, cell.base.blocks) / _gpt2_std(name, cell.blocks))
        for branch in model.branches():
            scale_output(branch, 1 / cell.d)
        scale_output(model.last_norm(), 1 / cell.m)
        divide_attention(model, cell)
        return model

    def optimizer(self, model: Model, cell: Cell, lr: float) -> torch.optim.Optimizer:
        """See :class:`Method`."""
        groups: dict[str, dict[str, Any]] = {
            "hidden": {"params": [], "lr": lr / cell.m, "weight_decay": DECAY * cell.m},
            "matrix": {"params": [], "lr": lr, "weight_decay": DECAY},
            "vector": {"params": [], "lr": lr, "weight_decay": 0.0},
        }
        for name, p in _learning(model):
            kind = "hidden" if is_hidden(model, name, p) else "matrix" if p.ndim == 2 else "vector"
            groups[kind]["params"].append(p)
        return torch.optim.AdamW(list(groups.values()), eps=EPS / (cell.m * cell.d))


class Ours(Method):
    """``rf.tune`` with its defaults; the rate is in units of the predicted best one. Plans are kept in ``folder``."""

    guess: ClassVar[dict[str, int]] = {"mlp": 0, "gpt2": 0}

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._plans: dict[Cell, Plan] = {}
        self._seconds: dict[Cell, float] = {}

    def plan(self, cell: Cell) -> Plan:
        """Measured once a cell."""
        path = self._folder / f"plan_{cell.name}.json"
        if cell not in self._plans and path.exists():
            kept = json.loads(path.read_text())
            self._plans[cell], self._seconds[cell] = Plan.from_json(json.dumps(kept["plan"])), kept["seconds"]
        if cell not in self._plans:
            started = time.perf_counter()
            self._plans[cell] = tune(cell.make(0), *dataset("digits"), loss="cross_entropy")
            self._seconds[cell] = time.perf_counter() - started
            kept = {"seconds": self._seconds[cell], "plan": json.loads(self._plans[cell].to_json())}
            atomic_write_text(path, json.dumps(kept))
        return self._plans[cell]

    def model(self, cell: Cell, seed: int) -> Model:
        """See :class:`Method`."""
        model = cell.make(seed)
        self.plan(cell).initialize_(model, torch.Generator().manual_seed(seed))
        return model

    def optimizer(self, model: Model, cell: Cell, lr: float) -> torch.optim.Optimizer:
        """See :class:`Method`."""
        return torch.optim.AdamW(self.plan(cell).param_groups(model, lr=lr, optimizer="adamw", weight_decay=DECAY))

    def facts(self, cell: Cell) -> dict[str, Any]:
        """See :class:`Method`."""
        plan = self.plan(cell)
        variance = plan.aspect_ratio.relative_variance
        return {"s": plan.scaling, "kappa": plan.kappa, "fluctuation": variance, "tuning": self._seconds[cell]}


def methods(folder: Path) -> dict[str, Method]:
    """By name, rivals first."""
    rules: dict[str, Method] = {"plain": Plain(), "mup": Mup(), "completep": CompleteP()}
    rules |= {"plain-fanin": Plain(True), "mup-fanin": Mup(True), "completep-fanin": CompleteP(True)}
    return rules | {"ours": Ours(folder)}


def rivals_of(cell: Cell) -> tuple[str, ...]:
    """Names of the rivals that are compared on this model: those with ``fanin`` on GPT-2 alone."""
    return tuple(name for name in RIVALS if cell.model == "gpt2" or not name.endswith("-fanin"))


def divide_attention(model: Model, cell: Cell) -> None:
    """Attention's scale 1/d_k in place of 1/sqrt(d_k), equal at the base width."""
    if isinstance(model, Gpt2):
        for block in model.body.h:
            block.attn.scaling = math.sqrt(block.attn.head_dim / cell.m) / block.attn.head_dim


def _gpt2_std(name: str, blocks: int) -> float:
    """GPT-2's initialisation: 0.02, over sqrt(2 blocks) for what a branch ends in."""
    return GPT2_STD / (math.sqrt(2 * blocks) if name.endswith("c_proj.weight") else 1.0)


@torch.no_grad()
def _multiply(model: Model, factor: float, hidden: float) -> None:
    """Hidden weights times both factors, GPT-2's position embeddings times the first."""
    for name, parameter in model.named_parameters():
        if is_hidden(model, name, parameter):
            parameter.mul_(factor * hidden)
        elif name == "body.wpe.weight":
            parameter.mul_(factor)


def _learning(model: nn.Module) -> Iterable[tuple[str, nn.Parameter]]:
    return [(name, p) for name, p in model.named_parameters() if p.requires_grad]
