"""The committed gallery is that of the experiments there are, and every experiment has something to say of itself."""

import json
from pathlib import Path

import pytest

from repflow.experiments import experiments
from repflow.experiments.gallery_captions import caption_of, expected_seconds, page_of

DOCS = Path(__file__).parents[2] / "docs"
GALLERY = DOCS / "gallery"
NAMES = [entry.name for entry in experiments()]
AGAIN = "make gallery"


def test_every_experiment_has_its_entry_and_no_other_has():
    page = (DOCS / "gallery.md").read_text(encoding="utf-8")
    for entry in experiments():
        assert page.count(f"\n\n{entry.claim}\n\n") == 1, f"{entry.name}: the claim in gallery.md is another; {AGAIN}"
        assert page.count(f"(gallery/{entry.name}.png)") == 1
    files = {path.name for path in GALLERY.iterdir()}
    assert files == {f"{name}.{suffix}" for name in NAMES for suffix in ("png", "csv", "json")}


@pytest.mark.parametrize("name", NAMES)
def test_files_are_of_one_result_and_small(name):
    result = json.loads((GALLERY / f"{name}.json").read_text(encoding="utf-8"))
    page = (DOCS / "gallery.md").read_text(encoding="utf-8")
    section = page.split(f"\n## {caption_of(name).title}\n")[1].split("\n## ")[0]
    assert result["experiment"] == name
    assert f" {result['verdict']}**" in section
    for label, value in caption_of(name).numbers(result).items():
        assert f"{label.replace('_', chr(92) + '_')} | {value.replace('_', chr(92) + '_')} |" in section
    assert (GALLERY / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert (GALLERY / f"{name}.png").stat().st_size <= 150_000
    assert (GALLERY / f"{name}.csv").stat().st_size <= 300_000


@pytest.mark.parametrize("name", NAMES)
def test_an_experiment_has_a_caption_whose_numbers_are_there(name):
    caption, page = caption_of(name), page_of(name)
    assert caption.see.endswith(".")
    assert page is not None
    assert (DOCS / page).is_file()
    result = json.loads((GALLERY / f"{name}.json").read_text(encoding="utf-8"))
    assert list(caption.numbers(result)) == list(caption.key)
    assert 0 < expected_seconds(name, "small") < expected_seconds(name, "default") < expected_seconds(name, "large")
