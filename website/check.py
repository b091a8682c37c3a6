"""Checks of the built site: links and anchors that lead somewhere, and nothing that is fetched from elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

#: Elements that make a browser fetch what they name. A link (``a``) is followed by a person only.
FETCHING = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
    "embed": "src",
}
#: Relations of ``link`` that are not fetched.
UNFETCHED = {"canonical", "prev", "next", "alternate"}


@dataclass
class Page(HTMLParser):
    """What one page links to, what it fetches, and the places in it that can be linked to."""

    links: list[str] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """As the parser asks, for each element."""
        given = {name: value for name, value in attrs if value is not None}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag == "link" and "href" in given:
            (self.links if given.get("rel") in UNFETCHED else self.fetched).append(given["href"])
        elif tag in FETCHING and FETCHING[tag] in given:
            self.fetched.append(given[FETCHING[tag]])


def read(file: Path) -> Page:
    """Parse one page."""
    page = Page()
    page.feed(file.read_text(encoding="utf-8"))
    return page


def problems(site: Path) -> list[str]:
    """Each link that leads nowhere and each asset from the network, one line each; none for a sound site."""
    site = site.resolve()
    pages = {file: read(file) for file in sorted(site.rglob("*.html"))}
    if not pages:
        return [f"{site} holds no page"]
    found = []
    for file, page in pages.items():
        name = file.relative_to(site).as_posix()
        if name == "404.html":  # served for any address, so that its links can't be relative
            continue
        found += [f"{name}: fetches {address}" for address in page.fetched if urlsplit(address).netloc]
        for link in [*page.links, *page.fetched]:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            if target.is_dir() and parts.path in (".", "./", ".."):
                target = target / "index.html"
            if not target.is_file() or not target.is_relative_to(site):
                found.append(f"{name}: no such page: {link}")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
                found.append(f"{name}: no such place on the page: {link}")
    for sheet in sorted(site.rglob("*.css")):
        if "url(http" in sheet.read_text(encoding="utf-8").replace('"', "").replace("'", ""):
            found.append(f"{sheet.relative_to(site).as_posix()}: fetches from the network")
    return found
