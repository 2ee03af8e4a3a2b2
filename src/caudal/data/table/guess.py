"""Which kind of column the values look like.

Guessed supports are wide: the density is 0 outside of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from caudal.data import dtypes
from caudal.data.schema import MAX_LEVELS, Column
from caudal.data.table.cells import Form
from caudal.data.table.convert import show
from caudal.data.table.declare import Declared
from caudal.data.table.moments import datetime_column
from caudal.data.table.moments import words as moments
from caudal.data.table.numbers import TIED, fits, guessed, merged, number_column
from caudal.data.table.survey import Stats, is_numeric
from caudal.data.temporal import is_modelled
from caudal.errors import InputError

IDENTIFIER_ROWS = 50
SURE = 1000  # so many categories need rows in proportion
ROWS_EACH = 2
ALPHABETICAL = 100  # more categories are ordered by how often they occur


def make_column(
    name: str,
    dtype: pa.DataType,
    stats: Stats,
    declared: Declared | None,
    missing: str,
    form: Form | None = None,
) -> Column:
    """The column that was declared, or else the one that its values look like.

    Raises:
        InputError: the column is constant, has too many categories, or steps that 32 bits cannot
            tell apart.
    """
    gaps = missing == "model" and stats.missing > 0
    if form is None and not is_numeric(dtype, declared):
        return _categorical(name, dtype, stats, gaps, declared)
    is_date = form.is_date if form else is_modelled(dtypes.value_type(dtype))
    if is_date:
        found = Declared("datetime")
    else:
        found = declared or guessed(stats, form.format if form else None)
    # A declared lattice gets rounding noise, so that even a constant has a density.
    if stats.low == stats.high and not (declared and found.step):
        raise InputError(
            f"{stats.file}, column '{name}' is constant ({stats.low:g} in every row): "
            f"{leave_out(name)}"
        )
    if found.kind == "categorical":
        return _categorical(name, dtype, stats, gaps, declared)
    if is_date:
        return datetime_column(name, dtype, stats, form, gaps)
    return number_column(name, dtype, stats, found, gaps, form.format if form else None)


def leave_out(name: str) -> str:
    """The advice to leave a column out."""
    return f"leave it out by naming the other columns with `columns` (without '{name}')"


def notes_on(
    columns: Sequence[Column], stats: Mapping[str, Stats], forms: Mapping[str, Form]
) -> list[str]:
    """Notes on the columns: how text is read, ties in continuous ones, words among numbers."""
    lines = [line for name, form in forms.items() for line in _read_as(name, form, stats[name])]
    smooth = [c for c in columns if not (c.step or c.atoms or c.unit)]
    tied = [column.name for column in smooth if stats[column.name].ties > TIED]
    if tied:
        lines.append(
            f"continuous columns whose values often repeat: {', '.join(tied)}; a density can grow "
            f"at such values without limit: declare a step, such as `types` {tied[0]}=real:0.1"
        )
    for column in columns:
        seen = stats[column.name]
        if column in smooth and not fits(column, seen, column.offset):
            values, kept = merged(seen, column.offset)
            lines.append(
                f"'{column.name}' is taken as continuous: of {values} different values 32 bits "
                f"tell {kept} apart"
            )
        if seen.first_word and seen.words < seen.count / 2:
            cell, word = seen.first_word
            lines.append(
                f"{cell} is {show(word)} though most values there are numbers: the column is "
                f"taken as categories"
            )
    return lines


def _read_as(name: str, form: Form, stats: Stats) -> list[str]:
    """What a person should know of a column of text that is read as dates or numbers."""
    lines = []
    if not form.is_date:
        lines.append(
            f"'{name}', such as {show(form.example)}, is read as numbers in the format "
            f"{form.format}: `types` {name}=categorical makes categories of it"
        )
    if form.other is not None:
        lines.append(
            f"'{name}', such as {show(form.example)}, is read as {form.format}: where days and "
            f"months change places, `types` {name}=datetime:{form.other}"
        )
    if stats.first_odd is not None:
        cell, text = stats.first_odd
        lines.append(
            f"{cell}: {show(text)} is not in the format {form.format}, as {stats.odd} of "
            f"{stats.rows} values: such a value counts as missing"
        )
    return lines


def _categorical(
    name: str, dtype: pa.DataType, stats: Stats, gaps: bool, declared: Declared | None
) -> Column:
    levels = stats.levels
    if levels is None or (declared is None and _looks_like_an_identifier(stats)):
        raise _too_many(name, stats)
    if len(levels) + gaps == 1:
        only = show(next(iter(levels)))
        raise InputError(
            f"{stats.file}, column '{name}' is constant ({only} in every row): {leave_out(name)}"
        )
    order = sorted(levels)
    if stats.order:  # that of the user's own type
        order.sort(key=stats.order.index)
    elif len(order) > ALPHABETICAL:  # then the distribution of their codes is smooth
        order.sort(key=levels.__getitem__, reverse=True)
    values = (*_in_type(order, dtype), *((None,) if gaps else ()))
    return Column.of_categories(name, values, str(dtype))


def _looks_like_an_identifier(stats: Stats) -> bool:
    """Whether hardly any text occurs twice."""
    levels = len(stats.levels or ())
    few = levels > SURE and stats.count < ROWS_EACH * levels
    return few or (stats.all_different and stats.count > IDENTIFIER_ROWS)


def _too_many(name: str, stats: Stats) -> InputError:
    if stats.first_word and stats.words < stats.count / 2:
        cell, word = stats.first_word
        return InputError(
            f"{cell}: {show(word)} is not a number, though most values there are: correct it, or "
            f"write it as NA if it is missing"
        )
    many = f"more than {MAX_LEVELS}" if stats.levels is None else f"{len(stats.levels)}"
    example = f" (such as {show(stats.first_word[1])})" if stats.first_word else ""
    return InputError(
        f"{stats.file}, column '{name}' has {many} different values{example} and looks like an "
        f"identifier: turn it into numbers, or {leave_out(name)}"
    )


def _in_type(levels: list, dtype: pa.DataType) -> list:
    """Numbers as the user has them: 1, and not 1.0, where the type is an integer."""
    return [int(level) for level in levels] if pa.types.is_integer(dtype) else levels


@dataclass(frozen=True)
class Summary:
    """One column in words and numbers.

    Attributes:
        name: the column.
        role: event or context.
        kind: its kind.
        source: guessed or declared.
        support: such as `[0, inf)` or `7 categories`.
        step: lattice spacing, None for continuous and categorical columns.
        missing: share of the rows without a value, 0..1.
        low, median, high: of the values, None for categories; where there are more than 65,536
            rows, the median is that of a sample.
        unit: of a datetime, what a step of 1 is.
        words: of a datetime, the lowest, median and highest value as people write them.
        top: the most frequent categories and their shares of the rows, largest first.
    """

    name: str
    role: str
    kind: str
    source: str
    support: str
    step: float | None
    missing: float
    low: float | None = None
    median: float | None = None
    high: float | None = None
    unit: str | None = None
    words: tuple[str, ...] = ()
    top: tuple[tuple[str, float], ...] = ()

    @property
    def values(self) -> str:
        """The values on one line: `low .. median .. high`, or the top categories."""
        if self.low is not None:
            return f"{self.low:.6g} .. {self.median:.6g} .. {self.high:.6g}"
        if self.words:
            return " .. ".join(self.words)
        return ", ".join(f"{level} {share:.0%}" for level, share in self.top)


def summarize(
    column: Column, stats: Stats, form: Form | None, is_context: bool, is_declared: bool
) -> Summary:
    """The summary of a column, from what the survey saw."""
    head = Summary(
        name=column.name,
        role="context" if is_context else "event",
        kind=column.kind,
        source="declared" if is_declared else "guessed",
        support=column.support,
        step=None if column.categories is not None else column.step,
        missing=stats.missing / max(stats.rows, 1),
        unit=column.unit,
    )
    if column.categories is not None:
        return replace(head, top=_top(stats))
    if column.unit is not None:
        return replace(head, words=moments(stats, dtypes.parse(column.dtype), form))
    return replace(head, low=stats.low, median=float(np.median(stats.sample)), high=stats.high)


def _top(stats: Stats, most: int = 3) -> tuple[tuple[str, float], ...]:
    levels = dict(stats.levels or {})
    if stats.missing:
        levels[None] = stats.missing
    first = sorted(levels.items(), key=lambda item: -item[1])[:most]
    return tuple((_words(level), count / stats.rows) for level, count in first)


def _words(level: object) -> str:
    if level is None:
        return "missing"
    return f"{level:g}" if isinstance(level, float) else str(level)
