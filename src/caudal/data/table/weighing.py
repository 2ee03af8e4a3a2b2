"""The column that says how much each row counts."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from caudal.data import dtypes
from caudal.data.table import figures
from caudal.data.table.convert import Place, show
from caudal.data.table.values import MISSING, NUMBER
from caudal.errors import InputError
from caudal.names import near


def check_weights(name: str, names: Sequence[str], file: str) -> None:
    """Refuses a table without the column of weights.

    Raises:
        InputError: names the table and the column.
    """
    if name not in names:
        raise InputError(
            f"`weights` {name}: {file} has no such column, and its rows count by it, too; "
            f"{near(name, names)}"
        )


def weights_in(table: pa.Table, name: str, place: Place) -> np.ndarray:
    """How much each row of a piece of a table counts, (N,) float64.

    Raises:
        InputError: the column does not hold numbers, or one is missing, negative or infinite.
    """
    column = dtypes.plain(table[name])
    if dtypes.is_text(column.type):
        column = _read(column, name, place)
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


def _read(texts: pa.ChunkedArray, name: str, place: Place) -> pa.ChunkedArray:
    """Numbers as people write them; null for words that stand for a missing value."""
    texts = pc.utf8_trim_whitespace(texts)
    texts = pc.if_else(pc.is_in(texts, value_set=pa.array(MISSING)), None, texts)
    form = figures.find_format(pc.unique(texts).drop_null())
    if form is None:
        numbers = pc.if_else(pc.match_substring_regex(texts, NUMBER), texts, None)
        numbers = numbers.cast(pa.float64())
    else:
        numbers = figures.parse(texts, form)
    bad = pc.and_(pc.is_null(numbers), pc.is_valid(texts)).to_numpy(zero_copy_only=False)
    if bad.any():
        row = int(bad.argmax())
        raise InputError(
            f"{place.cell(row, name)}: {show(texts[row].as_py())} is not a number, as `weights` "
            f"are: correct it, or name another column"
        )
    return pa.chunked_array([numbers]) if isinstance(numbers, pa.Array) else numbers
