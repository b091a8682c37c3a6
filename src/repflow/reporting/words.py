"""Verdicts in plain words, each with the threshold that it rests on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from repflow.network import Network
from repflow.reporting.advice import Advice
from repflow.reporting.criticality import KERNEL_FACTOR, LOST, CriticalityVerdict
from repflow.reporting.fluctuations import BANDS, TRUSTED, FluctuationVerdict, band_of

#: How a card looks: nothing to do, worth a thought, to be changed.
GOOD, NOTE, BAD = "good", "note", "bad"


@dataclass(frozen=True)
class Card:
    """One question and its answer.

    Attributes
    ----------
    question, answer
        A line each.
    tone
        ``"good"``, ``"note"`` or ``"bad"``.
    sentences
        The numbers behind it.
    threshold
        The rule, printed small.
    """

    question: str
    answer: str
    tone: str
    sentences: tuple[str, ...]
    threshold: str


def number(value: float, digits: int = 3) -> str:
    """A number for reading: no exponent where it can be helped, an infinity sign where it is infinite."""
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if value == 0 or 1e-3 <= abs(value) < 1e6:
        text = f"{value:.{digits}g}"
        return f"{value:.0f}" if "e" in text else text
    return f"{value:.{digits}g}"


def percent(value: float) -> str:
    """A share as percent."""
    if 0 < value < 0.001:
        return f"{100 * value:.1g}%"
    return f"{100 * value:.1f}%" if value < 0.995 else f"{100 * value:.0f}%"


def criticality_card(verdict: CriticalityVerdict) -> Card:
    """Is this network critical for its depth?"""
    L = verdict.depth
    sentences = [
        f"Correlation lengths: {number(verdict.xi_parallel)} layers for differences in norm, "
        f"{number(verdict.xi_perpendicular)} for differences in direction ({verdict.source})."
    ]
    against = "where it started" if verdict.reference == "start" else "the power law of its class"
    if verdict.kernel_factor < 1.005:
        sentences.append(
            f"The kernel K stays {'at' if verdict.reference == 'power law' else ''} {against}.".replace("  ", " ")
        )
    else:
        within = "within" if verdict.kernel_factor <= KERNEL_FACTOR else "no closer than"
        sentences.append(
            f"The kernel K stays {within} a factor {number(verdict.kernel_factor)} of {against} (furthest in layer "
            f"{verdict.kernel_layer})."
        )
    if not verdict.critical:
        sentences.extend(_lost(verdict))
    return Card(
        "Is it critical for this depth?",
        f"Yes, for L = {L}" if verdict.critical else f"No, not at L = {L}",
        GOOD if verdict.critical else BAD,
        tuple(sentences),
        f"Critical means L ≤ min(ξ∥, ξ⊥), and K within a factor {KERNEL_FACTOR:g} of its start or its class's power "
        "law in every layer.",
    )


def _lost(verdict: CriticalityVerdict) -> list[str]:
    found = []
    for kind, depth, grows in (
        ("norm", verdict.lost_parallel, verdict.grows_parallel),
        ("direction", verdict.lost_perpendicular, verdict.grows_perpendicular),
    ):
        if math.isfinite(depth):
            change = "grown" if grows else "shrunk"
            found.append(f"A difference in {kind} has {change} {LOST:g}-fold by layer {number(depth, 6)}.")
    return found


def fluctuation_card(verdict: FluctuationVerdict, networks: int | None) -> Card:
    """How large are fluctuations from one initialisation to the next?"""
    sentences = [
        f"Predicted at order 1/n: the squared size of an output varies by {percent(verdict.predicted)} (one standard "
        f"deviation) between initialisations, for input {verdict.input_index + 1}, where it varies most."
    ]
    answer = f"±{percent(verdict.predicted)} predicted"
    if verdict.measured is not None and verdict.measured_error is not None:
        answer = f"±{percent(verdict.measured)} measured, ±{percent(verdict.predicted)} predicted"
        sentences.append(
            f"Measured in {networks:,} networks: {percent(verdict.measured)} ± {percent(verdict.measured_error)}."
        )
    tone = {"frozen": NOTE, "working": GOOD, "untrusted": NOTE, "chaotic": BAD}[verdict.band]
    return Card(
        "How much do initialisations differ?",
        answer,
        tone,
        tuple(sentences),
        "Standard deviation of the kernel G of the output over initialisations, relative to its mean.",
    )


def trust_card(verdict: FluctuationVerdict, orders: str | None = None) -> Card:
    """Where r_L stands, and which order is enough."""
    band = band_of(verdict.ratio)
    sentences = [band.meaning]
    if verdict.universal is not None and verdict.nu is not None:
        sentences.append(
            f"At criticality r_L tends to ν (L - 1)/n = {number(verdict.universal)}, with "
            f"ν = {number(verdict.nu, 4)} for this activation."
        )
    if orders is not None:
        sentences.append(orders)
    tone = {"frozen": NOTE, "working": GOOD, "untrusted": BAD, "chaotic": BAD}[verdict.band]
    limits = [f"above {number(b.low)}" if math.isinf(b.high) else f"below {number(b.high)}" for b in BANDS]
    scale = "; ".join(f"{entry.title.lower()} {limit}" for entry, limit in zip(BANDS, limits))
    return Card(
        "Can theory be trusted here?",
        f"r_L = {number(verdict.ratio)}: {band.title.lower()}",
        tone,
        tuple(sentences),
        f"r_L = max V/(n K²) at the output: {scale}.",
    )


def advice_card(network: Network, advice: Advice, verdict: CriticalityVerdict) -> Card:
    """What to change."""
    sentences: list[str] = []
    best = "critical" if advice.critical else "the best compromise, since this activation has no critical point"
    if not advice.changes_couplings:
        sentences.append(f"Keep C_W and C_b: they are {best}.")
    elif network.depth == 1:
        sentences.append(f"Set C_W = {advice.C_W[0]:.6g} and C_b = {advice.C_b[0]:.6g}.")
    else:
        first = f"C_W = {_span(advice.C_W[:1])} in the first layer and " if _apart(advice.C_W) else ""
        where = " in the others" if first else ""
        sentences.append(f"Set {first}C_W = {_span(advice.C_W[1:])}{where}, C_b = {_span(advice.C_b)}: {best}.")
    sentences.extend(_size_advice(network, advice))
    sentences.extend(advice.notes)
    parts = []
    if advice.changes_couplings:
        parts.append("the couplings")
    if network.depth > advice.reach:
        parts.append("the activation or the depth")
    elif advice.width_factor is not None:
        parts.append("the width or the depth")
    elif advice.deeper is not None:
        parts.append("the depth, if features should move")
    answer = ", and ".join(parts).capitalize() or "Nothing"
    return Card(
        "What to change?",
        answer,
        NOTE if parts else GOOD,
        tuple(sentences),
        "Numbers to copy are below.",
    )


def _size_advice(network: Network, advice: Advice) -> list[str]:
    if network.depth > advice.reach:
        layers = f"only {number(advice.reach)} layers" if advice.reach >= 1 else "less than one layer"
        return [
            f"Even with these couplings a difference between inputs survives {layers} (min(ξ∥, ξ⊥)): take another "
            "activation" + (f", or depth {math.floor(advice.reach)}." if advice.reach >= 2 else ".")
        ]
    if advice.width_factor is not None:
        text = f"With these couplings r_L is {number(advice.ratio)}. To bring it to {TRUSTED:g}: "
        options = []
        if advice.hidden_widths:
            options.append(f"hidden width {_span(advice.hidden_widths)} at this depth")
        if advice.depth is not None:
            options.append(f"depth {advice.depth} at this width")
        return [text + (", or ".join(options) if options else "no finite width does it") + "."]
    if advice.deeper is not None:
        return [
            f"With these couplings r_L is {number(advice.ratio)}: wider than this depth needs. Features are no longer "
            f"nearly frozen from depth {advice.deeper} on at this width."
        ]
    if network.depth == 1:
        return []
    return [f"With these couplings r_L is {number(advice.ratio)}, in the working range: width and depth fit."]


def _apart(values: Sequence[float]) -> bool:
    return abs(values[0] - values[1]) > 1e-9 * max(1.0, abs(values[1]))


def _span(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    text = f"{low:.8g}"
    return text if high - low <= 1e-9 * max(1.0, abs(high)) else f"{text} to {high:.8g}"


def headline(criticality: CriticalityVerdict, fluctuation: FluctuationVerdict) -> tuple[str, str]:
    """One sentence that answers the practitioner, and its tone."""
    if criticality.depth == 1:
        return "A single layer: its output is exactly Gaussian, whatever the width.", GOOD
    if not criticality.critical:
        lost = criticality.lost_at
        tail = f": differences between inputs change {LOST:g}-fold by layer {number(lost, 6)}" if lost < 1e6 else ""
        return f"Not critical at depth {criticality.depth}{tail}.", BAD
    if fluctuation.band == "chaotic":
        return "Critical, but so deep for its width that one seed is unlike the next.", BAD
    if fluctuation.band == "untrusted":
        return (
            "Critical, but deep for its width: initialisations differ much, and order 1/n is not to be trusted.",
            NOTE,
        )
    if fluctuation.band == "frozen":
        return "Critical, and wide for its depth: features are nearly frozen.", NOTE
    return "Critical, and in the working range of depth to width.", GOOD
