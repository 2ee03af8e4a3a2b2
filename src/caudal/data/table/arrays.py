"""Arrays as tables: NumPy's .npy and .npz files, and arrays in memory."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from caudal.data.table.tables import damage
from caudal.errors import InputError


def read_array_file(path: Path, name: str) -> pa.Table:
    """Reads a .npy or .npz file into a table.

    A .npy file holds (N,), (N, D) or a structured array, whose fields are the columns. A .npz file
    holds one such array, perhaps with an array of D column names, or several arrays with the same
    N: then a vector is one column under its own name, and a matrix `X` the columns X0, X1, ...

    Raises:
        InputError: the file is damaged, holds objects, or its arrays make no table.
    """
    with damage(name), path.open("rb") as file:  # np.load leaves a damaged file open
        loaded = np.load(file, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return array_table(loaded, name)
        with loaded:
            return _npz_table({key: loaded[key] for key in loaded.files}, name)


def array_table(array: np.ndarray, name: str, prefix: str = "x") -> pa.Table:
    """The columns of an array (N,), (N, D), or structured.

    Raises:
        InputError: it has other dimensions, or values that are neither numbers, truth values nor
            text.
    """
    if array.dtype.names:
        fields = list(array.dtype.names)
        return pa.table([_column(array[field], name) for field in fields], names=fields)
    if array.ndim == 1:
        return pa.table([_column(array, name)], names=[prefix])
    if array.ndim != 2:
        raise InputError(
            f"{name} holds an array of shape {array.shape}: a table is (rows, columns), reshape "
            f"it, or open it with open_images if it holds images"
        )
    names = [f"{prefix}{i}" for i in range(array.shape[1])]
    return pa.table([_column(column, name) for column in array.T], names=names)


def _column(values: np.ndarray, name: str) -> pa.Array:
    if values.ndim != 1 or values.dtype.kind not in "biufUS":
        raise InputError(
            f"{name} holds values of type {values.dtype}: a table needs numbers or text"
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
