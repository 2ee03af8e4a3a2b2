"""Which columns of text hold dates or formatted numbers."""

from collections.abc import Collection, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from caudal.data import dtypes, temporal
from caudal.data.table import date_formats, figures
from caudal.data.table.cells import Form
from caudal.data.table.declare import NO_ENDS, Declared, as_word
from caudal.data.table.tables import Tables
from caudal.errors import InputError


def find_forms(
    table: Tables,
    names: Sequence[str],
    declared: Mapping[str, Declared],
    listed: Collection[str] = (),
) -> dict[str, Form]:
    """The form of each column of text that has one, by its first rows and what is declared.

    Args:
        table: the rows.
        names: of the columns.
        declared: what columns are.
        listed: those of which a file says so.

    Raises:
        InputError: a column is declared as a datetime, and it holds no dates.
    """
    texts = [n for n in names if dtypes.is_text(dtypes.value_type(table.schema.field(n).type))]
    asked = [n for n in texts if n not in declared or declared[n].kind != "categorical"]
    forms: dict[str, Form] = {}
    first = next(table.chunks(asked)).table if asked else None
    for name in asked:
        assert first is not None
        values = pc.unique(dtypes.plain(first[name])).drop_null()
        form = _find(values, declared.get(name))
        if form is not None:
            forms[name] = form
    dated = [n for n in names if n in declared and _may_be_dates(declared[n])]
    for name in dated:
        if name not in forms and not temporal.is_modelled(table.schema.field(name).type):
            if declared[name].kind == "circular":
                where = f"`types` {as_word(name, 'circular')}"
                where = f"`types_from`, column '{name}'" if name in listed else where
                raise InputError(f"{where}: {NO_ENDS}")
            raise InputError(
                f"{table.name}, column '{name}' holds no dates in a format that is known: say "
                f"which, such as `types` {as_word(name, 'datetime:%d/%m/%Y')}"
            )
    return forms


def _may_be_dates(declared: Declared) -> bool:
    """Whether a column is declared as one of dates, or of times of day on a circle."""
    return declared.kind == "datetime" or (declared.kind == "circular" and declared.low is None)


def _find(values: pa.Array, declared: Declared | None) -> Form | None:
    if not len(values):
        return None
    example = str(values[0])
    if declared is not None and declared.format:
        return Form(True, declared.format, example)
    if declared is None or _may_be_dates(declared):
        format = date_formats.find_format(values)
        if format is not None:
            return Form(True, format[0], example, format[1])
    if declared is None or not _may_be_dates(declared):
        form = figures.find_format(values)
        return None if form is None else Form(False, form, example)
    return None
