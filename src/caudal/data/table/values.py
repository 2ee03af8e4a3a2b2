"""The values of a column of text: which are missing, and whether the others are numbers."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

NUMBER = r"^\s*[+-]?((\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|(?i:inf(inity)?))\s*$"
MISSING = (
    *("", "NA", "N/A", "n/a", "<NA>", "#N/A", "#NA", "#N/A N/A", "NaN", "nan", "-nan", "-NaN"),
    *("NaT", "null", "NULL", "Null", "<null>", "None", "?", "\\N", "1.#QNAN", "-1.#IND"),
    *("#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!", "#NULL!"),
)
"""Marks of a missing value in any column."""
MARKS = (
    *("-", "--", "---", ".", "..", "...", "\N{EN DASH}", "\N{EM DASH}", "\N{HORIZONTAL ELLIPSIS}"),
    *("*", "**", "na", "N.A.", "n.a.", "n.a", "Nan", "NAN", "none", "nil", "(null)", "[null]"),
)
"""Marks that are missing values only where all other values are numbers, dates or times."""
_EXACT = float(1 << 53)  # beyond it a double is no whole number for certain
_ZERO_PADDED = r"^[+-]?0\d"
_WHOLE = r"^-?\d+$"
_COMMA = r"^[+-]?(([1-9]\d{0,2}(\.\d{3})+|\d+)(,\d*)?|,\d+)([eE][+-]?\d+)?$"
_NUMERIC = r"^[^\w\s.]{0,2}\s?[+-]?([A-Z]{3})?\s?[\d.][\d.,:/' T+Z-]*\s?[^\d\s]{0,3}$"
"""A number, perhaps with a unit or a currency, or a date or a time."""


def with_point(value: str) -> str:
    """A number with a decimal comma as it is written with a point."""
    return value.replace(".", "").replace(",", ".") if re.fullmatch(_COMMA, value) else value


@dataclass
class Seen:
    """What is known of a column of text after some of its values.

    Args:
        comma: whether decimals may stand behind a comma.
        fixed: whether the column stays text, whatever its values look like.
        na: the marks of missing values, if the user has named them.
    """

    comma: bool = False
    fixed: bool = False
    na: tuple[str, ...] = ()
    values: int = 0  # that are not missing, marks left aside
    marks: dict[str, int] = field(default_factory=dict)
    points: bool = True  # all values are numbers with a point
    commas: bool = True  # all values are numbers with a comma
    whole: bool = True
    long: bool = False  # 19 digits may overflow
    padded: bool = False  # as 007 is
    numeric: bool = True  # all values look like numbers, dates or times

    def add(self, column: pa.ChunkedArray) -> None:
        """Takes in further values, as the file has them."""
        if self.values and not self.numeric:
            return
        if self.points and not (self.comma or self.na) and (plain := _plain(column)) is not None:
            self._add_plain(*plain)
            return
        values = self._without_missing(column).drop_null()
        if not self.na and not self.fixed and self.numeric:
            is_mark = pc.is_in(values, value_set=pa.array(MARKS))
            for pair in values.filter(is_mark).value_counts().to_pylist():
                self.marks[pair["values"]] = self.marks.get(pair["values"], 0) + pair["counts"]
            values = values.filter(pc.invert(is_mark))
        self.values += len(values)
        if not len(values):
            return
        self.points = self.points and _all(values, NUMBER)
        self.commas = self.commas and self.comma and _all(values, _COMMA)
        if self.points or self.commas:
            numbers = _with_points(values) if self.commas else values
            self.whole = self.whole and _all(numbers, _WHOLE)
            self.padded = self.padded or _any(numbers, _ZERO_PADDED)
            self.long = self.long or bool(pc.any(pc.greater(pc.utf8_length(numbers), 18)).as_py())
        else:
            self.numeric = _all(values, _NUMERIC)

    def _add_plain(self, texts: pa.ChunkedArray, numbers: pa.ChunkedArray) -> None:
        """Takes in numbers, of which none need be looked at as text."""
        self.values += len(texts) - texts.null_count
        self.commas = False
        self.padded = self.padded or any(_is_padded(chunk) for chunk in texts.chunks)
        self.long = self.long or (pc.max(pc.binary_length(texts)).as_py() or 0) > 18
        if self.whole:
            far = pc.greater(pc.abs(numbers), float(1 << 62))
            self.whole = (
                _all(texts.drop_null(), _WHOLE) if pc.any(far).as_py() else _is_whole(texts)
            )

    @property
    def dtype(self) -> pa.DataType:
        """The type that loses nothing: int64, double or string; null if all are missing."""
        if not self.values and (not self.marks or self.numeric):
            return pa.null()
        if self.fixed or not (self.points or self.commas) or self.padded:
            return pa.string()
        if self.whole:
            return pa.string() if self.long else pa.int64()
        return pa.float64()

    @property
    def missing_marks(self) -> dict[str, int]:
        """How often which of `MARKS` stood for a missing value."""
        return self.marks if self.numeric else {}

    def convert(self, column: pa.ChunkedArray) -> pa.ChunkedArray:
        """The values as `dtype`, None where they are missing."""
        if self.dtype == pa.null():
            return pa.chunked_array([pa.nulls(len(column))])
        is_plain = self.dtype != pa.string() and not (self.commas or self.na)
        if is_plain and (plain := _plain(column)) is not None:
            texts, numbers = plain
            return numbers if self.dtype == pa.float64() else texts.cast(self.dtype)
        column = self._without_missing(column)
        if self.missing_marks:
            is_mark = pc.is_in(column, value_set=pa.array(list(self.missing_marks)))
            column = pc.if_else(is_mark, pa.scalar(None, pa.string()), column)
        if self.dtype in (pa.int64(), pa.float64()) and self.commas:
            column = _with_points(column)
        return column if self.dtype == pa.string() else column.cast(self.dtype)

    def _without_missing(self, column: pa.ChunkedArray) -> pa.ChunkedArray:
        column = pc.utf8_trim_whitespace(column)
        marks = pa.array(("", *self.na) if self.na else MISSING)
        return pc.if_else(pc.is_in(column, value_set=marks), pa.scalar(None, pa.string()), column)


def is_filled(value: Any) -> bool:
    """Whether a cell has a value."""
    return value is not None and value != "" and value == value


def word(value: Any) -> str:
    """A cell as text; a whole number has no decimals."""
    if not is_filled(value):
        return ""
    if isinstance(value, float) and value == int(value) and abs(value) < _EXACT:
        return str(int(value))
    return str(value)


def as_text(values: Iterable[Any], na: tuple[str, ...] = ()) -> tuple[pa.ChunkedArray, Seen]:
    """Values of any types (N,) as a column that is read as those of a text file are.

    Args:
        values: texts, numbers, dates, None and the like.
        na: marks of missing values, in place of the usual ones.

    Returns:
        The column, and what was seen of it.
    """
    column = pa.chunked_array([pa.array([word(value) for value in values], pa.string())])
    seen = Seen(na=na)
    seen.add(column)
    return seen.convert(column), seen


def note_on_marks(name: str, columns: Iterable[tuple[str, Seen]]) -> list[str]:
    """A note on what was taken as missing because all else in its column is a number."""
    found = [(column, mark, n) for column, s in columns for mark, n in s.missing_marks.items()]
    if not found:
        return []
    shown = ", ".join(f"'{mark}' in '{column}' ({n})" for column, mark, n in found[:4])
    more = f" and {len(found) - 4} more" if len(found) > 4 else ""
    return [f"{name}: taken as missing among numbers: {shown}{more}; `na` names the marks instead"]


def _plain(column: pa.ChunkedArray) -> tuple[pa.ChunkedArray, pa.ChunkedArray] | None:
    """The texts and the numbers, if each value is empty or a plain number: the quick way."""
    empty = pc.equal(pc.binary_length(column), 0)
    if pc.any(empty).as_py():
        column = pc.if_else(empty, pa.scalar(None, pa.string()), column)
    try:
        numbers = column.cast(pa.float64())
    except pa.ArrowInvalid:
        return None
    return None if pc.any(pc.is_nan(numbers)).as_py() else (column, numbers)


def _is_whole(texts: pa.ChunkedArray) -> bool:
    try:
        texts.cast(pa.int64())
    except pa.ArrowInvalid:
        return False
    return True


def _is_padded(texts: pa.StringArray) -> bool:
    """Whether a number has a zero before its first digit."""
    offsets = np.frombuffer(texts.buffers()[1], np.int32)[texts.offset :][: len(texts) + 1]
    data = np.frombuffer(texts.buffers()[2] or b"", np.uint8)
    first, size = offsets[:-1], np.diff(offsets)
    first, size = first[size > 1], size[size > 1]
    signs = np.isin(data[first], (ord("+"), ord("-")))
    first = (first + signs)[size - signs > 1]
    return bool(((data[first] == ord("0")) & (data[first + 1] - ord("0") < 10)).any())


def _with_points(column: pa.ChunkedArray) -> pa.ChunkedArray:
    column = pc.replace_substring(column, ".", "")
    return pc.replace_substring(column, ",", ".")


def _all(values: pa.ChunkedArray, pattern: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(values, pattern), min_count=0).as_py())


def _any(values: pa.ChunkedArray, pattern: str) -> bool:
    return bool(pc.any(pc.match_substring_regex(values, pattern), min_count=0).as_py())
