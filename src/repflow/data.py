"""Reading inputs: the handwritten digits, and .npy, .npz, .csv and .parquet files."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

# How many inputs stand for a data set unless the caller says: the four-point vertex grows as the fourth power.
DEFAULT_INPUTS = 4
#: Images of the digits data set.
DIGITS = 1797


@dataclass(frozen=True, eq=False)
class Dataset:
    """Inputs, with their targets where there are any.

    Attributes
    ----------
    x
        Inputs, shape (N, n_0), float64, finite.
    y
        Targets, shape (N,) or (N, k), or ``None``. Class labels are integers; everything else is float64.
    name
        Where the data came from: ``"digits"`` or the file's name.
    n_outputs
        Outputs n_L that a network needs for these targets: the number of classes of integer labels 0..c-1, the number
        of columns of other targets; ``None`` without targets.
    standardized
        Whether one mean was subtracted from all entries of x, and all were divided by one standard deviation.
    description
        One sentence for a report: what was read, which rows were taken, what was done to them.
    """

    x: NDArray[np.float64]
    y: NDArray[Any] | None
    name: str
    n_outputs: int | None = None
    standardized: bool = False
    description: str = field(default="", repr=False)

    def __len__(self) -> int:
        return len(self.x)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        # What takes inputs x takes a data set too.
        return np.array(self.x, dtype=dtype) if copy else np.asarray(self.x, dtype=dtype)

    def __repr__(self) -> str:
        targets = "" if self.y is None else f", y{self.y.shape}"
        return f"Dataset({self.name!r}, x{self.x.shape}{targets}, standardized={self.standardized})"


def load_data(
    source: str | os.PathLike[str],
    inputs: int | None = None,
    target: str | None = None,
    x_key: str = "x",
    y_key: str = "y",
    standardize: bool | None = None,
    seed: int | None = None,
    at_most: int = DEFAULT_INPUTS,
) -> Dataset:
    """Read the inputs that a network is to be studied on.

    Parameters
    ----------
    source
        ``"digits"`` (1797 images of 8 x 8 pixels in 10 classes, from scikit-learn), or the path of a ``.npy`` file
        with an array (N, n_0), a ``.npz`` file with such an array under ``x_key`` and perhaps targets under ``y_key``,
        or a ``.csv`` (with a header line) or ``.parquet`` file whose columns, but for ``target``, are all numeric.
    inputs
        Number N of inputs to take; ``at_most`` (4), or all of a smaller file, unless given. Of the digits, one image of
        each of the first classes in turn: 4 inputs are a 0, a 1, a 2 and a 3, and the eleventh is the second 0. Of a
        file, the first rows.
    target
        Column of a .csv or .parquet file that holds the targets.
    x_key, y_key
        Names of the arrays in a .npz file.
    standardize
        Subtract one mean over all rows and columns and divide by one standard deviation, both over the whole data set,
        so that x.x/n_0 is about 1. By default digits are standardised, and files are taken as they are.
    seed
        Take a random choice of inputs (of each class, for the digits) with this seed, not the first ones.
    at_most
        The number taken where ``inputs`` is not given: as many as there are up to this one.

    Returns
    -------
    Dataset

    Raises
    ------
    FileNotFoundError, OSError
        The file is missing or cannot be read.
    ValueError
        The file's contents are not what is described above, hold NaN or infinities (the row and column are named),
        have fewer rows than ``inputs``, or are constant and so cannot be standardised.
    TypeError
        An argument has the wrong type.
    """
    _check_arguments(inputs, standardize, seed, at_most)
    if isinstance(source, str) and source == "digits":
        if target is not None:
            raise ValueError(
                f"target is {target!r}, but digits bring their own labels; it is for .csv and .parquet files"
            )
        return _digits(min(at_most, DIGITS) if inputs is None else inputs, standardize is not False, seed)
    if not isinstance(source, (str, os.PathLike)):
        raise TypeError(
            f"source must be 'digits' or a path, got {type(source).__name__}; an array, a tensor or a DataFrame of "
            "numbers needs no reading: pass it as x"
        )
    path = Path(source).expanduser()
    if "://" in str(source):
        raise ValueError(f"source {str(source)!r} is an address; save what is there as a file first")
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise ValueError(f"source {str(source)!r} is unknown; accepted are 'digits' and files {', '.join(_READERS)}")
    if target is not None and path.suffix.lower() not in (".csv", ".parquet"):
        raise ValueError(
            f"target is {target!r}, but only .csv and .parquet files have columns; source is {str(path)!r}"
        )
    if not path.exists():
        raise FileNotFoundError(f"source {str(path)!r}: no such file")
    if not path.is_file():
        raise ValueError(f"source {str(path)!r} is not a file")
    x, y = reader(path, target, x_key, y_key)
    return _from_file(path, x, y, min(len(x), at_most) if inputs is None else inputs, bool(standardize), seed)


def _check_arguments(inputs: int | None, standardize: bool | None, seed: int | None, at_most: int) -> None:
    for name, value, least in (("inputs", inputs, 1), ("seed", seed, 0), ("at_most", at_most, 1)):
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
            raise TypeError(f"{name} must be a whole number, got {value!r}")
        if value < least:
            raise ValueError(f"{name} must be {least} or more, got {value}")
    if standardize is not None and not isinstance(standardize, (bool, np.bool_)):
        raise TypeError(f"standardize must be True, False or None, got {standardize!r}")


# The digits


def _digits(inputs: int, standardize: bool, seed: int | None) -> Dataset:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    images, labels = np.asarray(images, dtype=np.float64), np.asarray(labels, dtype=np.int64)
    if inputs > len(images):
        raise ValueError(f"inputs is {inputs}, but the digits are {len(images)} images")
    order = np.arange(len(images)) if seed is None else np.random.default_rng(seed).permutation(len(images))
    # Rank of each image within its class: sorting by (rank, class) takes the classes in turn.
    rank = np.empty(len(images), dtype=np.int64)
    for label in range(10):
        members = order[labels[order] == label]
        rank[members] = np.arange(len(members))
    chosen = np.lexsort((labels, rank))[:inputs]
    x = _standardized(images, "digits") if standardize else images
    how = "first" if seed is None else f"random (seed {seed})"
    description = (
        f"{inputs} of the 1797 handwritten digits (8 x 8 pixels): the {how} images, one of each class in turn"
        + (", standardised by one mean and one standard deviation of the whole data set" if standardize else "")
    )
    return Dataset(x[chosen], labels[chosen], "digits", 10, standardize, description)


# Files


def _read_npy(path: Path, target: str | None, x_key: str, y_key: str) -> tuple[NDArray[np.float64], None]:
    array = _load_numpy(path)
    if not isinstance(array, np.ndarray):
        raise ValueError(f"source {str(path)!r} holds several arrays; rename it to .npz")
    return _matrix(array, path, "array"), None


def _read_npz(
    path: Path, target: str | None, x_key: str, y_key: str
) -> tuple[NDArray[np.float64], NDArray[Any] | None]:
    archive = _load_numpy(path)
    if isinstance(archive, np.ndarray):
        raise ValueError(f"source {str(path)!r} holds a single array; rename it to .npy")
    with archive:
        if x_key not in archive.files:
            names = ", ".join(repr(name) for name in archive.files) or "none"
            raise ValueError(f"source {str(path)!r} has no array {x_key!r}; there are: {names}; choose one with x_key")
        if y_key not in archive.files and y_key != "y":
            names = ", ".join(repr(name) for name in archive.files)
            raise ValueError(f"source {str(path)!r} has no array {y_key!r}; there are: {names}; choose one with y_key")
        x = _matrix(_member(archive, x_key, path), path, f"array {x_key!r}")
        y = _targets(_member(archive, y_key, path), len(x), path, repr(y_key)) if y_key in archive.files else None
    return x, y


def _load_numpy(path: Path) -> Any:
    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        if "allow_pickle" not in str(error):
            raise ValueError(f"source {str(path)!r} is not a NumPy file, or is damaged: {_one_line(error)}") from error
        if _has_numpy_header(path):
            raise ValueError(_object_message(path, "array")) from error
        # NumPy would have taken it for a pickle, and its message says how to load one.
        raise ValueError(f"source {str(path)!r} is not a NumPy file") from error
    except Exception as error:  # a damaged archive raises zipfile's own errors, or zlib's
        raise _unreadable(path, error) from error


def _has_numpy_header(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(6) == b"\x93NUMPY"


def _member(archive: Any, key: str, path: Path) -> NDArray[Any]:
    try:
        return np.asarray(archive[key])
    except ValueError as error:
        if "allow_pickle" in str(error):
            raise ValueError(_object_message(path, f"array {key!r}")) from error
        raise _unreadable(path, error) from error
    except Exception as error:  # as above: the archive is only unpacked here
        raise _unreadable(path, error) from error


def _object_message(path: Path, what: str) -> str:
    return f"source {str(path)!r}: {what} holds Python objects, which are not read; save it with a numeric dtype"


def _read_table(
    path: Path, target: str | None, x_key: str, y_key: str
) -> tuple[NDArray[np.float64], NDArray[Any] | None]:
    import pandas as pd

    try:
        frame = pd.read_csv(path) if path.suffix.lower() == ".csv" else pd.read_parquet(path)
    except pd.errors.EmptyDataError:
        raise ValueError(f"source {str(path)!r} is empty") from None
    except Exception as error:  # pandas and pyarrow raise many kinds, not all public
        raise _unreadable(path, error) from error
    columns = [str(name) for name in frame.columns]
    frame.columns = pd.Index(columns)
    repeated = sorted({name for name in columns if columns.count(name) > 1})
    if repeated:
        raise ValueError(f"source {str(path)!r} has several columns named {', '.join(map(repr, repeated))}")
    y = None
    if target is not None:
        if target not in columns:
            raise ValueError(f"target {target!r} is not a column of {str(path)!r}; there are: {_few(columns)}")
        y = _target_column(frame[target], path)
        frame = frame.drop(columns=target)
    if frame.shape[1] == 0:
        raise ValueError(f"source {str(path)!r} has no columns of inputs")
    if len(frame) == 0:
        raise ValueError(f"source {str(path)!r} is empty: it has columns but no rows")
    text = [name for name in frame.columns if not _numeric(frame[name])]
    if text:
        raise ValueError(
            f"source {str(path)!r} has columns that are not numeric: {_few(text)}; drop them, or name one as target"
        )
    if path.suffix.lower() == ".csv" and _looks_headless(path):
        raise ValueError(
            f"source {str(path)!r} needs a header line with the names of the columns; its first line is all numbers"
        )
    return _matrix(frame.to_numpy(dtype=np.float64, na_value=np.nan), path, "table", list(frame.columns)), y


def _numeric(column: pd.Series) -> bool:
    import pandas as pd

    return bool(pd.api.types.is_numeric_dtype(column)) and not pd.api.types.is_complex_dtype(column)


def _looks_headless(path: Path) -> bool:
    """Whether the first line is itself data: numbers, yet not column numbers 0, 1, 2 or 1, 2, 3."""
    import pandas as pd

    # Read again: as names, equal numbers would have been made different.
    first = pd.read_csv(path, header=None, nrows=1, dtype=str, keep_default_na=False)
    try:
        values = [float(name) for name in first.iloc[0]]
    except ValueError:
        return False
    steps = np.diff(values)
    return not (values[0] in (0.0, 1.0) and bool((steps == 1.0).all()))


def _target_column(column: pd.Series, path: Path) -> NDArray[Any]:
    if column.isna().any():
        row = int(np.flatnonzero(column.isna().to_numpy())[0])
        raise ValueError(f"source {str(path)!r}: target {column.name!r} has no value in row {row}")
    if _numeric(column):
        return _targets(column.to_numpy(), len(column), path, repr(column.name))
    # Labels that are text or the like: their place in sorted order is the class.
    _, codes = np.unique(column.astype(str).to_numpy(dtype=object), return_inverse=True)
    return codes.astype(np.int64)


def _matrix(array: NDArray[Any], path: Path, what: str, columns: list[str] | None = None) -> NDArray[np.float64]:
    where = f"source {str(path)!r}: {what}"
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{where} has dtype {array.dtype}; inputs must be real numbers")
    if array.ndim != 2:
        remedy = {
            0: "save an array of shape (N, n_0)",
            1: "use x[None, :] for one input, or x[:, None] for inputs of one feature",
        }.get(array.ndim, "flatten each input: x.reshape(len(x), -1)")
        raise ValueError(f"{where} has shape {array.shape}; inputs must be 2-dimensional, (N, n_0): {remedy}")
    if array.size == 0:
        raise ValueError(f"{where} is empty: shape {array.shape}")
    x = np.ascontiguousarray(array, dtype=np.float64)
    bad = np.argwhere(~np.isfinite(x))
    if len(bad):
        row, column = (int(index) for index in bad[0])
        name = column if columns is None else repr(columns[column])
        more = f", and {len(bad) - 1} more" if len(bad) > 1 else ""
        raise ValueError(f"{where} has {x[row, column]} in row {row}, column {name}{more}; inputs must be finite")
    return x


def _targets(array: NDArray[Any], rows: int, path: Path, name: str) -> NDArray[Any]:
    where = f"source {str(path)!r}: targets {name}"
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{where} have dtype {array.dtype}; targets must be real numbers")
    if array.ndim not in (1, 2) or len(array) != rows or array.size == 0:
        raise ValueError(f"{where} have shape {array.shape}; expected ({rows},) or ({rows}, k), one for each input")
    if array.dtype.kind != "f":
        return array.astype(np.int64)
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        raise ValueError(f"{where} have {array[tuple(bad[0])]} in row {int(bad[0][0])}; targets must be finite")
    return array.astype(np.float64)


def _from_file(
    path: Path, x: NDArray[np.float64], y: NDArray[Any] | None, wanted: int, standardize: bool, seed: int | None
) -> Dataset:
    rows = len(x)
    if wanted > rows:
        raise ValueError(f"inputs is {wanted}, but {str(path)!r} has {rows} rows")
    n_outputs = None if y is None else _n_outputs(y)
    if standardize:
        x = _standardized(x, str(path))
    if seed is None:
        chosen = np.arange(wanted)
        which = f"the first {wanted} of {rows} rows" if wanted < rows else f"all {rows} rows"
    else:
        chosen = np.random.default_rng(seed).permutation(rows)[:wanted]
        which = f"{wanted} of {rows} rows at random (seed {seed})"
    how = "standardised by one mean and one standard deviation of the whole file" if standardize else "as they are"
    return Dataset(
        x[chosen], None if y is None else y[chosen], path.name, n_outputs, standardize, f"{path.name}: {which}, {how}"
    )


def _n_outputs(y: NDArray[Any]) -> int:
    if y.ndim == 2:
        return y.shape[1]
    if y.dtype.kind == "f":
        return 1
    classes = np.unique(y)
    return len(classes) if np.array_equal(classes, np.arange(len(classes))) and len(classes) > 1 else 1


def _standardized(x: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    mean, deviation = float(x.mean()), float(x.std())
    if not deviation > 1e-12 * abs(mean) or not np.isfinite(deviation):
        raise ValueError(f"standardize: {name!r} is constant ({mean:g} throughout), so it has no standard deviation")
    return np.asarray((x - mean) / deviation, dtype=np.float64)


def _few(names: list[str], most: int = 8) -> str:
    shown = ", ".join(repr(name) for name in names[:most])
    return shown if len(names) <= most else f"{shown}, and {len(names) - most} more"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _unreadable(path: Path, error: Exception) -> Exception:
    if isinstance(error, OSError) and error.errno is not None:
        return OSError(f"source {str(path)!r} cannot be read: {error.strerror}")
    return ValueError(f"source {str(path)!r} cannot be read as {path.suffix.lower()}: {_one_line(error)}")


_READERS: dict[str, Callable[..., tuple[NDArray[np.float64], NDArray[Any] | None]]] = {
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".csv": _read_table,
    ".parquet": _read_table,
}
