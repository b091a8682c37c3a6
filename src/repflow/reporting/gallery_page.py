"""The index of a gallery: every experiment with its verdict, its key numbers and where the rest of it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from repflow.reporting.experiment_page import TONES
from repflow.reporting.page import environment


def gallery_page(gallery: Mapping[str, Any]) -> str:
    """The page; it refers to the files of the experiments beside it and to nothing else.

    Parameters
    ----------
    gallery
        What ``gallery.json`` holds.
    """
    from repflow.figures import render_page

    return render_page(
        environment(),
        "gallery.html.j2",
        plots=False,
        gallery=gallery,
        entries=gallery["experiments"],
        counts=counted(gallery),
        tones={**TONES, "not run": "note"},
    )


def counted(gallery: Mapping[str, Any]) -> dict[str, int]:
    """How many experiments have each verdict; ``"not run"`` is one of them. Those of none are left out."""
    verdicts = [entry["verdict"] or "not run" for entry in gallery["experiments"]]
    return {kind: verdicts.count(kind) for kind in (*TONES, "not run") if kind in verdicts}
