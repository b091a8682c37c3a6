"""What figures show is what they were given."""

import numpy as np
import pytest

from repflow.figures import histogram, lines, matrix, phase_diagram, z_scores


def trace(figure, name):
    (found,) = [trace for trace in figure.data if trace.name == name]
    return found


class TestLines:
    layers = np.arange(1, 5)

    def test_curves_points_and_bands(self):
        figure = lines(
            self.layers,
            {"order 0": np.ones(4), "order 1": [1.0, np.nan, 3.0, 4.0]},
            {"ensemble": ([1, 2, 3, 4], [0.1, 0.2, 0.3, 0.4]), "exact": ([1, 2, 3, 4], None)},
            bands={"spread": ([0, 0, 0, 0], [2, 2, 2, 2])},
            x_title="layer",
            y_title="K",
        )
        np.testing.assert_array_equal(trace(figure, "order 1").y, [1.0, np.nan, 3.0, 4.0])
        np.testing.assert_array_equal(trace(figure, "ensemble").y, [1, 2, 3, 4])
        np.testing.assert_array_equal(trace(figure, "ensemble").error_y.array, [0.1, 0.2, 0.3, 0.4])
        assert not trace(figure, "exact").error_y.visible
        np.testing.assert_array_equal(trace(figure, "spread").y, [0, 0, 0, 0, 2, 2, 2, 2])
        np.testing.assert_array_equal(trace(figure, "spread").x, [1, 2, 3, 4, 4, 3, 2, 1])
        assert (figure.layout.xaxis.title.text, figure.layout.yaxis.title.text) == ("layer", "K")

    def test_two_curves_differ_in_colour_and_dash(self):
        figure = lines(self.layers, {"a": np.ones(4), "b": np.ones(4)}, x_title="x", y_title="y")
        first, second = figure.data
        assert first.line.color != second.line.color
        assert first.line.dash != second.line.dash

    def test_logarithmic_axes_and_references(self):
        figure = lines(
            [1, 10], {"a": [1, 100]}, x_title="n", y_title="y", log_x=True, log_y=True, references={"r": 5.0}
        )
        assert (figure.layout.xaxis.type, figure.layout.yaxis.type) == ("log", "log")
        assert [annotation.text for annotation in figure.layout.annotations] == ["r"]
        assert figure.layout.shapes[0].y0 == 5.0
        assert figure.layout.annotations[0].y == pytest.approx(np.log10(5.0))

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"curves": {"a": [1, 2]}}, r"curves\['a'\] has 2 entries, the x axis has 4"),
            ({"curves": {"a": np.ones((4, 1))}}, r"curves\['a'\] must be one-dimensional"),
            ({"curves": {}, "points": {"p": ([1, 2, 3, 4], [1])}}, r"points\['p'\] errors has 1"),
            ({"curves": {}, "bands": {"b": ([1], [1, 2, 3, 4])}}, r"bands\['b'\] has 1"),
        ],
    )
    def test_lengths_are_checked(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            lines(self.layers, **arguments, x_title="x", y_title="y")


class TestZScores:
    def test_points_of_one_layer_are_spread_around_it(self):
        figure = z_scores([1, 1, 1, 2], {"z": [0.0, 6.0, -1.0, 2.0]}, x_title="layer", threshold=4.0)
        np.testing.assert_allclose(figure.data[0].x, [0.7, 1.0, 1.3, 2.0])
        np.testing.assert_array_equal(figure.data[0].y, [0.0, 6.0, -1.0, 2.0])
        assert {shape.y0 for shape in figure.layout.shapes} == {4.0, -4.0}

    def test_labels_must_fit(self):
        with pytest.raises(ValueError, match=r"labels\['z'\] has 1 entries"):
            z_scores([1, 2], {"z": [0, 0]}, x_title="layer", labels={"z": ["a"]})


class TestPhaseDiagram:
    def make(self, **options):
        values = np.arange(6.0).reshape(2, 3)
        names = {"x_title": "C_b", "y_title": "C_W", "value_title": "chi"}
        return phase_diagram([0, 1, 2], [5, 6], values, **names, **options)

    def test_values_and_marks(self):
        figure = self.make(level=2.5, level_name="critical", marked={"this network": (0.5, 5.5)})
        np.testing.assert_array_equal(figure.data[0].z, np.arange(6.0).reshape(2, 3))
        assert figure.data[1].contours.start == figure.data[1].contours.end == 2.5
        assert trace(figure, "critical").mode == "lines"
        marked = trace(figure, "this network")
        assert (marked.x, marked.y) == ((0.5,), (5.5,))
        assert figure.layout.xaxis.range == (-0.5, 2.5)
        assert figure.layout.yaxis.range == (4.5, 6.5)

    def test_marks_outside_are_within_the_frame(self):
        figure = self.make(marked={"far": (10.0, -3.0)})
        assert figure.layout.xaxis.range[1] > 10
        assert figure.layout.yaxis.range[0] < -3

    def test_midpoint_is_in_the_middle_of_the_colours(self):
        heat = self.make(midpoint=1.0).data[0]
        assert (heat.zmin, heat.zmax) == (-3.0, 5.0)
        heat = self.make(midpoint=1.0, limits=(0.5, 1.25)).data[0]
        assert (heat.zmin, heat.zmax) == (0.5, 1.5)
        heat = self.make(limits=(0, 2)).data[0]
        assert (heat.zmin, heat.zmax) == (0, 2)

    def test_checks(self):
        names = {"x_title": "a", "y_title": "b", "value_title": "c"}
        with pytest.raises(ValueError, match=r"shape \(len\(y\), len\(x\)\) = \(2, 3\), got \(3, 2\)"):
            phase_diagram([0, 1, 2], [0, 1], np.ones((3, 2)), **names)
        with pytest.raises(ValueError, match="x must be one-dimensional and ascend"):
            phase_diagram([0, 0], [0, 1], np.ones((2, 2)), **names)
        with pytest.raises(ValueError, match="limits must ascend"):
            self.make(limits=(2, 1))

    def test_all_blank_is_drawn(self):
        values = np.full((2, 2), np.nan)
        figure = phase_diagram([0, 1], [0, 1], values, x_title="a", y_title="b", value_title="c", midpoint=1.0)
        assert figure.data[0].zmin < 1.0 < figure.data[0].zmax


class TestMatrix:
    def test_first_row_on_top(self):
        figure = matrix([[1.0, 2.0], [3.0, 4.0]], labels=["a", "b"], value_title="K")
        low, high = figure.layout.yaxis.range
        assert low > high
        assert figure.layout.yaxis.ticktext == ("a", "b")

    def test_checks(self):
        with pytest.raises(ValueError, match="must be a matrix"):
            matrix([1.0], value_title="K")
        with pytest.raises(ValueError, match="labels has 1 entries"):
            matrix(np.eye(2), labels=["a"], value_title="K")


class TestHistogram:
    def test_bars_are_a_density(self):
        edges, counts = np.array([0.0, 1.0, 3.0]), np.array([3, 1])
        figure = histogram(edges, counts, {"theory": ([0, 1], [0.5, 0.5])}, x_title="z")
        bars = trace(figure, "ensemble")
        assert np.dot(bars.y, bars.width) == 1.0
        np.testing.assert_array_equal(bars.x, [0.5, 2.0])
        np.testing.assert_allclose(bars.error_y.array, np.sqrt(counts) / (4 * np.diff(edges)))
        np.testing.assert_array_equal(trace(figure, "theory").y, [0.5, 0.5])

    def test_samples_outside_the_bins_count(self):
        figure = histogram([0, 1], [3], {}, x_title="z", total=4)
        assert figure.data[0].y[0] == 0.75

    @pytest.mark.parametrize(
        ("edges", "counts", "densities", "message"),
        [
            ([0, 1], [1, 2], {}, "one entry fewer than edges"),
            ([0, 1, 1], [1, 2], {}, "edges must ascend"),
            ([0, 1, 2], [-1, 2], {}, "must not be negative"),
            ([0, 1, 2], [0, 0], {}, "not all be zero"),
            ([0, 1], [1], {"d": ([0, 1], [1])}, r"densities\['d'\]"),
        ],
    )
    def test_checks(self, edges, counts, densities, message):
        with pytest.raises(ValueError, match=message):
            histogram(edges, counts, densities, x_title="z")
