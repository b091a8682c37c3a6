"""``Report``: verdicts, evidence and provenance as plain data, from which the page is drawn."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from repflow.comparison.order import WhichOrder
from repflow.network import Network
from repflow.reporting.advice import Advice
from repflow.reporting.criticality import CriticalityVerdict
from repflow.reporting.evidence import Evidence
from repflow.reporting.fluctuations import FluctuationVerdict
from repflow.reporting.learning import LearningVerdict, learning_card
from repflow.reporting.orders import order_sentence
from repflow.reporting.output import check_directory, finite
from repflow.reporting.words import (
    Card,
    advice_card,
    criticality_card,
    fluctuation_card,
    headline,
    trust_card,
)
from repflow.results import Payload, Result, atomic_write_text, result_schema
from repflow.results.stores import is_store

#: Files of a report, and directories of labelled results beside them.
FILES, STORES = ("report.html", "report.json"), ("flow", "ensemble", "comparison")
#: Checks that continuous integration may ask for, as on the command line.
CHECKS = ("untrusted", "not-critical")


def check_report_directory(path: str | os.PathLike[str], name: str = "out") -> Path:
    """Whether a report can be written into a directory, whole: see :func:`check_directory`.

    Raises
    ------
    OSError
        The directory cannot be written, or something that repflow did not write stands in a part's place.
    """
    directory = check_directory(path, name)
    for file in FILES:
        if (directory / file).is_dir():
            raise OSError(f"{name} {str(directory)!r} cannot be written: {file} is a directory")
    for store in STORES:
        place = directory / f"{store}.zarr"
        if place.exists() and not (place.is_dir() and (is_store(place) or not any(place.iterdir()))):
            raise OSError(f"{name} {str(directory)!r} cannot be written: {place.name} is something else already")
    return directory


@result_schema("report", version=1)
@dataclass(frozen=True, eq=False, repr=False)
class Report(Result):
    """What :func:`repflow.report` found.

    Attributes
    ----------
    network
        The network judged.
    data
        What the inputs are, in words.
    criticality, fluctuation, advice
        The verdicts.
    agreement
        How theory and ensemble compare: ``ratio``, ``p_value``, ``components``, ``largest_z`` and a sentence; empty
        without an ensemble.
    counts
        Couplings of the output distribution on the inputs, order by order, against parameters.
    evidence
        The arrays behind the figures.
    activation
        The activation that the phase diagram is drawn for.
    networks
        Size of the ensemble, 0 without one.
    interrupted
        Whether the ensemble was ended early.
    warnings
        What the computation warned of.
    provenance
        Versions, seed, configuration and timings.
    results
        Labelled results that ``save`` writes beside the page, by name: flow, ensemble, comparison; empty in a report
        read from a file.
    learning
        How much features will move in training; None in a report of an earlier version.
    orders
        Which order of 1/n is enough for the input that fluctuates most; None where there is no series, and in a report
        of an earlier version.
    """

    network: Network
    data: str
    criticality: CriticalityVerdict
    fluctuation: FluctuationVerdict
    advice: Advice
    agreement: dict[str, Any]
    counts: dict[str, int]
    evidence: Evidence
    activation: str | None
    networks: int
    interrupted: bool
    warnings: tuple[str, ...]
    provenance: dict[str, Any]
    results: Mapping[str, Result] = field(default_factory=dict)
    learning: LearningVerdict | None = None
    orders: WhichOrder | None = None

    @property
    def failures(self) -> tuple[str, ...]:
        """Those of the checks ``untrusted`` (r_L > 0.3) and ``not-critical`` that hold."""
        holds = {"untrusted": not self.fluctuation.trusted, "not-critical": not self.criticality.critical}
        return tuple(check for check in CHECKS if holds[check])

    @property
    def headline(self) -> str:
        """The answer in one sentence."""
        return headline(self.criticality, self.fluctuation)[0]

    def cards(self) -> tuple[Card, ...]:
        """The questions of a practitioner and their answers."""
        found = (
            criticality_card(self.criticality),
            fluctuation_card(self.fluctuation, self.networks or None),
            trust_card(self.fluctuation, None if self.orders is None else order_sentence(self.orders)),
            advice_card(self.network, self.advice, self.criticality),
        )
        return found if self.learning is None else (*found, learning_card(self.learning))

    def summary(self) -> str:
        """The verdicts as text."""
        lines = [repr(self.network), self.data, "", self.headline]
        for card in self.cards():
            lines += ["", f"{card.question} {card.answer}", *(f"  {sentence}" for sentence in card.sentences)]
        if self.interrupted:
            lines += ["", f"Interrupted: the ensemble has {self.networks:,} networks, fewer than asked for."]
        if self.agreement:
            lines += ["", self.agreement["sentence"]]
        lines += ["", *(f"note: {warning}" for warning in self.warnings)]
        return "\n".join(lines).rstrip()

    def __repr__(self) -> str:
        return f"Report({self.headline} r_L={self.fluctuation.ratio:.3g}, network={self.network!r})"

    def _repr_html_(self) -> str:
        from repflow.reporting.page import fragment

        return fragment(self)

    def to_html(self) -> str:
        """The page: everything inlined, so that it opens without a network connection."""
        from repflow.reporting.page import page

        return page(self)

    def to_dict(self) -> dict[str, Any]:
        """Verdicts, advice, counts and provenance without the arrays; numbers that are not finite are None."""
        plain = self._meta()
        plain["network"] = repr(self.network)
        return dict(finite(plain))

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write ``report.html``, ``report.json`` and the labelled results into a directory.

        Parameters
        ----------
        path
            The directory, made where it is missing; files of an earlier report are replaced, others are left alone. A
            path that ends in ``.json`` or ``.html`` gets that file only. Every file appears whole, the page last.

        Returns
        -------
        Path
            Where the page is, or the one file.

        Raises
        ------
        OSError
            The path cannot be written.
        """
        path = Path(path)
        if path.suffix == ".json":
            return super().save(path)
        if path.suffix == ".html":
            return atomic_write_text(path, self.to_html())
        check_report_directory(path, "path")
        html = self.to_html()
        for name, result in self.results.items():
            result.save(path / f"{name}.zarr")
        super().save(path / "report.json")
        return atomic_write_text(path / "report.html", html)

    def _meta(self) -> dict[str, Any]:
        return {
            "headline": self.headline,
            "network": self.network.to_dict(),
            "data": self.data,
            "criticality": self.criticality.to_dict(),
            "fluctuation": self.fluctuation.to_dict(),
            "advice": self.advice.to_dict(),
            "learning": None if self.learning is None else self.learning.to_dict(),
            "orders": None if self.orders is None else self.orders.to_dict(),
            "agreement": self.agreement,
            "counts": self.counts,
            "activation": self.activation,
            "networks": self.networks,
            "interrupted": self.interrupted,
            "failures": list(self.failures),
            "warnings": list(self.warnings),
            "provenance": self.provenance,
        }

    def _payload(self) -> Payload:
        return Payload(dict(self.evidence.arrays), self._meta(), dict(self.evidence.dims))

    @classmethod
    def _from_payload(cls, payload: Payload, activations: Mapping[str, Any] | None) -> Self:
        meta = payload.meta
        advice: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in meta["advice"].items()
        }
        return cls(
            network=Network.from_dict(meta["network"], activations),
            data=meta["data"],
            criticality=CriticalityVerdict(**meta["criticality"]),
            fluctuation=FluctuationVerdict(**meta["fluctuation"]),
            advice=Advice(**advice),
            agreement=dict(meta["agreement"]),
            counts=dict(meta["counts"]),
            evidence=Evidence({name: np.asarray(array) for name, array in payload.arrays.items()}, dict(payload.dims)),
            activation=meta["activation"],
            networks=meta["networks"],
            interrupted=meta["interrupted"],
            warnings=tuple(meta["warnings"]),
            provenance=dict(meta["provenance"]),
            learning=None if meta.get("learning") is None else LearningVerdict.from_dict(meta["learning"]),
            orders=None if meta.get("orders") is None else WhichOrder.from_dict(meta["orders"]),
        )
