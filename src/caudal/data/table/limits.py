"""Which values a column can hold, and whether 32 bits can tell them apart."""

from collections.abc import Sequence

import numpy as np

from caudal.data.column import Column
from caudal.data.place import Place
from caudal.data.table.declare import Declared
from caudal.data.table.stats import Stats
from caudal.errors import InputError

LATTICE_LIMIT = float(1 << 23)  # steps; float32 cannot tell lattice points beyond it apart
MATERIAL = 0.01  # share of the different values that may become equal to another one
FEW = 1024  # among many values without a lattice some always coincide, among so few hardly any


def outside(d: Declared | Column, values: np.ndarray) -> tuple[str, np.ndarray]:
    """Which of a column's limits the values (N,) break, in words, and a mask of those that do."""
    bad = np.zeros(len(values), bool)
    if d.kind == "positive" and d.step is None:
        return "is not above 0", values <= 0
    if d.low is not None and (bad := values < d.low - 1e-6 * abs(d.low)).any():
        return f"is below {d.low:g}", bad
    if d.high is not None and (bad := values > d.high + 1e-6 * abs(d.high)).any():
        return f"is above {d.high:g}", bad
    if d.step is not None:
        steps = (values - (d.low or 0.0)) / d.step
        bad = np.abs(steps - np.round(steps)) > 1e-6 * np.maximum(np.abs(steps), 1)
        return f"is no multiple of {d.step:g}", bad
    return "", bad


def refuse_outside(columns: Sequence[Column], values: np.ndarray, place: Place) -> None:
    """Refuses numbers (N, D) that their columns cannot hold; missing ones are allowed."""
    for column, numbers in zip(columns, values.T, strict=True):
        if column.categories is not None:
            continue
        problem, bad = outside(column, numbers)
        if column.step is not None and not bad.any():  # all numbers so large are whole ones
            problem = f"is too large for steps of {column.step:g} in 32 bits"
            bad = np.abs(numbers) > column.step * LATTICE_LIMIT
        if bad.any():
            at = int(bad.argmax())
            raise InputError(
                f"{place.cell(at, column.name)}: {numbers[at]:g} {problem}: the column holds "
                f"{column.kind} numbers in {column.support}"
            )


def check_resolution(column: Column, stats: Stats) -> None:
    """Refuses numbers that would become equal in 32 bits, in which rows are kept."""
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
