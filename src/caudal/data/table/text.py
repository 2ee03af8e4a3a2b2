"""Delimited text: .csv and its relatives, compressed or not; errors name the line."""

from collections.abc import Collection, Iterator
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from caudal.data.table.dialect import COMPRESSED, Dialect, text_suffix
from caudal.data.table.layout import look_at
from caudal.data.table.naming import distinct
from caudal.data.table.quoting import written
from caudal.data.table.records import Block, blocks
from caudal.data.table.values import Cells, Seen, note_on_marks
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
        dialect: how it is written, as far as that is known; the rest is detected.
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
        return size_of(self.path)

    @property
    def suffix(self) -> str:
        """The suffix, without that of a compression."""
        return text_suffix(self.path)

    def table(self) -> pa.Table:
        """All rows, in memory.

        Raises:
            InputError: a row has too many values, or a quoted value does not end.
        """
        try:
            held = list(self._first())
        except _OtherTypes:
            held = list(self._again())
        return pa.concat_tables(held)

    def to_parquet(self, path: Path) -> None:
        """Writes all rows to a Parquet file, in little memory.

        Raises:
            InputError: as `table`.
        """
        try:
            _write(path, self._first())
        except _OtherTypes:
            _write(path, self._again())

    def lines(self) -> Iterator[pa.ChunkedArray]:
        """The lines of the rows as they stand in the file, block by block."""
        for block in self._blocks(lines=True):
            yield block.texts

    @property
    def decimals(self) -> dict[str, int]:
        """How many decimals all numbers of a column have, where they are as many in each.

        They are known once the table was read.
        """
        pairs = ((n, s.decimals) for n, s in self._seen.items() if pa.types.is_floating(s.dtype))
        return {name: count for name, count in pairs if count}

    @cached_property
    def header(self) -> str:
        """The line that names the columns, as it stands in the file where it has one."""
        return self.layout.header or written(self.names, str(self.dialect.delimiter))

    def _blocks(self, lines: bool = False) -> Iterator[Block]:
        return blocks(self.path, self.name, self.layout, lines)

    def _first(self) -> Iterator[pa.Table]:
        """The rows, block by block, each as what the columns seem to hold at first.

        Raises:
            _OtherTypes: in the end, where they hold something else.
        """
        begun: list[Any] = []
        for block in self._survey():
            readings = [seen.reading for seen in self._seen.values()]
            begun = begun or readings
            if readings == begun:
                yield self._typed(block)
        if not begun:
            raise InputError(f"{self.name} has no rows: give a table with data")
        if begun != [seen.reading for seen in self._seen.values()]:
            raise _OtherTypes

    def _again(self) -> Iterator[pa.Table]:
        """The rows once more, when it is known what the columns hold."""
        return (self._typed(_cells(block)) for block in self._blocks())

    def _survey(self) -> Iterator[list[Cells]]:
        """The columns of each block, while finding out what they hold."""
        short = foot = first = 0
        for block in self._blocks():
            columns = _cells(block)
            for seen, cells in zip(self._seen.values(), columns, strict=True):
                seen.add(cells)
            short += int((block.short > 0).sum())
            first = first or int(max(block.short, default=0) and block.short[block.short > 0][0])
            foot += block.foot
            if len(block.short):
                yield columns
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

    def _typed(self, columns: list[Cells]) -> pa.Table:
        pairs = zip(self._seen.values(), columns, strict=True)
        return pa.table([seen.convert(cells) for seen, cells in pairs], schema=self._schema)


def size_of(path: Path) -> int:
    """About how many bytes of text there are in a file, without a compression."""
    size = path.stat().st_size
    return size * _PACKED if path.suffix in COMPRESSED else size


class _OtherTypes(Exception):  # noqa: N818 - nothing is wrong
    """Raised when columns hold other types than their first values suggested."""


def _cells(block: Block) -> list[Cells]:
    return [Cells(column) for column in block.values.columns]


def _write(path: Path, tables: Iterator[pa.Table]) -> None:
    """Writes tables to a Parquet file; only texts repeat so often that a dictionary pays."""
    first = next(tables)
    texts = [field.name for field in first.schema if pa.types.is_string(field.type)]
    with pq.ParquetWriter(path, first.schema, use_dictionary=texts) as writer:
        for table in chain([first], tables):
            writer.write_table(table)
