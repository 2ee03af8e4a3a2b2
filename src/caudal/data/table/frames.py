"""Tables of other libraries: taken in as pyarrow Tables, and given back as what they were."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from caudal.data import dtypes
from caudal.data.table.arrays import array_table
from caudal.errors import InputError

CONTAINERS = ("pandas", "polars", "pyarrow", "numpy", "torch")
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


def as_table(data: Any, name: str = "table") -> pa.Table:
    """A pyarrow Table from whatever holds columns in Python.

    Args:
        data: a pyarrow Table or RecordBatch, a DataFrame of pandas, polars or another library that
            narwhals knows, an array or tensor (N,) or (N, D), or a dict of columns.
        name: what errors call it.

    Raises:
        InputError: it is none of these, or a column has no type of its own.
    """
    if isinstance(data, pa.Table):
        return data
    if isinstance(data, pa.RecordBatch):
        return pa.Table.from_batches([data])
    if isinstance(data, torch.Tensor):
        data = data.detach().cpu().numpy()
    if isinstance(data, np.ndarray):
        return array_table(data, name)
    if isinstance(data, Mapping):
        return _from_columns(data, name)
    return _from_frame(data, name)


def index_note(data: Any) -> str | None:
    """A note where a pandas DataFrame has an index that says something: it is not a column."""
    if container_of(data) != "pandas":
        return None
    names = [n for n in data.index.names if n is not None]
    if not names and data.index.dtype.kind in "iu":
        return None
    shown = f" ({', '.join(map(str, names))})" if names else ""
    return f"the index{shown} is left out: df.reset_index() makes a column of it"


def like(table: pa.Table, kind: str) -> Any:
    """The table as one of `CONTAINERS`.

    Arrays and tensors are (N, D), with NaN for missing values. An array with a column of text has
    the type object.

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
    texts = [f.name for f in table.schema if dtypes.is_text(dtypes.value_type(f.type))]
    if kind == "torch" and texts:
        raise InputError(f"column '{texts[0]}' is text, a tensor holds numbers: take a table")
    columns = [column_array(column) for column in table.columns]
    matrix = np.stack(columns, 1) if not texts else np.array(columns, object).T
    return matrix if kind == "numpy" else torch.from_numpy(matrix)


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
    """A column as an array (N,): NaN, or of text "", where a value is missing."""
    column = dtypes.plain(column)
    if dtypes.is_text(column.type):
        return np.array(column.fill_null("").to_pylist(), dtype=np.str_)
    if column.null_count and not pa.types.is_floating(column.type):
        column = column.cast(pa.float64(), safe=False)
    if pa.types.is_floating(column.type):
        column = column.fill_null(float("nan"))
    return column.to_numpy()


def _from_columns(data: Mapping[Any, Any], name: str) -> pa.Table:
    columns = [_column(values, f"{name}, column '{key}'") for key, values in data.items()]
    lengths = {str(key): len(column) for key, column in zip(data, columns, strict=True)}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"'{key}' {length}" for key, length in list(lengths.items())[:6])
        raise InputError(f"{name} has columns of several lengths: {shown}")
    return pa.table(columns, names=list(lengths))


def _from_frame(data: Any, name: str) -> pa.Table:
    import narwhals

    try:
        frame = narwhals.from_native(data, eager_only=True)
    except TypeError:
        raise InputError(
            f"cannot read a table from {type(data).__name__}: give a pandas, polars or pyarrow "
            f"table, an array, or a dict of columns"
        ) from None
    except _REFUSALS as error:  # a column that is there twice
        raise _unique(data, name, error) from None
    try:
        if container_of(data) == "pandas":
            if data.columns.has_duplicates:
                raise _unique(data, name, ValueError())
            return pa.Table.from_pandas(data, preserve_index=False).replace_schema_metadata()
        return frame.to_arrow()
    except InputError:
        raise
    except _REFUSALS as error:
        for key in data.columns:
            _column(data[key], f"{name}, column '{key}'")
        raise InputError(f"{name} cannot be read as a table: {_line(error)}") from None


def _unique(data: Any, name: str, error: Exception) -> InputError:
    names = [str(column) for column in getattr(data, "columns", ())]
    twice = [column for column in names if names.count(column) > 1]
    if twice:
        return InputError(f"{name} has the column '{twice[0]}' twice: rename one of them")
    return InputError(f"{name} cannot be read as a table: {_line(error)}")


def _column(values: Any, where: str) -> pa.Array | pa.ChunkedArray:
    """Values (N,) of one type."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().numpy()
    if getattr(values, "dtype", None) is not None and getattr(values.dtype, "kind", "") == "c":
        raise InputError(f"{where} holds complex numbers: give real and imaginary parts as two")
    try:
        return pa.array(values, from_pandas=hasattr(values, "iloc"))
    except _REFUSALS as error:
        raise InputError(f"{where} {_trouble(values, error)}") from None


def _trouble(values: Any, error: Exception) -> str:
    """What is wrong with values that arrow does not take, and what to do."""
    if getattr(values, "ndim", 1) > 1:
        return f"has shape {tuple(values.shape)}: give one value a row"
    kinds = list(dict.fromkeys(type(v).__name__ for v in values if v is not None))
    if "complex" in kinds:
        return "holds complex numbers: give real and imaginary parts as two columns"
    if len(kinds) > 1:
        return f"mixes values of types {' and '.join(kinds[:3])}: make them all numbers or text"
    return f"holds values that no table can hold ({_line(error)}): leave the column out"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
