"""What kind of column the values look like; supports are wide, for outside them density is 0."""

import numpy as np
import pyarrow as pa

from caudal.data.column import Column
from caudal.data.declare import Declared
from caudal.data.encode import show
from caudal.data.stats import MAX_LEVELS, Stats
from caudal.data.survey import is_numeric
from caudal.errors import InputError

LATTICE_LIMIT = float(1 << 23)  # float32 cannot tell lattice points beyond it apart
SKEWED = 2.0
TIED = 0.5
IDENTIFIER_ROWS = 50


def make_column(
    name: str, dtype: pa.DataType, stats: Stats, declared: Declared | None, missing: str
) -> Column:
    """The column that was declared, or else the one that its values look like.

    Raises:
        InputError: a constant column, one without values, or too many categories.
    """
    if stats.count == 0:
        raise InputError(f"column '{name}' has no values: {leave_out(name)}")
    gaps = missing == "model" and stats.missing > 0
    if not is_numeric(dtype, declared):
        return _categorical(name, dtype, stats, gaps, declared)
    column = _declared(declared, stats) if declared else _guessed(stats)
    # A declared lattice gets rounding noise, so that even a constant has a density.
    if stats.low == stats.high and not (declared and column.step):
        raise InputError(
            f"column '{name}' is constant ({stats.low:g} in every row): {leave_out(name)}"
        )
    if column.kind == "categorical":
        return _categorical(name, dtype, stats, gaps, declared)
    return Column(
        name, column.kind, column.low, column.high, column.step, missing=gaps, dtype=str(dtype)
    )


def leave_out(name: str) -> str:
    """The advice to go without a column."""
    return f"leave it out by naming the other columns with --columns (without '{name}')"


def _declared(declared: Declared, stats: Stats) -> Declared:
    if declared.kind == "integer" and declared.low is declared.high is None:
        return Declared("integer", _lower(stats), None, declared.step)
    return declared


def _lower(stats: Stats) -> float | None:
    return 0.0 if stats.low >= 0 else None


def _guessed(stats: Stats) -> Declared:
    if stats.levels is not None and len(stats.levels) == 2:
        return Declared("categorical")
    largest = max(abs(stats.low), abs(stats.high))
    skewed = stats.low > np.finfo(np.float32).tiny and stats.skewness > SKEWED
    decimals = stats.decimals
    if decimals is not None and largest * 10.0**decimals <= LATTICE_LIMIT:
        if decimals == 0:
            return Declared("integer", _lower(stats), None, 1.0)
        if stats.ties > TIED:
            step = 10.0**-decimals
            kind, low = ("positive", 0.0) if skewed else ("real", _lower(stats))
            return Declared(kind, low, None, step)
    if skewed:
        return Declared("positive", 0.0)
    if stats.low >= 0 and stats.high <= 1:
        return Declared("interval", 0.0, 1.0)
    return Declared("real")


def tie_note(column: Column, stats: Stats) -> str | None:
    """A warning where a continuous column repeats values: densities there have no upper limit."""
    if column.step is not None or column.categories is not None or stats.ties <= TIED:
        return None
    return (
        f"column '{column.name}': {stats.ties:.0%} of its values repeat others, so a density "
        f"can grow there without limit; declare a step (--types {column.name}=real:STEP)"
    )


def _categorical(
    name: str, dtype: pa.DataType, stats: Stats, gaps: bool, declared: Declared | None
) -> Column:
    levels = stats.levels
    count = stats.count
    if levels is None:
        raise InputError(
            f"column '{name}' has more than {MAX_LEVELS} different values and looks like an "
            f"identifier: {leave_out(name)}, or if it holds numbers declare --types {name}=real"
        )
    levels = {level: n for level, n in levels.items() if level is not None}
    if len(levels) == count > IDENTIFIER_ROWS and declared is None:
        raise InputError(
            f"column '{name}' is different in every row ({show(next(iter(levels)))}, ...) and "
            f"looks like an identifier: {leave_out(name)}"
        )
    if len(levels) + gaps == 1:
        raise InputError(
            f"column '{name}' is constant ({show(next(iter(levels)))} in every row): "
            f"{leave_out(name)}"
        )
    values = (*_in_type(sorted(levels), dtype), *((None,) if gaps else ()))
    return Column(name, "categorical", 0.0, len(values) - 1.0, 1.0, values, dtype=str(dtype))


def _in_type(levels: list, dtype: pa.DataType) -> list:
    """Numbers as the user has them: 1, not 1.0, where the type is an integer."""
    return [int(level) for level in levels] if pa.types.is_integer(dtype) else levels
