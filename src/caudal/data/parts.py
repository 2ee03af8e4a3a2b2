"""Which rows of a table are in which part of the split, and what they are as numbers."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from caudal.data import encode
from caudal.data.place import Place
from caudal.data.schema import Column, Schema
from caudal.data.splits import TRAIN, Split
from caudal.data.tables import Piece, Tables
from caudal.errors import InputError

PARTS = ("training", "validation", "test")


@dataclass(frozen=True)
class PartReader:
    """Reads pieces of a table.

    Args:
        schema: the columns.
        split: gives each row its part; None where the whole table is one, of number `part`.
        part: that number.
        drop: whether rows with gaps that no column allows are left out, instead of refused.
    """

    schema: Schema
    split: Split | None
    part: int = TRAIN
    drop: bool = False

    def parts(self, first: int, count: int) -> np.ndarray:
        """The parts of `count` rows numbered from `first`: int64 (count,)."""
        if self.split is None:
            return np.full(count, self.part)
        return self.split.parts(first, count)

    def read(self, piece: Piece, file: str) -> tuple[Tensor, np.ndarray]:
        """The rows that are used, as float32 (n, D + C), and their parts (n,)."""
        columns = self.schema.columns + self.schema.context
        table, place = piece.table, Place(file, piece.first + 1)
        parts = self.parts(piece.first, table.num_rows)
        if self.drop:
            keep = np.ones(table.num_rows, bool)
            for column in filter(_is_strict, columns):
                keep &= ~encode.gaps_in(table[column.name])
            table, place, parts = table.filter(pa.array(keep)), place.choose(keep), parts[keep]
        values = encode.encode_columns(columns, table, place)
        encode.refuse_gaps(columns, values, place)
        return torch.from_numpy(values.astype(np.float32)), parts

    def count(self, table: Tables) -> np.ndarray:
        """How many rows of each part each group has: int64 (groups, 3)."""
        counts = np.zeros((len(table.groups), len(PARTS)), np.int64)
        if self.drop:  # only the values can tell
            for piece in table.pieces(self.schema.names):
                parts = self.read(piece, table.name)[1]
                counts[piece.group] += np.bincount(parts, minlength=len(PARTS))
            return counts
        first = 0
        for group, rows in enumerate(table.groups):
            counts[group] = np.bincount(self.parts(first, rows), minlength=len(PARTS))
            first += rows
        return counts


def _is_strict(column: Column) -> bool:
    return not column.missing and None not in (column.categories or ())


def no_rows(table: Tables, part: int) -> InputError:
    """The error for a part that got no rows."""
    return InputError(
        f"{table.name} has {table.n_rows} rows, which leaves none for {PARTS[part]}: give more "
        f"rows, or other shares with --split"
    )
