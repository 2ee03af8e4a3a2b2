"""A table that is read chunk by chunk, whether it lies in memory or in a Parquet file."""

import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import pyarrow as pa
import pyarrow.parquet as pq

from caudal.errors import InputError

_BROKEN = (pa.ArrowException, OSError, EOFError, ValueError, BadZipFile, zlib.error)
PIECE = 1 << 16  # rows of a chunk, and of what is scored and written at a time


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
    """

    def __init__(
        self, name: str, schema: pa.Schema, groups: Sequence[int], notes: tuple[str, ...] = ()
    ) -> None:
        self.name = name
        self.schema = schema
        self.groups = tuple(groups)
        self.notes = notes
        if not schema.names or self.n_rows == 0:
            raise InputError(f"{name} has no rows: give a table with data")
        twice = [n for n in schema.names if schema.names.count(n) > 1]
        if twice:
            raise InputError(f"{name} has the column '{twice[0]}' twice: rename one of them")

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
    """A table in memory, as one group."""

    def __init__(self, name: str, table: pa.Table, notes: tuple[str, ...] = ()) -> None:
        super().__init__(name, table.schema, (table.num_rows,), notes)
        self.table = table

    def chunks(
        self, names: Sequence[str], groups: Sequence[int] | None = None, rows: int = PIECE
    ) -> Iterator[Chunk]:
        table = self.table.select(list(names))
        for first in range(0, table.num_rows, rows):
            yield Chunk(0, first, table.slice(first, rows))


class ParquetTable(Tables):
    """A Parquet file, which is read row group by row group and never held whole."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        with damage(str(path)), self._open() as file:
            meta = file.metadata
            groups = [meta.row_group(i) for i in range(meta.num_row_groups)]
            self.bytes = sum(group.total_byte_size for group in groups)
            schema = file.schema_arrow.remove_metadata()
            super().__init__(str(path), schema, [group.num_rows for group in groups])

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
                batches = file.iter_batches(rows, row_groups=[group], columns=list(names))
                for batch in batches:
                    yield Chunk(group, first, pa.Table.from_batches([batch]).select(list(names)))
                    first += batch.num_rows

    def _open(self) -> Any:
        # Without pre-buffering, and with a small read buffer, a row group need not fit in memory.
        return pq.ParquetFile(self.path, pre_buffer=False, buffer_size=1 << 20)


@contextmanager
def damage(name: str) -> Iterator[None]:
    """Turns a reader's complaint about broken bytes into one line that names the file."""
    try:
        yield
    except InputError:
        raise
    except _BROKEN as error:
        what = " ".join(str(error).split())[:160]
        raise InputError(
            f"{name} cannot be read, it may be damaged or cut short: {what}"
        ) from None
