"""Figures as PNG files, for documents that cannot draw them; by Kaleido, which drives a Chromium without a network."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from repflow.experiments.runner import FILES
from repflow.extras import extra

#: The file beside ``figure.html``.
IMAGE = "figure.png"
# Colours of an image: lines, text and their smooth edges need no more, and it is a third as large.
_COLOURS = 128
# CSS pixels a figure is wide, and pixels of the image for each.
_WIDTH, _SCALE = 900, 1.5
_HEIGHT = 380


def write_images(directories: Sequence[Path]) -> None:
    """Draw the ``figure.json`` of each directory into ``figure.png``, on white, all by one browser.

    Raises
    ------
    MissingExtraError
        Kaleido is not installed.
    OSError
        No Chromium was found, or it failed; images drawn before are left as they were.
    """
    if not directories:
        return
    kaleido = extra("gallery", "kaleido", "Figures as PNG files")
    extra("gallery", "PIL", "Figures as PNG files", ["Image"])
    drawn = []
    for directory in directories:
        figure = json.loads((directory / FILES["data"]).read_text(encoding="utf-8"))
        layout = figure.get("layout", {})
        figure["layout"] = {**layout, "paper_bgcolor": "#FFFFFF", "plot_bgcolor": "#FFFFFF"}
        size = {"width": _WIDTH, "height": layout.get("height") or _HEIGHT, "scale": _SCALE}
        drawn.append({"fig": figure, "path": str(directory / f".{IMAGE}.part.png"), "opts": {**size, "format": "png"}})
    try:
        # Without mathjax=False a script is fetched from the network.
        kaleido.write_fig_from_object_sync(drawn, kopts={"mathjax": False})
        for directory, entry in zip(directories, drawn, strict=True):
            _fewer_colours(Path(str(entry["path"])))
            os.replace(str(entry["path"]), directory / IMAGE)
    except Exception as error:  # Kaleido raises its own kinds and those of the browser's driver
        why = " ".join(str(error).split()) or repr(error)
        raise OSError(f"figures cannot be drawn as PNG files: {why}") from error
    finally:
        for entry in drawn:
            Path(str(entry["path"])).unlink(missing_ok=True)


def _fewer_colours(path: Path) -> None:
    from PIL import Image

    with Image.open(path) as image:
        small = image.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE)
    small.save(path, format="PNG", optimize=True)
