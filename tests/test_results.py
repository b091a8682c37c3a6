"""Round trips, refusals and atomicity of result files."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from repflow.results import Payload, Result, atomic_directory, atomic_write_text, labelled, load, result_schema


@result_schema("test-parts", version=2)
@dataclass
class Parts(Result):
    arrays: dict = field(default_factory=dict)
    meta: dict = field(default_factory=dict)
    dims: dict = field(default_factory=dict)

    def _payload(self):
        return Payload(self.arrays, self.meta, self.dims)

    @classmethod
    def _from_payload(cls, payload, activations):
        if "needs" in payload.meta:
            payload.arrays[payload.meta["needs"]]
        return cls(payload.arrays, payload.meta, payload.dims)


@pytest.fixture(params=["result.json", "result"])
def path(request, tmp_path):
    return tmp_path / request.param


def assert_same_arrays(found, expected):
    assert list(found) == list(expected)
    for key, array in expected.items():
        assert found[key].dtype == array.dtype
        assert found[key].shape == array.shape
        assert found[key].tobytes() == array.tobytes(), key


# Every bit pattern but the payloads of NaN, which JSON cannot carry.
FLOATS = st.floats(width=64).map(lambda value: float("nan") if value != value else value)
ARRAYS = hnp.arrays(np.float64, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4), elements=FLOATS)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text().filter(lambda k: k != "$float"), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(arrays=st.lists(ARRAYS, max_size=3), meta=st.dictionaries(st.sampled_from("abc"), JSON_VALUES))
def test_json_returns_every_float_bit_for_bit(arrays, meta):
    named = {f"layer_{index}/kernel": array for index, array in enumerate(arrays)}
    back = Parts.from_json(Parts(named, meta).to_json())
    assert_same_arrays(back.arrays, named)
    assert back.meta == meta


@settings(max_examples=25)
@given(array=ARRAYS, meta=st.dictionaries(st.sampled_from("abc"), JSON_VALUES))
def test_zarr_returns_every_float_bit_for_bit(array, meta, tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "result"
    Parts({"1/kernel": array}, meta).save(path)
    back = load(path)
    assert isinstance(back, Parts)
    assert_same_arrays(back.arrays, {"1/kernel": array})
    assert back.meta == meta


def test_other_dtypes_names_and_dims(path):
    arrays = {
        "flags": np.array([True, False]),
        "counts": np.array([[2**62, -(2**62)]], dtype=np.int64),
        "seeds": np.array([2**64 - 1], dtype=np.uint64),
        "single": np.array([0.1, -0.0, np.inf], dtype=np.float32),
        "scalar": np.array(1 / 3),
    }
    Parts(arrays, dims={"counts": ("layer", "input")}).save(path)
    back = load(path)
    assert_same_arrays(back.arrays, arrays)
    assert back.dims == {"counts": ("layer", "input")}


def test_arrays_of_either_memory_order_and_byte_order_are_accepted(path):
    fortran = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    Parts({"a": fortran, "b": np.arange(3, dtype=">f8"), "c": fortran[:, ::2]}).save(path)
    back = load(path).arrays
    np.testing.assert_array_equal(back["a"], fortran)
    np.testing.assert_array_equal(back["b"], [0.0, 1.0, 2.0])
    np.testing.assert_array_equal(back["c"], fortran[:, ::2])


def test_non_finite_metadata_and_numpy_scalars(path):
    meta = {"a": [np.nan, np.inf, -np.inf], "b": np.float64(0.1), "c": (np.int64(3), np.bool_(True))}
    Parts({}, meta).save(path)
    back = load(path).meta
    assert np.isnan(back["a"][0])
    assert back["a"][1:] == [np.inf, -np.inf]
    assert back["b"] == 0.1
    assert back["c"] == [3, True]


def test_json_is_strict(tmp_path):
    Parts({"a": np.array([np.nan, np.inf])}, {"b": np.nan}).save(tmp_path / "x.json")

    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    json.loads((tmp_path / "x.json").read_text(), parse_constant=refuse)


def test_save_replaces_what_was_there_and_leaves_nothing_beside(path):
    Parts({"old": np.ones(3)}).save(path)
    Parts({"new": np.ones(2)}).save(path)
    assert list(load(path).arrays) == ["new"]
    assert os.listdir(path.parent) == [path.name]


def test_parents_are_made(tmp_path):
    path = Parts().save(tmp_path / "a" / "b" / "x.json")
    assert path.is_file()


def test_saved_file_has_the_usual_permissions(tmp_path):
    Parts().save(tmp_path / "x.json")
    (tmp_path / "plain").write_text("")
    assert (tmp_path / "x.json").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize(
    ("arrays", "meta", "error", "message"),
    [
        ({"a": np.array(["text"])}, {}, TypeError, r"arrays\['a'\] has dtype"),
        ({"a": np.array([object()])}, {}, TypeError, "dtype object"),
        ({"a": np.array([1j])}, {}, TypeError, "complex128"),
        ({"../a": np.ones(1)}, {}, ValueError, r"'\.\./a'"),
        ({"a//b": np.ones(1)}, {}, ValueError, "a//b"),
        ({"a": np.ones(1), "a/b": np.ones(1)}, {}, ValueError, "'a' is an array and cannot be the group"),
        ({}, {"f": [len]}, TypeError, r"meta\['f'\]\[0\] is a builtin"),
        ({}, {"f": {1: 2}}, TypeError, "has the key 1"),
        ({}, {"$float": 1}, ValueError, r"\$float"),
    ],
)
def test_what_files_cannot_hold_is_refused_before_writing(path, arrays, meta, error, message):
    with pytest.raises(error, match=message):
        Parts(arrays, meta).save(path)
    assert os.listdir(path.parent) == []


def test_dims_must_fit(path):
    with pytest.raises(ValueError, match=r"dims\['a'\]"):
        Parts({"a": np.ones((2, 2))}, dims={"a": ("x",)}).save(path)


def test_missing(path):
    with pytest.raises(FileNotFoundError, match="no such file") as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"[1]", "without"),
        (b'{"format": "other"}', "without"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b'{"format": "repflow", "schema": "test-parts", "version": 2}', "damaged"),
        (
            b'{"format": "repflow", "arrays": {"a": {"dtype": "O", "shape": [1], "data": [1]}}, "meta": {}}',
            "damaged.*'O'",
        ),
        (
            b'{"format": "repflow", "arrays": {"a": {"dtype": "int8", "shape": [2], "data": [1]}}, "meta": {}}',
            "damaged",
        ),
        (
            b'{"format": "repflow", "arrays": {"a": {"dtype": "int8", "shape": [1], "data": ["x"]}}, "meta": {}}',
            "damaged",
        ),
        (b'{"format": "repflow", "arrays": {}, "meta": {}, "schema": "nobody", "version": 1}', "schema 'nobody'"),
        (b'{"format": "repflow", "arrays": {}, "meta": {}, "schema": "nobody", "module": "this"}', "schema 'nobody'"),
    ],
)
def test_files_that_are_not_results(tmp_path, content, message):
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        load(tmp_path / "x.json")
    assert str(tmp_path / "x.json") in str(caught.value)


@settings(max_examples=50)
@given(data=st.data())
def test_a_damaged_file_never_raises_anything_but_ValueError(data, tmp_path_factory):
    text = Parts({"a": np.arange(4.0)}, {"b": [1, 2.5]}).to_json()
    start = data.draw(st.integers(0, len(text) - 1))
    stop = data.draw(st.integers(start, len(text)))
    path = tmp_path_factory.mktemp("damaged") / "x.json"
    path.write_text(text[:start] + data.draw(st.text(max_size=4)) + text[stop:], encoding="utf-8")
    try:
        result = load(path)
    except ValueError as error:
        assert str(path) in str(error)
    else:
        assert isinstance(result, Parts)


@pytest.mark.parametrize(
    ("version", "message"), [(3, "a newer repflow"), (1, "compute it again"), (None, "compute it")]
)
def test_other_versions_are_refused(tmp_path, version, message):
    data = json.loads(Parts().to_json()) | {"version": version}
    (tmp_path / "x.json").write_text(json.dumps(data))
    with pytest.raises(ValueError, match=message):
        load(tmp_path / "x.json")


def test_a_store_without_one_of_its_chunks_is_refused(tmp_path):
    Parts({"a": np.zeros(3)}).save(tmp_path / "x")
    chunk = next(file for file in (tmp_path / "x" / "a").rglob("*") if file.is_file() and file.name != "zarr.json")
    chunk.unlink()
    with pytest.raises(ValueError, match="chunks of 'a' are missing"):
        load(tmp_path / "x")


def test_a_store_without_one_of_its_arrays_is_refused(tmp_path):
    Parts({"a": np.zeros(3)}).save(tmp_path / "x")
    (tmp_path / "x" / "a" / "zarr.json").unlink()
    with pytest.raises(ValueError, match="damaged"):
        load(tmp_path / "x")


def test_a_directory_that_is_no_store(tmp_path):
    with pytest.raises(ValueError, match="not a repflow result"):
        load(tmp_path)


def test_payload_that_lacks_a_part_is_damaged(path):
    Parts({}, {"needs": "kernel"}).save(path)
    with pytest.raises(ValueError, match="damaged: 'test-parts' lacks 'kernel'"):
        load(path)


def test_from_json_of_another_class():
    @result_schema("test-other")
    class Other(Parts):
        pass

    with pytest.raises(ValueError, match="schema 'test-other', not"):
        _Strict.from_json(Other().to_json())


@result_schema("test-strict")
class _Strict(Parts):
    pass


def test_schema_names_are_unique():
    with pytest.raises(ValueError, match="registered by .*Parts already"):

        @result_schema("test-parts")
        class Twin(Parts):
            pass


def test_a_class_without_schema_says_how_to_register():
    class Bare(Result):
        def _payload(self):
            return Payload({})

        @classmethod
        def _from_payload(cls, payload, activations):
            return cls()

    with pytest.raises(TypeError, match="result_schema"):
        Bare().to_json()


def test_directories_of_others_are_left_alone(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    with pytest.raises(OSError, match="did not write"):
        Parts().save(tmp_path / "mine")
    (tmp_path / "mine" / "zarr.json").write_text('{"attributes": {"format": "somebody else"}}')
    with pytest.raises(OSError, match="did not write"):
        Parts().save(tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "years of work"
    assert os.listdir(tmp_path) == ["mine"]


def test_an_empty_directory_is_used(tmp_path):
    (tmp_path / "out").mkdir()
    Parts({"a": np.ones(2)}).save(tmp_path / "out")
    assert list(load(tmp_path / "out").arrays) == ["a"]


def test_unwritable_paths(tmp_path):
    (tmp_path / "file").write_text("kept")
    for path in (tmp_path / "file" / "x.json", tmp_path / "file" / "x"):
        with pytest.raises(OSError, match="cannot be written") as caught:
            Parts().save(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(OSError, match="a file is there"):
        Parts().save(tmp_path / "file")
    (tmp_path / "dir.json").mkdir()
    with pytest.raises(OSError, match="is a directory"):
        Parts().save(tmp_path / "dir.json")
    assert (tmp_path / "file").read_text() == "kept"
    assert sorted(os.listdir(tmp_path)) == ["dir.json", "file"]


def test_text_that_cannot_be_moved_leaves_the_old(tmp_path, monkeypatch):
    path = tmp_path / "x.txt"
    atomic_write_text(path, "old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match=r"x\.txt.*No space left"):
        atomic_write_text(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["x.txt"]


def test_directory_that_fails_half_way_leaves_the_old(tmp_path):
    path = tmp_path / "x"
    Parts({"a": np.ones(2)}).save(path)

    def fail():
        with atomic_directory(path, replaceable=lambda _: True) as directory:
            (directory / "half").write_text("")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(load(path).arrays) == ["a"]
    assert os.listdir(tmp_path) == ["x"]


def test_directory_whose_last_move_fails_puts_the_old_back(tmp_path, monkeypatch):
    path = tmp_path / "x"
    Parts({"a": np.ones(2)}).save(path)
    moves = []
    rename = os.rename

    def second_fails(source, target):
        moves.append(target)
        if len(moves) == 2:
            raise OSError(5, "Input/output error")
        rename(source, target)

    monkeypatch.setattr(os, "rename", second_fails)
    with pytest.raises(OSError, match="Input/output"):
        Parts({"b": np.ones(2)}).save(path)
    assert len(moves) == 3
    assert list(load(path).arrays) == ["a"]
    assert os.listdir(tmp_path) == ["x"]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "link.json").symlink_to("real.json")
    Parts().save(tmp_path / "link.json")
    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "real.json").is_file()


def test_to_xarray_names_dimensions():
    parts = Parts({"1/kernel": np.eye(2), "b": np.ones(3)}, {"seed": 1}, {"1/kernel": ("input", "input")})
    dataset = parts.to_xarray()
    assert dataset["1.kernel"].dims == ("input", "input'")
    assert dataset["b"].dims == ("b_0",)
    assert dataset.attrs["schema"] == "test-parts"
    assert json.loads(dataset.attrs["meta"]) == {"seed": 1}


def test_labelled():
    dataset = labelled({"V": (("input",) * 4, np.ones((2,) * 4))}, coords={"input": [5, 6]}, attrs={"a": 1})
    assert dataset["V"].dims == ("input", "input'", "input''", "input'''")
    assert dataset["V"].sel(input=6).shape == (2, 2, 2)
    with pytest.raises(ValueError, match="'V' has 1 axes but 2 axis names"):
        labelled({"V": (("a", "b"), np.ones(2))})


def test_load_imports_only_modules_of_repflow(tmp_path):
    (Path(tmp_path) / "x.json").write_text(
        '{"format": "repflow", "arrays": {}, "meta": {}, "schema": "s", "version": 1, "module": "repflow.no_such_room"}'
    )
    with pytest.raises(ValueError, match="schema 's', which this repflow doesn't know"):
        load(tmp_path / "x.json")
