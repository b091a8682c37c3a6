"""Reading data: what is taken, and what is refused with which words."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.datasets import load_digits

from repflow.data import Dataset, load_data


def write(path, x, y=None):
    """The same data in the format of the path's suffix."""
    if path.suffix == ".npy":
        np.save(path, x)
    elif path.suffix == ".npz":
        np.savez(path, x=x, **({} if y is None else {"y": y}))
    else:
        frame = pd.DataFrame(x, columns=[f"f{index}" for index in range(x.shape[1])])
        if y is not None:
            frame["label"] = y
        if path.suffix == ".csv":
            frame.to_csv(path, index=False, float_format="%.17g")
        else:
            frame.to_parquet(path)
    return path


SUFFIXES = [".npy", ".npz", ".csv", ".parquet"]


class TestDigits:
    def test_one_of_each_of_the_first_classes(self):
        data = load_data("digits")
        images, labels = load_digits(return_X_y=True)
        assert data.x.shape == (4, 64)
        assert data.x.dtype == np.float64
        assert data.y.tolist() == [0, 1, 2, 3]
        first = [np.flatnonzero(labels == label)[0] for label in range(4)]
        np.testing.assert_allclose(data.x, (images[first] - images.mean()) / images.std(), rtol=1e-14)
        assert (data.name, data.n_outputs, data.standardized) == ("digits", 10, True)

    def test_more_than_ten_take_the_classes_in_turn(self):
        assert load_data("digits", 23).y.tolist() == [*range(10), *range(10), 0, 1, 2]

    def test_all_of_them_are_standardised_and_each_occurs_once(self):
        data = load_data("digits", 1797)
        assert abs(data.x.mean()) < 1e-12
        assert abs(data.x.std() - 1) < 1e-12
        images, _ = load_digits(return_X_y=True)
        raw = load_data("digits", 1797, standardize=False).x
        np.testing.assert_array_equal(raw[np.lexsort(raw.T)], images[np.lexsort(images.T)])

    def test_fewer_inputs_are_the_first_of_more(self):
        np.testing.assert_array_equal(load_data("digits", 3).x, load_data("digits", 12).x[:3])

    def test_a_seed_chooses_other_images_of_the_same_classes(self):
        one, again, other = (load_data("digits", 10, seed=seed) for seed in (1, 1, 2))
        np.testing.assert_array_equal(one.x, again.x)
        assert one.y.tolist() == other.y.tolist() == list(range(10))
        assert not np.array_equal(one.x, other.x)

    def test_too_many(self):
        with pytest.raises(ValueError, match="inputs is 1798, but the digits are 1797"):
            load_data("digits", 1798)

    def test_target_is_refused(self):
        with pytest.raises(ValueError, match="target is 'label'"):
            load_data("digits", target="label")


@pytest.mark.parametrize("suffix", SUFFIXES)
class TestAnyFile:
    def test_taken_as_it_is(self, tmp_path, suffix):
        x = np.random.default_rng(0).normal(3.0, 2.0, (6, 3))
        data = load_data(write(tmp_path / f"data{suffix}", x), inputs=6)
        np.testing.assert_array_equal(data.x, x)
        assert data.y is None
        assert data.n_outputs is None
        assert not data.standardized
        assert data.name == f"data{suffix}"

    def test_first_four_rows_by_default_and_it_says_so(self, tmp_path, suffix):
        x = np.arange(12.0).reshape(6, 2)
        data = load_data(str(write(tmp_path / f"d{suffix}", x)))
        np.testing.assert_array_equal(data.x, x[:4])
        assert "the first 4 of 6 rows" in data.description
        assert len(data) == 4

    def test_a_smaller_file_is_taken_whole(self, tmp_path, suffix):
        assert len(load_data(write(tmp_path / f"d{suffix}", np.ones((2, 3))))) == 2

    def test_standardize_uses_the_whole_file(self, tmp_path, suffix):
        x = np.random.default_rng(1).normal(3.0, 2.0, (50, 3))
        data = load_data(write(tmp_path / f"d{suffix}", x), inputs=2, standardize=True)
        np.testing.assert_allclose(data.x, (x[:2] - x.mean()) / x.std(), rtol=1e-12)
        assert data.standardized
        assert "standardised" in data.description

    def test_constant_data_cannot_be_standardised(self, tmp_path, suffix):
        path = write(tmp_path / f"d{suffix}", np.full((3, 2), 0.1))
        with pytest.raises(ValueError, match="is constant"):
            load_data(path, standardize=True)
        assert load_data(path).x.tolist() == [[0.1, 0.1]] * 3

    def test_fewer_rows_than_asked(self, tmp_path, suffix):
        path = write(tmp_path / f"d{suffix}", np.ones((3, 2)))
        with pytest.raises(ValueError, match=r"inputs is 5, but .* has 3 rows"):
            load_data(path, 5)

    def test_a_seed_permutes_rows(self, tmp_path, suffix):
        x = np.arange(40.0).reshape(20, 2)
        path = write(tmp_path / f"d{suffix}", x)
        data = load_data(path, 20, seed=3)
        assert not np.array_equal(data.x, x)
        np.testing.assert_array_equal(data.x[np.argsort(data.x[:, 0])], x)
        assert "seed 3" in data.description

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_what_is_not_finite_is_located(self, tmp_path, suffix, value):
        x = np.ones((5, 3))
        x[4, 1] = value
        path = write(tmp_path / f"d{suffix}", x)
        column = "1" if suffix.startswith(".np") else "'f1'"
        with pytest.raises(ValueError, match=f"row 4, column {column}; inputs must be finite"):
            load_data(path)

    def test_empty(self, tmp_path, suffix):
        path = write(tmp_path / f"d{suffix}", np.ones((0, 3)))
        with pytest.raises(ValueError, match="is empty|has no"):
            load_data(path)

    def test_missing(self, tmp_path, suffix):
        with pytest.raises(FileNotFoundError, match="no such file"):
            load_data(tmp_path / f"d{suffix}")

    def test_directory(self, tmp_path, suffix):
        (tmp_path / f"d{suffix}").mkdir()
        with pytest.raises(ValueError, match="is not a file"):
            load_data(tmp_path / f"d{suffix}")

    @pytest.mark.parametrize("content", [b"", b"\x00\x01\x02garbage\xff", b"\x93NUMPY\x01", b"PK\x03\x04"])
    def test_damaged_in_one_line(self, tmp_path, suffix, content):
        path = tmp_path / f"d{suffix}"
        path.write_bytes(content)
        with pytest.raises(ValueError, match="source") as caught:
            load_data(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


class TestNumpyFiles:
    @pytest.mark.parametrize(
        ("shape", "remedy"),
        [((), "2-dimensional"), ((4,), r"x\[None, :\]"), ((2, 3, 4), r"x\.reshape\(len\(x\), -1\)")],
    )
    def test_other_dimensions_have_a_remedy(self, tmp_path, shape, remedy):
        np.save(tmp_path / "x.npy", np.ones(shape))
        with pytest.raises(ValueError, match=remedy):
            load_data(tmp_path / "x.npy")

    @pytest.mark.parametrize("dtype", ["float32", "int8", "bool", ">f8"])
    def test_real_dtypes_become_float64(self, tmp_path, dtype):
        np.save(tmp_path / "x.npy", np.ones((2, 2), dtype=dtype))
        assert load_data(tmp_path / "x.npy").x.dtype == np.dtype("float64")

    @pytest.mark.parametrize("array", [np.ones((2, 2)) * 1j, np.array([["a", "b"]])])
    def test_other_dtypes(self, tmp_path, array):
        np.save(tmp_path / "x.npy", array)
        with pytest.raises(ValueError, match="must be real numbers"):
            load_data(tmp_path / "x.npy")

    def test_objects_are_never_unpickled(self, tmp_path):
        objects = np.array([[{"a": 1}]], dtype=object)
        np.save(tmp_path / "x.npy", objects, allow_pickle=True)
        np.savez(tmp_path / "x.npz", x=objects)
        for name in ("x.npy", "x.npz"):
            with pytest.raises(ValueError, match="Python objects, which are not read"):
                load_data(tmp_path / name)

    def test_keys(self, tmp_path):
        np.savez(tmp_path / "x.npz", images=np.ones((3, 2)), labels=np.array([0, 1, 2]))
        data = load_data(tmp_path / "x.npz", x_key="images", y_key="labels")
        assert data.y.tolist() == [0, 1, 2]
        assert data.n_outputs == 3
        with pytest.raises(ValueError, match="no array 'x'; there are: 'images', 'labels'"):
            load_data(tmp_path / "x.npz")
        with pytest.raises(ValueError, match="no array 'targets'; there are"):
            load_data(tmp_path / "x.npz", x_key="images", y_key="targets")

    @pytest.mark.parametrize(
        ("y", "n_outputs"),
        [
            (np.array([0, 2, 1, 0]), 3),
            (np.array([0.5, 1.5, 2.0, 0.0]), 1),
            (np.array([3, 7, 7, 3]), 1),
            (np.ones((4, 5)), 5),
        ],
    )
    def test_outputs_of_targets(self, tmp_path, y, n_outputs):
        data = load_data(write(tmp_path / "x.npz", np.ones((4, 2)), y))
        np.testing.assert_array_equal(data.y, y)
        assert data.n_outputs == n_outputs

    @pytest.mark.parametrize(
        ("y", "message"),
        [
            (np.ones(3), r"shape \(3,\); expected \(4,\)"),
            (np.ones((4, 2, 2)), "expected"),
            (np.array([1.0, np.nan, 0.0, 0.0]), "nan in row 1"),
            (np.array(["a", "b", "c", "d"]), "must be real"),
        ],
    )
    def test_bad_targets(self, tmp_path, y, message):
        with pytest.raises(ValueError, match=message):
            load_data(write(tmp_path / "x.npz", np.ones((4, 2)), y))

    def test_npy_and_npz_mixed_up(self, tmp_path):
        with open(tmp_path / "x.npz", "wb") as file:
            np.save(file, np.ones((2, 2)))
        with open(tmp_path / "x.npy", "wb") as file:
            np.savez(file, x=np.ones((2, 2)))
        with pytest.raises(ValueError, match=r"rename it to \.npy"):
            load_data(tmp_path / "x.npz")
        with pytest.raises(ValueError, match=r"rename it to \.npz"):
            load_data(tmp_path / "x.npy")


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
class TestTables:
    def test_target_is_split_off(self, tmp_path, suffix):
        x = np.arange(6.0).reshape(3, 2)
        data = load_data(write(tmp_path / f"t{suffix}", x, np.array([1, 0, 1])), target="label")
        np.testing.assert_array_equal(data.x, x)
        assert data.y.tolist() == [1, 0, 1]
        assert data.n_outputs == 2

    def test_text_targets_become_classes(self, tmp_path, suffix):
        path = write(tmp_path / f"t{suffix}", np.ones((3, 2)), np.array(["cat", "ant", "cat"], dtype=object))
        data = load_data(path, target="label")
        assert data.y.tolist() == [1, 0, 1]
        assert data.n_outputs == 2

    def test_text_columns_are_named(self, tmp_path, suffix):
        path = write(tmp_path / f"t{suffix}", np.ones((3, 2)), np.array(["cat", "ant", "cat"], dtype=object))
        with pytest.raises(ValueError, match="not numeric: 'label'"):
            load_data(path)

    def test_unknown_target_lists_columns(self, tmp_path, suffix):
        path = write(tmp_path / f"t{suffix}", np.ones((3, 2)))
        with pytest.raises(ValueError, match="'label' is not a column .* there are: 'f0', 'f1'"):
            load_data(path, target="label")

    def test_target_with_holes(self, tmp_path, suffix):
        path = write(tmp_path / f"t{suffix}", np.ones((3, 2)), np.array([1.0, np.nan, 2.0]))
        with pytest.raises(ValueError, match="no value in row 1"):
            load_data(path, target="label")

    def test_only_a_target(self, tmp_path, suffix):
        path = write(tmp_path / f"t{suffix}", np.ones((3, 1)))
        with pytest.raises(ValueError, match="no columns of inputs"):
            load_data(path, target="f0")


def test_csv_is_read_to_the_last_bit(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5000, 2)) * 10.0 ** rng.integers(-20, 20, (5000, 2))
    np.testing.assert_array_equal(load_data(write(tmp_path / "x.csv", x), inputs=5000).x, x)


class TestHeaders:
    def test_csv_without_header(self, tmp_path):
        (tmp_path / "t.csv").write_text("0.5,0.5,0.25\n1.0,2.0,3.0\n")
        with pytest.raises(ValueError, match="needs a header line"):
            load_data(tmp_path / "t.csv")

    @pytest.mark.parametrize("header", ["0,1,2", "1,2,3", "a,b,c", "a,1,2"])
    def test_column_numbers_are_a_header(self, tmp_path, header):
        (tmp_path / "t.csv").write_text(header + "\n1.0,2.0,3.0\n")
        assert load_data(tmp_path / "t.csv").x.tolist() == [[1.0, 2.0, 3.0]]


@pytest.mark.parametrize("source", ["digit", "data.txt", "data", "data.pkl", ""])
def test_unknown_sources_list_what_is_accepted(source):
    with pytest.raises(ValueError, match=r"accepted are 'digits' and files \.npy, \.npz, \.csv, \.parquet"):
        load_data(source)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"inputs": 0}, ValueError, "inputs must be 1 or more, got 0"),
        ({"inputs": 2.0}, TypeError, r"inputs must be a whole number, got 2\.0"),
        ({"inputs": True}, TypeError, "inputs"),
        ({"seed": -1}, ValueError, "seed must be 0 or more"),
        ({"standardize": "yes"}, TypeError, "standardize must be True, False or None"),
    ],
)
def test_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        load_data("digits", **arguments)


def test_source_of_another_type():
    with pytest.raises(TypeError, match="source must be 'digits' or a path, got ndarray"):
        load_data(np.ones((2, 2)))


def test_target_of_an_array_file(tmp_path):
    path = write(tmp_path / "x.npy", np.ones((2, 2)))
    with pytest.raises(ValueError, match=r"only \.csv and \.parquet"):
        load_data(path, target="label")


def test_repr_is_short():
    assert repr(load_data("digits")) == "Dataset('digits', x(4, 64), y(4,), standardized=True)"
    assert repr(Dataset(np.ones((1, 2)), None, "mine")) == "Dataset('mine', x(1, 2), standardized=False)"


@settings(max_examples=30)
@given(
    x=hnp.arrays(
        np.float64,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=5),
        elements=st.floats(-1e6, 1e6, allow_nan=False, width=32),
    ),
    suffix=st.sampled_from(SUFFIXES),
)
def test_round_trip_of_any_values(x, suffix, tmp_path_factory):
    path = write(tmp_path_factory.mktemp("data") / f"x{suffix}", x)
    np.testing.assert_array_equal(load_data(path, inputs=len(x)).x, x)


def test_a_data_set_is_taken_where_inputs_are():
    data = load_data("digits", 2)
    assert np.asarray(data) is data.x
    assert np.array(data, dtype=np.float32).dtype == np.float32
    copied = np.array(data, copy=True)
    assert copied is not data.x
    assert copied.tolist() == data.x.tolist()


def test_home_is_expanded_and_addresses_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    np.save(tmp_path / "x.npy", np.eye(3))
    assert load_data("~/x.npy").x.tolist() == np.eye(3).tolist()
    with pytest.raises(ValueError, match="source 'https://example.org/x.npy' is an address"):
        load_data("https://example.org/x.npy")


def test_text_named_npy_is_no_numpy_file_and_no_advice_to_unpickle(tmp_path):
    (tmp_path / "x.npy").write_text("hello")
    with pytest.raises(ValueError, match=r"is not a NumPy file$"):
        load_data(tmp_path / "x.npy")
