"""The column that says how much each row counts."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from caudal.data import dtypes
from caudal.data.table import figures
from caudal.data.table.convert import Place, show
from caudal.data.table.tables import Tables
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
            f"`weights` {name}: {file} has no such column, by which its rows count as well; "
            f"{near(name, names)}"
        )


def weight_format(name: str, tables: Sequence[Tables], usual: str | None = None) -> str | None:
    """How numbers are written in a column of weights, as a whole; None where they are plain.

    Args:
        name: the column.
        tables: those that have it.
        usual: the format of a run, which holds wherever all of them can be read so: `1.234` alone
            does not tell thousands from thousandths.
    """
    seen = pa.array([], pa.string())
    for table in tables:
        for chunk in table.chunks([name]):
            column = dtypes.plain(chunk.table[name])
            if dtypes.is_text(column.type):
                new = pc.unique(_without_missing(column)).drop_null().cast(pa.string())
                seen = pc.unique(pa.concat_arrays([seen, new]))
    # Words are refused in their rows, if these are used.
    numbers = seen.filter(pc.match_substring_regex(seen, r"\d"))
    return usual if usual and figures.fits(numbers, usual) else figures.find_format(numbers)


def weights_in(table: pa.Table, name: str, place: Place, form: str | None = None) -> np.ndarray:
    """How much each row of a piece of a table counts, (N,) float64.

    Args:
        table: the piece.
        name: the column of weights.
        place: where the piece is.
        form: how numbers are written where the column is text, by `weight_format`.

    Raises:
        InputError: the column does not hold numbers, or one is missing, negative or infinite.
    """
    column = dtypes.plain(table[name])
    if dtypes.is_text(column.type):
        column = _read(column, name, place, form)
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


def _without_missing(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Trimmed texts; null for words that stand for a missing value."""
    texts = pc.utf8_trim_whitespace(texts)
    return pc.if_else(pc.is_in(texts, value_set=pa.array(MISSING)), None, texts)


def _read(texts: pa.ChunkedArray, name: str, place: Place, form: str | None) -> pa.ChunkedArray:
    """Numbers as people write them, in a format; null where they are missing."""
    texts = _without_missing(texts)
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
