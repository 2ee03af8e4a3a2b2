"""From tables and their columns to sources of rows: in memory where they fit, else streamed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from caudal.data.refusals import check_names
from caudal.data.source import Rows, Source
from caudal.data.splits import PARTS, TEST, TRAIN, VALID, Split, too_few
from caudal.data.table.parts import PartReader
from caudal.data.table.schema import TableSchema
from caudal.data.table.streamed import ParquetRows
from caudal.data.table.tables import ParquetTable, Tables
from caudal.data.table.weighing import check_weights, weight_format
from caudal.errors import InputError


@dataclass(frozen=True)
class Loader:
    """Makes a source of each part.

    Args:
        schema: the columns.
        drop: whether rows with gaps are left out.
        memory: bytes above which a Parquet file is streamed.
        seed: of the split.
        unseen: whether categories that training has not seen are read, instead of refused.
        weights: the column that says how much each row counts; None where all count the same.
            Rows with weights are held in memory.
    """

    schema: TableSchema
    drop: bool
    memory: int
    seed: int
    unseen: bool = False
    weights: str | None = None

    def load(
        self, main: Tables, others: Sequence[Tables | None], fractions: Sequence[float]
    ) -> tuple[Source, Source, Source]:
        """Train, valid and test; tables for the last two take the place of their shares.

        Raises:
            InputError: a table does not fit the schema, or a part gets no rows.
        """
        tables = [main, *(table for table in others if table is not None)]
        for each in tables:
            self._check(each)
        valid, test = others
        shares = (fractions[0], 0.0 if valid else fractions[1], 0.0 if test else fractions[2])
        own: Any = {"drop": self.drop, **self._weighing(tables)}
        split = PartReader(self.schema, Split(shares, self.seed, main.n_rows), **own)
        sources = self._sources(main, split)
        for part, table in ((VALID, valid), (TEST, test)):
            if table is not None:
                whole = PartReader(self.schema, None, part, **own)
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
        self._check(table)
        own: Any = {"drop": self.drop, "unseen": self.unseen, **self._weighing([table])}
        reader = PartReader(self.schema, None, TEST, **own)
        sources = self._sources(table, reader)
        if TEST not in sources:
            raise InputError(f"{table.name}: every row has a missing value, so that none is left")
        return sources[TEST]

    def _check(self, table: Tables) -> None:
        check_names(self.schema.names, table.names, table.name)
        if self.weights is not None:
            check_weights(self.weights, table.names, table.name)

    def _weighing(self, tables: Sequence[Tables]) -> dict[str, str | None]:
        """The column of weights, and its format: that of the run, or else that of these tables."""
        if self.weights is None:
            return {}
        form = weight_format(self.weights, tables, self.schema.weight_format)
        return {"weights": self.weights, "weight_format": form}

    def _sources(self, table: Tables, reader: PartReader) -> dict[int, Source]:
        """A source for each part that has rows."""
        names = self.schema.names
        if not isinstance(table, ParquetTable) or self.weights is not None:
            return self._in_memory(table, reader)
        if table.size(names) > self.memory:
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
        """Like `_sources`, with all rows in memory once, in one buffer for each part."""
        sizes = [len(self.schema.columns), len(self.schema.context), self.weights is not None]
        types = torch.float32, torch.float32, torch.float64  # weights may be of any scale
        held = [
            [torch.empty(m, size, dtype=dtype) for size, dtype in zip(sizes, types, strict=True)]
            for m in reader.most(table)
        ]
        filled = [0] * len(PARTS)
        for chunk in table.chunks(reader.names):
            rows, parts = reader.read(chunk, table.name)
            for part, rooms in enumerate(held):
                chosen = rows[torch.from_numpy(parts == part)]
                start = filled[part]
                filled[part] = end = start + len(chosen)
                for room, values in zip(rooms, chosen.split(sizes, 1), strict=True):
                    room[start:end] = values
        return {
            part: self._rows(table, part, [room[:rows] for room in rooms])
            for part, (rows, rooms) in enumerate(zip(filled, held, strict=True))
            if rows
        }

    def _rows(self, table: Tables, part: int, held: Sequence[Tensor]) -> Rows:
        """The rows of a part in memory, from their values, contexts and weights."""
        x, context, weights = (values if values.shape[1] else None for values in held)
        assert x is not None
        if weights is not None and not weights.any():
            raise InputError(
                f"{table.name}, `weights` {self.weights}: all {len(x):,} {PARTS[part]} rows have "
                f"the weight 0: name another column"
            )
        return Rows(x, context, None if weights is None else weights[:, 0], gaps=True)
