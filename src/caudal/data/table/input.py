"""Tables on which a finished run is used: their rows as they are, or encoded by its schema."""

import math
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import pyarrow as pa

from caudal.data.items import Items, Piece
from caudal.data.names import check_names
from caudal.data.source import Batch, Source
from caudal.data.table.locate import open_table
from caudal.data.table.rows import Loader, encode_rows
from caudal.data.table.schema import TableSchema
from caudal.data.table.tables import PIECE, Tables


def read_tables(
    data: Any, batch_rows: int = PIECE, schema: TableSchema | None = None
) -> Iterator[pa.Table]:
    """All columns of a table in order, at most `batch_rows` rows at a time.

    A Parquet file is streamed. With the schema of a run, columns that held text there stay text
    here, even where a file of text makes them look like numbers.

    Raises:
        InputError: before the first table, where there is no table to read.
    """
    table = open_table(data, schema.text_names if schema else ())
    return (chunk.table for chunk in table.chunks(table.names, rows=batch_rows))


def open_rows(
    data: Any, schema: TableSchema, missing: str = "refuse", memory: int = 1 << 30
) -> "TableItems":
    """All rows of a table, with all of its columns beside what the schema of a run encodes.

    Args:
        data: as for `open_data`.
        schema: of the run.
        missing: "drop" leaves rows out whose gaps no column allows; else they are refused.
        memory: bytes above which a Parquet file is streamed.

    Raises:
        InputError: the table lacks columns of the schema.
    """
    table = open_table(data, schema.text_names)
    check_names(schema.names, table.names, table.name)
    return TableItems(table, schema, missing == "drop", memory)


class TableItems(Items):
    """All rows of a table; nothing is read until it is asked for.

    Args:
        table: the rows.
        schema: of the run.
        drop: whether rows with gaps are left out, instead of refused.
        memory: bytes above which a Parquet file is streamed.
    """

    def __init__(self, table: Tables, schema: TableSchema, drop: bool, memory: int) -> None:
        self.name = table.name
        self._table = table
        self._schema = schema
        self._drop = drop
        self._memory = memory

    @cached_property
    def source(self) -> Source:
        return Loader(self._schema, self._drop, self._memory, seed=0).whole(self._table)

    @property
    def notes(self) -> tuple[str, ...]:
        is_read = "source" in self.__dict__
        dropped = self._table.n_rows - self.source.n_rows if is_read else 0
        more = (f"dropped {dropped} rows with missing values",) if dropped else ()
        return (*self._table.notes, *more)

    @property
    def arrow(self) -> pa.Schema:
        return self._table.schema

    @property
    def total(self) -> int:
        return sum(math.ceil(rows / PIECE) for rows in self._table.groups)

    def pieces(self) -> Iterator[Piece]:
        for chunk in self._table.chunks(self._table.names, rows=PIECE):
            rows, keep = encode_rows(self._schema, chunk, self.name, self._drop)
            yield Piece(chunk.table, Batch(*self._schema.split(rows)), keep)
