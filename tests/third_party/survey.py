"""What the library says of a module, held against draws of that module and against training it; and the page's table.

python -m tests.third_party.survey docs/third-party.md        # rewrites the page's table
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tests.graph.sampled import draw
from tests.third_party.data import batch, logits
from tests.third_party.zoo import ZOO, Other
from torch import Tensor, nn

import repflow as rf
from repflow.graph import GraphFlow, Request, observe, read_graph, second_moment

#: Width of the modules whose kernels are compared; draws that measured kernels are the mean of; draws to compare with.
WIDTH, MEASURED, DRAWS = 128, 120, 40
#: Times 1/n and the largest entry: what order 1/n may take, as in tests/graph.
ORDER_ONE = 6.0
#: Width, rows and steps of what is trained.
NARROW, ROWS, STEPS = 32, 48, 30
_TABLE = re.compile(r"(?<=<!-- table -->\n).*?(?=<!-- end -->)", re.S)


@dataclass(frozen=True)
class Agreement:
    """Kernels by theory against sampled initialisations.

    Attributes
    ----------
    nodes, theory, given, measured
        All nodes; those whose kernel follows from the inputs alone, those whose kernel follows from measured ones, and
        those that are measured. The rest hold no real numbers, or mix channels with positions along their last axis.
    z, beyond
        Largest deviation in standard errors, and the largest one of what exceeds 6/n of a kernel's largest entry.
    node
        Where that one is.
    """

    nodes: int
    theory: int
    given: int
    measured: int
    z: float
    beyond: float
    node: str


def agreement(module: nn.Module, x: Any, width: int = WIDTH) -> Agreement:
    """Every kernel that is marked theory against Gaussian draws of the module's own variances.

    Measured nodes get the mean over draws of their own, which the standard error of what rests on them counts too.
    """
    generator = torch.Generator().manual_seed(0)

    def sample(count: int) -> list[Mapping[str, Tensor]]:
        return [observe(module, x, draw(module, generator)) for _ in range(count)]

    def measure(request: Request) -> tuple[Tensor, Tensor]:
        values = [value[request.node.name] for value in first]
        kernel = sum(second_moment(value, request.axis) / MEASURED for value in values)
        return kernel, sum(value.double().mean(request.axis).flatten() / MEASURED for value in values)

    first, second = sample(MEASURED), sample(DRAWS)
    flow: GraphFlow = read_graph(module, x).kernels(x, measure)
    known = [node for node in flow if node.mark == "theory" and node.known]
    z, beyond, worst = 0.0, 0.0, ""
    for node in known:
        scale = node.kernel.abs().max()
        off, square = torch.zeros_like(node.kernel), torch.zeros_like(node.kernel)
        for value in second:
            moment = second_moment(value[node.name], node.axis) - node.kernel
            off += moment / DRAWS
            square += moment**2 / (DRAWS - 1)
        variance = (square - off**2 * DRAWS / (DRAWS - 1)).clamp(min=0)
        error = (variance * (1 / DRAWS + bool(node.given) / MEASURED)).sqrt() + 1e-6 * scale
        off = off.abs()
        excess = float(((off - ORDER_ONE / width * scale).clamp(min=0) / error).max())
        z, (beyond, worst) = max(z, float((off / error).max())), max((beyond, worst), (excess, node.name))
    given = sum(bool(node.given) for node in known)
    return Agreement(len(flow), len(known) - given, given, len(flow.measured), z, beyond, worst)


@dataclass(frozen=True)
class Trained:
    """A plan, and the cross-entropy before and after each step of AdamW at lr = 1.0 on one batch."""

    plan: rf.Plan
    losses: tuple[float, ...]

    @property
    def branches(self) -> int:
        """Residual branches that the plan found."""
        found = [re.match(r"(\d+) residual branch", note) for note in self.plan.notes]
        return next((int(match[1]) for match in found if match), 0)


def trained(module: nn.Module, x: Any, y: Tensor) -> Trained:
    """Tune, draw and train, dropout left out so that losses can be compared."""
    plan = rf.tune(module, x, y, loss="cross_entropy")
    plan.initialize_(module, torch.Generator().manual_seed(0))
    optimizer = torch.optim.AdamW(plan.param_groups(module, optimizer="adamw", lr=1.0))
    for part in module.modules():
        if "dropout" in type(part).__name__.lower():
            part.p = 0.0
    module.train()
    losses = []
    for step in range(STEPS + 1):
        loss = nn.functional.cross_entropy(logits(module, x), y.flatten())
        losses.append(float(loss.detach()))
        if step < STEPS:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return Trained(plan, tuple(losses))


def row(other: Other, found: Agreement, run: Trained) -> str:
    """A line of the page's table."""
    rates = "measured" if run.plan.measured else "theory"
    cells = (
        other.package, f"`{other.name}`", found.nodes, found.theory, found.given, found.measured,
        f"{found.z:.1f} ({found.beyond:.1f})", rates, run.branches, f"{run.losses[0]:.2f}", f"{run.losses[-1]:.2g}",
    )  # fmt: skip
    return f"| {' | '.join(map(str, cells))} |"


def survey(other: Other) -> str:
    """A class's line of the page's table."""
    few, _ = batch(other.kind, 2)
    return row(other, agreement(other.make(WIDTH), few), trained(other.make(NARROW), *batch(other.kind, ROWS)))


def rows_of(page: str) -> dict[str, str]:
    """The lines of the page's table by class."""
    table = _TABLE.search(page)
    assert table is not None
    return {match[1]: line for line in table[0].splitlines() if (match := re.search(r"`(\w+)`", line))}


def with_rows(page: str, rows: Iterable[str]) -> str:
    """The page with other lines."""
    head = (
        "package", "class", "nodes", "theory", "theory given measured", "measured", "largest z (beyond 6/n)", "rates",
        "branches", "loss before", "after",
    )  # fmt: skip
    lines = [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head))]
    return _TABLE.sub(lambda _: "\n" + "\n".join([*lines, *rows]) + "\n\n", page)


if __name__ == "__main__":
    torch.set_num_threads(1)
    target = Path(sys.argv[1])
    target.write_text(with_rows(target.read_text(encoding="utf-8"), map(survey, ZOO)), encoding="utf-8")
