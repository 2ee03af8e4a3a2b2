"""What tables and images share: events of one shape, with a row of context each."""

from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, count
from typing import Any, ClassVar

import pyarrow as pa
import torch
from torch import Tensor

from caudal.data import Column, TableSchema, read_tables
from caudal.errors import InputError
from caudal.flow import Flow
from caudal.losses import nll
from caudal.modality import Modality, Request, Requests, Voice
from caudal.names import near
from caudal.report import compare_students
from caudal.training.rows import sample_rows
from caudal.training.sample_terms import Distillation

CHUNK = 4096  # contexts at a time
Given = Sequence[str] | Mapping[str, Any]
"""Values of context columns for all samples: COLUMN=VALUE texts, or values by column."""


def fixed_values(columns: Sequence[Column], given: Given) -> dict[str, float]:
    """The encoded values of the columns that are the same in all samples.

    Raises:
        InputError: there is no such column, or it cannot have that value.
    """
    by_name = {column.name: column for column in columns}
    return {name: _encode(by_name[name], v) for name, v in values_of(by_name, given).items()}


def values_of(columns: Mapping[str, Column], given: Given) -> dict[str, Any]:
    """The values by column, as the user has them.

    Raises:
        InputError: there is no such column, or one is given twice.
    """
    if isinstance(given, Mapping):
        pairs = list(given.items())
    else:
        pairs = [_pair(text, columns) for text in given]
    values: dict[str, Any] = {}
    for name, value in pairs:
        if name not in columns:
            raise _no_column(f"{name}={value}", name, columns)
        if name in values:
            raise InputError(f"`given`: '{name}' is given twice; give one value of each column")
        values[name] = value
    return values


def _encode(column: Column, value: Any) -> float:
    is_gap = value in ("", None) and (column.missing or None in (column.categories or ()))
    text = None if is_gap else str(value)
    table = pa.table({column.name: pa.array([text], pa.string())})
    return float(TableSchema((), (column,)).encode_context(table, file="`given`")[0, 0])


def _pair(text: str, columns: Mapping[str, Column]) -> tuple[str, str]:
    """The column and the value of COLUMN=VALUE; the name of a column may hold a = itself."""
    names = [name for name in columns if text.startswith(f"{name}=")]
    if names:
        name = max(names, key=len)
        return name, text[len(name) + 1 :]
    name, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"`given` {text}: write COLUMN=VALUE")
    return name, value


def _no_column(text: str, name: str, columns: Mapping[str, Column]) -> InputError:
    hint = near(name, list(columns)) if columns else "the flow is told of none: leave `given` out"
    return InputError(f"`given` {text}: no such column; {hint}")


def context_rows(
    columns: Sequence[Column],
    given: Given,
    file: Any,
    otherwise: Iterable[Tensor],
    name: str,
) -> Iterator[Tensor] | None:
    """Contexts (rows, C) without end; None for a flow that takes none.

    They are the rows of `file`, from its first on, over and over; without a file those of
    `otherwise`. The values of `given` hold in all rows.

    Raises:
        InputError: context for a flow that takes none, or a value that a column cannot have.
    """
    names = [column.name for column in columns]
    if not names:
        if file is not None or given:
            raise InputError(f"{name} is not conditional: it takes no context")
        return None
    fixed = fixed_values(columns, given)
    if len(fixed) == len(names):
        rows: Iterable[Tensor] = (torch.zeros(CHUNK, len(names)) for _ in count())
    else:
        rows = otherwise if file is None else _from_table(columns, file, fixed)
    return (with_fixed(context, names, fixed) for context in rows)


def with_fixed(context: Tensor, names: Sequence[str], fixed: Mapping[str, float]) -> Tensor:
    """Contexts (rows, C, ...) in which the fixed columns have their values."""
    context = context.clone()
    for name, value in fixed.items():
        context[:, names.index(name)] = value
    return context


def in_chunks(rows: Iterator[Tensor], sizes: Iterable[int]) -> Iterator[Tensor]:
    """The same rows in chunks of the given sizes."""
    held = next(rows)
    for size in sizes:
        while len(held) < size:
            held = torch.cat([held, next(rows)])
        yield held[:size]
        held = held[size:]


def chunk_sizes(n: int, chunk: int) -> list[int]:
    """`n` in chunks, the last one smaller if need be."""
    return [chunk] * (n // chunk) + [n % chunk] * (n % chunk > 0)


def rows_in(file: Any) -> int:
    """How many contexts a table of contexts holds."""
    return sum(table.num_rows for table in read_tables(file))


def _from_table(columns: Sequence[Column], file: Any, fixed: Collection[str]) -> Iterator[Tensor]:
    """The rows of a table, which need not have the columns whose values are fixed."""
    free = [i for i, column in enumerate(columns) if column.name not in fixed]
    schema = TableSchema((), tuple(columns[i] for i in free))
    while True:
        first = 1
        for table in read_tables(file, schema=schema):
            context = torch.zeros(table.num_rows, len(columns))
            context[:, free] = schema.encode_context(table, file=str(file), first_row=first)
            first += table.num_rows
            yield context


MOST_CONTEXTS = 100_000


class OneShape(Modality):
    """Events of one shape, with one row of context each."""

    usual_samples: ClassVar[int]
    distillation = Distillation

    @property
    def loss(self) -> Callable[[Flow, Tensor, Tensor | None], Tensor]:
        return nll

    @abstractmethod
    def chunk(self, schema: Any) -> int:
        """How many samples are drawn at a time."""

    @abstractmethod
    def contexts(self, model: Any, seed: int, voice: Voice) -> Iterable[Tensor]:
        """Contexts (rows, C) without end, where neither a table nor values are given."""

    def requests(
        self, model: Any, n: int | None, drawing: Any, seed: int, voice: Voice
    ) -> Requests:
        if n is None:
            file = drawing.context_file
            n = self.usual_samples if file is None else rows_in(file)
        sizes = chunk_sizes(n, self.chunk(model.schema))
        otherwise = self.contexts(model, seed, voice)
        rows = context_rows(
            model.schema.context, drawing.given, drawing.context_file, otherwise, model.name
        )
        contexts = iter([None] * len(sizes)) if rows is None else in_chunks(rows, sizes)
        starts = accumulate(sizes, initial=0)
        each = (
            Request(size, context, start=start)
            for size, context, start in zip(sizes, contexts, starts, strict=False)
        )
        return Requests(each, n, len(sizes))

    def compare(self, student: Flow, model: Any, name: str, terms: list[str], voice: Voice) -> Any:
        contexts = contexts_of(model)
        return compare_students(
            student, model.flow, model.schema, contexts, name=name, terms=terms
        )


def nothing_between(name: str, what: str) -> InputError:
    """The error of `interpolate` for data that are no pictures."""
    return InputError(
        f"{name} models {what}, and interpolate draws pictures: it is for images, and for tables "
        f"of the pixels of images, such as digits"
    )


def class_names(columns: Sequence[Column], context: Tensor | None) -> list[Any] | None:
    """The class of each row of context (N, C), if a category is all that there is."""
    if context is None or len(columns) != 1 or columns[0].categories is None:
        return None
    names = columns[0].categories
    return [names[code] for code in context[:, 0].long().tolist()]


def contexts_of(model: Any) -> Tensor | None:
    """Contexts of training rows, which a conditional teacher is asked with."""
    context = sample_rows(model.dataset.train, MOST_CONTEXTS, seed=0).context
    return None if context is None else context.to(model.flow.base.like)


def endless(rows: Callable[[int], Iterator[Tensor]]) -> Iterator[Tensor]:
    """Passes over rows without end, each with its own number."""
    turn = 0
    while True:
        yield from rows(turn)
        turn += 1
