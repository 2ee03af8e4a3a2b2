"""The order of categories: along the column that they are most associated with, if any.

A flow sees categories as steps of a line. In an order that has nothing to do with the other
columns it must learn level by level what belongs together; in an order along another column, as
grades of school go with years of it, the copula knows it already.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from caudal.data import dtypes
from caudal.data.schema import Column
from caudal.data.table.parts import encode_rows
from caudal.data.table.schema import TableSchema
from caudal.data.table.tables import Tables

ROWS, NUMBERS = 20_000, 4_000_000  # looked at, from the first row on
FOLLOWED = 0.3  # share of a column's variance, from which on the categories follow it


def order_levels(schema: TableSchema, table: Tables, drop: bool) -> TableSchema:
    """The schema with its categories in order.

    Text of three levels and more is put in order, unless its type has an order. It goes along a
    number, or along a category that is in order already; of those that go with no number the first
    keeps the order of the alphabet, and others may go along it. The other column is taken by its
    ranks, and its variance within levels is that of new rows.

    Args:
        schema: of the table.
        table: the rows to train on.
        drop: whether rows with gaps that no column allows are left out.
    """
    columns = list(schema.columns)
    unordered = list(_unordered(columns))
    if not unordered or len(columns) < 2:
        return schema
    rows = _first_rows(schema, table, drop)
    ranks = np.stack([_ranks(values) for values in rows.T], 1)
    waiting = dict(unordered)
    anchors = [i for i in range(len(columns)) if i not in waiting]
    best = {i: _along(rows[:, i], n, ranks[:, anchors]) for i, n in waiting.items()}
    while waiting:
        follows = (i for i in waiting if best[i].share >= FOLLOWED)
        i = next(follows, next(iter(waiting)))
        levels = waiting.pop(i)
        if best[i].share >= FOLLOWED:
            names = columns[i].categories or ()
            # A gap stays the last.
            order = np.concatenate([best[i].order, np.arange(levels, len(names))])
            columns[i] = replace(columns[i], categories=tuple(names[k] for k in order))
            ranks[:, i] = _ranks(np.argsort(order)[rows[:, i].astype(int)].astype(float))
        for j, n in waiting.items():  # the column is one more to go along
            best[j] = max(best[j], _along(rows[:, j], n, ranks[:, [i]]), key=lambda a: a.share)
    return replace(schema, columns=tuple(columns))


def _first_rows(schema: TableSchema, table: Tables, drop: bool) -> np.ndarray:
    """Rows (N, D) of the modelled columns."""
    parts: list[np.ndarray] = []
    most = max(1000, min(ROWS, NUMBERS // len(schema.columns)))
    for chunk in table.chunks(schema.names, rows=most):
        parts.append(encode_rows(schema, chunk, table.name, drop)[0].double().numpy())
        if sum(map(len, parts)) >= most:
            break
    return np.concatenate(parts)[:most, : len(schema.columns)]


def _unordered(columns: Sequence[Column]) -> Iterator[tuple[int, int]]:
    """The places of columns of text, and how many levels each has beside the gap."""
    for i, column in enumerate(columns):
        names = column.categories
        dtype = dtypes.parse(column.dtype)
        if names is not None and column.holds_text and not getattr(dtype, "ordered", False):
            levels = len(names) - (None in names)
            if levels > 2:
                yield i, levels


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks of values (N,), equal ones their mean; those of gaps are the mean of all."""
    ranks = np.full(len(values), np.nan)
    there = ~np.isnan(values)
    _, codes, counts = np.unique(values[there], return_inverse=True, return_counts=True)
    ranks[there] = (np.cumsum(counts) - (counts - 1) / 2)[codes]
    return np.nan_to_num(ranks, nan=(there.sum() + 1) / 2)


class _Along(NamedTuple):
    """Levels in their order along a column, and which share of its variance they explain."""

    share: float
    order: np.ndarray


def _along(column: np.ndarray, levels: int, others: np.ndarray) -> _Along:
    """The levels along that one of the others (N, D) with which they are most associated."""
    known = column < levels
    codes, others = column[known].astype(int), others[known]
    counts = np.bincount(codes, minlength=levels)
    seen = int((counts > 0).sum())
    if len(codes) <= seen or not others.shape[1]:
        return _Along(-np.inf, np.arange(levels))
    centred = others - others.mean(0)
    total = np.einsum("nd,nd->d", centred, centred)
    sums = np.zeros((levels, others.shape[1]))
    there, sorted_rows = counts > 0, centred[np.argsort(codes, kind="stable")]
    sums[there] = np.add.reduceat(sorted_rows, (np.cumsum(counts) - counts)[there])
    means = sums / np.maximum(counts, 1)[:, None]
    within = total - (counts[:, None] * np.square(means)).sum(0)
    # Of new rows: as many means as there are levels make the variance within them too small.
    left = within / (len(codes) - seen) / np.maximum(total / (len(codes) - 1), 1e-300)
    left = np.where(total > 0, left, np.inf)
    best = int(np.argmin(left))
    order = np.argsort(np.where(counts > 0, means[:, best], np.inf), kind="stable")
    return _Along(1 - float(left[best]), order)
