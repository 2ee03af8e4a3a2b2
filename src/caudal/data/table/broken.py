"""Rows of other tables that break the rules which columns follow in training."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np

from caudal.data.table.convert import Place, encode_columns, without_marks
from caudal.data.table.follower import Follower
from caudal.data.table.inequality import Inequality
from caudal.data.table.schema import TableSchema
from caudal.data.table.tables import PIECE, Chunk, Tables

Rule = TypeVar("Rule", bound=Follower | Inequality)


def impossible(schema: TableSchema, chunk: Chunk, file: str) -> np.ndarray | None:
    """The mask (N,) of the rows that break a rule, whose density is 0; None without rules.

    Args:
        schema: of the run.
        chunk: the rows; what they lack is not judged.
        file: what errors call the table.
    """
    masks = [_broken(schema, rule, chunk, file) for rule in _judged(schema.followers, chunk)]
    return np.logical_or.reduce(masks) if masks else None


def broken_notes(schema: TableSchema, table: Tables) -> Iterator[str]:
    """A line for each column that breaks its rule in some rows of a table."""
    rules: list[Follower | Inequality] = [*schema.followers, *schema.inequalities]
    found: dict[str, tuple[int, int]] = {}
    wanted = {n for rule in rules for n in (rule.name, *rule.sources)}
    names = [name for name in table.names if name in wanted]
    for chunk in table.chunks(names, rows=PIECE) if names else ():
        for rule in _judged(rules, chunk):
            broken = _broken(schema, rule, chunk, table.name)
            if broken.any():
                count, first = found.get(rule.name, (0, chunk.first + 1 + int(broken.argmax())))
                found[rule.name] = count + int(broken.sum()), first
    for rule in rules:
        if rule.name in found:
            count, first = found[rule.name]
            rows = f"row {first} breaks" if count == 1 else f"{count} rows, such as {first}, break"
            yield (
                f"{rows} what holds in all of training, that '{rule.name}' {rule.why}: such rows "
                f"have a score of -inf"
            )


def _judged(rules: Sequence[Rule], chunk: Chunk) -> list[Rule]:
    """The rules whose columns all stand in the rows."""
    there = set(chunk.table.column_names)
    return [rule for rule in rules if {rule.name, *rule.sources} <= there]


def _broken(
    schema: TableSchema, rule: Follower | Inequality, chunk: Chunk, file: str
) -> np.ndarray:
    columns = (*schema.columns, *(each.column for each in schema.followers))
    names = (rule.name, *rule.sources)
    asked = [next(column for column in columns if column.name == name) for name in names]
    table = without_marks(chunk.table, {column.name: column.marks for column in asked})
    values = encode_columns(asked, table, Place(file, chunk.first + 1, unseen=True))
    if isinstance(rule, Inequality):
        return rule.is_broken(values, asked)
    return rule.is_broken(values[:, 0], values[:, 1:])
