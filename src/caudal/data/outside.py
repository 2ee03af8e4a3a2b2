"""Which values a column cannot hold, and why."""

from collections.abc import Sequence

import numpy as np

from caudal.data.column import Column
from caudal.data.declare import Declared
from caudal.data.place import Place
from caudal.data.resolution import LATTICE_LIMIT
from caudal.errors import InputError


def outside(d: Declared | Column, values: np.ndarray) -> tuple[str, np.ndarray]:
    """What the values (N,) break of a kind, its ends and its step, and a mask of those that do."""
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
    """Refuses numbers (N, D) that their columns cannot hold; missing ones are let be.

    Raises:
        InputError: with the first row, the column and its support.
    """
    for column, found in zip(columns, values.T, strict=True):
        if column.categories is not None:
            continue
        problem, bad = outside(column, found)
        if column.step is not None and not bad.any():  # all numbers so large are whole ones
            problem = f"is too large for steps of {column.step:g} in 32 bits"
            bad = np.abs(found) > column.step * LATTICE_LIMIT
        if bad.any():
            at = int(bad.argmax())
            raise InputError(
                f"{place.cell(at, column.name)}: {found[at]:g} {problem}: the column holds "
                f"{column.kind} numbers in {column.support}"
            )
