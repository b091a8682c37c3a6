"""README.md and docs/: every Python block runs and prints what the page says, every relative link leads somewhere.

A ```python block may be followed by a ```text block with its output. Numbers are compared to a part in a hundred,
since another machine rounds differently; everything else to the letter. A block with title="FILE.py" is also written to
that file, where later blocks and commands find it. Commands in ```console blocks are compared likewise by a slow test.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import re
import shlex
import subprocess
import sys
import types
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer

from repflow.cli import app
from repflow.cli.names import EXPERIMENTS

ROOT = Path(__file__).resolve().parents[1]
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [*(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")), *DOCS]
#: The site's names for files of the root.
ONLY_ON_THE_SITE = {ROOT / "docs" / name for name in ("index.md", "contributing.md", "changes.md")}
NUMBER = re.compile(r"(?<![\w.])[-+±]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, the line where it starts, and its title."""

    language: str
    text: str
    line: int
    title: str | None = None


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    found, inside, start, title = [], None, 0, None
    lines: list[str] = []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        fence = re.fullmatch(r'```(\w*)(?: title="([^"]+)")?', line)
        if fence and inside is None:
            inside, start, title, lines = fence[1], number, fence[2], []
        elif fence:
            found.append(Block(inside or "", "\n".join(lines), start, title))
            inside = None
        elif inside is not None:
            lines.append(line)
    assert inside is None, f"{page.name}: the block of line {start} does not end"
    return found


def runs(page: Path) -> list[tuple[Block, str | None]]:
    """The Python blocks of a page, each with the output that follows it."""
    found, everything = [], [*blocks(page), Block("", "", 0)]
    for block, after in itertools.pairwise(everything):
        if block.language == "python":
            found.append((block, after.text if after.language == "text" else None))
    return found


def name_of(page: Path) -> str:
    """A page's path without its ending, as its tests are called."""
    return page.relative_to(ROOT).with_suffix("").as_posix().removeprefix("docs/")


def write_titled(page: Path, directory: Path) -> None:
    """Write the blocks that are files into the directory."""
    for block in blocks(page):
        if block.title is not None:
            (directory / block.title).write_text(block.text + "\n", encoding="utf-8")


def assert_same(printed: str, expected: str, where: str) -> None:
    """Equal to the letter, white space at line ends aside, and numbers within a part in a hundred."""

    def skeleton(text: str) -> str:
        # Columns are padded to the width of numbers, and rules drawn as wide: neither is part of what is said.
        bare = re.sub(r"[━─]+", "-", NUMBER.sub("#", text))
        return "\n".join(" ".join(line.split()) for line in bare.strip().splitlines())

    printed, expected = (re.sub(r"\([\d.]+ s\)", "(time)", text) for text in (printed, expected))
    assert skeleton(printed) == skeleton(expected), f"{where} prints\n{printed}"
    for found, wanted in zip(NUMBER.findall(printed), NUMBER.findall(expected)):
        a, b = float(found.strip("±")), float(wanted.strip("±"))
        assert a == pytest.approx(b, rel=1e-2, abs=1e-12), f"{where} prints {found} where the page has {wanted}"


@pytest.mark.parametrize("page", [page for page in PAGES if runs(page)], ids=name_of)
def test_python_blocks_run_and_print_what_the_page_says(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    write_titled(page, tmp_path)
    # A module of its own, since activations are saved under the name of the module that defines them.
    module = types.ModuleType(f"page_{re.sub(r'[^a-z]', '_', name_of(page))}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for block in blocks(page):
        if block.title is not None:  # imported afresh, and forgotten with the test
            monkeypatch.delitem(sys.modules, Path(block.title).stem, raising=False)
    for block, expected in runs(page):
        where = f"{page.name}, line {block.line}"
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(block.text, where, "exec"), module.__dict__)
        if expected is not None:
            assert_same(out.getvalue(), expected, where)


CONSOLE = [(page, block) for page in PAGES for block in blocks(page) if block.language == "console"]


@pytest.mark.slow
@pytest.mark.parametrize(("page", "block"), CONSOLE, ids=[f"{name_of(page)}:{block.line}" for page, block in CONSOLE])
def test_commands_print_what_the_page_says(page, block, tmp_path):
    write_titled(page, tmp_path)
    command, _, expected = block.text.partition("\n")
    assert command.startswith("$ repflow "), f"{page.name}, line {block.line}"
    start = f"{shlex.quote(sys.executable)} -c 'from repflow.cli import app; app()'"
    shell = f'repflow() {{ {start} "$@"; }}; {command[2:]} 2>&1'
    environment = {**os.environ, "COLUMNS": "80", "TERM": "dumb"}
    done = subprocess.run(
        ["bash", "-c", shell], cwd=tmp_path, env=environment, capture_output=True, encoding="utf-8", check=False
    )
    assert_same(done.stdout, expected, f"{page.name}, line {block.line}")


def commands(page: Path) -> list[str]:
    """What a page calls ``repflow`` with: in blocks for a shell, after four spaces, and in code within a sentence."""
    found = []
    for block in blocks(page):
        if block.language == "sh":
            found += block.text.replace("\\\n", " ").splitlines()
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
    found += re.findall(r"^ {4}(repflow .*)$", text, flags=re.M)
    found += [" ".join(span.split()) for span in re.findall(r"`(repflow [^`]*)`", text)]
    # A word in capitals stands for something else, but for a directory or a file it can be taken as it is.
    return [
        line
        for line in found
        if line.startswith("repflow ") and not re.search(r"\b(NAME|COMMAND|FUNCTION)\b|\.\.\.", line)
    ]


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=name_of)
def test_commands_have_the_options_that_pages_give_them(page):
    """Each is parsed, not run: slow tests run those in console blocks."""
    root = typer.main.get_command(app)
    for line in commands(page):
        words = shlex.split(line, comments=True)[1:]
        ends = [words.index(word) for word in ("|", ">", "&&", "||", ";") if word in words]
        name, *rest = words[: min(ends, default=len(words))]
        if name.startswith("-"):
            assert name in ("--version", "--help", "--install-completion", "--show-completion"), line
            continue
        command = root.get_command(None, name)
        assert command is not None, line
        if name == "experiment" and rest:
            assert rest[0] in ("list", "run-all", *EXPERIMENTS), line
        if not rest:  # a command's name, in a sentence
            continue
        try:
            command.make_context(name, list(rest))
        except typer.Exit:  # --help
            continue
        except Exception as error:
            if rest[-1].startswith("--") and "requires an argument" in str(error):  # named in a sentence
                continue
            raise AssertionError(f"{name_of(page)}: {line}: {error}") from error


def links(page: Path) -> list[str]:
    """The targets of a page's links outside of blocks, those into the network and within the page left out."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
    return [target for target in LINK.findall(text) if not re.match(r"[a-z]+:|#", target)]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_relative_links_lead_somewhere(page):
    missing = [target for target in links(page) if not (page.parent / target.split("#")[0]).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_prose_has_nothing_that_markdown_takes_for_a_tag(page):
    """<s s> would be a tag that no browser knows, and vanish; expectations in prose have angle brackets of their own."""
    text = re.sub(r"^```.*?^```|^ {4,}.*?$", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
    text = re.sub(r"`[^`]*`", "", text)
    assert re.findall(r"<[A-Za-z][^>]*>", text) == []


def test_every_page_is_reached_from_the_readme():
    """By links alone, so that they are found without the site's navigation."""
    reached, ahead = set(), [ROOT / "README.md"]
    while ahead:
        page = ahead.pop()
        if page in reached or page.suffix != ".md" or not page.exists():
            continue
        reached.add(page)
        ahead += [(page.parent / target.split("#")[0]).resolve() for target in links(page)]
    assert set(DOCS) <= reached | ONLY_ON_THE_SITE


def test_the_readme_links_where_to_begin():
    linked = {target.split("#")[0] for target in links(ROOT / "README.md")}
    assert {f"docs/{name}.md" for name in ("start-practitioner", "start-theorist", "tour", "limits")} <= linked
