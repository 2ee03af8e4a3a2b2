"""Arrays and data frames as pyarrow Tables, and pyarrow Tables as arrays and data frames."""

import datetime as dt
from collections.abc import Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from caudal.data import dtypes, temporal
from caudal.data.refusals import check_columns, damage
from caudal.data.table.values import as_text, is_filled
from caudal.data.unpacked import check_arrays
from caudal.errors import InputError, one_line

CONTAINERS = ("pandas", "polars", "pyarrow", "numpy", "torch")
_SINGLE = (str, Real, np.generic, dt.date, dt.time, dt.timedelta)
"""Types of which a column of text can hold any."""
_REFUSALS = (pa.ArrowException, TypeError, ValueError)


def container_of(data: Any) -> str:
    """Which of `CONTAINERS` the data are; "pyarrow" for paths, names and dicts of columns."""
    from narwhals import dependencies

    if dependencies.is_pandas_dataframe(data):
        return "pandas"
    if dependencies.is_polars_dataframe(data):
        return "polars"
    if isinstance(data, torch.Tensor):
        return "torch"
    return "numpy" if isinstance(data, np.ndarray) else "pyarrow"


def as_table(data: Any, name: str = "table", notes: list[str] | None = None) -> pa.Table:
    """A pyarrow Table from whatever holds columns in Python.

    Args:
        data: a pyarrow Table or RecordBatch, a DataFrame of pandas, polars or another library that
            narwhals knows, an array or tensor (N,) or (N, D), or a dict of columns.
        name: what errors call it.
        notes: gets what the user should know of how it was read.

    Raises:
        InputError: it is none of these, or a column has values that no table can hold.
    """
    notes = [] if notes is None else notes
    if isinstance(data, pa.Table):
        return data
    if isinstance(data, pa.RecordBatch):
        return pa.Table.from_batches([data])
    if isinstance(data, torch.Tensor):
        data = data.detach().cpu().numpy()
    if isinstance(data, np.ndarray):
        return array_table(data, name)
    if isinstance(data, Mapping):
        return _from_columns(data, name, notes)
    return _from_frame(data, name, notes)


def index_note(data: Any) -> str | None:
    """A note on a pandas DataFrame whose index has a name or is no number: it is left out."""
    if container_of(data) != "pandas":
        return None
    names = [n for n in data.index.names if n is not None]
    if not names and data.index.dtype.kind in "iu":
        return None
    shown = f" ({', '.join(map(str, names))})" if names else ""
    return f"the index{shown} is left out: df.reset_index() makes a column of it"


def like(table: pa.Table, kind: str) -> Any:
    """The table as one of `CONTAINERS`.

    Arrays and tensors are (N, D), with NaN for missing values. An array with a column of text or
    dates has the type object.

    Raises:
        InputError: text in a tensor.
    """
    if kind not in CONTAINERS:
        raise ValueError(f"unknown container '{kind}', not of {CONTAINERS}")
    if kind == "pyarrow":
        return table
    if kind in ("pandas", "polars"):
        import narwhals

        frame = narwhals.from_native(table, eager_only=True)
        return frame.to_pandas() if kind == "pandas" else frame.to_polars()
    texts = [f.name for f in table.schema if _is_no_number(f.type)]
    if kind == "torch" and texts:
        dtype = table.schema.field(texts[0]).type
        what = "text" if dtypes.is_text(dtypes.value_type(dtype)) else str(dtype)
        raise InputError(f"column '{texts[0]}' is {what}, a tensor holds numbers: take a table")
    columns = [column_array(column) for column in table.columns]
    matrix = np.stack(columns, 1) if not texts else np.array(columns, object).T
    return matrix if kind == "numpy" else torch.from_numpy(matrix)


def _is_no_number(dtype: pa.DataType) -> bool:
    plain = dtypes.value_type(dtype)
    return dtypes.is_text(plain) or temporal.is_modelled(plain)


def as_container(values: np.ndarray, name: str, data: Any) -> Any:
    """Values (N,), one for each row of `data`, as a column of the library that `data` is of.

    A pandas Series keeps the index of the DataFrame.
    """
    kind = container_of(data)
    if kind == "pandas":
        import pandas

        return pandas.Series(values, index=data.index, name=name)
    if kind == "polars":
        import polars

        return polars.Series(name, values)
    return torch.from_numpy(values) if kind == "torch" else values


def column_array(column: pa.ChunkedArray) -> np.ndarray:
    """A column as an array (N,); a missing value is NaN, NaT in dates, "" in text."""
    column = dtypes.plain(column)
    if pa.types.is_time(column.type):  # NumPy has no times of day, but durations
        column = column.cast(pa.time64("us")).cast(pa.int64()).cast(pa.duration("us"))
    if temporal.is_modelled(column.type):
        return column.to_numpy()
    if dtypes.is_text(column.type):
        return np.array(column.fill_null("").to_pylist(), dtype=np.str_)
    if column.null_count and not pa.types.is_floating(column.type):
        column = column.cast(pa.float64(), safe=False)
    if pa.types.is_floating(column.type):
        column = column.fill_null(float("nan"))
    return column.to_numpy()


def _from_columns(data: Mapping[Any, Any], name: str, notes: list[str]) -> pa.Table:
    columns = [_column(values, f"{name}, column '{key}'", notes) for key, values in data.items()]
    lengths = {str(key): len(column) for key, column in zip(data, columns, strict=True)}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"'{key}' {length}" for key, length in list(lengths.items())[:6])
        raise InputError(f"{name} has columns of several lengths: {shown}")
    return pa.table(columns, names=list(lengths))


def _from_frame(data: Any, name: str, notes: list[str]) -> pa.Table:
    if container_of(data) == "pandas":  # its names may be there twice
        each = [(str(key), data.iloc[:, i]) for i, key in enumerate(data.columns)]
        columns = [_column(values, f"{name}, column '{key}'", notes) for key, values in each]
        return pa.table(columns, names=[key for key, _ in each])
    import narwhals

    try:
        return narwhals.from_native(data, eager_only=True).to_arrow()
    except TypeError:
        raise InputError(
            f"cannot read a table from {type(data).__name__}: give a pandas, polars or pyarrow "
            f"table, an array, or a dict of columns"
        ) from None
    except _REFUSALS as error:
        made = {
            str(key): _column(data[key], f"{name}, column '{key}'", notes)
            for key in getattr(data, "columns", ())
        }
        if not made:
            raise InputError(f"{name} cannot be read as a table: {one_line(error, 120)}") from None
        return pa.table(made)


def _column(values: Any, where: str, notes: list[str]) -> pa.Array | pa.ChunkedArray:
    """Values (N,) as a column of one type; numbers among words are words, which is noted."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().numpy()
    if not hasattr(values, "__iter__") or isinstance(values, str):
        raise InputError(f"{where} is a single value: give a list of one for each row")
    if getattr(values, "dtype", None) is not None and getattr(values.dtype, "kind", "") == "c":
        raise InputError(f"{where} holds complex numbers: give real and imaginary parts as two")
    try:
        return pa.array(values, from_pandas=hasattr(values, "iloc"))
    except _REFUSALS as error:
        kinds = _kinds(values)
        if len(kinds) < 2 or not all(issubclass(kind, _SINGLE) for kind in kinds):
            raise InputError(f"{where} {_trouble(values, error)}") from None
    shown = " and ".join(kind.__name__ for kind in kinds[:3])
    notes.append(f"{where} mixes values of types {shown}: they are read as text")
    return as_text(values)[0]


def _kinds(values: Any) -> list[type]:
    """The types of values (N,), without that of missing ones."""
    if getattr(values, "ndim", 1) > 1:
        return []
    return list(dict.fromkeys(type(value) for value in values if is_filled(value)))


def _trouble(values: Any, error: Exception) -> str:
    """What is wrong with values that arrow does not take, and what to do."""
    if getattr(values, "ndim", 1) > 1:
        return f"has shape {tuple(values.shape)}: give one value a row"
    kinds = [kind.__name__ for kind in _kinds(values)]
    if "complex" in kinds:
        return "holds complex numbers: give real and imaginary parts as two columns"
    if len(kinds) > 1:
        return f"mixes values of types {' and '.join(kinds[:3])}: make them all numbers or text"
    return f"holds values that no table can hold ({one_line(error, 120)}): leave the column out"


def read_array_file(path: Path, name: str) -> pa.Table:
    """Reads a .npy or .npz file into a table.

    A .npy file holds (N,), (N, D) or a structured array, whose fields are the columns. A .npz file
    holds one such array, perhaps with an array of D column names, or several arrays with the same
    N: then a vector is one column under its own name, and a matrix `X` the columns X0, X1, ...

    Raises:
        InputError: the file is damaged, holds objects, or its arrays make no table.
    """
    with damage(name):
        check_arrays(path, name)
    with damage(name), path.open("rb") as file:  # np.load leaves a damaged file open
        loaded = np.load(file, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return array_table(loaded, name)
        with loaded:
            return _npz_table({key: loaded[key] for key in loaded.files}, name)


def is_numbered(names: Sequence[str]) -> bool:
    """Whether these are the names that columns without any get: x0, x1, ... or c0, c1, ..."""
    return list(names) == ["x"] or any(
        list(names) == [f"{prefix}{i}" for i in range(len(names))] for prefix in "xc"
    )


def array_table(array: np.ndarray, name: str, prefix: str = "x") -> pa.Table:
    """The columns of an array (N,), (N, D), or structured.

    Raises:
        InputError: it has other dimensions, or values that are neither numbers, truth values nor
            text.
    """
    if array.dtype.names:
        fields = list(array.dtype.names)
        return pa.table([_array_column(array[field], name) for field in fields], names=fields)
    if array.ndim == 1:
        return pa.table([_array_column(array, name)], names=[prefix])
    if array.ndim != 2:
        raise InputError(
            f"{name} holds an array of shape {array.shape}: a table is (rows, columns), reshape "
            f"it, or open it with open_images if it holds images"
        )
    check_columns(array.shape[1], name)
    names = [f"{prefix}{i}" for i in range(array.shape[1])]
    return pa.table([_array_column(column, name) for column in array.T], names=names)


def _array_column(values: np.ndarray, name: str) -> pa.Array:
    if values.ndim != 1 or values.dtype.kind not in "biufUSMm":
        raise InputError(
            f"{name} holds values of type {values.dtype}: a table needs numbers, dates or text"
        )
    values = np.ascontiguousarray(values.astype(values.dtype.newbyteorder("="), copy=False))
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8")
    return pa.array(values)


def _npz_table(arrays: dict[str, np.ndarray], name: str) -> pa.Table:
    data = {key: a for key, a in arrays.items() if a.ndim}  # scalars are remarks
    labels = _labels(data)
    if labels is not None:
        matrix = next(a for a in data.values() if a.ndim == 2)
        return array_table(matrix, name).rename_columns(labels)
    if len(data) == 1:
        return array_table(next(iter(data.values())), name)
    lengths = {key: len(a) for key, a in data.items()}
    if len(set(lengths.values())) != 1:
        shown = ", ".join(f"{key} {arrays[key].shape}" for key in list(arrays)[:6])
        raise InputError(
            f"{name} holds {shown or 'no arrays'}: save one table, arrays of equally many rows"
        )
    parts = [array_table(a, name, prefix=key) for key, a in data.items()]
    names = [n for part in parts for n in part.column_names]
    return pa.table([column for part in parts for column in part.columns], names=names)


def _labels(data: dict[str, np.ndarray]) -> list[str] | None:
    """The column names, where the arrays are one matrix (N, D) and D texts."""
    matrices = [a for a in data.values() if a.ndim == 2]
    texts = [a for a in data.values() if a.ndim == 1 and a.dtype.kind in "US"]
    if len(data) == 2 and matrices and texts and len(texts[0]) == matrices[0].shape[1]:
        return [t.decode() if isinstance(t, bytes) else str(t) for t in texts[0].tolist()]
    return None
