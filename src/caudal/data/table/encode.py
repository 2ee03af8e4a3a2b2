"""From the user's columns to numbers; each refusal names the row and the column."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from caudal.data import dtypes
from caudal.data.column import Column
from caudal.data.names import check_names
from caudal.data.place import Place
from caudal.data.table.frames import as_table
from caudal.errors import InputError

NUMBER = r"^\s*[+-]?((\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|(?i:inf(inity)?))\s*$"


def encode_table(columns: Sequence[Column], data: Any, place: Place) -> np.ndarray:
    """The columns of a table as float64 (N, D), NaN only where values may be missing.

    Raises:
        InputError: a column is missing, or a value is not what its column holds.
    """
    table = as_table(data, place.file)
    check_names([column.name for column in columns], table.column_names, place.file)
    values = encode_columns(columns, table, place)
    refuse_gaps(columns, values, place)
    return values


def encode_columns(columns: Sequence[Column], table: pa.Table, place: Place) -> np.ndarray:
    """The columns as float64 (N, D): codes for categories, NaN wherever a value is missing."""
    values = np.empty((table.num_rows, len(columns)))
    for j, column in enumerate(columns):
        make = to_codes if column.categories is not None else _to_column_numbers
        values[:, j] = make(column, table[column.name], place)
    return values


def _to_column_numbers(column: Column, data: pa.ChunkedArray, place: Place) -> np.ndarray:
    return to_numbers(data, column.name, place)


def refuse_gaps(columns: Sequence[Column], values: np.ndarray, place: Place) -> None:
    """Refuses missing values in columns that may not have them."""
    for column, value in zip(columns, values.T, strict=True):
        gaps = np.isnan(value)
        if not column.missing and gaps.any():
            raise gap_error(place, int(gaps.argmax()), column.name, int(gaps.sum()))


def gaps_in(data: pa.ChunkedArray) -> np.ndarray:
    """Mask (N,) of the missing values, which are nulls and NaN."""
    return pc.is_null(dtypes.plain(data), nan_is_null=True).to_numpy()


def gap_error(place: Place, row: int, name: str, count: int) -> InputError:
    """The error for missing values: where the first one is, and how many the column has."""
    more = f" ({count} in this column)" if count > 1 else ""
    advice = "the run has learned no gaps there: fill it in, or leave the row out"
    if place.declarable:
        advice = '`missing="drop"` leaves such rows out, `missing="model"` models the gaps'
    return InputError(f"{place.cell(row, name)}: missing value{more}; {advice}")


def to_numbers(data: pa.ChunkedArray, name: str, place: Place) -> np.ndarray:
    """A column as float64 (N,), NaN where missing.

    Raises:
        InputError: a text is no number, or a number is infinite or too large for float32.
    """
    if reason := dtypes.refusal(data.type):
        raise InputError(f"{place.column(name)} {reason}")
    data = dtypes.plain(data)
    if dtypes.is_text(data.type):
        data = _parse_numbers(data, name, place)
    elif not dtypes.is_number(data.type):
        data = data.cast(pa.uint8())
    values = pc.fill_null(data.cast(pa.float64(), safe=False), float("nan")).to_numpy()
    huge = np.abs(values) > np.finfo(np.float32).max  # True for infinities, False for NaN
    if huge.any():
        row = int(huge.argmax())
        raise InputError(
            f"{place.cell(row, name)}: {values[row]} is not a finite number that 32 bits hold: "
            f"correct it or leave the row out"
        )
    return values


def _parse_numbers(data: pa.ChunkedArray, name: str, place: Place) -> pa.ChunkedArray:
    good = pc.fill_null(pc.match_substring_regex(data, NUMBER), True).to_numpy()
    if not good.all():
        row = int((~good).argmax())
        advice = "correct it or leave the row out"
        if place.declarable:
            advice = f"correct it, or declare the column with `types` {name}=categorical"
        raise InputError(
            f"{place.cell(row, name)}: {show(data[row].as_py())} is not a number: {advice}"
        )
    return pc.utf8_trim_whitespace(data).cast(pa.float64())


def to_codes(column: Column, data: pa.ChunkedArray, place: Place) -> np.ndarray:
    """A categorical column as float64 codes (N,), NaN where missing without a category for it.

    Raises:
        InputError: a value is none of the categories.
    """
    categories = column.categories or ()
    dtype = dtypes.value_type(dtypes.parse(column.dtype))
    values = _same_type(data, dtype, column.name, place)
    codes = pc.index_in(values, value_set=pa.array(categories, dtype))
    unknown = pc.and_(pc.is_null(codes), pc.is_valid(values)).to_numpy()
    if unknown.any():
        row = int(unknown.argmax())
        known = ", ".join(show(c) for c in categories[:6] if c is not None)
        raise InputError(
            f"{place.cell(row, column.name)}: unknown category "
            f"{show(values[row].as_py())}; known are {known}"
            + (", ..." if len(categories) > 6 else "")
        )
    return pc.fill_null(codes.cast(pa.float64()), float("nan")).to_numpy()


def _same_type(
    data: pa.ChunkedArray, dtype: pa.DataType, name: str, place: Place
) -> pa.ChunkedArray:
    if reason := dtypes.refusal(data.type):
        raise InputError(f"{place.column(name)} {reason}")
    data = dtypes.plain(data)
    if pa.types.is_floating(data.type):
        data = pc.if_else(pc.is_nan(data), pa.scalar(None, data.type), data)
    if data.type == dtype:
        return data
    if dtypes.is_number(dtype):  # 1 and 1.0 are the same category
        numbers = to_numbers(data, name, place)
        return pa.chunked_array([pa.array(numbers, from_pandas=True).cast(dtype, safe=False)])
    return data.cast(dtype)


def show(value: Any) -> str:
    """A value for an error message: quoted, on one line, not too long."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
