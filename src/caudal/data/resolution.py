"""Whether 32 bits, in which rows are kept, can tell a column's values apart."""

import numpy as np

from caudal.data.column import Column
from caudal.data.stats import Stats
from caudal.errors import InputError

LATTICE_LIMIT = float(1 << 23)  # steps; float32 cannot tell lattice points beyond it apart
MATERIAL = 0.01  # share of the different values that become equal to another one
FEW = 1024  # of many values without a lattice some always fall together; of so few hardly any


def check_resolution(column: Column, stats: Stats) -> None:
    """Refuses numbers that would fall together.

    Raises:
        InputError: a declared step finer than 32 bits at the size of the values, or too many
            different values that become equal.
    """
    largest = max(abs(stats.low), abs(stats.high))
    where = f"{stats.file}, column '{column.name}'"
    if column.step and largest > column.step * LATTICE_LIMIT:
        raise InputError(
            f"{where}: 32 bits cannot tell steps of {column.step:g} apart at values such as "
            f"{largest:.12g}: {_advice(stats)}"
        )
    values = np.unique(stats.sample if stats.decimals is not None else stats.few(FEW))
    kept = len(np.unique(values.astype(np.float32)))
    if kept == 1 < len(values):
        raise InputError(
            f"{where} is constant in 32 bits (between {stats.low:.17g} and {stats.high:.17g}): "
            f"{_advice(stats)}"
        )
    if len(values) - kept > MATERIAL * len(values):
        raise InputError(
            f"{where}: of {len(values)} different values such as {stats.high:.17g} 32 bits tell "
            f"only {kept} apart: {_advice(stats)}"
        )


def _advice(stats: Stats) -> str:
    return f"subtract an offset such as {stats.low:.12g} first, or give it in other units"
