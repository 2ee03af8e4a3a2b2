"""The pass over a table that finds out what its columns are like, before training."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from caudal.data import dtypes
from caudal.data.splits import hash_rows
from caudal.data.table.cells import Form
from caudal.data.table.convert import NUMBER, Place, gaps_in, to_numbers, without_marks
from caudal.data.table.declare import Declared, outside
from caudal.data.table.stats import Stats
from caudal.data.table.tables import Tables
from caudal.data.temporal import is_modelled
from caudal.errors import InputError

_PADDED = r"^\s*[+-]?0\d"


class Survey(NamedTuple):
    """What a pass over tables found.

    Attributes:
        stats: of each column.
        patterns: how many rows have gaps in exactly these columns.
        rows: how many there are in all tables.
    """

    stats: dict[str, Stats]
    patterns: Counter[frozenset[str]]
    rows: int


def survey(
    tables: Sequence[Tables],
    names: Sequence[str],
    declared: Mapping[str, Declared],
    marks: Mapping[str, Collection[str]] | None = None,
    forms: Mapping[str, Form] | None = None,
    whole: Collection[str] = (),
) -> Survey:
    """One streaming pass over all tables, into `Stats` for each name.

    What a column looks like is judged by the first table alone; what it can hold (its ends,
    categories and gaps) by all of them.

    Args:
        tables: the file to train on, and those for validation and test if given.
        names: the columns to look at.
        declared: what the user says they are; values that contradict it are refused.
        marks: texts that stand for missing numbers, by the name of their column, which is read as
            numbers then.
        forms: of columns of text that are read as dates or numbers; what is not in its form is
            missing.
        whole: columns without whose value a row is ignored.

    Raises:
        InputError: a value is infinite, no number, or outside the declared support.
    """
    columns = {name: Stats() for name in names}
    patterns: Counter[frozenset[str]] = Counter()
    for table in tables:
        for chunk in table.chunks(names):
            place = Place(table.name, chunk.first + 1, declarable=True)
            rows = without_marks(chunk.table, marks or {})
            rows = _read(columns, rows, forms or {}, place)
            gaps = {name: gaps_in(rows[name]) for name in names}
            patterns += _patterns(gaps)
            _add(columns, rows, gaps, declared, marks or {}, whole, place)
        for stats in columns.values():
            if not stats.closed:
                stats.close()
    return Survey(columns, patterns, sum(table.n_rows for table in tables))


def _patterns(gaps: Mapping[str, np.ndarray]) -> Counter[frozenset[str]]:
    """How many rows have gaps in exactly these columns."""
    names = [name for name, mask in gaps.items() if mask.any()]
    if not names:
        return Counter()
    masks = np.stack([gaps[name] for name in names], 1)
    patterns, counts = np.unique(masks[masks.any(1)], axis=0, return_counts=True)
    return Counter(
        {
            frozenset(np.array(names)[mask].tolist()): int(count)
            for mask, count in zip(patterns, counts, strict=True)
        }
    )


def is_numeric(dtype: pa.DataType, declared: Declared | None) -> bool:
    """Whether a column is read as numbers, by what is declared or else by its type."""
    if declared is not None and declared.kind != "categorical":
        return True
    plain = dtypes.value_type(dtype)
    return dtypes.is_number(plain) or is_modelled(plain)


def _read(
    columns: Mapping[str, Stats], table: pa.Table, forms: Mapping[str, Form], place: Place
) -> pa.Table:
    """The table with what its text stands for; what is not in a form is counted."""
    for name, form in forms.items():
        texts = dtypes.plain(table[name])
        if not dtypes.is_text(texts.type):
            continue
        values = form.read(texts)
        odd = values.null_count - texts.null_count
        if odd:
            stats = columns[name]
            at = int(np.argmax(pc.and_(pc.is_null(values), pc.is_valid(texts)).to_numpy()))
            stats.odd += odd
            stats.first_odd = stats.first_odd or (place.cell(at, name), texts[at].as_py())
        table = table.set_column(table.schema.get_field_index(name), name, values)
    return table


def _add(
    columns: Mapping[str, Stats],
    table: pa.Table,
    gaps: Mapping[str, np.ndarray],
    declared: Mapping[str, Declared],
    marks: Mapping[str, Collection[str]],
    whole: Collection[str],
    place: Place,
) -> None:
    ignored = np.logical_or.reduce([np.zeros(table.num_rows, bool), *(gaps[n] for n in whole)])
    keys = hash_rows(place.first_row + np.arange(table.num_rows), 0)
    for name, stats in columns.items():
        stats.add_gaps(gaps[name], place.file, place.first_row)
        keep = ~(ignored | gaps[name])
        column, here, near = table[name], place, keys
        if not keep.all():
            column, here, near = column.filter(pa.array(keep)), place.choose(keep), keys[keep]
        if name in marks or is_numeric(column.type, declared.get(name)):
            _add_numbers(stats, column, near, name, declared.get(name), here)
        else:
            _add_order(stats, column)
            _add_texts(stats, dtypes.plain(column), name, here)


def _add_numbers(
    stats: Stats,
    column: pa.ChunkedArray,
    keys: np.ndarray,
    name: str,
    declared: Declared | None,
    place: Place,
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
    stats.add_numbers(values, keys, float(np.finfo(dtypes.float_type(column.type)).eps))


def _add_order(stats: Stats, column: pa.ChunkedArray) -> None:
    """Takes in the order of the categories, where their type has one."""
    if pa.types.is_dictionary(column.type) and column.type.ordered:
        for chunk in column.chunks:
            known = set(stats.order)
            stats.order += [v for v in chunk.dictionary.to_pylist() if v not in known]


def _add_texts(stats: Stats, values: pa.ChunkedArray, name: str, place: Place) -> None:
    counted = values.value_counts()
    levels, counts = counted.field("values"), counted.field("counts")
    stats.add_levels(levels.to_pylist(), counts.to_pylist())
    stats.count += 0 if stats.closed else len(values)
    if dtypes.is_text(values.type) and not stats.closed:
        is_word = pc.invert(pc.match_substring_regex(levels, NUMBER))
        words = levels.filter(is_word)
        stats.add_words(words, counts.filter(is_word))
        stats.padded |= bool(pc.any(pc.match_substring_regex(levels, _PADDED)).as_py())
        if stats.first_word is None and len(words):
            first = words[0].as_py()  # levels are in the order in which they come
            at = pc.index(values, first).as_py()
            stats.first_word = (place.cell(at, name), first)
