"""Columns of numbers back to the values of a table."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pat
from torch import Tensor

from caudal.data import dtypes, temporal
from caudal.data.schema import Column
from caudal.data.table.cells import write_dates, write_numbers
from caudal.data.table.typed import coded, few_digits, smallest, to_type
from caudal.errors import NumericalError


def decode_columns(columns: Sequence[Column], x: Tensor) -> pa.Table:
    """Turns x (N, D) into a table of D columns, each value inside its column's support.

    Raises:
        ValueError: x does not have D columns.
        NumericalError: a value is infinite, or NaN in a column without missing values.
    """
    if x.ndim != 2 or x.shape[1] != len(columns):
        raise ValueError(f"expected x of shape (N, {len(columns)}), got {tuple(x.shape)}")
    values = x.detach().cpu().double().numpy()
    arrays = [decode_column(c, v) for c, v in zip(columns, values.T, strict=True)]
    return pa.table(arrays, names=[column.name for column in columns])


def add_columns(table: pa.Table, columns: Sequence[Column], values: Tensor | None) -> pa.Table:
    """A table with further columns on its right, decoded from values (N, C) if there are any."""
    if values is not None:
        beside = decode_columns(columns, values)
        for name in beside.column_names:
            table = table.append_column(name, beside[name])
    return table


def decode_column(column: Column, values: np.ndarray) -> pa.Array:
    """Turns float64 (N,) into the column's own type."""
    gaps = np.isnan(values)
    if np.isinf(values).any() or (gaps.any() and not column.missing):
        raise NumericalError(f"column '{column.name}': a sampled value is not finite")
    dtype = dtypes.parse(column.dtype)
    values = np.where(gaps, column.origin, values)
    if pat.is_floating(dtypes.value_type(dtype)) or column.holds_text:
        values = few_digits(values)
    values = into_support(column, _rounded(column, values))
    if column.unit is not None:
        us = temporal.from_units(values + column.offset, column.unit)
        if column.format is not None:
            return dtypes.restore(write_dates(us, column.format, gaps), dtype)
        return temporal.of_microseconds(us, dtype, gaps)
    if column.offset:
        values = np.round(values + column.offset, 10)
    if column.format is not None:
        return dtypes.restore(write_numbers(values, column.format, gaps), dtype)
    if column.categories is not None:
        codes = values.astype(np.int64)
        if pat.is_dictionary(dtype):
            return coded(column.categories, codes, dtype)
        levels = pa.array(column.categories, dtypes.value_type(dtype))
        chosen = levels.take(pa.array(codes))
        if not pat.is_decimal(dtype):
            return dtypes.restore(chosen, dtype)
        values, gaps = chosen.to_numpy(zero_copy_only=False), chosen.is_null().to_numpy(False)
    made = to_type(values, dtype, gaps)
    if not column.marks:
        return made
    mark = pa.scalar(column.marks[0])
    return pc.fill_null(made, mark if column.holds_text else mark.cast(made.type))


def _rounded(column: Column, values: np.ndarray) -> np.ndarray:
    """Values with the decimals that the column is written with, if it says how many."""
    if column.decimals is None:
        return values
    return np.asarray(np.round(values + column.offset, column.decimals) - column.offset)


def into_support(column: Column, values: np.ndarray) -> np.ndarray:
    """Moves each value to the nearest one that the column can hold, but for atoms."""
    if column.kind == "circular":
        values = _rounded(column, column.turned(values))  # -402.45 + 360 has many digits
    low, high, original = column.low, column.high, values
    if column.step is not None:
        points = column.origin + np.round((values - column.origin) / column.step) * column.step
        points = column.turned(points)
        values = np.round(points, 10)  # 3 * 0.1 is 0.3, not 0.30000000000000004
    elif column.kind == "positive":
        low = smallest(dtypes.parse(column.dtype))
        low = low if column.decimals is None else max(low, 10.0**-column.decimals)
    elif pat.is_integer(dtypes.parse(column.dtype)):
        values = np.round(values + column.offset) - column.offset
        low = None if low is None else float(np.ceil(low))
        high = None if high is None else float(np.floor(high))
    if low is not None or high is not None:
        values = np.clip(values, low, high)
    for atom in column.atoms:  # in full: rows are 32 bits
        values = np.where(np.isclose(original, atom, rtol=1e-6, atol=0), atom, values)
    return values
