"""The column that says how much each row counts."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from caudal.data import dtypes
from caudal.data.table.convert import Place
from caudal.errors import InputError


def weights_in(table: pa.Table, name: str, place: Place) -> np.ndarray:
    """How much each row of a piece of a table counts, (N,) float64.

    Raises:
        InputError: the column does not hold numbers, or one is missing, negative or infinite.
    """
    column = dtypes.plain(table[name])
    if not (dtypes.is_number(column.type) or pa.types.is_boolean(column.type)):
        raise InputError(
            f"{place.column(name)}: `weights` are numbers, and it holds {column.type}: name "
            f"another column"
        )
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.uint8())
    numbers = pc.fill_null(column.cast(pa.float64(), safe=False), np.nan).to_numpy()
    bad = ~np.isfinite(numbers) | (numbers < 0)
    if bad.any():
        row = int(bad.argmax())
        what = "is missing" if np.isnan(numbers[row]) else f"is {numbers[row]:g}"
        raise InputError(
            f"{place.cell(row, name)}: its weight {what}: `weights` are finite numbers from 0 on; "
            f"0 leaves a row out"
        )
    return np.array(numbers)
