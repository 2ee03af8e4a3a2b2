"""Contexts of samples: values that all have, rows of a table, and what training has not seen."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, repeat
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor

from caudal.data import Column, TableSchema, open_rows, read_tables
from caudal.data.refusals import check_texts
from caudal.data.table.convert import Place, with_categories_of
from caudal.data.table.declare import refuse_outside
from caudal.data.table.find import rows_in_words
from caudal.data.table.unseen import notes_on_given
from caudal.errors import InputError
from caudal.names import near

CHUNK = 4096  # contexts at a time
_LISTED = 20  # values of a label
Given = Sequence[str] | Mapping[str, Any]
"""Values of columns for all samples: COLUMN=VALUE texts, or values by column."""


@dataclass(frozen=True)
class Contexts:
    """The contexts that a user asks for.

    Attributes:
        columns: of the context; with `unseen` their categories end with those that training has
            not seen, which a flow takes as the mean of the others.
        fixed: encoded values that hold in all rows.
        table: rows of a table (N, F), of the F columns that are not fixed; None without one.
        notes: what the user should know.
    """

    columns: tuple[Column, ...]
    fixed: Mapping[str, float]
    table: Tensor | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, columns: Sequence[Column], given: Given, file: Any, unseen: bool, name: str
    ) -> "Contexts":
        """What `given` and the table `file` ask for.

        Args:
            columns: of the context of the model `name`.
            given: values that hold in all rows.
            file: a table with a row for each sample, which need not have columns that are given.
            unseen: whether categories that training has not seen are taken, and told, and rows
                with gaps where it has seen none are left out; else both are refused.
            name: of the model.

        Raises:
            InputError: context for a flow that takes none, or a value that a column cannot have.
        """
        if not columns:
            if file is not None or given:
                raise InputError(f"{name} is not conditional: it takes no context")
            return cls((), {})
        known = {column.name: column for column in columns}
        values = values_of(known, given)
        if unseen:
            known |= {n: _widened(known[n], _cells(known[n], v)) for n, v in values.items()}
        fixed = {n: _encode(known[n], v) for n, v in values.items()}
        notes = tuple(notes_on_given(columns, fixed))
        free = [column for column in columns if column.name not in fixed]
        if file is None or not free:
            return cls(tuple(known.values()), fixed, None, notes)
        schema = TableSchema((), tuple(free))
        missing = "auto" if unseen else "refuse"
        items = open_rows(file, schema, missing, chosen=True, strict=not unseen)
        notes += items.notes
        if unseen:
            for table in read_tables(file, schema=schema):
                for column in free:
                    known[column.name] = _widened(known[column.name], table[column.name])
        schema = TableSchema((), tuple(known[column.name] for column in free))
        items = open_rows(file, schema, missing, chosen=True, strict=True)
        table, dropped = _all_rows(schema.context, items)
        if dropped:
            notes += (f"left out {rows_in_words(dropped)} of {file} with missing values",)
        return cls(tuple(known.values()), fixed, table, notes)

    @property
    def free(self) -> list[Column]:
        """The columns that are not fixed."""
        return [column for column in self.columns if column.name not in self.fixed]

    @property
    def partly(self) -> bool:
        """Whether some columns are fixed and others are not, with no table to take them from."""
        return self.table is None and 0 < len(self.fixed) < len(self.columns)

    def rows(self, otherwise: Iterable[Tensor]) -> Iterator[Tensor] | None:
        """Contexts (rows, C) without end; None for a flow that takes none.

        They are the rows of the table, from its first on, over and over; without one those of
        `otherwise`.
        """
        names = [column.name for column in self.columns]
        if not names:
            return None
        rows: Iterable[Tensor]
        if len(self.fixed) == len(names):
            rows = repeat(torch.zeros(CHUNK, len(names)))
        else:
            rows = otherwise if self.table is None else self._of_table(self.table)
        return (with_fixed(context, names, self.fixed) for context in rows)

    def _of_table(self, table: Tensor) -> Iterator[Tensor]:
        free = [self.columns.index(column) for column in self.free]
        for part in cycle(table.split(CHUNK)):
            context = torch.zeros(len(part), len(self.columns))
            context[:, free] = part
            yield context


def _all_rows(columns: Sequence[Column], items: Any) -> tuple[Tensor, int]:
    """The contexts of all rows that may be used, (N, C), and how many others there are.

    Raises:
        InputError: no row may be used, or a column cannot hold a number, as no sample could.
    """
    parts: list[Tensor] = []
    rows = 0
    for piece in items.pieces():
        place = Place(items.name, rows + 1)
        place = place if piece.keep is None else place.choose(piece.keep)
        refuse_outside(columns, piece.batch.context.numpy(), place)
        parts.append(piece.batch.context)
        rows += piece.beside.num_rows
    if not (used := sum(map(len, parts))):
        raise InputError(f"{items.name}: every row has a missing value, so that none is left")
    return torch.cat(parts), rows - used


def fixed_values(columns: Sequence[Column], given: Given) -> dict[str, float]:
    """The encoded values of the columns that are the same in all samples.

    Raises:
        InputError: there is no such column, or it cannot have that value.
    """
    by_name = {column.name: column for column in columns}
    values = values_of(by_name, given)
    return {name: _encode(by_name[name], value) for name, value in values.items()}


def values_of(columns: Collection[str], given: Given) -> dict[str, Any]:
    """The values by column, as the user has them.

    Raises:
        InputError: there is no such column, or one is given twice.
    """
    if isinstance(given, Mapping):
        pairs = list(given.items())
    else:
        check_texts("given", given)
        pairs = [_pair(text, columns) for text in given]
    values: dict[str, Any] = {}
    for name, value in pairs:
        if name not in columns:
            raise _no_column(f"{name}={value}", name, columns)
        if name in values:
            raise InputError(f"`given`: '{name}' is given twice; give one value of each column")
        values[name] = value
    return values


def with_fixed(context: Tensor, names: Sequence[str], fixed: Mapping[str, float]) -> Tensor:
    """Contexts (rows, C, ...) in which the fixed columns have their values."""
    context = context.clone()
    for name, value in fixed.items():
        context[:, names.index(name)] = value
    return context


def listed(values: Sequence[str]) -> str:
    """The first values of a label, and how many more it has, for the preview."""
    more = len(values) - _LISTED
    return ", ".join(values[:_LISTED]) + (f", ... and {more} more" if more > 0 else "")


def rows_in(file: Any) -> int:
    """How many rows a table holds."""
    return sum(table.num_rows for table in read_tables(file))


def _cells(column: Column, value: Any) -> pa.ChunkedArray:
    """A value that a user gives as a column of one row of text."""
    is_gap = value in ("", None) and (column.missing or None in (column.categories or ()))
    return pa.chunked_array([pa.array([None if is_gap else str(value)], pa.string())])


def _encode(column: Column, value: Any) -> float:
    table = pa.table({column.name: _cells(column, value)})
    return float(TableSchema((), (column,)).encode_context(table, file="`given`")[0, 0])


def _widened(column: Column, data: pa.ChunkedArray) -> Column:
    return column if column.categories is None else with_categories_of(column, data)


def _pair(text: str, columns: Collection[str]) -> tuple[str, str]:
    """The column and the value of COLUMN=VALUE; the name of a column may hold a = itself."""
    names = [name for name in columns if text.startswith(f"{name}=")]
    if names:
        name = max(names, key=len)
        return name, text[len(name) + 1 :]
    name, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"`given` {text}: write COLUMN=VALUE")
    return name, value


def _no_column(text: str, name: str, columns: Collection[str]) -> InputError:
    hint = near(name, list(columns)) if columns else "the flow is told of none: leave `given` out"
    return InputError(f"`given` {text}: no such column; {hint}")
