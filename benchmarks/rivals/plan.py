"""repflow's plan, through its public calls."""

from __future__ import annotations

import hashlib
import json
from typing import Any, ClassVar

import torch
from rivals.method import Method
from torch import nn
from training import Cell, Setting, plan_of

from repflow.tuning import Plan


class Ours(Method):
    """``rf.tune`` with its defaults; the rate is in units of the predicted best one."""

    name = "ours"
    package = "repflow"
    guess: ClassVar[dict[str, int]] = {"sgd": 0, "adam": 0}

    def __init__(self) -> None:
        self._plans: dict[tuple[Cell, str], Plan] = {}

    def plan(self, cell: Cell, loss: str) -> Plan:
        """The plan of a cell, made once."""
        if (cell, loss) not in self._plans:
            self._plans[cell, loss] = plan_of(cell, loss)
        return self._plans[cell, loss]

    def model(self, cell: Cell, setting: Setting, seed: int) -> nn.Module:
        """See :class:`~rivals.method.Method`."""
        return self.plan(cell, setting.loss).initialize_(cell.model(), torch.Generator().manual_seed(seed))

    def optimizer(self, model: nn.Module, cell: Cell, setting: Setting, lr: float) -> torch.optim.Optimizer:
        """See :class:`~rivals.method.Method`."""
        groups = self.plan(cell, setting.loss).param_groups(model, lr=lr, optimizer=setting.optimizer)
        return {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[setting.optimizer](groups)

    def signature(self, cell: Cell, setting: Setting) -> dict[str, Any]:
        """A digest of what the plan says for this cell: spreads of weights and rates. What changes neither of them,
        such as a constant of another optimiser, leaves a record valid.
        """
        model = self.model(cell, setting, 0)
        groups = self.plan(cell, setting.loss).param_groups(model, lr=1.0, optimizer=setting.optimizer)
        rates = {id(p): (group["lr"], group.get("eps", 0.0)) for group in groups for p in group["params"]}
        said = [[f"{float(v):.4g}" for v in (p.detach().norm(), *rates[id(p)])] for p in model.parameters()]
        digest = hashlib.sha256(json.dumps(said).encode())
        return {"plan": digest.hexdigest()[:16]}

    def facts(self, cell: Cell, setting: Setting) -> dict[str, Any]:
        """What the plan predicts."""
        plan = self.plan(cell, setting.loss)
        return {
            "s": plan.scaling,
            "kappa": plan.kappa,
            "edge": plan.edge,
            "binding": plan.binding,
            "relative_variance": plan.aspect_ratio.relative_variance,
        }
