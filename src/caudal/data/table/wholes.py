"""Whole numbers on no lattice: ages of 22 and of 0.42, doses of 10 and of 11.7316."""

import math
from dataclasses import replace

import numpy as np

from caudal.data.schema import Column
from caudal.data.table.numbers import ATOM, LEAST
from caudal.data.table.stats import Stats

UNITS = (0.5, 1.0, 5.0, 10.0, 100.0, 1000.0)
"""Units whose multiples 32 bits hold exactly."""
_DIFFERENT = 3  # multiples that are there, at least
_NEARLY = 0.8  # share of the multiples of a finer unit that those of a coarser one are
_PERIODS = 1.5  # units in the middle half of the values, at least
_MOST = 0.95  # share of the multiples, which may all be whole in the rows at hand
_FINE = 2.0**22  # decimals, or else units, up to which 32 bits open a line and close it again
_CHANCE = 5.0  # times as many as numbers of so many decimals have by chance


def with_wholes(column: Column, stats: Stats) -> Column:
    """The column with the unit whose multiples are more frequent than numbers between them.

    The unit is the coarsest that has nearly as many multiples among the values as any other. A
    column on a lattice or a circle has none.
    """
    is_number = column.step is None and column.categories is None and column.unit is None
    if not is_number or column.kind not in ("real", "positive", "interval"):
        return column
    values = stats.sample - column.offset
    shares = {unit: share for unit in UNITS if (share := _share(column, values, unit))}
    if not shares:
        return column
    unit = max(unit for unit in shares if shares[unit] > _NEARLY * max(shares.values()))
    share = min(shares[unit], _MOST)
    width = unit * share / (1 - share)
    return replace(column, whole=unit, atom_width=width, atoms=())


def _share(column: Column, values: np.ndarray, unit: float) -> float:
    """The share of the values (N,) that are multiples of a unit; 0 where it may be chance.

    Atoms that were found before must be some of these multiples, and hold less than the others do.
    It is 0 too where the opened line is so long that 32 bits would lose decimals of the others.
    """
    if math.fmod(column.offset, unit) or any(math.fmod(atom, unit) for atom in column.atoms):
        return 0.0
    middle = float(np.subtract(*np.quantile(values, [0.75, 0.25])))
    multiples = values[np.rint(values / unit) * unit == values]
    others = multiples[~np.isin(multiples, column.atoms)]
    enough = len(others) >= LEAST and len(np.unique(others)) >= _DIFFERENT
    if middle < _PERIODS * unit or not enough or len(others) < len(multiples) / 2:
        return 0.0
    by_chance = 0.0 if column.decimals is None else 10.0**-column.decimals / unit
    share = len(multiples) / len(values)
    if not max(ATOM, _CHANCE * by_chance) <= share < 1:
        return 0.0
    finest = unit if column.decimals is None else 10.0**-column.decimals
    opened = np.abs(values).max() / (1 - min(share, _MOST))
    return share if opened <= finest * _FINE else 0.0
