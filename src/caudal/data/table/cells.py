"""Cells of text that stand for dates or numbers: read, and written."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from caudal.data import dtypes, temporal
from caudal.data.schema import Column
from caudal.data.table import dates, figures
from caudal.data.table.values import each_once

_ISO = ("%Y-%m-%d", "%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%dT%H:%M:%S.%f", "%Y-%m-%d %H:%M", "%H:%M")
_ISO_ZONED = tuple(f"{form}%z" for form in _ISO[1:4])
_ISO_ALL = (*_ISO, *_ISO_ZONED, "%H:%M:%S.%f", "%N days %H:%M:%S.%f", "%Y-%m")


@dataclass(frozen=True)
class Form:
    """How the text of a column is read.

    Attributes:
        is_date: whether as dates, or else as numbers.
        format: as in `Column`.
        example: one of the texts.
        other: a format that fits as well, with day and month exchanged.
    """

    is_date: bool
    format: str
    example: str = ""
    other: str | None = None

    def read(self, texts: pa.ChunkedArray) -> pa.ChunkedArray:
        """The texts as values, null where one is not in the format."""
        parse = dates.parse if self.is_date else figures.parse
        return each_once(texts, lambda different: parse(different, self.format))


def read_cells(column: Column, data: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text of a column with a form as its values, null where it is not in the form.

    Other text, and what is no text, stays as it is. Dates in the form of ISO 8601 are read
    whatever the column's own format is.
    """
    if not dtypes.is_text(dtypes.value_type(data.type)):
        return data
    if column.unit is not None:
        return each_once(dtypes.plain(data), partial(_read_dates, column))
    if column.format is not None:
        return Form(False, column.format).read(dtypes.plain(data))
    return data


def _read_dates(column: Column, texts: pa.Array) -> pa.Array:
    forms = (column.format, *_ISO_ALL) if column.format else _ISO_ALL
    dtype = kind_of(column)
    kept: pa.Array | None = None
    for form in forms:
        if dates.arrow_type(form) != dtype:
            continue
        read = dates.parse(texts, form)
        kept = read if kept is None else pc.coalesce(kept, read)
        if kept.null_count == texts.null_count:
            break
    return pa.nulls(len(texts), dtype) if kept is None else kept


def kind_of(column: Column) -> pa.DataType:
    """The plain type of a datetime: a timestamp, a time of day or a duration, in microseconds."""
    if column.format is not None:
        return dates.arrow_type(column.format)
    dtype = dtypes.parse(column.dtype)
    if pa.types.is_time(dtype):
        return pa.time64("us")
    return pa.duration("us") if pa.types.is_duration(dtype) else pa.timestamp("us")


def write_numbers(numbers: np.ndarray, form: str, gaps: np.ndarray) -> pa.Array:
    """Numbers (N,) as texts in a form, null where `gaps` says so."""
    return pa.array(figures.write(numbers, form), pa.string(), mask=gaps)


def write_dates(us: np.ndarray, form: str, gaps: np.ndarray) -> pa.Array:
    """Microseconds (N,) as texts in a form, null where `gaps` says so."""
    return dates.write(temporal.of_microseconds(us, dates.arrow_type(form), gaps), form)
