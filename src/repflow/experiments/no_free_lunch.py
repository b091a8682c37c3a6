"""Over all labelings no learner beats chance; over a family of few of them the one that knows the family does."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repflow.experiments.intervals import student_quantile
from repflow.experiments.registry import Outcome, Size, Tell, experiment
from repflow.experiments.verdicts import Verdict, combined_verdict
from repflow.theories import KLocal, Local, decompose
from repflow.theories.labels import (
    AnyLabels,
    Couplings,
    ExactAverage,
    LabelFamily,
    Learner,
    Linear,
    Memorisation,
    NearestNeighbour,
    Network,
    OneProduct,
    Parity,
    Quadratic,
    QuadraticForm,
    SignOfEnergy,
    SupportVectors,
    TranslationInvariantLabels,
    Tree,
    accuracies,
    count,
    exact_average,
    first_beyond,
    short,
)

FloatArray = NDArray[np.float64]

CLAIM = (
    "Averaged over all labelings every learner is right on exactly half of the images that it has not seen; over a "
    "family of few labelings the learner that knows the family is best, and each learner has a family on which it is "
    "no better than chance."
)
#: Pixels of the Monte Carlo and of the families: 2^512 labelings of 3 x 3 images.
PIXELS, SHAPE = 9, (3, 3)
#: Accepted half-width; coverage, over all learners at once, of the intervals that must hold 1/2 and of those that must
#: miss it for the claim to fail.
HALF_WIDTH, COVERAGE, SURE = 0.005, 0.95, 0.999
#: Standard errors by which the matching learner must lead, and within which a learner is at chance.
LEAD, CHANCE = 5.0, 2.0
#: Pixels in the table of 2^(2^n).
COUNTED = 12


@dataclass(frozen=True)
class Plan:
    """Pixels of the exact average; labelings drawn and training images of the Monte Carlo; draws from each family."""

    exact_pixels: int
    labelings: int
    training: int
    draws: int


_SIZES: dict[Size, Plan] = {
    "small": Plan(2, 300, 64, 40),
    "default": Plan(3, 400, 256, 200),
    "large": Plan(3, 4000, 256, 2000),
}


@dataclass(frozen=True, eq=False)
class Row:
    """One family of labelings: the accuracy (learners, draws) of every learner, and the one that knows the family."""

    family: str
    parameters: int
    training: int
    accuracy: FloatArray
    matching: str | None = None
    nonzero: float = math.nan

    @property
    def mean(self) -> FloatArray:
        """(learners,)."""
        return np.asarray(self.accuracy.mean(axis=1))

    @property
    def stderr(self) -> FloatArray:
        """(learners,): over draws."""
        return standard_error(self.accuracy)

    @property
    def half_width(self) -> FloatArray:
        """(learners,): of Student's 95% interval of each mean."""
        return student_quantile(self.accuracy.shape[1] - 1, COVERAGE) * self.stderr


@experiment("no-free-lunch", CLAIM)
def no_free_lunch(size: Size, seed: int, tell: Tell) -> Outcome:
    """Average learners over all labelings of 3-pixel images exactly, of 9-pixel images by draws; then over families.

    Exactly: each of the 3^8 = 6,561 training sets of 3-pixel images (each image with either label, or without one) is
    fitted once, and tested on every labeling that contains it; accuracies are rational numbers (``size="small"``: 2
    pixels). Monte Carlo: labelings drawn out of 2^512, with a random half of the 512 images to learn from (64 in
    ``"small"``). Families: a member and a training set of twice the family's parameters (bits or couplings) are drawn,
    the same for all learners. Standard errors are over draws, which are independent; intervals are Student's.

    Rule: four parts. (1) Exact: "agrees" where for every learner the average over all labelings is 1/2 at every size of
    the training set and for every single training set, else "disagrees". (2) Monte Carlo: "agrees" where every
    learner's interval has a half-width of at most 0.005 and contains 1/2, the intervals holding for all learners at
    once with probability 0.95 (Bonferroni); "disagrees" where one that holds at once with probability 0.999 misses 1/2;
    else "inconclusive". (3) Match: in each family the matching learner's mean lead over each other learner, draw by
    draw, is more than 5 standard errors; "disagrees" where one of them leads by more than 2, else "inconclusive". (4)
    Chance: each learner's mean is at most 1/2 + 2 standard errors in a family (that of all labelings not counted);
    "disagrees" where one is above 1/2 + 5 standard errors in all, else "inconclusive". "agrees" where all four do,
    "disagrees" where one does, else "inconclusive".
    """
    plan = _SIZES[size]
    learners = learners_of(PIXELS, SHAPE)
    names = [learner.name for learner in learners]
    families = _families()
    total = len(learners) + len(families) + 1
    exact = []
    for done, learner in enumerate(learners_of(plan.exact_pixels, (plan.exact_pixels,))):
        tell(f"{learner.name}: all labelings of {plan.exact_pixels} pixels", done / total)
        exact.append(exact_average(learner, plan.exact_pixels))
    tell(f"{plan.labelings} of 2^512 labelings", len(learners) / total)
    every = AnyLabels(PIXELS)
    drawn = accuracies(every, learners, PIXELS, plan.training, plan.labelings, seed, stream=0)
    everything = Row(every.name, every.parameters, plan.training, drawn)
    rows = []
    for stream, (family, matching) in enumerate(families, start=1):
        tell(family.name, (len(learners) + stream) / total)
        m = 2 * family.parameters
        found = accuracies(family, learners, PIXELS, m, plan.draws, seed, stream)
        rows.append(Row(family.name, family.parameters, m, found, matching, _nonzero(family, seed)))
    tell("verdict", 1.0)
    verdicts, numbers = judge(names, exact, everything, rows)
    return Outcome(
        verdict=combined_verdict(list(verdicts.values())),
        numbers={
            "first_pixels_beyond_1e80": first_beyond(),
            "labelings": [
                {"pixels": n, "images": short(count(n).images), "labelings": short(count(n).labelings)}
                for n in range(1, COUNTED + 1)
            ],
            **{f"{part}_verdict": verdict for part, verdict in verdicts.items()},
            **numbers,
        },
        table=_table(names, exact, everything, rows),
        figure=_figure(names, exact, everything, rows),
        configuration={
            "exact_pixels": plan.exact_pixels,
            "pixels": PIXELS,
            "lattice": list(SHAPE),
            "labelings": plan.labelings,
            "training_images": plan.training,
            "draws": plan.draws,
            "learners": names,
        },
    )


def learners_of(N: int, shape: tuple[int, ...]) -> list[Learner]:
    """Six learners of general use, then five that know a family; images of N pixels on a lattice."""
    return [
        NearestNeighbour(),
        Linear(),
        Tree(),
        SupportVectors(),
        Network(),
        Memorisation(),
        Couplings(KLocal(N, 2), "pair couplings"),
        Couplings(Local(shape, periodic=False), "link couplings"),
        NearestNeighbour(shape),
        Parity(),
        Quadratic(),
    ]


def _families() -> list[tuple[LabelFamily, str]]:
    """Each with the learner that matches it."""
    return [
        (OneProduct(PIXELS, 1, 1, "single pixel"), "tree"),
        (SignOfEnergy(KLocal(PIXELS, 2), "2-local"), "pair couplings"),
        (SignOfEnergy(Local(SHAPE, periodic=False), "spatially local"), "link couplings"),
        (TranslationInvariantLabels(SHAPE), "nearest translate"),
        (OneProduct(PIXELS, 5, 9, "parity of 5 to 9 pixels"), "one parity"),
        (QuadraticForm(PIXELS), "quadratic form"),
    ]


def _nonzero(family: LabelFamily, seed: int, members: int = 20) -> float:
    """Mean number of non-zero couplings of a member's labels."""
    from repflow.blocks import generator

    rng = generator(seed, 1_000_003)
    return float(np.mean([decompose(family.draw(rng)).nonzero for _ in range(members)]))


def standard_error(values: FloatArray) -> FloatArray:
    """Of the mean over the last axis."""
    return np.asarray(values.std(axis=-1, ddof=1) / math.sqrt(values.shape[-1]))


def in_errors(mean: float, error: float) -> float:
    """A mean in standard errors; without an error its sign times infinity, or 0."""
    if error > 0:
        return mean / error
    return math.copysign(math.inf, mean) if mean else 0.0


def judge(
    names: Sequence[str], exact: Sequence[ExactAverage], everything: Row, rows: Sequence[Row]
) -> tuple[dict[str, Verdict], dict[str, Any]]:
    """The four parts of the rule, and their numbers."""
    parts = (
        _exact_part(exact),
        _monte_carlo_part(names, everything),
        _match_part(names, rows),
        _chance_part(names, rows),
    )
    verdicts: dict[str, Verdict] = dict(zip(("exact", "monte_carlo", "match", "chance"), (part[0] for part in parts)))
    numbers: dict[str, Any] = {}
    for _, found in parts:
        numbers |= found
    return verdicts, numbers


def _exact_part(exact: Sequence[ExactAverage]) -> tuple[Verdict, dict[str, Any]]:
    numbers, holds = {}, True
    for average in exact:
        by_size, by_split = average.by_size, average.by_split
        half = sum(2 * accuracy == 1 for accuracy in by_split)
        holds = holds and half == len(by_split) and all(2 * accuracy == 1 for accuracy in by_size)
        middle = average.by_labeling(average.images // 2)
        numbers[average.learner] = {
            "fits": average.fits,
            "by_training_images": [str(accuracy) for accuracy in by_size],
            "splits": len(by_split),
            "splits_at_one_half": half,
            # The same learner on its worst and on its best labeling, half of the images given.
            "worst_labeling": str(min(middle)),
            "best_labeling": str(max(middle)),
        }
    return "agrees" if holds else "disagrees", {"exact": numbers}


def _monte_carlo_part(names: Sequence[str], everything: Row) -> tuple[Verdict, dict[str, Any]]:
    draws = everything.accuracy.shape[1]
    wide, wider = (student_quantile(draws - 1, 1 - (1 - coverage) / len(names)) for coverage in (COVERAGE, SURE))
    numbers, holds, fails = {}, True, False
    columns = (everything.mean.tolist(), everything.stderr.tolist(), everything.half_width.tolist())
    for name, mean, error, alone in zip(names, *columns):
        half = wide * error
        holds = holds and half <= HALF_WIDTH and abs(mean - 0.5) <= half
        fails = fails or abs(mean - 0.5) > wider * error
        numbers[name] = {
            "mean": mean,
            "stderr": error,
            "interval": [mean - half, mean + half],
            "half_width": half,
            "interval_alone": [mean - alone, mean + alone],
        }
    found = {"monte_carlo": numbers, "largest_half_width": max(entry["half_width"] for entry in numbers.values())}
    return "disagrees" if fails else "agrees" if holds else "inconclusive", found


def _match_part(names: Sequence[str], rows: Sequence[Row]) -> tuple[Verdict, dict[str, Any]]:
    verdicts: list[Verdict] = []
    numbers = {}
    for row in rows:
        assert row.matching is not None
        best = list(names).index(row.matching)
        # Draw by draw: all learners had the same labels and training images.
        ahead = row.accuracy[best] - np.delete(row.accuracy, best, axis=0)
        others = [name for name in names if name != row.matching]
        leads = [
            in_errors(mean, error) for mean, error in zip(ahead.mean(axis=1).tolist(), standard_error(ahead).tolist())
        ]
        least = int(np.argmin(leads))
        verdicts.append("agrees" if leads[least] > LEAD else "disagrees" if leads[least] < -2.0 else "inconclusive")
        numbers[row.family] = {
            "parameters": row.parameters,
            "training_images": row.training,
            "nonzero_couplings": row.nonzero,
            "matching": row.matching,
            "smallest_lead": leads[least],
            "over": others[least],
            "mean": dict(zip(names, row.mean.tolist())),
            "stderr": dict(zip(names, row.stderr.tolist())),
            "half_width": dict(zip(names, row.half_width.tolist())),
        }
    return combined_verdict(verdicts), {"families": numbers}


def _chance_part(names: Sequence[str], rows: Sequence[Row]) -> tuple[Verdict, dict[str, Any]]:
    numbers, lowest = {}, []
    for index, name in enumerate(names):
        above = [in_errors(float(row.mean[index]) - 0.5, float(row.stderr[index])) for row in rows]
        least = int(np.argmin(above))
        lowest.append(above[least])
        numbers[name] = {"family": rows[least].family, "errors_above_chance": above[least]}
    if max(lowest) <= CHANCE:
        return "agrees", {"at_chance": numbers}
    return "disagrees" if max(lowest) > LEAD else "inconclusive", {"at_chance": numbers}


def _table(
    names: Sequence[str], exact: Sequence[ExactAverage], everything: Row, rows: Sequence[Row]
) -> Mapping[str, list[Any]]:
    found: list[dict[str, Any]] = []
    for average in exact:
        for m, accuracy in enumerate(average.by_size):
            found.append(
                {
                    "labels": f"all {len(average.hits)}",
                    "pixels": average.N,
                    "training_images": m,
                    "learner": average.learner,
                    "draws": 0,
                    "accuracy": float(accuracy),
                    "stderr": 0.0,
                    "half_width": 0.0,
                    "exact": str(accuracy),
                    "matching": False,
                }
            )
    for row in (everything, *rows):
        for name, mean, error, half in zip(names, row.mean.tolist(), row.stderr.tolist(), row.half_width.tolist()):
            found.append(
                {
                    "labels": row.family,
                    "pixels": PIXELS,
                    "training_images": row.training,
                    "learner": name,
                    "draws": row.accuracy.shape[1],
                    "accuracy": mean,
                    "stderr": error,
                    "half_width": half,
                    "exact": "",
                    "matching": name == row.matching,
                }
            )
    return {name: [entry[name] for entry in found] for name in found[0]}


def _figure(names: Sequence[str], exact: Sequence[ExactAverage], everything: Row, rows: Sequence[Row]) -> Any:
    """Accuracy of every learner on every family, with the two averages over all labelings at the bottom."""
    from repflow.figures import PALETTE, phase_diagram

    shown = [*rows, everything]
    means = [float(sum(average.by_size)) / average.images for average in exact]
    values = np.vstack([*(row.mean for row in shown), means])
    texts = [[f"{mean:.3f}" for mean in row.mean] for row in shown]
    texts.append([_common(average) for average in exact])
    labels = [f"{row.family}<br><sub>{row.training} of 512 images</sub>" for row in rows]
    labels.append(f"any of 2<sup>512</sup><br><sub>{everything.training} of 512, Monte Carlo</sub>")
    images = exact[0].images
    labels.append(f"all 2<sup>{images}</sup>, every split<br><sub>0 to {images - 1} of {images}, exact</sub>")
    figure = phase_diagram(
        np.arange(len(names)),
        np.arange(len(labels)),
        values,
        x_title="",
        y_title="",
        value_title="accuracy off the training set",
        midpoint=0.5,
        limits=(0.0, 1.0),
        height=560,
    )
    for y, line in enumerate(texts):
        for x, text in enumerate(line):  # dark on every colour of the scale, on a dark page too
            figure.add_annotation(x=x, y=y, text=text, showarrow=False, font={"size": 12, "color": "#1B1F24"})
    for y, row in enumerate(rows):
        x = list(names).index(str(row.matching))
        outline = {"color": PALETTE[2], "width": 3}
        figure.add_shape(type="rect", x0=x - 0.48, x1=x + 0.48, y0=y - 0.46, y1=y + 0.46, line=outline)
    figure.add_hline(y=len(rows) - 0.5, line={"width": 2, "color": "#808890"})
    figure.update_yaxes(range=[len(labels) - 0.5, -0.5], tickvals=list(range(len(labels))), ticktext=labels)
    ticks = [name.replace(" ", "<br>", 1).replace("memorisation", "memori-<br>sation") for name in names]
    figure.update_layout(margin_b=20)
    return figure.update_xaxes(tickvals=list(range(len(names))), ticktext=ticks, side="top", tickangle=0)


def _common(average: ExactAverage) -> str:
    """The exact average, if it is the same for all sizes of the training set."""
    found = {str(accuracy) for accuracy in average.by_size}
    return found.pop() if len(found) == 1 else "differs"
