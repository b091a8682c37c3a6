"""Parameter sharing: the data, the rule on made-up numbers, and a small run end to end."""

import math

import numpy as np
import pytest

from repflow.experiments import run_experiment
from repflow.experiments.intervals import mean_interval
from repflow.experiments.parameter_sharing import experiment as parameter_sharing
from repflow.experiments.parameter_sharing.couplings import chart_curves, count_couplings, output_curves
from repflow.experiments.parameter_sharing.experiment import above, examples_needed, judge
from repflow.experiments.parameter_sharing.networks import CONTROLS, CONV, FC, LC, MAIN, SCRAMBLED, Errors, Setting
from repflow.experiments.parameter_sharing.shifted_digits import place, positions, shifted_digits

IMAGES = (100, 200)
PARAMETERS = {FC: 1000, LC: 300, CONV: 20}
#: Shared by all networks of a draw, as in the experiment.
NOISE = (0.02, -0.03, 0.01, 0.0, 0.01)


def made_up(scrambled=0.6, **errors):
    """Errors of five draws: ``fc``, ``lc`` and ``conv`` by position, (seen, unseen)."""
    given = {FC: (0.4, 0.8), LC: (0.45, 0.85), CONV: (0.2, 0.22)}
    given |= {{"fc": FC, "lc": LC, "conv": CONV}[name]: value for name, value in errors.items()}
    given |= dict.fromkeys(CONTROLS, (0.5, 0.9)) | {SCRAMBLED: (scrambled, 0.9)}
    # A network's own noise, of mean 0: its draws in another order for each network.
    own = [np.roll((0.003, -0.003, 0.002, -0.002, 0.0), number) for number in range(len(given))]
    return {
        (name, count): [
            Errors(0.0, seen + shift + own[i][k], unseen + shift + own[i][k]) for k, shift in enumerate(NOISE)
        ]
        for i, (name, (seen, unseen)) in enumerate(given.items())
        for count in IMAGES
    }


@pytest.mark.parametrize(
    ("found", "parameters", "expected"),
    [
        (made_up(), PARAMETERS, {}),
        (made_up(), {**PARAMETERS, LC: 1001}, {"parameters": "disagrees"}),
        (made_up(), {**PARAMETERS, CONV: 300}, {"parameters": "disagrees"}),
        (made_up(conv=(0.5, 0.22)), PARAMETERS, {"seen": "disagrees"}),
        (made_up(lc=(0.2, 0.85)), PARAMETERS, {"seen": "inconclusive"}),
        (made_up(fc=(0.4, 0.1)), PARAMETERS, {"unseen": "disagrees"}),
        (made_up(fc=(0.4, 0.22)), PARAMETERS, {"unseen": "inconclusive"}),
        (made_up(scrambled=0.2), PARAMETERS, {"scrambled": "disagrees"}),
        (made_up(scrambled=0.4), PARAMETERS, {"scrambled": "inconclusive"}),
    ],
)
def test_rule_on_made_up_numbers(found, parameters, expected):
    verdicts, numbers = judge(found, parameters, IMAGES, 200)
    assert verdicts == {"parameters": "agrees", "seen": "agrees", "unseen": "agrees", "scrambled": "agrees"} | expected
    assert len(numbers["gain_seen"]) == len(numbers["gain_unseen"]) == 4


def test_gains_are_paired_differences():
    """What all networks of a draw share drops out: the interval is that of the differences, far narrower."""
    found = made_up()
    _, numbers = judge(found, PARAMETERS, IMAGES, 200)
    row = next(row for row in numbers["gain_seen"] if (row["other"], row["images"]) == (LC, 200))
    apart = np.array([a.seen - b.seen for a, b in zip(found[LC, 200], found[CONV, 200], strict=True)])
    assert row["difference"] == pytest.approx(apart.mean())
    # Student's t for four degrees of freedom, 95%: 2.776, from a printed table.
    assert row["high"] - row["difference"] == pytest.approx(2.776 * apart.std(ddof=1) / math.sqrt(5), rel=1e-3)
    assert row["high"] - row["low"] < 0.5 * np.diff(mean_interval([e.seen for e in found[LC, 200]])[1:])[0]


def test_equal_errors_are_inconclusive():
    assert above(-1e-17, 1e-17) == above(0.0, 0.0) == above(-math.inf, math.inf) == "inconclusive"
    assert (above(0.01, 0.02), above(-0.02, -0.01)) == ("agrees", "disagrees")


def test_one_draw_decides_nothing():
    found = {key: errors[:1] for key, errors in made_up().items()}
    verdicts, _ = judge(found, PARAMETERS, IMAGES, 200)
    assert {verdicts[name] for name in ("seen", "unseen", "scrambled")} == {"inconclusive"}


def test_examples_needed_is_read_off_a_power_law():
    """Errors 4/sqrt(n) and 2/sqrt(n): the same error takes four times as many images, where that many were tried."""
    images = (100, 200, 400, 800)
    found = {
        (name, n): [Errors(0.0, scale / math.sqrt(n), 1.0)]
        for name, scale in ((FC, 4), (LC, 2), (CONV, 2))
        for n in images
    }
    rows = {(row["network"], row["images"]): row for row in examples_needed(found, images)}
    assert rows[FC, 100]["ratio"] == pytest.approx(4.0)
    assert rows[FC, 200]["ratio"] == pytest.approx(4.0)
    assert not rows[FC, 200]["lower_bound"]
    assert (rows[FC, 400]["ratio"], rows[FC, 400]["lower_bound"]) == (2.0, True)
    assert rows[LC, 100]["ratio"] == pytest.approx(1.0)


def test_couplings_counted_in_the_flow():
    rows = {
        (row["what"], row["inputs"]): (row["entries"], row["counted"], row["predicted"]) for row in count_couplings(3)
    }
    assert rows["vertex", 4] == (256, 55, 55)
    assert rows["kernel", 3] == (9, 6, 6)


def test_curves_of_output_distributions():
    curves = {curve.name: curve for curve in output_curves([2, 3, 4, 9, 16], orders=(0, 1, 3))}
    assert curves["infinite width"].count == (3, 6, 10, 45, 136)
    assert curves["order 1/n"].count[1] == 6 + 21
    assert (curves["order 1/n"].scaling, curves["order 1/n^3"].scaling) == ("N^4/8", "N^8/384")
    kinds = {curve.kind for curve in chart_curves(12, 10)}
    assert kinds == {"spins", "outputs", "weights"}


# The data


def test_seen_and_unseen_positions_share_none_and_are_all():
    seen, unseen = ({tuple(row) for row in part} for part in positions(12))
    assert not seen & unseen
    assert seen | unseen == {(i, j) for i in range(5) for j in range(5)}
    assert len(seen) == 15
    assert max(j for _, j in seen) < min(j for _, j in unseen)


def test_digits_are_placed_where_asked():
    rng = np.random.default_rng(0)
    digits, corners = rng.uniform(1, 2, size=(20, 8, 8)), rng.integers(0, 5, size=(20, 2))
    canvases = place(digits, corners, 12)
    for digit, (row, column), canvas in zip(digits, corners, canvases, strict=True):
        expected = np.pad(digit, ((row, 4 - row), (column, 4 - column)))
        np.testing.assert_array_equal(canvas, expected)


def test_a_draw_holds_digits_once_and_at_its_positions():
    data = shifted_digits(12, 300, 200, seed=0, draw=1)
    assert data.x.shape == (300, 12, 12)
    ground = data.x.min()
    # The digit's own columns: nothing but ground lies outside those of its half.
    assert (data.x[:, :, 10:] == ground).all()
    assert (data.seen[:, :, 10:] == ground).all()
    assert (data.unseen[:, :, :3] == ground).all()

    # A test digit is the same at both positions, and no training digit is a test digit.
    def bag(images):
        return [tuple(np.sort(image[image != ground])) for image in images]

    assert bag(data.seen) == bag(data.unseen)
    assert not set(bag(data.x)) & set(bag(data.seen))
    assert 0.9 < data.x.std() < 1.1
    again, other = shifted_digits(12, 300, 200, seed=0, draw=1), shifted_digits(12, 300, 200, seed=0, draw=2)
    np.testing.assert_array_equal(again.unseen, data.unseen)
    assert not np.array_equal(other.y, data.y)


def test_scrambled_pixels_are_the_same_pixels():
    data = shifted_digits(12, 50, 20, seed=0, draw=0)
    order = np.random.default_rng(0).permutation(144)
    mixed = data.scrambled(order)
    np.testing.assert_array_equal(mixed.unseen.reshape(20, 144), data.unseen.reshape(20, 144)[:, order])
    assert mixed.y is data.y


def test_impossible_data_are_refused():
    with pytest.raises(ValueError, match="side must be 9 or more"):
        positions(8)
    with pytest.raises(ValueError, match="at most 1797"):
        shifted_digits(12, 1500, 500, 0, 0)


# The whole


def test_small_run(tmp_path):
    result = run_experiment("parameter-sharing", tmp_path, size="small", seed=0)
    numbers = result["numbers"]
    assert numbers["parameters"][FC] > numbers["parameters"][LC] > numbers["parameters"][CONV] == 1750
    assert set(numbers["verdicts"]) == {"couplings", "parameters", "seen", "unseen", "scrambled"}
    verdicts = set(numbers["verdicts"].values())
    expected = "agrees" if verdicts == {"agrees"} else "disagrees" if "disagrees" in verdicts else "inconclusive"
    assert result["verdict"] == expected != "disagrees"
    lines = (tmp_path / "table.csv").read_text().splitlines()
    assert len(lines) == 1 + 4 * (len(MAIN) * 2 + len(CONTROLS))
    assert (tmp_path / "figure.html").stat().st_size > 1_000_000


@pytest.mark.slow
def test_a_sweep_of_the_rate_is_reported(monkeypatch, tmp_path):
    """As at size large, with hardly any training: another rate is another network, and 2^0 is the run itself."""
    monkeypatch.setitem(parameter_sharing._SIZES, "large", Setting(12, (20, 40), 2, 3, 10, (-3, 0)))
    numbers = run_experiment("parameter-sharing", tmp_path, size="large", seed=1)["numbers"]
    seen = {(row["network"], row["octave"]): row["seen"] for row in numbers["sweep"]}
    assert set(seen) == {(name, octave) for name in MAIN for octave in (-3, 0)}
    errors = {(row["network"], row["images"]): row["seen"][0] for row in numbers["errors"]}
    for name in MAIN:
        assert seen[name, 0] == pytest.approx(errors[name, 40])
    assert any(seen[name, -3] != seen[name, 0] for name in MAIN)


@pytest.mark.slow
def test_default_run_agrees(tmp_path):
    assert run_experiment("parameter-sharing", tmp_path, seed=0)["verdict"] == "agrees"
