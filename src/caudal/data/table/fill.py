"""Tables with their missing cells filled; all other cells stay as they are."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pat
import torch
from torch import Tensor

from caudal.data import dtypes
from caudal.data.dataset import Piece
from caudal.data.schema import Column
from caudal.data.table.decode import decode_column
from caudal.data.table.dialect import Dialect
from caudal.data.table.frames import container_of, like
from caudal.data.table.open import LinesItems, TableItems, table_of_run
from caudal.data.table.output import TableWriter, padded
from caudal.data.table.quoting import cells, written
from caudal.data.table.ruled import Ruled
from caudal.data.table.schema import TableSchema
from caudal.data.table.tables import AS_FOUND, Tables
from caudal.data.table.text import TextFile


def gap_codes(columns: Sequence[Column]) -> Tensor:
    """The code of a missing category (D,), NaN for columns without one."""
    each = (column.categories or () for column in columns)
    return torch.tensor([float(c.index(None)) if None in c else torch.nan for c in each])


def open_to_gaps(columns: Sequence[Column]) -> tuple[Column, ...]:
    """The same columns, any of which may have gaps."""
    return tuple(replace(column, missing=True) for column in columns)


def open_gaps(
    data: Any,
    schema: TableSchema,
    memory: int = 1 << 30,
    chosen: bool = False,
    dialect: Dialect = AS_FOUND,
    drop: bool = True,
    strict: bool = False,
) -> "Gaps":
    """All rows of a table, whose gaps are to be filled; arguments as of `open_rows`.

    With `drop` rows stay as they are that have gaps in a context in which training had none; else
    they are refused.

    Raises:
        InputError: the table lacks columns of the schema, or an array has more.
    """
    table = table_of_run(data, schema, memory, chosen, dialect)
    return Gaps(table, schema, memory, drop, unseen=not strict)


def like_data(table: pa.Table, data: Any, times: int = 1) -> Any:
    """The rows of `data`, some `times` over, as what `data` are; pandas rows keep their index."""
    kind = container_of(data)
    made = like(table, kind)
    if kind == "pandas":
        made.index = data.index.take(np.tile(np.arange(len(data)), times))
    return made


class Filling(NamedTuple):
    """New values of a column, in the user's type, and the mask (n,) of the rows that get them."""

    column: Column
    values: pa.Array
    mask: np.ndarray


class Gaps(TableItems):
    """All rows of a table, whose gaps in the modelled columns of a run are to be filled.

    Args:
        table: the rows.
        schema: of the run.
        memory: bytes above which a Parquet file is streamed.
        drop: whether rows with gaps in the context that it does not allow are left out of the
            batches, instead of refused.
        unseen: as of `TableItems`.
    """

    def __init__(
        self, table: Tables, schema: TableSchema, memory: int, drop: bool, unseen: bool
    ) -> None:
        relaxed = replace(schema, columns=open_to_gaps(schema.columns))
        super().__init__(table, relaxed, drop, memory, unseen)
        self.columns, self.codes = schema.columns, gap_codes(schema.columns)

    def where(self, x: Tensor) -> Tensor:
        """Mask (n, D) of the gaps of rows x (n, D)."""
        return x.isnan() | (x == self.codes)

    def filled(self, piece: Piece, fillings: Sequence[Filling]) -> pa.Table:
        """All rows of a piece, with new values in their gaps."""
        table = piece.beside
        for column, values, mask in fillings:
            place = table.column_names.index(column.name)
            cells = _put(table.column(place), values, mask)
            table = table.set_column(place, column.name, cells)
        return table

    def beside_lines(self, writer: TableWriter) -> "Gaps":
        if self._table.text is None or not writer.continues(self._table.text):
            return self
        schema = replace(self._schema, columns=self.columns)
        return GapsInLines(self._table, schema, self._memory, self._drop, self._unseen)

    def pieces(self) -> Iterator[Piece]:
        """The rows, in which gaps are filled already that follow from other columns."""
        for piece in super().pieces():
            if not self._schema.followers:
                yield piece
                continue
            ruled = Ruled.of(self._schema, piece.beside, piece.batch.x, piece.keep)
            x = piece.batch.x.where(~ruled.solved, ruled.x)
            yield piece._replace(batch=piece.batch._replace(x=x), beyond=ruled)

    def fillings(self, piece: Piece, x: Tensor, drawn: Tensor) -> Iterator[Filling]:
        """What is new in all rows of a piece: the values of x (n, D) in the mask `drawn` (n, D).

        Gaps of columns that follow from others are filled by their rules.
        """
        if (ruled := piece.beyond) is not None:
            x = ruled.listed(x, drawn)
            drawn = drawn | ruled.everywhere(ruled.solved)
        for column, values, mask in zip(self.columns, x.T, drawn.T, strict=True):
            if mask.any():
                made = decode_column(column, values[mask].double().numpy())
                yield Filling(column, made, mask.numpy())
        if ruled is not None:
            for column, numbers, gaps in ruled.following(x, drawn):
                yield Filling(column, decode_column(column, numbers[gaps]), gaps)


class GapsInLines(LinesItems, Gaps):
    """These items beside the lines of a text file, of which only the gaps are rewritten."""

    def filled(self, piece: Piece, fillings: Sequence[Filling]) -> pa.Table:
        text = self._table.text
        assert text is not None
        lines, delimiter = piece.beside.column(0).to_pylist(), str(text.dialect.delimiter)
        new = {row for filling in fillings for row in np.flatnonzero(filling.mask).tolist()}
        rows = {row: cells(lines[row], delimiter, text.layout.quoting) for row in new}
        for column, values, mask in fillings:
            place = self._table.names.index(column.name)
            numbers = np.flatnonzero(mask).tolist()
            texts = as_texts(values, text, self._schema.written.decimals.get(column.name))
            for row, value in zip(numbers, texts, strict=True):
                rows[row][place] = value
        for row, row_cells in rows.items():
            lines[row] = delimiter.join(row_cells)
        return pa.table([pa.array(lines, pa.large_string())], names=piece.beside.column_names)


def _put(cells: pa.ChunkedArray, values: pa.Array, mask: np.ndarray) -> pa.Array:
    """Cells (n,) with values in the places of a mask (n,), in the type of the cells if it fits."""
    held, new = dtypes.plain(cells), dtypes.plain(pa.chunked_array([values]))
    dtype = held.type
    if pat.is_null(dtype) or (pat.is_integer(dtype) and pat.is_floating(new.type)):
        dtype = new.type
    new = new.cast(dtype, safe=False).combine_chunks()
    whole = pc.replace_with_mask(held.cast(dtype).combine_chunks(), pa.array(mask), new)
    return dtypes.restore(whole, cells.type) if dtype == held.type else whole


def as_texts(values: pa.Array, text: TextFile, decimals: int | None = None) -> list[str]:
    """Values as a text file has them, with so many decimals where all of its numbers have them."""
    delimiter = str(text.dialect.delimiter)
    plain = dtypes.plain(pa.chunked_array([values]))
    if decimals is None or not pat.is_floating(plain.type):
        texts = plain.cast(pa.string()).to_pylist()
    else:
        texts = padded(plain.combine_chunks(), decimals).to_pylist()
    if text.dialect.decimal == "," and not dtypes.is_text(plain.type):
        texts = [each.replace(".", ",") for each in texts]
    return [written([each], delimiter, text.layout.quoting) for each in texts]
