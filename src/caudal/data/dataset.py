"""From what `--data` names to training, validation and test rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from caudal.data import guess
from caudal.data.builtin import BuiltIn
from caudal.data.choose import choose_columns
from caudal.data.declare import parse_types
from caudal.data.describe import Summary, summarize
from caudal.data.load import Loader
from caudal.data.locate import find_built_in, open_table
from caudal.data.names import check_names
from caudal.data.schema import Column, Schema
from caudal.data.source import Source
from caudal.data.splits import check_fractions
from caudal.data.stats import Stats
from caudal.data.survey import survey
from caudal.data.tables import Tables
from caudal.errors import InputError

MISSING = ("refuse", "drop", "model")


@dataclass(frozen=True)
class Dataset:
    """A table made ready: what its columns are, and its rows in three parts.

    Attributes:
        name: what the user called it.
        schema: the columns to model, and those to condition on.
        train, valid, test: the rows.
        notes: what the user should know, such as "dropped 207 rows with missing values".
        summary: per column what was guessed and seen; empty where the schema was given.
    """

    name: str
    schema: Schema
    train: Source
    valid: Source
    test: Source
    notes: tuple[str, ...] = ()
    summary: tuple[Summary, ...] = ()


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
    schema: Schema | None = None,
    memory: int = 1 << 30,
) -> Dataset:
    """Opens a table, finds out what its columns are, and splits its rows.

    Args:
        data: a built-in name, a file, or from Python a pyarrow Table, a pandas DataFrame, or an
            array or tensor (N, D).
        columns: those to model, in this order; all but the context if empty.
        context: those to condition on.
        types: what columns are, such as `age=integer[0,120]`; the others are guessed.
        missing: refuse missing values, drop their rows, or model them.
        valid: a table of validation rows, instead of a share of `data`.
        test: a table of test rows, instead of a share of `data`.
        split: shares of training, validation and test rows.
        seed: of the split.
        schema: of a finished run; then nothing is guessed and the table must fit it.
        memory: bytes above which a Parquet file is streamed; other files are held in memory.

    Raises:
        InputError: anything that makes the table unusable, with file, row, column and advice.
    """
    if missing not in MISSING:
        raise InputError(f"--missing {missing}: choose one of {', '.join(MISSING)}")
    fractions = check_fractions(split)
    known = find_built_in(data)
    texts = schema.text_names if schema else frozenset[str]()
    main = open_table(data, texts)
    others = [open_table(t, texts) if t is not None else None for t in (valid, test)]
    given = [main, *(table for table in others if table is not None)]
    notes = [note for table in given for note in table.notes]
    summary: tuple[Summary, ...] = ()
    if schema is None:
        schema, summary, more = _find_schema(given, columns, context, types, missing, known)
        notes += more
    loader = Loader(schema, missing == "drop", memory, seed)
    sources = loader.load(main, others, fractions)
    if dropped := sum(t.n_rows for t in given) - sum(s.n_rows for s in sources):
        notes.append(f"dropped {dropped} rows with missing values")
    return Dataset(main.name, schema, *sources, notes=tuple(notes), summary=summary)


def _find_schema(
    tables: Sequence[Tables],
    columns: Sequence[str],
    context: Sequence[str],
    types: Sequence[str],
    missing: str,
    known: BuiltIn | None,
) -> tuple[Schema, tuple[Summary, ...], list[str]]:
    """Declared columns as declared, the others as guessed; their summaries; notes."""
    names = tables[0].names
    chosen, beside = choose_columns(tables[0].name, names, columns, context, known)
    used = [*chosen, *beside]
    for table in tables[1:]:
        check_names(used, table.names, table.name)
    declared = parse_types(_with_own_types(types, known, used), used)
    found = survey(tables, used, declared, missing)
    made = {}
    for name in used:
        dtype = tables[0].schema.field(name).type
        made[name] = guess.make_column(name, dtype, found[name], declared.get(name), missing)
    for name in beside:
        _refuse_gaps(made[name], found[name])
    schema = Schema(tuple(made[n] for n in chosen), tuple(made[n] for n in beside))
    summary = tuple(summarize(made[n], found[n], n in beside, n in declared) for n in used)
    return schema, summary, guess.notes(list(made.values()), found)


def _refuse_gaps(column: Column, stats: Stats) -> None:
    """A number to condition on must be there; a category may be missing as one more category."""
    if column.missing and stats.first_gap:
        file, row = stats.first_gap
        raise InputError(
            f"{file}, row {row}, column '{column.name}': missing value in a number of the "
            f"context; --missing drop leaves such rows out, --types {column.name}=categorical "
            f"makes categories of it"
        )


def _with_own_types(
    types: Sequence[str], known: BuiltIn | None, used: Sequence[str]
) -> Sequence[str]:
    if known is None:
        return types
    said = {text.rpartition("=")[0] for text in types}
    own = [t for t in known.types if t.partition("=")[0] in set(used) - said]
    return [*own, *types]
