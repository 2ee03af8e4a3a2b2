"""What other tables have that training has not seen: categories, and numbers of a context."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from torch import Tensor

from caudal.data.schema import Column
from caudal.data.table.convert import show
from caudal.data.table.find import rows_in_words
from caudal.data.table.parts import encode_rows
from caudal.data.table.schema import TableSchema
from caudal.data.table.tables import PIECE, Tables


def unseen_notes(schema: TableSchema, table: Tables, drop: bool, unseen: bool) -> Iterator[str]:
    """A line for each column of a table with what training has not seen, and what becomes of it.

    Args:
        schema: of the run.
        table: the rows.
        drop: whether rows with gaps that no column allows are left out, instead of refused.
        unseen: whether categories that training has not seen are read, instead of refused.

    Raises:
        InputError: a value is refused.
    """
    modelled = tuple(column for column in schema.columns if column.categories is not None)
    context = tuple(c for c in schema.context if c.categories is not None or c.seen is not None)
    looked_at, columns = replace(schema, columns=modelled, context=context), modelled + context
    unseen_rows: dict[str, tuple[int, str]] = {}
    for chunk in table.chunks(looked_at.names, rows=PIECE) if columns else ():
        values, keep = encode_rows(looked_at, chunk, table.name, drop, unseen)
        for column, numbers in zip(columns, values.T, strict=True):
            if (is_new := are_unseen(column, numbers)).any():
                count, example = unseen_rows.get(column.name, (0, ""))
                at = int(np.argmax(is_new))
                row = at if keep is None else int(np.flatnonzero(keep)[at])
                example = example or show(chunk.table[column.name][row].as_py())
                unseen_rows[column.name] = count + int(is_new.sum()), example
    for column in columns:
        if column.name in unseen_rows:
            rows, example = unseen_rows[column.name]
            yield unseen_note(column, rows_in_words(rows), example, column in context)


def are_unseen(column: Column, values: Tensor) -> np.ndarray:
    """Which of the values (N,) of a column training has not seen; gaps are not among them."""
    numbers = values.numpy().astype(np.float32)
    if column.categories is not None:
        return np.asarray((numbers < 0) | (numbers >= len(column.categories)))
    low, high = column.seen or (-np.inf, np.inf)
    return np.asarray((numbers < np.float32(low)) | (numbers > np.float32(high)))


def unseen_note(column: Column, where: str, example: str, is_context: bool) -> str:
    """What becomes of values that training has not seen; `where` is such as "3 rows"."""
    if column.categories is not None:
        becomes = "read as the mean of the known ones" if is_context else "whose log_prob is -inf"
        return (
            f"{where} with a category of '{column.name}' that training has not seen, such as "
            f"{example}, {becomes}"
        )
    low, high = map(column.words, column.seen or ())
    return (
        f"{where} with '{column.name}' outside of {low} .. {high}, which is all that training has "
        f"seen, such as {example}: what is said of them is a guess"
    )


def notes_on_given(columns: Sequence[Column], given: Mapping[str, float]) -> Iterator[str]:
    """Notes on encoded values of context columns that hold for all rows."""
    for column in columns:
        if column.name in given:
            value = Tensor([given[column.name]])
            if are_unseen(column, value).any():
                example = "that" if column.categories else column.words(float(value))
                yield unseen_note(column, "all rows", example, is_context=True)
