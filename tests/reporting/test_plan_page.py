"""The page of a plan: what it says follows from the plan, and it needs nothing but itself."""

import re

import pytest
import torch
from torch import nn

import repflow as rf
from repflow.reporting.plan_page import plan_code, plan_page
from repflow.reporting.plan_words import plan_cards, plan_headline


def chain(width, hidden, activation=nn.Tanh):
    parts = [nn.Linear(8, width), activation()]
    for _ in range(hidden - 1):
        parts += [nn.Linear(width, width), activation()]
    return nn.Sequential(*parts, nn.Linear(width, 3))


def plan_of(*shape, **settings):
    x = torch.randn(20, 8, generator=torch.Generator().manual_seed(0))
    return rf.tune(chain(*shape), x, **settings)


@pytest.fixture(scope="module")
def plan():
    return plan_of(64, 3)


def answers(plan, optimizer="sgd"):
    return {card.question: card for card in plan_cards(plan, optimizer)}


def test_every_number_on_the_cards_is_the_plans(plan):
    cards = answers(plan)
    assert f"{plan.scaling:.3g}" in cards["How much do features move?"].answer
    assert f"{100 * plan.fluctuation:.1f}%" in cards["How much will seeds differ?"].answer
    assert str(plan.seeds_needed(0.1)) in " ".join(cards["How much will seeds differ?"].sentences)
    edge = plan.max_learning_rate()
    assert f"{edge:.3g}" in " ".join(cards["How fast should it learn?"].sentences)
    assert "no edge of stability" in " ".join(answers(plan, "adam")["How fast should it learn?"].sentences)
    depth = " ".join(cards["Do depth and width fit?"].sentences)
    assert f"{plan.aspect_ratio.value:.3g}" in depth
    assert str(plan.aspect_ratio.advisable_depth) in depth


@pytest.mark.parametrize(
    ("shape", "activation", "depth", "tone"),
    [
        ((256, 2), nn.Tanh, "Wide for its depth", "good"),
        ((40, 5), nn.Tanh, "They fit", "good"),
        ((8, 12), nn.ReLU, "Deeper than its width bears", "bad"),
    ],
)
def test_depth_and_width(shape, activation, depth, tone):
    plan = plan_of(*shape, activation)
    card = answers(plan)["Do depth and width fit?"]
    assert card.answer == depth
    assert plan_headline(plan)[1] == tone
    assert (card.tone == "bad") == (plan.depth > plan.aspect_ratio.advisable_depth)


def test_an_activation_without_an_optimum():
    card = answers(plan_of(32, 2, nn.Sigmoid))["Do depth and width fit?"]
    assert "No optimum" in card.sentences[0]


def test_the_page_is_whole(plan):
    page = plan_page(plan, model="model.py:make", data="twenty <rows>", optimizer="adam")
    assert page.count('class="rf-figure"') == 4
    assert "twenty &lt;rows&gt;" in page
    for entry in plan.parameters:
        assert f"<td>{entry.name}</td>" in page
        assert f"{entry.adam:.4g}" in page
    outside = re.sub(r"<script>.*?</script>", "", page, flags=re.S)
    assert not re.search(r'(?:src|href)="(?!data:|#)', outside)
    assert "<h2" in page
    assert "undefined" not in outside


def test_a_tied_and_a_frozen_parameter_say_so():
    model = chain(8, 3)
    model[4].weight = model[2].weight
    model[0].bias.requires_grad_(False)
    plan = rf.tune(model, torch.eye(8))
    page = plan_page(plan, model="tied", data="eye")
    assert "4.weight (= 2.weight)" in page


def test_the_code_runs(plan, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan.save("plan.json")
    for optimizer, kind in (("sgd", torch.optim.SGD), ("adamw", torch.optim.AdamW)):
        names = {"model": chain(64, 3)}
        exec(plan_code(optimizer), names)
        assert isinstance(names["optimizer"], kind)
        assert names["model"][0].weight.std().item() == pytest.approx(plan.parameters[0].new_std, rel=0.2)


def test_an_unknown_optimiser(plan):
    with pytest.raises(ValueError, match="lion"):
        plan_page(plan, model="m", data="d", optimizer="lion")


@pytest.mark.browser
@pytest.mark.parametrize("width", [1400, 500])
def test_plots_render_without_a_console_message(browser, plan, tmp_path, width):
    path = tmp_path / "plan.html"
    path.write_text(plan_page(plan, model="model.py:make", data="twenty rows"))
    rendered = browser.render(path, width=width, dark=False)
    assert rendered.console == []
    assert rendered.dom.count('class="modebar-container"') == 4
