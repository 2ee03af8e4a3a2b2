"""Where the values of a lattice heap up: whole numbers among decimals, endings, days of the week.

The word is that of statistics for ages that people round.
"""

from collections.abc import Iterator

import numpy as np

from caudal.data import temporal
from caudal.data.schema import Column
from caudal.data.table.stats import Stats

_LEAST = 20  # rows
_FEW = 128  # steps of a lattice whose histogram has all of them anyhow
_NUMBERS = (2, 4, 5, 10, 20, 25, 50, 100)
_TIMES = {"month": (12,), "day": (7,), "hour": (24, 168), "minute": (60,), "second": (60,)}
_LONGEST = 10_000  # steps of a period
_PERIODS = 1.5  # in the middle half of the values, at least: so few hardly vary by their place
_GAIN = 0.05  # nats a value, at least
_SURE = 10.0  # nats of all values together, which few rows hardly gain by chance


def heaps_of(column: Column, stats: Stats) -> tuple[float, ...]:
    """The shares of the values in the steps of a period, from the column's origin on.

    The period is the one of highest likelihood, each value being judged by the shares of all
    others. It is taken if even shares are less likely by a twentieth of a nat a value, and by ten
    nats in all, and also if each distinct value counts once: rows that repeat one value are no
    heap. Otherwise there are no shares.
    """
    if column.step is None or column.categories is not None or len(stats.sample) < _LEAST:
        return ()
    values = stats.sample
    numbers = values if column.unit is None else temporal.to_units(values, column.unit)
    steps = np.rint((numbers - column.offset - column.origin) / column.step).astype(np.int64)
    n, reach, different = len(steps), np.ptp(steps) + 1, np.unique(steps)
    if reach <= min(_FEW, n / 8):
        return ()
    middle = float(np.subtract(*np.quantile(steps, [0.75, 0.25])))
    best, shares = max(_GAIN, _SURE / n), np.zeros(0)
    for period in _periods(column):
        if middle < _PERIODS * period:
            continue
        counts, once = (np.bincount(s % period, minlength=period) for s in (steps, different))
        if _gain(once) > 0 and (gain := _gain(counts)) > best:
            best, shares = gain, _shares(counts)
    return tuple(shares.tolist())


def _periods(column: Column) -> Iterator[int]:
    """The periods that people use, in steps."""
    if column.unit is not None:
        wanted = [float(each) for each in _TIMES.get(column.unit, ())]
        yield from (round(p / (column.step or 1)) for p in wanted if not p % (column.step or 1))
        return
    yield from _NUMBERS
    whole = 1 / (column.step or 1)
    if abs(whole - round(whole)) < 1e-6 and _NUMBERS[-1] < whole <= _LONGEST:
        yield round(whole)


def _gain(counts: np.ndarray) -> float:
    """By how much a value is likelier by the shares of all others than by even ones, in nats."""
    n, new = counts.sum(), _new(counts)
    others = (1 - new) * (counts - 1) / max(n - 1, 1)
    alone = new / ((counts == 0).sum() + 1)
    share = np.where(counts > 1, others, max(alone, 1 / (n * len(counts))))
    return float((counts * np.log(share * len(counts))).sum() / n)


def _shares(counts: np.ndarray) -> np.ndarray:
    """Shares of the places; those that were never seen have as much as what was seen once."""
    new, unseen = _new(counts), max(int((counts == 0).sum()), 1)
    return np.where(counts > 0, (1 - new) * counts / counts.sum(), new / unseen)


def _new(counts: np.ndarray) -> float:
    """The share of all unseen places together: that of the values that were seen once.

    Reference: Good, The population frequencies of species, 1953.
    """
    unseen = int((counts == 0).sum())
    once = (np.sum(counts == 1) + 0.5) / (counts.sum() + 1)
    return min(float(once), unseen / len(counts))
