"""How far the samples of each column are from its data."""

import math
from dataclasses import dataclass

import numpy as np

from caudal.data import Column
from caudal.report.comparison import Comparison


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


def distances(comparison: Comparison) -> list[Distance]:
    """One for each column, the worst first."""
    pairs = zip(comparison.columns, comparison.data.T, comparison.samples.T, strict=True)
    found = [_distance(column, a, b) for column, a, b in pairs]
    return sorted(found, key=lambda d: -d.value)


def by_chance(rows: int) -> float:
    """The KS distance that two samples of `rows` rows from one density pass 5 % of the time."""
    return 1.36 * math.sqrt(2 / rows)


def _distance(column: Column, data: np.ndarray, samples: np.ndarray) -> Distance:
    missing = (float(np.isnan(data).mean()), float(np.isnan(samples).mean()))
    data, samples = data[~np.isnan(data)], samples[~np.isnan(samples)]
    if not len(data) or not len(samples):
        return Distance(column.name, "KS", float(len(data) != len(samples)), missing)
    if column.categories is not None:
        return Distance(column.name, "TV", _total_variation(data, samples), missing)
    return Distance(column.name, "KS", kolmogorov_smirnov(data, samples), missing)


def kolmogorov_smirnov(a: np.ndarray, b: np.ndarray) -> float:
    """The largest difference between the cumulative shares of a (N,) and b (M,)."""
    a, b = np.sort(a), np.sort(b)
    points = np.concatenate([a, b])
    below_a = np.searchsorted(a, points, side="right") / len(a)
    below_b = np.searchsorted(b, points, side="right") / len(b)
    return float(np.abs(below_a - below_b).max())


def _total_variation(a: np.ndarray, b: np.ndarray) -> float:
    levels = int(max(a.max(), b.max())) + 1
    shares = [np.bincount(v.astype(int), minlength=levels) / len(v) for v in (a, b)]
    return 0.5 * float(np.abs(shares[0] - shares[1]).sum())
