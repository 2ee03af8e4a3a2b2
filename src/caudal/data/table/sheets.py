"""Spreadsheets: .xlsx, .xls, .xlsb and .ods, by python-calamine."""

import datetime as dt
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from caudal.data.refusals import damage
from caudal.data.table.layout import has_header
from caudal.data.table.values import Seen, as_text, is_filled, note_on_marks, word
from caudal.data.unpacked import check_sheets
from caudal.errors import InputError, one_line

SHEETS = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")
_EXACT = float(1 << 53)  # beyond it a double is no whole number for certain


def read_sheet(
    path: Path, name: str, na: tuple[str, ...] = ()
) -> tuple[pa.Table, list[str], bool]:
    """The table of the first sheet that has one, notes, and whether it has no header.

    Numbers, truth values, dates and times have their types; columns of text are read as those of
    text files are. Rows above and below the table, with titles and sources, are passed over.

    Args:
        path: the file.
        name: what errors call it.
        na: marks of missing values, in place of the usual ones.

    Raises:
        InputError: python-calamine is not installed, the file is damaged, or there is no table.
    """
    sheets = _sheets(path, name)
    filled = [(title, rows) for title, rows in sheets if rows]
    if not filled:
        raise InputError(f"{name} is empty: give a table with a header and rows")
    title, rows = filled[0]
    notes = []
    if len(filled) > 1:
        notes.append(
            f"{name}: the first of {len(filled)} sheets, '{title}', is read; save another one in "
            f"a file of its own"
        )
    above, table, below = _bounds(rows)
    for count, where in ((above, "above"), (below, "below")):
        if count:
            lines = "1 row" if count == 1 else f"{count} rows"
            notes.append(f"{name}: {lines} {where} the table passed over")
    words = [[word(value) for value in row] for row in table]
    bare = not has_header(words[0], words[1:], ".")
    headers = [f"c{i}" for i in range(len(words[0]))] if bare else [w.strip() for w in words[0]]
    if bare:
        notes.append(f"{name} has no header: its columns are called c0 to {headers[-1]}")
    columns = list(zip(*table[0 if bare else 1 :], strict=True)) or [() for _ in headers]
    kept = [i for i, values in enumerate(columns) if headers[i] or any(map(is_filled, values))]
    made, seen = {}, []
    for i in kept:
        made[i], text = _column(columns[i], na)
        seen += [(headers[i], text)] if text else []
    notes += note_on_marks(name, seen)
    return pa.table(list(made.values()), names=[headers[i] for i in kept]), notes, bare


def _sheets(path: Path, name: str) -> list[tuple[str, list[list[Any]]]]:
    try:
        import python_calamine as calamine
    except ImportError:
        raise InputError(
            f"{name}: sheets are read by python-calamine: pip install 'caudal[excel]', or save "
            f"the table as .csv"
        ) from None
    if zipfile.is_zipfile(path):
        with damage(name):
            check_sheets(path, name)
    try:
        book = calamine.CalamineWorkbook.from_path(str(path))
        return [(title, book.get_sheet_by_name(title).to_python()) for title in book.sheet_names]
    except (calamine.CalamineError, OSError) as error:
        raise InputError(
            f"{name} cannot be read, it may be damaged or locked: {one_line(error, 160)}"
        ) from None


def _bounds(rows: Sequence[Sequence[Any]]) -> tuple[int, list[Sequence[Any]], int]:
    """How many rows stand above the table, its rows, and how many filled ones stand below it."""
    counts = [sum(map(is_filled, row)) for row in rows]
    tally = Counter(count for count in counts if count)
    usual = max(tally, key=lambda count: (tally[count], count))
    least = usual - 1 if usual > 2 else usual  # the first name may be missing, as of an index
    first = next(i for i, count in enumerate(counts) if count >= least)
    end = len(rows)
    while end > first + 1 and counts[end - 1] <= (usual > 2) and not _is_number_row(rows[end - 1]):
        end -= 1
    table = [row for row, count in zip(rows[first:end], counts[first:end], strict=True) if count]
    return sum(map(bool, counts[:first])), table, sum(map(bool, counts[end:]))


def _is_number_row(row: Sequence[Any]) -> bool:
    return any(isinstance(value, int | float) for value in row)


def _column(values: Sequence[Any], na: tuple[str, ...]) -> tuple[pa.ChunkedArray, Seen | None]:
    """Values (N,) as a column of one type, and what was seen of it if it is read as text."""
    kept = [value if is_filled(value) else None for value in values]
    kinds = {type(value) for value in kept if value is not None}
    if kinds and kinds <= {int, float}:
        whole = all(v is None or (abs(v) < _EXACT and v == int(v)) for v in kept)
        numbers = pa.array(kept, pa.float64())
        return pa.chunked_array([numbers.cast(pa.int64()) if whole else numbers]), None
    if kinds == {dt.date, dt.datetime}:
        kept = [_moment(value) for value in kept]
        kinds = {dt.datetime}
    if len(kinds) == 1 and str not in kinds:
        return pa.chunked_array([pa.array(kept)]), None
    return as_text(values, na)


def _moment(value: Any) -> Any:
    """A date as the beginning of its day."""
    is_day = isinstance(value, dt.date) and not isinstance(value, dt.datetime)
    return dt.datetime.combine(value, dt.time()) if is_day else value
