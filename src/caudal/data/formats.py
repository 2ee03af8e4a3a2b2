"""One way of writing a table for each kind of file, as contexts that yield a `write`."""

import csv
import io
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from caudal.data import dtypes

Write = Callable[[pa.Table], None]
Opener = Callable[[Path], AbstractContextManager[Write]]


@contextmanager
def write_text(path: Path, delimiter: str, compression: str | None) -> Iterator[Write]:
    """Delimited text with a header; values are quoted only where they must be."""
    with pa.output_stream(str(path), compression=compression) as stream:
        begun = False

        def write(table: pa.Table) -> None:
            nonlocal begun
            if not begun:
                stream.write(_header(table.column_names, delimiter))
                begun = True
            table = _plain_table(table)
            special = f'["\r\n{delimiter}]'
            texts = [c for c in table.columns if dtypes.is_text(c.type)]
            quote = any(pc.any(pc.match_substring_regex(c, special)).as_py() for c in texts)
            style = "needed" if quote else "none"
            options = pa_csv.WriteOptions(
                include_header=False, delimiter=delimiter, quoting_style=style
            )
            pa_csv.write_csv(table, stream, options)

        yield write


@contextmanager
def write_parquet(path: Path) -> Iterator[Write]:
    """Parquet, a row group for each table."""
    writer: pq.ParquetWriter | None = None

    def write(table: pa.Table) -> None:
        nonlocal writer
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)

    try:
        yield write
    finally:
        if writer is not None:
            writer.close()


@contextmanager
def write_npy(path: Path) -> Iterator[Write]:
    """One matrix (N, D), of a type that holds all columns."""
    tables: list[pa.Table] = []
    yield tables.append
    columns = _arrays(tables)
    np.save(path, np.stack(list(columns.values()), 1))


@contextmanager
def write_npz(path: Path) -> Iterator[Write]:
    """One array a column, under the column's name."""
    tables: list[pa.Table] = []
    yield tables.append
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:  # np.savez cannot name an array "file"
        for name, array in _arrays(tables).items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)


def _arrays(tables: list[pa.Table]) -> dict[str, np.ndarray]:
    table = pa.concat_tables(tables) if tables else pa.table({})
    names = table.column_names
    return {name: _array(dtypes.plain(table[name])) for name in names}


def _array(column: pa.ChunkedArray) -> np.ndarray:
    if dtypes.is_text(column.type):
        return np.array(pc.fill_null(column, "").to_pylist(), dtype=np.str_)
    if column.null_count and not pa.types.is_floating(column.type):
        column = column.cast(pa.float64(), safe=False)
    if pa.types.is_floating(column.type):
        column = pc.fill_null(column, float("nan"))
    return column.to_numpy()


def _header(names: list[str], delimiter: str) -> bytes:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator="\n").writerow(names)
    return text.getvalue().encode()


def _plain_table(table: pa.Table) -> pa.Table:
    # Dictionaries, half floats and the like have no text form of their own in the CSV writer.
    columns = [
        column if pa.types.is_decimal(column.type) else dtypes.plain(column)
        for column in table.columns
    ]
    return pa.table(columns, names=table.column_names)
