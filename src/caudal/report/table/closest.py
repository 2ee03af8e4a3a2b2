"""Distances to the closest record: samples are new rows, or training rows learned by heart.

The distance of two rows is SDMetrics': the mean over columns of 0 or 1 for categories, and of
|a - b| / range for numbers, at most 1; a gap is at 0 from a gap, and at 1 from a number.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from caudal.data import Column

_PAIRS = 1 << 20  # pairs of rows at a time: bounds the memory


def to_closest(
    columns: Sequence[Column], rows: np.ndarray, records: np.ndarray, like: np.ndarray
) -> np.ndarray:
    """The distance (N,) of each of the rows (N, D) to the closest of the records (M, D).

    Args:
        columns: what the rows hold.
        rows: as the schema encodes them.
        records: alike.
        like: rows (K, D) whose ranges are the unit of numbers.
    """
    rows, records = (_scaled(columns, side, like) for side in (rows, records))
    size = max(1, _PAIRS // len(records))
    parts = (rows[i : i + size] for i in range(0, len(rows), size))
    return np.concatenate([_distances(columns, part, records).min(1) for part in parts])


def _scaled(columns: Sequence[Column], rows: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Numbers divided by their range; NaN becomes -infinity, which is equal to itself alone."""
    scaled = rows.astype(np.float32)
    for i, column in enumerate(columns):
        known = like[~np.isnan(like[:, i]), i]
        width = float(np.ptp(known)) if len(known) else 0.0
        if column.categories is None:
            # Where all records are equal, any other value is as far as can be.
            unit = width if width > 0 else np.finfo(np.float32).tiny
            origin = known.min() if len(known) else 0.0
            scaled[:, i] = ((rows[:, i] - origin) / unit).clip(-1e30, 1e30)
    return np.where(np.isnan(scaled), -np.inf, scaled)


def _distances(columns: Sequence[Column], rows: np.ndarray, records: np.ndarray) -> np.ndarray:
    """The distances (N, M) of scaled rows and records."""
    total = np.zeros((len(rows), len(records)), np.float32)
    for column, a, b in zip(columns, rows.T, records.T, strict=True):
        if column.categories is not None:
            total += a[:, None] != b
        else:
            with np.errstate(invalid="ignore"):  # two gaps
                total += np.nan_to_num(np.minimum(np.abs(a[:, None] - b), 1))
    return total / len(columns)


def closer(to_training: np.ndarray, to_others: np.ndarray) -> float:
    """The share of rows that are closer to training rows than to others; ties count half.

    It is 0.5, but for chance, if there are as many of both and none was learned by heart.
    """
    return float((to_training < to_others).mean() + 0.5 * (to_training == to_others).mean())


def copies(rows: np.ndarray, records: Iterable[np.ndarray]) -> float:
    """The share of rows (N, D) that are equal, in every column, to one of the records."""
    keys = [row.tobytes() for row in _plain(rows)]
    wanted = set(keys)
    found = {
        key for part in records for key in (row.tobytes() for row in _plain(part)) if key in wanted
    }
    return sum(key in found for key in keys) / len(keys)


def _plain(rows: np.ndarray) -> np.ndarray:
    """Rows in 32 bits, as flows give them, in which equal values have equal bytes."""
    return np.ascontiguousarray(np.where(np.isnan(rows), np.nan, rows) + 0.0, np.float32)
