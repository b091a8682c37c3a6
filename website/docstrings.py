"""Docstrings as Markdown: an extension of griffe, which reads them for mkdocstrings.

Docstrings are plain text with reStructuredText's roles (``:func:`repflow.flow```), and with formulas that Markdown
would take for its own: ``K*`` for emphasis, ``<s s>`` for a tag, ``E[zz](l)`` for a link.
"""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

ROLE = re.compile(r":(?:py:)?[a-z]+:`~?([^`]+)`")
CODE = re.compile(r"(``.+?``|`[^`\n]+`)", re.S)
#: NumPy's sections whose text is indented by four below the name that it describes.
ITEMISED = ("Parameters", "Other Parameters", "Attributes", "Returns", "Yields", "Raises", "Warns")


def escaped(text: str) -> str:
    r"""What Markdown would take for markup, taken literally.

    >>> escaped("K* <s s> E[zz](l), a list:")
    'K\\* &lt;s s> E\\[zz](l), a list:'
    """
    text = re.sub(r"(?<![\\*])\*(?!\*)", r"\\*", text)
    text = re.sub(r"<(?=[A-Za-z/!])", "&lt;", text)
    return re.sub(r"\[(?=[^\]\[]*\][(\[])", r"\\[", text)


def prose(text: str, itemised: bool = False) -> str:
    """A paragraph with roles as code and the rest literally, but for the names that an itemised section describes."""
    if itemised:
        parts = re.split(r"(?m)(^\S.*\n?)", text)
        return "".join(part if index % 2 else prose(part) for index, part in enumerate(parts))
    pieces = CODE.split(ROLE.sub(r"`\1`", text))
    return "".join(piece if index % 2 else escaped(piece) for index, piece in enumerate(pieces))


def as_markdown(docstring: str) -> str:
    r"""A docstring that renders as it reads; blocks of code, and the lines of a doctest, are left alone.

    >>> as_markdown("See :func:`repflow.flow` and ``K*``, where K* is free.")
    'See `repflow.flow` and ``K*``, where K\\* is free.'
    """
    paragraphs, base = [], 0
    for paragraph in re.split(r"(\n(?:[ \t]*\n)+)", docstring):
        section = re.match(r"([A-Z][A-Za-z ]+)\n-{3,}", paragraph)
        if section is not None:
            base = 4 if section[1] in ITEMISED else 0
        margin = len(paragraph) - len(paragraph.lstrip(" "))
        code = margin >= base + 4 or paragraph.lstrip().startswith(">>>")
        paragraphs.append(paragraph if code or not paragraph.strip() else prose(paragraph, base > 0))
    return "".join(paragraphs)


class Docstrings(Extension):
    """Gives mkdocstrings every docstring of the package as :func:`as_markdown`."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """As griffe asks: once for each module, class, function and attribute, when it has been read."""
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)
