"""Links out of ``docs/`` into the repository, made to work on the site: a Markdown extension for zensical and MkDocs.

Pages are read on the site and in the repository. In the repository ``../src/repflow/build.py`` is a link to a file; on
the site, which has only what is in ``docs/``, it has to lead to the page that :mod:`website.sources` makes of that
file. README, CONTRIBUTING and CHANGELOG are pages of the site under other names, and include their own text, whose
links start at the root.
"""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, Any

from markdown.extensions import Extension
from markdown.treeprocessors import Treeprocessor

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

#: Files of the root that are pages of the site.
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changes.md",
    "CITATION.cff": "citing.md",
}
#: What a link from a page may lead to outside of docs/, as seen from the root.
SOURCES = (
    "src/",
    "tests/",
    "examples/",
    "notebooks/",
    "benchmarks/",
    ".ci/",
    "LICENSE",
    "Makefile",
    "pyproject.toml",
    "constraints.txt",
)
#: Where the site has the pages of source files.
FOLDER = "source"

OUTWARD = re.compile(r"(?P<up>(?:\.\./)*)(?P<path>[^#?]*)(?P<anchor>#.*)?")


def source_page(path: str) -> str:
    """The place on the site, from its root, of the page of a source file or folder given from the repository's root.

    >>> source_page("src/repflow/build.py"), source_page("src/repflow/recursion/")
    ('source/src/repflow/build.py.html', 'source/src/repflow/recursion/index.html')
    """
    path = path.rstrip("/")
    last = posixpath.basename(path)
    folder = "." not in last and last not in ("LICENSE", "Makefile")
    return f"{FOLDER}/{path}/index.html" if folder else f"{FOLDER}/{path}.html"


def on_site(target: str) -> str:
    """A link as the site needs it, given as a page of ``docs/`` or of the root has it; others come back unchanged.

    >>> on_site("../src/repflow/build.py"), on_site("../../CONTRIBUTING.md#layout"), on_site("docs/limits.md")
    ('source/src/repflow/build.py.html', '../contributing.md#layout', 'limits.md')
    >>> on_site("https://arxiv.org"), on_site("limits.md#numerics")
    ('https://arxiv.org', 'limits.md#numerics')
    """
    found = OUTWARD.fullmatch(target)
    if re.match(r"[a-z]+:", target) or found is None:
        return target
    up, path, anchor = found["up"], found["path"], found["anchor"] or ""
    # A page at depth d is d + 1 folders below the root of the repository, and d below that of the site. Text of the
    # root's own files has no "..", and its pages lie at depth 0.
    inward = up.removeprefix("../")
    if path.startswith("docs/"):
        return inward + path.removeprefix("docs/") + anchor
    if path in PAGES:
        return inward + PAGES[path] + anchor
    if path.startswith(SOURCES):
        return inward + source_page(path) + anchor
    return target


class RepositoryLinks(Treeprocessor):
    """Rewrites the targets of links and images."""

    def run(self, root: Element) -> None:
        """Every ``href`` and ``src`` of the page."""
        for element in root.iter():
            for attribute in ("href", "src"):
                if attribute in element.attrib:
                    element.set(attribute, on_site(element.attrib[attribute]))


class RepositoryLinksExtension(Extension):
    """Registers :class:`RepositoryLinks` ahead of the generator's own treatment of links."""

    def extendMarkdown(self, md: Any) -> None:
        """As Python-Markdown asks."""
        # Inline patterns, which make the links, run at 20; MkDocs resolves them at 0.
        md.treeprocessors.register(RepositoryLinks(md), "repository-links", 15)


def makeExtension(**settings: Any) -> RepositoryLinksExtension:
    """The entry point that Python-Markdown looks for."""
    return RepositoryLinksExtension(**settings)
