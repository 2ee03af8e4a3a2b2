"""What a person should know of the numbers of a column before a flow learns them."""

import numpy as np

from caudal.data.schema import Column
from caudal.data.table.stats import Stats

FAR = 1e5  # times the spread of the middle half
HALF, MANY = 0.5, 20  # share of the rows at one value; different values beside it


def oddities(column: Column, stats: Stats) -> list[str]:
    """Notes on single values far out, and on a value that half of the rows have."""
    if column.categories is not None or column.unit is not None or not len(stats.sample):
        return []
    return [*_far_out(column.name, stats), *_heavy(column, stats)]


def _far_out(name: str, stats: Stats) -> list[str]:
    low, median, high = np.quantile(stats.sample, [0.25, 0.5, 0.75])
    spread = high - low
    if not 0 < spread < np.inf:
        return []
    ends = [end for end in (stats.low, stats.high) if abs(end - median) > FAR * spread]
    if not ends:
        return []
    end = max(ends, key=lambda value: abs(value - median))
    count = max(int((np.abs(stats.sample - median) > FAR * spread).sum()), len(ends))
    more = f", and with it {count - 1} more" if count > 1 else ""
    return [
        f"'{name}' holds {end:g}{more}, where half of the values lie between {low:g} and "
        f"{high:g}: if that is a slip or stands for a missing value, correct it"
    ]


def _heavy(column: Column, stats: Stats) -> list[str]:
    """On a lattice such a value is one like others: there is nothing to say."""
    values, counts = np.unique(stats.rounded, return_counts=True)
    rare = counts.max() < HALF * len(stats.sample)
    if column.step is not None or rare or len(values) <= MANY:
        return []
    value, share = values[counts.argmax()], counts.max() / len(stats.sample)
    atoms = column.offset + np.array(column.atoms)
    is_whole = column.whole is not None and value % column.whole == 0
    what = (
        "that value has a probability of its own"
        if is_whole or np.isclose(atoms, value, rtol=1e-6, atol=1e-12).any()
        else "a density can grow there without limit"
    )
    return [f"'{column.name}' is {value:g} in {share:.0%} of the rows: {what}"]
