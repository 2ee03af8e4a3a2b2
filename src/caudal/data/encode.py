"""From the user's columns to numbers, with each refusal saying the row and the column."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from caudal.data import dtypes
from caudal.data.column import Column
from caudal.data.names import check_names
from caudal.data.place import Place
from caudal.errors import InputError

NUMBER = r"^\s*[+-]?((\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|(?i:inf(inity)?))\s*$"


def as_table(data: Any) -> pa.Table:
    """A pyarrow Table from a Table, a RecordBatch or a pandas DataFrame."""
    if isinstance(data, pa.Table):
        return data
    if isinstance(data, pa.RecordBatch):
        return pa.Table.from_batches([data])
    if hasattr(data, "iloc"):
        return pa.Table.from_pandas(data, preserve_index=False).replace_schema_metadata()
    raise InputError(f"cannot read a table from {type(data).__name__}: give a pyarrow Table")


def encode_table(columns: Sequence[Column], data: Any, place: Place) -> np.ndarray:
    """The columns of a Table or DataFrame as float64 (N, D), NaN only where they may be missing.

    Raises:
        InputError: a column lacks, or a value is not what its column holds.
    """
    table = as_table(data)
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
    """Refuses missing values in columns that may not have them.

    Raises:
        InputError: with the first row, the column and how many there are.
    """
    for column, value in zip(columns, values.T, strict=True):
        gaps = np.isnan(value)
        if not column.missing and gaps.any():
            raise gap_error(place, int(gaps.argmax()), column.name, int(gaps.sum()))


def gaps_in(data: pa.ChunkedArray) -> np.ndarray:
    """Mask (N,) of the missing values: nulls, and NaN."""
    return pc.is_null(dtypes.plain(data), nan_is_null=True).to_numpy()


def gap_error(place: Place, row: int, name: str, count: int) -> InputError:
    """The error for missing values: where the first is, and how many the column has."""
    more = f" ({count} in this column)" if count > 1 else ""
    advice = "the run has learned no gaps there: fill it in, or leave the row out"
    if place.declarable:
        advice = "--missing drop leaves such rows out, --missing model models the gaps"
    return InputError(f"{place.cell(row, name)}: missing value{more}; {advice}")


def to_numbers(data: pa.ChunkedArray, name: str, place: Place) -> np.ndarray:
    """A column as float64 (N,), NaN where missing.

    Raises:
        InputError: a text that is no number, an infinity, or beyond what float32 holds.
    """
    if reason := dtypes.refusal(data.type):
        raise InputError(f"{place.column(name)} {reason}")
    data = dtypes.plain(data)
    if dtypes.is_text(data.type):
        data = _parse_numbers(data, name, place)
    elif not dtypes.is_number(data.type):
        data = data.cast(pa.uint8())
    values = pc.fill_null(data.cast(pa.float64(), safe=False), float("nan")).to_numpy()
    huge = np.abs(values) > np.finfo(np.float32).max  # infinities too; False for NaN
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
            advice = f"correct it, or declare the column with --types {name}=categorical"
        raise InputError(
            f"{place.cell(row, name)}: {show(data[row].as_py())} is not a number: {advice}"
        )
    return pc.utf8_trim_whitespace(data).cast(pa.float64())


def to_codes(column: Column, data: pa.ChunkedArray, place: Place) -> np.ndarray:
    """A categorical column as float64 codes (N,), NaN where missing without a category for it.

    Raises:
        InputError: a value that is none of the categories.
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
    if dtypes.is_number(dtype):  # a category 1 is found whether the file says 1 or 1.0
        numbers = to_numbers(data, name, place)
        return pa.chunked_array([pa.array(numbers, from_pandas=True).cast(dtype, safe=False)])
    return data.cast(dtype)


def show(value: Any) -> str:
    """A value for an error message: quoted, on one line, not too long."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
