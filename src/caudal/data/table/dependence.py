"""Columns that follow from others in every row are modelled once.

Such a column has nothing to learn, and a flow of it and its sources would have no limit: all rows
lie on a surface, near which a density can grow for ever.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

import numpy as np

from caudal.data.schema import Column
from caudal.data.table.find import shown
from caudal.data.table.follower import Follower
from caudal.data.table.lists import find_lists
from caudal.data.table.parts import encode_exactly
from caudal.data.table.products import find_products, holds, user_numbers
from caudal.data.table.schema import TableSchema
from caudal.data.table.sums import find_sums, fits
from caudal.data.table.tables import PIECE, Tables

_ROWS, _NUMBERS = 20_000, 16_000_000  # that are looked at before all


def find_followers(
    schema: TableSchema, tables: Sequence[Tables], drop: bool, kept: Collection[str]
) -> tuple[Follower, ...]:
    """The modelled columns that follow from other modelled ones in every row.

    The first rows tell which columns may, and a pass over all rows which do. Each follows from
    columns of the flow, or from followers before it.

    Args:
        schema: of the tables.
        tables: the one to train on, and those for validation and test if given.
        drop: whether rows with gaps that no column allows are left out.
        kept: the names of columns that are no followers: those that the user says something of.
    """
    columns = schema.columns
    if len(columns) < 2 or {column.name for column in columns} <= set(kept):
        return ()
    rows = first_rows(schema, tables[0], drop)
    names = [column.name for column in columns]
    linear = [i for i, column in enumerate(columns) if _is_linear(column)]
    whole = [i for i, column in enumerate(columns) if not column.missing]
    found = list(find_products([columns[i] for i in whole], rows[:, whole], kept))
    made = {follower.name for follower in found}
    found += find_sums([columns[i] for i in linear], rows[:, linear], {*kept, *made})
    summed = {follower.name for follower in found}
    listed = [i for i, c in enumerate(columns) if not c.missing and c.name not in summed]
    found += find_lists([columns[i] for i in listed], rows[:, listed], kept)
    rules = [_Rule(follower, names, columns) for follower in found]
    for table in tables if rules else ():
        for values in rows_of(schema, table, drop, PIECE):
            rules = [rule for rule in rules if rule.holds(values)]
    return tuple(_in_turn([rule.follower for rule in rules], names))


def without_followers(schema: TableSchema, followers: Sequence[Follower]) -> TableSchema:
    """The schema without the columns that follow, which samples have all the same."""
    if not followers:
        return schema
    gone = {follower.name for follower in followers}
    names = [column.name for column in schema.columns + schema.context]
    names += [passed.name for passed in schema.passed_over]
    return replace(
        schema,
        columns=tuple(column for column in schema.columns if column.name not in gone),
        followers=tuple(followers),
        order=schema.order or tuple(names),
    )


def follower_notes(followers: Sequence[Follower]) -> list[str]:
    """What the user should know of the columns that follow from others."""
    some = [f"{follower.name} {follower.why}" for follower in followers]
    line = f"modelled once, and computed in samples: {shown(some)}; `types` models it by itself"
    return [line] if some else []


class _Rule:
    """A follower in rows of all modelled columns; of a list, its entries so far.

    Args:
        found: the follower.
        names: of the columns.
        columns: the columns.
    """

    def __init__(self, found: Follower, names: Sequence[str], columns: Sequence[Column]) -> None:
        self._found, self._list = found, dict[float, float]()
        self._place = names.index(found.name)
        self._column = columns[self._place]
        self._sources = [names.index(name) for name in found.sources]
        self._shift = found.column.offset - columns[self._place].offset

    def holds(self, rows: np.ndarray) -> bool:
        """Whether rows (N, D) keep the rule."""
        if self._found.offsets:
            own = user_numbers(self._column, rows[:, self._place])
            return holds(self._found, own, rows[:, self._sources])
        y, x = rows[:, self._place] - self._shift, rows[:, self._sources]
        if self._found.slopes:
            return fits(self._found, y, x)
        pairs = np.unique(np.stack([x[:, 0], y], 1), axis=0).tolist()
        return all(self._list.setdefault(key, value) == value for key, value in pairs)

    @property
    def follower(self) -> Follower:
        keys = tuple(sorted(self._list))
        return replace(self._found, keys=keys, values=tuple(self._list[k] for k in keys))


def _is_linear(column: Column) -> bool:
    """Whether a column is one of numbers on a line, without gaps."""
    on_line = column.period is None and column.kind != "latitude"
    return column.categories is None and not column.missing and on_line


def _in_turn(followers: Sequence[Follower], names: Sequence[str]) -> Iterator[Follower]:
    """Those that follow from columns of the flow, or from others before them."""
    known = set(names) - {follower.name for follower in followers}
    left = list(followers)
    while ready := [follower for follower in left if known.issuperset(follower.sources)]:
        yield from ready
        known |= {follower.name for follower in ready}
        left = [follower for follower in left if follower not in ready]


def first_rows(schema: TableSchema, table: Tables, drop: bool) -> np.ndarray:
    """The different ones of the first rows (N, D): a row that is there again says nothing new."""
    most = max(1000, min(_ROWS, _NUMBERS // len(schema.columns)))
    parts: list[np.ndarray] = []
    for rows in rows_of(schema, table, drop, most):
        parts.append(rows)
        if sum(map(len, parts)) >= most:
            break
    return np.unique(np.concatenate(parts)[:most], axis=0)


def rows_of(schema: TableSchema, table: Tables, drop: bool, most: int) -> Iterator[np.ndarray]:
    """The rows of the modelled columns, at most so many at a time, in float64 (n, D)."""
    for chunk in table.chunks(schema.names, rows=most):
        rows = encode_exactly(schema, chunk, table.name, drop)[0]
        for column, values in zip(schema.columns, rows.T, strict=False):
            if column.step and column.categories is None:  # 3 steps of 0.1, as samples have them
                steps = np.round((values - column.origin) / column.step)
                values[:] = column.origin + steps * column.step
        yield rows[:, : len(schema.columns)]
