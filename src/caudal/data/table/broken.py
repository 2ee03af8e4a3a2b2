"""Rows of other tables that break the rules which columns follow in training."""

from collections.abc import Iterator

import numpy as np

from caudal.data.table.convert import Place, encode_columns, without_marks
from caudal.data.table.follower import Follower, sources_of
from caudal.data.table.schema import TableSchema
from caudal.data.table.tables import PIECE, Chunk, Tables


def impossible(schema: TableSchema, chunk: Chunk, file: str) -> np.ndarray | None:
    """The mask (N,) of the rows that break a rule, whose density is 0; None without rules.

    Args:
        schema: of the run.
        chunk: the rows; what they lack is not judged.
        file: what errors call the table.
    """
    masks = [_broken(schema, follower, chunk, file) for follower in _judged(schema, chunk)]
    return np.logical_or.reduce(masks) if masks else None


def broken_notes(schema: TableSchema, table: Tables) -> Iterator[str]:
    """A line for each column that breaks its rule in some rows of a table."""
    found: dict[str, tuple[int, int]] = {}
    wanted = {n for f in schema.followers for n in (f.name, *f.sources)}
    names = [name for name in table.names if name in wanted]
    for chunk in table.chunks(names, rows=PIECE) if names else ():
        for follower in _judged(schema, chunk):
            broken = _broken(schema, follower, chunk, table.name)
            if broken.any():
                count, first = found.get(
                    follower.name, (0, chunk.first + 1 + int(broken.argmax()))
                )
                found[follower.name] = count + int(broken.sum()), first
    for follower in schema.followers:
        if follower.name in found:
            count, first = found[follower.name]
            rows = f"row {first} breaks" if count == 1 else f"{count} rows, such as {first}, break"
            yield (
                f"{rows} what holds in all of training, that '{follower.name}' {follower.why}: "
                f"such rows have a score of -inf"
            )


def _judged(schema: TableSchema, chunk: Chunk) -> list[Follower]:
    """The followers that stand in the rows, with what they follow."""
    there = set(chunk.table.column_names)
    return [f for f in schema.followers if {f.name, *f.sources} <= there]


def _broken(schema: TableSchema, follower: Follower, chunk: Chunk, file: str) -> np.ndarray:
    columns = (*schema.columns, *(each.column for each in schema.followers))
    asked = [follower.column, *sources_of(follower, columns)]
    table = without_marks(chunk.table, {column.name: column.marks for column in asked})
    values = encode_columns(asked, table, Place(file, chunk.first + 1, unseen=True))
    return follower.is_broken(values[:, 0], values[:, 1:])
