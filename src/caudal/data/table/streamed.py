"""Rows of a Parquet file that are too many for memory."""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from caudal.data.source import Batch, Source, check_pass, permutation
from caudal.data.splits import too_few
from caudal.data.table.parts import PartReader
from caudal.data.table.tables import ParquetTable


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
        shuffled = _each_shuffled(_rechunk(rows, self.buffer_rows), seed, first_buffer)
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


# What follows lets go of a buffer before it asks for the next, so that two are in memory at most.


def _each_shuffled(buffers: Iterator[Tensor], seed: int, number: int) -> Iterator[Tensor]:
    """Buffers with their rows in random order; the first has that number."""
    for buffer in buffers:
        # Each has its own seed, so that a resumed pass need not redo the buffers before it.
        own = int(np.random.SeedSequence([seed, number + 1]).generate_state(1)[0])
        mixed, number = buffer[permutation(len(buffer), own)], number + 1
        del buffer
        yield mixed
        del mixed


def _without(chunks: Iterator[Tensor], count: int) -> Iterator[Tensor]:
    """The chunks without their first `count` rows."""
    for chunk in chunks:
        rest, count = chunk[count:], max(0, count - len(chunk))
        del chunk
        yield rest
        del rest


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
                whole = held[0] if len(held) == 1 else torch.cat(held)
                held, count = [], 0
                yield whole
                del whole
        del chunk
    if held:
        yield torch.cat(held)
