"""Which rows of a table are in which part, and these as numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from caudal.data.schema import Column
from caudal.data.splits import PARTS, TRAIN, Split
from caudal.data.table.convert import (
    Place,
    encode_columns,
    gaps_in,
    read_table,
    refuse_gaps,
    without_marks,
)
from caudal.data.table.schema import TableSchema
from caudal.data.table.tables import PIECE, Chunk, Tables
from caudal.data.table.weighing import weights_in


@dataclass(frozen=True)
class PartReader:
    """Reads chunks of a table.

    Args:
        schema: the columns.
        split: gives each row its part; None where the whole table is the part of number `part`.
        part: the number of that part.
        drop: whether rows with gaps that no column allows are left out, instead of refused.
        unseen: whether categories that training has not seen are read, instead of refused.
        weights: the column that says how much each row counts; None where all count the same.
        weight_format: how its numbers are written, where they are text that is not plain.
    """

    schema: TableSchema
    split: Split | None
    part: int = TRAIN
    drop: bool = False
    unseen: bool = False
    weights: str | None = None
    weight_format: str | None = None

    @property
    def names(self) -> list[str]:
        """The columns that are read."""
        return [*self.schema.names, *([] if self.weights is None else [self.weights])]

    def parts(self, first: int, count: int) -> np.ndarray:
        """The parts of `count` rows numbered from `first`: int64 (count,)."""
        if self.split is None:
            return np.full(count, self.part)
        return self.split.parts(first, count)

    def read(self, chunk: Chunk, file: str) -> tuple[Tensor, np.ndarray]:
        """The rows that are used, as float32 (n, D + C), and their parts (n,).

        Where rows have weights, these are one more column, and all is float64.
        """
        parts = self.parts(chunk.first, chunk.table.num_rows)
        rows, keep = encode_rows(self.schema, chunk, file, self.drop, self.unseen)
        if self.weights is not None:
            table, place = chunk.table, Place(file, chunk.first + 1)
            if keep is not None:
                table, place = table.filter(pa.array(keep)), place.choose(keep)
            weights = weights_in(table, self.weights, place, self.weight_format)
            rows = torch.cat([rows.double(), torch.from_numpy(weights)[:, None]], 1)
        return rows, parts if keep is None else parts[keep]

    def most(self, table: Tables) -> np.ndarray:
        """How many rows each part has at most, if none is left out for its gaps: int64 (3,)."""
        counts = np.zeros(len(PARTS), np.int64)
        for first in range(0, table.n_rows, PIECE):
            parts = self.parts(first, min(PIECE, table.n_rows - first))
            counts += np.bincount(parts, minlength=len(PARTS))
        return counts

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
    """Rows as numbers, float32 (n, D + C), and the mask of these rows, as `encode_exactly`."""
    values, keep = encode_exactly(schema, chunk, file, drop, unseen)
    return torch.from_numpy(values.astype(np.float32)), keep


def encode_exactly(
    schema: TableSchema, chunk: Chunk, file: str, drop: bool, unseen: bool = False
) -> tuple[np.ndarray, np.ndarray | None]:
    """Rows as numbers, float64 (n, D + C).

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
    return values, keep


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
