"""What the pages look like, against pictures kept here.

Only the coarse layout is compared, so that another machine's fonts and another version of the browser pass: how much of
each block of 64 pixels is the white of a panel, and how much is ink, against the blocks at its place and beside it.
``REPFLOW_UPDATE_SCREENSHOTS=1`` renews the pictures; look at them before keeping them.
"""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.reporting.pages import NAMES, framed, write_pages

pytestmark = pytest.mark.browser

PICTURES = Path(__file__).with_name("screenshots")
SIZES = {"wide": (1280, 1600), "narrow": (390, 1600)}
BLOCK = 64
#: By how much the shares of a block may differ, and the share of blocks that may differ by more. Text that has moved by
#: 40 pixels makes up to 0.10 of the blocks differ, a page without its style 0.19 at least.
WITHIN, SHARE = 0.25, 0.15
# The pictures are kept at a quarter of the size.
_KEPT = 4


@pytest.fixture(scope="module")
def pages(small_report, tmp_path_factory):
    return write_pages(tmp_path_factory.mktemp("pages"), small_report)


def photograph(browser, page, size):
    """What a page looks like, at a quarter of its size."""
    width, height = SIZES[size]
    target = page.with_name(f"{page.stem}-{size}.png")
    browser.screenshot(framed(page, width, height), target, width=max(width, 500), height=height)
    with Image.open(target) as image:
        seen = image.convert("RGB").crop((0, 0, width, height))
    return seen.resize((width // _KEPT, height // _KEPT), Image.Resampling.BOX)


def blocks(image):
    """Shares of panel white and of ink in each block, shape (rows, columns, 2)."""
    pixels, side = np.asarray(image, dtype=np.float64), BLOCK // _KEPT
    rows, columns = pixels.shape[0] // side, pixels.shape[1] // side
    pixels = pixels[: rows * side, : columns * side]
    marks = np.stack([pixels.min(axis=2) >= 252, pixels.mean(axis=2) < 225], axis=-1)
    return marks.reshape(rows, side, columns, side, 2).mean(axis=(1, 3))


def difference(image, reference):
    """Share of blocks that are like no block at their place or beside it in the reference."""
    ours, theirs = blocks(image), blocks(reference)
    rows, columns, _ = ours.shape
    padded = np.pad(theirs, ((1, 1), (1, 1), (0, 0)), mode="edge")
    around = [padded[i : i + rows, j : j + columns] for i in range(3) for j in range(3)]
    distance = np.min([np.abs(ours - other).max(axis=2) for other in around], axis=0)
    return float((distance > WITHIN).mean())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", NAMES)
def test_a_page_looks_as_it_did(browser, pages, name, size):
    seen = photograph(browser, pages[name], size)
    kept = PICTURES / f"{name}-{size}.png"
    if os.environ.get("REPFLOW_UPDATE_SCREENSHOTS") == "1":
        seen.quantize(64, dither=Image.Dither.NONE).save(kept, optimize=True)
    with Image.open(kept) as image:
        share = difference(seen, image.convert("RGB"))
    assert share <= SHARE, f"{share:.0%} of {name}, {size}, is not as in {kept}; REPFLOW_UPDATE_SCREENSHOTS=1 renews it"


@pytest.mark.parametrize(
    ("name", "size"), [("report", "wide"), ("plan", "narrow"), ("experiment", "wide"), ("gallery", "narrow")]
)
def test_a_page_without_its_style_is_noticed(browser, pages, name, size):
    page = pages[name]
    text = page.read_text(encoding="utf-8")
    start, end = text.index("<style>"), text.index("</style>")
    bare = page.with_name(f"{name}-bare.html")
    bare.write_text(text[:start] + text[end + len("</style>") :], encoding="utf-8")
    with Image.open(PICTURES / f"{name}-{size}.png") as image:
        share = difference(photograph(browser, bare, size), image.convert("RGB"))
    assert share > SHARE, f"without its style {share:.0%} of {name}, {size}, differs"
