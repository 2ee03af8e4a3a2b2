"""From what the user names to rows of a table: in three parts, or all of them."""

import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import pyarrow as pa

from caudal.data.builtin import BuiltIn
from caudal.data.dataset import Dataset, Items, Piece
from caudal.data.refusals import check_names, check_once, check_width
from caudal.data.schema import Column
from caudal.data.source import Batch, Source
from caudal.data.splits import check_fractions
from caudal.data.table.declare import parse_types
from caudal.data.table.forms import find_forms
from caudal.data.table.frames import is_numbered
from caudal.data.table.guess import Summary, make_column, notes_on, summarize
from caudal.data.table.rows import Loader, encode_rows
from caudal.data.table.schema import TableSchema
from caudal.data.table.survey import Stats, survey
from caudal.data.table.tables import PIECE, Tables, find_built_in, open_table
from caudal.errors import InputError
from caudal.names import near

MISSING = ("refuse", "drop", "model")


def open_data(
    data: Any,
    *,
    columns: Sequence[str] = (),
    context: Sequence[str] = (),
    types: Sequence[str] = (),
    missing: str = "refuse",
    valid: Any = None,
    test: Any = None,
    split: Sequence[float] = (0.8, 0.1, 0.1),
    seed: int = 0,
    schema: TableSchema | None = None,
    memory: int = 1 << 30,
) -> Dataset[TableSchema, Source]:
    """Opens a table, finds out what its columns are, and splits its rows.

    Args:
        data: a built-in name, a file, or from Python a pyarrow Table, a pandas or polars
            DataFrame, a dict of columns, or an array or tensor (N, D).
        columns: those to model, in this order; all but the context if empty.
        context: those to condition on.
        types: what columns are, such as `age=integer[0,120]`; the others are guessed.
        missing: "refuse" missing values, "drop" their rows, or "model" them.
        valid: a table of validation rows, instead of a share of `data`.
        test: a table of test rows, instead of a share of `data`.
        split: shares of training, validation and test rows.
        seed: of the split.
        schema: of a finished run; then nothing is guessed and the table must fit it.
        memory: bytes above which a Parquet file is streamed; other files are held in memory.

    Raises:
        InputError: the table cannot be used; the message has file, row, column and advice.
    """
    if missing not in MISSING:
        raise InputError(f"`missing` {missing}: choose one of {', '.join(MISSING)}")
    fractions = check_fractions(split)
    texts = schema.text_names if schema else frozenset[str]()
    main = open_table(data, texts)
    others = [open_table(t, texts) if t is not None else None for t in (valid, test)]
    tables = [main, *(table for table in others if table is not None)]
    notes = [note for table in tables for note in table.notes]
    summary: tuple[Summary, ...] = ()
    if schema is None:
        known = find_built_in(data)
        schema, summary, more = _find_schema(tables, columns, context, types, missing, known)
        notes += more
    sources = Loader(schema, missing == "drop", memory, seed).load(main, others, fractions)
    if dropped := sum(t.n_rows for t in tables) - sum(s.n_rows for s in sources):
        notes.append(f"dropped {dropped} rows with missing values")
    return Dataset(main.name, schema, *sources, notes=tuple(notes), summary=summary)


def _find_schema(
    tables: Sequence[Tables],
    columns: Sequence[str],
    context: Sequence[str],
    types: Sequence[str],
    missing: str,
    known: BuiltIn | None,
) -> tuple[TableSchema, tuple[Summary, ...], list[str]]:
    """Columns as declared or else as guessed; their summaries; notes."""
    names = tables[0].names
    chosen, beside = choose_columns(tables[0].name, names, columns, context, known)
    used = [*chosen, *beside]
    for table in tables[1:]:
        if table.unnamed and tables[0].unnamed:
            check_width(table.name, len(table.names), tables[0].name, len(names))
        check_names(used, table.names, table.name)
    declared = parse_types(_with_own_types(types, known, used), used)
    forms = find_forms(tables[0], used, declared)
    stats = survey(tables, used, declared, missing, forms)
    made = {}
    for name in used:
        dtype = tables[0].schema.field(name).type
        made[name] = make_column(
            name, dtype, stats[name], declared.get(name), missing, forms.get(name)
        )
    for name in beside:
        _refuse_gaps(made[name], stats[name])
    schema = TableSchema(tuple(made[n] for n in chosen), tuple(made[n] for n in beside))
    summary = tuple(
        summarize(made[n], stats[n], forms.get(n), n in beside, n in declared) for n in used
    )
    return schema, summary, notes_on(list(made.values()), stats, forms)


def choose_columns(
    file: str,
    names: Sequence[str],
    columns: Sequence[str],
    context: Sequence[str],
    known: BuiltIn | None,
) -> tuple[list[str], list[str]]:
    """The columns to model and the context, as `columns` and `context` name them.

    Where `columns` is empty, all columns that are not context are modelled; of built-in data,
    labels are left out.

    Raises:
        InputError: a name is unknown, repeated, or in both, or no column is left.
    """
    for option, wanted in (("columns", columns), ("context", context)):
        for name in wanted:
            if name not in names:
                hint = near(name, names)
                raise InputError(f"`{option}` {name}: {file} has no such column; {hint}")
        check_once(option, wanted)
    both = [name for name in columns if name in context]
    if both:
        raise InputError(f"'{both[0]}' is in `columns` and in `context`: name it in one of them")
    default = known.columns if known is not None else names
    modelled = list(columns) or [name for name in default if name not in context]
    if not modelled:
        raise InputError(f"{file}: all columns are context, which leaves none to model")
    return modelled, list(context)


def _refuse_gaps(column: Column, stats: Stats) -> None:
    """Refuses missing numbers in the context; a missing category is one more category."""
    if column.missing and stats.first_gap:
        file, row = stats.first_gap
        raise InputError(
            f"{file}, row {row}, column '{column.name}': missing value in a number of the "
            f'context; `missing="drop"` leaves such rows out, `types` {column.name}=categorical '
            f"makes categories of it"
        )


def _with_own_types(
    types: Sequence[str], known: BuiltIn | None, used: Sequence[str]
) -> Sequence[str]:
    """The user's types, and those of built-in data for the other columns."""
    if known is None:
        return types
    declared = {text.rpartition("=")[0] for text in types}
    own = [t for t in known.types if t.partition("=")[0] in set(used) - declared]
    return [*own, *types]


def read_tables(
    data: Any, batch_rows: int = PIECE, schema: TableSchema | None = None
) -> Iterator[pa.Table]:
    """All columns of a table in order, at most `batch_rows` rows at a time.

    A Parquet file is streamed. With the schema of a run, columns that held text there stay text
    here, even where a file of text makes them look like numbers.

    Raises:
        InputError: before the first table, where there is no table to read.
    """
    table = open_table(data, schema.text_names if schema else ())
    return (chunk.table for chunk in table.chunks(table.names, rows=batch_rows))


def open_rows(
    data: Any,
    schema: TableSchema,
    missing: str = "refuse",
    memory: int = 1 << 30,
    chosen: bool = False,
) -> "TableItems":
    """All rows of a table, with all of its columns beside what the schema of a run encodes.

    Args:
        data: as for `open_data`.
        schema: of the run.
        missing: "drop" leaves rows out whose gaps no column allows; else they are refused.
        memory: bytes above which a Parquet file is streamed.
        chosen: whether the columns of the run were chosen among those of its table. If not, an
            array, whose columns have no names, must have as many as the schema.

    Raises:
        InputError: the table lacks columns of the schema, or an array has more.
    """
    table = open_table(data, schema.text_names)
    if table.unnamed and not chosen and _is_all_of_an_array(schema.names):
        check_width(table.name, len(table.names), "the model", len(schema.names))
    check_names(schema.names, table.names, table.name)
    return TableItems(table, schema, missing == "drop", memory)


def _is_all_of_an_array(names: Sequence[str]) -> bool:
    """Whether these are the columns of a whole array, in any order."""
    return is_numbered(sorted(names, key=lambda name: (len(name), name)))


class TableItems(Items):
    """All rows of a table; nothing is read until it is asked for.

    Args:
        table: the rows.
        schema: of the run.
        drop: whether rows with gaps are left out, instead of refused.
        memory: bytes above which a Parquet file is streamed.
    """

    def __init__(self, table: Tables, schema: TableSchema, drop: bool, memory: int) -> None:
        self.name = table.name
        self._table = table
        self._schema = schema
        self._drop = drop
        self._memory = memory
        self.arrow = table.schema
        self.total = sum(math.ceil(rows / PIECE) for rows in table.groups)

    @cached_property
    def source(self) -> Source:
        return Loader(self._schema, self._drop, self._memory, seed=0).whole(self._table)

    @property
    def notes(self) -> tuple[str, ...]:
        is_read = "source" in self.__dict__
        dropped = self._table.n_rows - self.source.n_rows if is_read else 0
        more = (f"dropped {dropped} rows with missing values",) if dropped else ()
        return (*self._table.notes, *more)

    def pieces(self) -> Iterator[Piece]:
        for chunk in self._table.chunks(self._table.names, rows=PIECE):
            rows, keep = encode_rows(self._schema, chunk, self.name, self._drop)
            yield Piece(chunk.table, Batch(*self._schema.split(rows)), keep)
