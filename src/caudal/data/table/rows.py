"""From tables and their columns to sources of rows: in memory where they fit, else streamed."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from caudal.data.refusals import check_names
from caudal.data.schema import Column
from caudal.data.source import Batch, Rows, Source, check_pass, permutation
from caudal.data.splits import PARTS, TEST, TRAIN, VALID, Split, too_few
from caudal.data.table.convert import (
    Place,
    encode_columns,
    gaps_in,
    read_table,
    refuse_gaps,
    without_marks,
)
from caudal.data.table.schema import TableSchema
from caudal.data.table.tables import Chunk, ParquetTable, Tables
from caudal.errors import InputError


@dataclass(frozen=True)
class PartReader:
    """Reads chunks of a table.

    Args:
        schema: the columns.
        split: gives each row its part; None where the whole table is the part of number `part`.
        part: that number.
        drop: whether rows with gaps that no column allows are left out, instead of refused.
        unseen: whether categories that training has not seen are read, instead of refused.
    """

    schema: TableSchema
    split: Split | None
    part: int = TRAIN
    drop: bool = False
    unseen: bool = False

    def parts(self, first: int, count: int) -> np.ndarray:
        """The parts of `count` rows numbered from `first`: int64 (count,)."""
        if self.split is None:
            return np.full(count, self.part)
        return self.split.parts(first, count)

    def read(self, chunk: Chunk, file: str) -> tuple[Tensor, np.ndarray]:
        """The rows that are used, as float32 (n, D + C), and their parts (n,)."""
        parts = self.parts(chunk.first, chunk.table.num_rows)
        rows, keep = encode_rows(self.schema, chunk, file, self.drop, self.unseen)
        return rows, parts if keep is None else parts[keep]

    def count(self, table: Tables) -> np.ndarray:
        """How many rows of each part each group has: int64 (groups, 3)."""
        counts = np.zeros((len(table.groups), len(PARTS)), np.int64)
        if self.drop:  # whether a row has a gap is seen in its values alone
            strict = list(filter(_is_strict, self.schema.columns + self.schema.context))
            for chunk in table.chunks([column.name for column in strict]):
                parts = self.parts(chunk.first, chunk.table.num_rows)
                parts = parts[without_gaps(strict, chunk.table)]
                counts[chunk.group] += np.bincount(parts, minlength=len(PARTS))
            return counts
        first = 0
        for group, rows in enumerate(table.groups):
            counts[group] = np.bincount(self.parts(first, rows), minlength=len(PARTS))
            first += rows
        return counts


def encode_rows(
    schema: TableSchema, chunk: Chunk, file: str, drop: bool, unseen: bool = False
) -> tuple[Tensor, np.ndarray | None]:
    """Rows as numbers, float32 (n, D + C).

    Args:
        schema: the columns.
        chunk: the rows.
        file: what errors call the table.
        drop: whether rows with gaps that no column allows are left out, instead of refused.
        unseen: whether categories that training has not seen are read, instead of refused.

    Returns:
        The numbers, and a mask (N,) of the rows that are among them; None if all are.
    """
    columns = schema.columns + schema.context
    table = without_marks(chunk.table, {column.name: column.marks for column in columns})
    place, keep = Place(file, chunk.first + 1, unseen=unseen), None
    if drop:
        table = read_table(columns, table)
        keep = without_gaps(list(filter(_is_strict, columns)), table)
        table, place = table.filter(pa.array(keep)), place.choose(keep)
        keep = None if keep.all() else keep
    values = encode_columns(columns, table, place)
    refuse_gaps(columns, values, place)
    return torch.from_numpy(values.astype(np.float32)), keep


def without_gaps(columns: Sequence[Column], table: pa.Table) -> np.ndarray:
    """Mask (N,) of the rows that have a value in each of these columns."""
    table = without_marks(table, {column.name: column.marks for column in columns})
    keep = np.ones(table.num_rows, bool)
    for column in columns:
        keep &= ~gaps_in(table[column.name])
    return keep


def _is_strict(column: Column) -> bool:
    """Whether a gap in the column makes a row unusable."""
    return not column.missing and None not in (column.categories or ())


class ParquetRows(Source):
    """One part of the rows of a Parquet file, streamed through a buffer of `buffer_rows` rows.

    A shuffled pass takes the row groups in a random order and permutes the rows within each filled
    buffer. Rows far apart in the file therefore mix if the buffer holds several row groups.

    Args:
        table: the file.
        reader: knows which rows are in which part, and turns them into numbers.
        part: the part that this is.
        counts: how many rows of that part each row group has.
        buffer_rows: how many rows are shuffled at a time.

    Raises:
        InputError: the part has no rows.
    """

    def __init__(
        self,
        table: ParquetTable,
        reader: PartReader,
        part: int,
        counts: Sequence[int],
        buffer_rows: int,
    ) -> None:
        self.table = table
        self.reader = reader
        self.part = part
        self.counts = tuple(counts)
        self.buffer_rows = max(1, buffer_rows)
        if self.n_rows == 0:
            raise too_few(table.name, table.n_rows, "rows", part)

    @property
    def n_rows(self) -> int:
        return sum(self.counts)

    def shuffled(self, batch_size: int, seed: int, skip: int = 0) -> Iterator[Batch]:
        check_pass(batch_size, skip)
        skipped = skip * batch_size
        first_buffer = skipped // self.buffer_rows
        order = permutation(len(self.counts), seed).tolist()
        rows = self._from(order, first_buffer * self.buffer_rows)
        buffers = enumerate(_rechunk(rows, self.buffer_rows), first_buffer)
        shuffled = (buffer[_buffer_order(len(buffer), seed, i)] for i, buffer in buffers)
        start = skipped - first_buffer * self.buffer_rows
        for batch in _rechunk(_without(shuffled, start), batch_size):
            if len(batch) == batch_size:
                yield Batch(*self.reader.schema.split(batch))

    def ordered(self, batch_size: int) -> Iterator[Batch]:
        check_pass(batch_size)
        for batch in _rechunk(self._from(range(len(self.counts)), 0), batch_size):
            yield Batch(*self.reader.schema.split(batch))

    def _from(self, order: "list[int] | range", start: int) -> Iterator[Tensor]:
        """The rows of the groups in `order`, from their row number `start` on."""
        ends = itertools.accumulate(self.counts[group] for group in order)
        passed = [end for end in ends if end <= start]
        groups = list(order)[len(passed) :]
        return _without(self._rows(groups), start - (passed[-1] if passed else 0))

    def _rows(self, groups: list[int]) -> Iterator[Tensor]:
        for chunk in self.table.chunks(self.reader.schema.names, groups):
            rows, parts = self.reader.read(chunk, self.table.name)
            yield rows[parts == self.part]


def _buffer_order(n: int, seed: int, buffer: int) -> Tensor:
    # Each buffer has its own seed, so that a resumed pass need not redo the buffers before it.
    return permutation(n, int(np.random.SeedSequence([seed, buffer + 1]).generate_state(1)[0]))


def _without(chunks: Iterator[Tensor], count: int) -> Iterator[Tensor]:
    """The chunks without their first `count` rows."""
    for chunk in chunks:
        yield chunk[count:]
        count = max(0, count - len(chunk))


def _rechunk(chunks: Iterator[Tensor], rows: int) -> Iterator[Tensor]:
    """The rows in chunks of `rows`, of which the last may be smaller."""
    held: list[Tensor] = []
    count = 0
    for chunk in chunks:
        while len(chunk):
            held.append(chunk[: rows - count])
            count += len(held[-1])
            chunk = chunk[len(held[-1]) :]
            if count == rows:
                yield held[0] if len(held) == 1 else torch.cat(held)
                held, count = [], 0
    if held:
        yield torch.cat(held)


@dataclass(frozen=True)
class Loader:
    """Makes a source of each part.

    Args:
        schema: the columns.
        drop: whether rows with gaps are left out.
        memory: bytes above which a Parquet file is streamed.
        seed: of the split.
        unseen: whether categories that training has not seen are read, instead of refused.
    """

    schema: TableSchema
    drop: bool
    memory: int
    seed: int
    unseen: bool = False

    def load(
        self, main: Tables, others: Sequence[Tables | None], fractions: Sequence[float]
    ) -> tuple[Source, Source, Source]:
        """Train, valid and test; tables for the last two take the place of their shares.

        Raises:
            InputError: a table does not fit the schema, or a part gets no rows.
        """
        for table in (main, *others):
            if table is not None:
                check_names(self.schema.names, table.names, table.name)
        valid, test = others
        shares = (fractions[0], 0.0 if valid else fractions[1], 0.0 if test else fractions[2])
        split = PartReader(self.schema, Split(shares, self.seed, main.n_rows), drop=self.drop)
        sources = self._sources(main, split)
        for part, table in ((VALID, valid), (TEST, test)):
            if table is not None:
                whole = PartReader(self.schema, None, part, self.drop)
                sources[part] = self._sources(table, whole)[part]
        for part in (VALID, TEST, TRAIN):
            if part not in sources:
                raise too_few(main.name, main.n_rows, "rows", part)
        return sources[TRAIN], sources[VALID], sources[TEST]

    def whole(self, table: Tables) -> Source:
        """All rows of one table.

        Raises:
            InputError: the table does not fit the schema, or no row is left.
        """
        check_names(self.schema.names, table.names, table.name)
        reader = PartReader(self.schema, None, TEST, self.drop, self.unseen)
        sources = self._sources(table, reader)
        if TEST not in sources:
            raise InputError(f"{table.name}: every row has a missing value, so that none is left")
        return sources[TEST]

    def _sources(self, table: Tables, reader: PartReader) -> dict[int, Source]:
        """A source for each part that has rows."""
        names = self.schema.names
        if isinstance(table, ParquetTable) and table.size(names) > self.memory:
            # A quarter of the memory is for the buffer: its shuffled copy takes another.
            buffer_rows = self.memory // (4 * 4 * len(names))
            counts = reader.count(table)
            return {
                part: ParquetRows(table, reader, part, counts[:, part].tolist(), buffer_rows)
                for part in range(len(PARTS))
                if counts[:, part].any()
            }
        return self._in_memory(table, reader)

    def _in_memory(self, table: Tables, reader: PartReader) -> dict[int, Source]:
        held: dict[int, list[torch.Tensor]] = {part: [] for part in range(len(PARTS))}
        for chunk in table.chunks(self.schema.names):
            rows, parts = reader.read(chunk, table.name)
            for part, chunks in held.items():
                chunks.append(rows[torch.from_numpy(parts == part)])
        whole = {part: torch.cat(chunks) for part, chunks in held.items()}
        return {
            part: Rows(*self.schema.split(rows), gaps=True)
            for part, rows in whole.items()
            if len(rows)
        }
