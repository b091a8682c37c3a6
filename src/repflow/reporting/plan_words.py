"""A plan in plain words: the questions of someone about to train, each with the rule that its answer rests on."""

from __future__ import annotations

import math

from repflow.reporting.fluctuations import TRUSTED, band_of
from repflow.reporting.words import BAD, GOOD, NOTE, Card, number, percent
from repflow.tuning import Plan


def plan_cards(plan: Plan, optimizer: str) -> tuple[Card, ...]:
    """Rate, features, seeds, and depth to width."""
    return (_rate(plan, optimizer), _features(plan), _seeds(plan), _depth(plan))


def plan_headline(plan: Plan) -> tuple[str, str]:
    """The plan in one sentence, and its tone."""
    r = plan.aspect_ratio.relative_variance
    if r > 1.0:
        return "Initialise as planned and train at lr = 1.0, with more than one seed.", BAD
    if r > TRUSTED:
        return "Initialise as planned and start at lr = 1.0; seeds will differ.", NOTE
    return "Initialise as planned, train at lr = 1.0.", GOOD


def _rate(plan: Plan, optimizer: str) -> Card:
    edge = plan.max_learning_rate(optimizer=optimizer)
    if plan.binding == "features":
        sentences = ["Under SGD it is set by the change of the hidden features in one step."]
    else:
        sentences = ["Under SGD it is set by the edge of stability, as far above it as networks still train."]
    if edge is None:
        sentences.append("For Adam each group's rate is the step of its layer; no edge of stability is derived.")
    else:
        text = f"The full-batch loss first grows above lr = {number(edge)}"
        tail = ": networks that learn features then move to flatter ground." if edge < 1 else "."
        sentences.append(text + tail)
    rates = [entry.sgd if optimizer == "sgd" else entry.adam for entry in plan.parameters if entry.trainable]
    live = [rate for rate in rates if rate > 0]
    if live:
        sentences.append(f"Rates of single parameters run from {number(min(live))} to {number(max(live))}.")
    return Card(
        "How fast should it learn?",
        "At lr = 1.0, no sweep",
        GOOD,
        tuple(sentences),
        "lr is in units of the predicted best rate at this depth and width, and each parameter has its own factor.",
    )


def _features(plan: Plan) -> Card:
    s = plan.scaling
    where = (
        "maximal update" if s >= 1 else "the tangent limit" if s <= 0 else "between tangent limit and maximal update"
    )
    return Card(
        "How much do features move?",
        f"s = {number(s)}: {where}",
        GOOD,
        (
            f"Hidden features change by kappa = {number(plan.kappa)} of their size in the first step at lr = 1.0, "
            "layers taken together.",
            "s was given." if plan.chosen else "s follows from the network and the data.",
        ),
        "s = 0 keeps features as they are; s = 1 moves them as much as a wide network can.",
    )


def _seeds(plan: Plan) -> Card:
    band = band_of(plan.aspect_ratio.relative_variance)
    tone = {"frozen": GOOD, "working": GOOD, "untrusted": NOTE, "chaotic": BAD}[band.name]
    alike = band.name in ("frozen", "working")
    sentences = ["One initialisation is much like the next." if alike else band.meaning]
    if plan.fluctuation > 0:
        sentences.append(
            f"{plan.seeds_needed(0.1)} seeds an arm show a difference of 10% in the output kernel's scale."
        )
    source = "Measured over draws" if plan.measured else "Predicted at order 1/n"
    return Card(
        "How much will seeds differ?",
        f"±{percent(plan.fluctuation)}",
        tone,
        tuple(sentences),
        f"{source}: standard deviation of the output kernel over initialisations, relative to its mean.",
    )


def _depth(plan: Plan) -> Card:
    ratio = plan.aspect_ratio
    if ratio.optimum is None:
        return Card(
            "Do depth and width fit?",
            f"L/n = {number(ratio.value)}",
            NOTE,
            ("No optimum is known for this model's activations.",),
            "The optimum r* = 4/((20 + 3 n_L) ν) needs ν of a critical point.",
        )
    off = ratio.value / ratio.optimum
    answer, tone = "They fit", GOOD
    if off > 4:
        answer, tone = "Deeper than its width bears", NOTE
    elif off < 0.25:
        answer, tone = "Wide for its depth", GOOD
    sentences = [f"L/n = {number(ratio.value)}, and the information-theoretic optimum is {number(ratio.optimum)}."]
    if ratio.advisable_depth is not None:
        sentences.append(f"At this width up to {ratio.advisable_depth} layers keep ν (L - 1)/n below {TRUSTED:g}.")
        if plan.depth > ratio.advisable_depth:
            answer, tone = "Deeper than its width bears", BAD
    if plan.correlation_length is not None and math.isfinite(plan.correlation_length):
        sentences.append(f"Differences between inputs survive {number(plan.correlation_length)} layers.")
    return Card(
        "Do depth and width fit?",
        answer,
        tone,
        tuple(sentences),
        "Within a factor four of r* = 4/((20 + 3 n_L) ν).",
    )
