"""The documentation site: its navigation, its build without a warning, its links, and that it needs no network."""

from __future__ import annotations

import doctest
import re
import shutil
from pathlib import Path

import pytest
import website.docstrings
import website.links
import yaml
from website.check import problems
from website.sources import linked, write_sources

ROOT = Path(__file__).resolve().parents[1]
CONFIGURATION = ROOT / "mkdocs.yml"


def navigation(entry) -> list[str]:
    """The pages below an entry of the navigation, in order."""
    if isinstance(entry, str):
        return [entry]
    children = entry if isinstance(entry, list) else list(entry.values())
    return [page for child in children for page in navigation(child)]


def test_the_navigation_names_every_page_once():
    named = navigation(yaml.safe_load(CONFIGURATION.read_text(encoding="utf-8"))["nav"])
    pages = {page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")}
    assert len(named) == len(set(named))
    assert set(named) == pages


def test_public_names_are_in_the_reference():
    """Each name of repflow.__all__ is on a page of docs/api, by the path of the object that it is."""
    import repflow

    described = "\n".join(page.read_text(encoding="utf-8") for page in sorted((ROOT / "docs" / "api").glob("*.md")))
    paths = {line.removeprefix("::: ") for line in described.splitlines() if line.startswith("::: ")}
    for name in repflow.__all__:
        value = getattr(repflow, name)
        if name != "theories":
            assert f"{value.__module__}.{value.__qualname__}" in paths, name
    for name in repflow.theories.__all__:
        value = getattr(repflow.theories, name)
        assert f"{value.__module__}.{value.__qualname__}" in paths, name


@pytest.mark.parametrize("module", [website.links, website.docstrings], ids=lambda module: module.__name__)
def test_examples_of_the_site_tools(module):
    outcome = doctest.testmod(module)
    assert outcome.attempted > 0
    assert outcome.failed == 0


def test_docstrings_keep_code_and_lose_markup():
    text = "K* is <z z>.\n\n    K* <s s>\n\nParameters\n----------\n*args\n    See :func:`repflow.flow`, K*.\n\n        K* *\n"
    expected = "K\\* is &lt;z z>.\n\n    K* <s s>\n\nParameters\n----------\n*args\n    See `repflow.flow`, K\\*.\n\n        K* *\n"
    assert website.docstrings.as_markdown(text) == expected


@pytest.fixture
def site(tmp_path) -> Path:
    """A site of two pages that is in order."""
    (tmp_path / "a.html").write_text(
        '<h1 id="top">A</h1><a href="sub/b.html#end">b</a><a href="https://arxiv.org">x</a>'
    )
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.html").write_text('<p id="end"><a href="../a.html">a</a><img src="../c.png"></p>')
    (tmp_path / "c.png").write_bytes(b"")
    return tmp_path


@pytest.mark.parametrize(
    ("markup", "complaint"),
    [
        ('<a href="nowhere.html">x</a>', "no such page: nowhere.html"),
        ('<a href="sub/b.html#start">x</a>', "no such place on the page: sub/b.html#start"),
        ('<a href="#below">x</a>', "no such place on the page: #below"),
        ('<img src="d.png">', "no such page: d.png"),
        ('<script src="https://unpkg.com/x.js"></script>', "fetches https://unpkg.com/x.js"),
        ('<link rel="stylesheet" href="//fonts.example/x.css">', "fetches //fonts.example/x.css"),
        ('<a href="../outside.html">x</a>', "no such page: ../outside.html"),
    ],
)
def test_the_check_finds_what_is_wrong(site, markup, complaint):
    assert problems(site) == []
    (site / "a.html").write_text(markup + '<p id="top">', encoding="utf-8")
    assert problems(site) == [f"a.html: {complaint}"]


def test_style_sheets_and_empty_sites_are_found(site, tmp_path):
    (site / "x.css").write_text("p { background: url('https://example.org/x.png') }", encoding="utf-8")
    assert problems(site) == ["x.css: fetches from the network"]
    assert problems(tmp_path / "sub" / "none")[0].endswith("holds no page")


@pytest.mark.slow
def test_source_pages_have_what_pages_link_to(tmp_path):
    paths = linked(ROOT)
    assert "src/repflow/recursion/forward.py" in paths
    assert write_sources(ROOT, tmp_path) == len(paths)
    page = (tmp_path / "source" / "src" / "repflow" / "recursion" / "forward.py.html").read_text(encoding="utf-8")
    assert "next_layer" in page
    assert "http" not in page


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> tuple[Path, list[str]]:
    """The site, and the warnings of its build: in a copy, so that it disturbs no site that someone reads."""
    from website.__main__ import build

    root = tmp_path_factory.mktemp("repository")
    shutil.copytree(ROOT / "docs", root / "docs")
    for name in ("mkdocs.yml", "README.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        shutil.copy(ROOT / name, root / name)
    for name in ("website", *(entry.rstrip("/") for entry in website.links.SOURCES)):
        if (ROOT / name).exists():
            (root / name).symlink_to(ROOT / name)
    return root / "site", build(root)


@pytest.mark.slow
def test_the_site_builds_without_a_warning(built):
    site, warnings = built
    assert warnings == []
    formula = (site / "start-theorist.html").read_text(encoding="utf-8")
    assert 'class="arithmatex"' in formula
    assert re.search(r'src="(\./)?assets/katex/katex\.min\.js"', formula)
    assert 'id="repflow.recursion.flow.flow"' in (site / "api" / "recursion.html").read_text(encoding="utf-8")


#: Opens the search as a reader would, types a word, and writes what it finds into the document.
SEARCH = """<script>
addEventListener("load", () => setTimeout(() => {
  document.querySelector(".md-search__button").click();
  setTimeout(() => {
    const roots = [...document.querySelectorAll("*")].map((element) => element.shadowRoot);
    const root = roots.find((candidate) => candidate && candidate.querySelector("input"));
    const input = root.querySelector("input");
    Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set.call(input, "vertex");
    input.dispatchEvent(new Event("input", { bubbles: true, composed: true }));
    setTimeout(() => {
      const found = [...root.querySelectorAll("a[href]")].map((link) => link.getAttribute("href").split("#")[0]);
      document.body.dataset.found = found.join(" ");
    }, 4000);
  }, 1500);
}, 1500));
</script></body>"""


@pytest.mark.slow
@pytest.mark.browser
def test_formulas_and_search_work_from_a_file(built, browser):
    site, _ = built
    with_formulas = [file for file in sorted(site.rglob("*.html")) if 'class="arithmatex"' in file.read_text("utf-8")]
    assert {"forward-theory.html", "start-theorist.html"} <= {file.name for file in with_formulas}
    for file in with_formulas:
        page = browser.render(file)
        assert 'class="katex"' in page.dom, file
        assert "katex-error" not in page.dom, file
        assert page.console == [], file
    text = (site / "index.html").read_text(encoding="utf-8")
    (site / "probe.html").write_text(text.replace("</body>", SEARCH), encoding="utf-8")
    found = re.search(r'data-found="([^"]*)"', browser.render(site / "probe.html").dom)
    assert found is not None, "the search does not open"
    assert "api/recursion.html" in found[1]
