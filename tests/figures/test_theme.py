"""Colours that can be seen on both grounds, and told apart."""

import itertools
import subprocess
import sys

import pytest

from repflow.figures.theme import BLUE, DARK, GREEN, LIGHT, PURPLE, VERMILLION, new_figure, theme_css


def luminance(colour):
    """Relative luminance of WCAG 2."""
    channels = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
class TestContrast:
    def test_text(self, scheme):
        assert contrast(scheme["ink"], scheme["paper"]) >= 7
        assert contrast(scheme["muted"], scheme["paper"]) >= 4.5

    @pytest.mark.parametrize("colour", [BLUE, VERMILLION, GREEN, PURPLE])
    def test_lines(self, scheme, colour):
        assert contrast(colour, scheme["paper"]) >= 3


def test_colours_differ():
    for one, other in itertools.combinations([BLUE, VERMILLION, GREEN, PURPLE], 2):
        assert one != other


def test_css_has_both_schemes():
    css = theme_css()
    light, dark = css.split("@media (prefers-color-scheme:dark)")
    for name in LIGHT:
        assert f"--rf-{name}:{LIGHT[name]}" in light
        assert f"--rf-{name}:{DARK[name]}" in dark


def test_new_figure_has_titles_and_the_template():
    figure = new_figure("x", "y", "title", log_y=True)
    assert figure.layout.title.text == "title"
    assert figure.layout.yaxis.type == "log"
    assert figure.layout.template.layout.colorway[0] == BLUE


def test_plotly_is_imported_with_the_first_figure_only():
    code = "import sys, repflow.figures; assert 'plotly' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
