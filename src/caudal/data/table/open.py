"""From what the user names to rows of a table: in three parts, or all of them."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Literal

import pyarrow as pa

from caudal.data.dataset import Dataset, Items, Piece
from caudal.data.refusals import check_names, check_texts, check_width
from caudal.data.source import Batch, Source, effective_rows
from caudal.data.splits import check_fractions
from caudal.data.table.broken import broken_notes, impossible
from caudal.data.table.decide import POLICIES
from caudal.data.table.dependence import find_followers, follower_notes, without_followers
from caudal.data.table.dialect import Dialect
from caudal.data.table.find import Found, find_schema, rows_in_words
from caudal.data.table.follower import Follower
from caudal.data.table.frames import is_numbered
from caudal.data.table.guess import Summary, with_followers, with_inequalities
from caudal.data.table.inequalities import (
    asked_inequalities,
    find_inequalities,
    inequality_notes,
    with_rules,
)
from caudal.data.table.inequality import Inequality, in_turn
from caudal.data.table.levels import order_levels
from caudal.data.table.output import TableWriter
from caudal.data.table.parts import encode_rows
from caudal.data.table.rows import Loader
from caudal.data.table.schema import TableSchema
from caudal.data.table.tables import AS_FOUND, PIECE, Tables, find_built_in, open_table
from caudal.data.table.unseen import unseen_notes
from caudal.data.table.weighing import weight_format
from caudal.data.table.wishes import Wishes
from caudal.errors import InputError
from caudal.fields import check_value

LEAST_ROWS = 8
_FEW = 30  # effective rows, with fewer of which a note warns


def open_data(
    data: Any,
    *,
    columns: Sequence[str] = (),
    target: str | None = None,
    context: Sequence[str] = (),
    weights: str | None = None,
    types: Sequence[str] = (),
    missing: str = "auto",
    exclude: Sequence[str] = (),
    types_from: str | None = None,
    strict: bool = False,
    valid: Any = None,
    test: Any = None,
    split: Sequence[float] = (0.8, 0.1, 0.1),
    seed: int = 0,
    schema: TableSchema | None = None,
    memory: int = 1 << 30,
    encoding: str | None = None,
    delimiter: str | None = None,
    decimal: Literal[".", ","] | None = None,
    comment: str | None = None,
    na: Sequence[str] = (),
) -> Dataset[TableSchema, Source]:
    """Opens a table, finds out what its columns are, and splits its rows.

    Args:
        data: a built-in name, a file, or from Python a pyarrow Table, a pandas or polars
            DataFrame, a dict of columns, or an array or tensor (N, D).
        columns: those to model, in this order; if empty, all but the context and those that are
            of no use: constants, identifiers, free text.
        target: the one to model given all the others, in place of `columns` and `context`.
        context: those to condition on.
        weights: the one that says how much each row counts, and is not modelled; its scale does
            not matter.
        types: what columns are, such as `age=integer[0,120]`; the others are guessed.
        missing: "refuse" missing values, "drop" their rows, or "model" them; "auto" drops the rows
            where they are at most one in fifty, or a single one, and models the other gaps.
        exclude: columns to leave out, of samples as well.
        types_from: a file that says what columns are, as the columns.yaml of a run; `types` come
            first.
        strict: refuse what would have to be decided.
        valid: a table of validation rows, instead of a share of `data`.
        test: a table of test rows, instead of a share of `data`.
        split: shares of training, validation and test rows.
        seed: of the split.
        schema: of a finished run; then nothing is guessed and the table must fit it.
        memory: bytes above which a table in a file is streamed; text that takes more is converted
            to Parquet first.
        encoding: of text files; detected if None, as the next three are.
        delimiter: the character between their values, " " for any number of blanks.
        decimal: "." or ",", which stands before their decimals.
        comment: how their lines begin that are no rows.
        na: marks of missing values in them, in place of the usual ones.

    Raises:
        InputError: the table cannot be used; the message has file, row, column and advice.
    """
    if missing not in POLICIES:
        raise InputError(f"`missing` {missing}: choose one of {', '.join(POLICIES)}")
    fractions = check_fractions(split)
    check_value("seed", seed, int)
    texts = schema.texts(weights) if schema else frozenset[str]()
    check_texts("na", na)
    dialect = Dialect(encoding, delimiter, decimal, comment, tuple(na))
    main = open_table(data, texts, dialect, memory)
    others = [
        open_table(t, texts, dialect, memory) if t is not None else None for t in (valid, test)
    ]
    tables = [main, *(table for table in others if table is not None)]
    notes = [note for table in tables for note in table.notes]
    summary: tuple[Summary, ...] = ()
    wishes = Wishes(columns, target, context, weights, exclude, types, types_from, missing, strict)
    known, drops = schema is not None, wishes.policy != "refuse"
    if schema is None:
        found = find_schema(tables, wishes, find_built_in(data))
        drops, schema = found.drops, order_levels(found.schema, main, found.drops)
        schema, told = _ruled(found._replace(schema=schema), tables, strict)
        if weights is not None:
            schema = replace(schema, weight_format=weight_format(weights, tables))
        summary = with_inequalities(
            with_followers(found.summary, schema.followers),
            schema.inequalities,
            schema.columns,
        )
        notes += [*found.notes, *told]
    loader = Loader(schema, drops, memory, seed, weights=weights)
    sources = loader.load(main, others, fractions)
    if not known and (rows := sum(s.n_rows for s in sources)) < LEAST_ROWS:
        raise InputError(
            f"{main.name} has too few rows, {rows}, to learn anything from: give at least "
            f"{LEAST_ROWS}"
        )
    left_out = sum(t.n_rows for t in tables) - sum(s.n_rows for s in sources)
    if known and left_out:
        notes.append(_dropped(left_out, weights))
    if (each := sources[0].weights) is not None and not known:
        count = effective_rows(each)
        notes.append(
            f"rows count by '{weights}', which is not modelled: the {len(each):,} training rows "
            f"of a weight above 0 tell a mean as well as {count:,.0f} of equal weights"
            + (", too few to learn much from" if count < _FEW else "")
        )
    return Dataset(main.name, schema, *sources, notes=tuple(notes), summary=summary)


def _dropped(rows: int, weights: str | None) -> str:
    """The note that so many rows were dropped."""
    why = "missing values" + (" or a weight of 0" if weights else "")
    return f"dropped {rows_in_words(rows)} with {why}"


def _ruled(found: Found, tables: Sequence[Tables], strict: bool) -> tuple[TableSchema, list[str]]:
    """The schema with the rules that its columns follow in every row, and notes on them.

    Raises:
        InputError: there is a rule, and `strict` decides nothing; or one of the user's is broken.
    """
    followers = find_followers(found.schema, tables, found.drops, found.said)
    schema = without_followers(found.schema, followers)
    asked = {name: declared.above for name, declared in found.declared.items() if declared.above}
    # Columns that are never below others have no ends beyond which a sum might lie.
    opened = replace(schema, columns=tuple(found.opened.get(c.name, c) for c in schema.columns))
    own = asked_inequalities(opened, tables, found.drops, asked)
    guessed = find_inequalities(opened, tables, found.drops, found.declared.keys())
    rules: tuple[Follower | Inequality, ...] = (*followers, *guessed)
    for rule in rules if strict else ():
        advice = f"leave it out with `exclude` {rule.name}"
        if isinstance(rule, Inequality):
            advice = "say what it is with `types`"
        raise InputError(
            f"{tables[0].name}, column '{rule.name}' {rule.why} in every row: {advice}"
        )
    inequalities = in_turn([*own, *guessed])
    columns = with_rules(schema.columns, opened.columns, inequalities)
    notes = inequality_notes(inequalities, schema.columns, columns)
    notes = [*follower_notes(followers), *notes]
    return replace(schema, columns=columns, inequalities=inequalities), notes


def read_tables(
    data: Any,
    batch_rows: int = PIECE,
    schema: TableSchema | None = None,
    dialect: Dialect = AS_FOUND,
) -> Iterator[pa.Table]:
    """All columns of a table in order, at most `batch_rows` rows at a time.

    A Parquet file is streamed, and text is read as `dialect` has it. With the schema of a run,
    columns that held text there stay text here, even where a file of text makes them look like
    numbers.

    Raises:
        InputError: before the first table, where there is no table to read.
    """
    table = open_table(data, schema.text_names if schema else (), dialect)
    return (chunk.table for chunk in table.chunks(table.names, rows=batch_rows))


def open_rows(
    data: Any,
    schema: TableSchema,
    missing: str = "auto",
    memory: int = 1 << 30,
    chosen: bool = False,
    dialect: Dialect = AS_FOUND,
    strict: bool = False,
    weights: str | None = None,
) -> "TableItems":
    """All rows of a table, with all of its columns beside what the schema of a run encodes.

    Args:
        data: as for `open_data`.
        schema: of the run.
        missing: "refuse" refuses gaps that no column allows; else such rows are left out.
        memory: bytes above which a table in a file is streamed.
        chosen: whether the columns of the run were chosen among those of its table. If not, an
            array, whose columns have no names, must have as many as the schema.
        dialect: how text files are written, as far as that is known.
        strict: refuse categories that training has not seen.
        weights: the column that says how much each row counts, if the table has it.

    Raises:
        InputError: the table lacks columns of the schema, or an array has more.
    """
    table = table_of_run(data, schema, memory, chosen, dialect, weights)
    weights = weights if weights in table.names else None
    return TableItems(table, schema, missing != "refuse", memory, not strict, weights)


def table_of_run(
    data: Any,
    schema: TableSchema,
    memory: int,
    chosen: bool,
    dialect: Dialect,
    weights: str | None = None,
) -> Tables:
    """A table with at least the columns of a run; arguments as of `open_rows`.

    Raises:
        InputError: the table lacks columns of the schema, or an array has more.
    """
    table = open_table(data, schema.texts(weights), dialect, memory)
    names = [*schema.names, *(follower.name for follower in schema.followers)]
    names += [column.name for column in schema.passed_over]
    if table.unnamed and not chosen and _is_all_of_an_array(names):
        check_width(table.name, len(table.names), "the model", len(names))
    check_names(schema.names, table.names, table.name)
    return table


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
        unseen: whether categories that training has not seen are read, and told, instead of
            refused.
        weights: the column that says how much each row counts.
    """

    def __init__(
        self,
        table: Tables,
        schema: TableSchema,
        drop: bool,
        memory: int,
        unseen: bool = False,
        weights: str | None = None,
    ) -> None:
        self.name = table.name
        self._table = table
        self._schema = schema
        self._drop = drop
        self._memory = memory
        self._unseen = unseen
        self._weights = weights
        self.arrow = table.schema
        self.total = sum(math.ceil(rows / PIECE) for rows in table.groups)

    @cached_property
    def source(self) -> Source:
        asked = self._schema, self._drop, self._memory, 0, self._unseen, self._weights
        return Loader(*asked).whole(self._table)

    @property
    def notes(self) -> tuple[str, ...]:
        is_read = "source" in self.__dict__
        dropped = self._table.n_rows - self.source.n_rows if is_read else 0
        more = (_dropped(dropped, self._weights),) if dropped else ()
        return (*self._table.notes, *more, *self._unseen_notes)

    @cached_property
    def _unseen_notes(self) -> tuple[str, ...]:
        """A line for each column with values that training has not seen, or that break a rule."""
        asked = self._schema, self._table, self._drop, self._unseen
        return (*unseen_notes(*asked), *broken_notes(self._schema, self._table))

    def beside_lines(self, writer: TableWriter) -> "TableItems":
        if self._table.text is None or not writer.continues(self._table.text):
            return self
        asked = self._table, self._schema, self._drop, self._memory, self._unseen, self._weights
        return LinesItems(*asked)

    def pieces(self) -> Iterator[Piece]:
        for chunk in self._table.chunks(self._table.names, rows=PIECE):
            asked = self._schema, chunk, self.name, self._drop, self._unseen
            rows, keep = encode_rows(*asked)
            broken = impossible(self._schema, chunk, self.name)
            yield Piece(chunk.table, Batch(*self._schema.split(rows)), keep, broken)


class LinesItems(TableItems):
    """The rows of a text file, with their lines beside them as they stand in it.

    They are one column, whose name is the line of the header.
    """

    def pieces(self) -> Iterator[Piece]:
        assert self._table.text is not None
        held = pa.chunked_array([], pa.large_string())
        lines = self._table.text.lines()
        for piece in super().pieces():
            n = piece.beside.num_rows
            while len(held) < n:
                held = pa.chunked_array([*held.chunks, *next(lines).chunks])
            beside = pa.table([held.slice(0, n)], names=[self._table.text.header])
            held = held.slice(n)
            yield piece._replace(beside=beside)
