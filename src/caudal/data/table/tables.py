"""Tables that are read chunk by chunk: in memory or a Parquet file, by name or from Python."""

import os
import shutil
import weakref
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from caudal.data.builtin import BuiltIn, built_in
from caudal.data.handles import source_of
from caudal.data.refusals import BUILT_IN, TABLES, damage, missing_file
from caudal.data.table.dialect import (
    COMPRESSED,
    SUFFIXES,
    Dialect,
    text_suffix,
)
from caudal.data.table.frames import as_table, index_note, is_numbered, read_array_file
from caudal.data.table.naming import distinct
from caudal.data.table.sheets import SHEETS, read_sheet
from caudal.data.table.structured import ARROW, JSON, read_arrow, read_json
from caudal.data.table.text import TextFile, size_of
from caudal.data.unpacked import check_parquet
from caudal.errors import InputError
from caudal.files import check_regular

AS_FOUND = Dialect()
_TEXT_TAKES = 4  # times as much memory as there is text, while it is read
PIECE = 1 << 16  # rows of a chunk, and of what is scored and written at a time
_PLAIN = (".parquet", *ARROW, ".npy", ".npz", *SHEETS)
FORMATS = (
    f"{' '.join((*SUFFIXES, *JSON))} (also with {' '.join(COMPRESSED)}), {', '.join(_PLAIN)}, "
    f"or a built-in name: {' '.join(TABLES)}"
)


class Chunk(NamedTuple):
    """Successive rows: their group, the number (from 0) of the first of them, and the rows."""

    group: int
    first: int
    table: pa.Table


class Tables(ABC):
    """A named table: its columns, its size, and its rows chunk by chunk.

    Args:
        name: what errors call it, mostly the file as the user wrote it.
        schema: names and types of the columns.
        groups: how many rows each group has; a chunk never spans two of them.
        notes: what the user should know about how it was read.
        unnamed: whether columns are known by their places alone, as those of an array are, and
            those of a text file without a header.
        headers: the names of the columns as the data have them, "" where they have none.
        text: the file of text it was read from, if it was.
    """

    def __init__(
        self,
        name: str,
        schema: pa.Schema,
        groups: Sequence[int],
        notes: tuple[str, ...] = (),
        unnamed: bool = False,
        headers: Sequence[str] = (),
        text: TextFile | None = None,
    ) -> None:
        self.name = name
        self.schema = schema
        self.groups = tuple(groups)
        self.notes = notes
        self.unnamed = unnamed
        self.headers = tuple(headers or schema.names)
        self.text = text
        if not schema.names or self.n_rows == 0:
            raise InputError(f"{name} has no rows: give a table with data")

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return list(self.schema.names)

    @property
    def n_rows(self) -> int:
        """How many rows there are."""
        return sum(self.groups)

    def size(self, names: Sequence[str]) -> int:
        """About how many bytes the named columns take in memory."""
        return 8 * self.n_rows * len(names)

    @abstractmethod
    def chunks(
        self, names: Sequence[str], groups: Sequence[int] | None = None, rows: int = PIECE
    ) -> Iterator[Chunk]:
        """The rows of these groups (of all in order if None), at most `rows` at a time."""


class MemoryTable(Tables):
    """A table in memory, as one group; names that are missing or there twice are new ones."""

    def __init__(
        self,
        name: str,
        table: pa.Table,
        notes: Sequence[str] = (),
        unnamed: bool = False,
        text: TextFile | None = None,
    ) -> None:
        headers = table.column_names if text is None else text.headers
        names, twice = distinct(table.column_names, name)
        self.table = table.rename_columns(names)
        rest = ((table.num_rows,), (*notes, *twice), unnamed, headers, text)
        super().__init__(name, self.table.schema, *rest)

    def chunks(
        self, names: Sequence[str], groups: Sequence[int] | None = None, rows: int = PIECE
    ) -> Iterator[Chunk]:
        table = self.table.select(list(names))
        for first in range(0, table.num_rows, rows):
            yield Chunk(0, first, table.slice(first, rows))


def refuse_twice(name: str, schema: pa.Schema) -> None:
    """Refuses a Parquet file in which two columns have the same name."""
    twice = [n for n in schema.names if schema.names.count(n) > 1]
    if twice:
        raise InputError(f"{name} has the column '{twice[0]}' twice: rename one of them")


def read_group(
    file: pq.ParquetFile, group: int, names: Sequence[str], rows: int
) -> Iterator[pa.Table]:
    """Columns of a row group of a Parquet file, at most so many rows at a time."""
    for batch in file.iter_batches(rows, row_groups=[group], columns=list(names)):
        batch.validate(full=True)  # that texts are UTF-8
        yield pa.Table.from_batches([batch]).select(list(names))


class ParquetTable(Tables):
    """A Parquet file, which is read row group by row group and never held whole."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        with damage(str(path)), self._open() as file:
            meta = file.metadata
            groups = [meta.row_group(i) for i in range(meta.num_row_groups)]
            self.bytes = sum(group.total_byte_size for group in groups)
            schema = file.schema_arrow.remove_metadata()
            check_parquet(self.path.stat().st_size, str(path), meta, schema)
            super().__init__(str(path), schema, [group.num_rows for group in groups])
        refuse_twice(self.name, schema)

    def size(self, names: Sequence[str]) -> int:
        share = len(names) / len(self.schema.names)
        return max(super().size(names), int(self.bytes * share))

    def chunks(
        self, names: Sequence[str], groups: Sequence[int] | None = None, rows: int = PIECE
    ) -> Iterator[Chunk]:
        starts = [0, *accumulate(self.groups)]
        with damage(self.name), self._open() as file:
            for group in range(len(self.groups)) if groups is None else groups:
                first = starts[group]
                for table in read_group(file, group, names, rows):
                    yield Chunk(group, first, table)
                    first += table.num_rows

    def _open(self) -> Any:
        # Without pre-buffering, and with a small read buffer, a row group need not fit in memory.
        return pq.ParquetFile(source_of(self.path), pre_buffer=False, buffer_size=1 << 20)


class ConvertedTable(ParquetTable):
    """A text file too large for memory: a Parquet file of it, kept as long as this is in use."""

    def __init__(self, text: TextFile) -> None:
        folder = mkdtemp(prefix="caudal-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        path = Path(folder) / "table.parquet"
        text.to_parquet(path)
        super().__init__(path)
        self.name, self.notes, self.unnamed = text.name, tuple(text.notes), text.is_bare
        self.headers, self.text = tuple(text.headers), text


def find_built_in(data: Any) -> BuiltIn | None:
    """The built-in table of that name, if there is one; ./digits is a file of that name."""
    return built_in(data) if isinstance(data, str) and data in BUILT_IN else None


def finds_table(data: Any) -> bool:
    """Whether `data` looks like a table; opens no file."""
    if not isinstance(data, str | os.PathLike):
        return not isinstance(data, list)
    from caudal.data.table.shards import finds_shards

    name = os.fspath(data)
    if name in BUILT_IN:
        return name in TABLES
    path = Path(name)
    if finds_shards(data):
        return True
    known = text_suffix(path) in (*SUFFIXES, *JSON) or path.suffix in _PLAIN
    return known and path.is_file()


def text_size(data: Any) -> int:
    """How many bytes of text are to be read, without a compression; 0 where it is no text."""
    path = Path(data) if isinstance(data, str | os.PathLike) else None
    if path is None or text_suffix(path) not in SUFFIXES or not path.is_file():
        return 0
    return size_of(path)


def open_table(
    data: Any,
    texts: Collection[str] = (),
    dialect: Dialect = AS_FOUND,
    memory: int = 1 << 30,
) -> Tables:
    """Opens a built-in name, a file, or what holds a table in Python (see `as_table`).

    Args:
        data: what to open.
        texts: columns that stay text even where a file of text makes them look like numbers.
        dialect: how text files are written, as far as that is known.
        memory: bytes that a table may take; a text file that needs more is converted to Parquet.

    Raises:
        InputError: there is nothing to open there, or no table in it.
    """
    if (known := find_built_in(data)) is not None:
        return MemoryTable(data, known.table)
    if isinstance(data, str | os.PathLike):
        return _open_file(os.fspath(data), texts, dialect, memory)
    if isinstance(data, np.ndarray | torch.Tensor):
        return _of_array("array", as_table(data, "array"))
    notes = [note] if (note := index_note(data)) else []
    return MemoryTable("table", as_table(data, notes=notes), notes)


def _of_array(name: str, table: pa.Table) -> MemoryTable:
    """The table of an array, whose columns have no names unless it is a structured one."""
    return MemoryTable(name, table, unnamed=is_numbered(table.column_names))


def _open_file(name: str, texts: Collection[str], dialect: Dialect, memory: int) -> Tables:
    from caudal.data.table.shards import ShardedTable, finds_shards

    path = Path(name)
    if finds_shards(name):
        return ShardedTable(name)
    if path.is_dir():
        raise InputError(
            f"{name} is a folder: give a table file ({FORMATS}), or open it with open_images if "
            f"it holds images"
        )
    if not path.exists():
        raise missing_file(name)
    check_regular(path)
    if text_suffix(path) in SUFFIXES:
        text = TextFile(path, name, dialect, texts)
        if text.size > memory // _TEXT_TAKES:
            return ConvertedTable(text)
        table = text.table()
        return MemoryTable(name, table, text.notes, text.is_bare, text)
    if text_suffix(path) in JSON:
        return MemoryTable(name, read_json(path, name))
    if path.suffix in SHEETS:
        table, notes, bare = read_sheet(path, name, dialect.na)
        return MemoryTable(name, table, notes, bare)
    if path.suffix in ARROW:
        return MemoryTable(name, read_arrow(path, name))
    if path.suffix == ".parquet":
        return ParquetTable(path)
    if path.suffix in (".npy", ".npz"):
        return _of_array(name, read_array_file(path, name))
    raise InputError(f"{name}: unknown kind of file '{path.suffix}'; known are {FORMATS}")
