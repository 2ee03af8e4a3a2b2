"""The values of a column of text: which are missing, and whether the others are numbers."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
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
MOST_DECIMALS = 8  # that numbers are written with
_EXACT = float(1 << 53)  # beyond it a double is no whole number for certain
_ZERO_PADDED = r"^[+-]?0\d"
_WHOLE = r"^-?\d+$"
_COMMA = r"^[+-]?(([1-9]\d{0,2}(\.\d{3})+|\d+)(,\d*)?|,\d+)([eE][+-]?\d+)?$"
_NUMERIC = r"^[^\w\s.]{0,2}\s?[+-]?([A-Z]{3})?\s?[\d.][\d.,:/' T+Z-]*\s?[^\d\s]{0,3}$"
"""A number, perhaps with a unit or a currency, or a date or a time."""


def with_point(value: str) -> str:
    """A number with a decimal comma as it is written with a point."""
    return value.replace(".", "").replace(",", ".") if re.fullmatch(_COMMA, value) else value


@dataclass(frozen=True)
class Cells:
    """Successive values of a column of text, and what is worked out of them once."""

    column: pa.ChunkedArray

    @cached_property
    def plain(self) -> tuple[pa.ChunkedArray, pa.ChunkedArray] | None:
        """The texts and the numbers, if each value is empty or a plain number: the quick way.

        Numbers are int64 where all are whole, else float64.
        """
        column = self.column
        empty = pc.equal(pc.binary_length(column), 0)
        if pc.any(empty).as_py():
            column = pc.if_else(empty, pa.scalar(None, pa.string()), column)
        for dtype in (pa.int64(), pa.float64()) if _has_digits_alone(column) else (pa.float64(),):
            try:
                numbers = column.cast(dtype)
            except pa.ArrowInvalid:
                continue
            return None if pc.any(pc.is_nan(numbers)).as_py() else (column, numbers)
        return None


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
    values: int = 0  # values that are neither missing nor marks
    marks: dict[str, int] = field(default_factory=dict)
    points: bool = True  # all values are numbers with a point
    commas: bool = True  # all values are numbers with a comma
    whole: bool = True
    long: bool = False  # 19 digits may overflow
    padded: bool = False  # with leading zeros, such as 007
    numeric: bool = True  # all values look like numbers, dates or times
    decimals: int | None = None  # that every number has so far, 0 if they differ

    def add(self, cells: Cells) -> None:
        """Takes in further values, as the file has them."""
        if self.values and not self.numeric:
            return
        if self.points and not (self.comma or self.na) and cells.plain is not None:
            self._add_plain(*cells.plain)
            return
        counted = cells.column.value_counts()  # each different value is looked at once
        values, counts = self._without_missing(counted.field("values")), counted.field("counts")
        values, counts = values.drop_null(), counts.filter(pc.is_valid(values))
        if not self.na and not self.fixed and self.numeric:
            is_mark = pc.is_in(values, value_set=pa.array(MARKS))
            marked = zip(values.filter(is_mark), counts.filter(is_mark), strict=True)
            for mark, count in marked:
                self.marks[mark.as_py()] = self.marks.get(mark.as_py(), 0) + count.as_py()
            values, counts = (part.filter(pc.invert(is_mark)) for part in (values, counts))
        self.values += pc.sum(counts).as_py() or 0
        if not len(values):
            return
        self.points = self.points and _all(values, NUMBER)
        self.commas = self.commas and self.comma and _all(values, _COMMA)
        if self.points or self.commas:
            numbers = _with_points(values) if self.commas else values
            self._add_decimals(numbers)
            self.whole = self.whole and _all(numbers, _WHOLE)
            self.padded = self.padded or _any(numbers, _ZERO_PADDED)
            self.long = self.long or bool(pc.any(pc.greater(pc.utf8_length(numbers), 18)).as_py())
        else:
            self.numeric = _all(values, _NUMERIC)

    def _add_plain(self, texts: pa.ChunkedArray, numbers: pa.ChunkedArray) -> None:
        """Takes in numbers, of which none need be looked at as text."""
        self.values += len(texts) - texts.null_count
        self.commas = False
        self._add_decimals(texts)
        self.padded = self.padded or any(_is_padded(chunk) for chunk in texts.chunks)
        self.long = self.long or (pc.max(pc.binary_length(texts)).as_py() or 0) > 18
        if self.whole and not pa.types.is_integer(numbers.type):
            far = pc.any(pc.greater(pc.abs(numbers), float(1 << 62))).as_py()  # beyond 64 bits
            self.whole = bool(far) and _all(texts.drop_null(), _WHOLE)

    def _add_decimals(self, numbers: pa.Array | pa.ChunkedArray) -> None:
        """Takes in how many decimals numbers have, as long as all have equally many."""
        if self.decimals == 0 or not len(numbers):
            return
        at = pc.find_substring(numbers, ".")
        counts = pc.min_max(pc.subtract(pc.utf8_length(numbers), at))
        low, high = counts["min"].as_py(), counts["max"].as_py()
        if low is None:
            return
        alike = pc.min(at).as_py() >= 0 and low == high and 1 <= low - 1 <= MOST_DECIMALS
        alike = alike and self.decimals in (None, low - 1) and not _any(numbers, "[eE]")
        self.decimals = low - 1 if alike else 0

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

    @property
    def reading(self) -> tuple[pa.DataType, bool, bool]:
        """What `convert` depends on: while it is unchanged, values are converted alike."""
        return self.dtype, self.commas, self.numeric or not self.marks

    def convert(self, cells: Cells) -> pa.ChunkedArray:
        """The values as `dtype`, None where they are missing."""
        if self.dtype == pa.null():
            return pa.chunked_array([pa.nulls(len(cells.column))])
        is_plain = self.dtype != pa.string() and not (self.commas or self.na)
        if is_plain and cells.plain is not None:
            return cells.plain[1].cast(self.dtype, safe=False)
        return each_once(cells.column, self._convert)

    def _convert(self, values: pa.Array) -> pa.Array:
        values = self._without_missing(values)
        if self.missing_marks:
            is_mark = pc.is_in(values, value_set=pa.array(list(self.missing_marks)))
            values = pc.if_else(is_mark, pa.scalar(None, pa.string()), values)
        if self.dtype in (pa.int64(), pa.float64()) and self.commas:
            values = _with_points(values)
        return values if self.dtype == pa.string() else values.cast(self.dtype)

    def _without_missing(self, values: pa.Array) -> pa.Array:
        values = pc.utf8_trim_whitespace(values)
        marks = pa.array(("", *self.na) if self.na else MISSING)
        return pc.if_else(pc.is_in(values, value_set=marks), pa.scalar(None, pa.string()), values)


def each_once(texts: pa.ChunkedArray, read: Callable[[pa.Array], pa.Array]) -> pa.ChunkedArray:
    """What `read` makes of texts, of which it gets each different one once."""
    coded = texts.combine_chunks().dictionary_encode()
    return pa.chunked_array([read(coded.dictionary).take(coded.indices)])


def is_filled(value: Any) -> bool:
    """Whether a cell has a value."""
    return value is not None and value != "" and value == value


def word(value: Any) -> str:
    """A cell as text; a whole number has no decimals."""
    if not is_filled(value):
        return ""
    if isinstance(value, float) and abs(value) < _EXACT and value == int(value):
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
    seen, cells = Seen(na=na), Cells(column)
    seen.add(cells)
    return seen.convert(cells), seen


def note_on_marks(name: str, columns: Iterable[tuple[str, Seen]]) -> list[str]:
    """A note on what was taken as missing because all else in its column is a number."""
    marks = [(column, mark, n) for column, s in columns for mark, n in s.missing_marks.items()]
    if not marks:
        return []
    shown = ", ".join(f"'{mark}' in '{column}' ({n})" for column, mark, n in marks[:4])
    more = f" and {len(marks) - 4} more" if len(marks) > 4 else ""
    return [f"{name}: taken as missing among numbers: {shown}{more}; `na` names the marks instead"]


def _has_digits_alone(texts: pa.ChunkedArray) -> bool:
    """Whether there are only digits and minus signs; a failing cast of many texts is slow."""
    for chunk in texts.chunks:
        data = np.frombuffer(chunk.buffers()[2] or b"", np.uint8)
        if not ((data - ord("0") < 10) | (data == ord("-"))).all():
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


def _with_points(column: pa.Array) -> pa.Array:
    column = pc.replace_substring(column, ".", "")
    return pc.replace_substring(column, ",", ".")


def _all(values: pa.Array, pattern: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(values, pattern), min_count=0).as_py())


def _any(values: pa.Array | pa.ChunkedArray, pattern: str) -> bool:
    return bool(pc.any(pc.match_substring_regex(values, pattern), min_count=0).as_py())
