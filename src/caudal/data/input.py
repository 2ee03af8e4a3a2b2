"""The user's rows as they are, for scoring them."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from caudal.data.locate import open_table
from caudal.data.schema import Schema
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
