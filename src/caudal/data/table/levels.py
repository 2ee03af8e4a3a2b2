"""The order of categories: along the column that they are most associated with, if any.

A flow sees categories as steps of a line. In an order that has nothing to do with the other
columns it must learn level by level what belongs together; in an order along another column, as
grades of school go with years of it, the copula knows it already.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from caudal.data import dtypes
from caudal.data.schema import Column
from caudal.data.table.parts import encode_rows
from caudal.data.table.schema import TableSchema
from caudal.data.table.tables import Tables

ROWS, NUMBERS = 20_000, 4_000_000  # looked at, from the first row on
_TOGETHER = 16  # columns that categories are compared with at a time
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
    waiting = dict(unordered)
    best = _Best(rows, waiting)
    anchors = [i for i in range(len(columns)) if i not in waiting]
    for start in range(0, len(anchors), _TOGETHER):
        some = anchors[start : start + _TOGETHER]
        best.offer(np.stack([_ranks(rows[:, i]) for i in some], 1))
    while waiting:
        i = next((i for i in waiting if best.share(i) >= FOLLOWED), next(iter(waiting)))
        levels, codes = waiting.pop(i), rows[:, i]
        if best.share(i) >= FOLLOWED:
            names = columns[i].categories or ()
            # A gap stays the last.
            order = np.concatenate([best.order(i), np.arange(levels, len(names))])
            columns[i] = replace(columns[i], categories=tuple(names[k] for k in order))
            codes = np.argsort(order)[codes.astype(int)].astype(float)
        if waiting:
            best.offer(_ranks(codes)[:, None])  # the column is one more to go along
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


class _Best:
    """The column along which each of some columns of categories goes most, so far.

    Args:
        rows: (N, D), of all columns.
        levels: how many levels the W columns of categories have beside the gap, by their places.
    """

    def __init__(self, rows: np.ndarray, levels: Mapping[int, int]) -> None:
        from scipy.sparse import csr_array

        starts = np.cumsum([0, *levels.values()])
        self._at = {i: k for k, i in enumerate(levels)}
        self._first, self._end = starts[:-1], starts[1:]
        codes = rows[:, list(levels)]
        known = codes < np.array(list(levels.values()))
        row, column = np.nonzero(known)
        entries = codes[known].astype(int) + self._first[column], row
        # Sums of a column over the levels of all others are one product, (L, N) (N, A).
        self._levels = csr_array((np.ones(len(row)), entries), shape=(starts[-1], len(rows)))
        self._gaps = csr_array((~known).T.astype(float))
        self._counts = self._levels.sum(1)[:, None]
        self._n, self._seen = self._total(self._counts), self._total(self._counts > 0)
        self._shares = np.full(len(levels), -np.inf)
        self._means = np.zeros(starts[-1])

    def offer(self, ranks: np.ndarray) -> None:
        """Takes A columns, by their ranks (N, A), where they explain more than those before."""
        ranks = ranks - ranks.mean(0)
        square = np.square(ranks)
        squares = square.sum(0) - self._gaps @ square  # (W, A), of rows without a gap
        sums = self._levels @ ranks
        means = sums / np.maximum(self._counts, 1)
        total = squares - np.square(self._total(sums)) / np.maximum(self._n, 1)
        within = squares - self._total(sums * means)
        usable = (self._n > self._seen) & (total > 1e-9 * square.sum(0))
        # Of new rows: as many means as there are levels make the variance within them too small.
        ratio = (self._n - 1) / np.maximum(self._n - self._seen, 1)
        share = np.where(usable, 1 - ratio * within / np.where(usable, total, 1.0), -np.inf)
        best = share.argmax(1)
        share = share.max(1)
        for k in np.flatnonzero(share > self._shares):
            own = slice(self._first[k], self._end[k])
            self._means[own] = means[own, best[k]]
        self._shares = np.maximum(share, self._shares)

    def share(self, place: int) -> float:
        """Which share of the variance of that column the levels of a column explain."""
        return float(self._shares[self._at[place]])

    def order(self, place: int) -> np.ndarray:
        """The levels of a column in their order along that one; those that no row has are last."""
        own = slice(self._first[self._at[place]], self._end[self._at[place]])
        means = np.where(self._counts[own, 0] > 0, self._means[own], np.inf)
        return np.argsort(means, kind="stable")

    def _total(self, of_levels: np.ndarray) -> np.ndarray:
        """Sums over the levels (L, A) of each column, (W, A)."""
        return np.add.reduceat(of_levels.astype(float), self._first)
