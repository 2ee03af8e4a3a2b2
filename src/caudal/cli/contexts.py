"""What the samples of a conditional flow are conditioned on."""

from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import count

import pyarrow as pa
import torch
from torch import Tensor

from caudal.cli.opened import OpenedRun
from caudal.data import TableSchema, read_tables
from caudal.data.names import near
from caudal.errors import InputError

CHUNK = 4096


def context_rows(
    opened: OpenedRun,
    file: str | None,
    given: tuple[str, ...],
    seed: int,
    warn: Callable[[str], None],
) -> Iterator[Tensor] | None:
    """Contexts (rows, C) without end; None for a flow that takes none.

    They are those of the training rows, in random passes over them all, and of images all classes
    in turn; or those of `file`, from its first row on, over and over. What `given` says of a
    column holds in all rows. `warn` is told what should be known of the training rows.

    Raises:
        InputError: context for a flow that takes none, or a value that a column cannot have.
    """
    names = [column.name for column in opened.schema.context]
    if not names:
        if file or given:
            raise InputError(f"{opened.name} is not conditional: it takes no context")
        return None
    fixed = fixed_values(opened, given)
    if len(fixed) == len(names):
        rows: Iterable[Tensor] = (torch.zeros(CHUNK, len(names)) for _ in count())
    elif file:
        rows = _from_file(opened, file, fixed)
    else:
        rows = _classes(opened) if opened.has_images else _from_training(opened, seed, warn)
    return (_with(context, names, fixed) for context in rows)


def rechunk(rows: Iterator[Tensor], sizes: Iterable[int]) -> Iterator[Tensor]:
    """The same rows in chunks of the given sizes."""
    held = next(rows)
    for size in sizes:
        while len(held) < size:
            held = torch.cat([held, next(rows)])
        yield held[:size]
        held = held[size:]


def fixed_values(opened: OpenedRun, given: tuple[str, ...]) -> dict[str, float]:
    """What `--given` says: encoded values by the names of their columns."""
    columns = {column.name: column for column in opened.schema.context}
    found = {}
    for text in given:
        name, value = _name_and_value(text, list(columns))
        gap = value == "" and None in (columns[name].categories or ())
        table = pa.table({name: pa.array([None if gap else value], pa.string())})
        encoded = TableSchema((), (columns[name],)).encode_context(table, file="--given")
        if name in found:
            raise InputError(f"--given: '{name}' is given twice; one value of each column goes")
        found[name] = float(encoded[0, 0])
    return found


def _name_and_value(text: str, names: list[str]) -> tuple[str, str]:
    """The column and the value; a name may have an = in it."""
    found = [name for name in names if text.startswith(f"{name}=")]
    if found:
        name = max(found, key=len)
        return name, text[len(name) + 1 :]
    name, equals, _ = text.partition("=")
    if not equals:
        raise InputError(f"--given {text}: write COLUMN=VALUE")
    hint = near(name, names) if names else "the flow is told of none: leave --given out"
    raise InputError(f"--given {text}: no such context column; {hint}")


def _with(context: Tensor, names: list[str], fixed: dict[str, float]) -> Tensor:
    context = context.clone()
    for name, value in fixed.items():
        context[:, names.index(name)] = value
    return context


def _from_file(opened: OpenedRun, file: str, fixed: Collection[str]) -> Iterator[Tensor]:
    """The rows of a file, which need not have the columns whose values are fixed."""
    columns = opened.schema.context
    free = [i for i, column in enumerate(columns) if column.name not in fixed]
    schema = TableSchema((), tuple(columns[i] for i in free))
    while True:
        first = 1
        for table in read_tables(file, schema=schema):
            context = torch.zeros(table.num_rows, len(columns))
            context[:, free] = schema.encode_context(table, file=file, first_row=first)
            first += table.num_rows
            yield context


def _classes(opened: OpenedRun) -> Iterator[Tensor]:
    """All classes in turn."""
    levels = len(opened.images.context[0].categories or ())
    turns = torch.arange(levels).repeat(max(1, CHUNK // levels)).float().unsqueeze(1)
    return (turns for _ in count())


def _from_training(opened: OpenedRun, seed: int, warn: Callable[[str], None]) -> Iterator[Tensor]:
    dataset = opened.dataset("give contexts with --context-file or --given")
    for note in dataset.notes:
        warn(note)
    source = dataset.train
    for turn in count():
        for batch in source.shuffled(min(CHUNK, source.n_rows), seed + turn):
            if batch.context is not None:
                yield batch.context
