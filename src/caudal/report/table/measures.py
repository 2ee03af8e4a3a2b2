"""How alike two sets of rows are, column by column and pair by pair: Shape and Trend.

The definitions are those of SDMetrics (KSComplement, TVComplement, CorrelationSimilarity and
ContingencySimilarity), so that figures compare with those of other tools.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from caudal.data import Column
from caudal.report.two_sample import kolmogorov_smirnov

BINS = 10  # bins of numbers beside categories
MOST = 64  # columns whose pairs are compared


@dataclass(frozen=True)
class Distance:
    """One column's data against its samples, missing values apart.

    Attributes:
        name: the column.
        measure: "KS" for numbers, the Kolmogorov-Smirnov distance: the largest difference between
            the two cumulative shares; "TV" for categories, total variation: the share that would
            have to change its category.
        value: 0 for equal, 1 for disjoint.
        missing: share of missing values in the data, and in the samples.
    """

    name: str
    measure: str
    value: float
    missing: tuple[float, float]


def distance(column: Column, data: np.ndarray, samples: np.ndarray) -> Distance:
    """The distance of a column, whose values are given as its schema encodes them."""
    missing = (float(np.isnan(data).mean()), float(np.isnan(samples).mean()))
    data, samples = data[~np.isnan(data)], samples[~np.isnan(samples)]
    if not len(data) or not len(samples):
        return Distance(column.name, "KS", float(len(data) != len(samples)), missing)
    if column.categories is not None:
        return Distance(column.name, "TV", total_variation(data, samples), missing)
    return Distance(column.name, "KS", kolmogorov_smirnov(data, samples), missing)


def total_variation(a: np.ndarray, b: np.ndarray) -> float:
    """Half the sum of differences between the shares that whole numbers have in a and b."""
    levels, codes = np.unique(np.concatenate([a, b]), return_inverse=True)
    parts = codes[: len(a)], codes[len(a) :]
    shares = [np.bincount(part, minlength=len(levels)) / len(part) for part in parts]
    return 0.5 * float(np.abs(shares[0] - shares[1]).sum())


def shape(columns: Sequence[Column], data: np.ndarray, samples: np.ndarray) -> float:
    """Mean over the columns of 1 - their distance: 1 if each column by itself is as in the data.

    Args:
        columns: those that are compared, the first ones of the rows.
        data: rows (N, D).
        samples: rows (M, D).
    """
    sides = zip(columns, data.T, samples.T, strict=False)
    return float(np.mean([1 - distance(column, a, b).value for column, a, b in sides]))


# --- pairs ---------------------------------------------------------------------------------------


def trend(
    columns: Sequence[Column], data: np.ndarray, samples: np.ndarray, modelled: int
) -> float | None:
    """Mean similarity of the pairs of columns; None if there is no pair to compare.

    For two columns of numbers it is 1 - |r - r'| / 2, with Pearson's correlations r of the data
    and r' of the samples; for other pairs it is 1 - the total variation of their joint shares, for
    which numbers come in ten bins of equal width over the data, and gaps in one more. If there are
    more than 64 columns, 64 evenly spaced ones are compared.

    Args:
        columns: of the rows.
        data: rows (N, D).
        samples: rows (M, D).
        modelled: how many of the columns, from the first on, are the samples' own; the others are
            given, and no pair is of these alone.
    """
    chosen = range(0, len(columns), -(-len(columns) // MOST))
    pairs = [(i, j) for i, j in combinations(chosen, 2) if i < modelled]
    numbers = [column.categories is None for column in columns]
    asked = pairs, numbers, data, samples
    alike = [*_correlated(*asked), *_joint(*asked)]
    return float(np.mean(alike)) if alike else None


Pairs = Sequence[tuple[int, int]]


def _correlated(
    pairs: Pairs, numbers: Sequence[bool], data: np.ndarray, samples: np.ndarray
) -> Iterator[float]:
    """The similarities of pairs of numbers; a constant has no correlation, and is left out."""
    first, second = correlations(data), correlations(samples)
    for i, j in pairs:
        if numbers[i] and numbers[j]:
            similarity = 1 - abs(first[i, j] - second[i, j]) / 2
            if not np.isnan(similarity):
                yield float(similarity)


def correlations(rows: np.ndarray) -> np.ndarray:
    """Pearson's correlations (D, D) of rows (N, D), each over the rows where both are there."""
    there = (~np.isnan(rows)).astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        count = there.sum(0)
        mean = np.nan_to_num(rows).sum(0) / count
        centred = np.nan_to_num(rows - mean)
        scaled = centred / np.sqrt(np.square(centred).sum(0) / count)
        scaled = np.nan_to_num(scaled)
        both = there.T @ there
        sums = scaled.T @ there  # sums over the first column where the second is there
        cross = scaled.T @ scaled - sums * sums.T / both
        squares = np.square(scaled).T @ there - np.square(sums) / both
        # Nothing but rounding is left of the squares of a constant.
        squares = np.where(squares > 1e-9 * both, squares, np.nan)
        return cross / np.sqrt(squares * squares.T)


def _joint(
    pairs: Pairs, numbers: Sequence[bool], data: np.ndarray, samples: np.ndarray
) -> Iterator[float]:
    """The similarities of pairs with a category."""
    mixed = [(i, j) for i, j in pairs if not (numbers[i] and numbers[j])]
    used = {i for pair in mixed for i in pair}
    codes = {i: _codes(numbers[i], data[:, i], samples[:, i]) for i in used}
    for i, j in mixed:
        (a, b), (c, d) = codes[i], codes[j]
        base = 1 + max(c.max(), d.max())
        yield 1 - total_variation(a * base + c, b * base + d)


def _codes(number: bool, data: np.ndarray, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whole numbers from 0 on for the categories, or the bins, of both sides."""
    if not number:
        return data.astype(np.int64), samples.astype(np.int64)
    known = data[~np.isnan(data)]
    # Bins over the data: a single sample far out would widen bins over both.
    edges = np.histogram_bin_edges(known, BINS)[1:-1] if len(known) else np.zeros(1)
    first, second = (
        np.where(np.isnan(side), BINS, np.digitize(side, edges)) for side in (data, samples)
    )
    return first, second
