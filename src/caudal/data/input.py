"""Tables that a finished run is used on: their rows as they are, or encoded by its schema."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from caudal.data.load import Loader
from caudal.data.locate import open_table
from caudal.data.schema import Schema
from caudal.data.source import Source
from caudal.data.tables import PIECE


def read_tables(
    data: Any, batch_rows: int = PIECE, schema: Schema | None = None
) -> Iterator[pa.Table]:
    """All columns of a table in order, at most `batch_rows` rows at a time.

    A Parquet file is streamed. Given the schema of a run, columns that held text there stay text
    here, also where a file of text makes them look like numbers.

    Raises:
        InputError: before the first table, where there is no table to read.
    """
    table = open_table(data, schema.text_names if schema else ())
    return (piece.table for piece in table.pieces(table.names, rows=batch_rows))


def open_rows(
    data: Any, schema: Schema, missing: str = "refuse", memory: int = 1 << 30
) -> tuple[Source, tuple[str, ...]]:
    """All rows of a table, encoded by the schema of a run, and what the user should know of them.

    Args:
        data: as for `open_data`.
        schema: of the run.
        missing: "drop" leaves rows out whose gaps no column allows; else they are refused.
        memory: bytes above which a Parquet file is streamed.

    Raises:
        InputError: the table does not fit the schema, or no row is left.
    """
    table = open_table(data, schema.text_names)
    source = Loader(schema, missing == "drop", memory, seed=0).whole(table)
    dropped = table.n_rows - source.n_rows
    notes = (f"dropped {dropped} rows with missing values",) if dropped else ()
    return source, (*table.notes, *notes)
