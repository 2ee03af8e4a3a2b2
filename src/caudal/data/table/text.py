"""Delimited text: .csv and its relatives, compressed or not; errors name the line."""

from collections.abc import Collection, Iterator
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from caudal.data.table.dialect import COMPRESSED, Dialect, quoted, text_suffix
from caudal.data.table.layout import look_at
from caudal.data.table.naming import distinct
from caudal.data.table.records import Block, blocks
from caudal.data.table.values import Seen, note_on_marks
from caudal.errors import InputError

_PACKED = 6  # times as large text is without its compression


class TextFile:
    """A delimited file: the table in it, and its lines as they stand.

    Blanks around values are dropped, and marks such as `NA` are missing values. A column is int64
    or double where all its values are such numbers, else string; numbers with leading zeros
    ("007") are strings. A first row that looks like data makes columns c0, c1, ...

    Args:
        path: the file.
        name: what errors call it.
        dialect: how it is written, as far as that is known; the rest is found by looking.
        texts: columns to keep as strings even where they look like numbers.

    Attributes:
        headers: the names of the columns as the file has them, "" where it has none.
        names: those by which they are told apart.
        notes: what was found and is not usual; complete once the table was read.

    Raises:
        InputError: the file is empty, damaged or not of the encoding that was asked for.
    """

    def __init__(
        self, path: Path, name: str, dialect: Dialect, texts: Collection[str] = ()
    ) -> None:
        self.path, self.name = path, name
        self.layout = look_at(path, name, dialect)
        self.dialect = self.layout.dialect
        self.is_bare = self.layout.names is None
        self.headers = self.layout.names or tuple(f"c{i}" for i in range(self.layout.width))
        self.names, twice = distinct(self.headers, name)
        self.notes = [*self.layout.notes, *twice]
        if self.is_bare:
            last = self.names[-1]
            self.notes.append(f"{name} has no header: its columns are called c0 to {last}")
        comma = self.dialect.decimal == ","
        self._seen = {n: Seen(comma, n in texts, self.dialect.na) for n in self.names}

    @property
    def size(self) -> int:
        """About how many bytes of text there are."""
        size = self.path.stat().st_size
        return size * _PACKED if self.path.suffix in COMPRESSED else size

    @property
    def suffix(self) -> str:
        """The suffix, without that of a compression."""
        return text_suffix(self.path)

    def table(self) -> pa.Table:
        """All rows, in memory.

        Raises:
            InputError: a row has too many values, or a quoted value does not end.
        """
        held = [block.values for block in self._survey()]
        if not held:
            raise self._no_rows()
        return self._typed(pa.concat_tables(held))

    def to_parquet(self, path: Path) -> None:
        """Writes all rows to a Parquet file, in little memory: the text is read twice.

        Raises:
            InputError: as `table`.
        """
        rows = sum(block.values.num_rows for block in self._survey())
        if not rows:
            raise self._no_rows()
        with pq.ParquetWriter(path, self._schema) as writer:
            for block in self._blocks():
                writer.write_table(self._typed(block.values))

    def lines(self) -> Iterator[pa.ChunkedArray]:
        """The lines of the rows as they stand in the file, block by block."""
        for block in self._blocks():
            yield block.texts

    @cached_property
    def header(self) -> str:
        """The line that names the columns, as it stands in the file where it has one."""
        return self.layout.header or quoted(self.names, str(self.dialect.delimiter))

    def _blocks(self) -> Iterator[Block]:
        return blocks(self.path, self.name, self.layout)

    def _survey(self) -> Iterator[Block]:
        """The blocks, while finding out what the columns hold."""
        short = foot = first = 0
        for block in self._blocks():
            for name, column in zip(self.names, block.values.columns, strict=True):
                self._seen[name].add(column)
            short += int((block.short > 0).sum())
            first = first or int(max(block.short, default=0) and block.short[block.short > 0][0])
            foot += block.foot
            yield block
        if short:
            rows = "1 row lacks its" if short == 1 else f"{short} rows lack their"
            self.notes.append(
                f"{self.name}: {rows} last values, which are then missing (first in line {first})"
            )
        if foot:
            rows = "1 row" if foot == 1 else f"{foot} rows"
            self.notes.append(f"{self.name}: {rows} below the table passed over")
        self.notes += note_on_marks(self.name, self._seen.items())

    @property
    def _schema(self) -> pa.Schema:
        return pa.schema([(name, seen.dtype) for name, seen in self._seen.items()])

    def _typed(self, values: pa.Table) -> pa.Table:
        columns = zip(self._seen.values(), values.columns, strict=True)
        return pa.table([seen.convert(c) for seen, c in columns], schema=self._schema)

    def _no_rows(self) -> InputError:
        return InputError(f"{self.name} has no rows: give a table with data")
