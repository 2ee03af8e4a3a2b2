"""Ends of columns at which values pile up: caps, such as 500,001 dollars for more, and floors."""

import numpy as np

from caudal.data.table.stats import Stats

LEAST = 10  # rows at the end
_DENSER = 4.0  # times, than the steps beside it
_LARGER = 2.0  # times, than any value beside it, such as one of many round numbers


def piled_ends(stats: Stats, step: float) -> tuple[float | None, float | None]:
    """The lowest and the highest value, each None where values do not pile up at it.

    A distribution that tapers off, or that breaks off, has no more rows in the last step than in
    those before it. Many more are a sign that what lies beyond was counted there, so that no
    sample lies beyond. The `step` is that of a lattice, or of the decimals, or 0.
    """
    values = np.sort(stats.rounded)
    low, high = _piles_up(-values[::-1], -stats.low, step), _piles_up(values, stats.high, step)
    return stats.low if low else None, stats.high if high else None


def _piles_up(values: np.ndarray, end: float, step: float) -> bool:
    """Whether many of ascending values (N,) are at their end."""
    at_end = int((np.abs(values - end) <= 0.5 * step).sum())
    rest = values[: len(values) - at_end]
    if at_end < LEAST or len(rest) < at_end:
        return False
    beside = rest[-at_end:]
    even = at_end * step / (end - beside[0])
    largest = np.unique(beside, return_counts=True)[1].max()
    return bool(at_end > max(_DENSER * even, _LARGER * largest))
