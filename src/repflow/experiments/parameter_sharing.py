"""Fewer couplings, fewer examples: locality and translation invariance in spins, in networks, and in their weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from repflow.experiments.registry import Outcome, Size, Tell, Verdict, experiment
from repflow.experiments.representation_learning import verdict_of
from repflow.experiments.shifted_digits import ShiftedDigits, positions, shifted_digits

if TYPE_CHECKING:
    from torch import Tensor, nn

    from repflow.tuning import Plan

FloatArray = NDArray[np.float64]

CLAIM = (
    "Translation invariance is parameter sharing: on shifted digits a convolutional network has fewer parameters and a "
    "lower test error than a locally connected and a fully connected one of the same units, since the data obey the "
    "symmetry; with the pixels scrambled the gain is gone."
)
#: Units of every hidden layer are CHANNELS times its sites; classes; test digits; images that a plan is made on.
CHANNELS, CLASSES, TEST, PLANNED = 12, 10, 500, 64
FC, LC, CONV = "fully connected", "locally connected", "convolutional"
MAIN = (FC, LC, CONV)
OWN_HEAD, SHARED_HEAD, SCRAMBLED = (
    "convolutional, own head",
    "locally connected, shared head",
    "convolutional, scrambled",
)
CONTROLS = (OWN_HEAD, SHARED_HEAD, SCRAMBLED)
#: Inputs at which the arrays of the flow are counted, and the networks' confidence.
INPUTS, CONFIDENCE = (2, 3, 4), 0.95
#: Below this a difference of test errors is rounding.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Setting:
    """What is run: side of the canvas, training images, draws, steps and batch, and octaves of the rate swept."""

    side: int
    images: tuple[int, ...]
    draws: int
    steps: int
    batch: int
    octaves: tuple[int, ...]

    @property
    def control_images(self) -> int:
        """Training images of the controls: the second number."""
        return self.images[1]


_SIZES: dict[Size, Setting] = {
    "small": Setting(12, (100, 200), 4, 120, 50, ()),
    "default": Setting(12, (100, 200, 400, 800), 4, 500, 50, ()),
    "large": Setting(16, (100, 200, 400, 800, 1200), 6, 800, 50, (-2, -1, 0, 1, 2)),
}


@dataclass(frozen=True)
class Errors:
    """Shares of images classified wrongly by one trained network: training, test at seen and at unseen positions."""

    train: float
    seen: float
    unseen: float


Found = dict[tuple[str, int], list[Errors]]


@experiment("parameter-sharing", CLAIM)
def parameter_sharing(size: Size, seed: int, tell: Tell) -> Outcome:
    """Count couplings, then train three networks of the same units that differ in which weights exist or are shared.

    Digits of 8 x 8 pixels lie at random on a canvas of 12 x 12 (16 x 16 at size large, which also sweeps the rate of
    each network over octaves). Two hidden layers, each of a fourth as many sites and 12 channels, gelu; the
    networks are fully connected, locally connected (receptive fields of 5 x 5 and 3 x 3, no weight shared), and
    convolutional (the same fields, all weights shared between sites, those of the last layer too). Initialisation and
    rates are ``rf.tune``'s at lr = 1.0 for Adam and cross-entropy; steps, batches, training images and their order are
    the same for all. Each draw has its own training digits, test digits, positions and weights. In training a digit is
    in the left half of its positions; it is tested there, and in the right half, where none was seen.

    Rule: five parts. (1) Couplings: for 2, 3 and 4 random inputs the kernel and the vertex of ``rf.flow`` hold exactly
    as many different numbers as symmetry leaves: P = N (N + 1)/2 and P (P + 1)/2. (2) Parameters: the convolutional
    network has fewer than the locally connected one, and that fewer than the fully connected one. (3) Seen positions:
    at every number of training images the 95% t-interval over draws of the test error of each of the other two less
    that of the convolutional network lies above 0. (4) The same at unseen positions. (5) Scrambled pixels, one order
    for all images, at the second number of training images: the same interval, fully connected less convolutional,
    lies below 0; a fully connected network does not notice the order. Each part agrees where that is so of all, and
    disagrees where it is false or an interval lies on the other side of 0. "agrees" where all parts agree, "disagrees"
    where one disagrees, else "inconclusive". How the locally and the fully connected network compare is measured, and
    not part of the rule.
    """
    setting = _SIZES[size]
    couplings = count_couplings(seed)
    found, parameters, sweep = _train_all(setting, seed, tell)
    tell("verdict", 1.0)
    verdicts, numbers = judge(found, parameters, setting.images, setting.control_images)
    verdicts["couplings"] = "agrees" if all(row["counted"] == row["predicted"] for row in couplings) else "disagrees"
    numbers |= {
        "verdicts": verdicts,
        "couplings": couplings,
        "examples": examples_needed(found, setting.images),
        "sweep": sweep,
    }
    return Outcome(
        verdict=verdict_of(list(verdicts.values())),
        numbers=numbers,
        table=_table(found, parameters),
        figure=_figure(found, setting, couplings),
        configuration={
            "side": setting.side,
            "channels": CHANNELS,
            "positions_seen": len(positions(setting.side)[0]),
            "positions_unseen": len(positions(setting.side)[1]),
            "images": list(setting.images),
            "control_images": setting.control_images,
            "test_images": TEST,
            "draws": setting.draws,
            "steps": setting.steps,
            "batch": setting.batch,
            "activation": "gelu",
            "optimizer": "adam",
        },
    )


def count_couplings(seed: int) -> list[dict[str, Any]]:
    """Different numbers in the kernel and the vertex of ``rf.flow`` for random inputs, and the prediction."""
    from repflow.blocks import generator
    from repflow.build import mlp
    from repflow.recursion import flow
    from repflow.theories.counting import OutputDistribution, distinct

    network = mlp([8, 30, 40, 50, 3], activation="tanh", C_W=1.3, C_b=0.2)
    rows = []
    for N in INPUTS:
        last = flow(network, generator(seed, 0, N).standard_normal((N, 8)), order=1, progress=False)[-1]
        for order, name, array in ((0, "kernel", last.kernel), (1, "vertex", last.vertex)):
            predicted = OutputDistribution(N, order).components(order)
            entries = int(array.numel())
            rows.append(
                {
                    "what": name,
                    "inputs": N,
                    "entries": entries,
                    "counted": distinct(array.numpy()),
                    "predicted": predicted,
                }
            )
    return rows


# Training


def _train_all(setting: Setting, seed: int, tell: Tell) -> tuple[Found, dict[str, int], list[dict[str, Any]]]:
    from repflow.blocks import generator

    found: Found = {}
    plans: dict[str, Plan] = {}
    parameters: dict[str, int] = {}
    total = setting.draws * (len(MAIN) * len(setting.images) + len(CONTROLS))
    total += len(MAIN) * len(setting.octaves) * setting.draws
    done = 0
    swept: dict[tuple[str, int], list[Errors]] = {}
    for draw in range(setting.draws):
        data = shifted_digits(setting.side, max(setting.images), TEST, seed, draw)
        order = generator(seed, draw, 0).permutation(setting.side**2)
        for name in (*MAIN, *CONTROLS):
            seen = data.scrambled(order) if name == SCRAMBLED else data
            model = _network(name, setting.side, seed)
            if name not in plans:
                plans[name] = _plan(model, seen)
                parameters[name] = sum(parameter.numel() for parameter in model.parameters())
            for images in setting.images if name in MAIN else (setting.control_images,):
                tell(f"{name}, {images} images, draw {draw + 1}", done / total)
                errors = _train(model, plans[name], seen, images, setting, (seed, draw))
                found.setdefault((name, images), []).append(errors)
                done += 1
            for octave in setting.octaves if name in MAIN else ():
                tell(f"{name}, rate 2^{octave}, draw {draw + 1}", done / total)
                errors = _train(model, plans[name], seen, setting.control_images, setting, (seed, draw), 2.0**octave)
                swept.setdefault((name, octave), []).append(errors)
                done += 1
    sweep = [
        {
            "network": name,
            "octave": octave,
            "seen": float(np.mean([one.seen for one in errors])),
            "unseen": float(np.mean([one.unseen for one in errors])),
        }
        for (name, octave), errors in swept.items()
    ]
    return found, parameters, sweep


def _network(name: str, side: int, seed: int) -> nn.Sequential:
    import torch

    from repflow.training.shared_weights import Head, Wiring, lattice_network

    built: dict[str, tuple[Wiring, Head | None]] = {
        FC: ("fully connected", None),
        LC: ("locally connected", None),
        CONV: ("convolutional", None),
        OWN_HEAD: ("convolutional", "own"),
        SHARED_HEAD: ("locally connected", "shared"),
        SCRAMBLED: ("convolutional", None),
    }
    wiring, head = built[name]
    # Modules draw their first weights from torch's generator: the caller's stays as it is.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return lattice_network(wiring, side, CHANNELS, CLASSES, head=head)


def _plan(model: nn.Module, data: ShiftedDigits) -> Plan:
    import torch

    from repflow.tuning import tune

    return tune(model, _tensor(data.x[:PLANNED]), torch.from_numpy(data.y[:PLANNED]), loss="cross_entropy")


def _tensor(images: FloatArray) -> Tensor:
    import torch

    return torch.from_numpy(images).to(torch.float32)[:, None]


def _train(
    model: nn.Module,
    plan: Plan,
    data: ShiftedDigits,
    images: int,
    setting: Setting,
    key: tuple[int, int],
    lr: float = 1.0,
) -> Errors:
    """Draw new weights, train on the first ``images`` images, and test."""
    import torch

    from repflow.blocks import generator

    random = generator(*key, images)
    plan.initialize_(model, generator=torch.Generator().manual_seed(int(random.integers(2**62))))
    optimizer = torch.optim.Adam(plan.param_groups(model, optimizer="adam", lr=lr))
    x, y = _tensor(data.x[:images]), torch.from_numpy(data.y[:images])
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, setting.steps)
    for _ in range(setting.steps):
        rows = torch.from_numpy(random.permutation(images)[: setting.batch])
        loss = torch.nn.functional.cross_entropy(model(x[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():

        def wrong(inputs: Tensor, classes: Tensor) -> float:
            return float((model(inputs).argmax(dim=1) != classes).double().mean())

        y_test = torch.from_numpy(data.y_test)
        return Errors(wrong(x, y), wrong(_tensor(data.seen), y_test), wrong(_tensor(data.unseen), y_test))


# The rule


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean and the ends of its 95% t-interval; the interval of fewer than two values is infinite."""
    sample = np.asarray(values, dtype=np.float64)
    mean = float(sample.mean())
    if len(sample) < 2:
        return mean, -math.inf, math.inf
    half = float(student.ppf(0.5 + CONFIDENCE / 2, len(sample) - 1) * sample.std(ddof=1) / math.sqrt(len(sample)))
    return mean, mean - half, mean + half


def above(low: float, high: float) -> Verdict:
    """``agrees`` where [low, high] lies above 0, ``disagrees`` where below, ``inconclusive`` where it holds 0."""
    if low > ROUNDING:
        return "agrees"
    return "disagrees" if high < -ROUNDING else "inconclusive"


def judge(
    found: Mapping[tuple[str, int], Sequence[Errors]],
    parameters: Mapping[str, int],
    images: Sequence[int],
    control_images: int,
) -> tuple[dict[str, Verdict], dict[str, Any]]:
    """Parts 2 to 5 of the rule of :func:`parameter_sharing`, and the differences that they follow from.

    Parameters
    ----------
    found
        Errors over draws by network and number of training images.
    parameters
        By network.
    images, control_images
        Numbers of training images.

    Returns
    -------
    dict, dict
        Verdicts by part, and numbers.
    """

    def less(other: str, one: str, count: int, of: Callable[[Errors], float]) -> dict[str, Any]:
        """The paired difference of the errors of ``other`` and ``one``."""
        pairs = zip(found[other, count], found[one, count], strict=True)
        mean, low, high = interval([of(a) - of(b) for a, b in pairs])
        return {"other": other, "than": one, "images": count, "difference": mean, "low": low, "high": high}

    def seen(errors: Errors) -> float:
        return errors.seen

    def unseen(errors: Errors) -> float:
        return errors.unseen

    numbers: dict[str, Any] = {"parameters": dict(parameters)}
    ordered = parameters[CONV] < parameters[LC] < parameters[FC]
    verdicts: dict[str, Verdict] = {"parameters": "agrees" if ordered else "disagrees"}
    for name, of in (("seen", seen), ("unseen", unseen)):
        gains = [less(other, CONV, count, of) for count in images for other in (LC, FC)]
        verdicts[name] = verdict_of([above(row["low"], row["high"]) for row in gains])
        numbers[f"gain_{name}"] = gains
        numbers[f"locality_{name}"] = [less(FC, LC, count, of) for count in images]
    lost = less(FC, SCRAMBLED, control_images, seen)
    verdicts["scrambled"] = above(-lost["high"], -lost["low"])
    numbers["scrambled"] = lost
    numbers["controls"] = [less(other, CONV, control_images, seen) for other in CONTROLS]
    numbers["errors"] = [
        {"network": name, "images": count, "seen": interval(list(map(seen, errors)))}
        | {"unseen": interval(list(map(unseen, errors)))}
        for (name, count), errors in found.items()
    ]
    return verdicts, numbers


def examples_needed(found: Mapping[tuple[str, int], Sequence[Errors]], images: Sequence[int]) -> list[dict[str, Any]]:
    """Training images that the other networks need for the convolutional one's error, over those that it had.

    Read off the line through the logarithms of the mean errors at seen positions. Where even the largest number of
    images does not do, the ratio is a lower bound.
    """
    count = np.array(images, dtype=np.float64)
    mean = {name: np.array([np.mean([e.seen for e in found[name, n]]) for n in images]) for name in MAIN}
    rows = []
    for number, target in zip(images, mean[CONV]):
        for other in (LC, FC):
            needed = _crossing(count, mean[other], float(target))
            ratio = (count[-1] if needed is None else needed) / number
            rows.append({"network": other, "images": number, "ratio": float(ratio), "lower_bound": needed is None})
    return rows


def _crossing(count: FloatArray, error: FloatArray, target: float) -> float | None:
    """Where the errors, falling over all, first reach the target; None where they do not."""
    below = np.flatnonzero(error <= target)
    if len(below) == 0:
        return None
    k = int(below[0])
    if k == 0 or error[k] <= 0 or target <= 0:
        return float(count[k])
    share = math.log(error[k - 1] / target) / math.log(error[k - 1] / error[k])
    return float(count[k - 1] * (count[k] / count[k - 1]) ** share)


def _table(found: Mapping[tuple[str, int], Sequence[Errors]], parameters: Mapping[str, int]) -> dict[str, list[Any]]:
    rows = [
        {
            "network": name,
            "parameters": parameters[name],
            "images": count,
            "draw": draw,
            "train_error": errors.train,
            "test_error_seen": errors.seen,
            "test_error_unseen": errors.unseen,
        }
        for (name, count), drawn in found.items()
        for draw, errors in enumerate(drawn)
    ]
    return {name: [row[name] for row in rows] for name in rows[0]}


def _figure(
    found: Mapping[tuple[str, int], Sequence[Errors]], setting: Setting, couplings: Sequence[Mapping[str, Any]]
) -> Any:
    from repflow.experiments.sharing_figure import sharing_figure

    def row(name: str, count: int) -> tuple[int, tuple[float, float, float], tuple[float, float, float]]:
        drawn = found[name, count]
        return count, interval([e.seen for e in drawn]), interval([e.unseen for e in drawn])

    errors = {name: [row(name, count) for count in setting.images] for name in MAIN}
    controls = {name: row(name, setting.control_images)[:2] for name in CONTROLS}
    return sharing_figure(errors, controls, couplings, CHANNELS, setting.side**2, CLASSES)
