"""The four kinds of page, made small, and what a browser says of them."""

import html
import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

import repflow as rf
from repflow.figures import lines
from repflow.reporting.experiment_page import Caption, experiment_page
from repflow.reporting.gallery_page import gallery_page
from repflow.reporting.plan_page import plan_page

NAMES = ("report", "plan", "experiment", "gallery")
RULE = """Draw networks and fit a line to what they do, on ``64`` inputs.

    Rule: "agrees" where the 95% interval of the slope lies within [-1.05, -0.95], else "disagrees".
"""


def write_pages(directory: Path, report: rf.Report) -> dict[str, Path]:
    """Write one page of each kind; the path of each by its name."""
    texts = {
        "report": report.to_html(),
        "plan": plan_page(_plan(), "model.py:make", "twenty rows"),
        "experiment": _experiment(),
        "gallery": gallery_page(_gallery()),
    }
    _picture(directory / "slope.png")
    paths = {}
    for name, text in texts.items():
        paths[name] = directory / f"{name}.html"
        paths[name].write_text(text, encoding="utf-8")
    return paths


def _plan():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 3))
    return rf.tune(model, torch.randn(20, 8, generator=torch.Generator().manual_seed(0)))


def _experiment() -> str:
    width = np.array([8.0, 16.0, 32.0, 64.0])
    figure = lines(
        width,
        {"theory, order 1/n": 5 / width},
        {"networks": (5.2 / width, 0.3 / width)},
        x_title="width n",
        y_title="excess kurtosis",
        log_x=True,
        log_y=True,
    )
    result = {
        "experiment": "slope",
        "claim": "The excess kurtosis of an output falls as the inverse of the width, for every activation that is here.",
        "verdict": "agrees",
        "numbers": {
            "slope": -0.98,
            "interval": [-1.01, -0.955],
            "C_W": 1.04,
            "parts": {"fit": "agrees", "p_value": 0.4},
        },
        "rule": RULE,
        "configuration": {"activation": "tanh", "widths": [8, 16, 32, 64]},
        "size": "small",
        "seed": 3,
        "seconds": 1.5,
        "version": "0.1.0",
    }
    table = "width,kurtosis\n" + "".join(f"{w:g},{5.2 / w}\n" for w in width)
    caption = Caption("Outputs become Gaussian", "Points fall along the line.", {"95% interval": ("interval",)})
    return experiment_page(result, table, figure, caption)


def _gallery() -> dict:
    ran = {
        "name": "slope",
        "title": "Outputs become Gaussian",
        "claim": "The excess kurtosis of an output falls as the inverse of the width.",
        "see": "Points fall along the line; V/n_L is small.",
        "verdict": "agrees",
        "reason": None,
        "key": {"95% interval of the exponent": "[−1.01, −0.955]", "C_W": "1.04"},
        "seconds": 1.5,
        "command": "repflow experiment slope --size small --out slope/",
        "files": {"figure": "f.html", "table": "t.csv", "data": "f.json", "result": "r.json", "image": "slope.png"},
    }
    other = {
        "name": "spread",
        "title": "Light cones",
        "verdict": "inconclusive",
        "command": "repflow experiment spread",
    }
    wrong = {"name": "drift", "title": "Critical couplings", "verdict": "disagrees"}
    failed = {
        "name": "spins",
        "title": "Thermalisation",
        "verdict": None,
        "reason": "it needs quspin, which is not installed: pip install 'repflow[spins]'",
        "key": {},
        "seconds": None,
        "files": {},
    }
    entries = [ran, {**ran, **other}, {**ran, **wrong}, {**ran, **failed}]
    return {"size": "small", "seed": 3, "version": "0.1.0", "seconds": 4.5, "notes": [], "experiments": entries}


def _picture(path: Path) -> None:
    """A picture of the size of a figure: a frame and a falling line."""
    pixels = np.full((570, 1350, 3), 255, dtype=np.uint8)
    pixels[60:500, 90:93] = pixels[497:500, 90:1300] = (90, 100, 112)
    for x in range(100, 1290):
        y = 80 + (x - 100) * 400 // 1190
        pixels[y - 2 : y + 2, x] = (0, 114, 178)
    Image.fromarray(pixels).save(path)


@dataclass(frozen=True)
class Seen:
    """What a page says of itself once it has been drawn."""

    width: int
    scroll_width: int
    requests: list[str]
    contrast: list[tuple[float, str, str, str]]
    csv: dict[str, str]


PROBE = """<script>
addEventListener("load", function () { setTimeout(function () {
  function colour(text) {
    var n = (text.match(/[\\d.]+/g) || []).map(Number);
    return n.length === 3 ? n.concat(1) : n;
  }
  function luminance(c) {
    var l = c.slice(0, 3).map(function (v) {
      v /= 255; return v <= 0.04045 ? v / 12.92 : Math.pow((v + 0.055) / 1.055, 2.4); });
    return 0.2126 * l[0] + 0.7152 * l[1] + 0.0722 * l[2];
  }
  function ground(element) {
    for (; element; element = element.parentElement) {
      var found = colour(getComputedStyle(element).backgroundColor);
      if (found[3] > 0.99) { return found; }
    }
    return [255, 255, 255, 1];
  }
  var seen = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), node;
  while ((node = walker.nextNode())) {
    var element = node.parentElement;
    if (!node.textContent.trim() || /^(SCRIPT|STYLE)$/.test(element.tagName) || element.closest("svg")) { continue; }
    var range = document.createRange(); range.selectNodeContents(node);
    if (!range.getClientRects().length) { continue; }
    var ink = colour(getComputedStyle(element).color), paper = ground(element);
    var a = luminance(ink), b = luminance(paper);
    var ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    seen.push([ratio, node.textContent.trim().slice(0, 40), ink.join(","), paper.join(",")]);
  }
  seen.sort(function (p, q) { return p[0] - q[0]; });
  var csv = {};
  document.querySelectorAll("[data-figure]").forEach(function (button) {
    csv[button.dataset.figure] = window.repflowFigureCsv(button.dataset.figure); });
  parent.postMessage(JSON.stringify({
    width: document.documentElement.clientWidth,
    scroll_width: document.documentElement.scrollWidth,
    requests: performance.getEntriesByType("resource").map(function (e) { return e.name; }),
    contrast: seen.slice(0, 20),
    csv: csv
  }), "*");
}, 500); });
</script></body>"""


def framed(page: Path, width: int, height: int, probe: bool = False) -> Path:
    """A page that shows another in a frame of any width: a browser window is 500 pixels wide at least."""
    target = page
    if probe:
        target = page.with_name(f"{page.stem}-probe.html")
        target.write_text(page.read_text(encoding="utf-8").replace("</body>", PROBE), encoding="utf-8")
    frame = page.with_name(f"{page.stem}-{width}.html")
    frame.write_text(
        f"""<!DOCTYPE html><meta charset="utf-8"><link rel="icon" href="data:,"><body style="margin:0"><script>
addEventListener("message", function (event) {{
  var found = document.createElement("pre"); found.id = "seen"; found.textContent = event.data;
  document.body.appendChild(found); }});
</script><iframe src="{target.name}" style="width:{width}px;height:{height}px;border:0;display:block"></iframe></body>""",
        encoding="utf-8",
    )
    return frame


def look(browser, page: Path, width: int, dark: bool = False) -> Seen:
    """Draw a page at a width, and read what it found out about itself."""
    rendered = browser.render(framed(page, width, 1000, probe=True), width=max(width, 500), dark=dark)
    assert rendered.console == []
    found = re.search(r'<pre id="seen">(.*?)</pre>', rendered.dom, re.S)
    assert found, "the page said nothing"
    said = json.loads(html.unescape(found.group(1)))
    return Seen(**{**said, "contrast": [tuple(entry) for entry in said["contrast"]]})
