"""Pages that open offline, draw every kind of figure, and follow the reader's light or dark."""

import json
import re
from importlib.metadata import version
from pathlib import Path

import numpy as np
import plotly
import pytest

from repflow import figures
from repflow.figures import figure_html, figure_page, histogram, lines, phase_diagram, plotly_js, table_html, z_scores
from repflow.figures.theme import DARK, LIGHT


def some_figures():
    plane = {"x_title": "C_b", "y_title": "C_W", "value_title": "chi"}
    return {
        "lines": lines(
            [1, 2, 3], {"order 0": [1, 2, 3]}, {"ens": ([1, 2, 3], [0.1, 0.1, 0.1])}, x_title="l", y_title="K"
        ),
        "scores": z_scores([1, 1, 2], {"z": [0, 1, -6]}, x_title="layer"),
        "phase": phase_diagram([0, 1], [0, 1], [[0, 1], [1, 2]], **plane, level=1, marked={"net": (0.5, 0.5)}),
        "output": histogram([0, 1, 2], [3, 4], {"Gaussian": ([0, 2], [0.5, 0.5])}, x_title="z"),
    }


def one_figure():
    return lines([1, 2], {"a": [1, 2]}, x_title="x", y_title="y")


class TestBundle:
    def test_is_of_the_version_that_plotly_py_brings(self):
        from plotly.offline import get_plotlyjs

        pattern = re.compile(r"plotly\.js (?:\(cartesian - minified\) )?v(\d+\.\d+\.\d+)")
        ours, theirs = pattern.search(plotly_js()[:200]).group(1), pattern.search(get_plotlyjs()[:200]).group(1)
        assert ours == theirs, f"plotly {version('plotly')} brings {theirs}; vendor that bundle"

    def test_can_stand_in_a_script_element(self):
        assert "</script" not in plotly_js()
        assert "<!--" not in plotly_js()

    def test_has_its_licence_beside_it(self):
        vendor = Path(figures.__file__).parent / "vendor"
        assert "MIT" in (vendor / "LICENSE.plotly.js").read_text()


class TestFragment:
    def test_has_no_library_and_the_right_buttons(self):
        html = figure_html(one_figure(), "kernel", label='K "against" depth')
        assert len(html) < 20_000
        assert 'id="kernel"' in html
        assert "K &quot;against&quot; depth" in html
        config = json.loads(re.search(r"(\{[^{}]*\"toImageButtonOptions\".*?\})\s*\)", html, re.S).group(1))
        assert config["showSendToCloud"] is False
        assert config["toImageButtonOptions"] == {"format": "svg", "filename": "kernel"}
        assert config["responsive"] is True

    def test_text_cannot_leave_the_script(self):
        figure = lines([1, 2], {"</script><b>": [1, 2]}, x_title="x", y_title="y")
        assert "</script><b>" not in figure_html(figure, "a")

    @pytest.mark.parametrize("div_id", ["", "1a", "a b", 'a"b', "a<b"])
    def test_ids(self, div_id):
        with pytest.raises(ValueError, match="div_id must be"):
            figure_html(one_figure(), div_id)


class TestPage:
    def test_refers_to_nothing_outside(self):
        page = figure_page(some_figures(), "title").replace(plotly_js(), "")
        assert not re.search(r"""(src|href)\s*=\s*["'](?!data:)""", page)
        assert "http" not in page

    def test_one_figure_or_several(self):
        assert 'id="figure"' in figure_page(one_figure(), "t")
        page = figure_page(some_figures(), "t")
        for name in some_figures():
            assert f'id="{name}"' in page

    def test_title_and_caption_are_escaped(self):
        page = figure_page(one_figure(), "a < b", "c & d", table_html(["n"], [[1]]))
        assert "<title>a &lt; b</title>" in page
        assert "<p>c &amp; d</p>" in page
        assert '<table class="rf-table">' in page


def rgb(colour):
    return "rgb({}, {}, {})".format(*(int(colour[index : index + 2], 16) for index in (1, 3, 5)))


@pytest.mark.browser
@pytest.mark.parametrize(
    ("dark", "scheme", "width"), [(False, LIGHT, 1400), (True, DARK, 500)], ids=["light", "dark, phone"]
)
def test_every_kind_of_figure_is_drawn_in_the_readers_colours(browser, tmp_path, dark, scheme, width):
    page = tmp_path / "page.html"
    page.write_text(figure_page(some_figures(), "title", "caption"), encoding="utf-8")
    rendered = browser.render(page, width=width, dark=dark)
    assert rendered.console == []
    assert len(re.findall(r'class="main-svg"', rendered.dom)) >= len(some_figures())
    for kind, mark in {
        "a line": r'<path class="js-line"',
        "an error bar": r'<path class="yerror"',
        "a heat map": r'<g class="hm">.*?<image',
        "a contour": r'class="contourlines"|class="contourlevel"',
        "a bar": r'<g class="trace bars"',
    }.items():
        assert re.search(mark, rendered.dom, re.S), f"{kind} is missing"
    backgrounds = re.findall(r'class="main-svg"[^>]*style="background: (rgb\([^)]*\))', rendered.dom)
    assert set(backgrounds) == {rgb(scheme["paper"])}
    assert len(backgrounds) == len(some_figures())
    assert rgb(scheme["ink"]) in rendered.dom
    other = LIGHT if dark else DARK
    assert rgb(other["ink"]) not in rendered.dom


@pytest.mark.browser
def test_every_kind_of_figure_exports_to_svg(browser, tmp_path):
    # What the camera button does, without the download.
    script = """<script>
Promise.all([...document.querySelectorAll(".js-plotly-plot")].map(plot =>
    Plotly.toImage(plot, plot._context.toImageButtonOptions).then(url => plot.id + ":" + url.slice(0, 18))
)).then(all => { document.title = "done " + all.sort().join(" "); });
</script></body>"""
    page = tmp_path / "page.html"
    page.write_text(figure_page(some_figures(), "title").replace("</body>", script), encoding="utf-8")
    rendered = browser.render(page)
    expected = " ".join(f"{name}:data:image/svg+xml" for name in sorted(some_figures()))
    assert f"<title>done {expected}</title>" in rendered.dom
    assert rendered.console == []


def test_plotly_py_draws_what_the_bundle_draws():
    # The cartesian bundle lacks the other trace kinds; a figure of this room must not use them.
    kinds = {trace.type for figure in some_figures().values() for trace in figure.data}
    assert kinds <= {"scatter", "bar", "heatmap", "contour", "histogram"}
    assert np.all([isinstance(figure, plotly.graph_objects.Figure) for figure in some_figures().values()])


def test_titles_of_panels_stand_below_the_buttons():
    from plotly.subplots import make_subplots

    panels = make_subplots(1, 2, subplot_titles=("left", "right"))
    panels.update_layout(margin_t=30, height=400)
    html = figure_html(panels, "panels")
    assert '"margin":{"t":64}' in html
    assert "height:434px" in html.replace(" ", "")
    assert panels.layout.height == 400  # the figure itself is as it was
    assert '"margin":{"t":64}' not in figure_html(one_figure(), "one")


def test_pages_share_one_style():
    from repflow.figures import page_environment

    base = page_environment().get_template("base.css").render()
    for template in ("report.html.j2", "plan.html.j2", "experiment.html.j2", "gallery.html.j2"):
        source = page_environment("repflow.reporting").loader.get_source(
            page_environment("repflow.reporting"), template
        )[0]
        assert source.startswith('{% extends "base.html.j2" %}')
    assert base in figure_page(one_figure(), "title")
