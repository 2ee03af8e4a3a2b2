"""The pass over a table that finds out what its columns are like, before training."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from caudal.data import dtypes
from caudal.data.place import Place
from caudal.data.table.declare import Declared
from caudal.data.table.encode import NUMBER, gap_error, gaps_in, to_numbers
from caudal.data.table.limits import outside
from caudal.data.table.stats import Stats
from caudal.data.table.tables import Tables
from caudal.errors import InputError


def survey(
    tables: Sequence[Tables],
    names: Sequence[str],
    declared: Mapping[str, Declared],
    missing: str,
) -> dict[str, Stats]:
    """One streaming pass over all tables, into `Stats` for each name.

    What a column looks like is judged by the first table alone; what it can hold (its ends,
    categories and gaps) by all of them.

    Args:
        tables: the file to train on, and those for validation and test if given.
        names: the columns to look at.
        declared: what the user says they are; values that contradict it are refused.
        missing: "refuse", "drop" or "model"; with "drop", other values of rows with gaps
            are ignored.

    Raises:
        InputError: a value is infinite, no number, or outside the declared support, or it is
            missing and `missing` is "refuse"; or a column has a type that cannot be used.
    """
    columns = {name: Stats() for name in names}
    for table in tables:
        for name in names:
            _check_type(table, name)
        for chunk in table.chunks(names):
            place = Place(table.name, chunk.first + 1, declarable=True)
            _add(columns, chunk.table, declared, missing, place)
        for stats in columns.values():
            if not stats.closed:
                stats.close()
    _check_values(columns, tables[0].name)
    if missing == "refuse":
        for name, stats in columns.items():
            if stats.first_gap:
                file, row = stats.first_gap
                raise gap_error(Place(file, row, declarable=True), 0, name, stats.missing)
    return columns


def _check_values(columns: Mapping[str, Stats], file: str) -> None:
    for name, stats in columns.items():
        if stats.missing == stats.rows:
            raise InputError(f"{file}, column '{name}' has no values: leave it out")
    if not all(stats.count for stats in columns.values()):
        raise InputError(f"{file}: every row has a missing value, so that none is left")


def is_numeric(dtype: pa.DataType, declared: Declared | None) -> bool:
    """Whether a column is read as numbers, by what is declared or else by its type."""
    if declared is not None and declared.kind != "categorical":
        return True
    return dtypes.is_number(dtypes.value_type(dtype))


def _check_type(table: Tables, name: str) -> None:
    if reason := dtypes.refusal(table.schema.field(name).type):
        raise InputError(f"{table.name}, column '{name}' {reason}")
    if not name:
        raise InputError(
            f"{table.name}: a column has no name (a saved index?): name it, or leave it out by "
            f"naming the others with `columns`"
        )


def _add(
    columns: Mapping[str, Stats],
    table: pa.Table,
    declared: Mapping[str, Declared],
    missing: str,
    place: Place,
) -> None:
    gaps = {name: gaps_in(table[name]) for name in columns}
    for name, stats in columns.items():
        stats.add_gaps(gaps[name], place.file, place.first_row)
    whole = ~np.logical_or.reduce(list(gaps.values()))
    for name, stats in columns.items():
        keep = whole if missing == "drop" else ~gaps[name]
        here = place.choose(keep)
        column = table[name].filter(pa.array(keep))
        if is_numeric(column.type, declared.get(name)):
            _add_numbers(stats, column, name, declared.get(name), here)
        else:
            _add_texts(stats, dtypes.plain(column), name, here)


def _add_numbers(
    stats: Stats, column: pa.ChunkedArray, name: str, declared: Declared | None, place: Place
) -> None:
    values = to_numbers(column, name, place)
    if declared is not None:
        problem, bad = outside(declared, values)
        if bad.any():
            at = int(bad.argmax())
            raise InputError(
                f"{place.cell(at, name)}: {values[at]:g} {problem}: correct it or declare "
                f"another type"
            )
    rows = place.first_row + np.asarray(place.rows)
    stats.add_numbers(values, rows, float(np.finfo(dtypes.float_type(column.type)).eps))


def _add_texts(stats: Stats, values: pa.ChunkedArray, name: str, place: Place) -> None:
    counted = values.value_counts()
    levels, counts = counted.field("values"), counted.field("counts")
    stats.add_levels(levels.to_pylist(), counts.to_pylist())
    stats.count += 0 if stats.closed else len(values)
    if dtypes.is_text(values.type) and not stats.closed:
        words = ~pc.match_substring_regex(values, NUMBER).to_numpy()
        stats.words += int(words.sum())
        if stats.first_word is None and words.any():
            at = int(words.argmax())
            stats.first_word = (place.cell(at, name), values[at].as_py())
