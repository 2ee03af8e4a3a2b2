"""Rows of a table as numbers, and the part of the split that each is in."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from caudal.data.column import Column
from caudal.data.place import Place
from caudal.data.splits import PARTS, TRAIN, Split
from caudal.data.table import encode
from caudal.data.table.schema import TableSchema
from caudal.data.table.tables import Chunk, Tables


@dataclass(frozen=True)
class PartReader:
    """Reads chunks of a table.

    Args:
        schema: the columns.
        split: gives each row its part; None where the whole table is the part of number `part`.
        part: that number.
        drop: whether rows with gaps that no column allows are left out, instead of refused.
    """

    schema: TableSchema
    split: Split | None
    part: int = TRAIN
    drop: bool = False

    def parts(self, first: int, count: int) -> np.ndarray:
        """The parts of `count` rows numbered from `first`: int64 (count,)."""
        if self.split is None:
            return np.full(count, self.part)
        return self.split.parts(first, count)

    def read(self, chunk: Chunk, file: str) -> tuple[Tensor, np.ndarray]:
        """The rows that are used, as float32 (n, D + C), and their parts (n,)."""
        parts = self.parts(chunk.first, chunk.table.num_rows)
        rows, keep = encode_rows(self.schema, chunk, file, self.drop)
        return rows, parts if keep is None else parts[keep]

    def count(self, table: Tables) -> np.ndarray:
        """How many rows of each part each group has: int64 (groups, 3)."""
        counts = np.zeros((len(table.groups), len(PARTS)), np.int64)
        if self.drop:  # whether a row has a gap is seen in its values alone
            for chunk in table.chunks(self.schema.names):
                parts = self.read(chunk, table.name)[1]
                counts[chunk.group] += np.bincount(parts, minlength=len(PARTS))
            return counts
        first = 0
        for group, rows in enumerate(table.groups):
            counts[group] = np.bincount(self.parts(first, rows), minlength=len(PARTS))
            first += rows
        return counts


def encode_rows(
    schema: TableSchema, chunk: Chunk, file: str, drop: bool
) -> tuple[Tensor, np.ndarray | None]:
    """Rows as numbers, float32 (n, D + C).

    Args:
        schema: the columns.
        chunk: the rows.
        file: what errors call the table.
        drop: whether rows with gaps that no column allows are left out, instead of refused.

    Returns:
        The numbers, and where `drop` is set a mask (N,) of the rows that are among them.
    """
    columns = schema.columns + schema.context
    table, place, keep = chunk.table, Place(file, chunk.first + 1), None
    if drop:
        keep = np.ones(table.num_rows, bool)
        for column in filter(_is_strict, columns):
            keep &= ~encode.gaps_in(table[column.name])
        table, place = table.filter(pa.array(keep)), place.choose(keep)
    values = encode.encode_columns(columns, table, place)
    encode.refuse_gaps(columns, values, place)
    return torch.from_numpy(values.astype(np.float32)), keep


def _is_strict(column: Column) -> bool:
    """Whether a gap in the column makes a row unusable."""
    return not column.missing and None not in (column.categories or ())
