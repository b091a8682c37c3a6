"""How much the features of a network will move in training on the data: a verdict, a card and a figure.

The tensors behind it have N^4 entries, so a few of the inputs stand for all, spread over the classes where there are
labels.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from repflow.figures.theme import BLUE, new_figure
from repflow.network import Network
from repflow.reporting.charts import Chart
from repflow.reporting.words import GOOD, NOTE, Card, number, percent
from repflow.training import representation_learning
from repflow.training.representation import targets_of
from repflow.training.representation_result import FROZEN, TRUSTED, TRUSTED_RATIO

if TYPE_CHECKING:
    from repflow.training import RepresentationLearning

FloatArray = NDArray[np.float64]

#: Inputs that stand for the data, and the share of the largest stable rate that they are trained at.
SUBSET, EDGE_SHARE = 4, 0.5
#: Steps where training to the end has no end: those that the fastest direction needs, many times over.
_STEPS = 1000


@dataclass(frozen=True)
class LearningVerdict:
    """What training on a few of the inputs will do to the kernels.

    Attributes
    ----------
    inputs
        Rows of the data that stand for it.
    targets
        ``"labels"``, or ``"random balanced labels"`` where there are none that fit the outputs.
    regime
        ``"frozen"``, ``"moving"`` or ``"beyond order 1"``; None where there is no prediction.
    reason
        Why there is none.
    kernels
        Predicted relative change of hidden kernels 1..L-1.
    ntk
        Of the NTK at the output.
    learning_rate, edge
        Rate used, and the largest stable one on these inputs.
    steps
        Number of steps; None: to the end.
    loss_before, loss_after
        Mean loss (1/2N) sum |f - y|^2 at infinite width.
    ratio
        r_L on these inputs.
    sentence
        All this in words.
    """

    inputs: tuple[int, ...]
    targets: str
    regime: str | None
    reason: str | None
    kernels: tuple[float, ...] = ()
    ntk: float | None = None
    learning_rate: float | None = None
    edge: float | None = None
    steps: int | None = None
    loss_before: float | None = None
    loss_after: float | None = None
    ratio: float | None = None
    sentence: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        plain = asdict(self)
        return {**plain, "inputs": list(self.inputs), "kernels": list(self.kernels)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> LearningVerdict:
        """Read what :meth:`to_dict` wrote."""
        return cls(**{**data, "inputs": tuple(data["inputs"]), "kernels": tuple(data["kernels"])})


def spread_rows(labels: Any, count: int, most: int = SUBSET) -> tuple[int, ...]:
    """Rows that stand for the data: of each class in turn where ``labels`` are class numbers, else evenly spaced."""
    array = None if labels is None else np.asarray(labels)
    if array is None or array.ndim != 1 or array.dtype.kind not in "biu" or len(array) != count:
        return tuple(int(row) for row in np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int)))
    rank = np.empty(count, dtype=np.int64)
    for label in np.unique(array):
        members = np.flatnonzero(array == label)
        rank[members] = np.arange(len(members))
    return tuple(sorted(int(row) for row in np.lexsort((array, rank))[:most]))


def assess_learning(network: Network, x: FloatArray, y: Any = None) -> LearningVerdict:
    """Predict how the kernels change in training on a few of the inputs.

    Parameters
    ----------
    network
        The network.
    x
        All inputs, shape (N, n_0).
    y
        Their targets or class numbers, or None.
    """
    labels = None if y is None else np.asarray(y)
    rows = list(spread_rows(labels, len(x)))
    targets: FloatArray | None = None
    if labels is not None and len(labels) == len(x):
        try:
            targets = targets_of(labels[rows], len(rows), network.widths[-1])
        except (TypeError, ValueError):  # labels of another number of classes than the network has outputs
            targets = None
    said = "labels" if targets is not None else "random balanced labels"
    if network.depth < 2:
        return LearningVerdict(tuple(rows), said, None, "a single layer has no hidden features")
    kinked = [activation.name for activation in network.activations if not activation.smooth]
    if kinked:
        return LearningVerdict(
            tuple(rows),
            said,
            None,
            f"{kinked[0]} has a kink, and the dNTK at order 1/n needs its second derivative: the variance of the "
            "tangent kernel exists, P to U do not",
        )
    try:
        found, reason = _predict(network, x[rows], targets), ""
    except ValueError as error:
        found, reason = None, str(error)
    if found is not None and not np.isfinite([*found.relative_kernel_change, found.relative_ntk_change]).all():
        found, reason = None, "a kernel vanishes on these inputs, so that no relative change is defined"
    if found is None:
        return LearningVerdict(tuple(rows), said, None, reason)
    return LearningVerdict(
        inputs=tuple(rows),
        targets=said,
        regime=found.regime,
        reason=None,
        kernels=tuple(float(value) for value in found.relative_kernel_change),
        ntk=found.relative_ntk_change,
        learning_rate=found.learning_rate,
        edge=found.edge,
        steps=found.steps,
        loss_before=found.loss[0],
        loss_after=found.loss[1],
        ratio=found.ratio,
        sentence=found.sentence,
    )


def _predict(network: Network, x: FloatArray, y: FloatArray | None) -> RepresentationLearning:
    """To the end where training has one, else for a stated number of steps."""
    try:
        return representation_learning(network, x, y, progress=False)
    except ValueError as error:
        if "training has no end" not in str(error):
            raise
    return representation_learning(network, x, y, steps=_STEPS, progress=False)


def learning_card(verdict: LearningVerdict) -> Card:
    """How much will features move?"""
    question = "How much will features move?"
    threshold = (
        f"Largest relative change of a kernel (Frobenius norm): below {percent(FROZEN)} frozen, above "
        f"{percent(TRUSTED)} or r_L above {TRUSTED_RATIO:g} beyond order 1/n."
    )
    if verdict.regime is None:
        return Card(question, "Not predicted", NOTE, (f"{_capital(verdict.reason or '')}.",), threshold)
    answer = {
        "frozen": "Hardly: frozen at this width",
        "moving": "They move",
        "beyond order 1": "More than order 1/n can say",
    }[verdict.regime]
    how = "to the end" if verdict.steps is None else f"for {verdict.steps} steps"
    assert verdict.learning_rate is not None
    setting = (
        f"Full-batch gradient descent {how} on {len(verdict.inputs)} of the inputs with {verdict.targets}, at half of "
        f"the largest stable rate (lr = {number(verdict.learning_rate)}) of the network's own λ."
    )
    tone = {"frozen": NOTE, "moving": GOOD, "beyond order 1": NOTE}[verdict.regime]
    return Card(question, answer, tone, (verdict.sentence, setting), threshold)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def learning_chart(verdict: LearningVerdict) -> Chart | None:
    """Predicted relative change of every hidden kernel and of the NTK; None where there is no prediction."""
    if verdict.regime is None or verdict.ntk is None:
        return None
    import plotly.graph_objects as go

    layers = [str(l) for l in range(1, len(verdict.kernels) + 1)] + ["NTK"]
    values = [100 * value for value in (*verdict.kernels, verdict.ntk)]
    figure = new_figure("hidden layer", "change, % of the kernel")
    figure.add_trace(go.Bar(x=layers, y=values, name="order 1/n", marker_color=BLUE))
    figure.update_xaxes(type="category")
    figure.update_layout(bargap=0.5)
    return Chart(
        "kernel-change",
        "How much training moves each kernel",
        f"Predicted mean change of each hidden kernel and of the tangent kernel at order 1/n, relative to its size, on "
        f"{len(verdict.inputs)} of the inputs. It falls as 1/n, and is nothing at infinite width.",
        figure,
    )


def learning_rows(verdict: LearningVerdict) -> list[tuple[str, str]]:
    """The table: what, and its relative change."""
    if verdict.ntk is None:
        return []
    rows = [(f"kernel of layer {l}", percent(value)) for l, value in enumerate(verdict.kernels, start=1)]
    return [*rows, ("NTK at the output", percent(verdict.ntk))]
