"""Columns with one value for each value of another: a city for each postcode, and the like."""

from collections.abc import Collection, Iterator, Sequence

import numpy as np

from caudal.data.schema import Column
from caudal.data.table.follower import Follower, without_ends
from caudal.data.table.sums import EVIDENCE

LEAST = 10  # rows for each value of a source, in the mean
_FIRST = (50, 500)  # rows that rule out most pairs of columns, and most of the others


def find_lists(
    columns: Sequence[Column], rows: np.ndarray, kept: Collection[str]
) -> Iterator[Follower]:
    """Columns that have one value wherever one other column has some value.

    Columns of more values come first, as those of fewer follow them; of as many numbers come
    first, which are in order, then those on the left. No follower is followed. The lists are
    those of the rows.

    Args:
        columns: of the rows.
        rows: some of them (N, D): codes, and numbers without gaps.
        kept: the names of columns that are no followers.
    """
    found = [np.unique(values, return_inverse=True) for values in rows.T]
    levels, codes = [len(values) for values, _ in found], [code for _, code in found]
    few = [i for i in range(len(columns)) if 1 < levels[i] <= len(rows) / LEAST]
    if not few:
        return
    few.sort(key=lambda i: (-levels[i], columns[i].categories is not None, i))
    first = np.array([codes[i][: _FIRST[-1]] for i in few], np.int32).T
    sources: dict[int, np.ndarray] = {}
    for place, i in enumerate(few):
        source = None
        if columns[i].name not in kept:
            likely = (j for j, may in sources.items() if may[place])
            fits = (j for j in likely if _follows(codes[i], codes[j], levels[j], len(columns)))
            source = min(fits, key=lambda j: levels[j], default=None)
        if source is None:
            sources[i] = _may_follow(first, first[:, place])
            continue
        why = f"follows from {columns[source].name}"
        yield Follower(without_ends(columns[i]), (columns[source].name,), why)


def _may_follow(columns: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Which columns of codes (N, D) have one of them for each level of another (N,): (D,)."""
    may = np.arange(columns.shape[1])
    for rows in _FIRST:
        order = others[:rows].argsort(kind="stable")
        same = others[order][1:] == others[order][:-1]
        ordered = columns[:rows, may][order]
        may = may[~(same[:, None] & (ordered[1:] != ordered[:-1])).any(0)]
    return np.isin(np.arange(columns.shape[1]), may)


def _follows(codes: np.ndarray, others: np.ndarray, levels: int, many: int) -> bool:
    """Whether a column of codes (N,) has one of them for each level of another, not by chance.

    The first row of a level says which; that each other row has the same is so likely by chance as
    the column has this code anywhere.
    """
    there, first = np.unique(others, return_index=True)
    of_level = np.zeros(levels, int)
    of_level[there] = codes[first]
    if (of_level[others] != codes).any():
        return False
    counts = np.bincount(codes)
    each = -np.log(counts[of_level] / len(codes))
    rows_of = np.bincount(others, minlength=levels)
    return float(((rows_of - 1).clip(0) * each).sum()) > EVIDENCE + 2 * np.log(many)
