"""One design for all pages, seen in a browser: nothing outside is asked for, all text can be read, nothing is cut off."""

import pytest
from tests.reporting.pages import NAMES, look, write_pages

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def pages(small_report, tmp_path_factory):
    return write_pages(tmp_path_factory.mktemp("pages"), small_report)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("width", "dark"), [(390, False), (1280, True)])
def test_a_page_can_be_read(browser, pages, name, width, dark):
    seen = look(browser, pages[name], width, dark)
    assert seen.width == width
    assert seen.scroll_width <= width, "the page is wider than its window"
    assert [request for request in seen.requests if not request.startswith(("file:", "data:", "blob:"))] == []
    assert seen.contrast, "no text was found"
    assert [entry for entry in seen.contrast if entry[0] < 4.5] == []


def test_what_is_wrong_is_noticed(browser, pages):
    page = pages["experiment"]
    broken = page.with_name("broken.html")
    style = "<style>.claim{color:#bbb}.keys{min-width:2000px}</style></head>"
    broken.write_text(page.read_text(encoding="utf-8").replace("</head>", style), encoding="utf-8")
    seen = look(browser, broken, 390)
    assert seen.scroll_width > 390
    assert seen.contrast[0][0] < 4.5


def test_a_figure_gives_its_data(browser, pages):
    rows = look(browser, pages["experiment"], 1280).csv["figure"].splitlines()
    assert rows[0] == "trace,x,y,value,error_y"
    assert rows[1].startswith('"theory, order 1/n",8,0.625')
    points = [row.split(",") for row in rows if row.startswith("networks")]
    assert [float(row[1]) for row in points] == [8, 16, 32, 64]
    assert [float(row[2]) for row in points] == pytest.approx([0.65, 0.325, 0.1625, 0.08125])
    assert [float(row[4]) for row in points] == pytest.approx([0.0375, 0.01875, 0.009375, 0.0046875])


def test_a_heat_map_gives_its_data(browser, pages):
    rows = look(browser, pages["report"], 1280).csv["phase"].splitlines()
    cells = [row.split(",") for row in rows if row.startswith("heatmap")]
    places = {(cell[1], cell[2]) for cell in cells}
    assert len(places) == len(cells) == len({x for x, _ in places}) * len({y for _, y in places}) > 100
    assert len({float(cell[3]) for cell in cells}) > len(cells) / 2
