"""From the user's columns to numbers; each refusal names the row and the column."""

import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pat

from caudal.data import dtypes, temporal
from caudal.data.refusals import check_names
from caudal.data.schema import Column
from caudal.data.table.cells import read_cells
from caudal.data.table.frames import as_table
from caudal.data.table.values import NUMBER
from caudal.errors import InputError

UNSEEN = -1.0
"""The code of a category that training has not seen: outside of the support, and in a context the
mean of the others."""


@dataclass(frozen=True)
class Place:
    """Successive rows of a table, or a choice of them.

    Args:
        file: what to call the table.
        first_row: the number of the first row, counted from 1 without the header.
        rows: which of the rows from there on they are (from 0, ascending); all if None.
        declarable: whether the user can still declare what the columns are, so that a message may
            advise it.
        unseen: whether a category that training has not seen has a code of its own, `UNSEEN`,
            instead of being refused.
    """

    file: str = "table"
    first_row: int = 1
    rows: np.ndarray | None = None
    declarable: bool = False
    unseen: bool = False

    def row(self, index: int) -> int:
        """The number that row `index` of these has in the user's table."""
        return self.first_row + int(index if self.rows is None else self.rows[index])

    def cell(self, index: int, name: str) -> str:
        """A cell in words, such as `table.csv, row 7, column 'age'`."""
        return f"{self.file}, row {self.row(index)}, column '{name}'"

    def column(self, name: str) -> str:
        """A column in words, such as `table.csv, column 'age'`."""
        return f"{self.file}, column '{name}'"

    def choose(self, keep: np.ndarray) -> "Place":
        """Those rows for which a mask (N,) over these is True."""
        return replace(self, rows=np.flatnonzero(keep))


def encode_table(columns: Sequence[Column], data: Any, place: Place) -> np.ndarray:
    """The columns of a table as float64 (N, D), NaN only where values may be missing.

    Raises:
        InputError: a column is missing, or a value is not what its column holds.
    """
    table = as_table(data, place.file)
    check_names([column.name for column in columns], table.column_names, place.file)
    table = without_marks(table, {column.name: column.marks for column in columns})
    values = encode_columns(columns, table, place)
    refuse_gaps(columns, values, place)
    return values


def encode_columns(columns: Sequence[Column], table: pa.Table, place: Place) -> np.ndarray:
    """The columns as float64 (N, D): codes for categories, NaN wherever a value is missing."""
    values = np.empty((table.num_rows, len(columns)))
    for j, column in enumerate(columns):
        data = table[column.name]
        if pat.is_null(data.type):  # a column without any value
            data = data.cast(dtypes.value_type(dtypes.parse(column.dtype)))
        data = _read(column, data, place)
        if column.categories is not None:
            values[:, j] = to_codes(column, data, place)
            continue
        numbers = to_numbers(data, column.name, place)
        if column.unit is not None:
            numbers = temporal.to_units(numbers, column.unit)
        values[:, j] = column.turned(numbers - column.offset)
    return values


def read_table(columns: Sequence[Column], table: pa.Table) -> pa.Table:
    """The table with what the text of these columns stands for; null where it is in no form."""
    for column in columns:
        at = table.schema.get_field_index(column.name)
        table = table.set_column(at, column.name, read_cells(column, table[column.name]))
    return table


def _read(column: Column, data: pa.ChunkedArray, place: Place) -> pa.ChunkedArray:
    """What the text of a column stands for; text in no form is missing, or refused."""
    values = read_cells(column, data)
    if values.null_count > data.null_count and not column.missing:
        texts = dtypes.plain(data)
        row = int(np.argmax(pc.and_(pc.is_null(values), pc.is_valid(texts)).to_numpy()))
        form = f"in the format {column.format}" if column.format else "a date such as 2024-03-01"
        raise InputError(
            f"{place.cell(row, column.name)}: {show(texts[row].as_py())} is not {form}: correct "
            f"it or leave the row out"
        )
    is_date = temporal.is_modelled(dtypes.value_type(values.type))
    if is_date != (column.unit is not None):
        raise InputError(
            f"{place.column(column.name)} holds {values.type}, where the run has learned "
            f"{column.kind} values: give these"
        )
    return values


def refuse_gaps(columns: Sequence[Column], values: np.ndarray, place: Place) -> None:
    """Refuses missing values in columns that may not have them."""
    for column, value in zip(columns, values.T, strict=True):
        gaps = np.isnan(value)
        if not column.missing and gaps.any():
            raise gap_error(place, int(gaps.argmax()), column.name, int(gaps.sum()))


def without_marks(table: pa.Table, marks: Mapping[str, Collection[str]]) -> pa.Table:
    """The table with nothing in the place of marks that stand for missing numbers.

    Args:
        table: some rows, perhaps of some columns only.
        marks: words, or numbers such as -999, by the name of the column.
    """
    for name, texts in marks.items():
        if not texts or name not in table.column_names:
            continue
        data = dtypes.plain(table[name])
        if dtypes.is_text(data.type):
            marked = pc.is_in(pc.utf8_trim_whitespace(data), value_set=pa.array(list(texts)))
        elif dtypes.is_number(data.type) and (numbers := _numbers_among(texts)):
            marked = pc.is_in(data.cast(pa.float64(), safe=False), value_set=pa.array(numbers))
        else:
            continue
        kept = pc.if_else(marked, pa.scalar(None, data.type), data)
        table = table.set_column(table.column_names.index(name), name, kept)
    return table


def _numbers_among(texts: Collection[str]) -> list[float]:
    return [float(text) for text in texts if re.fullmatch(NUMBER, text)]


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
    """A column as float64 (N,), NaN where missing; dates are microseconds.

    Raises:
        InputError: a text is no number, or a number is infinite or too large for float32.
    """
    if reason := dtypes.refusal(data.type):
        raise InputError(f"{place.column(name)} {reason}")
    data = dtypes.plain(data)
    if dtypes.is_text(data.type):
        data = _parse_numbers(data, name, place)
    elif temporal.is_modelled(data.type):
        return temporal.to_microseconds(data)
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
            word = shlex.quote(f"{name}=categorical")
            advice = f"correct it, or declare the column with `types` {word}"
        raise InputError(
            f"{place.cell(row, name)}: {show(data[row].as_py())} is not a number: {advice}"
        )
    return pc.utf8_trim_whitespace(data).cast(pa.float64())


def to_codes(column: Column, data: pa.ChunkedArray, place: Place) -> np.ndarray:
    """A categorical column as float64 codes (N,), NaN where missing without a category for it.

    Raises:
        InputError: a value is none of the categories, and `place` does not allow that.
    """
    categories = column.categories or ()
    dtype = dtypes.value_type(dtypes.parse(column.dtype))
    if pat.is_boolean(dtypes.plain(data).type) and dtypes.is_text(dtype):
        data = _as_written(dtypes.plain(data), categories)
    values = _same_type(data, dtype, column.name, place)
    codes = pc.index_in(values, value_set=pa.array(categories, dtype))
    unknown = pc.and_(pc.is_null(codes), pc.is_valid(values)).to_numpy()
    if unknown.any() and not place.unseen:
        row = int(unknown.argmax())
        known = ", ".join(show(c) for c in categories[:6] if c is not None)
        raise InputError(
            f"{place.cell(row, column.name)}: unknown category "
            f"{show(values[row].as_py())}; known are {known}"
            + (", ..." if len(categories) > 6 else "")
        )
    codes = pc.fill_null(codes.cast(pa.float64()), float("nan")).to_numpy()
    return np.where(unknown, UNSEEN, codes)


def _as_written(data: pa.ChunkedArray, categories: Sequence[Any]) -> pa.ChunkedArray:
    """Truth values as the text of a file has them: True, TRUE, or true."""
    words = {str(c).lower(): c for c in categories}
    true, false = (pa.scalar(words.get(word, word), pa.string()) for word in ("true", "false"))
    return pc.if_else(data, true, false)


def with_categories_of(column: Column, data: pa.ChunkedArray) -> Column:
    """A categorical column with the further categories of some data behind its own."""
    dtype = dtypes.value_type(dtypes.parse(column.dtype))
    values = pc.unique(_same_type(data, dtype, column.name, Place())).to_pylist()
    known = column.categories or ()
    new = [value for value in values if value is not None and value not in known]
    return replace(column, categories=(*known, *new), high=len(known) + len(new) - 1.0)


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
