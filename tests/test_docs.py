"""README.md and docs/: every Python block runs and prints what the page says, every relative link leads somewhere.

A ```python block may be followed by a ```text block with its output. Numbers are compared to a part in a hundred,
since another machine rounds differently; everything else to the letter. Commands in ```console blocks are compared
likewise by a slow test.
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

ROOT = Path(__file__).resolve().parents[1]
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [*(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")), *DOCS]
NUMBER = re.compile(r"(?<![\w.])[-+±]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and the line where it starts."""

    language: str
    text: str
    line: int


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    found, inside, start = [], None, 0
    lines: list[str] = []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        fence = re.fullmatch(r"```(\w*)", line)
        if fence and inside is None:
            inside, start, lines = fence[1], number, []
        elif fence:
            found.append(Block(inside or "", "\n".join(lines), start))
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


@pytest.mark.parametrize("page", [page for page in PAGES if runs(page)], ids=lambda page: page.name)
def test_python_blocks_run_and_print_what_the_page_says(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # A module of its own, since activations are saved under the name of the module that defines them.
    module = types.ModuleType(f"page_{page.stem.replace('-', '_')}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for block, expected in runs(page):
        where = f"{page.name}, line {block.line}"
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(block.text, where, "exec"), module.__dict__)
        if expected is not None:
            assert_same(out.getvalue(), expected, where)


CONSOLE = [(page, block) for page in PAGES for block in blocks(page) if block.language == "console"]


@pytest.mark.slow
@pytest.mark.parametrize(("page", "block"), CONSOLE, ids=[f"{page.stem}:{block.line}" for page, block in CONSOLE])
def test_commands_print_what_the_page_says(page, block, tmp_path):
    command, _, expected = block.text.partition("\n")
    assert command.startswith("$ repflow "), f"{page.name}, line {block.line}"
    start = f"{shlex.quote(sys.executable)} -c 'from repflow.cli import app; app()'"
    shell = f'repflow() {{ {start} "$@"; }}; {command[2:]} 2>&1'
    environment = {**os.environ, "COLUMNS": "80", "TERM": "dumb"}
    done = subprocess.run(
        ["bash", "-c", shell], cwd=tmp_path, env=environment, capture_output=True, encoding="utf-8", check=False
    )
    assert_same(done.stdout, expected, f"{page.name}, line {block.line}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_lead_somewhere(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
    missing = []
    for target in LINK.findall(text):
        if re.match(r"[a-z]+:", target) or target.startswith("#"):
            continue
        if not (page.parent / target.split("#")[0]).exists():
            missing.append(target)
    assert not missing


def test_the_docs_are_reached_from_the_readme():
    """Every page in docs/ is linked from README.md."""
    linked = set(LINK.findall((ROOT / "README.md").read_text(encoding="utf-8")))
    assert {f"docs/{page.name}" for page in DOCS} <= linked
