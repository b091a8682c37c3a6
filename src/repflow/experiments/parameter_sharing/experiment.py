"""Fewer couplings, fewer examples: locality and translation invariance in spins, in networks, and in their weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repflow.experiments.intervals import mean_interval
from repflow.experiments.parameter_sharing.couplings import count_couplings
from repflow.experiments.parameter_sharing.networks import (
    CHANNELS,
    CLASSES,
    CONTROLS,
    CONV,
    FC,
    LC,
    MAIN,
    SCRAMBLED,
    TEST,
    Errors,
    Setting,
    train_all,
)
from repflow.experiments.parameter_sharing.shifted_digits import positions
from repflow.experiments.registry import Outcome, Size, Tell, experiment
from repflow.experiments.verdicts import Verdict, combined_verdict

FloatArray = NDArray[np.float64]

CLAIM = (
    "Translation invariance is parameter sharing: on shifted digits a convolutional network has fewer parameters and a "
    "lower test error than a locally connected and a fully connected one of the same units, since the data obey the "
    "symmetry; with the pixels scrambled the gain is gone."
)
#: Below this a difference of test errors is rounding.
ROUNDING = 1e-9


_SIZES: dict[Size, Setting] = {
    "small": Setting(12, (100, 200), 4, 120, 50, ()),
    "default": Setting(12, (100, 200, 400, 800), 4, 500, 50, ()),
    "large": Setting(16, (100, 200, 400, 800, 1200), 6, 800, 50, (-2, -1, 0, 1, 2)),
}


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
    found, parameters, sweep = train_all(setting, seed, tell)
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
        verdict=combined_verdict(list(verdicts.values())),
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
        mean, low, high = mean_interval([of(a) - of(b) for a, b in pairs])
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
        verdicts[name] = combined_verdict([above(row["low"], row["high"]) for row in gains])
        numbers[f"gain_{name}"] = gains
        numbers[f"locality_{name}"] = [less(FC, LC, count, of) for count in images]
    lost = less(FC, SCRAMBLED, control_images, seen)
    verdicts["scrambled"] = above(-lost["high"], -lost["low"])
    numbers["scrambled"] = lost
    numbers["controls"] = [less(other, CONV, control_images, seen) for other in CONTROLS]
    numbers["errors"] = [
        {"network": name, "images": count, "seen": mean_interval(list(map(seen, errors)))}
        | {"unseen": mean_interval(list(map(unseen, errors)))}
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
    from repflow.experiments.parameter_sharing.figure import sharing_figure

    def row(name: str, count: int) -> tuple[int, tuple[float, float, float], tuple[float, float, float]]:
        drawn = found[name, count]
        return count, mean_interval([e.seen for e in drawn]), mean_interval([e.unseen for e in drawn])

    errors = {name: [row(name, count) for count in setting.images] for name in MAIN}
    controls = {name: row(name, setting.control_images)[:2] for name in CONTROLS}
    return sharing_figure(errors, controls, couplings, CHANNELS, setting.side**2, CLASSES)
