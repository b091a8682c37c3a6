"""In a browser: every figure is drawn, in light and in dark, wide and narrow, and the console stays empty."""

import pytest

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def page(small_report, tmp_path_factory):
    return small_report.save(tmp_path_factory.mktemp("page") / "report.html")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1400, 500])
def test_plots_render_without_a_console_message(browser, page, width, dark):
    rendered = browser.render(page, width=width, dark=dark)
    assert rendered.console == []
    figures = rendered.dom.count('class="rf-figure"')
    assert figures == 11
    # Plotly draws each figure in several layers; the first of them carries this class and nothing else does.
    assert rendered.dom.count('class="main-svg"') >= figures
    assert rendered.dom.count('class="modebar-container"') == figures


def test_a_broken_page_is_noticed(browser, page, tmp_path):
    broken = tmp_path / "broken.html"
    broken.write_text(page.read_text().replace("Plotly.newPlot(", "Plotly.noSuchThing("))
    rendered = browser.render(broken)
    assert rendered.console
    assert 'class="main-svg"' not in rendered.dom
