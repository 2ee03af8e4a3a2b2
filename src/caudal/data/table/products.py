"""Columns that are products of two others: quantity times price, rate times amount."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

import numpy as np

from caudal.data.schema import Column
from caudal.data.table.follower import Follower
from caudal.data.table.sums import EVIDENCE, surprise

_COLUMNS = 200  # that are looked at, at most
_FIRST = 16  # rows, from all over the table, that rule out most products
_NEXT = 500  # rows that rule out most of the others
_HALF = 1e-6  # of a step: so near to a half, a number may be rounded either way


def find_products(
    columns: Sequence[Column], rows: np.ndarray, kept: Collection[str]
) -> Iterator[Follower]:
    """Columns that are the product of two others, rounded to the decimals they are written with.

    A factor may be a list of numbers, such as prices, or the product of two others.

    Args:
        columns: of the rows, without gaps.
        rows: some of them (N, D): numbers, and codes of categories.
        kept: the names of columns that are no followers.
    """
    places = [i for i, column in enumerate(columns) if _is_number(column)][:_COLUMNS]
    if len(places) < 3 or len(rows) < 2 * _FIRST:
        return
    values = np.stack([user_numbers(columns[i], rows[:, i]) for i in places], 1)
    some = _spread(np.arange(len(rows)), _NEXT)
    factors: set[int] = set()
    for k, place in enumerate(places):
        total = _plain(columns[place])
        likely = surprise(values[:, k]) > 3 * EVIDENCE
        if columns[place].name in kept or k in factors or not likely:
            continue
        first = values[_telling(values[:, k])]
        products = first[:, :, None] * first[:, None, :]
        off = np.abs(products - first[:, k, None, None])
        near = np.triu((off <= _room(total, products)).all(0), 1)
        near[k] = near[:, k] = False
        for i, j in np.argwhere(near).tolist():
            sources = rows[:, [places[i], places[j]]]
            follower = _product(total, [columns[places[i]], columns[places[j]]])
            if all(holds(follower, values[at, k], sources[at]) for at in (some, slice(None))):
                factors |= {i, j}
                yield follower
                break


def _telling(values: np.ndarray) -> np.ndarray:
    """A few rows (n,) of those in which a column (N,) is not its most frequent value.

    Nearly all products of counts are 0, and so are those of most other columns.
    """
    different, counts = np.unique(values, return_counts=True)
    return _spread(np.flatnonzero(values != different[counts.argmax()]), _FIRST)


def _spread(rows: np.ndarray, most: int) -> np.ndarray:
    """At most so many of the rows, from all over them."""
    return rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int)]


def holds(follower: Follower, values: np.ndarray, sources: np.ndarray) -> bool:
    """Whether sources (N, 2) make the user's numbers (N,); halves are rounded either way."""
    exact = follower.exact(sources)
    room = _room(follower.column, exact)
    return bool((np.abs(values - follower.column.offset - exact) <= room).all())


def user_numbers(column: Column, values: np.ndarray) -> np.ndarray:
    """Values of rows (N,) as the user has them, categories too."""
    if column.categories is None:
        return values + column.offset
    return np.array(column.categories, float)[values.astype(int)]


def _is_number(column: Column) -> bool:
    """Whether a column is one of numbers, or of categories that are numbers, without gaps."""
    if column.categories is not None:
        return all(isinstance(c, int | float) and c is not True for c in column.categories)
    on_line = column.period is None and column.kind != "latitude"
    return on_line and column.unit is None and not column.missing


def _plain(column: Column) -> Column:
    """The column as one of numbers without ends, in steps of the decimals of its values."""
    plain = Column(column.name, "real", dtype=column.dtype, format=column.format)
    if column.categories is not None:
        step = 10.0 ** -_decimals(np.array(column.categories, float))
    elif column.step:
        # Values that all lie on a coarser lattice are rounded to their decimals all the same.
        points = np.array([column.step, column.origin + column.offset])
        step = 10.0 ** -_decimals(points)
    elif column.decimals is not None:
        step = 10.0**-column.decimals
    else:
        return plain
    return replace(plain, step=step)


def _decimals(values: np.ndarray) -> int:
    """How many decimals numbers have, at most 10."""
    return next((d for d in range(11) if np.allclose(np.round(values, d), values, 0, 1e-11)), 10)


def _room(column: Column, exact: np.ndarray) -> np.ndarray:
    """How far a value may be from an exact product."""
    half = (0.5 + _HALF) * (column.step or 0.0)
    return np.asarray(half + (1e-10 if column.step else 1e-6) * np.abs(exact))


def _product(column: Column, sources: Sequence[Column]) -> Follower:
    why = f"is {sources[0].name} x {sources[1].name}"
    offsets = tuple(source.offset for source in sources)
    levels = tuple(tuple(map(float, source.categories or ())) for source in sources)
    names = tuple(source.name for source in sources)
    steps = [_finest(source) for source in sources]
    is_rounded = column.step is not None and (
        None in steps or bool(np.prod(np.array(steps, float)) < 0.999 * column.step)
    )
    why += " (rounded)" if is_rounded else ""
    return Follower(column, names, why, offsets=offsets, levels=levels)


def _finest(column: Column) -> float | None:
    return _plain(column).step
