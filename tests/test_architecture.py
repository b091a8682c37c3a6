"""The page of the floors, the picture on it, and the guide for contributors say what the code and its contracts say."""

from __future__ import annotations

import ast
import re
import tomllib
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "repflow"
PAGE = ROOT / "docs" / "architecture.md"
GUIDE = ROOT / "CONTRIBUTING.md"
PICTURE = ROOT / "docs" / "images" / "architecture.svg"
#: A row of the table of floors: the floor, the room, where it is.
ROW = re.compile(r"^\| (\w+|-) \| \[`(\w+)`\]\(\.\./src/repflow/([^)]+)\) \|", re.M)
#: A link whose text is a name, to a file of Python.
NAMED = re.compile(r"\[`(\w+)`\]\(((?:\.\./)?(?:src|tests)/[^)#]+\.py)\)")


def rooms() -> set[str]:
    """Packages and modules of the top level."""
    packages = {path.parent.name for path in SOURCE.glob("*/__init__.py")}
    return packages | {path.stem for path in SOURCE.glob("*.py") if not path.stem.startswith("__")}


def floors_of_the_contract() -> list[set[str]]:
    """From the top."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = next(c for c in settings["tool"]["importlinter"]["contracts"] if c["id"] == "floors")["layers"]
    return [{name.strip(" ()") for name in layer.split("|")} for layer in layers]


def floors_of_the_page() -> list[tuple[str, set[str]]]:
    """From the top, each with its number."""
    found: dict[str, set[str]] = {}
    for floor, room, _ in ROW.findall(PAGE.read_text(encoding="utf-8")):
        found.setdefault(floor, set()).add(room)
    return list(found.items())


@cache
def defined_in(path: Path) -> frozenset[str]:
    """Names of a module's top level."""
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        names.update(name.id for target in targets if target for name in ast.walk(target) if isinstance(name, ast.Name))
    return frozenset(names)


def test_every_room_is_in_the_contract():
    """Import Linter knows of a module of the top level that no layer names; it does not know of one that is gone."""
    assert set.union(*floors_of_the_contract()) | {"theories"} == rooms()


def test_the_table_has_the_floors_of_the_contract():
    page = floors_of_the_page()
    assert page[-1] == ("-", {"theories"})
    assert [rooms for _, rooms in page[:-1]] == floors_of_the_contract()
    assert [floor for floor, _ in page[:-1]] == ["9", "8", "7", "6", "5", "4", "3", "2", "1b", "1a", "0"]
    for _, room, place in ROW.findall(PAGE.read_text(encoding="utf-8")):
        assert place.removesuffix(".py") == room
        assert (SOURCE / place).exists()


def test_the_picture_has_the_floors_of_the_table():
    """Rooms are the texts of class ``name``, each at the height of its floor."""
    texts = ElementTree.parse(PICTURE).getroot().iter("{http://www.w3.org/2000/svg}text")
    height: dict[int, set[str]] = {}
    label: dict[int, str] = {}
    for text in texts:
        y = round(float(text.attrib["y"]))
        if text.attrib.get("class") == "name" and text.text != "theories":
            height.setdefault(y, set()).add(text.text or "")
        elif text.attrib.get("class") == "floor":
            label[y] = (text.text or "").removeprefix("floor ")
    assert list(zip(label.values(), height.values(), strict=True)) == floors_of_the_page()[:-1]
    assert "theories" in PICTURE.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", [PAGE, GUIDE], ids=lambda page: page.name)
def test_names_are_defined_where_the_page_says(page):
    links = NAMED.findall(page.read_text(encoding="utf-8"))
    assert len(links) > 10
    missing = []
    for name, target in links:
        path = (page.parent / target).resolve()
        if name not in defined_in(path) and name != path.stem:
            missing.append((name, target))
    assert not missing
